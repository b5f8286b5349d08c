"""Features of the calendar: public holidays, the beginning of a month, weekdays, the season, the same weeks of earlier years."""

from __future__ import annotations

import numpy as np

from shelfcast.panel.calendar import holiday_counts, month_starts, repeated_holidays
from shelfcast.panel.facts import Facts
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.panel.grid import Column, Grid, between

YEAR = 52  # weeks
YEARS_AGO = (52, 104, 157, 209)  # weeks: one to four years
AROUND = 5  # weeks around the same week of another year, two on each side
MIN_SEASON = 54  # weeks; a season can be learned only where one year repeats another
MIN_SECOND_YEAR = 13  # training weeks of the second year, to learn from columns of last year
SEASON_FLOOR = 0.5  # units a week; draws the seasons of what hardly sells towards none
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTH_START = "share of the week's days that are among the first seven of a month"
PROFILE = 8  # weeks whose weekdays are compared


def calendar(facts: Facts, grid: Grid) -> list[Column]:
    """Holidays, the days after pay day and, where a season can be learned, the season."""
    weeks, country, frequency, noun = grid.weeks_ahead, grid.prepare.country, grid.frequency, grid.frequency.noun
    free = holiday_counts(weeks.append(weeks[-1:] + frequency.step), country, n_days=frequency.days)
    early = month_starts(weeks, frequency.days)
    columns = {
        "holiday": (free[:-1], f"public holidays in the {noun}"),
        "holiday_next": (free[1:], f"public holidays in the {noun} after"),
        "month_start": (early, "1 on the first seven days of a month" if frequency.daily else MONTH_START),
    }
    if frequency.daily:
        columns["holiday_week"] = (holiday_counts(weeks, country), "public holidays in the seven days from this one")
        for number, name in enumerate(WEEKDAYS):
            columns[f"weekday: {name}"] = ((weeks.dayofweek == number).astype(float), f"1 on a {name.capitalize()}")
    if len(grid.weeks) >= frequency.periods(MIN_SEASON):
        angle = 2 * np.pi * weeks.dayofyear.to_numpy() / 365.25
        columns["season_sin"] = (np.sin(angle), "sine of the day of the year")
        columns["season_cos"] = (np.cos(angle), "cosine of the day of the year")
    for name, flag in repeated_holidays(weeks, country, grid.train_end, frequency.days).items():
        columns[f"holiday: {name}"] = (flag, f"1 in the {noun} of this public holiday")
    return [Column(name, "known_future", values, meaning) for name, (values, meaning) in columns.items()]


def last_year(facts: Facts, grid: Grid) -> list[Column]:
    """The season of the same weeks of earlier years; an empty list where the training weeks do not reach so far."""
    frequency = grid.frequency
    if grid.train_end < frequency.periods(YEAR + MIN_SECOND_YEAR):
        return []
    y, horizon, per_week = facts.units, grid.horizon, frequency.per_week
    of_category, n_years = _of_category(facts, grid), "up to four earlier years"
    born, always = _born(y, grid), np.zeros(len(y), int)
    chain, span = grid.observed[:1], f"{frequency.periods(AROUND) if frequency.daily else 'five'} {frequency.noun}s"
    around = f"the {span} around the same {frequency.noun}"
    meaning = f"log of the chain's units in {around} a year ago, over a mean of {frequency.year} {frequency.noun}s"
    season = f"{around} of {n_years}: mean log of units over those of the year around them"
    return [
        Column("year_ago", "known_future", year_ago(y[:, 0], chain[0], born, horizon, per_week)[:, None], meaning),
        Column(
            "year_ago_category",
            "known_future",
            year_ago(of_category, chain[0], always, horizon, per_week)[:, None],
            f"{meaning}, of the whole category",
        ),
        Column(
            "season_own",
            "known_future",
            seasons(y, grid.observed, born, horizon, per_week),
            f"{season}, at the location",
        ),
        Column(
            "season_chain",
            "known_future",
            seasons(y[:, :1], chain, born, horizon, per_week),
            f"{season}, in the chain",
        ),
        Column(
            "season_category",
            "known_future",
            seasons(of_category[:, None], chain, always, horizon, per_week),
            f"{season}, of the category in the chain",
        ),
    ]


def _of_category(facts: Facts, grid: Grid) -> np.ndarray:
    """(P, T) the chain's units of each product's category, of products that were always there."""
    units = category_chain(facts.units, grid) if facts.common is None else facts.common.category_chain
    return np.stack([units[name] for name in grid.products["category"].fillna("")])


def category_chain(y: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Category -> (T,) units in the chain of its products that were not launched within the weeks."""
    category, old = grid.products["category"].fillna("").to_numpy(), grid.launch < 0
    return {name: y[(category == name) & old, 0].sum(0) for name in np.unique(category)}


def _born(y: np.ndarray, grid: Grid) -> np.ndarray:
    """(P,) number of a product's first week: of its launch, else of its first sale."""
    sold = y[:, 0] > 0
    first_sale = np.where(sold.any(-1), sold.argmax(-1), y.shape[-1])
    return np.where(grid.launch >= 0, grid.launch, first_sale)


def year_ago(y: np.ndarray, observed: np.ndarray, born: np.ndarray, horizon: int, per_week: int = 1) -> np.ndarray:
    """A product's season a year ago, (P, T + H); NaN where there was no such week, or no product.

    Units of the five weeks around the same week a year ago, over a mean of 52 weeks that ends `horizon` weeks before:
    known at every cutoff from which the week is forecast.

    Parameters
    ----------
    y : (P, T) units. observed : (T,) bool. born : (P,) number of a product's first week. per_week : columns that make
        a week.
    """
    week, year, side = np.arange(y.shape[-1] + horizon), YEAR * per_week, AROUND * per_week // 2
    known = week - horizon + 1  # the first week that the earliest cutoff has not seen
    around = between(y, observed, week - year - side, np.minimum(week - year + side + 1, known))
    level = between(y, observed, known - year, known)
    ratio = np.log((around + LEVEL_FLOOR) / (level + LEVEL_FLOOR))
    return np.where(week - year - side >= born[:, None], ratio, np.nan)


def seasons(y: np.ndarray, observed: np.ndarray, born: np.ndarray, horizon: int, per_week: int = 1) -> np.ndarray:
    """The season of the same weeks of earlier years, each relative to its own level, (P, L, T + H); NaN without any.

    A year's level is the mean of the 52 weeks around the same week of that year, so that a trend from year to year does
    not count as a season; it needs 26 weeks of the product's own.

    Parameters
    ----------
    y : (P, L, T) units. observed : (L, T) bool. born : (P,) number of a product's first week. per_week : columns that
        make a week.
    """
    week, born = np.arange(y.shape[-1] + horizon), born[:, None, None]
    half, side = YEAR * per_week // 2, AROUND * per_week // 2
    known = week - horizon + 1
    logs = []
    for ago in YEARS_AGO:
        same = week - ago * per_week
        start, end = same - side, np.minimum(same + side + 1, known)
        around = between(y, observed, np.where(start < 0, end, start), end)
        year = np.maximum(same - half, born), np.minimum(same + half, known)
        level = between(y, observed, *year, least=half)
        ratio = np.log((around + SEASON_FLOOR) / (level + SEASON_FLOOR))
        logs.append(np.where(start >= born, ratio, np.nan))
    n = (~np.isnan(logs)).sum(0)
    return np.where(n > 0, np.nansum(logs, 0) / np.maximum(n, 1), np.nan)


def weekdays(facts: Facts, grid: Grid) -> list[Column]:
    """What is usual on the weekday of each day, known at every cutoff from which the day is forecast; none by the week."""
    if not grid.frequency.daily:
        return []
    y, span = facts.units, f"over all days of these {PROFILE} weeks, which end before any cutoff that forecasts the day"
    profiles = {
        "weekday_own": (weekday_profile(y, grid.observed, grid.horizon), "at the location"),
        "weekday_chain": (weekday_profile(y[:, :1], grid.observed[:1], grid.horizon), "in the chain"),
        "weekday_category": (
            weekday_profile(_of_category(facts, grid)[:, None], grid.observed[:1], grid.horizon),
            "of the category in the chain",
        ),
    }
    return [
        Column(name, "known_future", values, f"log of the mean units on the same weekday {span}, {where}")
        for name, (values, where) in profiles.items()
    ]


def weekday_profile(y: np.ndarray, observed: np.ndarray, horizon: int) -> np.ndarray:
    """Log of what sells on a day's weekday over what sells on all days, (P, L, T + H); 0 before anything is known.

    Of the last eight weeks that every cutoff with the day in its horizon has seen. What hardly sells is drawn towards no
    difference by half a unit.

    Worked example: 2 units on each Saturday and 1 on each other day make log((2 + 0.5 / 7) / (8 / 7 + 0.5 / 7)), 0.53, on
    Saturdays.

    Parameters
    ----------
    y : (P, L, T) units by day. observed : (L, T) bool.
    """
    day = np.arange(y.shape[-1] + horizon)
    back = -(-horizon // 7)  # weeks from a day to the latest same weekday that every cutoff has seen
    same = [day - 7 * (back + week) for week in range(PROFILE)]
    total, n = np.zeros((*y.shape[:2], len(day))), np.zeros((1, y.shape[1], len(day)))
    for at in same:
        seen = (at >= 0) & observed[None][..., np.maximum(at, 0)]
        total, n = total + np.where(seen, y[..., np.maximum(at, 0)], 0.0), n + seen
    end = day - 7 * back + 1  # the day after the latest one that counts
    mean = between(y, observed, end - 7 * PROFILE, end)
    floor = SEASON_FLOOR / 7
    ratio = np.log((total / np.maximum(n, 1) + floor) / (np.nan_to_num(mean) + floor))
    return np.where(n > 0, ratio, 0.0)
