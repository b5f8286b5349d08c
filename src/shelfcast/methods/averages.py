"""Averages: of the last weeks, as a spreadsheet would do, and of the same weeks in earlier years.

Weeks that were not observed are skipped. A day is forecast by the same weekday of the last weeks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import Predict, min_mean, with_dispersion
from shelfcast.methods.history import at_cutoffs, filled, mean_of_last, sales
from shelfcast.panel.frame import Panel, examples

RECENT = 8  # weeks
WITHIN = 26  # weeks in which the recent ones must lie
YEAR = 52  # weeks
MOST_YEARS = 4
MOST_SEASON = np.log(5)  # a ratio beyond a fifth or five times is an accident
PRIOR_YEARS = 2
PRIOR_UNITS = 10.0  # units in eight weeks whose season weighs as much as the category's
OTHERS_SHARE = 0.5  # of a product's own weight that the category's season has, however much it sells


def moving_average_8(panel: Panel, seed: int) -> Predict:
    """Mean of the last eight observed weeks, or of the same weekday in the last eight; `seed` is not used."""
    per_week = panel.frequency.per_week
    return _averages(panel, lambda past, horizon: recent_mean(past.to_numpy(), horizon, per_week))


def seasonal_average(panel: Panel, seed: int) -> Predict:
    """Mean of the last eight weeks, times how the same weeks of earlier years compared with the eight before them.

    With less than a year of history it is `moving_average_8`. `seed` is not used.
    """
    per_week = panel.frequency.per_week

    def average(past: pd.DataFrame, horizon: int) -> np.ndarray:
        return recent_mean(past.to_numpy(), horizon, per_week) * season(past, horizon, per_week)

    return _averages(panel, average)


def recent_mean(past: np.ndarray, horizon: int, per_week: int = 1) -> np.ndarray:
    """Mean of the last eight weeks: (series, 1); of days, of the same weekday in these: (series, horizon).

    Worked example: a product that sold 3 on each of the last eight Saturdays and 1 on other days has 3 where the day that
    is forecast is a Saturday.

    Parameters
    ----------
    past : (series, periods) up to the cutoff. per_week : periods of a week.
    """
    if per_week == 1:
        return mean_of_last(past, RECENT, WITHIN)[:, None]
    of_weekday = [
        mean_of_last(past[:, ahead - per_week :: -per_week][:, ::-1], RECENT, WITHIN) for ahead in range(per_week)
    ]
    return np.stack([of_weekday[ahead % per_week] for ahead in range(horizon)], 1)


def season(past: pd.DataFrame, horizon: int, per_week: int = 1) -> np.ndarray:
    """Sales of coming weeks over those of the last eight, by earlier years: (series, horizon), 1 where unknown.

    A coming week is the mean of itself and its two neighbours, one year ago. A series' own ratio is drawn towards that
    of all products of its location. Years count alike in the logs, and so do `PRIOR_YEARS` in which nothing differed:
    one year alone repeats too much that was chance, a promotion above all.

    Worked example: one year ago 8 times as much around the target as in the eight weeks before, for all products: with
    two years of no difference the ratio is 8 ** (1/3) = 2.

    Parameters
    ----------
    past : units, series in rows, weeks up to the cutoff in columns. per_week : columns of a week.
    """
    y, recent, side = filled(past).to_numpy(), RECENT * per_week, 3 * per_week // 2
    location = pd.factorize(past.index.str.rsplit("|", n=1).str[1])[0]
    log_ratios = []
    for year in range(1, MOST_YEARS + 1):
        now = y.shape[1] - year * YEAR * per_week  # weeks up to this date, so many years ago
        if now < recent:
            break
        before = y[:, now - recent : now].mean(1)  # NaN for a product that did not exist
        around = np.stack([y[:, now + h - side : now + h + side + 1].mean(1) for h in range(horizon)], 1)
        log_ratios.append(_log_ratio(around, before[:, None], location))
    return np.exp(sum(log_ratios, np.zeros((len(y), horizon))) / (len(log_ratios) + PRIOR_YEARS))


def _log_ratio(around: np.ndarray, before: np.ndarray, location: np.ndarray) -> np.ndarray:
    """Log of `around` (series, horizon) over `before` (series, 1), shrunk to that of the location's series together."""
    known = ~np.isnan(around) & ~np.isnan(before)
    around, before = np.where(known, around, 0), np.where(known, before, 0)
    together = np.zeros((location.max() + 1, 2, around.shape[1]))
    np.add.at(together, location, np.stack([around, before], 1))
    shared = (together[:, 0] + 1) / (together[:, 1] + 1)  # location, horizon
    shared = shared[location]
    prior = PRIOR_UNITS / RECENT + OTHERS_SHARE * before
    return np.log((around + prior * shared) / (before + prior)).clip(-MOST_SEASON, MOST_SEASON)


def _averages(panel: Panel, average: Callable[[pd.DataFrame, int], np.ndarray]) -> Predict:
    """A method by what it makes of past units (series, weeks): (series, horizon) or (series, 1), NaN where nothing."""
    history, horizon = sales(panel), panel.meta["horizon"]

    def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        rows = examples(panel, cutoffs)[[*KEYS, "y_level"]]
        means = {cutoff: average(history.loc[:, :cutoff], horizon) for cutoff in cutoffs}
        rows = rows.merge(at_cutoffs(means, history.index, horizon), on=["unique_id", "cutoff", "horizon"], how="left")
        return rows[KEYS].assign(mean=rows["mean"].fillna(rows["y_level"]).clip(lower=min_mean(panel)))

    return with_dispersion(panel, predict_means)
