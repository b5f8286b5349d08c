"""Run the pipeline with several stages at a time: `python -m shelfcast.pipeline.side_by_side`.

`dvc repro` runs one stage after the other, and much of a market's work keeps one core busy. So each market's stages are
a `dvc repro` of their own, and as many markets run at a time as there are cores; and where a market was evaluated anew,
the stages that only read its forecasts run beside each other, too. DVC's lock lets one `dvc repro` at a time look and
record; stages themselves run beside each other, since no two of them write the same files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from joblib import cpu_count

from shelfcast.settings import SettingsError, check

DVC = ["dvc", "--wait-for-lock"]
# Of these stages alone: otherwise DVC would lock what markets share, even where it has nothing to do.
REPRO = [*DVC, "repro", "--single-item"]
BESIDE = (("explain",), ("stream",), ("given", "decide"))  # read forecasts and models, and nothing of each other
EVALUATED = "build/{}/metrics.json"  # written by the last stage before those


def stages_of(market: str, names: Sequence[str]) -> list[str]:
    """A market's own stages among all names, which are in the order of dvc.yaml: 'prepare@tea', 'finetune@tea-large'."""
    return [name for name in names if re.fullmatch(rf"(?!simulate)\w+@{market}(-.*)?", name)]


def parts_of(stages: Sequence[str]) -> tuple[list[str], list[list[str]], list[str]]:
    """A market's stages as those before `BESIDE`, groups of stages that may run beside each other, and those after."""
    kinds = [stage.split("@")[0] for stage in stages]
    groups = [[stage for stage, kind in zip(stages, kinds, strict=True) if kind in group] for group in BESIDE]
    groups = [group for group in groups if group]
    inside = [i for i, kind in enumerate(kinds) if any(kind in group for group in BESIDE)]
    if not inside:
        return list(stages), [], []
    between = range(inside[0], inside[-1] + 1)
    if len(inside) < len(between):  # a stage of somebody's own stands among them, and may read or write anything
        return list(stages), [], []
    return list(stages[: inside[0]]), groups, list(stages[inside[-1] + 1 :])


def run_market(market: str, stages: Sequence[str]) -> bool:
    """Reproduce a market's stages; whether all went well."""
    before, groups, after = parts_of(stages)
    metrics = Path(EVALUATED.format(market))
    earlier = written(metrics)
    if not repro(before):
        return False
    if written(metrics) == earlier:  # little is left to do, and each call of DVC would take longer than it saves
        return repro([stage for stage in stages if stage not in before])
    with ThreadPoolExecutor(len(BESIDE)) as pool:
        done = list(pool.map(repro, groups))
    return all(done) and repro(after)


def repro(stages: Sequence[str]) -> bool:
    """Reproduce stages one after the other; whether all went well."""
    return not stages or not subprocess.call([*REPRO, *stages])


def written(path: Path) -> int | None:
    """When a file was written last, in nanoseconds; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def run(markets: Sequence[str], simulations: Sequence[str], at_a_time: int) -> list[str]:
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
    of_markets = {market: stages_of(market, names) for market in markets}
    with ThreadPoolExecutor(at_a_time) as pool:
        done = list(pool.map(run_market, markets, of_markets.values()))
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
    if failed := run(markets, list(project.simulations), max(1, min(len(markets), cpu_count()))):
        sys.exit(f"error: {', '.join(failed)} failed, see above. What is done is kept: run again to go on from there.")


if __name__ == "__main__":
    main()
