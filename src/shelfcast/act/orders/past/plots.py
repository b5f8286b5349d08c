"""Pictures of replayed orders: frames in, a matplotlib Figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shelfcast.act.orders.words import policy_name
from shelfcast.decision_options import Orders
from shelfcast.report.names import LEVELS
from shelfcast.report.theme import BLUE, HALF, INK, MUTED, ORANGE, PALE, canvas, legend, percent

MARKS = {1: (BLUE, "o"), 2: (ORANGE, "s")}  # of lead times


def costs(summary: pd.DataFrame, level: str, options: Orders) -> Figure:
    """Cost of each policy by lead time, cheapest first.

    Parameters
    ----------
    summary : of `replay.summary` by level, rule, lead_time, policy.
    """
    rows = summary.loc[level].loc[options.rule]["cost"].unstack("lead_time")
    figure, axes = _dots(rows, _cost_finding(rows, level, options.method))
    axes.hlines(range(len(rows)), 0, rows.max(axis=1).sort_values(ascending=False), color=PALE, zorder=0)
    axes.set_xlim(0)
    axes.set_xlabel("cost of stock and of lost margin, money")
    return figure


def fill_rates(summary: pd.DataFrame, level: str, options: Orders) -> Figure:
    """Share of demand that each policy sells from stock, by lead time; the target, where there is one, as a line."""
    rows = 100 * summary.loc[level].loc[options.rule]["fill_rate"].unstack("lead_time")
    own = rows.loc[options.method] / 100
    target = f", {percent(options.service_level)} wanted" if options.rule == "fill_rate" else ""
    low, high = percent(own.min(), 1), percent(own.max(), 1)
    figure, axes = _dots(
        rows, f"Orders by {policy_name(options.method)} sell {low} to {high} of demand{target}: {LEVELS[level]}"
    )
    if target:
        axes.axvline(100 * options.service_level, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel("demand sold from stock, %")
    return figure


def _dots(rows: pd.DataFrame, title: str):
    """A line a policy, a mark a lead time: (figure, axes)."""
    order = rows.max(axis=1).sort_values(ascending=False).index
    figure, axes = canvas(title, HALF)
    for number, lead in enumerate(rows.columns):
        colour, mark = MARKS.get(lead, (MUTED, "^"))
        shift = 0.12 * (number - (len(rows.columns) - 1) / 2)
        label = f"{lead} week{'s' * (lead != 1)} to arrive"
        axes.plot(rows.loc[order, lead], [i + shift for i in range(len(order))], mark, color=colour, label=label)
    axes.set_yticks(range(len(order)), [policy_name(name) for name in order])
    legend(figure, axes, len(rows.columns))
    return figure, axes


def _cost_finding(rows: pd.DataFrame, level: str, method: str) -> str:
    peers = [name for name in rows.index if name not in (method, "oracle")]
    if not peers:
        return f"What orders would have cost, {LEVELS[level]}"
    best = rows.loc[peers].sum(axis=1).idxmin()
    change = percent(rows.loc[method].sum() / rows.loc[best].sum() - 1, 0, True)
    return f"Orders by {policy_name(method)} cost {change} against the best peer, {policy_name(best)}: {LEVELS[level]}"
