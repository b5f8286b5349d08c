"""A count distribution around the means of a method that has none: a negative binomial, fitted on validation weeks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.metrics import fit_dispersion, wql
from shelfcast.panel import Panel
from shelfcast.regions import CHAIN

KEYS = ["unique_id", "ds", "cutoff", "horizon", "y"]
FLOOR = 0.02  # units a week; a mean of zero would call any sale impossible
Predict = Callable[[list[pd.Timestamp]], pd.DataFrame]  # cutoffs -> KEYS with mean, and mostly dispersion


def is_chain(frame: pd.DataFrame) -> pd.Series:
    return frame["unique_id"].str.endswith(f"|{CHAIN}")


def as_counts(panel: Panel, mean: Predict, bins: int = 1) -> Predict:
    """A method's means with the dispersions that `spread_around` finds on the validation weeks."""
    spread = spread_around(mean(panel.cutoffs["validation"]).dropna(subset="y"), bins)
    return lambda cutoffs: spread(mean(cutoffs))


def spread_around(known: pd.DataFrame, bins: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Dispersions of known sales around a method's means, as a function that adds them to a frame with means.

    The chain and the regions have their own and, with `bins`, so have groups of equally many rows by mean.
    """
    table = {}
    for chain, rows in known.groupby(is_chain(known)):
        edges = rows["mean"].quantile(np.linspace(0, 1, bins + 1)[1:-1]).to_numpy()
        group = np.searchsorted(edges, rows["mean"])
        fits = [fit_dispersion(rows["y"][group == i], rows["mean"][group == i]) for i in range(bins)]
        table[chain] = edges, np.array(fits)

    def spread(frame: pd.DataFrame) -> pd.DataFrame:
        parts = [
            pd.Series(table[chain][1][np.searchsorted(table[chain][0], rows["mean"])], rows.index)
            for chain, rows in frame.groupby(is_chain(frame))
        ]
        return frame.assign(dispersion=pd.concat(parts))

    return spread


def count_wql(frame: pd.DataFrame) -> float:
    """WQL over all rows of a frame with y, mean and dispersion."""
    return wql(*(frame[name].to_numpy() for name in ("y", "mean", "dispersion")))
