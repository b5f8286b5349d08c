"""The figures of the study of effects: intervals of every world beside the truth, and the prices of substitutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from shelfcast.data.files import atomic
from shelfcast.report.theme import BLUE, INK, MUTED, ORANGE, WIDE, canvas, legend, svg
from shelfcast.why.causes.data import PRICE

CONFOUNDING = {"none": "prices by chance", "observed": "prices follow the season", "hidden": "prices follow popularity"}
METHODS = {
    "naive": ("naive regression", "o", MUTED),
    "two_way": ("two-way fixed effects", "s", INK),
    "dml": ("double machine learning", "D", BLUE),
    "instrument": ("with the cost as instrument", "^", ORANGE),
}


def errors(table: pd.DataFrame, title: str, size=WIDE) -> Figure:
    """How far each method's elasticity is from the truth in each world, a panel a kind of confounding.

    Parameters
    ----------
    table : a row per world and method, as `causes.worlds` makes it.
    """
    table = table[table["treatment"] == PRICE]
    kinds = [name for name in CONFOUNDING if name in set(table["confounding"])]
    figure, axes = canvas(title, size, len(kinds), sharey=True, squeeze=False)
    spread = np.random.default_rng(0)
    for ax, kind in zip(axes[0], kinds, strict=True):
        part = table[table["confounding"] == kind]
        for i, (method, (label, marker, colour)) in enumerate(METHODS.items()):
            error = part.loc[part["method"] == method].eval("estimate - truth")
            place = i + spread.uniform(-0.25, 0.25, len(error))
            ax.plot(place, error, marker, color=colour, ms=2.5, alpha=0.6, label=label)
            ax.plot([i - 0.35, i + 0.35], [error.mean()] * 2, color=colour, lw=2.5)
        ax.axhline(0, color=INK, lw=0.8, ls=":")
        ax.set(xlabel=CONFOUNDING[kind], xticks=[])
    axes[0][0].set_ylabel("estimated less true elasticity")
    legend(figure, axes[0][0], 2)
    return figure


def cross_prices(table: pd.DataFrame, title: str, size=(8.6, 5.2)) -> Figure:
    """What each product's price does to each product's units, as a map of numbers.

    Parameters
    ----------
    table : as `substitutes.cross_price` makes it, with `name`, what people call product_id.
    """
    figure, ax = canvas(title, size)
    names = table.drop_duplicates("product_id").set_index("product_id")["name"]
    wide = table.pivot(index="product_id", columns="price_of", values="estimate").rename(index=names)
    most = float(np.abs(wide.to_numpy()).max())
    colours = sns.diverging_palette(245, 30, as_cmap=True)
    look = {"cmap": colours, "vmin": -most, "vmax": most, "annot": True, "fmt": ".1f", "annot_kws": {"size": 7}}
    sns.heatmap(wide, ax=ax, linewidths=0.5, cbar_kws={"label": "elasticity"}, **look)
    ax.set(xlabel="price of", ylabel="units of")
    return figure


def save(figure: Figure, path: Path) -> None:
    """As SVG, whole or not at all."""
    with atomic(path) as part:
        part.write_text(svg(figure))
