"""Orders by the ensemble against others over several draws of the simulated market.

    python -m studies.orders.orders [--seeds 1 2]     # a quarter of an hour a draw on an idle machine; resumable

Each draw runs through the product's own notebooks 1, 3, 4 and 7 under build/studies/orders. A run that was stopped
continues with the first notebook that is not done.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from scipy import stats

from shelfcast import settings
from shelfcast.data.files import atomic
from shelfcast.market.tables import write
from studies import parameters
from studies.kept import save_origin, save_rows
from studies.retailers import retailers

WORK, RESULTS = Path("build/studies/orders"), Path("studies/orders/results")
NOTEBOOKS = ("1_prepare", "3_finetune", "4_evaluate", "7_decide")
OURS, OTHERS = "ensemble", ("lightgbm", "textbook", "oracle")
KEYS = ["level", "rule", "lead_time"]
SITUATION = "plan_known"


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """`studies/orders/params.yaml`."""

    simulation: str
    seeds: list[int]
    finetune: dict[str, Any]
    evaluate: dict[str, Any]


def name_of(seed: int) -> str:
    return f"draw_{seed}"


def draw(study: Study, seed: int, work: Path) -> None:
    """The tables and the truth of a draw, as the stage `simulate` would leave them; what is there already is kept.

    Raises
    ------
    ValueError : the project has no simulation of that name.
    """
    simulations = settings.check().simulations
    if study.simulation not in simulations:
        raise ValueError(f"params.yaml has no simulation {study.simulation!r}. There are {', '.join(simulations)}.")
    folder = work / "build" / name_of(seed)
    if not (folder / "truth").exists():
        write(folder, replace(simulations[study.simulation], seed=seed))


def lines(study: Study, seeds: list[int], work: Path) -> dict[str, dict[str, Any]]:
    """Name -> line of a draw: that of the project's simulated market, with this study's values."""
    own = settings.check().markets[study.simulation]
    shared = {name: value for name, value in asdict(own).items() if name in ("promotions", "orders", "prepare")}
    shared |= {"source": "simulated", "finetune": own.finetune | study.finetune}
    shared["evaluate"] = own.evaluate | study.evaluate
    return {
        name_of(seed): shared | {"tables": str((work / "build" / name_of(seed) / "tables").resolve())} for seed in seeds
    }


def costs(seed: int, work: Path) -> pd.DataFrame:
    """A draw's replayed orders: seed, `KEYS`, policy, cost, fill_rate."""
    frame = pd.read_parquet(work / "build" / name_of(seed) / "orders_past.parquet")
    frame = frame[frame["situation"] == SITUATION]
    return frame[[*KEYS, "policy", "cost", "fill_rate"]].assign(seed=seed)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Cost of the ensemble's orders over that of others, less one: mean over draws and its 95 % interval.

    Worked example: 90 against 100 in one draw and 110 against 100 in another: 0 %, from -127 % to +127 %, lower in 1 of
    2. Two draws say nothing.

    Returns
    -------
    `KEYS`, against, draws, mean, low, high (NaN for a single draw), lower.
    """
    rows = []
    wide = table.pivot(index=[*KEYS, "seed"], columns="policy", values="cost")
    for keys, part in wide.groupby(KEYS, sort=False):
        for other in (name for name in OTHERS if name in part):
            off = (part[OURS] / part[other] - 1).dropna().to_numpy()
            error = stats.t.ppf(0.975, len(off) - 1) * off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else np.nan
            row = dict(zip(KEYS, keys, strict=True)) | {"against": other, "draws": len(off), "mean": off.mean()}
            rows.append(row | {"low": off.mean() - error, "high": off.mean() + error, "lower": int((off < 0).sum())})
    return pd.DataFrame(rows)


def save(table: pd.DataFrame, to: Path) -> pd.DataFrame:
    """Write `draws.csv`, in which other draws' rows stay, and the differences over all of them."""
    table = save_rows(to / "draws.csv", table, ["seed"])
    found = differences(table)
    with atomic(to / "differences.csv") as part:
        found.round(5).to_csv(part, index=False)
    save_origin(to)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", help="of the draws; those of params.yaml where none are given")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "orders")
    seeds = options.seeds or study.seeds
    retailers.prepare_work(retailers.Study(), lines(study, seeds, options.work), options.work)
    for seed in seeds:
        draw(study, seed, options.work)
        retailers.run_market(name_of(seed), options.work, NOTEBOOKS)
        found = save(costs(seed, options.work), options.results)
        print(found.to_string(index=False, float_format="{:+.3f}".format), flush=True)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
