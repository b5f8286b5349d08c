"""What is public about a week: its holidays, and how many of its days begin a month."""

from __future__ import annotations

import datetime

import holidays
import numpy as np
import pandas as pd

WEEK = [datetime.timedelta(days=day) for day in range(7)]


def holiday_counts(mondays: pd.DatetimeIndex, country: str) -> np.ndarray:
    """Public holidays in each week that starts on one of `mondays`, (T,) int."""
    free = holidays.country_holidays(country, years=range(mondays[0].year, mondays[-1].year + 2))
    return np.array([sum(monday.date() + day in free for day in WEEK) for monday in mondays])


def month_starts(mondays: pd.DatetimeIndex) -> np.ndarray:
    """Share of each week's days that are among the first seven of a month, (T,)."""
    return np.array([np.mean([(monday + day).day <= 7 for day in WEEK]) for monday in mondays])
