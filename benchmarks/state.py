"""Milliseconds of the forecasts that follow a closed week: with cached keys and values, and by a full recomputation.

    python -m benchmarks.state build/soft_drinks [--weeks 52 104 512] [--variant shelfcast] [--rounds 10]

A week is appended, and forecast in both situations (with the plan and without), `rounds` times from each number of weeks
on; longer histories than the market has are its weeks again and again. What it is compared with is one pass of the
model over all weeks for one situation, whose last layer is computed of one week alone; in both the text was read before.
One seed's model. benchmarks/results/state.csv holds a row for each market, number of weeks and number of products; rows
measured again are replaced. Seconds depend on the machine and on what else it is doing: ratios of processor time, which
is written beside the clock's, depend on that least.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.rows import keep
from shelfcast.live.state.market_state import MarketState, take
from shelfcast.model.forecast import load_models, predict, read_text_once, situation_frames
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import BY_WEEK, MarketTensors, load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/state.csv"
KEY = ["market", "weeks", "products"]
FULL_EVERY = 4  # rounds between two full recomputations, which take long
SINGLE = 20  # products that are measured one by one


def read_market(folder: Path, variant: str) -> tuple[SalesBert, MarketTensors]:
    """The first seed's model, and the market with its texts read."""
    own = folder / "models" / variant
    facts = json.loads((own / "variant.json").read_text())
    panel = Panel.load(folder / "panel")
    market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
    model = load_models(own)[0]
    return model, read_text_once([model], market)


def first_weeks(market: MarketTensors, n: int) -> MarketTensors:
    """The market's first `n` weeks; where it has fewer, they begin again."""
    index = torch.arange(n) % len(market.weeks_index)
    tensors = {name: x[:, :, index] if name in BY_WEEK else x for name, x in market.tensors.items()}
    weeks = pd.date_range(market.weeks_index[0], periods=n, freq="7D", name="ds")
    return replace(market, weeks_index=weeks, tensors=tensors)


def timed(task: Callable[[], object]) -> tuple[object, tuple[float, float]]:
    """What a task returns, and milliseconds of the clock and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    done = task()
    return done, (1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor))


def measure(model: SalesBert, market: MarketTensors, n_weeks: int, rounds: int) -> dict[str, list]:
    """Milliseconds (clock, processor) of each append and each full pass, their relative difference, and MiB kept."""
    longest = first_weeks(market, n_weeks + rounds)
    markets = [first_weeks(longest, n_weeks + i) for i in range(rounds + 1)]
    state = MarketState([model], markets[0])
    state.predict(markets[0])
    appended, full, difference = [], [], []
    for i, grown in enumerate(markets[1:]):
        predictions, times = timed(lambda grown=grown: state.predict(grown))
        appended.append(times)
        if i % FULL_EVERY == 0:
            at = [len(grown.weeks_index) - 1]
            parts, times = timed(lambda grown=grown, at=at: predict(model, grown, at=at))
            full.append(times)
            own = predictions["plan_known"][0]
            difference += [np.abs(a / b - 1).max() for a, b in zip(own, parts, strict=True)]
    cutoff = [grown.weeks_index[-1]]
    _, frame = timed(lambda: situation_frames(predictions, grown, cutoff))
    return {"append": appended, "full": full, "difference": difference, "frame": [frame], "mib": [mib(state)]}


def mib(state: MarketState) -> float:
    """Memory of all keys and values, room for coming weeks included."""
    caches = [cache for kept in state.kept for cache in kept.caches]
    return sum(x.numel() * x.element_size() for cache in caches for x in (cache.keys, cache.values)) / 2**20


def summary(parts: list[dict[str, list]]) -> dict[str, float]:
    """One row of the table, of the measurements of one market or of several single products."""
    together = {name: np.array([value for part in parts for value in part[name]]) for name in parts[0]}
    row = {}
    for name in ("append", "full"):
        for clock, milliseconds in zip(("", "_processor"), together[name].T, strict=True):
            for share in (50, 99):
                row[f"{name}{clock}_p{share}_ms"] = np.percentile(milliseconds, share)
    row["ratio"] = row["full_p50_ms"] / row["append_p50_ms"]
    row["ratio_processor"] = row["full_processor_p50_ms"] / row["append_processor_p50_ms"]
    row["frame_ms"], row["kept_mib"] = np.median(together["frame"][:, 0]), together["mib"][0]
    return {name: round(float(value), 2) for name, value in row.items()} | {
        "n_appends": len(together["append"]),
        "n_full": len(together["full"]),
        "largest_difference": float(f"{together['difference'].max():.1e}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a market's, as build/<market>")
    parser.add_argument("--variant", default="shelfcast")
    parser.add_argument("--weeks", type=int, nargs="+", default=[52, 104, 512])
    parser.add_argument("--rounds", type=int, default=10, help="weeks that are appended")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    model, market = read_market(options.folder, options.variant)
    facts = {"market": options.folder.name, "locations": len(market.locations), "cores": torch.get_num_threads()}
    some = [take(market, [product]) for product in market.products[:SINGLE]]
    for n_weeks in options.weeks:
        for chosen in (some, [market]):
            parts = [measure(model, part, n_weeks, options.rounds) for part in chosen]
            row = facts | {"weeks": n_weeks, "products": len(chosen[0])} | summary(parts)
            row["measured"] = datetime.now(UTC).date().isoformat()
            print(row, flush=True)
            keep([row], options.results, KEY)


if __name__ == "__main__":
    main()
