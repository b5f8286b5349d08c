"""Two methods as one: the geometric mean of a pair, and a blend weighed on the validation weeks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.methods.dispersion import FLOOR, KEYS, Predict, with_dispersion
from shelfcast.panel.frame import Panel, examples



def pair(panel: Panel, one: Predict, other: Predict) -> Predict:
    """The geometric mean of two methods' means, with a negative binomial of its own."""
    return with_dispersion(panel, lambda cutoffs: _between(one(cutoffs), other(cutoffs), 0.5), trees.SPREADS)


def blend(panel: Panel, one: Predict, other: Predict) -> Predict:
    """Between two methods, mean and dispersion, in logs; how far is chosen by WQL on the validation weeks."""
    known = [predict(panel.cutoffs["validation"]) for predict in (one, other)]

    def score(weight):
        frame = _between(*known, weight).dropna(subset="y")
        return np.mean([count_wql(rows) for _, rows in frame.groupby(is_chain(frame))])

    weight = min(np.linspace(0, 1, 11), key=score)
    return lambda cutoffs: _between(one(cutoffs), other(cutoffs), weight)


def _between(one: pd.DataFrame, other: pd.DataFrame, weight: float) -> pd.DataFrame:
    """one ** weight * other ** (1 - weight) for mean and, where both have one, dispersion; on the rows that both have."""
    keys, told = ["unique_id", "cutoff", "horizon"], ["mean", "dispersion"]
    told = [name for name in told if name in one and name in other]
    frame = one[[*KEYS, *told]].merge(other[[*keys, *told]], on=keys, suffixes=("", "_other"))
    between = {name: frame[name] ** weight * frame[f"{name}_other"] ** (1 - weight) for name in told}
    return frame[KEYS].assign(**between)

