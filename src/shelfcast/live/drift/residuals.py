"""Residuals that drift is seen in, of all products of a week together, since one product's few units say little.

Both are parts of one weekly regression of what products sold over what they were forecast on their prices:

- `sales`: its level at a location, as a log: how much more was sold than forecast a week before;
- `price`: its slope on log prices in the chain: how much more products with a high price sold than forecast, against
  products with a low one. What all products share cancels in it.

A product's ratio has a variance of about `LUCK` + 1 / mean, whose inverse is its weight: a large product counts more than
a small one, and not by as many times as it is larger.

Both are read in standard deviations of the weeks before, from what was usual in them.

Worked example: a location's sales were 1 % above their forecasts in the mean of the weeks before, with a standard
deviation of 10 %. A week of 20 % below (a log of -.22) is a scaled residual of -2.3.
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
    """Log of how much more a location's products sold than forecast, of each location and week.

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
    """`log_ratios` of arrays (series, weeks): units sold and forecast. locations : of each series.

    Weeks of a location in which nothing was forecast or known are left out.

    Worked example: forecasts of 100 and 20 units, 80.5 of the one sold and 16.5 of the other with half a unit added to
    both sides: ratios of .806 and .829, weights of 4.76 and 4, a mean of .816 and a log of -.203.
    """
    ratio, weight = _ratios(y, mean)
    places = pd.Index(np.asarray(locations)).unique()
    member = (np.asarray(locations)[None] == places.to_numpy()[:, None]).astype(float)  # places, series
    total = member @ weight
    level = np.divide(member @ (weight * ratio), total, out=np.ones(total.shape), where=total > 0)
    table = pd.DataFrame(np.where(total > 0, np.log(level), np.nan).T, index=weeks, columns=places)
    long = table.rename_axis(index="week", columns="location").stack().dropna().rename("ratio").reset_index()
    return long.assign(about="sales").sort_values(["week", "location"], ignore_index=True)[COLUMNS]


def _ratios(y: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units sold over units forecast, and the weight of each; 1 and 0 where either is unknown or nothing was forecast."""
    known = ~np.isnan(y) & ~np.isnan(mean) & (np.nan_to_num(mean) > 0)
    y, mean = (np.where(known, part, 0.0) for part in (y, mean))
    return (y + HALF) / (mean + HALF), mean / (1 + LUCK * mean)


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
    """Weekly slope of log(y / mean) on log price, by weighted least squares over products; arrays are (products, weeks).

    Weeks without prices that differ are left out.

    Worked example: two products of equal weight, forecast 100 each, with log prices of -.1 and .1, sell 110 and 90:
    the slope is log(90.5 / 110.5) / .2 = -1, so demand fell with the price by 1 more than forecast.
    """
    ratio, weight = _ratios(y, mean)
    weight = np.where(np.isnan(price), 0.0, weight)
    total = np.maximum(weight.sum(0), 1e-12)
    x, r = (part - (weight * part).sum(0) / total for part in (np.nan_to_num(price), np.log(ratio)))
    spread = (weight * x**2).sum(0)
    varied = spread > 1e-9
    slope = (weight * x * r).sum(0)[varied] / spread[varied]
    return pd.DataFrame({"week": weeks[varied], "location": CHAIN, "about": "price", "ratio": slope})[COLUMNS]


def usual(history: pd.DataFrame) -> pd.DataFrame:
    """Of each location and kind: n, mean and scale (the standard deviation, not below `LEAST_SCALE`) of its ratios."""
    groups = history.groupby(KEYS)["ratio"]
    return pd.DataFrame(
        {"n": groups.size(), "mean": groups.mean(), "scale": groups.std(ddof=0).clip(lower=LEAST_SCALE)}
    )


def scaled(ratios: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """`ratios` less the mean of their location and kind in the history, and `z`: that over its standard deviation there.

    Raises
    ------
    ValueError : a location with too short a history, or a history that is not over when the ratios begin.
    """
    if len(ratios) and len(history) and history["week"].max() >= ratios["week"].min():
        raise ValueError(
            f"the history reaches {history['week'].max():%Y-%m-%d}, and the weeks to watch begin at "
            f"{ratios['week'].min():%Y-%m-%d}. What is usual must be known before: cut the history."
        )
    own = usual(history)
    wanted = pd.MultiIndex.from_frame(ratios[KEYS])
    n = own["n"].reindex(wanted.unique(), fill_value=0)
    if (n < MIN_HISTORY).any():
        raise ValueError(
            f"{' '.join(n.idxmin())} has {n.min()} weeks of history, and {MIN_HISTORY} are needed to say what is usual."
        )
    return _in_deviations(ratios, own)


def with_scale(history: pd.DataFrame) -> pd.DataFrame:
    """The history with its own `z`, for the detectors to begin with."""
    return _in_deviations(history, usual(history))


def _in_deviations(ratios: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    own = own.reindex(pd.MultiIndex.from_frame(ratios[KEYS]))
    beyond = ratios["ratio"].to_numpy() - own["mean"].to_numpy()
    return ratios.assign(ratio=beyond, z=beyond / own["scale"].to_numpy())


def root_mean_square(x: pd.Series) -> float:
    """Not below `LEAST_SCALE`."""
    return max(float(np.sqrt((x**2).mean())), LEAST_SCALE)
