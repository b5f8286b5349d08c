"""Orders in plain sentences, with numbers computed from their frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.act.orders.past.contest import AGAINST, TEXTBOOK
from shelfcast.data.schema import CHAIN
from shelfcast.decision_options import Orders
from shelfcast.report.names import day, location_label, method
from shelfcast.report.theme import percent, units

AIMS = {"cost": -0.10, "regret": 0.15, "fill": 0.015}  # against LightGBM, against the oracle, off the target


def policy_name(key: str) -> str:
    """'textbook' is the average with safety stock; other policies are called as the forecasts that feed them."""
    return "8-week average and safety stock" if key == TEXTBOOK else method(key).name


def target(options: Orders) -> str:
    """What orders are sized for."""
    if options.rule == "cost":
        return "the stock at which one unit more costs as much as it is expected to earn"
    return f"enough stock for {percent(options.service_level)} of demand"


def counted(n: int, noun: str) -> str:
    """'1 product', '2 products'."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def what_to_order(frame: pd.DataFrame, options: Orders) -> list[str]:
    """One sentence for the chain's warehouse, one for each region, and some on what was not known.

    Parameters
    ----------
    frame : of `decide.order_frame`.
    """
    sentences = []
    for location, own in frame.groupby("location", sort=False):
        place = "The whole chain, as one warehouse" if location == CHAIN else location_label(location)
        sentences.append(f"{place}: {_of_location(own)}.")
    arrives, weeks = day(frame["arrives"].iat[0]), options.lead_time + options.review_period
    sentences.append(
        f"An order placed now can be sold from {arrives} on; with what is in stock it lasts until the next one arrives, "
        f"{counted(weeks, 'week')} from now. It aims at {target(options)}."
    )
    unknown = int(frame["quantity"].isna().sum())
    if unknown == len(frame):
        sentences.append("No stock was given, so these are levels to fill up to, not quantities: see orders.tables.")
    elif unknown:
        sentences.append(
            f"No stock was given for {unknown} of {len(frame)} products and locations; theirs are levels to fill up to."
        )
    limited = int(frame["note"].str.contains("expires", na=False).sum())
    if limited:
        sentences.append(
            f"{counted(limited, 'order')} cut or left out, because goods would expire before they are sold."
        )
    return sentences


def _of_location(own: pd.DataFrame) -> str:
    ordered = own[own["quantity"] > 0]
    if own["quantity"].isna().all():
        levels = own.loc[own["order_up_to"] > 0, "order_up_to"]
        return (
            f"bring stock on hand and on order up to {units(levels.sum())} units of {counted(len(levels), 'product')}"
        )
    if ordered.empty:
        return "nothing needs to be ordered now"
    quantity, value = units(ordered["quantity"].sum()), units(ordered["value"].sum())
    return f"order {quantity} units of {counted(len(ordered), 'product')}, at a cost of {value}"


def how_it_went(summary: pd.DataFrame, differences: pd.DataFrame, options: Orders) -> list[str]:
    """What the replay of past weeks says of the policy that is used: fill rate, cost, and peers, better or worse.

    Parameters
    ----------
    summary : of `replay.summary` by level, rule, lead_time, policy. differences : of `contest.cost_differences`.
    """
    sentences = []
    chosen = summary.xs(options.rule, level="rule").xs(options.method, level="policy")
    for (level, lead), row in chosen.iterrows():
        key = (level, options.rule, lead, options.method)
        place = "One warehouse for the chain" if level == "product" else "Stock in each region"
        text = f"{place}, {lead} {'week' if lead == 1 else 'weeks'} to arrive: {percent(row['fill_rate'], 1)} of demand sold"
        parts = [text + f", at a cost of {units(row['cost'])} in stock and lost margin"]
        found = differences.set_index(["level", "rule", "lead_time", "policy"])
        if key in found.index:
            gap = found.loc[key]
            interval = f"90 % interval {percent(gap['low'], 0, True)} to {percent(gap['high'], 0, True)}"
            parts.append(f"{percent(gap['estimate'], 1, True)} against orders by {policy_name(AGAINST)} ({interval})")
        sentences.append("; ".join(parts) + ".")
    return sentences


def aims(summary: pd.DataFrame, options: Orders) -> pd.DataFrame:
    """What was aimed at and what was measured, misses beside hits: level, rule, lead_time, aim, wanted, measured, met.

    Cost against LightGBM-fed orders and regret to the oracle concern the rule `cost`, on markets that have these; the
    fill rate concerns the rule `fill_rate`.

    Parameters
    ----------
    summary : of `replay.summary` by level, rule, lead_time, policy.
    """
    rows, keys = [], ["level", "rule", "lead_time"]
    for (level, rule, lead), own in summary.groupby(keys):
        own = own.droplevel(keys)
        mine = own.loc[options.method]
        if rule == "cost" and AGAINST in own.index and "oracle" in own.index:
            measured = mine["cost"] / own.loc[AGAINST, "cost"] - 1
            rows.append((level, rule, lead, "cost against LightGBM", AIMS["cost"], measured, measured <= AIMS["cost"]))
            measured = mine["cost"] / own.loc["oracle", "cost"] - 1
            rows.append(
                (level, rule, lead, "regret to the oracle", AIMS["regret"], measured, measured <= AIMS["regret"])
            )
        if rule == "fill_rate":
            measured = mine["fill_rate"] - options.service_level
            met = abs(measured) <= AIMS["fill"]
            rows.append((level, rule, lead, "fill rate off its target", AIMS["fill"], measured, met))
    frame = pd.DataFrame(rows, columns=["level", "rule", "lead_time", "aim", "wanted", "measured", "met"])
    return frame.astype({"met": bool}).assign(measured=np.round(frame["measured"].astype(float), 4))


def stock_outs(sold: np.ndarray, cut: np.ndarray, corrected: np.ndarray, wanted: np.ndarray) -> str:
    """How far sales and corrected sales lie from what was wanted, where that is known.

    Parameters
    ----------
    sold, cut, corrected, wanted : (products, stores, weeks); see `stockouts.correct`.
    """
    share = cut[~np.isnan(sold)].mean()
    total = np.nansum(wanted)
    before, after = (percent(np.nansum(units) / total - 1, 2, True) for units in (sold, corrected))
    return f"Stock-outs cut {percent(share, 1)} of the weeks of products in stores. Sales are {before} off demand, corrected ones {after}."
