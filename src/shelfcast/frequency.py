"""How often a market is forecast: by the week, or by the day. Every span of time in the code asks this class.

A *period* is what one row of a panel covers: seven days, or one. Its `ds` is its first day. Spans that people think of in
weeks (validation weeks, the last 13 weeks, a year) are stated in weeks everywhere and become periods here, so that a
daily market is held against the same stretch of time as a weekly one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

Grain = Literal["W", "D"]
WeekStart = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
DAYS = 7  # of a week
YEAR = 52  # weeks; in days it is 364, so that the same day a year ago is the same weekday
HORIZON = 4  # weeks that are forecast where nothing else is asked


@dataclass(frozen=True)
class Frequency:
    """Weeks or days.

    Worked example: ``Frequency("D").periods(4)`` is 28, ``Frequency("W-SUN").floor`` of Tuesday 2022-01-04 is Sunday
    2022-01-02, and a `ds` of ``pd.date_range(..., freq="W-SUN")`` is such a Sunday.

    Attributes
    ----------
    alias : as pandas and statsforecast name it: W-MON … W-SUN by the day on which weeks start (and which `ds` holds), or
        D.

    Raises
    ------
    ValueError : another alias.
    """

    alias: str = "W-MON"

    def __post_init__(self) -> None:
        known = ["D", *(f"W-{day}" for day in WEEKDAYS)]
        if self.alias not in known:
            raise ValueError(f"frequency {self.alias!r} is not known. Choose one of {', '.join(known)}.")

    @classmethod
    def of(cls, freq: Grain, week_start: WeekStart = "MON") -> Frequency:
        """By `prepare.freq` and `prepare.week_start`."""
        return cls("D" if freq == "D" else f"W-{week_start}")

    @property
    def daily(self) -> bool:
        return self.alias == "D"

    @property
    def noun(self) -> Literal["week", "day"]:
        """What a period is called in names of columns and in English messages; see `language.periods` for the report."""
        return "day" if self.daily else "week"

    @property
    def days(self) -> int:
        """Days of a period."""
        return 1 if self.daily else DAYS

    @property
    def per_week(self) -> int:
        """Periods of a week."""
        return DAYS // self.days

    @property
    def step(self) -> pd.Timedelta:
        """From one period to the next."""
        return pd.Timedelta(days=self.days)

    @property
    def year(self) -> int:
        """Periods of 52 weeks."""
        return self.periods(YEAR)

    @property
    def season_length(self) -> int:
        """Periods after which a pattern within the week repeats: 7 days; 1 where there is no such pattern."""
        return self.per_week

    @property
    def horizon(self) -> int:
        """Periods that are forecast by default: four weeks, or 28 days."""
        return self.periods(HORIZON)

    def periods(self, weeks: int) -> int:
        """Number of periods in so many weeks."""
        return weeks * self.per_week

    def ahead(self, first: pd.Timestamp, n: int, name: str | None = None) -> pd.DatetimeIndex:
        """`n` periods, the first one that which starts on `first`."""
        return pd.date_range(first, periods=n, freq=self.step, name=name)

    def between(self, first: pd.Timestamp, last: pd.Timestamp, name: str | None = None) -> pd.DatetimeIndex:
        """All periods from the one that starts on `first` to the one that starts on `last`."""
        return pd.date_range(first, last, freq=self.step, name=name)

    def coming(self, cutoff: pd.Timestamp, n: int, name: str | None = None) -> pd.DatetimeIndex:
        """The `n` periods after the one that starts on `cutoff`."""
        return self.ahead(pd.Timestamp(cutoff) + self.step, n, name)

    def steps(self, n) -> np.ndarray | pd.TimedeltaIndex:
        """So many periods (a number, an array or a series) as a span of time."""
        return pd.to_timedelta(self.days * n, unit="D")

    def position(self, days: pd.Series | pd.DatetimeIndex):
        """Days since the start of the week: 0 on the weekday on which weeks start, Monday for daily markets."""
        weekday = days.dt.dayofweek if isinstance(days, pd.Series) else days.dayofweek
        return (weekday - self._first_weekday) % DAYS

    def week(self, days: pd.Series | pd.DatetimeIndex):
        """The first day of the week in which each day lies."""
        return days - pd.to_timedelta(self.position(days), unit="D")

    def floor(self, days: pd.Series | pd.DatetimeIndex):
        """The first day of the period in which each day (without a time) lies."""
        return days if self.daily else self.week(days)

    def number(self, days, first: pd.Timestamp):
        """Number of the period in which days (one, or a series) lie, 0 for that which starts on `first`."""
        span = days - first
        return (span.dt.days if isinstance(span, pd.Series) else span.days) // self.days

    def last_day(self, start: pd.Timestamp) -> pd.Timestamp:
        """The last day of the period that starts on `start`."""
        return pd.Timestamp(start) + self.step - pd.Timedelta(days=1)

    @cached_property
    def _first_weekday(self) -> int:
        return 0 if self.daily else WEEKDAYS.index(self.alias.removeprefix("W-"))


WEEKLY, DAILY = Frequency(), Frequency("D")
