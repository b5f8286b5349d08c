"""Classical methods by statsforecast: AutoETS, and Croston's method in the form of Syntetos & Boylan (2005).

Weeks that were not observed are filled by lines between their neighbours.
"""

from __future__ import annotations

import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, CrostonSBA

from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import Predict, min_mean, with_dispersion
from shelfcast.methods.history import filled, sales
from shelfcast.panel.frame import Panel, examples

DAILY_HISTORY = 26  # weeks whose days AutoETS reads: older ones move its forecast little, and cost time
MIN_HISTORY = 8  # weeks (of seven days) that a classical method needs; a newer product is forecast at its level


def auto_ets(panel: Panel, seed: int) -> Predict:
    """Exponential smoothing without trend, of days with a pattern of weekdays; `seed` is not used.

    With a trend, extrapolated from so few and so noisy weeks, it was far worse on the validation weeks.
    """
    if panel.frequency.daily:
        model = AutoETS(season_length=panel.frequency.season_length, model="ANA")
        return _statsforecast(panel, model, panel.frequency.periods(DAILY_HISTORY))
    return _statsforecast(panel, AutoETS(season_length=1, model="ZNN"))


def croston_sba(panel: Panel, seed: int) -> Predict:
    """Croston's method for products that sell now and then; `seed` is not used."""
    return _statsforecast(panel, CrostonSBA())


def _statsforecast(panel: Panel, model, most: int | None = None) -> Predict:
    """`most` : periods that the model reads at most."""
    history, frequency = sales(panel), panel.frequency

    def forecast_from(cutoff: pd.Timestamp) -> pd.DataFrame:
        past = filled(history.loc[:, :cutoff]).iloc[:, -(most or history.shape[1]) :]
        past = past[past.notna().sum(axis=1) >= frequency.periods(MIN_HISTORY)]
        if past.empty:
            return pd.DataFrame({"unique_id": [], "ds": [], "cutoff": [], "mean": []}).astype({"ds": "datetime64[ns]"})
        long = past.stack().rename("y").reset_index()
        ahead = StatsForecast(models=[model], freq=frequency.alias).forecast(df=long, h=panel.meta["horizon"])
        return ahead.rename(columns={repr(model): "mean"}).assign(cutoff=cutoff)

    def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        rows = examples(panel, cutoffs)[[*KEYS, "y_level"]]
        ahead = pd.concat([forecast_from(cutoff) for cutoff in cutoffs])
        ahead = ahead.astype({"unique_id": str, "cutoff": "datetime64[ns]", "mean": float})
        rows = rows.merge(ahead, on=["unique_id", "ds", "cutoff"], how="left")
        return rows[KEYS].assign(mean=rows["mean"].fillna(rows["y_level"]).clip(lower=min_mean(panel)))

    return with_dispersion(panel, predict_means)
