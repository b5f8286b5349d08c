"""A zero-shot time-series model: Fracast-0, pretrained by others, on each series' own history."""

from __future__ import annotations

import numpy as np
import pandas as pd
from fracast import FracastModel
from joblib import Parallel, cpu_count, delayed, parallel_config
from scipy import interpolate, stats

from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.frame import KEYS, forecast_frame
from shelfcast.methods.dispersion import Predict
from shelfcast.panel.frame import Panel, examples

BLOCK = 8  # series forecast at once; more outgrow the processor's cache
MIN_PARALLEL = 500  # series; fewer are forecast before another process has started


def fracast(panel: Panel, seed: int) -> Predict:
    """Forecast with the model's nine quantiles, interpolated to ours; `seed` is not used.

    Interpolation is on the scale of a normal, so that the outer quantiles continue the line through the model's last two.
    """
    model = FracastModel.from_pretrained(weights="fp32")
    history = panel.frame.pivot(index="unique_id", columns="ds", values="y").fillna(0)  # before a launch nothing sold
    horizon = panel.meta["horizon"]

    def forecast_from(cutoff: pd.Timestamp) -> pd.DataFrame:
        ahead = _forecast_blocks(model, history.loc[:, :cutoff].to_numpy(), horizon)
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


def _forecast_blocks(model: FracastModel, past: np.ndarray, horizon: int) -> np.ndarray:
    """(series, horizon, quantiles), by all cores where there are many series; a block gains little by a second thread."""
    blocks = np.array_split(past, -(-len(past) // BLOCK))
    if len(past) < MIN_PARALLEL:
        return np.concatenate([model.forecast_batch(block, horizon=horizon) for block in blocks])
    with parallel_config("loky", n_jobs=cpu_count(), inner_max_num_threads=1):
        parts = Parallel(batch_size=16)(delayed(model.forecast_batch)(block, horizon=horizon) for block in blocks)
    return np.concatenate(parts)
