"""Minutes and memory of preparing and forecasting ten thousand to a million series, in partitions.

    python -m benchmarks.million build/soft_drinks 10000 100000 1000000 [--workers 2] [--seeds 1]

The market must have been run (`make run`). Its weekly facts are copied, 52 weeks twice over, until there are as many
product x location series of 104 weeks as asked for; each copy sells more or less by chance than its original, week by
week. What 104 weeks tell of seasons is left out, since the model learned from 52. From there on all is what `python -m shelfcast.scale market` does: what all products have in common, texts, panels,
outlooks, and forecasts of the trained model from the latest week (4 weeks, all quantiles), written as one Parquet file
a partition.

A size that was stopped goes on where it was; its minutes add up. benchmarks/results/million.csv has a row for each
size, number of seeds and of processes; rows measured again are replaced. Memory is that of all processes together, four
times a second.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.processes import ROOT, run_watched
from benchmarks.rows import keep
from shelfcast import settings
from shelfcast.data import tables
from shelfcast.data.files import atomic, folder_md5
from shelfcast.panel.facts import collect_products
from shelfcast.scale.engine.parts import Job, read_manifest, read_seconds
from shelfcast.scale.engine.run import run
from shelfcast.scale.facts import KEYS, to_table
from shelfcast.scale.market import Market, load_market, read_market
from shelfcast.scale.panels import FACTS, FIRST, MARKET, SECOND, sum_up, tasks_of
from shelfcast.scale.scoring import FORECASTS, find_models, score_prepared
from shelfcast.scale.texts import TEXTS, texts_job
from shelfcast.scale_options import Scale

RESULTS = ROOT / "benchmarks/results/million.csv"
KEY = ["series", "seeds", "workers"]
PRODUCTS = 300  # in a partition
YEARS = 2  # times that the market's weeks are repeated
SPREAD = 0.5  # standard deviation of the log of how much a copy sells over its original
COUNTED = ("buyers", "repeat_buyers", "baskets", "coupon_baskets")  # never more than the units of a copy
JOBS = {"copy": [FACTS], "common": [FIRST, SECOND], "texts": [TEXTS], "forecast": [FORECASTS]}  # phase -> its folders
ALONE = "from benchmarks.million import main; main()"  # as a module, so that other processes find its functions
STEPS = ("panel", "outlook", "tensors", "score")  # of the phase forecast


def read_original(market: Path, folder: Path) -> None:
    """The default market and its weekly facts, as the copies are made of them: original.parquet and original.pkl."""
    if (folder / "original.parquet").exists():
        return
    options = settings.load(market.name)
    line = options.market
    raw = tables.load(line.source, line.tables, line.category, line.rename, line.read)
    original = read_market(raw, options.prepare, options.prepare.n_products)
    found = collect_products(raw, original.grid, original.shared)
    original.save(folder / "original.pkl")
    with atomic(folder / "original.parquet") as part:
        to_table({name: frame for name, frame in found.items() if frame is not None}, original.grid).to_parquet(part)


def copied_market(original: Market, n_products: int) -> Market:
    """The market of the copies: as many products and weeks more, and what belongs to no single product repeated."""
    grid, shared = original.grid, original.shared
    copies = np.arange(n_products) // len(grid.products)
    rows = np.arange(n_products) % len(grid.products)
    products = grid.products.iloc[rows]
    products.index = pd.Index([f"{copy:05d}-{name}" for copy, name in zip(copies, products.index, strict=True)])
    products.index.name = "product_id"
    n_weeks, times = YEARS * len(grid.weeks), n_products / len(grid.products)
    weeks = pd.date_range(end=grid.weeks[-1], periods=n_weeks, freq="7D")
    known = {name: np.append(np.tile(weeks_known[: len(grid.weeks)], YEARS), weeks_known[len(grid.weeks) :])
             for name, weeks_known in shared["known"].items()}  # fmt: skip
    shared = shared | {"known": known, "store_units": shared["store_units"] * times}
    shared["category_units"] = np.tile(shared["category_units"], YEARS) * times
    shared["traffic"] = np.tile(shared["traffic"], YEARS)
    observed = np.tile(grid.observed, YEARS)
    launch = np.full(n_products, -1)
    grid = replace(grid, products=products, launch=launch, weeks=weeks, observed=observed)
    meta = original.meta | {"n_weeks": n_weeks, "first_week": str(weeks[0].date()), "n_products": n_products}
    return replace(original, grid=grid, shared=shared, meta=meta, size=PRODUCTS)


@lru_cache(maxsize=1)
def original_facts(path: str) -> pd.DataFrame:
    """The original's facts of all its weeks, repeated, in the order of its products."""
    table = pd.read_parquet(path)
    n_weeks = int(table.loc[table["units"].notna(), "week"].max()) + 1
    past = table[table["week"] < n_weeks]
    ahead = table[table["week"] >= n_weeks]
    parts = [past.assign(week=past["week"] + n_weeks * year) for year in range(YEARS)]
    return pd.concat([*parts, ahead.assign(week=ahead["week"] + n_weeks * (YEARS - 1))], ignore_index=True)


def copied_facts(market: str, original: str, start: int) -> pd.DataFrame:
    """The weekly facts of one partition's copies.

    A copy's units at a region are drawn around those of its original times a factor of its own; the chain has their sum.
    Money and discounts go with the units.
    """
    grid = load_market(market).part(start)
    every, draw = original_facts(original), np.random.default_rng(start)
    n_regions = len(grid.locations) - 1
    names = pd.DataFrame({"copy": grid.products.index, "product_id": grid.products.index.str.split("-", n=1).str[1]})
    names["factor"] = np.exp(draw.normal(0, SPREAD, len(names)))
    rows = names.merge(every, on="product_id").drop(columns="product_id").rename(columns={"copy": "product_id"})
    sold = rows["units"].notna() & rows["location"].between(1, n_regions)
    regions = rows[sold]
    units = draw.poisson(regions["units"] * regions["factor"]).astype(float)
    times = units / regions["units"]
    amounts = {name: regions[name] * times for name in ("money", "paid_units", "discount")}
    counts = {name: np.minimum(regions[name], units) for name in COUNTED}
    facts = ["units", *amounts, *counts]
    regions = regions.assign(units=units, **amounts, **counts)[[*KEYS, *facts]]
    regions = regions[regions["units"] > 0]
    chain = regions.groupby(["product_id", "week"], as_index=False)[facts].sum().assign(location=0)
    planned = rows.drop(columns=[*facts, "factor"])
    planned = planned[planned["promotion"].notna()]
    table = pd.concat([regions, chain]).merge(planned, on=KEYS, how="outer")
    return table[[*KEYS, *facts, *planned.columns.drop(KEYS)]].sort_values(KEYS, ignore_index=True)


def run_size(market: Path, work: Path, series: int, seeds: int, workers: int) -> None:
    """All phases of one size; seconds of the clock are kept in clock.json and add up over attempts."""
    original = load_market(str(work / "original.pkl"))
    n_products = -(-series // len(original.grid.locations))
    folder, scale = work / f"{series}", Scale(workers=workers, products=PRODUCTS)
    path = folder / MARKET
    if not path.exists():
        copied_market(original, n_products).save(path)
    starts, models = load_market(str(path)).starts, find_models(market, "shelfcast")
    copies = tasks_of(starts, {"market": str(path), "original": str(work / "original.parquet")})
    with_clock(folder, "copy", lambda: run(Job(folder / FACTS, copied_facts, copies, {"series": series}), scale))
    with_clock(folder, "common", lambda: sum_up(folder, starts, scale))
    with_clock(folder, "texts", lambda: run(texts_job(folder, models), scale))
    with_clock(folder, f"forecast_{seeds}", lambda: run(score_prepared(folder, models, seeds, leave_out=True), scale))


def with_clock(folder: Path, phase: str, work) -> None:
    """Do a phase, and add its seconds to those that earlier attempts took, also where it is stopped."""
    began = time.perf_counter()
    try:
        work()
    finally:
        path = folder / "clock.json"
        clock = json.loads(path.read_text()) if path.exists() else {}
        took = time.perf_counter() - began
        if took > 1 or phase not in clock:  # else all was there
            clock[phase] = clock.get(phase, 0.0) + took
        with atomic(path) as part:
            part.write_text(json.dumps(clock))


def row_of(folder: Path, seeds: int, workers: int, peak: float, models: Path) -> dict:
    """The table's row of a size that is complete."""
    clock = json.loads((folder / "clock.json").read_text())
    clock["forecast"] = clock[f"forecast_{seeds}"]
    market = load_market(str(folder / MARKET))
    n = len(market.grid.products) * len(market.grid.locations)
    steps = read_seconds(folder / FORECASTS)
    written = sum(part["rows"] for part in read_manifest(folder / FORECASTS).values())
    assert written == n * market.grid.horizon, (written, n)
    row = {"series": n, "seeds": seeds, "workers": workers, "weeks": len(market.grid.weeks)}
    row |= {f"{phase}_minutes": round(clock[phase] / 60, 3) for phase in JOBS}
    row["minutes"] = round(sum(clock[phase] for phase in JOBS) / 60, 3)
    row |= {f"{step}_cpu_s": round(steps[step][1], 1) for step in STEPS}
    for phase in ("copy", "common", "texts"):
        row[f"{phase}_cpu_s"] = round(sum(read_seconds(folder / name)["all"][1] for name in JOBS[phase]), 1)
    row["forecasts_per_s"] = round(n / clock["forecast"])
    row["scored_per_s"] = round(workers * n / steps["score"][0])
    row["scored_per_cpu_s"] = round(n / steps["score"][1])
    sizes = [path.stat().st_size for path in (folder / FORECASTS).glob("part-*")]
    row |= {"peak_mib": round(peak), "written_mib": round(sum(sizes) / 2**20, 1)}
    return row | {"models": folder_md5(models)[:8], "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("market", type=Path, help="build/<market> of a finished run")
    parser.add_argument("series", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--seeds", type=int, default=1, help="models that are averaged")
    parser.add_argument("--work", type=Path, default=ROOT / "build/million", help="folder of what is written")
    parser.add_argument("--keep", action="store_true", help="keep what is written of a size that is complete")
    parser.add_argument("--alone", action="store_true", help="one size in this process, not measured")
    given = parser.parse_args()
    market, work = given.market.absolute(), given.work.absolute()
    if given.alone:
        run_size(market, work, given.series[0], given.seeds, given.workers)
        return
    work.mkdir(parents=True, exist_ok=True)
    read_original(market, work)
    for series in given.series:
        own = [str(market), str(series), "--alone", "--work", str(work)]
        own += ["--workers", str(given.workers), "--seeds", str(given.seeds)]
        log = work / f"{series}.log"
        code, peak = run_watched([sys.executable, "-c", ALONE, *own], log)
        seen = work / f"{series}.peak"
        peak = max(peak, float(seen.read_text()) if seen.exists() else 0.0)
        seen.write_text(f"{peak}")
        if code:
            sys.exit(f"{series:,} series: stopped, see {log}. The same command goes on from there.")
        row = row_of(work / f"{series}", given.seeds, given.workers, peak, find_models(market, "shelfcast"))
        keep([row], RESULTS, KEY)
        print(json.dumps(row))
        if not given.keep:
            shutil.rmtree(work / f"{series}")


if __name__ == "__main__":
    main()
