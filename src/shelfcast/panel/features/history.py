"""Features of what a product has sold: levels, lags, and how many people bought it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shelfcast.panel.axes.products import NEW
from shelfcast.panel.facts import Facts
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.panel.grid import Column, Grid, mean, shift

SPANS = (4, 8, 13, 26)  # weeks
LONGEST = 26  # weeks since the last sale, at most


def level_and_typical(facts: Facts, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The robust level of each series (P, L, T), and what a product of the category usually sells (L, T), both > 0.

    A product's history begins with its launch: before it, its level is what products of the category usually sell
    there; after it the two are blended until its own weeks outweigh the others. Missing weeks do not count.
    """
    y, n = facts.units, grid.n_sold

    own = grid.over_observed(lambda y, n: 0.5 * mean(y, 13, n) + 0.5 * mean(y, None, n), y, n)
    if facts.common is None:
        sold, n_settled = settled_sums(y, grid)
        typical = sold / np.maximum(n_settled, 1)
    else:
        typical = facts.common.typical
    weight = np.where(grid.launch[:, None, None] >= 0, n / (n + NEW), 1.0)
    return weight * own + (1 - weight) * typical + LEVEL_FLOOR, typical + LEVEL_FLOOR


def settled_sums(y: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Units of a mean week summed over the products that have settled, and how many these are, both (L, T)."""

    def settled(y: np.ndarray, n: np.ndarray) -> np.ndarray:
        return n >= np.minimum(np.arange(y.shape[-1]) + 1, 13)

    sold = grid.over_observed(lambda y, n: (mean(y, 4, n) * settled(y, n)).sum(0), y, grid.n_sold)
    return sold, grid.over_observed(lambda y, n: settled(y, n).sum(0).astype(float), y, grid.n_sold)


def levels(facts: Facts, grid: Grid) -> list[Column]:
    """Units of the last weeks that were observed. Columns of a product's own are NaN before its launch, but its level."""
    y, n = facts.units, grid.n_sold
    level, _ = level_and_typical(facts, grid)

    def own(name: str, function, meaning: str, in_units: bool = True) -> Column:
        return Column(name, "past", grid.since_launch(grid.over_observed(function, y, n)), meaning, in_units)

    columns = [own(f"level_{k}", lambda y, n, k=k: mean(y, k, n), f"mean units of the last {k} weeks") for k in SPANS]
    columns += [
        Column("level", "past", level, "robust level: half 13-week mean, half running mean, plus 0.1 units", True),
        Column("level_chain", "past", level[:, :1], "the product's robust level in the whole chain", True),
    ]
    for k, when in enumerate(("of this week", "one week ago", "two weeks ago", "three weeks ago")):
        columns.append(own(f"lag_{k}", lambda y, n, k=k: shift(y, k), f"units {when}"))
    share = "share of weeks with a sale so far"
    return [
        *columns,
        own("weeks_since_sale", _weeks_since_sale, "weeks since the last sale, at most 26", False),
        own("share_weeks_sold", lambda y, n: mean(y > 0, None, n), share, False),
    ]


def _weeks_since_sale(y: np.ndarray, n: np.ndarray) -> np.ndarray:
    week = np.arange(y.shape[-1])
    last = np.maximum.accumulate(np.where(y > 0, week, -LONGEST), -1)
    return np.minimum(week - last, LONGEST).astype(float)


def shoppers(facts: Facts, grid: Grid) -> list[Column]:
    """Distinct baskets and customers of each week, in a missing week of the one before; an empty list without them."""
    columns = []
    if "basket_id" in facts.transactions:
        columns.append(Column("baskets", "past", facts.of("baskets"), "baskets with it this week", True))
        if "coupon" in facts.transactions:
            meaning = "baskets this week in which a coupon was redeemed on it"
            columns.append(Column("coupons", "past", facts.of("coupon_baskets"), meaning, True))
    if "customer_id" in facts.transactions:
        buyers = facts.of("buyers")
        repeat_share = facts.of("repeat_buyers") / np.maximum(buyers, 1)
        meaning = "share of this week's buyers who had bought it in an earlier week"
        columns += [
            Column("buyers", "past", buyers, "distinct customers who bought it this week", True),
            Column("repeat_share", "past", repeat_share, meaning),
        ]
    seen = [grid.over_observed(lambda x: x, column.values) for column in columns]
    return [replace(column, values=grid.since_launch(x)) for column, x in zip(columns, seen, strict=True)]
