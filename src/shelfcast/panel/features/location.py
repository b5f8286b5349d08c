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
    level = (mean(units, 4) + 1) / (mean(units) + 1)
    now = np.log((units + 1) / (mean(units) + 1))
    columns = [
        Column("category_level", "past", level, "category units at the location, last 4 weeks over the running mean"),
        Column("category_now", "past", now, "category units at the location, this week over the running mean"),
        Column(
            "location_now",
            "past",
            location_shock(facts.units),
            "log of the location's units this week over its typical shares of the chain's, by product",
        ),
    ]
    if baskets is not None:
        meaning = "baskets of any category at the location, this week over the running mean"
        columns.append(Column("traffic", "past", (baskets + 1) / (mean(baskets) + 1), meaning))
    return columns


def location_shock(y: np.ndarray) -> np.ndarray:
    """Log of what each location sold in a week over what its typical shares of the chain's units make, (P, L, T) -> (L, T).

    What all locations share (a promotion, a season, a fashion) cancels out product by product. The shares are those of
    the weeks before, drawn towards the category's. The chain's is 0, and so is every location's in the first weeks.
    """
    regions = y[:, 1:]
    before = shift(np.cumsum(regions, -1), 1)
    category_share = before.sum(0) / np.maximum(before.sum((0, 1)), 1)
    share = (before + SHARED * category_share) / (before.sum(1, keepdims=True) + SHARED)
    expected = (regions.sum(1, keepdims=True) * share).sum(0)
    shock = np.log((regions.sum(0) + 1) / (expected + 1))
    shock[:, :SETTLED] = 0.0
    return np.concatenate([np.zeros_like(shock[:1]), shock])
