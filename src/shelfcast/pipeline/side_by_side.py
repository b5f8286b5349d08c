"""Run the pipeline with several markets at a time: `python -m shelfcast.pipeline.side_by_side`.

`dvc repro` runs one stage after the other, and much of a market's work keeps one core busy. So each market's stages are
a `dvc repro` of their own, and as many run at a time as there are cores. DVC's lock lets one of them at a time look and
record; stages themselves run beside each other, since no two markets write the same files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from joblib import cpu_count

from shelfcast.settings import SettingsError, check

DVC = ["dvc", "--wait-for-lock"]
# Of these stages alone: otherwise DVC would lock what markets share, even where it has nothing to do.
REPRO = [*DVC, "repro", "--single-item"]


def stages_of(market: str, names: list[str]) -> list[str]:
    """A market's own stages among all names, which are in the order of dvc.yaml: 'prepare@tea', 'finetune@tea-large'."""
    return [name for name in names if re.fullmatch(rf"(?!simulate)\w+@{market}(-.*)?", name)]


def run(markets: list[str], simulations: list[str], at_a_time: int) -> list[str]:
    """Reproduce the stages of each market, after what several may depend on.

    Returns
    -------
    What failed: markets, or what they share. Errors were printed by DVC.
    """
    if subprocess.call([*REPRO, "check", *(f"simulate@{name}" for name in simulations)]):
        return ["checks or simulations"]
    listed = subprocess.run([*DVC, "stage", "list", "--name-only"], stdout=subprocess.PIPE, text=True, check=True)
    names = listed.stdout.split()

    def code(market: str) -> int:
        return subprocess.call([*REPRO, *stages_of(market, names)])

    with ThreadPoolExecutor(at_a_time) as pool:
        codes = list(pool.map(code, markets))
    return [market for market, failed in zip(markets, codes, strict=True) if failed]


def main() -> None:
    """Run all markets of `params.yaml`, then whatever else the pipeline holds."""
    try:
        project = check()
    except SettingsError as error:
        sys.exit(f"error: nothing was run\n{error}")
    markets = list(project.markets)
    if markets and (failed := run(markets, list(project.simulations), min(len(markets), cpu_count()))):
        sys.exit(f"error: {', '.join(failed)} failed, see above. What is done is kept: run again to go on from there.")
    sys.exit(subprocess.call(["dvc", "repro"]))


if __name__ == "__main__":
    main()
