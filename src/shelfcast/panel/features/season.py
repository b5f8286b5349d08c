"""Features of the calendar: public holidays, the beginning of a month, the season, and the same weeks of earlier years."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.panel.calendar import holiday_counts, month_starts, repeated_holidays
from shelfcast.panel.facts import Facts
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.panel.grid import Column, Grid, between

YEAR = 52  # weeks
YEARS_AGO = (52, 104, 157, 209)  # weeks: one to four years
AROUND = 2  # weeks before and after the same week of another year
MIN_SEASON = 54  # weeks; a season can be learned only where one year repeats another
MIN_SECOND_YEAR = 13  # training weeks of the second year, to learn from columns of last year
SEASON_FLOOR = 0.5  # units a week; draws the seasons of what hardly sells towards none


def calendar(facts: Facts, grid: Grid) -> list[Column]:
    """Holidays, the days after pay day and, where a season can be learned, the season."""
    weeks, country = grid.weeks_ahead, grid.prepare.country
    free = holiday_counts(weeks.append(weeks[-1:] + pd.Timedelta(weeks=1)), country)
    columns = {
        "holiday": (free[:-1], "public holidays in the week"),
        "holiday_next": (free[1:], "public holidays in the week after"),
        "month_start": (month_starts(weeks), "share of the week's days that are among the first seven of a month"),
    }
    if len(grid.weeks) >= MIN_SEASON:
        angle = 2 * np.pi * weeks.dayofyear.to_numpy() / 365.25
        columns["season_sin"] = (np.sin(angle), "sine of the day of the year")
        columns["season_cos"] = (np.cos(angle), "cosine of the day of the year")
    for name, flag in repeated_holidays(weeks, country, grid.train_end).items():
        columns[f"holiday: {name}"] = (flag, "1 in the week of this public holiday")
    return [Column(name, "known_future", values, meaning) for name, (values, meaning) in columns.items()]


def last_year(facts: Facts, grid: Grid) -> list[Column]:
    """The season of the same weeks of earlier years; an empty list where the training weeks do not reach so far."""
    if grid.train_end < YEAR + MIN_SECOND_YEAR:
        return []
    y, horizon = facts.units, grid.horizon
    category, n_years = grid.products["category"].fillna(""), "up to four earlier years"
    chain_units = category_chain(y, grid) if facts.common is None else facts.common.category_chain
    of_category = np.stack([chain_units[name] for name in category])
    born = np.where(
        grid.launch >= 0, grid.launch, np.where((y[:, 0] > 0).any(-1), (y[:, 0] > 0).argmax(-1), y.shape[-1])
    )
    always, chain = np.zeros(len(y), int), grid.observed[:1]
    meaning = "log of the chain's units in the five weeks around the same week a year ago, over a mean of 52 weeks"
    season = f"the five weeks around the same week of {n_years}: mean log of units over those of the year around them"
    return [
        Column("year_ago", "known_future", year_ago(y[:, 0], chain[0], born, horizon)[:, None], meaning),
        Column(
            "year_ago_category",
            "known_future",
            year_ago(of_category, chain[0], always, horizon)[:, None],
            f"{meaning}, of the whole category",
        ),
        Column("season_own", "known_future", seasons(y, grid.observed, born, horizon), f"{season}, at the location"),
        Column("season_chain", "known_future", seasons(y[:, :1], chain, born, horizon), f"{season}, in the chain"),
        Column(
            "season_category",
            "known_future",
            seasons(of_category[:, None], chain, always, horizon),
            f"{season}, of the category in the chain",
        ),
    ]


def category_chain(y: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Category -> (T,) units in the chain of its products that were not launched within the weeks."""
    category, old = grid.products["category"].fillna("").to_numpy(), grid.launch < 0
    return {name: y[(category == name) & old, 0].sum(0) for name in np.unique(category)}


def year_ago(y: np.ndarray, observed: np.ndarray, born: np.ndarray, horizon: int) -> np.ndarray:
    """A product's season a year ago, (P, T + H); NaN where there was no such week, or no product.

    Units of the five weeks around the same week a year ago, over a mean of 52 weeks that ends `horizon` weeks before:
    known at every cutoff from which the week is forecast.

    Parameters
    ----------
    y : (P, T) units. observed : (T,) bool. born : (P,) number of a product's first week.
    """
    week = np.arange(y.shape[-1] + horizon)
    known = week - horizon + 1  # the first week that the earliest cutoff has not seen
    around = between(y, observed, week - YEAR - AROUND, np.minimum(week - YEAR + AROUND + 1, known))
    level = between(y, observed, known - YEAR, known)
    ratio = np.log((around + LEVEL_FLOOR) / (level + LEVEL_FLOOR))
    return np.where(week - YEAR - AROUND >= born[:, None], ratio, np.nan)


def seasons(y: np.ndarray, observed: np.ndarray, born: np.ndarray, horizon: int) -> np.ndarray:
    """The season of the same weeks of earlier years, each relative to its own level, (P, L, T + H); NaN without any.

    A year's level is the mean of the 52 weeks around the same week of that year, so that a trend from year to year does
    not count as a season; it needs 26 weeks of the product's own.

    Parameters
    ----------
    y : (P, L, T) units. observed : (L, T) bool. born : (P,) number of a product's first week.
    """
    week, born = np.arange(y.shape[-1] + horizon), born[:, None, None]
    known = week - horizon + 1
    logs = []
    for ago in YEARS_AGO:
        same = week - ago
        start, end = same - AROUND, np.minimum(same + AROUND + 1, known)
        around = between(y, observed, np.where(start < 0, end, start), end)
        year = np.maximum(same - YEAR // 2, born), np.minimum(same + YEAR // 2, known)
        level = between(y, observed, *year, least=YEAR // 2)
        ratio = np.log((around + SEASON_FLOOR) / (level + SEASON_FLOOR))
        logs.append(np.where(start >= born, ratio, np.nan))
    n = (~np.isnan(logs)).sum(0)
    return np.where(n > 0, np.nansum(logs, 0) / np.maximum(n, 1), np.nan)
