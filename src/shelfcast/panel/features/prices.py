"""Features of prices: those paid so far, and those planned where there is a table of them.

What a table of prices does not tell, before its first week and after its last, is unknown.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.panel.facts import Facts
from shelfcast.panel.grid import Column, Grid, shift

LEVEL = "log of the price in the training weeks: mean of those paid, or median of those planned"
PRICE = "log of the planned price over the product's typical one, the price level"
CUT = "log of the planned price over the regular one: median of the planned prices so far"


def prices(facts: Facts, grid: Grid) -> list[Column]:
    """Static and past columns; a plan of prices is known-future and replaces the realised ones."""
    columns, paid_level, realised = _paid(facts, grid)
    if facts.prices is None:
        plan = f"log of the {grid.frequency.noun}'s chain-wide price over its own earlier mean"
        columns.append(Column("price_ratio_plan", "price_plan", realised[:, None], plan))
        return [Column("price_level", "static", paid_level[:, None], LEVEL), *columns]
    price, regular = planned_prices(facts, grid)
    price_level = _planned_level(price, grid.train_end)
    ratio, cut = price - price_level[..., None], price - regular
    known = facts.known["prices"].astype(float)
    return [
        Column("price_level", "static", price_level, LEVEL),
        *columns,
        Column("price", "known_future", ratio, PRICE, planned=True),
        Column("price_cut", "known_future", cut, CUT, planned=True),
        Column(
            "price_known",
            "known_future",
            known,
            f"1 where the plan of prices reaches the {grid.frequency.noun}",
            planned=True,
        ),
    ]


def _paid(facts: Facts, grid: Grid) -> tuple[list[Column], np.ndarray, np.ndarray]:
    """Past columns of prices paid, the static price level (P,), and the realised chain price read as a plan (P, T).

    A price is seen only where somebody bought, so it enters as the last seen one; the realised price of a coming week
    would reveal that it sold, which is why it is `price_plan` and not `known_future`. Rows without money show no price.
    A product that nobody paid for in the training weeks has the median level of the others.
    """
    units, paid, saved = facts.of("paid_units"), facts.of("money"), facts.of("discount")
    seen = (units > 0) & (paid > 0)
    price = np.where(seen, np.log(np.where(seen, paid, 1) / np.maximum(units, 1e-9)), 0)
    n_before = shift(np.cumsum(seen, -1).astype(float), 1)
    before = shift(np.cumsum(price, -1), 1) / np.maximum(n_before, 1)  # mean of strictly earlier prices
    week = np.maximum.accumulate(np.where(seen, np.arange(len(grid.weeks)), -1), -1)

    def last_seen(x: np.ndarray) -> np.ndarray:
        return np.where(week >= 0, np.take_along_axis(x, np.maximum(week, 0), -1), 0.0)

    ratio = last_seen(np.where(n_before > 0, price - before, 0.0))
    discount = last_seen(np.where(seen, saved / np.maximum(paid + saved, 1e-9), 0.0))
    columns = [
        Column("price_ratio", "past", ratio, "log of the last seen price over its own earlier mean"),
        Column("discount", "past", discount, "last seen discount as a share of the price before it"),
    ]
    plan = np.where((week[:, 0] >= 0) & (n_before[:, 0] > 0), last_seen(price)[:, 0] - before[:, 0], 0.0)
    train = seen[:, 0, : grid.train_end]
    price_level = (price[:, 0, : grid.train_end] * train).sum(-1) / np.maximum(train.sum(-1), 1)
    paid_for = train.any(-1)
    usual = np.median(price_level[paid_for]) if facts.common is None and paid_for.any() else None
    usual = usual if facts.common is None else facts.common.paid_level
    if usual is not None:
        price_level[~paid_for] = usual
    return columns, price_level, plan


def paid_levels(facts: Facts, grid: Grid) -> np.ndarray:
    """Price levels of the products that were paid for in the training weeks."""
    paid_for = (facts.of("paid_units") > 0) & (facts.of("money") > 0)
    return _paid(facts, grid)[1][paid_for[:, 0, : grid.train_end].any(-1)]


def _planned_level(price: np.ndarray, train_end: int) -> np.ndarray:
    """(P, L) median of the planned prices of the training weeks; where there are none, the first one that is planned."""
    level = _median(price[..., :train_end])
    first = np.argmax(~np.isnan(price), -1)[..., None]
    level = np.where(np.isnan(level), np.take_along_axis(price, first, -1)[..., 0], level)
    return np.where(np.isnan(level), _median(level.T).T, level)


def _median(x: np.ndarray) -> np.ndarray:
    """Over the last axis without NaN; NaN where there is nothing else."""
    empty = np.isnan(x).all(-1)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[..., None], 0, x), -1))


def planned_prices(facts: Facts, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Logs of planned prices and of the regular ones, the median of those so far, both (P, L, T + H).

    A region without a price of its own has the chain's. Weeks without a price keep the one before; before its first one
    a product's price is unknown, and so is everything outside of the table's weeks. A product without any price has the
    median of the others.
    """
    weeks, items = pd.RangeIndex(len(grid.weeks_ahead)), range(len(grid.products))
    wide = facts.prices.pivot(index=["location", "week"], columns="item", values="price")
    everywhere = wide.loc[0]
    filled = []
    for location in range(len(grid.locations)):
        own = wide.loc[location] if location in wide.index.levels[0] else everywhere
        own = own.reindex(index=everywhere.index, columns=everywhere.columns).fillna(everywhere)
        own = own.reindex(index=weeks.union(own.index)).ffill().reindex(weeks).reindex(columns=items)
        unpriced = own.columns[own.isna().all()]
        own[unpriced] = np.repeat(own.median(axis=1).to_numpy()[:, None], len(unpriced), 1)
        own.loc[~facts.known["prices"]] = np.nan
        filled.append(own)
    price = np.stack([own.to_numpy().T for own in filled], 1)
    regular = np.stack([own.expanding().median().to_numpy().T for own in filled], 1)
    return price, regular


def prices_assumed(facts: Facts, grid: Grid) -> bool:
    """Whether a table of prices ends before the coming weeks do."""
    return facts.prices is not None and not facts.known["prices"][len(grid.weeks) :].all()
