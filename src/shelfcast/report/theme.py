"""How figures look and how they enter a page: palette, sizes, numbers as text, inline SVG.

A figure carries its finding as its title. `show` moves the title out of the picture into the page's own text, where
it wraps on a phone, and writes the picture as an inline SVG whose letters are the reader's system font.
Colours: Okabe & Ito's palette (safe for colour blindness); bands and marks also differ in lightness and shape.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap

import matplotlib
import numpy as np
import seaborn as sns
from IPython.display import HTML
from matplotlib.figure import Figure

from shelfcast import language
from shelfcast.language.letters import CHINESE, font_families

INK, MUTED, PALE, BLUE, ORANGE = "#1d2733", "#66717e", "#d5dae0", "#0072b2", "#d55e00"
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
    """``percent(-.062)`` is '−6 %': true minus, a space that does not break; '–' where there is no number."""
    if not np.isfinite(value):
        return "–"
    text = f"{abs(100 * value):,.{digits}f}"
    is_zero = not float(text.replace(",", ""))
    mark = "" if is_zero else "−" if value < 0 else "+" if sign else ""
    space = "" if language.is_unspaced() else "\u00a0"
    return f"{mark}{text}{space}%"


def units(value: float) -> str:
    """Whole units, one decimal where there are few."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.1f}"


def money(value: float) -> str:
    """'1,234' from a hundred on, '12.30' below; '−5.00' for a loss; '–' where there is no number."""
    if not np.isfinite(value):
        return "–"
    size = f"{abs(value):,.0f}" if abs(value) >= 100 else f"{abs(value):,.2f}"
    return ("−" if value < 0 and float(size.replace(",", "")) > 0 else "") + size


def canvas(title: str, size=HALF, columns: int = 1, **options):
    """A themed figure without pyplot's global state: (figure, axes)."""
    sns.set_theme(style="ticks", rc=THEME | {"font.family": font_families(language.code())})
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, columns, **options)
    if language.code() == "en":  # others may have no spaces to break lines at; `show` puts titles into the page anyway
        title = textwrap.fill(title, int(size[0] * 15))
    figure.suptitle(title, x=0.01, ha="left")
    return figure, axes


def legend(figure: Figure, axes, columns: int) -> None:
    """The legend of `axes` below the figure, without a frame."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)


def svg(figure: Figure) -> str:
    """The figure as SVG text, whose letters the reader's own fonts draw."""
    buffer = io.StringIO()
    families = font_families(language.code())
    with matplotlib.rc_context(THEME | {"font.family": families}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    written = ", ".join(f"'{name}'" for name in families)
    return buffer.getvalue().replace(written, f"{CHINESE}, {FONT}" if len(families) > 1 else FONT)


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
