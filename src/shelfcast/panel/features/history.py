"""Features of what a product has sold: levels, lags, and how many people bought it.

Spans are stated in weeks and counted in periods: in a daily market, `level_28` is the mean of the last 28 days.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shelfcast.panel.axes.products import NEW
from shelfcast.panel.facts import Facts
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.panel.grid import Column, Grid, mean, shift

SPANS = (4, 8, 13, 26)  # weeks
LONGEST = 26  # weeks since the last sale, at most
LAGS = ("of this week", "one week ago", "two weeks ago", "three weeks ago")
DAILY_LAGS = 7  # days, today included; the mean of each weekday is a feature of `season`


def level_and_typical(facts: Facts, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The robust level of each series (P, L, T), and what a product of the category usually sells (L, T), both > 0.

    A product's history begins with its launch: before it, its level is what products of the category usually sell
    there; after it the two are blended until its own weeks outweigh the others. Missing weeks do not count.
    """
    y, n = facts.units, grid.n_sold
    quarter, new = (grid.frequency.periods(weeks) for weeks in (13, NEW))

    own = grid.over_observed(lambda y, n: 0.5 * mean(y, quarter, n) + 0.5 * mean(y, None, n), y, n)
    if facts.common is None:
        sold, n_settled = settled_sums(y, grid)
        typical = sold / np.maximum(n_settled, 1)
    else:
        typical = facts.common.typical
    weight = np.where(grid.launch[:, None, None] >= 0, n / (n + new), 1.0)
    return weight * own + (1 - weight) * typical + LEVEL_FLOOR, typical + LEVEL_FLOOR


def settled_sums(y: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Units of a mean week summed over the products that have settled, and how many these are, both (L, T)."""

    month, quarter = (grid.frequency.periods(weeks) for weeks in (4, 13))

    def settled(y: np.ndarray, n: np.ndarray) -> np.ndarray:
        return n >= np.minimum(np.arange(y.shape[-1]) + 1, quarter)

    sold = grid.over_observed(lambda y, n: (mean(y, month, n) * settled(y, n)).sum(0), y, grid.n_sold)
    return sold, grid.over_observed(lambda y, n: settled(y, n).sum(0).astype(float), y, grid.n_sold)


def levels(facts: Facts, grid: Grid) -> list[Column]:
    """Units of the last weeks that were observed. Columns of a product's own are NaN before its launch, but its level."""
    y, n = facts.units, grid.n_sold
    level, _ = level_and_typical(facts, grid)
    frequency, noun = grid.frequency, grid.frequency.noun

    def own(name: str, function, meaning: str, in_units: bool = True) -> Column:
        return Column(name, "past", grid.since_launch(grid.over_observed(function, y, n)), meaning, in_units)

    columns = []
    for k in map(frequency.periods, SPANS):
        columns.append(own(f"level_{k}", lambda y, n, k=k: mean(y, k, n), f"mean units of the last {k} {noun}s"))
    robust = f"robust level: half {frequency.periods(13)}-{noun} mean, half running mean, plus 0.1 units"
    columns += [
        Column("level", "past", level, robust, True),
        Column("level_chain", "past", level[:, :1], "the product's robust level in the whole chain", True),
    ]
    for k, when in enumerate([f"{k} days ago" for k in range(DAILY_LAGS)] if frequency.daily else LAGS):
        columns.append(own(f"lag_{k}", lambda y, n, k=k: shift(y, k), f"units {when}"))
    longest = frequency.periods(LONGEST)

    def since_sale(y: np.ndarray, n: np.ndarray) -> np.ndarray:
        week = np.arange(y.shape[-1])
        last = np.maximum.accumulate(np.where(y > 0, week, -longest), -1)
        return np.minimum(week - last, longest).astype(float)

    return [
        *columns,
        own(f"{noun}s_since_sale", since_sale, f"{noun}s since the last sale, at most {longest}", False),
        own(f"share_{noun}s_sold", lambda y, n: mean(y > 0, None, n), f"share of {noun}s with a sale so far", False),
    ]


def shoppers(facts: Facts, grid: Grid) -> list[Column]:
    """Distinct baskets and customers of each week, in a missing week of the one before; an empty list without them."""
    columns, now = [], f"this {grid.frequency.noun}"
    if "basket_id" in facts.transactions:
        columns.append(Column("baskets", "past", facts.of("baskets"), f"baskets with it {now}", True))
        if "coupon" in facts.transactions:
            meaning = f"baskets {now} in which a coupon was redeemed on it"
            columns.append(Column("coupons", "past", facts.of("coupon_baskets"), meaning, True))
    if "customer_id" in facts.transactions:
        buyers = facts.of("buyers")
        repeat_share = facts.of("repeat_buyers") / np.maximum(buyers, 1)
        meaning = f"share of {now}'s buyers who had bought it in an earlier {grid.frequency.noun}"
        columns += [
            Column("buyers", "past", buyers, f"distinct customers who bought it {now}", True),
            Column("repeat_share", "past", repeat_share, meaning),
        ]
    seen = [grid.over_observed(lambda x: x, column.values) for column in columns]
    return [replace(column, values=grid.since_launch(x)) for column, x in zip(columns, seen, strict=True)]
