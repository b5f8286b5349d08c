"""Pictures of replayed orders: frames in, a matplotlib Figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shelfcast.act.orders.words import policy_name
from shelfcast.decision_options import Orders
from shelfcast.report.names import LEVELS
from shelfcast.report.theme import BLUE, HALF, INK, MUTED, ORANGE, PALE, canvas, legend, percent

MARKS = {1: (BLUE, "o"), 2: (ORANGE, "s")}


def costs(summary: pd.DataFrame, level: str, rule: str, method: str) -> Figure:
    """Cost of each policy by lead time, cheapest first.

    Parameters
    ----------
    summary : of `replay.summary` by level, rule, lead_time, policy. method : whose policy the title speaks of.
    """
    rows = summary.loc[level].loc[rule]["cost"].unstack("lead_time")
    rows = rows.sort_values(rows.columns[0], ascending=False)
    figure, axes = canvas(_finding(rows, level, method), HALF)
    for offset, lead in enumerate(rows.columns):
        colour, mark = MARKS.get(lead, (MUTED, "^"))
        height = [i + 0.12 * (offset - (len(rows.columns) - 1) / 2) for i in range(len(rows))]
        axes.plot(rows[lead], height, mark, color=colour, label=f"{lead} week{'s' * (lead != 1)} to arrive")
    axes.set_yticks(range(len(rows)), [policy_name(name) for name in rows.index])
    axes.hlines(range(len(rows)), 0, rows.max(axis=1), color=PALE, zorder=0)
    axes.set_xlim(0)
    axes.set_xlabel("cost of stock and of lost margin, money")
    legend(figure, axes, len(rows.columns))
    return figure


def _finding(rows: pd.DataFrame, level: str, method: str) -> str:
    peers = [name for name in rows.index if name not in (method, "oracle")]
    if method not in rows.index or not peers:
        return f"What orders would have cost, {LEVELS[level]}"
    best = rows.loc[peers].sum(axis=1).idxmin()
    change = rows.loc[method].sum() / rows.loc[best].sum() - 1
    return f"Orders by {policy_name(method)} cost {percent(change, 0, True)} against the best peer, {policy_name(best)}: {LEVELS[level]}"


def fill_and_stock(summary: pd.DataFrame, level: str, options: Orders) -> Figure:
    """Share of demand sold against mean stock, a mark a policy and lead time; the target as a line."""
    rows = summary.loc[level].loc[options.rule]
    low, high = rows["fill_rate"].min(), rows["fill_rate"].max()
    figure, axes = canvas(
        f"Between {percent(low)} and {percent(high)} of demand sold from stock, {LEVELS[level]}", HALF
    )
    for (lead, policy), row in rows.iterrows():
        colour, mark = MARKS.get(lead, (MUTED, "^"))
        axes.plot(row["mean_stock"], 100 * row["fill_rate"], mark, color=colour)
        axes.annotate(
            policy_name(policy),
            (row["mean_stock"], 100 * row["fill_rate"]),
            (4, 3),
            textcoords="offset points",
            fontsize=7,
        )
    if options.rule == "fill_rate":
        axes.axhline(100 * options.service_level, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel("mean stock of a product and location at the week's end, units")
    axes.set_ylabel("demand sold, %")
    return figure
