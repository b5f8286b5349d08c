"""Calendar features: public holidays and the time of the year."""

from __future__ import annotations

import datetime

import holidays
import numpy as np
import pandas as pd


def holiday_counts(mondays: pd.DatetimeIndex, country: str) -> np.ndarray:
    """Public holidays in each week that starts on one of `mondays`, (T,) int."""
    free = holidays.country_holidays(country, years=range(mondays[0].year, mondays[-1].year + 2))
    week = [datetime.timedelta(days=day) for day in range(7)]
    return np.array([sum(monday.date() + day in free for day in week) for monday in mondays])
