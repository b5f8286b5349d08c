"""What to order, and what such orders would have cost: tables and a title from the frames of notebook 7."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.report import names
from shelfcast.report.decisions.words import product
from shelfcast.report.theme import money, percent

PLACES = {"product": "One warehouse for the chain", "product_region": "Stock in each region"}
PEERS = {"lightgbm": "Against LightGBM's", "textbook": "Against the textbook's"}


def largest(orders: pd.DataFrame, labels: pd.Series, most: int) -> pd.DataFrame:
    """The largest orders by what they are worth, a row a product; the chain's, then the regions'.

    Where no stock is known there is no quantity to order, so the columns are levels to fill up to.

    Parameters
    ----------
    orders : `orders.parquet`. labels : product_id -> human name. most : rows at most.
    """
    column = "quantity" if orders["quantity"].notna().any() else "order_up_to"
    wide = orders.pivot(index="product_id", columns="location", values=column)
    chain = orders[orders["location"] == CHAIN].set_index("product_id")
    worth = (chain[column] * chain["unit_cost"]).sort_values(ascending=False)
    rows = worth[worth > 0].index[:most]
    regions = [name for name in wide if name != CHAIN]
    table = {
        "Product": [product(labels, name) for name in rows],
        "Order" if column == "quantity" else "Fill up to": [f"{x:,.0f}" for x in wide.loc[rows, CHAIN].fillna(0)],
        "Worth": [money(x) for x in worth[rows]],
    }
    if len(regions) > 1:
        table |= {names.location_label(name): [f"{x:,.0f}" for x in wide.loc[rows, name].fillna(0)] for name in regions}
    return pd.DataFrame(table)


def of_rule(past: pd.DataFrame, situation: str, rule: str, method: str) -> pd.DataFrame:
    """The replay of orders by one forecast: rows by level and lead time of `orders_past.parquet`."""
    return past[(past["situation"] == situation) & (past["rule"] == rule) & (past["policy"] == method)]


def replay_table(past: pd.DataFrame, situation: str, rule: str, method: str) -> pd.DataFrame:
    """What such orders would have cost on the test weeks, and against peers, with 90 % intervals.

    Parameters
    ----------
    past : `orders_past.parquet`. situation, rule, method : that the orders are made in and by.
    """
    rows = of_rule(past, situation, rule, method)
    table = {
        "Where stock is kept": rows["level"].map(PLACES),
        "Weeks": rows["lead_time"],
        "Cost": rows["cost"].map(money),
        "Demand met": rows["fill_rate"].map(lambda x: percent(x, 1)),
        "Mean stock": rows["mean_stock"].map(lambda x: f"{x:,.1f}"),
    }
    for peer, name in PEERS.items():
        if f"against_{peer}" in rows and rows[f"against_{peer}"].notna().any():
            cells = rows[[f"against_{peer}{end}" for end in ("", "_low", "_high")]].itertuples(index=False)
            table[name] = [_interval(*cell) for cell in cells]
    return pd.DataFrame(table)


def _interval(estimate: float, low: float, high: float) -> str:
    if not np.isfinite(estimate):
        return "–"
    style = "up" if high < 0 else "down" if low > 0 else ""
    text = f"{percent(estimate, 0, True)} ({percent(low, 0, True)} to {percent(high, 0, True)})"
    return f"<span class='{style}'>{text}</span>"


def title(past: pd.DataFrame, situation: str, rule: str, method: str) -> str:
    """How the orders did in the replay, in one line: cheaper, dearer, or no clear difference to LightGBM's."""
    rows = of_rule(past, situation, rule, method)
    if "against_lightgbm" not in rows or rows["against_lightgbm"].isna().all():
        return "What such orders would have cost in the test weeks"
    cheaper, dearer = (rows["against_lightgbm_high"] < 0).sum(), (rows["against_lightgbm_low"] > 0).sum()
    of = f"of {len(rows)} replays"
    if cheaper and not dearer:
        return f"In the test weeks such orders would clearly have been cheaper than LightGBM's in {cheaper} {of}"
    if dearer and not cheaper:
        return f"In the test weeks such orders would clearly have been dearer than LightGBM's in {dearer} {of}"
    if cheaper and dearer:
        return f"In the test weeks such orders would have been cheaper than LightGBM's in {cheaper}, dearer in {dearer} {of}"
    return f"In the test weeks such orders would have cost about as much as LightGBM's: no clear difference in {len(rows)} replays"


def met(past: pd.DataFrame, situation: str, rule: str, method: str, target: float, tolerance: float = 0.015) -> str:
    """A doubt where replayed orders met less or more of demand than they were sized for; '' where they did not."""
    rows = of_rule(past, situation, rule, method)
    off = rows["fill_rate"] - target
    if rule != "fill_rate" or rows.empty or off.abs().max() <= tolerance:
        return ""
    worst = rows.loc[off.abs().idxmax()]
    return (
        f"<b>Orders missed their target</b>: sized to meet {percent(target)} of demand, they met "
        f"{percent(worst['fill_rate'], 1)} in the replay ({PLACES[worst['level']].lower()}, {worst['lead_time']:.0f} "
        f"week{'' if worst['lead_time'] == 1 else 's'} to arrive). Keep more stock of what must not run out."
    )
