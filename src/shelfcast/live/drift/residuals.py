"""Residuals that drift is seen in, of all products of a week together, since one product's few units say little.

`sales`: what a location sold, over what it was forecast a week before, as a log. `price`: how much more products with a
high price sold than forecast, against products with a low one: a slope, in which what all products share cancels. Both
are read in standard deviations of the weeks before.

Worked example: a location was forecast 100 units and sold 80; its log ratio is log(80 / 100) = -.22. Where such
ratios usually differ from 0 by .1 (root mean square), the scaled residual is -2.2.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.judge.frame import is_chain
from shelfcast.live.online.grid import Grid

HALF = 0.5  # units added to both sides of a ratio, so that a week without sales has one
LEAST_SCALE = 0.02  # of a log ratio: no forecast is usually nearer than 2 %
MIN_HISTORY = 4  # weeks; fewer say nothing of what is usual
LUCK = 0.2  # variance of a product's weekly ratio beside that of counts
COLUMNS = ["week", "location", "about", "ratio"]
KEYS = ["location", "about"]


def log_ratios(frame: pd.DataFrame, horizon: int = 1) -> pd.DataFrame:
    """Log of units sold over units forecast, of each location and week.

    Parameters
    ----------
    frame : forecast frame of one method; rows without an actual count on neither side.
    horizon : weeks ahead; the nearest one sees a change first.

    Returns
    -------
    week, location, about ('sales'), ratio; in order of week and location.
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
    return sums.assign(about="sales", ratio=np.log((sums["y"] + HALF) / (sums["mean"] + HALF)))[COLUMNS]


def price_slopes(frame: pd.DataFrame, prices: pd.DataFrame, horizon: int = 1) -> pd.DataFrame:
    """The chain's weekly slope of sales over forecasts on log prices, as `slopes_of` computes it.

    Parameters
    ----------
    frame : as for `log_ratios`. prices : unique_id, ds, price (log, over what the product usually costs); series or
        weeks that are not in it, or are NaN, are left out.
    """
    rows = frame[is_chain(frame) & (frame["horizon"] == horizon)].merge(prices, on=["unique_id", "ds"], how="left")
    wide = rows.pivot(index="unique_id", columns="ds", values=["y", "mean", "price"])
    return slopes_of(wide["y"].columns, *(wide[name].to_numpy(float) for name in ("y", "mean", "price")))


def slopes_of(weeks: pd.DatetimeIndex, y: np.ndarray, mean: np.ndarray, price: np.ndarray) -> pd.DataFrame:
    """Weekly slope of y / mean on log price, by weighted least squares over products; arrays are (products, weeks).

    A ratio's variance is about `LUCK` + 1 / mean, whose inverse is its weight. Weeks without prices that differ are
    left out.

    Worked example: two products of equal weight, forecast 100 each, with log prices of -.1 and .1, sell 110 and 90:
    the slope is (.9 - 1.1) / .2 = -1, so demand fell with the price by 1 more than forecast.
    """
    known = ~np.isnan(y) & ~np.isnan(mean) & ~np.isnan(price) & (mean > 0)
    ratio = np.divide(y, mean, out=np.zeros(y.shape), where=known)
    weight = np.where(known, mean / (1 + LUCK * np.nan_to_num(mean)), 0.0)
    total = np.maximum(weight.sum(0), 1e-12)
    x, r = (np.where(known, part - (weight * np.where(known, part, 0)).sum(0) / total, 0) for part in (price, ratio))
    spread = (weight * x**2).sum(0)
    varied = spread > 1e-9
    slope = (weight * x * r).sum(0)[varied] / spread[varied]
    return pd.DataFrame({"week": weeks[varied], "location": CHAIN, "about": "price", "ratio": slope})[COLUMNS]


def scaled(ratios: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """`ratios` with `z`: the ratio over the root mean square of those of its location and kind in the history.

    Raises
    ------
    ValueError : a location with too short a history, or a history that is not over when the ratios begin.
    """
    if len(ratios) and len(history) and history["week"].max() >= ratios["week"].min():
        raise ValueError(
            f"the history reaches {history['week'].max():%Y-%m-%d}, and the weeks to watch begin at "
            f"{ratios['week'].min():%Y-%m-%d}. What is usual must be known before: cut the history."
        )
    groups = history.groupby(KEYS)["ratio"]
    wanted = pd.MultiIndex.from_frame(ratios[KEYS])
    n = groups.size().reindex(wanted.unique(), fill_value=0)
    if (n < MIN_HISTORY).any():
        raise ValueError(
            f"{' '.join(n.idxmin())} has {n.min()} weeks of history, and {MIN_HISTORY} are needed to say what is usual."
        )
    return ratios.assign(z=ratios["ratio"].to_numpy() / groups.agg(root_mean_square).reindex(wanted).to_numpy())


def root_mean_square(x: pd.Series) -> float:
    """Not below `LEAST_SCALE`."""
    return max(float(np.sqrt((x**2).mean())), LEAST_SCALE)


def with_scale(history: pd.DataFrame) -> pd.DataFrame:
    """The history with its own `z`, for the detectors to begin with."""
    return history.assign(z=history["ratio"] / history.groupby(KEYS)["ratio"].transform(root_mean_square))
