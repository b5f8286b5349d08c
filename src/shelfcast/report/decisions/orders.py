"""What to order, and what such orders would have cost: tables and a title from the frames of notebook 7."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.language import N_, _, ngettext, pgettext
from shelfcast.report import names
from shelfcast.report.decisions.words import product
from shelfcast.report.theme import money, percent

PLACES = {"product": N_("One warehouse for the chain"), "product_region": N_("Stock in each region")}
PEERS = {"lightgbm": N_("Against LightGBM's"), "textbook": N_("Against the textbook's")}


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
        _("Product"): [product(labels, name) for name in rows],
        _("Order") if column == "quantity" else _("Fill up to"): [f"{x:,.0f}" for x in wide.loc[rows, CHAIN].fillna(0)],
        _("Worth"): [money(x) for x in worth[rows]],
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
        _("Where stock is kept"): rows["level"].map(lambda level: _(PLACES[level])),
        pgettext("lead time", "Weeks"): rows["lead_time"],
        _("Cost"): rows["cost"].map(money),
        _("Demand met"): rows["fill_rate"].map(lambda x: percent(x, 1)),
        _("Mean stock"): rows["mean_stock"].map(lambda x: f"{x:,.1f}"),
    }
    for peer, name in PEERS.items():
        if f"against_{peer}" in rows and rows[f"against_{peer}"].notna().any():
            cells = rows[[f"against_{peer}{end}" for end in ("", "_low", "_high")]].itertuples(index=False)
            table[_(name)] = [_interval(*cell) for cell in cells]
    return pd.DataFrame(table)


def _interval(estimate: float, low: float, high: float) -> str:
    if not np.isfinite(estimate):
        return "–"
    style = "up" if high < 0 else "down" if low > 0 else ""
    ends = {"low": percent(low, 0, True), "high": percent(high, 0, True)}
    text = _("{estimate} ({low} to {high})", estimate=percent(estimate, 0, True), **ends)
    return f"<span class='{style}'>{text}</span>"


def title(past: pd.DataFrame, situation: str, rule: str, method: str) -> str:
    """How the orders did in the replay, in one line: cheaper, dearer, or no clear difference to LightGBM's."""
    rows = of_rule(past, situation, rule, method)
    if "against_lightgbm" not in rows or rows["against_lightgbm"].isna().all():
        return _("What such orders would have cost in the test weeks")
    cheaper, dearer = (rows["against_lightgbm_high"] < 0).sum(), (rows["against_lightgbm_low"] > 0).sum()
    if cheaper and not dearer:
        message = N_(
            "In the test weeks such orders would clearly have been cheaper than LightGBM's in {cheaper} of {n} replays"
        )
    elif dearer and not cheaper:
        message = N_(
            "In the test weeks such orders would clearly have been dearer than LightGBM's in {dearer} of {n} replays"
        )
    elif cheaper and dearer:
        message = N_(
            "In the test weeks such orders would have been cheaper than LightGBM's in {cheaper}, dearer in {dearer} of {n} replays"
        )
    else:
        message = N_(
            "In the test weeks such orders would have cost about as much as LightGBM's: no clear difference in {n} replays"
        )
    return _(message, cheaper=cheaper, dearer=dearer, n=len(rows))


def met(past: pd.DataFrame, situation: str, rule: str, method: str, target: float, tolerance: float = 0.015) -> str:
    """A doubt where replayed orders met less or more of demand than they were sized for; '' where they did not."""
    rows = of_rule(past, situation, rule, method)
    off = rows["fill_rate"] - target
    if rule != "fill_rate" or rows.empty or off.abs().max() <= tolerance:
        return ""
    worst = rows.loc[off.abs().idxmax()]
    place = PLACES[worst["level"]]
    return _(
        "<b>Orders missed their target</b>: sized to meet {target} of demand, they met "
        "{met} in the replay ({place}, {arrival}). Keep more stock of what must not run out.",
        target=percent(target),
        met=percent(worst["fill_rate"], 1),
        place=_(place).lower(),
        arrival=ngettext(
            "{n} week to arrive", "{n} weeks to arrive", worst["lead_time"], n=f"{worst['lead_time']:.0f}"
        ),
    )
