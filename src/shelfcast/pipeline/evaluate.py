"""What notebook 4 computes: forecasts of the trained variants and of the oracle, and how methods compare."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd

from shelfcast.judge import intervals, metrics
from shelfcast.judge.calibration import fit_stretches, recalibrate
from shelfcast.judge.frame import add_level
from shelfcast.market.oracle import oracle
from shelfcast.market.tables import load_truth
from shelfcast.methods import SITUATIONS, Forecasts
from shelfcast.methods.delivery import average
from shelfcast.methods.ensemble import Weights, select_weights
from shelfcast.model.forecast import as_frame, load_models, predict_in_situations, situation_frames
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import SOLD, Panel

Timings = dict[str, dict[str, float]]  # method -> fit_seconds, predict_seconds
ENSEMBLE = "ensemble"
MOST_LOST = 0.1  # of a week's demand, up to which sales judge its forecasts
MOST_LEFT_OUT = 0.5  # of a level's forecasts


def variant_forecasts(folder: Path, panel: Panel) -> tuple[Forecasts, pd.DataFrame]:
    """Forecast with every trained variant from the test cutoffs and the latest one, in each situation.

    Parameters
    ----------
    folder : of the market; `models/<variant>/` and `seconds/<variant>.json` are read.

    Returns
    -------
    Forecasts, averaged over each variant's seeds; those of the validation weeks are what training wrote. WQL of each
    seed alone on the test weeks, with the plan as it is (level, method, seed, wql).

    Raises
    ------
    ValueError : no variant was trained.
    """
    paths = sorted(folder.glob("models/*/variant.json"))
    if not paths:
        raise ValueError(f"{folder}/models/ holds no trained variant. Run notebook 3_finetune (or `dvc repro`) first.")
    cutoffs = panel.cutoffs["test"] + panel.cutoffs["latest"]
    ahead, validation, seed_scores, timings = [], [], [], {}
    for path in paths:
        name, facts, began = path.parent.name, json.loads(path.read_text()), time.perf_counter()
        market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
        models = load_models(path.parent)
        predictions = predict_in_situations(models, market, cutoffs)
        ahead.append(situation_frames(predictions, market, cutoffs).assign(method=name))
        validation.append(pd.read_parquet(path.parent / "validation.parquet").assign(method=name))
        fit_seconds = json.loads((folder / "seconds" / f"{name}.json").read_text())
        timings[name] = fit_seconds | {"predict_seconds": time.perf_counter() - began}
        for seed, part in zip(facts["seeds"], predictions["plan_known"], strict=True):
            single = as_frame([part], market, cutoffs).assign(method=name, seed=seed)
            seed_scores.append(
                metrics.scores(add_level(judged(single, panel)[0]), panel.frame, by=("level", "method", "seed"))
            )
    forecasts = Forecasts(*(pd.concat(frames, ignore_index=True) for frames in (validation, ahead)), timings)
    return forecasts, pd.concat(seed_scores).reset_index()


def judged(frame: pd.DataFrame, panel: Panel) -> tuple[pd.DataFrame, list[str]]:
    """Forecasts with the actuals that they are judged by, where a table tells of stock-outs; see docs/decisions.md.

    Forecasts are of demand. A week of which stock-outs took at most `MOST_LOST` is judged by what was sold; other weeks
    have no actual, since what is estimated of them rests on the same past as forecasts do. Where that would leave out
    most weeks of a level, all its weeks are judged by the estimates.

    Worked example: 95 sold of a demand of 100: judged by 95. 80 sold of 100: left out.

    Returns
    -------
    The frame, and sentences on what was done, one a level; none for a panel without stock-outs.
    """
    if SOLD not in panel.frame:
        return frame, []
    actual = panel.frame.set_index(["unique_id", "ds"])[["y", SOLD]]
    actual = actual.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])).reset_index(drop=True)
    frame = add_level(frame.reset_index(drop=True))
    lost = 1 - actual[SOLD] / actual["y"].clip(lower=1e-9) > MOST_LOST
    known, words = frame["y"].notna() & actual["y"].notna(), []
    lost &= known & (actual["y"] > actual[SOLD])
    for level in frame["level"].unique():
        own = known & (frame["level"] == level)
        share = float(lost[own].mean()) if own.any() else 0.0
        estimated = share > MOST_LEFT_OUT
        frame.loc[own, "y"] = actual.loc[own, "y"] if estimated else actual[SOLD].mask(lost)[own]
        done = "are too many to leave out: all weeks are judged by estimated demand" if estimated else "are left out"
        words.append(f"{level}: {share:.0%} of forecasts, of weeks that stock-outs cut by over {MOST_LOST:.0%}, {done}")
    return frame.drop(columns="level"), words


def deliver(members: list[Forecasts], trained: list[str], seed: int) -> tuple[pd.DataFrame, dict[str, Weights]]:
    """Forecasts as people get them: the members, the trained variants and the ensemble with calibrated ranges.

    Weights and ranges come from the validation weeks alone, for each situation its own.

    Parameters
    ----------
    members : of the trained variants and the peers. trained : names of the variants.

    Returns
    -------
    Forecast frame of the test cutoffs and the latest one, with `method` and `situation`; situation -> weights.
    """
    validation, ahead = (pd.concat([getattr(m, part) for m in members]) for part in ("validation", "ahead"))
    frames, weights = [], {}
    for situation, past in validation.groupby("situation", sort=False):
        past, coming = add_level(past), add_level(ahead[ahead["situation"] == situation])
        weights[situation] = select_weights(past, seed=seed)
        for name in (ENSEMBLE, *trained):
            if name == ENSEMBLE:
                known, new = (average(frame, weights[situation]) for frame in (past, coming))
            else:
                known, new = (frame[frame["method"] == name] for frame in (past, coming))
            calibrated = recalibrate(new, fit_stretches(known))
            frames.append(calibrated.assign(method=name, situation=situation))
        frames.append(coming[~coming["method"].isin(trained)])
    return pd.concat(frames, ignore_index=True).drop(columns="level"), weights


def oracle_forecast(folder: Path, panel: Panel, seed: int) -> tuple[pd.DataFrame, Timings]:
    """Forecast a simulated market's test weeks from its true state by its true laws; see `market.oracle`."""
    began = time.perf_counter()
    frame = oracle(
        load_truth(folder / "truth"),
        panel.cutoffs["test"],
        panel.stores_by_location,
        seed=seed,
        frequency=panel.frequency,
    )
    frame = frame[frame["unique_id"].isin(panel.frame["unique_id"])]
    seconds = {"fit_seconds": 0.0, "predict_seconds": time.perf_counter() - began}
    both = [frame.assign(method="oracle", situation=situation) for situation in SITUATIONS]
    return pd.concat(both, ignore_index=True), {"oracle": seconds}


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
