"""A count distribution around the means of a method that has none: a negative binomial, fitted on validation weeks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import count_wql, fit_dispersion
from shelfcast.judge.frame import forecast_frame, is_chain
from shelfcast.panel.frame import Panel

MIN_MEAN = 0.02  # units a week; a mean of zero would make any sale impossible
Predict = Callable[[list[pd.Timestamp]], pd.DataFrame]  # cutoffs -> forecast frame
PredictMeans = Callable[[list[pd.Timestamp]], pd.DataFrame]  # cutoffs -> KEYS and mean


def with_dispersion(panel: Panel, predict_means: PredictMeans, bins: int = 1) -> Predict:
    """Make forecasts of a method's means, with dispersions fitted on the validation weeks."""
    validation = predict_means(panel.cutoffs["validation"]).dropna(subset="y")
    add_dispersion = dispersion_by_mean(validation, bins)

    def predict(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        frame = add_dispersion(predict_means(cutoffs))
        return forecast_frame(frame, frame["mean"], frame["dispersion"])

    return predict


def dispersion_by_mean(validation: pd.DataFrame, bins: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Fit dispersions to actuals around a method's means; return a function that adds them to a frame with means.

    The chain and the regions have their own, and within each so have `bins` groups of equally many rows by mean.

    Parameters
    ----------
    validation : `KEYS` and mean, without missing `y`.
    """
    table = {}
    for chain, rows in validation.groupby(is_chain(validation)):
        edges = rows["mean"].quantile(np.linspace(0, 1, bins + 1)[1:-1]).to_numpy()
        group = np.searchsorted(edges, rows["mean"])
        fits = [fit_dispersion(rows["y"][group == i], rows["mean"][group == i]) for i in range(bins)]
        table[chain] = edges, np.array(fits)

    def add_dispersion(frame: pd.DataFrame) -> pd.DataFrame:
        parts = []
        for chain, rows in frame.groupby(is_chain(frame)):
            edges, fits = table[chain]
            parts.append(pd.Series(fits[np.searchsorted(edges, rows["mean"])], rows.index))
        return frame.assign(dispersion=pd.concat(parts))

    return add_dispersion


def frame_wql(frame: pd.DataFrame) -> float:
    """Weighted quantile loss over all rows of a frame with y, mean and dispersion."""
    return count_wql(*(frame[name].to_numpy() for name in ("y", "mean", "dispersion")))
