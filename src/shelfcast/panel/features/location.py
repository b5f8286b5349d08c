"""Features that all products of a location share: the category's sales, the location's own shocks, and traffic."""

from __future__ import annotations

import numpy as np

from shelfcast.panel.facts import Facts
from shelfcast.panel.grid import Column, Grid, mean, shift

SHARED = 20  # units of a product, so few that its shares by location are half its own and half the category's
SETTLED = 8  # weeks before shares are known


def location_totals(facts: Facts, grid: Grid) -> list[Column]:
    """What the location sells beyond one product."""
    units, baskets = facts.category_units, facts.traffic
    noun, month = grid.frequency.noun, grid.frequency.periods(4)
    level = grid.over_observed(lambda x: (mean(x, month) + 1) / (mean(x) + 1), units)
    last = f"last {month} {noun}s"
    now = grid.over_observed(_ratio, units)
    columns = [
        Column("category_level", "past", level, f"category units at the location, {last} over the running mean"),
        Column(
            "category_now", "past", np.log(now), f"category units at the location, this {noun} over the running mean"
        ),
        Column(
            "location_now",
            "past",
            location_shock(facts.units, grid.observed, grid.frequency.periods(SETTLED))
            if facts.common is None
            else facts.common.shock,
            f"log of the location's units this {noun} over its typical shares of the chain's, by product",
        ),
    ]
    if baskets is not None:
        meaning = f"baskets of any category at the location, this {noun} over the running mean"
        columns.append(Column("traffic", "past", grid.over_observed(_ratio, baskets), meaning))
    return columns


def _ratio(x: np.ndarray) -> np.ndarray:
    """This week over the running mean."""
    return (x + 1) / (mean(x) + 1)


def location_shock(y: np.ndarray, observed: np.ndarray, settled: int = SETTLED) -> np.ndarray:
    """Log of what each location sold in a week over what its typical shares of the chain's units make, (L, T).

    What all locations share (a promotion, a season, a fashion) cancels out product by product. The shares are those of
    the weeks before in which all were observed, drawn towards the category's. The chain's is 0, and so is every
    location's in the first weeks; in a missing week it is that of the week before.

    Parameters
    ----------
    y : (P, L, T) units. observed : (L, T) bool. settled : columns before shares are known.
    """
    return shock_of_sums(*shock_sums(y, observed, sold_before(y, observed).sum(0)), observed, settled)


def sold_before(y: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """(P, L - 1, T) units that products sold in regions before each week, in weeks in which all were observed."""
    regions, seen = y[:, 1:] * observed[1:], observed[1:]
    return shift(np.cumsum(regions * seen.all(0), -1), 1)


def shock_sums(y: np.ndarray, observed: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What some products sold in regions and what their usual shares make, each summed over products, (L - 1, T).

    Parameters
    ----------
    category : (L - 1, T) `sold_before` of all products of the market together.
    """
    regions, seen = y[:, 1:] * observed[1:], observed[1:]
    before = sold_before(y, observed)
    category_share = category / np.maximum(category.sum(0), 1)
    share = (before + SHARED * category_share) / (before.sum(1, keepdims=True) + SHARED)
    if not seen.all():
        share = share * seen / np.maximum((share * seen).sum(1, keepdims=True), 1e-9)
    return regions.sum(0), (regions.sum(1, keepdims=True) * share).sum(0)


def shock_of_sums(sold: np.ndarray, expected: np.ndarray, observed: np.ndarray, settled: int) -> np.ndarray:
    """`location_shock` from `shock_sums` of all products."""
    seen = observed[1:]
    shock = np.log((sold + 1) / (expected + 1))
    shock[:, :settled] = 0.0
    week = np.maximum.accumulate(np.where(seen, np.arange(sold.shape[-1]), 0), -1)
    shock = np.take_along_axis(shock, week, -1)
    return np.concatenate([np.zeros_like(shock[:1]), shock])
