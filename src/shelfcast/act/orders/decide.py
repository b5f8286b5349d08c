"""The orders to place now."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.act.orders.inputs import GivenStock
from shelfcast.act.orders.paths import Paths
from shelfcast.act.orders.policy import Levels, Stock, Timing, order_up_to, orders, sells_before_expiry
from shelfcast.decision_options import Orders
from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.language import N_  # a file for systems: its notes stay English

KEYS = ["situation", "level", "rule", "lead_time", "policy"]  # of summaries and differences


def lead_times(options: Orders, horizon: int) -> tuple[list[int], list[int]]:
    """The lead times to replay, and those that with the review period are longer than forecasts reach."""
    fits = [lead for lead in options.replay_lead_times if lead + options.review_period <= horizon]
    return fits, [lead for lead in options.replay_lead_times if lead not in fits]


def order_frame(
    paths: Paths, terms: pd.DataFrame, stock: GivenStock, options: Orders, frequency: Frequency = WEEKLY
) -> pd.DataFrame:
    """What to order now, one row a product and location.

    Where stock is known, units on order are taken to arrive evenly over the lead time (at once where it is 0).

    Returns
    -------
    product_id, location; cutoff, the last observed week; arrives, the first day from which an order can be sold;
    expected_demand until the next order arrives; order_up_to; on_hand and on_order, NaN where no stock was given;
    quantity to order, NaN there too; expected_fill, share of the demand after arrival that is sold from stock, with an
    order up to the level; note, what kept the order from its level; unit_cost and value, what the order costs.

    Raises
    ------
    SettingsError : lead time and review period are longer than the forecast.
    """
    timing = Timing(options.lead_time, options.review_period)
    table = stock.table.reindex(paths.series)
    known = table["on_hand"].notna().to_numpy()
    levels = _levels(paths, terms, timing, options, table, known)
    position = table.sum(axis=1).to_numpy()
    quantity, notes = orders(levels.level, position, terms, sells_before_expiry(paths, terms, timing.lead))
    keys = pd.Series(paths.series).str.rsplit("|", n=1, expand=True)
    frame = pd.DataFrame(
        {
            "product_id": keys[0],
            "location": keys[1],
            "cutoff": paths.cutoff,
            "arrives": paths.cutoff + frequency.steps(1 + timing.lead),
            "expected_demand": levels.demand,
            "order_up_to": np.maximum(levels.level, 0),
            "on_hand": table["on_hand"].to_numpy(),
            "on_order": table["on_order"].to_numpy(),
            "quantity": np.where(known, quantity, np.nan),
            "expected_fill": levels.fill,
            "note": np.where(known, notes, N_("no stock was given")),
            "unit_cost": terms["unit_cost"].to_numpy(),
        }
    )
    return frame.assign(value=frame["quantity"] * frame["unit_cost"])


def _levels(
    paths: Paths, terms: pd.DataFrame, timing: Timing, options: Orders, table: pd.DataFrame, known: np.ndarray
) -> Levels:
    """Levels of series with and without known stock, each group by its own rule."""
    parts = [np.empty(len(known)) for _ in Levels._fields]
    for rows in (known, ~known):
        if not rows.any():
            continue
        stock = None
        if rows is known:
            on_hand, on_order = table.loc[rows, "on_hand"].to_numpy(), table.loc[rows, "on_order"].to_numpy()
            each = on_order[:, None] / max(timing.lead, 1)
            arriving = np.repeat(each, timing.lead, axis=1)
            stock = Stock(on_hand if timing.lead else on_hand + on_order, arriving)
        own = order_up_to(paths.select(rows), terms[rows], timing, options.rule, options.service_level, stock)
        for part, values in zip(parts, own, strict=True):
            part[rows] = values
    return Levels(*parts)
