"""Residuals that drift is seen in: what each location sold in a week, over what it was forecast a week before.

A product's few units say little in one week; all products of a location together say more, and what moves them all is
what drift is. The residual is the log of their ratio, in standard deviations of the weeks before.

Worked example: a location was forecast 100 units and sold 80; its log ratio is log(80 / 100) = -.22. Where such
ratios usually differ from 0 by .1 (root mean square), the scaled residual is -2.2.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.live.online.grid import Grid

HALF = 0.5  # units added to both sides of a ratio, so that a week without sales has one
LEAST_SCALE = 0.02  # of a log ratio: no forecast is usually nearer than 2 %
MIN_HISTORY = 4  # weeks; fewer say nothing of what is usual
COLUMNS = ["week", "location", "ratio"]


def log_ratios(frame: pd.DataFrame, horizon: int = 1) -> pd.DataFrame:
    """Log of units sold over units forecast, of each location and week.

    Parameters
    ----------
    frame : forecast frame of one method; rows without an actual count on neither side.
    horizon : weeks ahead; the nearest one sees a change first.

    Returns
    -------
    week, location, ratio; in order of both.
    """
    grid = Grid.of(frame)
    if not 1 <= horizon <= grid.y.shape[2]:
        raise ValueError(f"horizon is {horizon}, and forecasts reach {grid.y.shape[2]} weeks. Choose one of these.")
    return ratios_of(
        grid.series.str.rsplit("|", n=1).str[1],
        pd.DatetimeIndex(grid.targets[:, horizon - 1]),
        grid.y[..., horizon - 1],
        grid.mean[..., horizon - 1],
    )


def ratios_of(locations: pd.Index, weeks: pd.DatetimeIndex, y: np.ndarray, mean: np.ndarray) -> pd.DataFrame:
    """`log_ratios` of arrays (series, weeks): units sold and forecast. locations : of each series."""
    known = ~np.isnan(y) & ~np.isnan(mean)
    long = pd.DataFrame(
        {
            "week": np.tile(weeks.to_numpy(), len(locations)),
            "location": np.repeat(np.asarray(locations), len(weeks)),
            "y": np.where(known, y, 0.0).ravel(),
            "mean": np.where(known, mean, 0.0).ravel(),
            "known": known.ravel(),
        }
    )
    sums = long[long["known"]].groupby(["week", "location"], as_index=False)[["y", "mean"]].sum()
    return sums.assign(ratio=np.log((sums["y"] + HALF) / (sums["mean"] + HALF)))[COLUMNS]


def scaled(ratios: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """`ratios` with `z`: the ratio over the root mean square of its location's ratios in the history.

    Raises
    ------
    ValueError : a location with too short a history, or a history that is not over when the ratios begin.
    """
    if len(ratios) and len(history) and history["week"].max() >= ratios["week"].min():
        raise ValueError(
            f"the history reaches {history['week'].max():%Y-%m-%d}, and the weeks to watch begin at "
            f"{ratios['week'].min():%Y-%m-%d}. What is usual must be known before: cut the history."
        )
    n = history.groupby("location").size().reindex(ratios["location"].unique()).fillna(0)
    if (n < MIN_HISTORY).any():
        raise ValueError(
            f"{n.idxmin()} has {int(n.min())} weeks of history, and {MIN_HISTORY} are needed to say what is usual."
        )
    scale = history.groupby("location")["ratio"].agg(lambda x: np.sqrt((x**2).mean())).clip(lower=LEAST_SCALE)
    return ratios.assign(z=ratios["ratio"] / ratios["location"].map(scale))
