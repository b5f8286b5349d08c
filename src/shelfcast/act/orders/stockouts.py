"""Demand where stock-outs cut sales: what would have sold, from what did and a flag of the weeks that were cut.

A week's demand of a product in a store is negative binomial around (product's week) x (store's share), fitted to all
cells with the expected demand in place of cut sales, until the two agree (EM). What is expected of a cut week depends
on how it was cut:

- `sold_out`: all that was there was sold, so demand was at least that, and E[D | D >= s] is expected;
- `part_of_week`: the shelf was empty for a part of the week of any length, so that of d units wanted any number from 0
  to d is equally likely to be sold, and d has the weight p(d) / (d + 1) for d >= s.

Sales that are not cut stay as they are.

References: Conlon & Mortimer (2013), "Demand estimation under incomplete product availability"; Vulcano, van Ryzin &
Ratliff (2012), "Estimating primary demand for substitutable products from sales transaction data" (EM).

Axes: P products, S stores, T weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfcast.judge.distribution import count_distribution, fit_dispersion

MECHANISMS = ("sold_out", "part_of_week")
MOST_ROUNDS, CLOSE = 20, 3e-3  # of EM; it ends when the demand of cut weeks changes by less
MOST_ROWS = 5_000  # of a fit of the dispersion
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


def correct(sold: np.ndarray, cut: np.ndarray, mechanism: str = "part_of_week", seed: int = 0) -> Corrected:
    """Estimate demand from sales that stock-outs have cut in known weeks.

    Worked example: one product sells 4 in each of nine equal stores and 1 in a tenth, which was out of stock. The tenth
    wanted about 3.6 by `part_of_week`: less than the 4 of the others, since 1 sold speaks for less.

    Parameters
    ----------
    sold : (P, S, T) whole units >= 0; NaN where a product is not offered.
    cut : (P, S, T) whether a stock-out cut the week's sales.

    Raises
    ------
    ValueError : shapes differ, an unknown mechanism, units that are no counts, or a product whose every week is cut.
    """
    _check(sold, cut, mechanism)
    cut = cut & ~np.isnan(sold)
    demand, dispersion, total = sold.astype(float).copy(), np.nan, np.inf
    rows = np.flatnonzero(~cut & ~np.isnan(sold))
    if len(rows) > MOST_ROWS:
        rows = np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False)
    for _ in range(MOST_ROUNDS):
        mean = _cell_means(demand)
        dispersion = fit_dispersion(sold.ravel()[rows], np.maximum(mean.ravel()[rows], 1e-6))
        demand[cut] = expected_demand(sold[cut], mean[cut], dispersion, mechanism)
        before, total = total, float(demand[cut].sum())
        if abs(total - before) <= CLOSE * total:
            break
    return Corrected(demand, float((total - sold[cut].sum()) / max(np.nansum(demand), 1e-9)), dispersion)


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


def _cell_means(demand: np.ndarray) -> np.ndarray:
    """(P, S, T) mean of each cell: the product's week times the store's share, by totals over what is offered.

    A week is drawn towards the product's mean week by `PRIOR_WEIGHT` units, since few units say little of it.
    """
    offered = ~np.isnan(demand)
    filled = np.where(offered, demand, 0.0)
    week = np.ones((len(demand), demand.shape[2]))
    for _ in range(5):  # shares and weeks in turn, as in iterative proportional fitting
        rate = filled.sum(2) / np.maximum((offered * week[:, None]).sum(2), 1e-9)  # P, S: units at a mean week
        expected = (offered * rate[..., None]).sum(1)  # P, T
        week = (filled.sum(1) + PRIOR_WEIGHT) / (expected + PRIOR_WEIGHT)
    return rate[..., None] * week[:, None]


def expected_demand(sold: np.ndarray, mean: np.ndarray, dispersion: float, mechanism: str) -> np.ndarray:
    """Expected demand (N,) of cells that a stock-out cut, at least what they sold.

    Worked example: demand is 0, 1 or 2 with the same probability and 1 was sold. Sold out: 1 or 2 with the same
    probability, 1.5. Part of the week: weights 1/2 and 1/3, so 1.4.
    """
    out = np.empty(len(sold))
    order = np.argsort(mean + sold)  # cells of a chunk need about as many terms
    for start in range(0, len(sold), CHUNK):
        own = order[start : start + CHUNK]
        law = count_distribution(mean[own, None], dispersion)
        last = int(max(law.ppf(1 - TAIL).max(), sold[own].max() + 1))
        units = sold[own, None] + np.arange(last + 1)  # N, d
        weight = law.pmf(units)
        if mechanism == "part_of_week":
            weight = weight / (units + 1)
        total = weight.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = (weight * units).sum(1) / total
        out[own] = np.where(total > 0, expected, sold[own])  # sold more than its law deems possible
    return out
