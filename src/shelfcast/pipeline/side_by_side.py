"""Run the pipeline with several stages at a time: `python -m shelfcast.pipeline.side_by_side`.

`dvc repro` runs one stage after the other, and much of a market's work keeps one core busy. So each market's stages
are a `dvc repro` of their own, and as many markets run at a time as there are cores; and where a market was trained
anew, the stages that only read its forecasts run beside each other, too, no more of all markets than there are cores.
What follows a training waits until no other market trains: a training keeps all cores busy, the longest one decides
when the run ends, and what would have slowed it down fills the gaps of the stages after it. DVC's lock lets one
`dvc repro` at a time look and record; stages themselves run beside each other, since no two of them write the same
files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from threading import BoundedSemaphore, Condition

from joblib import cpu_count

from shelfcast.settings import SettingsError, check

DVC = ["dvc", "--wait-for-lock"]
# Of these stages alone: otherwise DVC would lock what markets share, even where it has nothing to do.
REPRO = [*DVC, "repro", "--single-item"]
# Read forecasts and models, and nothing of each other; the longest first, so that no core waits long for the last one.
BESIDE = (("given", "decide"), ("stream",), ("explain",))
TRAINED = "build/{}/models/*/variant.json"  # a training writes one


class Machine:
    """What markets share: cores, which a training has for itself, and groups of `BESIDE` one each.

    at_a_time : markets that run at a time, at most one a core.
    """

    def __init__(self, cores: int, n_markets: int) -> None:
        self._running, self._changed = 0, Condition()
        self._free, self._cores = BoundedSemaphore(cores), cores
        self.at_a_time = max(1, min(n_markets, cores))

    def repro(self, stages: Sequence[str]) -> bool:
        """Reproduce a market's stages one after the other, with its share of the cores; whether all went well."""
        return repro(stages, self._cores // self.at_a_time)

    @contextmanager
    def training(self) -> Iterator[None]:
        """While a market is on its way to a trained model."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def wait_for_trainings(self) -> None:
        """Until no market is on its way to a model."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running)

    def beside(self, groups: Sequence[Sequence[str]]) -> bool:
        """Reproduce groups of stages beside each other and those of other markets; whether all went well."""
        threads = max(1, self._cores // max(1, len(groups) * self.at_a_time))

        def one(stages: Sequence[str]) -> bool:
            with self._free:
                return repro(stages, threads)

        with ThreadPoolExecutor(len(BESIDE)) as pool:
            return all(list(pool.map(one, groups)))


def stages_of(market: str, names: Sequence[str]) -> list[str]:
    """A market's own stages among all names, which are in the order of dvc.yaml: 'prepare@tea', 'finetune@tea-large'."""
    return [name for name in names if re.fullmatch(rf"(?!simulate)\w+@{market}(-.*)?", name)]


@dataclass(frozen=True)
class Parts:
    """A market's stages in the order in which they run: up to its trainings, up to `BESIDE`, groups of these that may run
    beside each other, and those after."""

    train: list[str]
    evaluate: list[str]
    beside: list[list[str]]
    after: list[str]


def parts_of(stages: Sequence[str]) -> Parts:
    kinds = [stage.split("@")[0] for stage in stages]
    trained = len(kinds) - kinds[::-1].index("finetune") if "finetune" in kinds else 0
    groups = [[stage for stage, kind in zip(stages, kinds, strict=True) if kind in group] for group in BESIDE]
    groups = [group for group in groups if group]
    inside = [i for i, kind in enumerate(kinds) if any(kind in group for group in BESIDE)]
    between = range(inside[0], inside[-1] + 1) if inside else []
    # Where a stage of somebody's own stands among those beside each other, it may read or write anything.
    if not inside or len(inside) < len(between) or inside[0] < trained:
        return Parts(list(stages[:trained]), list(stages[trained:]), [], [])
    return Parts(list(stages[:trained]), list(stages[trained : inside[0]]), groups, list(stages[inside[-1] + 1 :]))


def run_market(market: str, stages: Sequence[str], machine: Machine) -> bool:
    """Reproduce a market's stages; whether all went well."""
    parts, earlier = parts_of(stages), written(market)
    with machine.training():
        if not machine.repro(parts.train):
            return False
    if written(market) == earlier:  # little is left to do, and each call of DVC would take longer than it saves
        return machine.repro(stages[len(parts.train) :])
    machine.wait_for_trainings()
    return machine.repro(parts.evaluate) and machine.beside(parts.beside) and machine.repro(parts.after)


def repro(stages: Sequence[str], threads: int | None = None) -> bool:
    """Reproduce stages one after the other; whether all went well.

    threads : of each process, where the user has not set their number. Processes beside each other that all take as
        many as there are cores wait for each other a fifth of the time.
    """
    env = ({"OMP_NUM_THREADS": str(threads)} if threads else {}) | os.environ
    return not stages or not subprocess.call([*REPRO, *stages], env=env)


def written(market: str) -> int:
    """When a model of this market was written last, in nanoseconds; 0 where there is none."""
    return max((path.stat().st_mtime_ns for path in Path().glob(TRAINED.format(market))), default=0)


def run(markets: Sequence[str], simulations: Sequence[str], cores: int) -> list[str]:
    """Reproduce the stages of each market, after what several may depend on, and before what depends on several.

    Returns
    -------
    What failed: markets, or what they share. Errors were printed by DVC.
    """
    first = ["check", *(f"simulate@{name}" for name in simulations)]
    listing = subprocess.Popen([*DVC, "stage", "list", "--name-only"], stdout=subprocess.PIPE, text=True)
    well = repro(first)
    names = listing.communicate()[0].split()
    if not well or listing.returncode:
        return ["checks or simulations"]
    of_markets, machine = {market: stages_of(market, names) for market in markets}, Machine(cores, len(markets))
    with ThreadPoolExecutor(machine.at_a_time) as pool:
        done = list(pool.map(run_market, markets, of_markets.values(), repeat(machine)))
    if not all(done):
        return [market for market, good in zip(markets, done, strict=True) if not good]
    own = {stage for stages in of_markets.values() for stage in stages}
    rest = [name for name in names if name not in own and name not in first]
    return [] if repro(rest) else ["what markets share"]


def main() -> None:
    """Run all markets of `params.yaml`, and whatever else the pipeline holds."""
    try:
        project = check()
    except SettingsError as error:
        sys.exit(f"error: nothing was run\n{error}")
    markets = list(project.markets)
    if failed := run(markets, list(project.simulations), cpu_count()):
        sys.exit(f"error: {', '.join(failed)} failed, see above. What is done is kept: run again to go on from there.")


if __name__ == "__main__":
    main()
