"""Figures of explanations: contributions as bars from the usual forecast to this one, and what stands inside of them."""

from __future__ import annotations

import html
import json

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from shelfcast.language import N_, _, joined
from shelfcast.report.plots import graph_layout, month_axis
from shelfcast.report.reasons.choice import REST
from shelfcast.report.theme import BLUE, HALF, INK, MUTED, ORANGE, PALE, SMALL, canvas, units

NAMED = 2  # groups that a title names
WORTH_NAMING = 0.02  # of the usual forecast


def headline(rows: pd.DataFrame, name: str) -> str:
    """The finding of one product's rows: 'Cola 1 l: 265 units, 74 more than usual: promotion +34, price +9'."""
    forecast, usual = rows["forecast"].iloc[0], rows["usual"].iloc[0]
    named = rows[rows["label"] != REST]
    largest = named.loc[named["units"].abs().sort_values(ascending=False).index].head(NAMED)
    largest = largest[largest["units"].abs() > WORTH_NAMING * max(usual, 1)]
    reasons = joined([f"{_(row.label).lower()} {signed(row.units)}" for row in largest.itertuples()])
    more = N_("{name}: {forecast} units, {difference} more than usual")
    fewer = N_("{name}: {forecast} units, {difference} fewer than usual")
    difference = forecast - usual
    numbers = {"forecast": units(forecast), "difference": units(abs(difference))}
    text = _(more if difference > 0 else fewer, name=name, **numbers)
    return _("{finding}: {reasons}", finding=text, reasons=reasons) if reasons else text


def signed(value: float) -> str:
    """'+12', '−3.4', '0'."""
    text = units(abs(value))
    return text if not float(text.replace(",", "")) else f"{'+' if value > 0 else '−'}{text}"


def contributions(rows: pd.DataFrame, title: str, size=HALF) -> Figure:
    """One product's groups as bars that lead from the usual forecast to this one, the largest first.

    rows : label, units, usual, forecast of one product, as `choice.bars` makes them; what is put together comes last.
    """
    rest = rows["label"].eq(REST)
    rows = rows.assign(size=rows["units"].abs().mask(rest, -1.0)).sort_values("size", ascending=False, kind="stable")
    usual, forecast = rows["usual"].iloc[0], rows["forecast"].iloc[0]
    ends = usual + rows["units"].cumsum().to_numpy()
    starts = np.r_[usual, ends[:-1]]
    figure, ax = canvas(title, size)
    ax.axvline(usual, color=PALE, lw=0.8, zorder=0)
    reach = np.ptp([*starts, *ends, usual]) or 1.0
    for y, (start, end, value) in enumerate(zip(starts, ends, rows["units"], strict=True), start=1):
        ax.barh(y, end - start, left=start, height=0.62, color=BLUE if value >= 0 else ORANGE)
        ax.plot([end, end], [y, y + 1], color=MUTED, lw=0.7)
        ax.text(max(start, end) + 0.015 * reach, y, signed(value), va="center", fontsize=8.5)
    last = len(rows) + 1
    ax.plot([usual, forecast], [0, last], "D", color=INK, ms=5, ls="none")
    for y, value in ((0, usual), (last, forecast)):
        ax.text(value + 0.025 * reach, y, units(value), va="center", fontsize=8.5, fontweight="bold")
    ax.set_yticks(range(last + 1), [_("as usual"), *rows["label"].map(_), _("forecast")])
    ax.set(xlabel=_("units"), ylim=(last + 0.6, -0.6))
    ax.use_sticky_edges = False  # bars would end at the picture's edge, and cut the diamonds
    ax.margins(x=0.12)
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_visible(False)
    return figure


def strip(pairs: str, title: str, size=SMALL, label: str = "") -> Figure:
    """Units by week (the JSON of `weeks`) as bars, up and down."""
    frame = pd.DataFrame(json.loads(pairs), columns=["ds", "units"])
    figure, ax = canvas(title, size)
    colours = np.where(frame["units"] >= 0, BLUE, ORANGE)
    ax.bar(pd.to_datetime(frame["ds"]), frame["units"], width=6, color=colours)
    ax.axhline(0, color=MUTED, lw=0.8)
    month_axis(ax)
    ax.set_ylabel(label or _("units"))
    return figure


def shares(frame: pd.DataFrame, title: str, size=HALF) -> Figure:
    """Shares of attention by week as bars; frame has ds and share."""
    figure, ax = canvas(title, size)
    ax.bar(frame["ds"], 100 * frame["share"], width=6, color=MUTED)
    month_axis(ax)
    ax.set_ylabel(_("share of attention, %"))
    return figure


def region_map(pairs: str, graph: pd.DataFrame, title: str, coordinates: pd.DataFrame | None = None) -> Figure:
    """Units by region (the JSON of `regions`) as circles: area is size, colour direction.

    graph : location x location, as the panel's. coordinates : index location, longitude and latitude; without them see
    `report.plots.graph_layout`.
    """
    values = pd.Series(dict(json.loads(pairs)))
    values = values[[name for name in values.index if name in graph.index[1:]]]
    weights = graph.loc[values.index, values.index].to_numpy(float).copy()
    np.fill_diagonal(weights, 0)
    x, y = graph_layout(weights, None if coordinates is None else coordinates.loc[values.index].to_numpy(float))
    figure, ax = canvas(title, SMALL)
    area = 60 + 900 * values.abs() / max(values.abs().max(), 1e-9)
    ax.scatter(x, y, s=area, c=np.where(values >= 0, BLUE, ORANGE), alpha=0.75, ec=INK, lw=0.6)
    for name, value, xi, yi in zip(values.index, values, x, y, strict=True):
        ax.annotate(f"{name.replace('_', ' ')}\n{signed(value)}", (xi, yi), ha="center", va="center", fontsize=7.5)
    ax.set(xlim=(-2.1, 2.1), ylim=(-1.5, 1.5))
    ax.axis("off")
    return figure


def shaded_words(pairs: str) -> str:
    """A text as HTML whose words (the JSON of `words`) are shaded by what they add (blue) or take (orange)."""
    words = [(word, value) for word, value in json.loads(pairs) if word]
    most = max((abs(value) for _, value in words), default=0) or 1.0
    parts = []
    for word, value in words:
        colour, share = (BLUE if value >= 0 else ORANGE), round(45 * abs(value) / most)
        style = f"background:color-mix(in srgb, {colour} {share}%, transparent);padding:0 .15em;border-radius:.2em"
        parts.append(f'<span style="{style}" title="{signed(value)}">{html.escape(word)}</span>')
    return f'<p class="words">{" ".join(parts)}</p>'
