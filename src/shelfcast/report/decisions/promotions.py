"""The promotion plan and the groups of shoppers as tables, from the frames of notebook 7."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from shelfcast.language import _, listed, short_day
from shelfcast.report.decisions.words import product
from shelfcast.report.theme import money, percent, units


def plan_table(plan: pd.DataFrame, labels: pd.Series, most: int) -> pd.DataFrame:
    """The promotions of the plan, by week and gain; units without it and more with it, by the plan and by causes alone.

    Parameters
    ----------
    plan : `promotions.parquet`. labels : product_id -> human name. most : rows at most, of the largest gains.
    """
    rows = plan[plan["chosen"]].nlargest(most, "money").sort_values(["ds", "money"], ascending=[True, False])
    cells = {
        _("Product"): rows["product_id"].map(lambda name: product(labels, name)),
        _("Week of"): rows["ds"].map(short_day),
        _("Price"): [f"{row.price:.2f}\u00a0→\u00a0{row.price_promoted:.2f}" for row in rows.itertuples()],
        _("Without"): rows["units_without"].map(units),
        _("More units"): rows["units"].map(units),
        _("80 % range"): [f"{units(row.units_low)}–{units(row.units_high)}" for row in rows.itertuples()],
        _("By causes"): rows["units_cause"].map(lambda x: units(x) if np.isfinite(x) else "–"),
        _("Margin"): rows["money"].map(money),
        _("Its 80 % range"): [
            _("{low} to {high}", low=money(row.money_low), high=money(row.money_high)) for row in rows.itertuples()
        ],
    }
    if plan["planned_now"].any():
        cells[_("Planned")] = np.where(rows["planned_now"], _("yes"), _("no"))
    return pd.DataFrame(cells)


def group_table(groups: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """A row a group of shoppers: how many they are, what sets them apart, and what they are likely to buy.

    Parameters
    ----------
    groups : `shopper_groups.parquet`. labels : product_id -> human name.
    """
    rows = []
    for group, own in groups.groupby("group"):
        first = own.iloc[0]
        apart = [
            _("{product} ({share})", product=product(labels, name), share=percent(share))
            for name, share in zip(first["products"], first["bought"], strict=True)
        ]
        likely = own.sort_values("share", ascending=False)
        next_ones = [
            f"{100 * row.share:.0f} ({100 * row.low:.0f}–{100 * row.high:.0f}) {product(labels, row.product_id)}"
            for row in likely.itertuples()
        ]
        rows.append(
            {
                _("Group"): _("{group}: {n} shoppers", group=group, n=f"{first['shoppers']:,}"),
                _("Buys more than others do (share that did so far)"): listed(apart),
                _("Of 100 of them, likely to buy next"): "<br>".join(next_ones),
            }
        )
    return pd.DataFrame(rows)


def plain_groups(groups: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    """The groups for a spreadsheet: a row per group and product that it is likely to buy."""
    return pd.DataFrame(
        {
            "group": groups["group"],
            "shoppers": groups["shoppers"],
            "product_id": groups["product_id"],
            "product": groups["product_id"].map(labels),
            "buyers_of_100": 100 * groups["share"].astype(float),
            "buyers_low": 100 * groups["low"].astype(float),
            "buyers_high": 100 * groups["high"].astype(float),
        }
    )


def folded(summary: str, lines: list[str]) -> str:
    """Sentences that open on a click, escaped; they print open where the browser lets them."""
    text = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return f"<details><summary>{escape(summary)}</summary>{text}</details>" if text else ""
