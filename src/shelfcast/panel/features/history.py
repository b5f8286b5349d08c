"""Features of what a product has sold: levels, lags, and how many people bought it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shelfcast.panel.facts import Facts
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.panel.grid import Column, Grid, mean, shift

NEW = 4  # weeks of its own that weigh as much as what a product of the category usually sells
SPANS = (4, 8, 13, 26)  # weeks
LONGEST = 26  # weeks since the last sale, at most


def level_and_typical(facts: Facts, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The robust level of each series (P, L, T), and what a product of the category usually sells (L, T), both > 0.

    A product's history begins with its launch: before it, its level is what products of the category usually sell
    there; after it the two are blended until its own weeks outweigh the others.
    """
    y, n = facts.units, grid.n_sold
    own = 0.5 * mean(y, 13, n) + 0.5 * mean(y, None, n)
    settled = np.broadcast_to(n >= np.minimum(np.arange(len(grid.weeks)) + 1, 13), grid.shape)
    typical = (mean(y, 4, n) * settled).sum(0) / np.maximum(settled.sum(0), 1)
    weight = np.where(grid.launch[:, None, None] >= 0, n / (n + NEW), 1.0)
    return weight * own + (1 - weight) * typical + LEVEL_FLOOR, typical + LEVEL_FLOOR


def levels(facts: Facts, grid: Grid) -> list[Column]:
    """Units of the last weeks. Columns of a product's own are NaN before its launch, but for its level."""
    y, n, week = facts.units, grid.n_sold, np.arange(len(grid.weeks))
    level, _ = level_and_typical(facts, grid)
    columns = [
        Column(f"level_{k}", "past", grid.since_launch(mean(y, k, n)), f"mean units of the last {k} weeks", True)
        for k in SPANS
    ]
    columns += [
        Column("level", "past", level, "robust level: half 13-week mean, half running mean, plus 0.1 units", True),
        Column("level_chain", "past", level[:, :1], "the product's robust level in the whole chain", True),
    ]
    for k, when in enumerate(("of this week", "one week ago", "two weeks ago", "three weeks ago")):
        columns.append(Column(f"lag_{k}", "past", grid.since_launch(shift(y, k)), f"units {when}", True))
    last = np.maximum.accumulate(np.where(y > 0, week, -LONGEST), -1)
    since = np.minimum(week - last, LONGEST).astype(float)
    share = mean(y > 0, None, n)
    return [
        *columns,
        Column("weeks_since_sale", "past", grid.since_launch(since), "weeks since the last sale, at most 26"),
        Column("share_weeks_sold", "past", grid.since_launch(share), "share of weeks with a sale so far"),
    ]


def shoppers(facts: Facts, grid: Grid) -> list[Column]:
    """Distinct baskets and customers of each week; an empty list where tables have neither."""
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
    return [replace(column, values=grid.since_launch(column.values)) for column in columns]
