"""The weekly facts that features are made of: P products, L locations (chain first), T weeks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.quality.table import Count
from shelfcast.data.tables import Tables
from shelfcast.panel.common import Common
from shelfcast.panel.demand.cells import Lost, lost_units
from shelfcast.panel.grid import Grid, recorded

SMALLEST = 1e-3  # units of a store that sold nothing, and whose promotions count nevertheless
MOST_EVENTS = 8  # kinds of behaviour, the most frequent ones
KINDS = {"promotions": "promotion", "prices": "price", "behavior": "event"}


@dataclass(frozen=True)
class Facts:
    """Weekly facts; 0 where a location's week is missing. Frames number items, locations and weeks; see `weekly`.

    transactions : columns of transactions that hold anything.
    items : what products sold; `of` gives a column as an array.
    category_units : (L, T) units of the whole category, and those that stock-outs took away. traffic : (L, T) baskets with anything at all, or None.
    store_units : the products' units in the last year of training, by store that is open at its end.
    known : table -> (T + H,) bool, weeks that the whole table of promotions, prices or behavior tells anything of.
    stores, prices, events, promotions : None where tables have none, or none of the training weeks; prices also where
        they have none of these products.
    recorded_stores : store_id, location, weight: the stores that keep records of promotions, by `store_units`.
    lost : what stock-outs took away of the products' demand; None where no table tells of them.
    common : what all products have in common, where these are some of them; None where these are all.
    """

    grid: Grid
    transactions: list[str]
    items: pd.DataFrame
    category_units: np.ndarray
    traffic: np.ndarray | None
    store_units: pd.Series
    known: dict[str, np.ndarray]
    stores: pd.DataFrame | None = None
    prices: pd.DataFrame | None = None
    events: pd.DataFrame | None = None
    promotions: pd.DataFrame | None = None
    recorded_stores: pd.DataFrame | None = None
    lost: Lost | None = None
    common: Common | None = None

    def of(self, fact: str) -> np.ndarray:
        """(P, L, T) of a column of `items`."""
        return self.grid.spread(self.items, fact) * self.grid.observed

    @cached_property
    def units(self) -> np.ndarray:
        """(P, L, T) units: what was sold, and what stock-outs are estimated to have taken away."""
        return self.of("units") if self.lost is None else self.of("units") + self.lost.units


def collect(tables: Tables, grid: Grid, unit: float = 1.0) -> Facts:
    """Aggregate all tables on the grid.

    Parameters
    ----------
    unit : the typical amount of one sale; 1 where quantities are counts.
    """
    market = collect_market(tables, grid)
    lost = lost_units(tables, grid, unit)
    if lost is not None:
        market["category_units"] = market["category_units"] + lost.units.sum(0)
    return Facts(grid=grid, **market, **collect_products(tables, grid, market), lost=lost)


def collect_market(tables: Tables, grid: Grid) -> dict[str, Any]:
    """The fields of `Facts` that belong to the market, not to single products, as far as tables tell them."""
    weeks, seen, items, regions = grid.weeks, grid.weeks_seen(), grid.items, grid.stores
    transactions = weekly.filled_columns(tables)
    recent = grid.weeks_seen(grid.recent.start, grid.recent.stop)
    since = grid.frequency.number(recent[0], weeks[0])
    store_units = weekly.store_units(tables, recent, items.assign(launch=items["launch"] - since))
    store_units = store_units[store_units.index.isin(grid.open_stores)]
    known, recorded_stores = known_weeks(tables, grid), None
    if "promotions" in known:
        stores = weekly.promotion_stores(tables, grid.weeks_ahead[grid.train_end])
        stores = regions[regions["store_id"].isin(stores)]
        weight = store_units.reindex(stores["store_id"]).fillna(0).to_numpy() + SMALLEST
        recorded_stores = stores.assign(weight=weight)
    traffic = weekly.traffic(tables, seen, regions) if "basket_id" in transactions else None
    return {
        "transactions": transactions,
        "category_units": grid.spread(weekly.category_units(tables, seen, regions), "units") * grid.observed,
        "traffic": None if traffic is None else grid.spread(traffic, "baskets") * grid.observed,
        "store_units": store_units,
        "known": known,
        "stores": tables.stores,
        "recorded_stores": recorded_stores,
    }


def collect_products(tables: Tables, grid: Grid, market: dict[str, Any]) -> dict[str, pd.DataFrame | None]:
    """The fields of `Facts` that belong to the products of a grid: all of the market's, or some of them.

    Parameters
    ----------
    market : what `collect_market` gives for all products.
    """
    items, regions, known = grid.items, grid.stores, market["known"]
    facts = {"items": weekly.item_weeks(tables, grid.weeks_seen(), items, regions)}
    if "prices" in known:
        prices = weekly.price_weeks(tables, grid.weeks[0], items, regions)
        facts["prices"] = prices if len(prices) else None
    if "behavior" in known:
        facts["events"] = weekly.event_weeks(tables, grid.weeks, items, regions, MOST_EVENTS, grid.train_end)
    if "promotions" in known:
        facts["promotions"] = weekly.promotion_weeks(tables, grid.weeks_ahead, items, market["recorded_stores"])
    return facts


def known_weeks(tables: Tables, grid: Grid) -> dict[str, np.ndarray]:
    """See `Facts.known`; a table without any record of the training weeks teaches nothing and is left out.

    A hole in the table of prices keeps the price before it.
    """
    known = {}
    for name in KINDS.keys() & tables.columns.keys():
        records = weekly.recorded_weeks(tables, name)
        inside = recorded(records, grid.weeks_ahead, name != "prices", grid.frequency)
        if inside[: grid.train_end].any():
            known[name] = inside
    return known


def known_counts(tables: Tables, facts: Facts) -> list[Count]:
    """Lines of the quality table: weeks of the panel that a table does not tell anything of, and stock-outs."""
    counts, grid = [], facts.grid
    for name, kind in KINDS.items():
        if name not in tables.columns:
            continue
        known = facts.known.get(name, np.zeros(len(grid.weeks_ahead), bool))[: len(grid.weeks)]
        ignored = f"no record of training {grid.frequency.noun}s: the table is ignored"
        action = "unknown, not zero" if name in facts.known else ignored
        if not known.all():
            article = "an" if kind == "event" else "a"
            counts.append(
                Count(
                    f"{grid.frequency.noun}s without {article} {kind} of any product",
                    int((~known).sum()),
                    len(known),
                    action,
                )
            )
    return counts + (facts.lost.counts if facts.lost else [])
