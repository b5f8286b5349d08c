"""Pictures of replayed orders: frames in, a matplotlib Figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shelfcast.act.orders.words import policy_name
from shelfcast.decision_options import Orders
from shelfcast.language import N_, _, ngettext
from shelfcast.report.names import level as level_name
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
    axes.set_xlabel(_("cost of stock and of lost margin, money"))
    return figure


def fill_rates(summary: pd.DataFrame, level: str, options: Orders) -> Figure:
    """Share of demand that each policy sells from stock, by lead time; the target, where there is one, as a line."""
    rows = 100 * summary.loc[level].loc[options.rule]["fill_rate"].unstack("lead_time")
    own = rows.loc[options.method] / 100
    has_target = options.rule == "fill_rate"
    finding = N_("Orders by {policy} sell {low} to {high} of demand: {level}")
    if has_target:
        finding = N_("Orders by {policy} sell {low} to {high} of demand, {target} wanted: {level}")
    numbers = {"low": percent(own.min(), 1), "high": percent(own.max(), 1), "target": percent(options.service_level)}
    title = _(finding, policy=policy_name(options.method), level=level_name(level), **numbers)
    figure, axes = _dots(rows, title)
    if has_target:
        axes.axvline(100 * options.service_level, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel(_("demand sold from stock, %"))
    return figure


def _dots(rows: pd.DataFrame, title: str):
    """A line a policy, a mark a lead time: (figure, axes)."""
    order = rows.max(axis=1).sort_values(ascending=False).index
    figure, axes = canvas(title, HALF)
    for number, lead in enumerate(rows.columns):
        colour, mark = MARKS.get(lead, (MUTED, "^"))
        shift = 0.12 * (number - (len(rows.columns) - 1) / 2)
        label = ngettext("{n} week to arrive", "{n} weeks to arrive", lead)
        axes.plot(rows.loc[order, lead], [i + shift for i in range(len(order))], mark, color=colour, label=label)
    axes.set_yticks(range(len(order)), [policy_name(name) for name in order])
    legend(figure, axes, len(rows.columns))
    return figure, axes


def _cost_finding(rows: pd.DataFrame, level: str, method: str) -> str:
    peers = [name for name in rows.index if name not in (method, "oracle")]
    if not peers:
        return _("What orders would have cost, {level}", level=level_name(level))
    best = rows.loc[peers].sum(axis=1).idxmin()
    change = percent(rows.loc[method].sum() / rows.loc[best].sum() - 1, 0, True)
    return _(
        "Orders by {policy} cost {change} against the best peer, {peer}: {level}",
        policy=policy_name(method),
        change=change,
        peer=policy_name(best),
        level=level_name(level),
    )
