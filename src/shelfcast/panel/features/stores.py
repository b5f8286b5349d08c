"""Static features of a location: its share of sales, and what its stores are like."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.panel.facts import SMALLEST, Facts
from shelfcast.panel.features.behavior import slug
from shelfcast.panel.grid import Column, Grid

MOST_VALUES = 10  # different texts of an attribute that becomes one column each


def location_share(facts: Facts, grid: Grid) -> list[Column]:
    """One static column."""
    meaning = "location's share of the category's training units"
    return [Column("location_share", "static", shares(facts, grid), meaning)]


def shares(facts: Facts, grid: Grid) -> np.ndarray:
    """Each location's share of the products' training units, (L,); the chain's is 1."""
    units = facts.units[:, 1:, : grid.train_end].sum((0, 2))
    return np.append(1.0, units / max(units.sum(), 1))


def store_traits(facts: Facts, grid: Grid) -> list[Column]:
    """Attributes of stores, weighted by training units: shares of values, means of numbers."""
    if facts.stores is None:
        return []
    stores = facts.stores.set_index("store_id").drop(columns="region", errors="ignore")
    weight = facts.store_units.reindex(stores.index).fillna(0) + SMALLEST
    region = pd.Series(stores.index.map(grid.regions), stores.index)
    inside = [(region == name) | (name == grid.locations[0]) for name in grid.locations]
    columns = []
    for name, x in _numbers(stores).items():
        values = np.array([np.average(x[stores], weights=weight[stores]) for stores in inside])
        meaning = "of the location's stores, weighted by training units: share with the value, or mean"
        columns.append(Column(f"store_{name}", "static", values, meaning))
    return columns


def _numbers(stores: pd.DataFrame) -> dict[str, pd.Series]:
    """Attributes as numbers: a number as it is, a text with few values as one column of 0 and 1 for each."""
    numbers = {}
    for name, x in stores.items():
        if pd.api.types.is_numeric_dtype(x):
            numbers[slug(name)] = x.fillna(x.mean())
        elif x.nunique() <= MOST_VALUES:
            for value in sorted(x.dropna().unique()):
                numbers[f"{slug(name)}_{slug(value)}"] = (x == value).astype(float)
    return numbers
