"""Which weeks (or days) a panel has, and which of them were not observed: cut short, closed, or with far fewer rows than usual.

A *week* is a period of the market's frequency. In a daily market a weekday on which the retailer does not trade, and a
public holiday, are known in advance: their few sales are sales, and such days are not missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.data.quality.table import Count, week_text
from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.panel.calendar import holiday_counts
from shelfcast.settings import Prepare

MIN_TRAIN_WEEKS = 13  # fewer cannot be learned from
MOST_MISSING = 0.5  # above this share of missing weeks there is no series to speak of
TRADING = 0.5  # a weekday with sales in this share of the weeks is a trading day
DAY = 0.2  # of the usual rows of its weekday; with fewer a day at either end is no day of trade
WHOLE = 0.6  # of the usual number of days; with fewer the first or the last week is cut short
THIN = 0.25  # of the usual rows; with fewer a week was not observed
HALF = 0.5  # of the usual rows; with fewer a week is told, and with fewer stores too it was not observed
MANY = 20  # usual rows, from which on so few are hardly chance
SPAN, LEAST = 13, 4  # weeks on each side that show what is usual (of a weekday, in days), at most and at least


@dataclass(frozen=True)
class Weeks:
    """The weeks of a panel.

    index : T first days of weeks, one after the other. missing : (T,) bool, weeks that nobody observed in the whole
        chain. counts : lines of the quality table.
    """

    index: pd.DatetimeIndex
    missing: np.ndarray
    counts: list[Count]
    frequency: Frequency = WEEKLY

    @property
    def observed(self) -> pd.DatetimeIndex:
        """The other weeks."""
        return self.index[~self.missing]


def find_weeks(days: pd.DataFrame, prepare: Prepare) -> Weeks:
    """The weeks from the first to the last complete one, and which of them have no sales, or were closed.

    Parameters
    ----------
    days : see `weekly.trading_days`.

    Raises
    ------
    ValueError : most weeks have no sales.
    """
    frequency, noun = prepare.frequency, prepare.frequency.noun
    start, end, counts = _ends(days, frequency)
    index = frequency.between(start, end)
    sold = index.isin(frequency.floor(days["day"]))
    stated = pd.to_datetime(prepare.closed_weeks)
    closed = index.isin(frequency.floor(stated))
    if (~sold).mean() > MOST_MISSING:
        cure = "cut the table before or after them" + (", or set prepare.freq: W" if frequency.daily else "")
        raise ValueError(
            f"transactions: {(~sold).sum()} of {len(index)} {noun}s between {start.date()} and {end.date()} have no sales "
            f"at all, first {week_text(index[~sold])}; at most half may be missing. Fill the gaps from your source, or "
            f"{cure}."
        )
    unsold = ~sold & ~closed & ~_free_days(index, days, prepare.country, frequency)
    if unsold.any():
        action = "missing, not zero demand; prepare.closed_weeks states closed ones"
        counts.append(_line(f"{noun}s without any sales", unsold, index, action))
    if closed.any():
        counts.append(_line(f"closed {noun}s (prepare.closed_weeks)", closed, index, "missing, not zero demand"))
    elsewhere = stated[(stated < start) | (stated >= end + frequency.step)]
    if len(elsewhere):
        check = f"closed {noun}s (prepare.closed_weeks) outside of the tables' {noun}s"
        counts.append(Count(check, len(elsewhere), len(stated), "ignored", weeks=week_text(elsewhere)))
    return Weeks(index, unsold | closed, counts, frequency)


def _free_days(index: pd.DatetimeIndex, days: pd.DataFrame, country: str, frequency: Frequency) -> np.ndarray:
    """(T,) bool: days on which it is known in advance that few or no stores trade; no week is one."""
    if not frequency.daily:
        return np.zeros(len(index), bool)
    trading, _ = _trading_weekdays(days, frequency)
    holiday = holiday_counts(index, country, n_days=frequency.days) > 0
    return holiday | ~frequency.position(index).isin(trading)


def thin_weeks(weeks: Weeks, rows: np.ndarray, days: pd.DataFrame, country: str) -> Weeks:
    """The same with weeks set missing that have far fewer rows or stores than usual; such ones at the ends are cut off.

    In the week of a public holiday fewer stores trade: it is not missing for that.

    Parameters
    ----------
    rows : (S, T) rows of each store, of all categories. days : see `weekly.trading_days`.
    """
    frequency, noun = weeks.frequency, weeks.frequency.noun
    kept, free = ~weeks.missing, holiday_counts(weeks.index, country, n_days=frequency.days) > 0
    expected = _free_days(weeks.index, days, country, frequency)
    week = frequency.floor(days["day"])
    of_category = days.groupby(week)["category_rows"].sum().reindex(weeks.index, fill_value=0).to_numpy()
    weekday = np.arange(len(kept)) % frequency.per_week

    def below(n: np.ndarray, share: float, least: float = 0) -> np.ndarray:
        """Weeks with less than a share of the usual number, where that is at least `least`."""
        found = np.zeros_like(kept)
        for number in range(frequency.per_week):
            own = kept & (weekday == number) & ~expected
            if not own.any():
                continue
            before = usual(n[own])
            found[own] = (n[own] < share * before) & (before >= least)
        return found

    thin, half = (below(rows.sum(0), share, MANY) for share in (THIN, HALF))
    few = half & below((rows > 0).sum(0), HALF)
    none = below(of_category, THIN, MANY) & (of_category == 0)
    counts = list(weeks.counts)
    action = "missing, not zero demand; dropped at either end"
    for check, found in (
        (f"{noun}s with far fewer rows than usual", thin),
        (f"{noun}s without rows of the category, which usually has many", none & ~thin),
        (f"{noun}s with far fewer stores than usual", few & ~thin & ~none & ~free),
    ):
        if found.any():
            counts.append(_line(check, found, weeks.index, action))
    missing = weeks.missing | thin | none | (few & ~free)
    if (half & ~missing).any():
        counts.append(_line(f"{noun}s with less than half of the usual rows", half & ~missing, weeks.index, "kept"))
    inside = np.flatnonzero(~missing)
    if len(inside) == 0:
        raise ValueError(f"transactions: no {noun} has as many rows as usual. Bring more {noun}s.")
    inside = slice(inside[0], inside[-1] + 1)
    return Weeks(weeks.index[inside], missing[inside], counts, frequency)


def rows_in_missing_weeks(weeks: Weeks, days: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> list[Count]:
    """A line of the quality table, where weeks from the `first` to the `last` that are missing or cut off have rows."""
    week = weeks.frequency.floor(days["day"])
    inside = days[week.between(first, last) & ~week.isin(weeks.observed) & (days["category_rows"] > 0)]
    if inside.empty:
        return []
    n, of, units = inside["category_rows"].sum(), days["category_rows"].sum(), inside["category_units"].sum()
    when = week_text(sorted(set(week[inside.index])))
    return [Count(f"rows in missing {weeks.frequency.noun}s", int(n), int(of), "dropped", float(units), when)]


def usual(n: np.ndarray) -> np.ndarray:
    """(T,) what is usual in each week: the median of the `SPAN` weeks before it or of those after it, the smaller one.

    So what falls or rises for long, as a season does, is usual; a side with fewer than `LEAST` weeks does not count.
    """
    medians = np.full((2, len(n)), np.inf)
    for t in range(len(n)):
        for i, side in enumerate((n[max(t - SPAN, 0) : t], n[t + 1 : t + 1 + SPAN])):
            if len(side) >= LEAST:
                medians[i, t] = np.median(side)
    smaller = medians.min(0)
    return np.where(np.isinf(smaller), np.median(n), smaller)


def training_weeks(weeks: Weeks, prepare: Prepare) -> pd.DatetimeIndex:
    """The weeks before the validation and test weeks.

    Raises
    ------
    ValueError : too few of them, or no observed week in any part.
    """
    frequency, noun = prepare.frequency, prepare.frequency.noun
    n_validation, n_test = frequency.periods(prepare.validation_weeks), frequency.periods(prepare.test_weeks)
    if min(n_validation, n_test) < prepare.horizon:
        raise ValueError(
            f"prepare.validation_weeks ({prepare.validation_weeks}) and test_weeks ({prepare.test_weeks}) must each be at "
            f"least the horizon ({prepare.horizon}{' days' if frequency.daily else ''}), else no full forecast can be judged."
        )
    n_all, least = len(weeks.index), frequency.periods(MIN_TRAIN_WEEKS)
    n = max(n_all - n_test - n_validation, 0)
    n_observed = int((~weeks.missing[:n]).sum())
    if n_observed < least:
        missing = f" ({n - n_observed} of them missing)" if n > n_observed else ""
        raise ValueError(
            f"{n_all} complete {noun}s leave {n}{missing} for training after {n_validation} validation and {n_test} "
            f"test {noun}s; at least {least} are needed. Bring more {noun}s, or shorten prepare.validation_weeks "
            "and prepare.test_weeks."
        )
    for name, part in (("validation", slice(n, n + n_validation)), ("test", slice(n + n_validation, None))):
        if weeks.missing[part].all():
            raise ValueError(
                f"transactions: all {name} {noun}s are missing, {week_text(weeks.index[part])}. Set prepare.{name}_weeks "
                "so that it reaches weeks with sales."
            )
    return weeks.index[:n]


def _trading_weekdays(days: pd.DataFrame, frequency: Frequency) -> tuple[pd.Index, pd.Series]:
    """Weekdays on which the retailer usually trades (days since the start of the week), and the weekday of each day."""
    weekday, week = frequency.position(days["day"]), frequency.week(days["day"])
    n_weeks = weekday.value_counts()
    return n_weeks[n_weeks >= TRADING * week.nunique()].index, weekday


def _ends(days: pd.DataFrame, frequency: Frequency) -> tuple[pd.Timestamp, pd.Timestamp, list[Count]]:
    """The first and the last complete week, and what lies outside of them.

    A week is complete when its trading days have about as many rows as usual. So a shop closed on Sundays, or one row a
    week, is not mistaken for a week cut short, nor a single late row for a whole week.
    """
    day, week = days["day"], frequency.floor(days["day"])
    trading, weekday = _trading_weekdays(days, frequency)
    of_trade = days["rows"] >= DAY * days.groupby(weekday)["rows"].transform("median")
    of_trade &= weekday.isin(trading) | trading.empty  # sales now and then make no weekday a trading day
    n_days = of_trade.groupby(week).sum()
    first, last = np.flatnonzero(of_trade)[[0, -1]]
    late, early = weekday.iloc[first] > trading.min(), weekday.iloc[last] < trading.max()
    cut_short = not frequency.daily  # a week may be, a day is not
    start = week.iloc[first] + frequency.step * int(late and cut_short)
    end = week.iloc[last] - frequency.step * int(early and cut_short)
    whole = n_days.index[n_days >= WHOLE * n_days.median()]
    start, end = whole[whole >= start].min(), whole[whole <= end].max()
    if pd.isna(start) or pd.isna(end) or start > end:
        span = f"between {day.min().date()} and {day.max().date()}"
        raise ValueError(f"transactions: no complete {frequency.noun} {span}. Bring more {frequency.noun}s.")
    n = int(days["category_rows"].sum())
    outside = ~week.between(start, end)
    odd = days[outside & ~of_trade]
    lines = [(days[outside], f"rows in incomplete {frequency.noun}s", "dropped")]
    if len(odd):
        seen = odd.dropna(subset="first_store").head(3)
        some = "; ".join(f"{row.day.date()}: store {row.first_store}, {row.first_product}" for row in seen.itertuples())
        check = "rows on single days with far fewer rows than usual" + (f" ({some})" if some else "")
        lines.append((odd, check, f"dropped, no {frequency.noun} counts for them"))
    counts = []
    for part, check, action in lines:
        units, when = float(part["category_units"].sum()), week_text(part["day"])
        counts.append(Count(check, int(part["category_rows"].sum()), n, action, units, when))
    return start, end, counts


def _line(check: str, found: np.ndarray, index: pd.DatetimeIndex, action: str) -> Count:
    return Count(check, int(found.sum()), len(index), action, weeks=week_text(index[found]))
