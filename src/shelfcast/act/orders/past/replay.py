"""Replay: what a policy would have cost on weeks that have passed, had it ordered by the forecasts of their time.

At each cutoff the policy sees the forecast made from it, and orders up to its level. In every week orders arrive, then
demand comes: what stock does not hold is lost, what is left costs holding, what expires costs what it was bought for.
Goods are sold first in, first out; a policy sees how much is in stock, not how old it is. All policies start with the same stock: what
the last eight weeks sold, for the weeks until the first order arrives. Those weeks are the warm-up and do not count; as
many weeks count as there are cutoffs (times the review period).

The chain is replayed too, as one warehouse that serves all stores.

Axes: N series, C cutoffs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.act.orders.past.shelf import Shelf
from shelfcast.act.orders.policy import Stock, Timing, orders
from shelfcast.data.schema import CHAIN

LevelAt = Callable[[int, Stock], np.ndarray]  # number of a cutoff, stock at it -> order-up-to levels (N,)
SellsAt = Callable[[int], np.ndarray]  # number of a cutoff -> units until an order expires (N,)
MOSTLY = 0.8  # share of days that a series needs to be replayed
MEASURES = ["demand", "sold", "lost", "stock", "wasted", "ordered", "cost"]


@dataclass(frozen=True)
class Demand:
    """Demand of the replayed weeks.

    series : unique_id of each row. weeks : (W,) Mondays; the first follows the first cutoff.
    units : (N, W) demand, or sales where no more is known. start : (N,) mean weekly sales of the eight weeks before.
    left_out : series without demand in one of the weeks: not launched yet, or not observed.
    """

    series: list[str]
    weeks: pd.DatetimeIndex
    units: np.ndarray
    start: np.ndarray
    left_out: list[str]


def replay(
    demand: Demand,
    level_at: LevelAt,
    timing: Timing,
    terms: pd.DataFrame,
    n_cutoffs: int,
    sells_at: SellsAt | None = None,
    apart: int = 1,
) -> pd.DataFrame:
    """Order by `level_at` at every review and meet the demand of the weeks.

    Worked example: lead time 1, level 5, demand 3, 6, 1, start 3. Week 1: 5 - 3 = 2 are ordered, 3 of 3 sold. Week 2:
    2 arrive, 5 - 2 = 3 are ordered, 2 of 6 sold, 4 lost. Week 3: 3 arrive, 1 sold, 2 left. Weeks 2 and 3 count.

    Parameters
    ----------
    level_at : sees nothing after the cutoff it is asked for; that is up to the caller.
    terms : a row a series: `pack_size`, `min_order`, `shelf_life` (weeks, NaN for ever), `unit_cost`, `holding_cost` (a
        unit and week), `lost_sale_cost` (a unit).
    n_cutoffs : reviews are at weeks 0, R, 2 R, ... up to the last cutoff. apart : weeks from one cutoff to the next; R is a
        multiple of it.

    Returns
    -------
    unique_id, ds and `MEASURES`: one row a series and week that counts; `stock` is that of the week's end.
    """
    reviews = range(0, (n_cutoffs - 1) * apart + 1, timing.review)
    last = reviews[-1] + timing.protected  # weeks, the last of which the last order arrives for
    if demand.units.shape[1] < last:
        raise ValueError(
            f"the replay needs {last} weeks of demand and has {demand.units.shape[1]}. Forecast from fewer cutoffs, or shorten the lead time."
        )
    shelf = Shelf(np.round(timing.lead * demand.start), terms["shelf_life"].to_numpy(float))
    arrivals = np.zeros((last + timing.lead + 1, len(demand.start)))  # by week
    money = terms[["holding_cost", "lost_sale_cost", "unit_cost"]].to_numpy(float)
    parts = []
    for week in range(last):
        ordered = np.zeros(len(demand.start))
        if week in reviews:
            stock = Stock(shelf.on_hand, arrivals[week : week + timing.lead].T)
            cutoff = week // apart
            sells = sells_at(cutoff) if sells_at else None
            ordered, _ = orders(level_at(cutoff, stock), stock.position, terms, sells)
            arrivals[week + timing.lead] += ordered
        shelf.receive(arrivals[week])
        arrivals[week] = 0
        sold = shelf.sell(demand.units[:, week])
        lost, wasted = demand.units[:, week] - sold, shelf.end_week()
        if week >= timing.lead:
            cost = (np.stack([shelf.on_hand, lost, wasted], axis=1) * money).sum(1)
            values = (demand.units[:, week], sold, lost, shelf.on_hand, wasted, ordered, cost)
            part = pd.DataFrame(dict(zip(MEASURES, values, strict=True)))
            parts.append(part.assign(unique_id=demand.series, ds=demand.weeks[week]))
    return pd.concat(parts, ignore_index=True)[["unique_id", "ds", *MEASURES]]


def observed_demand(
    forecasts: pd.DataFrame, first: pd.DataFrame, true_demand: pd.DataFrame | None = None, per_week: int = 1
) -> Demand:
    """Demand of the weeks after the first cutoff, from a forecast frame's actuals.

    Parameters
    ----------
    forecasts : rows of one method at the test cutoffs.
    first : the start's means: rows of the eight-week average at the first cutoff.
    true_demand : unique_id in rows, weeks in columns: demand where it is known to differ from sales, as on the simulated
        market.
    per_week : periods of a week. A series may lack some days, which count as its mean day; it may lack no week.

    Raises
    ------
    ValueError : no series was observed in all weeks.
    """
    units = forecasts.drop_duplicates(["unique_id", "ds"]).pivot(index="unique_id", columns="ds", values="y")
    if per_week > 1:
        seen = units[units.notna().mean(axis=1) >= MOSTLY]
        units.loc[seen.index] = seen.apply(lambda days: days.fillna(days.mean()), axis=1)
    complete = units.notna().all(axis=1)
    if not complete.any():
        raise ValueError(
            "no series was observed in all test weeks, so orders cannot be replayed. Choose prepare.test_weeks that were observed."
        )
    left_out, units = units.index[~complete].tolist(), units[complete]
    if true_demand is not None:
        units = true_demand.loc[units.index, units.columns]
    start = first[first["horizon"] <= per_week].groupby("unique_id")["mean"].mean().loc[units.index]
    return Demand(
        units.index.tolist(), pd.DatetimeIndex(units.columns), units.to_numpy(float), start.to_numpy(), left_out
    )


def summary(replayed: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Totals of replays: cost, share of demand sold, mean stock in units a series, share of series' weeks with lost sales, and
    units sold, lost and wasted."""
    rows = replayed.assign(stock_out=replayed["lost"] > 0)
    groups = rows.groupby(by, sort=False)
    sums = groups[["cost", "demand", "sold", "lost", "wasted"]].sum()
    return sums.assign(
        fill_rate=sums["sold"] / sums["demand"].clip(lower=1e-9),
        mean_stock=groups["stock"].mean(),
        stock_outs=groups["stock_out"].mean(),
    )


def level_of(unique_id: pd.Series) -> pd.Series:
    """'product' for the chain, which is one warehouse, 'product_region' for regions."""
    return unique_id.str.endswith(f"|{CHAIN}").map({True: "product", False: "product_region"})
