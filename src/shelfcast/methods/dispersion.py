"""A distribution around the means of a method that has none, fitted on weeks that the method has not seen.

Forecasts from validation cutoffs get dispersions of the last training weeks, later ones those of the validation weeks:
so the validation forecasts of a method are as honest as its test forecasts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import count_wql, fit_dispersion, sales_unit
from shelfcast.judge.frame import forecast_frame, is_chain
from shelfcast.panel.frame import Panel

MIN_MEAN = 0.02  # units a week; a mean of zero would make any sale impossible
MIN_ROWS = 30  # of a group that is fitted a dispersion of its own
DISPERSION = 0.5  # where there are no rows to fit one
HELD_OUT_SHARE = 3  # the last third of the training weeks, at most, is held out in place of the validation weeks
Predict = Callable[..., pd.DataFrame]  # (cutoffs, plan_known=True) -> forecast frame
PredictMeans = Callable[..., pd.DataFrame]  # (cutoffs, plan_known=True) -> KEYS and mean


def min_mean(panel: Panel) -> float:
    """Units of a period, week or day, that every mean is at least."""
    return MIN_MEAN / panel.frequency.per_week


def held_out_weeks(panel: Panel) -> pd.DatetimeIndex:
    """The last training weeks, as many as there are validation weeks but at most a third; never fewer than forecast."""
    weeks = panel.weeks
    n_train = weeks.get_loc(pd.Timestamp(panel.meta["train_end"])) + 1
    n_validation = weeks.get_loc(pd.Timestamp(panel.meta["validation_end"])) + 1 - n_train
    n_held_out = max(min(n_validation, n_train // HELD_OUT_SHARE), panel.meta["horizon"])
    return weeks[n_train - n_held_out : n_train]


def held_out_cutoffs(panel: Panel) -> list[pd.Timestamp]:
    """Cutoffs whose forecasts all fall into `held_out_weeks`, a week apart."""
    weeks = held_out_weeks(panel)
    n_cutoffs = len(weeks) - panel.meta["horizon"] + 1
    return [week - panel.frequency.step for week in weeks[:n_cutoffs]][:: -panel.frequency.per_week][::-1]


def phase(cutoff: pd.Timestamp, panel: Panel) -> str:
    """Which fit may forecast from a cutoff: 'inner' has not seen the held-out weeks, 'select' not the validation weeks."""
    if cutoff < pd.Timestamp(panel.meta["train_end"]):
        return "inner"
    return "select" if cutoff < pd.Timestamp(panel.meta["validation_end"]) else "refit"


def with_dispersion(panel: Panel, predict_means: PredictMeans, bins: int = 1) -> Predict:
    """Make forecasts of a method's means, with dispersions fitted on the weeks before; see the top of the module.

    Parameters
    ----------
    predict_means : its second argument is given only where the plan is hidden, so a method that does not read the plan
        needs none.
    """
    unit = sales_unit(panel.meta)

    def means(cutoffs: list[pd.Timestamp], plan_known: bool) -> pd.DataFrame:
        return predict_means(cutoffs) if plan_known else predict_means(cutoffs, plan_known=False)

    @cache
    def fitted(refit: bool, plan_known: bool) -> Callable[[pd.DataFrame], pd.DataFrame]:
        cutoffs = panel.cutoffs["validation"] if refit else held_out_cutoffs(panel)
        return dispersion_by_mean(means(cutoffs, plan_known).dropna(subset="y"), bins, unit)

    def predict(cutoffs: list[pd.Timestamp], plan_known: bool = True) -> pd.DataFrame:
        rows = means(cutoffs, plan_known)
        refit = rows["cutoff"] >= pd.Timestamp(panel.meta["validation_end"])
        parts = [fitted(bool(late), plan_known)(own) for late, own in rows.groupby(refit)]
        frame = pd.concat(parts).sort_index()
        return forecast_frame(frame, frame["mean"], frame["dispersion"], unit=unit)

    fitted(True, True)  # at once, because it belongs to fitting
    return predict


def dispersion_by_mean(actual: pd.DataFrame, bins: int, unit: float = 0.0) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Fit dispersions to actuals around a method's means; return a function that adds them to a frame with means.

    The chain and the regions have their own, and within each so have `bins` groups of equally many rows by mean. A
    level without rows has that of the other.

    Parameters
    ----------
    actual : `KEYS` and mean, without missing `y`.
    unit : see `judge.distribution`.
    """
    overall = fit_dispersion(actual["y"], actual["mean"], unit) if len(actual) else DISPERSION
    table = {}
    for chain, rows in actual.groupby(is_chain(actual)):
        n_bins = max(1, min(bins, len(rows) // MIN_ROWS))
        edges = rows["mean"].quantile(np.linspace(0, 1, n_bins + 1)[1:-1]).to_numpy()
        group = np.searchsorted(edges, rows["mean"])
        own = [group == i for i in range(n_bins)]
        fits = [fit_dispersion(rows["y"][g], rows["mean"][g], unit) if g.any() else overall for g in own]
        table[chain] = edges, np.array(fits)

    def add_dispersion(frame: pd.DataFrame) -> pd.DataFrame:
        dispersion = pd.Series(overall, frame.index)
        for chain, rows in frame.groupby(is_chain(frame)):
            if chain in table:
                edges, fits = table[chain]
                dispersion[rows.index] = fits[np.searchsorted(edges, rows["mean"])]
        return frame.assign(dispersion=dispersion)

    return add_dispersion


def frame_wql(frame: pd.DataFrame, unit: float = 0.0) -> float:
    """Weighted quantile loss over all rows of a frame with y, mean and dispersion."""
    return count_wql(*(frame[name].to_numpy() for name in ("y", "mean", "dispersion")), unit)
