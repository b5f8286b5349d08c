"""What is public about a week (or day): its holidays, and how many of its days begin a month."""

from __future__ import annotations

import datetime
import difflib
from functools import lru_cache

import holidays
import numpy as np
import pandas as pd
from holidays.registry import COUNTRIES

from shelfcast.frequency import DAYS

Days = list[datetime.timedelta]


def check_country(code: str) -> None:
    """Refuse a country, or a part of it, whose holidays are not known; `code` is 'US', or 'US-CA' for a part.

    Raises
    ------
    ValueError : names the nearest codes.
    """
    names = {other[1]: other for other in COUNTRIES.values()}  # two letters -> name and all codes
    country, _, part = code.partition("-")
    if not (country.isupper() and any(country in other[1:] for other in names.values())):
        near = [f"{code} ({names[code][0]})" for code in _nearest(country, names)]
        raise ValueError(f"prepare.country is {code!r}, and no holidays of it are known; nearest: {', '.join(near)}.")
    # All countries are read for their parts, so only where one is asked for.
    if part and part not in (parts := holidays.list_supported_countries()[country]):
        near = ", ".join(_nearest(part, {name: (name,) for name in parts})) or "none, write the country alone"
        raise ValueError(f"prepare.country is {code!r}, and {country} has no part {part!r}; nearest: {near}.")


def _nearest(text: str, names: dict[str, tuple[str, ...]]) -> list[str]:
    """The three codes of which one of the names is most like a text."""

    def likeness(code: str) -> float:
        return max(difflib.SequenceMatcher(None, text.upper(), name.upper()).ratio() for name in names[code])

    return sorted(names, key=likeness, reverse=True)[:3]


@lru_cache(maxsize=8)
def _holidays(code: str, years: range, observed: bool) -> dict[datetime.date, str]:
    country, _, part = code.partition("-")
    return dict(holidays.country_holidays(country, part or None, years=years, observed=observed))


def _days(n_days: int) -> Days:
    return [datetime.timedelta(days=day) for day in range(n_days)]


def holiday_names(
    starts: pd.DatetimeIndex, country: str, observed: bool = False, n_days: int = DAYS
) -> list[list[str]]:
    """Names of the public holidays in each period that begins on one of `starts`, a day after the other.

    Parameters
    ----------
    country : see `check_country`.
    observed : whether a free day in place of a holiday on a weekend is one more holiday.
    n_days : days of a period, 7 for a week.
    """
    free = _holidays(country, range(starts[0].year, starts[-1].year + 2), observed)
    days = _days(n_days)
    return [[free[start.date() + day] for day in days if start.date() + day in free] for start in starts]


def holiday_counts(starts: pd.DatetimeIndex, country: str, observed: bool = False, n_days: int = DAYS) -> np.ndarray:
    """Public holidays in each period, (T,) int; see `holiday_names`."""
    return np.array([len(names) for names in holiday_names(starts, country, observed, n_days)])


def repeated_holidays(
    starts: pd.DatetimeIndex, country: str, n_train: int, n_days: int = DAYS
) -> dict[str, np.ndarray]:
    """Name -> (T,) 1 in the periods of a holiday, 0 else, for those in two or more of the first `n_train` periods."""
    periods = holiday_names(starts, country, n_days=n_days)
    weeks = [{name for day in names for name in day.split("; ")} for names in periods]
    names = sorted(set().union(*weeks))
    flags = {name: np.array([float(name in own) for own in weeks]) for name in names}
    return {name: flag for name, flag in flags.items() if flag[:n_train].sum() >= 2}


def month_starts(starts: pd.DatetimeIndex, n_days: int = DAYS) -> np.ndarray:
    """Share of each period's days that are among the first seven of a month, (T,)."""
    days = _days(n_days)
    return np.array([np.mean([(start + day).day <= 7 for day in days]) for start in starts])
