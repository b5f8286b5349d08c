"""Averages of the last weeks: what a spreadsheet would do."""

from __future__ import annotations

import pandas as pd

from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import MIN_MEAN, Predict, with_dispersion
from shelfcast.panel.frame import Panel, examples


def moving_average_8(panel: Panel, seed: int) -> Predict:
    """Mean of the last eight weeks; `seed` is not used."""

    def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        rows = examples(panel, cutoffs)
        return rows[KEYS].assign(mean=rows["level_8"].fillna(rows["y_level"]).clip(lower=MIN_MEAN))

    return with_dispersion(panel, predict_means)
