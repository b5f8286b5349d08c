"""Classical methods by statsforecast: AutoETS, and Croston's method in the form of Syntetos & Boylan (2005)."""

from __future__ import annotations

import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, CrostonSBA

from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import MIN_MEAN, Predict, with_dispersion
from shelfcast.panel.frame import Panel, examples

MIN_HISTORY = 8  # weeks that a classical method needs; a newer product is forecast at its level


def auto_ets(panel: Panel, seed: int) -> Predict:
    """Exponential smoothing without trend; `seed` is not used.

    With a trend, extrapolated from so few and so noisy weeks, it was far worse on the validation weeks.
    """
    return _statsforecast(panel, AutoETS(season_length=1, model="ZNN"))


def croston_sba(panel: Panel, seed: int) -> Predict:
    """Croston's method for products that sell now and then; `seed` is not used."""
    return _statsforecast(panel, CrostonSBA())


def _statsforecast(panel: Panel, model) -> Predict:
    history = panel.frame.loc[panel.frame["y"].notna(), ["unique_id", "ds", "y"]]

    def forecast_from(cutoff: pd.Timestamp) -> pd.DataFrame:
        past = history[history["ds"] <= cutoff]
        past = past[past.groupby("unique_id")["y"].transform("size") >= MIN_HISTORY]
        ahead = StatsForecast(models=[model], freq="W-MON").forecast(df=past, h=panel.meta["horizon"])
        return ahead.rename(columns={repr(model): "mean"}).assign(cutoff=cutoff)

    def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        rows = examples(panel, cutoffs)[[*KEYS, "y_level"]]
        ahead = pd.concat([forecast_from(cutoff) for cutoff in cutoffs])
        rows = rows.merge(ahead, on=["unique_id", "ds", "cutoff"], how="left")
        return rows[KEYS].assign(mean=rows["mean"].fillna(rows["y_level"]).clip(lower=MIN_MEAN))

    return with_dispersion(panel, predict_means)
