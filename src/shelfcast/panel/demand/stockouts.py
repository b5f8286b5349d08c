"""Demand where stock-outs cut sales: what would have sold, from what did and a flag of the weeks that were cut.

A week's demand of a product in a store is negative binomial around (product's week) x (product's rate in the store).
Weeks are walked through in order: the rate is of the demand so far, the product's week is read off its stores,
and cut sales are replaced by the demand that is expected of them, a few rounds in turn (EM). So an estimate rests on its own week and
earlier ones; the one number that is fitted on all training weeks is the dispersion. What is expected of a cut week
depends on how it was cut:

- `sold_out`: all that was there was sold, so demand was at least that, and E[D | D >= s] is expected;
- `part_of_week`: the shelf was empty for a part of the week of any length, so that of d units wanted any number from 0
  to d is equally likely to be sold, and d has the weight p(d) / (d + 1) for d >= s;
- where the share of the week is known, each unit wanted meets an empty shelf with that probability, and d has the weight
  p(d) binomial(s; d, 1 - share).

Sales that are not cut stay as they are.

References: Conlon & Mortimer (2013), "Demand estimation under incomplete product availability"; Vulcano, van Ryzin &
Ratliff (2012), "Estimating primary demand for substitutable products from sales transaction data".

Axes: P products, S stores, T weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from shelfcast.judge.distribution import count_distribution, fit_dispersion

MECHANISMS = ("sold_out", "part_of_week")
FIRST_DISPERSION = 1.0  # by which means are made that the dispersion is fitted around
ROUNDS = 4  # of a week's EM; what is left of the first guess is less than the share that is cut, to this power
MOST_ROWS = 5_000  # of a fit of the dispersion
PRIOR_WEEKS = 8.0  # of the product's mean store, which weigh in a store's rate
PRIOR_WEIGHT = 4.0  # units of a week that weigh as much as the product's mean week
TAIL = 1e-6  # probability of demand beyond the last that is added up
CHUNK = 2_000  # cells


@dataclass(frozen=True)
class Corrected:
    """demand : (P, S, T) units: sales, and the expected demand where they were cut; NaN where nothing is offered.

    added : share of all demand that was added. dispersion : of a cell's count around its mean.
    """

    demand: np.ndarray
    added: float
    dispersion: float


def correct(
    sold: np.ndarray,
    cut: np.ndarray,
    mechanism: str = "part_of_week",
    share: np.ndarray | None = None,
    n_train: int | None = None,
    seed: int = 0,
) -> Corrected:
    """Estimate demand from sales that stock-outs have cut in known weeks.

    Worked example: one product sells 4 in each of nine equal stores and 1 in a tenth, which was out of stock. The tenth
    wanted about 3.6 by `part_of_week`: less than the 4 of the others, since 1 sold speaks for less.

    Parameters
    ----------
    sold : (P, S, T) whole units >= 0; NaN where a product is not offered.
    cut : (P, S, T) whether a stock-out cut the week's sales.
    share : (P, S, T) of the week that the shelf was empty, NaN where that is not known: there `mechanism` holds.
    n_train : the first weeks, on which the dispersion is fitted; all where none are given.

    Raises
    ------
    ValueError : shapes differ, an unknown mechanism, units that are no counts, or a product whose every week is cut.
    """
    _check(sold, cut, mechanism)
    cut = cut & ~np.isnan(sold)
    share = np.full(sold.shape, np.nan) if share is None else share
    dispersion = FIRST_DISPERSION
    if cut.any():
        _, mean = _walk(sold, cut, share, mechanism, dispersion)
        seen = ~cut & ~np.isnan(sold)
        seen[..., slice(n_train, None) if n_train else slice(0)] = False
        rows = np.flatnonzero(seen)
        if len(rows) > MOST_ROWS:
            rows = np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False)
        if len(rows):
            dispersion = fit_dispersion(sold.ravel()[rows], np.maximum(mean.ravel()[rows], 1e-6))
    demand, _ = _walk(sold, cut, share, mechanism, dispersion)
    added = float((demand[cut] - sold[cut]).sum() / max(np.nansum(demand), 1e-9))
    return Corrected(demand, added, dispersion)


def since_launch(units: np.ndarray, launch: np.ndarray) -> np.ndarray:
    """Units (P, S, T) as floats, NaN before the week (P,) from which a product is offered."""
    offered = np.arange(units.shape[2]) >= np.asarray(launch)[:, None, None]
    return np.where(offered, units, np.nan)


def _check(sold: np.ndarray, cut: np.ndarray, mechanism: str) -> None:
    if mechanism not in MECHANISMS:
        raise ValueError(f"mechanism is {mechanism!r}. Choose of {', '.join(MECHANISMS)}.")
    if sold.ndim != 3 or sold.shape != cut.shape:
        raise ValueError(
            f"sold has the shape {sold.shape} and cut {cut.shape}. Give both as products x stores x weeks."
        )
    units = sold[~np.isnan(sold)]
    if (units < 0).any() or (units != np.round(units)).any():
        raise ValueError("sold must hold whole units that are not negative. Correct amounts in packs, or do not.")
    no_week = (cut | np.isnan(sold)).all(axis=(1, 2)) & ~np.isnan(sold).all(axis=(1, 2))
    if no_week.any():
        raise ValueError(
            f"{int(no_week.sum())} products, number {int(np.argmax(no_week))} the first, have no week that was not cut, "
            "so nothing says what they sell. Leave them out, or check the flag."
        )


def _walk(
    sold: np.ndarray, cut: np.ndarray, share: np.ndarray, mechanism: str, dispersion: float
) -> tuple[np.ndarray, np.ndarray]:
    """Demand and mean of each cell, (P, S, T) each, week by week; a week sees none after it."""
    demand, means = sold.astype(float).copy(), np.full(sold.shape, np.nan)
    units, exposure = np.zeros(sold.shape[:2]), np.zeros(sold.shape[:2])  # of the weeks before
    for week in range(sold.shape[2]):
        own, offered, is_cut = demand[..., week], ~np.isnan(sold[..., week]), cut[..., week]
        counted, factor = offered & ~is_cut, np.ones((len(sold), 1))
        for _ in range(ROUNDS):
            rate = _rates(units + np.where(counted, own, 0), exposure + np.where(counted, factor, 0), offered)
            expected = np.where(counted, rate, 0).sum(1, keepdims=True)
            factor = (np.where(counted, own, 0).sum(1, keepdims=True) + PRIOR_WEIGHT) / (expected + PRIOR_WEIGHT)
            mean, counted = rate * factor, offered  # from now on cut cells count with what is expected of them
            if not is_cut.any():
                break
            own[is_cut] = expected_demand(
                sold[..., week][is_cut], mean[is_cut], dispersion, mechanism, share[..., week][is_cut]
            )
        means[..., week] = mean
        units += np.where(offered, own, 0)
        exposure += np.where(offered, factor, 0)
    return demand, means


def _rates(units: np.ndarray, exposure: np.ndarray, offered: np.ndarray) -> np.ndarray:
    """(P, S) units at a mean week, drawn towards the product's mean store by `PRIOR_WEEKS` of it.

    A store's size is what all its products sold together, so that the mean store of a product that is new there fits.
    """
    size = units.sum(0) / np.maximum(exposure.sum(0), 1e-9)
    size = size / max(size[size > 0].mean(), 1e-9) if (size > 0).any() else np.ones_like(size)
    base = units.sum(1, keepdims=True) / np.maximum((exposure * size).sum(1, keepdims=True), 1e-9)
    return np.where(offered, (units + PRIOR_WEEKS * base * size) / (exposure + PRIOR_WEEKS), 0.0)


def expected_demand(
    sold: np.ndarray, mean: np.ndarray, dispersion: float, mechanism: str, share: np.ndarray | None = None
) -> np.ndarray:
    """Expected demand (N,) of cells that a stock-out cut, at least what they sold.

    Worked example: demand is 0, 1 or 2 with the same probability and 1 was sold. Sold out: 1 or 2 with the same
    probability, 1.5. Part of the week: weights 1/2 and 1/3, so 1.4. Half of the week: weights 1/2 and 1/2, so 1.5.

    Parameters
    ----------
    share : (N,) of the week without stock, NaN where that is not known.
    """
    share = np.full(len(sold), np.nan) if share is None else share
    out = np.empty(len(sold))
    order = np.argsort(mean + sold)  # cells of a chunk need about as many terms
    for start in range(0, len(sold), CHUNK):
        own = order[start : start + CHUNK]
        law = count_distribution(mean[own, None], dispersion)
        last = int(max(law.ppf(1 - TAIL).max(), sold[own].max() + 1))
        units = sold[own, None] + np.arange(last + 1)  # N, d
        weight = law.pmf(units)
        empty = np.broadcast_to(share[own, None], units.shape)
        thinned = stats.binom.pmf(sold[own, None], units, 1 - np.nan_to_num(empty))
        unknown = 1 / (units + 1) if mechanism == "part_of_week" else 1.0
        weight = weight * np.where(np.isnan(empty), unknown, thinned)
        total = weight.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = (weight * units).sum(1) / total
        out[own] = np.where(total > 0, expected, sold[own])  # sold more than its law deems possible
    return out
