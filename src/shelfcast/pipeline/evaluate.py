"""What notebook 4 computes: forecasts of the trained variants and of the oracle, and how methods compare."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd

from shelfcast.judge import intervals, metrics
from shelfcast.judge.frame import add_level
from shelfcast.market.oracle import oracle
from shelfcast.market.tables import load_truth
from shelfcast.model.forecast import as_frame, load_models, predict_each
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel

Timings = dict[str, dict[str, float]]  # method -> fit_seconds, predict_seconds


def variant_forecasts(folder: Path, panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame, Timings]:
    """Forecast with every trained variant from the test cutoffs and the latest one.

    Parameters
    ----------
    folder : of the market; `models/<variant>/` and `seconds/<variant>.json` are read.

    Returns
    -------
    Forecast frame with `method`, averaged over each variant's seeds; WQL of each seed alone on the test weeks (level,
    method, seed, wql); seconds by variant.

    Raises
    ------
    ValueError : no variant was trained.
    """
    paths = sorted(folder.glob("models/*/variant.json"))
    if not paths:
        raise ValueError(f"{folder}/models/ holds no trained variant. Run notebook 3_finetune (or `dvc repro`) first.")
    cutoffs = panel.cutoffs["test"] + panel.cutoffs["latest"]
    frames, seed_scores, timings = [], [], {}
    for path in paths:
        name, facts, began = path.parent.name, json.loads(path.read_text()), time.perf_counter()
        market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
        models = load_models(path.parent)
        parts = predict_each(models, market, cutoffs)
        frames.append(as_frame(parts, market, cutoffs).assign(method=name))
        fit_seconds = json.loads((folder / "seconds" / f"{name}.json").read_text())
        timings[name] = fit_seconds | {"predict_seconds": time.perf_counter() - began}
        for seed, part in zip(facts["seeds"], parts, strict=True):
            single = as_frame([part], market, cutoffs).assign(method=name, seed=seed)
            seed_scores.append(metrics.scores(add_level(single), panel.frame, by=("level", "method", "seed")))
    return pd.concat(frames, ignore_index=True), pd.concat(seed_scores).reset_index(), timings


def oracle_forecast(folder: Path, panel: Panel, seed: int) -> tuple[pd.DataFrame, Timings]:
    """Forecast a simulated market's test weeks from its true state by its true laws; see `market.oracle`."""
    began = time.perf_counter()
    frame = oracle(load_truth(folder / "truth"), panel.cutoffs["test"], panel.stores_by_location, seed=seed)
    frame = frame[frame["unique_id"].isin(panel.frame["unique_id"])]
    seconds = {"fit_seconds": 0.0, "predict_seconds": time.perf_counter() - began}
    return frame.assign(method="oracle"), {"oracle": seconds}


def differences(frame: pd.DataFrame, reference: str, seed: int) -> pd.DataFrame:
    """Relative difference in WQL of `reference` to each method, with 90 % intervals of a paired bootstrap.

    Parameters
    ----------
    frame : forecast frame with `method` and `level`, rows with actuals alone.

    Returns
    -------
    level, method, estimate, low, high; no rows where `reference` is not in the frame.
    """
    rows = []
    for level, part in frame.groupby("level"):
        methods = sorted(part["method"].unique())
        for method in [m for m in methods if m != reference and reference in methods]:
            rows.append((level, method, *intervals.paired_bootstrap(part, reference, method, seed=seed)))
    return pd.DataFrame(rows, columns=["level", "method", "estimate", "low", "high"])


def share_of_the_way(scores: dict, start: str) -> pd.DataFrame:
    """How much of the way from the WQL of `start` to the oracle's each method goes (1 is the oracle), by level."""
    wql = pd.DataFrame({level: {m: row["wql"] for m, row in methods.items()} for level, methods in scores.items()})
    return (wql.loc[start] - wql) / (wql.loc[start] - wql.loc["oracle"])
