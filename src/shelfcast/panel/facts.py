"""The weekly facts that features are made of: P products, L locations (chain first), T weeks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.tables import Tables
from shelfcast.panel.grid import Grid

SMALLEST = 1e-3  # units of a store that sold nothing, and whose promotions count nevertheless
MOST_EVENTS = 8  # kinds of behaviour, the most frequent ones


@dataclass(frozen=True)
class Facts:
    """Weekly facts. Frames number items, locations and weeks; see `weekly`.

    transactions : columns that transactions have.
    items : what products sold; `of` gives a column as an array.
    category_units : (L, T) units of the whole category. traffic : (L, T) baskets with anything at all, or None.
    store_units : training units of the products, by store.
    stores, prices, events, promotions : None where tables have none.
    recorded_stores : store_id, location, weight: the stores that keep records of promotions, by training units.
    """

    grid: Grid
    transactions: list[str]
    items: pd.DataFrame
    category_units: np.ndarray
    traffic: np.ndarray | None
    store_units: pd.Series
    stores: pd.DataFrame | None = None
    prices: pd.DataFrame | None = None
    events: pd.DataFrame | None = None
    promotions: pd.DataFrame | None = None
    recorded_stores: pd.DataFrame | None = None

    def of(self, fact: str) -> np.ndarray:
        """(P, L, T) of a column of `items`."""
        return self.grid.spread(self.items, fact)

    @cached_property
    def units(self) -> np.ndarray:
        """(P, L, T) units."""
        return self.of("units")


def collect(tables: Tables, grid: Grid) -> Facts:
    """Aggregate all tables on the grid."""
    weeks, items, regions = grid.weeks, grid.items, grid.stores
    transactions = tables.columns["transactions"]
    store_units = weekly.store_units(tables, grid.weeks[: grid.train_end], items)
    optional = {}
    if "prices" in tables.columns:
        optional["prices"] = weekly.price_weeks(tables, weeks[0], items, regions)
    if "behavior" in tables.columns:
        optional["events"] = weekly.event_weeks(tables, weeks, items, regions, MOST_EVENTS)
    if "promotions" in tables.columns:
        recorded = weekly.promotion_stores(tables, grid.weeks_ahead[grid.train_end])
        recorded = regions[regions["store_id"].isin(recorded)]
        recorded = recorded.assign(weight=store_units.reindex(recorded["store_id"]).fillna(0).to_numpy() + SMALLEST)
        optional["recorded_stores"] = recorded
        optional["promotions"] = weekly.promotion_weeks(tables, grid.weeks_ahead, items, recorded)
    traffic = weekly.traffic(tables, weeks, regions) if "basket_id" in transactions else None
    return Facts(
        grid=grid,
        transactions=transactions,
        items=weekly.item_weeks(tables, weeks, items, regions),
        category_units=grid.spread(weekly.category_units(tables, weeks, regions), "units"),
        traffic=None if traffic is None else grid.spread(traffic, "baskets"),
        store_units=store_units,
        stores=tables.stores,
        **optional,
    )
