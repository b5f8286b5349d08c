"""The figures of a search for settings: its trials in order, and by what was tried of each setting."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from shelfcast.report.theme import BLUE, INK, MUTED, ORANGE, WIDE, canvas, legend


def search(trials: pd.DataFrame, curves: pd.DataFrame, title: str, size=WIDE) -> Figure:
    """A search's trials in order, and the curves they were pruned by.

    Parameters
    ----------
    trials : a row a trial, the present setting first; wql, pruned and the settings. See `search.tables`.
    curves : step x trial, validation WQL of the first seed.
    """
    figure, (left, right) = canvas(title, size, 2)
    _trial_marks(left, np.arange(1, len(trials) + 1), trials)
    best = trials["wql"].where(~trials["pruned"]).cummin().ffill()
    left.step(np.arange(1, len(trials) + 1), best, where="post", color=INK, lw=1.2, label="best so far")
    left.set(xlabel="trial", ylabel="validation WQL, mean over seeds")
    left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for trial in [*curves.columns[1:], curves.columns[0]]:  # the present setting on top
        look = {"color": BLUE, "lw": 0.9, "alpha": 0.6}
        if trial == curves.columns[0]:
            look = {"color": ORANGE, "lw": 2}
        if trials["pruned"][trial]:
            look |= {"color": MUTED, "ls": ":", "marker": "x", "markevery": [curves[trial].count() - 1], "ms": 5}
        right.plot(curves.index, curves[trial], **look)
    right.set(xlabel="step", ylabel="validation WQL, first seed")
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    legend(figure, left, 4)
    return figure


def slices(trials: pd.DataFrame, logs: dict[str, bool], title: str, size=WIDE) -> Figure:
    """A search's trials by what was tried of some settings: name -> whether it was searched in logs; see `search`."""
    figure, axes = canvas(title, size, len(logs), sharey=True, squeeze=False)
    for ax, (name, log) in zip(axes[0], logs.items(), strict=True):
        _trial_marks(ax, trials[name], trials)
        ax.set_xlabel(name)
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
        else:
            ax.xaxis.set_major_locator(MaxNLocator(4))
    axes[0, 0].set_ylabel("validation WQL")
    legend(figure, axes[0, 0], 3)
    return figure


def _trial_marks(ax, x, trials: pd.DataFrame) -> None:
    x, y, pruned = np.asarray(x), trials["wql"].to_numpy(), trials["pruned"].to_numpy()
    ax.plot(x[pruned], y[pruned], "x", color=MUTED, ms=5, label="pruned, at its last step")
    ax.plot(x[~pruned], y[~pruned], "o", color=BLUE, ms=4.5, label="complete")
    ax.plot(x[:1], y[:1], "D", color=ORANGE, ms=8, mfc="none", mew=1.8, label="present setting")
