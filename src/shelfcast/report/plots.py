"""The figures of the notebooks and the report: frames in, a matplotlib Figure out, and its HTML.

A figure carries its finding as its title. `show` moves the title out of the picture into the page's own text, where
it wraps on a phone, and writes the picture as an inline SVG whose letters are the reader's system font.
Colours: Okabe & Ito's palette (safe for colour blindness); bands and marks also differ in lightness and shape.
"""

import base64
import html
import io
import textwrap
from itertools import cycle

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.dates import ConciseDateFormatter, MonthLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

INK, MUTED, PALE, BLUE, ORANGE = "#1d2733", "#66717e", "#d5dae0", "#0072b2", "#d55e00"
LINES = ("-", "--", ":", "-.")
WIDE, HALF, SMALL = (6.4, 3.1), (4.6, 3.1), (3.5, 2.2)  # inches; a third of the page is SMALL
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
THEME = {
    "font.family": "DejaVu Sans",  # comes with matplotlib; `svg` names the reader's own font instead
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "figure.titlesize": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#aab2bc",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "shelfcast",  # else the ids, and so the file, change with every run
}


def percent(value: float, digits: int = 0, sign: bool = False) -> str:
    """``percent(-.062)`` is '−6 %': true minus, a space that does not break."""
    text = f"{abs(100 * value):,.{digits}f}"
    zero = not float(text.replace(",", ""))
    return ("" if zero else "−" if value < 0 else "+" if sign else "") + text + "\u00a0%"


def units(value: float) -> str:
    """Whole units, one decimal where there are few."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.1f}"


def canvas(title: str, size=HALF, columns: int = 1, **options):
    """A themed figure without pyplot's global state: (figure, axes)."""
    sns.set_theme(style="ticks", rc=THEME)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, columns, **options)
    figure.suptitle(textwrap.fill(title, int(size[0] * 15)), x=0.01, ha="left")
    return figure, axes


def svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context(THEME):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue().replace("'DejaVu Sans'", FONT)


def show(*figures: Figure, caption: str = "", columns: int = 1) -> HTML:
    """Figures side by side as HTML: title, picture (with the title as its alternative text), one caption below."""
    parts = []
    for figure in figures:
        title = figure.get_suptitle().replace("\n", " ")
        figure.suptitle("")
        data = base64.b64encode(svg(figure).encode()).decode()
        heading, alt = html.escape(title), html.escape(title, quote=True)
        parts.append(f'<figure><h3>{heading}</h3><img alt="{alt}" src="data:image/svg+xml;base64,{data}"></figure>')
    note = f'<p class="caption">{caption}</p>' if caption else ""
    return HTML(f'<div class="grid c{columns}">{"".join(parts)}</div>{note}')


def table(frame: pd.DataFrame, search: str = "", tall: bool = False) -> HTML:
    """A table that the page's script sorts on a click; cells are HTML (escape what comes from data)."""
    body = frame.to_html(index=False, escape=False, border=0, classes="sortable", na_rep="–", justify="unset")
    box = f'<input type="search" placeholder="{search}" aria-label="{search}">' if search else ""
    return HTML(f'<div class="table">{box}<div class="scroll{" tall" if tall else ""}">{body}</div></div>')


def spark(past, future) -> str:
    """A word-sized line for a table cell: what sold, then (orange, dashed) what is expected."""
    values = np.concatenate([past, future]).astype(float)
    top, n = max(values.max(), 1), len(values)
    points = [f"{100 * i / (n - 1):.1f},{21 - 19 * v / top:.1f}" for i, v in enumerate(values)]
    k = len(past)
    return (
        f'<svg class="spark" viewBox="0 0 100 22" aria-hidden="true"><polyline points="{" ".join(points[:k])}"/>'
        f'<polyline class="next" points="{" ".join(points[k - 1 :])}"/></svg>'
    )


def gallery(pictures: dict, title: str):
    """Pictures (id -> PIL image) in a row, each under its id."""
    figure, axes = canvas(title, (8.6, 1.6), columns=len(pictures))
    for ax, (name, image) in zip(np.atleast_1d(axes), pictures.items(), strict=True):
        ax.imshow(image)
        ax.set_title(name, fontsize=8)
        ax.axis("off")
    return figure


def _weeks(ax) -> None:
    locator = MonthLocator(interval=2)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set_ylim(bottom=0)


def fan(history: pd.Series, ahead: pd.DataFrame, title: str, before=None, promoted=(), size=SMALL, legend=True):
    """Weekly units that sold and the forecast with its 50 and 80 % bands.

    Parameters
    ----------
    history : units by week (index Monday).
    ahead : ds, mean, q100, q250, q750, q900 of the coming weeks.
    before : the same for weeks that have passed: what was forecast then, drawn as an outlined 80 % band.
    promoted : weeks to mark below the line as on promotion.
    """
    figure, ax = canvas(title, size)
    if before is not None and len(before):
        ax.fill_between(before["ds"], before["q100"], before["q900"], fc="none", ec=MUTED, ls=":", lw=0.9)
        ax.plot(before["ds"], before["mean"], color=MUTED, ls=":", lw=1.2, label="forecast four weeks ago")
    ax.plot(history.index, history, color=INK, lw=1.3, label="sold")
    x = ahead["ds"]
    ax.fill_between(x, ahead["q100"], ahead["q900"], color=BLUE, alpha=0.2, lw=0, label="80 % range")
    ax.fill_between(x, ahead["q250"], ahead["q750"], color=BLUE, alpha=0.4, lw=0, label="50 % range")
    ax.plot(x, ahead["mean"], color=BLUE, lw=2, marker="o", ms=3, label="expected")
    if len(promoted):
        ax.plot(list(promoted), np.zeros(len(promoted)), "^", color=ORANGE, ms=4, clip_on=False, label="promotion")
    ax.set_ylabel("units a week")
    _weeks(ax)
    if legend:
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def region_graph(graph: pd.DataFrame, volume: pd.Series, change: pd.Series, title: str, place=None):
    """Regions as a graph: area = expected units, line = what they share, colour and number = expected change.

    `graph` holds regions only. They stand where `place` (longitude, latitude) says, else on a circle in the order of
    the graph's Fiedler vector, so that regions that share many shoppers are neighbours.
    """
    figure, ax = canvas(title, HALF)
    names, weights = list(graph.index), graph.to_numpy(float).copy()
    np.fill_diagonal(weights, 0)
    laplacian = np.diag(weights.sum(1)) - weights
    rank = np.linalg.eigh(laplacian)[1][:, min(1, len(names) - 1)].argsort().argsort()
    angle = np.pi / 2 - 2 * np.pi * rank / len(names)
    x, y = 1.5 * np.cos(angle), np.sin(angle)
    if place is not None:
        east, north = ((v - (v.min() + v.max()) / 2) / max(np.ptp(v), 1e-9) * 2 for v in place.loc[names].to_numpy().T)
        x, y = 1.5 * east, north
    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        strength = weights[i, j] / max(weights.max(), 1e-9)
        if strength > 0.02:
            ax.plot(
                x[[i, j]],
                y[[i, j]],
                color=MUTED,
                lw=0.4 + 5 * strength,
                alpha=0.15 + 0.4 * strength,
                zorder=1,
            )
    limit = max(0.05, change.abs().max())
    area, colours = 1900 * (volume / volume.max()).reindex(names), change.reindex(names)
    ax.scatter(x, y, s=area, c=colours, cmap="PuOr", vmin=-1.6 * limit, vmax=1.6 * limit, ec=INK, lw=0.8, zorder=2)
    for name, size, xi, yi in zip(names, area, x, y, strict=True):
        text, side = f"{name}\n{percent(change[name], sign=True)}", np.sign(round(xi, 6))
        radius = np.sqrt(size / np.pi) + 4  # points
        place = (side * radius, 0) if side else (0, np.sign(yi) * radius)
        align = dict(
            ha={1: "left", -1: "right", 0: "center"}[side], va="center" if side else "bottom" if yi > 0 else "top"
        )
        ax.annotate(text, (xi, yi), place, textcoords="offset points", fontsize=8.5, linespacing=1.2, zorder=3, **align)
    ax.set(xlim=(-2.7, 2.7), ylim=(-1.6, 1.6))
    ax.axis("off")
    return figure


def intervals(frame: pd.DataFrame, title: str, xlabel: str, digits: int = 0, size=HALF):
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
        for row in rows.itertuples():
            colour, fill = (BLUE, BLUE) if group == "ours" else (INK, "white" if group == "upper bound" else INK)
            ax.plot([100 * row.low, 100 * row.high], [position] * 2, color=colour, lw=1.6)
            marker = {"ours": "D", "upper bound": "s"}.get(group, "o")
            ax.plot(100 * row.estimate, position, marker, color=colour, mfc=fill, ms=6)
            ticks.append((position, row.label))
            position += 1
    ax.axvline(0, color=MUTED, lw=0.8, ls="--")
    ax.set_yticks(*zip(*ticks, strict=True))
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: percent(v / 100, digits, sign=True)))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=not digits))
    ax.set(xlabel=xlabel, ylim=(position - 0.4, -0.6))
    return figure


def groups(frame: pd.DataFrame, title: str, xlabel: str, ylabel: str = "error (WQL)", size=SMALL):
    """One score per group and method: rows groups in order, columns methods (ours first)."""
    figure, ax = canvas(title, size)
    x = np.arange(len(frame))
    for column, marker, colour, line in zip(
        frame, "Dos^v", (BLUE, INK, MUTED, ORANGE, PALE), ("-", "--", ":", "-.", "-"), strict=False
    ):
        ax.plot(x, frame[column], color=colour, ls=line, marker=marker, ms=4, lw=1.4, label=column)
    ax.set_xticks(x, frame.index)
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.1 * np.nanmax(frame.to_numpy())))
    ax.margins(x=0.08)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def coverage(frame: pd.DataFrame, title: str, size=HALF):
    """Promised against measured coverage: rows methods, columns 50, 80, 95 (fractions); the diagonal is honest."""
    figure, ax = canvas(title, size)
    ax.plot([40, 100], [40, 100], color=MUTED, ls="--", lw=0.9, label="exactly as promised")
    shift = np.linspace(-1.2, 1.2, len(frame)) if len(frame) > 1 else [0]
    for (name, row), marker, colour, dx in zip(
        frame.iterrows(), "Dos^v", (BLUE, INK, MUTED, ORANGE, PALE), shift, strict=False
    ):
        ax.plot(np.array([50, 80, 95]) + dx, 100 * row.to_numpy(float), marker, color=colour, ms=6, label=name)
    ax.set(
        xlabel="promised coverage of the range, %",
        ylabel="weeks inside the range, %",
        xlim=(42, 102),
        xticks=(50, 80, 95),
    )
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def pit(shares: dict[str, np.ndarray], title: str, size=HALF):
    """Randomised PIT histograms: expected share of observations per bin; flat is calibrated."""
    figure, ax = canvas(title, size)
    for (name, share), colour, line in zip(shares.items(), (BLUE, ORANGE, INK), ("-", "--", ":"), strict=False):
        edges = np.linspace(0, 100, len(share) + 1)
        ax.stairs(100 * np.asarray(share), edges, color=colour, ls=line, lw=1.8, label=name)
    ax.axhline(100 / len(share), color=MUTED, ls="--", lw=0.9, label="perfect")
    ax.set(xlabel="where sales fell within the forecast distribution, %", ylabel="share of weeks, %")
    ax.set(xlim=(0, 100), ylim=(0, 100 * max(max(map(np.max, shares.values())), 1.5 / len(share)) * 1.1))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def training(history: pd.DataFrame, title: str, size=HALF):
    """Training loss and validation WQL by epoch, one line a seed; history has seed, phase, epoch, loss, wql, best."""
    figure, axes = canvas(title, size, 2)
    for ax, column, label in zip(axes, ("loss", "wql"), ("training loss", "validation WQL"), strict=True):
        for (_, run), line in zip(history[history["phase"] == "select"].groupby("seed"), cycle(LINES)):
            ax.plot(run["epoch"], run[column], color=BLUE, ls=line, lw=1.4, marker="o", ms=2.5)
            best = run[run["best"]]
            ax.plot(best["epoch"], best[column], "D", color=ORANGE, ms=7, mfc="none", mew=1.6)
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def search(trials: pd.DataFrame, curves: pd.DataFrame, title: str, size=WIDE):
    """A search's trials in order, and the curves they were pruned by; `tune.tables` gives both, the first trial is the
    present setting."""
    figure, (left, right) = canvas(title, size, 2)
    _marks(left, np.arange(1, len(trials) + 1), trials)
    best = trials["wql"].where(~trials["pruned"]).cummin().ffill()
    left.step(np.arange(1, len(trials) + 1), best, where="post", color=INK, lw=1.2, label="best so far")
    left.set(xlabel="trial", ylabel="validation WQL, mean over seeds")
    left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for trial in [*curves.columns[1:], curves.columns[0]]:  # the present setting on top
        look = dict(color=ORANGE, lw=2) if trial == curves.columns[0] else dict(color=BLUE, lw=0.9, alpha=0.6)
        if trials["pruned"][trial]:
            look |= dict(color=MUTED, ls=":", marker="x", markevery=[curves[trial].count() - 1], ms=5)
        right.plot(curves.index, curves[trial], **look)
    right.set(xlabel="epoch", ylabel="validation WQL, first seed")
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def slices(trials: pd.DataFrame, logs: dict[str, bool], title: str, size=WIDE):
    """A search's trials by what was tried of some settings: name -> whether it was searched in logs; see `search`."""
    figure, axes = canvas(title, size, len(logs), sharey=True, squeeze=False)
    for ax, (name, log) in zip(axes[0], logs.items(), strict=True):
        _marks(ax, trials[name], trials)
        ax.set_xlabel(name)
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4))
    axes[0, 0].set_ylabel("validation WQL")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _marks(ax, x, trials: pd.DataFrame) -> None:
    x, y, pruned = np.asarray(x), trials["wql"].to_numpy(), trials["pruned"].to_numpy()
    ax.plot(x[pruned], y[pruned], "x", color=MUTED, ms=5, label="pruned, at its last epoch")
    ax.plot(x[~pruned], y[~pruned], "o", color=BLUE, ms=4.5, label="complete")
    ax.plot(x[:1], y[:1], "D", color=ORANGE, ms=8, mfc="none", mew=1.8, label="present setting")


def timeline(sold: pd.Series, cutoffs: dict, horizon: int, title: str, size=WIDE):
    """Units by week (index Monday), with the stretches of weeks that validation and test cutoffs look ahead to."""
    figure, ax = canvas(title, size)
    for name, shade in (("validation", "0.93"), ("test", "0.85")):
        first, last = min(cutoffs[name]), max(cutoffs[name]) + pd.Timedelta(weeks=horizon)
        ax.axvspan(first + pd.Timedelta(days=3.5), last + pd.Timedelta(days=3.5), color=shade, lw=0, label=name)
    ax.plot(sold.index, sold, color=INK, lw=1.3, marker="o", ms=2, label="sold")
    ax.set_ylabel("units a week")
    _weeks(ax)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure
