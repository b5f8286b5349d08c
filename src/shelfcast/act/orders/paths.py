"""Demand paths: what may be sold over the weeks of one forecast, by quantiles of each week and their correlation.

A path is one draw of all weeks of a series. Each week has the forecast's own quantiles; weeks hang together by a
Gaussian copula, whose correlation is that of the normal scores of past forecasts (PIT). A sum of weeks is read from
the paths: quantiles of weeks are never added.

All series share the same draws of the copula, so that paths of series are no joint draws: read each series alone.

References: Clemen & Reilly (1999), "Correlations and copulas for decision and risk analysis"; Sobol's points as in
Owen (1998), "Scrambling Sobol' and Niederreiter-Xing points".

Axes: N series, D draws, H weeks, K quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats import qmc

from shelfcast.judge.calibration import NORMAL, pit_bounds
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import add_level

N_BINS = 10  # groups of rows by mean, whose normal scores tell as much of the demand
LARGEST = 0.95  # of a correlation; beyond it there would be no draw of its own left
MIN_CUTOFFS = 2  # below it nothing says how far a correlation is chance
Correlations = dict[str, np.ndarray]  # level -> (H, H)


@dataclass(frozen=True)
class Paths:
    """Draws of demand from one cutoff.

    series : unique_id of each row. cutoff : last observed week.
    demand : (N, D, H) units a week, >= 0; whole where sales are counts.
    """

    series: list[str]
    cutoff: pd.Timestamp
    demand: np.ndarray
    _sums: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def select(self, rows: np.ndarray) -> Paths:
        """The paths of some series, by a mask (N,)."""
        return Paths([name for name, own in zip(self.series, rows, strict=True) if own], self.cutoff, self.demand[rows])

    def sums(self, weeks: int) -> np.ndarray:
        """(N, D) units of the first `weeks` weeks together, sorted; kept, since every policy reads them."""
        if weeks not in self._sums:
            self._sums[weeks] = np.sort(self.demand[..., :weeks].sum(-1), axis=1)
        return self._sums[weeks]


def draw_paths(forecast: pd.DataFrame, correlations: Correlations, n_paths: int = 512, seed: int = 0) -> Paths:
    """Draw demand from the forecast of one method and one cutoff.

    Quantiles are joined by lines on the scale of a normal, which go on beyond the outer ones, as in `judge.calibration`.
    Averaged quantiles of counts are not whole; they are rounded up or down at random, so that the mean stays.

    Worked example: a week whose quantiles are all 1.5 is drawn as 1 in half of the paths and as 2 in the others.

    Parameters
    ----------
    forecast : forecast frame; every series needs the same horizons, 1 to H.
    correlations : of `week_correlations`; weeks of a level that is not in it are drawn independently.
    n_paths : a power of two.

    Raises
    ------
    ValueError : several cutoffs or methods, missing horizons, or a number of paths that is no power of two.
    """
    _check(forecast, n_paths)
    rows = add_level(forecast.sort_values(["unique_id", "horizon"]))
    n_weeks = int(rows["horizon"].max())
    first = rows.iloc[::n_weeks]
    quantiles = rows[QUANTILE_COLUMNS].to_numpy(float).reshape(len(first), n_weeks, -1)  # N, H, K
    is_count = np.broadcast_to(rows.get("unit", 0.0), len(rows)).reshape(len(first), n_weeks)[:, 0] <= 0
    points = qmc.Sobol(2 * n_weeks, seed=seed).random(n_paths)  # D, 2H: the copula's draws, and the rounding's
    normal, rounding = stats.norm.ppf(points[:, :n_weeks]), points[:, n_weeks:]
    demand = np.empty((len(first), n_paths, n_weeks), np.float32)
    for level in first["level"].unique():
        own = (first["level"] == level).to_numpy()
        root = np.linalg.cholesky(correlations.get(level, np.eye(n_weeks))[:n_weeks, :n_weeks])
        correlated = normal @ root.T  # D, H
        for week in range(n_weeks):
            demand[own, :, week] = quantiles[own, week] @ _line_weights(correlated[:, week]).T
    demand = np.maximum(demand, 0)
    demand[is_count] = np.floor(demand[is_count] + rounding)
    return Paths(first["unique_id"].tolist(), forecast["cutoff"].iat[0], demand)


def _check(forecast: pd.DataFrame, n_paths: int) -> None:
    if n_paths < 2 or n_paths & (n_paths - 1):
        raise ValueError(f"n_paths is {n_paths}. Choose a power of two, such as 512.")
    for name in ("cutoff", "method"):
        if name in forecast and forecast[name].nunique() != 1:
            raise ValueError(
                f"paths start from one {name}, but the forecast has {forecast[name].nunique()}. Select one of them."
            )
    n_weeks = forecast["horizon"].max()
    rows = forecast.groupby("unique_id")["horizon"].agg(["nunique", "size"])
    wrong = rows.index[(rows["nunique"] != n_weeks) | (rows["size"] != n_weeks)]
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} series, {wrong[0]} the first, do not have one row for each horizon from 1 to {n_weeks}. "
            "Draw paths from a whole forecast of one method, cutoff and situation."
        )


def _line_weights(normal: np.ndarray) -> np.ndarray:
    """(D, K) weights of the quantiles in the value at each normal score (D,): at most two, and they add up to 1."""
    right = np.clip(np.searchsorted(NORMAL, normal), 1, len(NORMAL) - 1)
    share = (normal - NORMAL[right - 1]) / (NORMAL[right] - NORMAL[right - 1])
    weights = np.zeros((len(normal), len(NORMAL)))
    row = np.arange(len(normal))
    weights[row, right - 1], weights[row, right] = 1 - share, share
    return weights


def week_correlations(past: pd.DataFrame, horizon: int) -> Correlations:
    """Correlation between the weeks of one forecast, by level, from forecasts whose weeks have actuals.

    One number for each distance in weeks, pooled over series and cutoffs. A small count tells little of where in its
    distribution a week was, so products of normal scores are compared with those of scores that agree entirely: scores
    are means over the range of PIT that an actual owns, and their variance among rows of a similar mean says how much
    they tell. The numbers are drawn towards 0 by how much they vary as one cutoff after the other is left out
    (jackknife); with fewer than `MIN_CUTOFFS` they are 0.

    Worked example: two weeks whose scores are (1, 1) and (-1, -1) in two series correlate by 1, (1, -1) and (-1, 1)
    by -1.

    Parameters
    ----------
    past : forecast frame of one method at validation cutoffs.

    Returns
    -------
    level -> (horizon, horizon), positive definite.
    """
    past = add_level(past[past["y"].notna()])
    correlations = {}
    for level, rows in past.groupby("level"):
        products, limits = _products_by_distance(rows, horizon)  # cutoffs, distances
        correlations[level] = _matrix(_settled(products, limits))
    return correlations


def normal_scores(frame: pd.DataFrame) -> np.ndarray:
    """Mean of a standard normal over the range of PIT that each actual owns; (rows,)."""
    below, upto = pit_bounds(frame)
    below, upto = np.clip(below, 0, 1), np.clip(upto, 0, 1)
    width = upto - below
    ends = np.clip([below, upto], 1e-9, 1 - 1e-9)
    density = stats.norm.pdf(stats.norm.ppf(ends))
    density[[below <= 0, upto >= 1]] = 0.0
    exact = stats.norm.ppf(np.clip((below + upto) / 2, 1e-4, 1 - 1e-4))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(width > 1e-6, (density[0] - density[1]) / width, exact)


def _products_by_distance(rows: pd.DataFrame, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of products of two weeks' scores, and what they would be at a correlation of 1: (cutoffs, distances)."""
    score = normal_scores(rows)
    score = score - rows.assign(score=score).groupby("horizon")["score"].transform("mean").to_numpy()  # bias is none
    group = pd.qcut(rows["mean"].rank(method="first"), min(N_BINS, len(rows)), labels=False)
    told = np.sqrt(pd.Series(score**2).groupby(group.to_numpy()).transform("mean").to_numpy())
    wide = rows.assign(score=score, told=told**2).pivot(
        index=["cutoff", "unique_id"], columns="horizon", values=["score", "told"]
    )
    wide = wide.reindex(columns=pd.MultiIndex.from_product([["score", "told"], range(1, horizon + 1)]))
    scores, told = wide["score"].to_numpy(), wide["told"].to_numpy()  # series, H
    cutoff, n_cutoffs = pd.factorize(wide.index.get_level_values("cutoff"))[0], rows["cutoff"].nunique()
    products, limits = np.zeros((n_cutoffs, horizon - 1)), np.zeros((n_cutoffs, horizon - 1))
    for distance in range(1, horizon):
        pairs = np.nan_to_num(scores[:, distance:] * scores[:, :-distance]).sum(1)
        both = np.where(
            np.isnan(scores[:, distance:] * scores[:, :-distance]), 0, told[:, distance:] * told[:, :-distance]
        )
        products[:, distance - 1] = np.bincount(cutoff, pairs, n_cutoffs)
        limits[:, distance - 1] = np.bincount(cutoff, both.sum(1), n_cutoffs)
    return products, limits


def _settled(products: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Correlation at each distance (distances,), times the share of its size that is not chance."""
    n = len(products)
    if n < MIN_CUTOFFS:
        return np.zeros(products.shape[1])
    all_rows = products.sum(0) / np.maximum(limits.sum(0), 1e-9)
    without = (products.sum(0) - products) / np.maximum(limits.sum(0) - limits, 1e-9)
    chance = (n - 1) * without.var(axis=0)
    share = all_rows**2 / np.maximum(all_rows**2 + chance, 1e-9)
    return np.clip(all_rows * share, -LARGEST, LARGEST)


def _matrix(by_distance: np.ndarray) -> np.ndarray:
    """The nearest correlation matrix to one number for each distance: negative eigenvalues are cut."""
    n = len(by_distance) + 1
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    matrix = np.r_[1.0, by_distance][distance]
    values, vectors = np.linalg.eigh(matrix)
    matrix = (vectors * np.maximum(values, 1 - LARGEST)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale)
