"""The figures of the notebooks and the report: frames in, a matplotlib Figure out. `theme` says how they look."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.dates import ConciseDateFormatter, MonthLocator, num2date
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from shelfcast import language
from shelfcast.language import N_, _
from shelfcast.report.theme import BLUE, HALF, INK, MUTED, ORANGE, PALE, SMALL, WIDE, canvas, legend, percent
from shelfcast.report.theme import show as show  # notebooks draw and show by one import
from shelfcast.report.theme import units as units

MARKERS, COLOURS, LINES = "Dos^v", (BLUE, INK, MUTED, ORANGE, PALE), ("-", "--", ":", "-.", "-")  # ours first


def month_axis(ax) -> None:
    """Every second month on the horizontal axis, and the year where one begins."""
    locator = MonthLocator(interval=2)
    ax.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, show_offset=False)
    if language.code() != "en":
        formatter = FuncFormatter(lambda value, _position: language.month(num2date(value)))
    ax.xaxis.set_major_formatter(formatter)


def _week_axis(ax) -> None:
    month_axis(ax)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _position: f"{v:,.0f}"))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_ylim(bottom=0)


def timeline(sold: pd.Series, cutoffs: dict, horizon: int, title: str, size=WIDE) -> Figure:
    """Units by week (or day), with the stretches of weeks that validation and test cutoffs look ahead to."""
    figure, ax = canvas(title, size)
    days = (sold.index[1] - sold.index[0]).days
    for name, shade in ((N_("validation"), "0.93"), (N_("test"), "0.85")):
        first, last = min(cutoffs[name]), max(cutoffs[name]) + pd.Timedelta(days=days * horizon)
        half = pd.Timedelta(days=days / 2)
        ax.axvspan(first + half, last + half, color=shade, lw=0, label=_(name))
    ax.plot(sold.index, sold, color=INK, lw=1.3, marker="o", ms=2, label=_("sold"))
    ax.set_ylabel(_("units a week"))
    _week_axis(ax)
    legend(figure, ax, 3)
    return figure


def gallery(pictures: dict, title: str) -> Figure:
    """Pictures (id -> PIL image) in a row, each under its id."""
    figure, axes = canvas(title, (8.6, 1.6), columns=len(pictures))
    for ax, (name, image) in zip(np.atleast_1d(axes), pictures.items(), strict=True):
        ax.imshow(image)
        ax.set_title(name, fontsize=8)
        ax.axis("off")
    return figure


def training(history: pd.DataFrame, title: str, size=HALF) -> Figure:
    """Training loss and validation WQL by step, one line a seed; history has seed, phase, step, loss, wql, best."""
    figure, axes = canvas(title, size, 2)
    for ax, column, label in zip(axes, ("loss", "wql"), (_("training loss"), _("validation WQL")), strict=True):
        for (_seed, run), line in zip(history[history["phase"] == "select"].groupby("seed"), cycle(LINES[:4])):
            ax.plot(run["step"], run[column], color=BLUE, ls=line, lw=1.4, marker="o", ms=2.5)
            best = run[run["best"]]
            ax.plot(best["step"], best[column], "D", color=ORANGE, ms=7, mfc="none", mew=1.6)
        ax.set(xlabel=_("step"), ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def fan(
    history: pd.Series, ahead: pd.DataFrame, title: str, before=None, promoted=(), size=SMALL, key: bool = True
) -> Figure:
    """Weekly units that sold and the forecast with its 50 and 80 % bands.

    Parameters
    ----------
    history : units by week (index Monday).
    ahead : ds, mean, q100, q250, q750, q900 of the coming weeks.
    before : the same for weeks that have passed: what was forecast then, drawn as an outlined 80 % band.
    promoted : weeks to mark below the line as on promotion.
    key : whether to draw a legend.
    """
    figure, ax = canvas(title, size)
    if before is not None and len(before):
        ax.fill_between(before["ds"], before["q100"], before["q900"], fc="none", ec=MUTED, ls=":", lw=0.9)
        ax.plot(before["ds"], before["mean"], color=MUTED, ls=":", lw=1.2, label=_("earlier forecast"))
    ax.plot(history.index, history, color=INK, lw=1.3, label=_("sold"))
    weeks = ahead["ds"]
    ax.fill_between(weeks, ahead["q100"], ahead["q900"], color=BLUE, alpha=0.2, lw=0, label=_("80 % range"))
    ax.fill_between(weeks, ahead["q250"], ahead["q750"], color=BLUE, alpha=0.4, lw=0, label=_("50 % range"))
    ax.plot(weeks, ahead["mean"], color=BLUE, lw=2, marker="o", ms=3, label=_("expected"))
    if len(promoted):
        ax.plot(list(promoted), np.zeros(len(promoted)), "^", color=ORANGE, ms=4, clip_on=False, label=_("promotion"))
    ax.set_ylabel(_("units a week"))
    _week_axis(ax)
    if key:
        legend(figure, ax, 3)
    return figure


def graph_layout(weights: np.ndarray, coordinates: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y (regions,) of a graph's regions.

    Parameters
    ----------
    weights : (regions, regions), how much two regions share; zeros on the diagonal.
    coordinates : (regions, 2), longitude and latitude. Without them regions stand on a circle in the order of the
        graph's Fiedler vector, so that regions that share many shoppers are neighbours.
    """
    if coordinates is not None:
        middle, span = (coordinates.min(0) + coordinates.max(0)) / 2, np.maximum(np.ptp(coordinates, axis=0), 1e-9)
        x, y = (2 * (coordinates - middle) / span).T
        return 1.5 * x, y
    n = len(weights)
    laplacian = np.diag(weights.sum(1)) - weights
    rank = np.linalg.eigh(laplacian)[1][:, min(1, n - 1)].argsort().argsort()
    angle = np.pi / 2 - 2 * np.pi * rank / n
    return 1.5 * np.cos(angle), np.sin(angle)


def region_graph(
    graph: pd.DataFrame, volume: pd.Series, change: pd.Series, title: str, coordinates: pd.DataFrame | None = None
) -> Figure:
    """Regions as a graph: area = expected units, line = what they share, colour and number = expected change.

    `graph` holds regions only; `coordinates` has longitude and latitude by region, see `graph_layout`.
    """
    figure, ax = canvas(title, HALF)
    names, weights = list(graph.index), graph.to_numpy(float).copy()
    np.fill_diagonal(weights, 0)
    x, y = graph_layout(weights, None if coordinates is None else coordinates.loc[names].to_numpy(float))
    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        strength = weights[i, j] / max(weights.max(), 1e-9)
        if strength > 0.02:
            look = {"lw": 0.4 + 5 * strength, "alpha": 0.15 + 0.4 * strength}
            ax.plot(x[[i, j]], y[[i, j]], color=MUTED, zorder=1, **look)
    limit = 1.6 * np.nanmax([0.05, *change.abs()])
    area, colours = 1900 * (volume / volume.max()).reindex(names), change.reindex(names)
    ax.scatter(x, y, s=area, c=colours, cmap="PuOr", vmin=-limit, vmax=limit, ec=INK, lw=0.8, zorder=2)
    behind = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.5}  # so that lines do not cross the text
    for name, size, xi, yi in zip(names, area, x, y, strict=True):
        side, radius = np.sign(round(xi, 6)), np.sqrt(size / np.pi) + 4  # points
        offset = (side * radius, 0) if side else (0, np.sign(yi) * radius)
        horizontal = {1: "left", -1: "right", 0: "center"}[side]
        vertical = "center" if side else "bottom" if yi > 0 else "top"
        look = {"ha": horizontal, "va": vertical, "fontsize": 8.5, "linespacing": 1.2, "bbox": behind}
        text = f"{name}\n{percent(change[name], sign=True)}"
        ax.annotate(text, (xi, yi), offset, textcoords="offset points", zorder=3, **look)
    ax.set(xlim=(-2.7, 2.7), ylim=(-1.6, 1.6))
    ax.axis("off")
    return figure


def intervals(frame: pd.DataFrame, title: str, xlabel: str, digits: int = 0, size=HALF) -> Figure:
    """Dots with intervals, one row each, best first within its `group`; groups are kept apart.

    `frame` has label, estimate, low, high (fractions, drawn in %) and group; rows of a group called 'upper bound' are
    hollow, rows of 'ours' blue and filled, a missing interval (the reference itself) is a bare dot.
    """
    groups = list(dict.fromkeys(frame["group"]))
    figure, ax = canvas(title, (size[0], max(size[1], 0.7 + 0.24 * (len(frame) + len(groups)))))
    position, ticks = 0.0, []
    for number, group in enumerate(groups):
        rows = frame[frame["group"] == group].sort_values("estimate")
        if number:
            ax.axhline(position - 0.1, color=PALE, lw=0.8)
            position += 0.8
        colour = BLUE if group == "ours" else INK
        fill = "white" if group == "upper bound" else colour
        marker = {"ours": "D", "upper bound": "s"}.get(group, "o")
        for row in rows.itertuples():
            ax.plot([100 * row.low, 100 * row.high], [position] * 2, color=colour, lw=1.6)
            ax.plot(100 * row.estimate, position, marker, color=colour, mfc=fill, ms=6)
            ticks.append((position, row.label))
            position += 1
    ax.axvline(0, color=MUTED, lw=0.8, ls="--")
    ax.set_yticks(*zip(*ticks, strict=True))
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _position: percent(v / 100, digits, sign=True)))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=not digits))
    ax.set(xlabel=xlabel, ylim=(position - 0.4, -0.6))
    return figure


def groups(frame: pd.DataFrame, title: str, xlabel: str, ylabel: str = "", size=SMALL) -> Figure:
    """One score (WQL where `ylabel` is empty) per group and method: rows groups in order, columns methods (ours first)."""
    figure, ax = canvas(title, size)
    x = np.arange(len(frame))
    for column, marker, colour, line in zip(frame, MARKERS, COLOURS, LINES, strict=False):
        ax.plot(x, frame[column], color=colour, ls=line, marker=marker, ms=4, lw=1.4, label=column)
    ax.set_xticks(x, frame.index)
    ax.set(xlabel=xlabel, ylabel=ylabel or _("error (WQL)"), ylim=(0, 1.1 * np.nanmax(frame.to_numpy())))
    ax.margins(x=0.08)
    legend(figure, ax, 2)
    return figure


def coverage(frame: pd.DataFrame, title: str, size=HALF) -> Figure:
    """Promised against measured coverage: rows methods, columns 50, 80, 95 (fractions); on the diagonal both agree."""
    figure, ax = canvas(title, size)
    ax.plot([40, 100], [40, 100], color=MUTED, ls="--", lw=0.9, label=_("exactly as promised"))
    shift = np.linspace(-1.2, 1.2, len(frame)) if len(frame) > 1 else [0]
    for (name, row), marker, colour, dx in zip(frame.iterrows(), MARKERS, COLOURS, shift, strict=False):
        ax.plot(np.array([50, 80, 95]) + dx, 100 * row.to_numpy(float), marker, color=colour, ms=6, label=name)
    ax.set(xlabel=_("promised coverage of the range, %"), ylabel=_("weeks inside the range, %"))
    ax.set(xlim=(42, 102), xticks=(50, 80, 95))
    legend(figure, ax, 2)
    return figure


def pit(shares: dict[str, np.ndarray], title: str, size=HALF) -> Figure:
    """Randomised PIT histograms: expected share of observations per bin; flat is calibrated."""
    figure, ax = canvas(title, size)
    for (name, share), colour, line in zip(shares.items(), (BLUE, ORANGE, INK), LINES, strict=False):
        edges = np.linspace(0, 100, len(share) + 1)
        ax.stairs(100 * np.asarray(share), edges, color=colour, ls=line, lw=1.8, label=name)
    ax.axhline(100 / len(share), color=MUTED, ls="--", lw=0.9, label=_("perfect"))
    ax.set(xlabel=_("where sales fell within the forecast distribution, %"), ylabel=_("share of weeks, %"))
    ax.set(xlim=(0, 100), ylim=(0, 100 * max(max(map(np.max, shares.values())), 1.5 / len(share)) * 1.1))
    legend(figure, ax, 3)
    return figure
