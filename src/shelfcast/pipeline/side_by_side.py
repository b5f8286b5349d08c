"""Run the pipeline with several markets at a time: `python -m shelfcast.pipeline.side_by_side`.

`dvc repro` runs one stage after the other, and much of a market's work keeps one core busy. So each market's branch is
a `dvc repro` of its own, and as many run at a time as there are cores. DVC's lock lets one of them at a time look and
record; stages themselves run beside each other, since no two markets write the same files.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from joblib import cpu_count

from shelfcast.settings import SettingsError, check

REPRO = ["dvc", "--wait-for-lock", "repro", "--quiet"]


def run(markets: list[str], simulations: list[str], at_a_time: int) -> list[str]:
    """Reproduce the report of each market, after what several may depend on: checks and simulations.

    Returns
    -------
    What failed: markets, or what they share. Errors were printed by DVC.
    """
    if subprocess.call([*REPRO, "check", *(f"simulate@{name}" for name in simulations)]):
        return ["checks or simulations"]
    with ThreadPoolExecutor(at_a_time) as pool:
        codes = list(pool.map(lambda market: subprocess.call([*REPRO, f"report@{market}"]), markets))
    return [market for market, code in zip(markets, codes, strict=True) if code]


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
