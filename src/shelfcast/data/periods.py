"""Days of raw tables as numbers of periods, in SQL: weeks that start on any day, or days; see `shelfcast.frequency`."""

from __future__ import annotations

import pandas as pd

from shelfcast.data.tables import Tables
from shelfcast.frequency import DAYS

MIDDLE = 3  # days after its Monday; the week of a record is that which holds most of its days


def rows_in(tables: Tables, table: str, weeks: pd.DatetimeIndex) -> str:
    """The rows of `weeks` (first days of periods) by their `day`, with the number of their period as `week`."""
    frequency, first = tables.frequency, weeks[0]
    end = weeks[-1] + frequency.step
    missing = frequency.between(first, weeks[-1]).difference(weeks)
    gaps = ", ".join(str(frequency.number(week, first)) for week in missing)
    return f"""(
        SELECT *, CAST((day - DATE '{first:%Y-%m-%d}') // {frequency.days} AS INTEGER) AS week
        FROM {table} WHERE day >= DATE '{first:%Y-%m-%d}' AND day < DATE '{end:%Y-%m-%d}'
        {f"AND week NOT IN ({gaps})" if gaps else ""})"""


def records(tables: Tables, table: str, columns: str) -> str:
    """Rows of `promotions`, `prices` or `stockouts` with a `day` that lies in their period.

    The database has weekly records on the Monday of their week. Where weeks start on another day, a record belongs to
    the week that holds most of its days; in a daily market it holds on each of its seven days. Records of single days
    (`read.week_stamp: day`) stay as they are.
    """
    if tables.plan_days == 1:
        return f"(SELECT {columns}, week AS day FROM {table})"
    if tables.frequency.daily:
        return f"(SELECT {columns}, week + CAST(i AS INTEGER) AS day FROM {table} CROSS JOIN range({DAYS}) AS d(i))"
    return f"(SELECT {columns}, week + {MIDDLE} AS day FROM {table})"


def recorded_before(tables: Tables, day: pd.Timestamp, monday: str) -> str:
    """Whether a record of the week from `monday` (a column) lies in a period before that which starts on `day`."""
    weekly = tables.plan_days > 1 and not tables.frequency.daily
    return f"{monday} + {MIDDLE if weekly else 0} < DATE '{day:%Y-%m-%d}'"


def number(tables: Tables, day: str, first: pd.Timestamp) -> str:
    """The number of the period of a `day` (a column), counted from `first` and negative before it."""
    return f"CAST(floor(({day} - DATE '{first:%Y-%m-%d}') / {tables.frequency.days}) AS INTEGER)"


def first_day(tables: Tables, day: str) -> str:
    """The first day of the period of a `day` (a column), as a timestamp."""
    if tables.frequency.daily:
        return f"CAST({day} AS TIMESTAMP)"
    origin = tables.frequency.floor(pd.DatetimeIndex(["1900-01-01"]))[0]  # before all years that tables may have
    return f"CAST({day} - CAST(({day} - DATE '{origin:%Y-%m-%d}') % {DAYS} AS INTEGER) AS TIMESTAMP)"
