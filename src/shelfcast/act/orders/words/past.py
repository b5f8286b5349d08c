"""Replayed orders in plain sentences: what following a forecast would have cost, and how near it came to its aims."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.act.orders.past.contest import AGAINST, TEXTBOOK
from shelfcast.decision_options import Orders
from shelfcast.language import _, joined, ngettext
from shelfcast.report.names import method
from shelfcast.report.theme import percent, units

AIMS = {"cost": -0.10, "regret": 0.15, "fill": 0.015}  # against LightGBM, against the oracle, off the target


def policy_name(key: str) -> str:
    """'textbook' is the average with safety stock; other policies are called as the forecasts that feed them."""
    return _("8-week average and safety stock") if key == TEXTBOOK else method(key).name


def how_it_went(summary: pd.DataFrame, differences: pd.DataFrame, options: Orders) -> list[str]:
    """What the replay of past weeks says of the policy that is used: fill rate, cost, and peers, better or worse.

    Parameters
    ----------
    summary : of `replay.summary` by level, rule, lead_time, policy. differences : of `contest.cost_differences`.
    """
    lines = []
    chosen = summary.xs(options.rule, level="rule").xs(options.method, level="policy")
    found = differences.set_index(["level", "rule", "lead_time", "policy"])
    for (level, lead), row in chosen.iterrows():
        place = _("One warehouse for the chain") if level == "product" else _("Stock in each region")
        parts = [
            ngettext(
                "{place}, {n} week to arrive: {share} of demand sold, at a cost of {cost} in stock and lost margin",
                "{place}, {n} weeks to arrive: {share} of demand sold, at a cost of {cost} in stock and lost margin",
                lead,
                place=place,
                share=percent(row["fill_rate"], 1),
                cost=units(row["cost"]),
            )
        ]
        key = (level, options.rule, lead, options.method)
        if key in found.index:
            gap = found.loc[key]
            parts.append(
                _(
                    "{change} against orders by {policy} (90 % interval {low} to {high})",
                    change=percent(gap["estimate"], 1, True),
                    policy=policy_name(AGAINST),
                    low=percent(gap["low"], 0, True),
                    high=percent(gap["high"], 0, True),
                )
            )
        lines.append(_("{text}.", text=joined(parts, ";")))
    return lines


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
