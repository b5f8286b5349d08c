"""What 80 % ranges hold in the test weeks, and within which limits chance moves that."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shelfcast.judge.calibration import mass_between, pit_bounds
from shelfcast.judge.frame import add_level
from shelfcast.judge.intervals import relative_difference, with_blocks

BAND = (0.75, 0.85)  # what 80 % ranges should hold


def coverage_interval(frame: pd.DataFrame, seed: int = 0) -> tuple[float, float]:
    """The 90 % interval of the share of actuals inside the 80 % range; products and blocks of weeks are resampled.

    Parameters
    ----------
    frame : forecast frame of one method, situation and level.
    """
    frame = frame[frame["y"].notna()]
    rows = with_blocks(frame).assign(held=mass_between(pit_bounds(frame), 0.1, 0.9))
    sums = rows.groupby(["product", "block"])["held"].agg(["sum", "size"]).unstack("block", fill_value=0)
    _, low, high = relative_difference(sums["sum"].to_numpy(), sums["size"].to_numpy(), seed=seed)
    return 1 + low, 1 + high


def coverage_intervals(forecasts: Path, methods: tuple[str, ...]) -> pd.DataFrame:
    """Of a market's `forecasts.parquet`: situation, level, method, coverage_low, coverage_high."""
    frame = add_level(pd.read_parquet(forecasts))
    rows = []
    for keys, part in frame[frame["method"].isin(methods)].groupby(["situation", "level", "method"]):
        rows.append((*keys, *coverage_interval(part.drop(columns="level"))))
    return pd.DataFrame(rows, columns=["situation", "level", "method", "coverage_low", "coverage_high"])


def outside(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of which 80 % ranges hold less or more than `BAND`; `by_chance`: their interval reaches into it.

    Parameters
    ----------
    scores : coverage_80, coverage_low, coverage_high.
    """
    low, high = BAND
    rows = scores[~scores["coverage_80"].between(low, high)]
    return rows.assign(by_chance=(rows["coverage_low"] <= high) & (rows["coverage_high"] >= low))
