"""A market's lost units: demand of products in stores and weeks that the table `stockouts` names, less what was sold.

Axes: P products, S stores, L locations (chain first), T weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.quality.table import Count
from shelfcast.data.tables import Tables
from shelfcast.panel.grid import Grid

MOST_CELLS = 10_000_000  # of products x stores x weeks that are held at once


@dataclass(frozen=True)
class Lost:
    """units : (P, L, T) that would have sold besides what did. counts : lines of the quality table."""

    units: np.ndarray
    counts: list[Count]


def lost_units(tables: Tables, grid: Grid, unit: float = 1.0) -> Lost | None:
    """Estimate what stock-outs took away; None where no table tells of stock-outs, or `prepare.stockouts` ignores it.

    Products are estimated a chunk at a time, where all of them together would not fit into memory; a store's size is
    then that of the chunk's products.

    Parameters
    ----------
    unit : the typical amount of one sale; 1 where quantities are counts.

    Raises
    ------
    ValueError : a product was out of stock in every store and week in which it was offered.
    """
    if "stockouts" not in tables.columns or grid.prepare.stockouts == "ignore":
        return None
    from shelfcast.panel.demand.stockouts import correct  # its distributions take .4 s, and few markets need them

    weeks = grid.weeks_seen()
    sales = weekly.store_item_weeks(tables, weeks, grid.items)
    told = weekly.cut_weeks(tables, weeks, grid.items)
    trading = weekly.store_weeks(tables, weeks)
    stores = pd.Index(trading["store_id"].unique(), name="store_id")
    trades = _spread(trading.assign(item=0, units=1.0), stores, (1, len(stores), len(grid.weeks)), "units")[0] > 0
    told, n_strange = told[told["store_id"].isin(stores)], int((~told["store_id"].isin(stores)).sum())
    location = grid.stores.set_index("store_id")["location"].reindex(stores).fillna(0).astype(int).to_numpy()
    lost, chunk, used, n_cells = np.zeros(grid.shape), max(MOST_CELLS // max(trades.size, 1), 1), 0, 0
    for start in range(0, grid.shape[0], chunk):
        own = slice(start, min(start + chunk, grid.shape[0]))
        offered = _offered(grid, trades, location, own)
        sold = _cells(sales, stores, own, offered.shape, "units")
        cut = (_cells(told.assign(units=1.0), stores, own, offered.shape, "units") > 0) & offered
        _check_products(cut, offered, grid.products.index[own])
        share = np.where(cut, _cells(told, stores, own, offered.shape, "share"), np.nan)
        packs = np.where(offered, np.round(sold / unit), np.nan)
        found = correct(packs, cut, grid.prepare.stockouts, share, grid.train_end)
        lost[own] = _by_location(np.where(cut, found.demand - packs, 0.0) * unit, location, len(grid.locations))
        used, n_cells = used + int(cut.sum()), n_cells + int(offered.sum())
    counts = [
        Count(
            "weeks of products in stores that a stock-out cut", used, n_cells, "demand is estimated", lost[:, 0].sum()
        ),
        *_unused(tables, grid, len(told) - used + n_strange),
    ]
    return Lost(lost * grid.observed, counts)


def _spread(frame: pd.DataFrame, stores: pd.Index, shape: tuple[int, int, int], fact: str) -> np.ndarray:
    """(P, S, T) of a frame with item, store_id and week, 0 where there is no row."""
    array = np.zeros(shape)
    array[frame["item"], stores.get_indexer(frame["store_id"]), frame["week"]] = frame[fact]
    return array


def _cells(frame: pd.DataFrame, stores: pd.Index, own: slice, shape: tuple[int, int, int], fact: str) -> np.ndarray:
    """`_spread` of a chunk of products."""
    rows = frame[frame["item"].between(own.start, own.stop - 1) & frame["store_id"].isin(stores)]
    return _spread(rows.assign(item=rows["item"] - own.start), stores, shape, fact)


def _offered(grid: Grid, trades: np.ndarray, location: np.ndarray, own: slice) -> np.ndarray:
    """(P, S, T) whether a product could be sold: it was launched, and the store traded in a week that was observed."""
    begun = np.arange(len(grid.weeks)) >= grid.launch[own, None]
    return begun[:, None] & trades & grid.observed[location]


def _by_location(cells: np.ndarray, location: np.ndarray, n_locations: int) -> np.ndarray:
    """(P, S, T) to (P, L, T); the chain has all stores, those of no region too."""
    out = np.zeros((len(cells), n_locations, cells.shape[-1]))
    for number in range(1, n_locations):
        out[:, number] = cells[:, location == number].sum(1)
    out[:, 0] = cells.sum(1)
    return out


def _check_products(cut: np.ndarray, offered: np.ndarray, products: pd.Index) -> None:
    always = (cut == offered).all(axis=(1, 2)) & offered.any(axis=(1, 2))
    if always.any():
        raise ValueError(
            f"stockouts: {int(always.sum())} products, {products[np.argmax(always)]} the first, are out of stock in all "
            "weeks and stores, so nothing tells what they sell. Check the table, or set prepare.stockouts: ignore."
        )


def _unused(tables: Tables, grid: Grid, n_idle: int) -> list[Count]:
    """Rows of these products that no cell of the panel has."""
    rows = tables.query(
        "SELECT count(*) AS n FROM stockouts JOIN items USING (product_id)", items=grid.items[["product_id"]]
    )
    n = int(rows["n"].iloc[0])
    inside = len(weekly.cut_weeks(tables, grid.weeks_seen(), grid.items))
    check = "stock-outs outside the observed weeks, or before a product's launch"
    counts = [Count(check, n - inside, n, "not used")]
    if n_idle:
        counts.append(Count("stock-outs in stores that did not trade in the week", n_idle, n, "not used"))
    return counts
