"""How far off forecasts are that learn from sales which stock-outs cut, and those that learn from corrected demand.

    python -m studies.stockouts.stockouts [--seeds 0 1]     # a minute or two a world; resumable

Each world is prepared and forecast three times: from sales alone, from sales and the table of stock-outs, and from the
demand itself, which only a simulated market tells. What the last one is off has other causes than stock-outs (the end
of the test weeks meets a change of regime); what the others are off beyond it, stock-outs did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic.dataclasses import dataclass

from shelfcast import settings
from shelfcast.act.orders.past.contest import true_demand
from shelfcast.data import tables
from shelfcast.judge.frame import add_level
from shelfcast.market.retailer.raw import raw_tables
from shelfcast.market.truth import draw
from shelfcast.methods import forecast_test_weeks
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import Prepare, Simulation
from studies import parameters
from studies.kept import save_origin, save_rows
from studies.resume import resumed

WORK, RESULTS = Path("build/studies/stockouts"), Path("studies/stockouts/results")
SALES, CORRECTED, DEMAND = "sales", "corrected", "demand"
KEYS = ["stock_outs", "seed", "level", "method", "learned"]


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """`studies/stockouts/params.yaml`."""

    simulation: dict[str, Any]
    stock_outs: list[float]
    seeds: list[int]
    methods: list[str]


def panel_of(market: dict, prepare: Prepare, learned: str, folder: Path) -> Panel:
    """The panel of a market as a retailer would have it who knows sales, stock-outs too, or demand."""
    told = market | {"settings": market["settings"] | {"stockouts_table": learned == CORRECTED}}
    if learned == DEMAND:
        told["sold"] = market["wanted"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in raw_tables(told).items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return build(tables.load("simulated", folder, None), replace(prepare, outlook=False))


def world(simulation: Simulation, prepare: Prepare, methods: list[str], work: Path) -> pd.DataFrame:
    """A row per level, method and what was learned.

    cut : share of the weeks of products in stores. forecast, wanted : units of all test forecasts, and what shoppers
    wanted in these weeks. bias : forecast over wanted, less one. history : the same of the units that were learned.
    """
    market, rows = draw(simulation), []
    cut = float(market["out"].mean())
    for learned in (SALES, CORRECTED, DEMAND):
        panel = panel_of(market, prepare, learned, work / f"{simulation.stock_outs}_{simulation.seed}_{learned}")
        wanted = true_demand(market, panel).stack().rename("wanted").rename_axis(["unique_id", "ds"]).reset_index()
        frame = add_level(forecast_test_weeks(panel, methods)[0]).merge(wanted, on=["unique_id", "ds"])
        sums = frame.groupby(["level", "method"])[["mean", "wanted"]].sum()
        past = panel.frame[["unique_id", "ds", "y"]].dropna().merge(wanted, on=["unique_id", "ds"])
        history = past["y"].sum() / past["wanted"].sum() - 1
        for (level, method), own in sums.iterrows():
            row = {"stock_outs": simulation.stock_outs, "seed": simulation.seed, "level": level, "method": method}
            row |= {"learned": learned, "cut": cut, "forecast": own["mean"], "wanted": own["wanted"]}
            rows.append(row | {"bias": own["mean"] / own["wanted"] - 1, "history": history})
    return pd.DataFrame(rows)


def against_demand(table: pd.DataFrame) -> pd.DataFrame:
    """Forecasts over those that learned from demand itself, less one: mean and largest over worlds.

    Worked example: 95 forecast from sales and 100 from demand: -5 %.
    """
    wide = table.pivot(index=[name for name in KEYS if name != "learned"], columns="learned", values="forecast")
    off = wide[[SALES, CORRECTED]].div(wide[DEMAND], axis=0) - 1
    long = off.stack().rename("off").reset_index()
    groups = long.groupby(["stock_outs", "level", "method", "learned"], sort=False)["off"]
    cut = table.groupby("stock_outs")["cut"].mean()
    found = groups.agg(worlds="size", mean="mean", furthest=lambda off: off.loc[off.abs().idxmax()]).reset_index()
    found.insert(1, "cut", found["stock_outs"].map(cut))
    return found


def measure(
    study: Study, seeds: list[int], work: Path = WORK, prepare: Callable[[], Prepare] = lambda: settings.load().prepare
) -> pd.DataFrame:
    """`world` of every rate of stock-outs and seed; those that an earlier run has measured are read."""
    parts = []
    for starts in study.stock_outs:
        for seed in seeds:
            simulation = Simulation(**study.simulation, stock_outs=starts, seed=seed)

            def make(simulation: Simulation = simulation) -> pd.DataFrame:
                return world(simulation, prepare(), study.methods, work)

            parts.append(resumed(work / "frames", [study.simulation, starts, seed, study.methods], make))
            print(f"stock-outs {starts}, seed {seed}: done", flush=True)
    return pd.concat(parts, ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", help="of the worlds; those of params.yaml where none are given")
    parser.add_argument("--methods", nargs="*", help="that forecast; those of params.yaml where none are given")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "stockouts")
    study = replace(study, methods=options.methods or study.methods)
    table = save_rows(options.results / "worlds.csv", measure(study, options.seeds or study.seeds), KEYS)
    found = against_demand(table)
    found.round(5).to_csv(options.results / "bias.csv", index=False)
    save_origin(options.results)
    print(found.to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
