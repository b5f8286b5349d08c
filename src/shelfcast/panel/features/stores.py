"""Static features of a location: its share of sales, and what its stores are like."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.panel.facts import SMALLEST, Facts
from shelfcast.panel.grid import Column, Grid

MOST_VALUES = 10  # different texts of an attribute that becomes one column each


def location_share(facts: Facts, grid: Grid) -> list[Column]:
    """One static column."""
    meaning = "location's share of the category's units in the last year of training, of stores open at its end"
    return [Column("location_share", "static", shares(facts, grid), meaning)]


def units_of_locations(facts: Facts, grid: Grid, units: pd.Series | None = None) -> np.ndarray:
    """Units by store (of `facts.store_units` where none are given) summed by location, (L,); the chain has all."""
    units = facts.store_units if units is None else units
    location = grid.stores.set_index("store_id")["location"].reindex(units.index).to_numpy()
    by_location = np.bincount(location, units, len(grid.locations))
    by_location[0] = units.sum()
    return by_location


def shares(facts: Facts, grid: Grid) -> np.ndarray:
    """Each location's share of the products' units today, (L,); the chain's is 1."""
    units = units_of_locations(facts, grid)
    return np.append(1.0, units[1:] / max(units[1:].sum(), 1e-9))


def store_traits(facts: Facts, grid: Grid) -> list[Column]:
    """Attributes of stores, weighted by units of today: shares of values, means of numbers."""
    if facts.stores is None:
        return []
    stores = facts.stores.set_index("store_id").drop(columns="region", errors="ignore")
    stores = stores[stores.index.isin(grid.regions)]
    weight = facts.store_units.reindex(stores.index).fillna(0) + SMALLEST
    weight = weight.where(stores.index.isin(grid.open_stores), 0.0)
    region = pd.Series(stores.index.map(grid.regions), stores.index)
    inside = [(region == name) | (name == grid.locations[0]) for name in grid.locations]
    weights = [weight[own] if weight[own].any() else weight[own] + SMALLEST for own in inside]
    columns = []
    for name, x in _numbers(stores).items():
        values = np.array([np.average(x[own], weights=w) for own, w in zip(inside, weights, strict=True)])
        meaning = "of the location's open stores, weighted by units: share with the value, or mean"
        columns.append(Column(f"store_{name}", "static", values, meaning))
    return columns


def _numbers(stores: pd.DataFrame) -> dict[str, pd.Series]:
    """Attributes as numbers: a number as it is, a text with few values as one column of 0 and 1 for each."""
    numbers = {}
    for name, x in stores.items():
        if pd.api.types.is_numeric_dtype(x) and x.notna().any():
            numbers[name] = x.astype(float).fillna(x.astype(float).mean())
        elif 1 <= x.nunique() <= MOST_VALUES:
            for value in sorted(x.dropna().unique()):
                numbers[f"{name} = {value}"] = (x == value).astype(float)
    return numbers
