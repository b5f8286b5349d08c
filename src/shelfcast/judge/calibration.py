"""Calibration of forecasts by the randomised probability integral transform (PIT), measured and mended.

`recalibrate` stretches the quantiles of coming forecasts so that central ranges hold as many actuals as they should,
by what they held at past cutoffs: conformal calibration on the scale of a normal.

References: Czado, Gneiting & Held (2009), "Predictive model assessment for count data"; Kuleshov, Fenner & Ermon
(2018), "Accurate uncertainties for deep learning using calibrated regression".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import optimize, stats

from shelfcast.judge.distribution import (
    QUANTILE_COLUMNS,
    QUANTILES,
    WQL_QUANTILES,
    Amounts,
    count_distribution,
    law_quantiles,
    pinball,
    quantile_column,
)
from shelfcast.judge.frame import add_level, forecast_frame

NORMAL = stats.norm.ppf(QUANTILES)
MEDIAN = QUANTILES.index(0.5)
STRETCHES = (0.4, 2.5)  # of quantiles on the scale of a normal, at most
COVERAGES = (0.5, 0.8, 0.95)
USUAL = 0.1  # by how much the log of a stretch usually differs from 0 (standard deviation)
LOG_STRETCH_VARIANCE = 0.8  # of an 80 % range, of one actual: c (1 - c) / (2 z φ(z))²
SHRINKAGE_HORIZON = 2000  # rows of a horizon that go half the way from the stretch of all horizons to its own
WORSE = 0.003  # relative weighted quantile loss that better ranges may cost
Bounds = tuple[np.ndarray, np.ndarray]
Stretches = dict[str, dict[int, list[float]]]  # level -> horizon -> one for each of COVERAGES


def pit_bounds(frame: pd.DataFrame) -> Bounds:
    """P(Y < y) and P(Y <= y) of each row's distribution; of its quantiles where a method gives these alone.

    A calibrated forecast spreads each actual evenly between the two, and all rows together over [0, 1]: a Poisson of
    mean 1 that meets y = 0 owns the range [0, .37], so a quarter of its mass lies below .0925. Both are NaN where `y`
    is.
    """
    y, unit = frame["y"].to_numpy(float), np.broadcast_to(frame.get("unit", 0.0), len(frame))
    amounts, by_law = unit > 0, frame["dispersion"].notna().to_numpy()
    below, upto = _bounds_by_quantiles(np.where(amounts, y, np.round(y)), frame[QUANTILE_COLUMNS].to_numpy(), amounts)
    mean, dispersion = (frame[name].to_numpy(float) for name in ("mean", "dispersion"))
    counts = by_law & ~amounts
    law = count_distribution(mean[counts], dispersion[counts])
    below[counts], upto[counts] = law.cdf(np.round(y[counts]) - 1), law.cdf(np.round(y[counts]))
    both = by_law & amounts
    if both.any():
        upto[both] = Amounts.of(mean[both], dispersion[both], unit[both]).cdf(y[both])
        below[both] = np.where(y[both] > 0, upto[both], 0.0)
    return np.where(np.isnan(y), np.nan, below), np.where(np.isnan(y), np.nan, upto)


def _bounds_by_quantiles(y: np.ndarray, quantiles: np.ndarray, amounts: np.ndarray) -> Bounds:
    """PIT ranges by lines between quantiles, on the scale of a normal.

    A count owns what lies half a unit to both sides of it, because averaged quantiles of counts are not whole. An
    amount owns a range where several quantiles equal it, as at zero.
    """
    half = np.where(amounts, 0.0, 0.5)
    below = _probability(y - half, quantiles, upto=False)
    return np.where(y <= 0, 0.0, below), _probability(y + half, quantiles, upto=True)


def _probability(value: np.ndarray, quantiles: np.ndarray, upto: bool) -> np.ndarray:
    """Probability of less than `value`, or of at most it; lines go on beyond the outer quantiles."""
    at = value[:, None]
    n_below = (quantiles <= at if upto else quantiles < at).sum(1)
    right = np.clip(n_below, 1, len(QUANTILES) - 1)
    row = np.arange(len(value))
    low, high = quantiles[row, right - 1], quantiles[row, right]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (value - low) / (high - low)
    share = np.where(high > low, share, np.where(n_below > right - 1, np.inf, -np.inf))
    outside = (n_below == 0) | (n_below == len(QUANTILES))
    share = np.where(outside, share, np.clip(share, 0, 1))
    return stats.norm.cdf(NORMAL[right - 1] + share * (NORMAL[right] - NORMAL[right - 1]))


def mass_between(bounds: Bounds, low: float, high: float) -> np.ndarray:
    """Share of each row's PIT range that lies between two probabilities; NaN where there is no range."""
    below, upto = bounds
    overlap = np.clip(np.minimum(upto, high) - np.maximum(below, low), 0, None)
    inside = (below >= low) & (upto <= high)  # a range without length: an amount, or far in a tail
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(upto > below, overlap / (upto - below), inside.astype(float))
    return np.where(np.isnan(below), np.nan, share)


def pit(frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Randomised PIT of each row: uniform on [0, 1] where the distributions are calibrated."""
    below, upto = pit_bounds(frame)
    return below + (upto - below) * np.random.default_rng(seed).random(len(frame))


def pit_histogram(frame: pd.DataFrame, bins: int = 10) -> np.ndarray:
    """Expected share of PIT values in each of `bins` bins, without randomness: 1 / bins where calibrated."""
    bounds, edges = pit_bounds(frame), np.linspace(0, 1, bins + 1)
    return np.array([np.nanmean(mass_between(bounds, low, high)) for low, high in pairwise(edges)])


def stretch(bounds: Bounds) -> np.ndarray:
    """How much wider each central range of `COVERAGES` has to be, on the scale of a normal, to hold what it should.

    Worked example: where the 80 % range holds what a 60 % range should, its stretch is z(.9) / z(.8) = 1.28 / .84 =
    1.52.
    """

    def missing(log_stretch: float, coverage: float) -> float:
        high = stats.norm.cdf(np.exp(log_stretch) * stats.norm.ppf(0.5 + coverage / 2))
        return float(np.nanmean(mass_between(bounds, 1 - high, high))) - coverage

    return np.array([_root(missing, coverage) for coverage in COVERAGES])


def _root(missing: Callable[[float, float], float], coverage: float) -> float:
    """The stretch with which nothing is missing; the nearest of `STRETCHES` where none of them does."""
    low, high = np.log(STRETCHES)
    if missing(low, coverage) >= 0:
        return STRETCHES[0]
    if missing(high, coverage) <= 0:
        return STRETCHES[1]
    return float(np.exp(optimize.brentq(missing, low, high, (coverage,), xtol=1e-3)))


def fit_stretches(past: pd.DataFrame) -> Stretches:
    """The stretches of each level and horizon, from forecasts of one method whose weeks have actuals.

    What a week or two decide moves them little: they are drawn towards 1 by how much they vary as one week after the
    other is left out, and a horizon's own towards those of all horizons. Where they would make the weighted quantile
    loss worse, as with a shape that stretching cannot mend, they are drawn to 1 too.

    Parameters
    ----------
    past : forecast frame of the validation cutoffs.

    Returns
    -------
    level -> horizon -> a stretch for each of `COVERAGES`; levels and horizons without an actual are not in it.
    """
    past = add_level(past[past["y"].notna()])
    stretches: Stretches = {}
    for level, rows in past.groupby("level"):
        shared = _settled(rows)
        stretches[level] = {}
        for horizon, own in rows.groupby("horizon"):
            weight = len(own) / (len(own) + SHRINKAGE_HORIZON)
            log_stretch = weight * np.log(stretch(pit_bounds(own))) + (1 - weight) * shared
            stretches[level][int(horizon)] = np.exp(log_stretch).tolist()
        stretches[level] = _not_worse(rows, stretches[level])
    return stretches


def _settled(rows: pd.DataFrame) -> np.ndarray:
    """Logs of a level's stretches (3,), times the share of their variation that is not chance: empirical Bayes.

    Errors of one week have much in common, so chance is what varies as one target week after the other is left out
    (jackknife), and no less than the binomial variance of so many actuals. With a single week there is no telling, and
    the stretches are 1.
    """
    (below, upto), weeks = pit_bounds(rows), rows["ds"].to_numpy()
    others = [weeks != week for week in np.unique(weeks)]
    if len(others) < 2:
        return np.zeros(len(COVERAGES))
    without = np.log([stretch((below[own], upto[own])) for own in others])
    binomial = LOG_STRETCH_VARIANCE / len(rows[["unique_id", "ds"]].drop_duplicates())
    chance = np.maximum((len(others) - 1) * without.var(axis=0), binomial)
    return np.log(stretch((below, upto))) * USUAL**2 / (USUAL**2 + chance)


def _not_worse(rows: pd.DataFrame, of_level: dict[int, list[float]]) -> dict[int, list[float]]:
    """The stretches of a level, or half of them (in logs), or a quarter, or none: the first that costs no accuracy."""
    level, columns = rows["level"].iat[0], [quantile_column(q) for q in WQL_QUANTILES]
    y = rows["y"].to_numpy(float)
    limit = (1 + WORSE) * pinball(y, rows[columns].to_numpy()).sum()
    rows = rows.drop(columns="level")
    for share in (1.0, 0.5, 0.25):
        drawn = {horizon: [factor**share for factor in own] for horizon, own in of_level.items()}
        if pinball(y, recalibrate(rows, {level: drawn})[columns].to_numpy()).sum() <= limit:
            return drawn
    return {horizon: [1.0] * len(COVERAGES) for horizon in of_level}


def _normal_points(frame: pd.DataFrame, stretches: Stretches) -> np.ndarray:
    """Where each row reads its quantiles on the scale of a normal: (rows, quantiles), which do not fall."""
    keys = list(zip(add_level(frame)["level"], frame["horizon"], strict=True))
    none = [1.0] * len(COVERAGES)
    knots = stats.norm.ppf(0.5 + np.array(COVERAGES) / 2)
    by_key = {}
    for level, horizon in set(keys):
        factor = np.interp(np.abs(NORMAL), knots, stretches.get(level, {}).get(horizon, none))
        half = np.maximum.accumulate((factor * NORMAL)[MEDIAN:])
        below = np.minimum.accumulate((factor * NORMAL)[MEDIAN::-1])[::-1]
        by_key[level, horizon] = np.concatenate([below[:-1], half])
    return np.array([by_key[key] for key in keys]).reshape(len(frame), len(NORMAL))


def recalibrate(frame: pd.DataFrame, stretches: Stretches) -> pd.DataFrame:
    """Stretch quantiles around the median; means stay, and `dispersion` becomes NaN, since quantiles say more.

    Counts stay counts where a method has a distribution: its quantiles are read at other probabilities.

    Parameters
    ----------
    frame : forecast frame of one method; further columns are kept.
    stretches : of `fit_stretches`; what it lacks is not stretched.
    """
    normal = _normal_points(frame, stretches)
    quantiles = interpolated(frame[QUANTILE_COLUMNS].to_numpy(), NORMAL, normal)
    law = frame["dispersion"].notna().to_numpy()
    own, unit = frame[law], np.broadcast_to(frame.get("unit", 0.0), len(frame))
    quantiles[law] = law_quantiles(own["mean"], own["dispersion"], stats.norm.cdf(normal[law]), unit[law])
    out = forecast_frame(frame, frame["mean"], quantiles=quantiles, unit=unit)
    return out.join(frame.drop(columns=out.columns, errors="ignore").reset_index(drop=True))


def interpolated(quantiles: np.ndarray, at: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Quantiles at other points, by lines that go on beyond the outer ones, not below 0.

    Parameters
    ----------
    quantiles : (rows, points), which do not fall.
    at : (points,), rising. wanted : (rows, wanted points).
    """
    right = np.clip(np.searchsorted(at, wanted, side="right"), 1, len(at) - 1)
    row = np.arange(len(quantiles))[:, None]
    low, high = quantiles[row, right - 1], quantiles[row, right]
    share = (wanted - at[right - 1]) / (at[right] - at[right - 1])
    return np.maximum(low + share * (high - low), 0.0)
