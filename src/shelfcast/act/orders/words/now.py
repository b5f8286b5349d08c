"""The orders to place now in plain sentences, with numbers computed from their frame."""

from __future__ import annotations

import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.decision_options import Orders
from shelfcast.language import N_, _, day, ngettext
from shelfcast.report.names import of_location
from shelfcast.report.theme import percent, units


def target(options: Orders) -> str:
    """What orders are sized for."""
    if options.rule == "cost":
        return _("the stock at which one unit more costs as much as it is expected to earn")
    return _("enough stock for {share} of demand", share=percent(options.service_level))


def products(n: int) -> str:
    """'1 product', '2 products'."""
    return ngettext("{n:,} product", "{n:,} products", n)


def nothing_to_order() -> str:
    """Why a market has no orders, where nothing is kept in stock."""
    return _("There are no orders: what is counted here is not kept in stock.")


def what_to_order(frame: pd.DataFrame, options: Orders) -> list[str]:
    """One sentence for the chain's warehouse, one for each region, and some on what was not known.

    Parameters
    ----------
    frame : of `decide.order_frame`.
    """
    lines = []
    for location, own in frame.groupby("location", sort=False):
        text = _("{text}.", text=_of_location(own))
        chain = N_("The whole chain, as one warehouse: {text}")
        lines.append(_(chain, text=text) if location == CHAIN else of_location(location, text))
    lines.append(
        ngettext(
            "An order placed now can be sold from {day} on; with what is in stock it lasts until the next one arrives, "
            "{n} week from now. It aims at {target}.",
            "An order placed now can be sold from {day} on; with what is in stock it lasts until the next one arrives, "
            "{n} weeks from now. It aims at {target}.",
            options.lead_time + options.review_period,
            day=day(frame["arrives"].iat[0]),
            target=target(options),
        )
    )
    unknown = int(frame["quantity"].isna().sum())
    if unknown == len(frame):
        lines.append(_("No stock was given, so these are levels to fill up to, not quantities: see orders.tables."))
    elif unknown:
        given = N_("No stock was given for {n} of {all} products and locations; theirs are levels to fill up to.")
        lines.append(_(given, n=unknown, all=len(frame)))
    if limited := int(frame["note"].str.contains("expires", na=False).sum()):
        lines.append(
            ngettext(
                "{n:,} order cut or left out, because goods would expire before they are sold.",
                "{n:,} orders cut or left out, because goods would expire before they are sold.",
                limited,
            )
        )
    return lines


def _of_location(own: pd.DataFrame) -> str:
    ordered = own[own["quantity"] > 0]
    if own["quantity"].isna().all():
        levels = own.loc[own["order_up_to"] > 0, "order_up_to"]
        fill = N_("bring stock on hand and on order up to {units} units of {products}")
        return _(fill, units=units(levels.sum()), products=products(len(levels)))
    if ordered.empty:
        return _("nothing needs to be ordered now")
    return _(
        "order {units} units of {products}, at a cost of {value}",
        units=units(ordered["quantity"].sum()),
        products=products(len(ordered)),
        value=units(ordered["value"].sum()),
    )
