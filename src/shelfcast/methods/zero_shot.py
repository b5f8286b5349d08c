"""A zero-shot time-series model: Fracast-0, pretrained by others, on each series' own history."""

from __future__ import annotations

import numpy as np
import pandas as pd
from fracast import FracastModel
from scipy import interpolate, stats

from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.frame import KEYS, forecast_frame
from shelfcast.methods.dispersion import Predict
from shelfcast.panel.frame import Panel, examples

BLOCK = 8  # series forecast at once; more outgrow the processor's cache


def fracast(panel: Panel, seed: int) -> Predict:
    """Forecast with the model's nine quantiles, interpolated to ours; `seed` is not used.

    Interpolation is on the scale of a normal, so that the outer quantiles continue the line through the model's last two.
    """
    model = FracastModel.from_pretrained(weights="fp32")
    history = panel.frame.pivot(index="unique_id", columns="ds", values="y").fillna(0)  # before a launch nothing sold
    horizon = panel.meta["horizon"]

    def forecast_from(cutoff: pd.Timestamp) -> pd.DataFrame:
        past = history.loc[:, :cutoff].to_numpy()
        blocks = np.array_split(past, -(-len(past) // BLOCK))
        ahead = np.concatenate([model.forecast_batch(block, horizon=horizon) for block in blocks])
        index = pd.MultiIndex.from_product([history.index, [cutoff], range(1, horizon + 1)])
        return pd.DataFrame(np.sort(ahead, -1).reshape(len(index), -1), index, columns=model.quantiles)

    def predict(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        rows = examples(panel, cutoffs)[KEYS]
        ahead = pd.concat([forecast_from(cutoff) for cutoff in cutoffs])
        ahead = ahead.loc[pd.MultiIndex.from_frame(rows[["unique_id", "cutoff", "horizon"]])].clip(lower=0)
        at = interpolate.interp1d(stats.norm.ppf(model.quantiles), ahead, fill_value="extrapolate")
        quantiles = at(stats.norm.ppf(QUANTILES)).clip(min=0)
        return forecast_frame(rows, ahead.mean(axis=1).to_numpy(), quantiles=quantiles)

    return predict
