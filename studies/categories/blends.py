"""Boosted trees of many categories, and two methods combined: the geometric mean of a pair, and a weighted blend."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.frame import KEYS, forecast_frame, is_chain
from shelfcast.methods.dispersion import Predict, PredictMeans, frame_wql, with_dispersion
from shelfcast.methods.trees import DISPERSION_BINS, lightgbm_counts
from shelfcast.panel.frame import Panel

WEIGHTS = np.linspace(0, 1, 11)  # that a blend may have


def pair(panel: Panel, one: Predict, other: Predict) -> Predict:
    """The geometric mean of two methods' means, with dispersions of its own."""

    def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        return _weighted(one(cutoffs), other(cutoffs), 0.5)[[*KEYS, "mean"]]

    return with_dispersion(panel, predict_means, DISPERSION_BINS)


def blend(panel: Panel, one: Predict, other: Predict) -> Predict:
    """Weighted geometric means of two methods' means and dispersions; WQL on the validation weeks chooses the weight."""
    validation = [predict(panel.cutoffs["validation"]) for predict in (one, other)]

    def validation_wql(weight: float) -> float:
        frame = _weighted(*validation, weight).dropna(subset="y")
        return float(np.mean([frame_wql(rows) for _, rows in frame.groupby(is_chain(frame))]))

    weight = min(WEIGHTS, key=validation_wql)

    def predict(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        frame = _weighted(one(cutoffs), other(cutoffs), weight)
        return forecast_frame(frame, frame["mean"], frame["dispersion"])

    return predict


def _weighted(one: pd.DataFrame, other: pd.DataFrame, weight: float) -> pd.DataFrame:
    """`KEYS`, mean and dispersion as one ** weight * other ** (1 - weight), on the rows that both have."""
    series, columns = ["unique_id", "cutoff", "horizon"], ["mean", "dispersion"]
    both = one[[*KEYS, *columns]].merge(other[[*series, *columns]], on=series, suffixes=("", "_other"))
    weighted = {name: both[name] ** weight * both[f"{name}_other"] ** (1 - weight) for name in columns}
    return both[KEYS].assign(**weighted)


def trees_and_blends(panel: Panel, joint_means: PredictMeans, shelfcast: Predict, seed: int) -> dict[str, Predict]:
    """Name -> fitted method: trees of this category, of many, the geometric mean of both, and that with `shelfcast`.

    Parameters
    ----------
    joint_means : means of trees that were fitted to many categories, see `Trees.predict`.
    """
    lightgbm = lightgbm_counts(panel, seed)
    joint = with_dispersion(panel, joint_means, DISPERSION_BINS)
    both = pair(panel, lightgbm, joint)
    return {
        "lightgbm": lightgbm,
        "lightgbm_joint": joint,
        "lightgbm_pair": both,
        "blend": blend(panel, shelfcast, both),
    }
