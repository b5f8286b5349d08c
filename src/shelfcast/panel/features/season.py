"""Features of the calendar: public holidays, the beginning of a month, the season, and the same weeks a year ago."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.panel.calendar import holiday_counts, month_starts
from shelfcast.panel.facts import Facts
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.panel.grid import Column, Grid, mean

YEAR = 52  # weeks
MIN_SEASON = 54  # weeks; a season can be learned only where one year repeats another
MIN_SECOND_YEAR = 13  # training weeks of the second year, to learn from columns of last year


def calendar(facts: Facts, grid: Grid) -> list[Column]:
    """Holidays, the days after pay day and, where a season can be learned, the season."""
    weeks = grid.weeks_ahead
    free = holiday_counts(weeks.append(weeks[-1:] + pd.Timedelta(weeks=1)), grid.prepare.country)
    columns = {
        "holiday": (free[:-1], "public holidays in the week"),
        "holiday_next": (free[1:], "public holidays in the week after"),
        "month_start": (month_starts(weeks), "share of the week's days that are among the first seven of a month"),
    }
    if len(grid.weeks) >= MIN_SEASON:
        angle = 2 * np.pi * weeks.dayofyear.to_numpy() / 365.25
        columns["season_sin"] = (np.sin(angle), "sine of the day of the year")
        columns["season_cos"] = (np.cos(angle), "cosine of the day of the year")
    return [Column(name, "known_future", values, meaning) for name, (values, meaning) in columns.items()]


def last_year(facts: Facts, grid: Grid) -> list[Column]:
    """The season of the same weeks a year ago; an empty list where the training weeks do not reach so far."""
    if grid.train_end < YEAR + MIN_SECOND_YEAR:
        return []
    categories = grid.products["category"].fillna("").to_numpy()
    own, category = year_ago(facts.units, categories, grid.launch, grid.horizon)
    meaning = "log of the chain's units in the five weeks around the same week a year ago, over a mean of 52 weeks"
    return [
        Column("year_ago", "known_future", own[:, None], meaning),
        Column("year_ago_category", "known_future", category[:, None], f"{meaning}, of the whole category"),
    ]


def year_ago(y: np.ndarray, category: np.ndarray, launch: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """A product's season a year ago and its category's, each (P, T + H); NaN where there was none.

    Units in the whole chain, of the five weeks around the same week a year ago, over a mean of 52 weeks that ends
    `horizon` weeks before: known at every cutoff from which the week is forecast. A product that is younger has its
    category's.
    """
    week = np.arange(y.shape[-1] + horizon)
    around, until = np.maximum(week - YEAR + 2, 0), np.maximum(week - horizon, 0)

    def index(x: np.ndarray) -> np.ndarray:
        return np.log((mean(x, 5)[:, around] + LEVEL_FLOOR) / (mean(x, YEAR)[:, until] + LEVEL_FLOOR))

    same_category = (category[:, None] == category) & (launch < 0)
    of_category = index(same_category @ y[:, 0])
    own = np.where(week - YEAR - 2 < launch[:, None], of_category, index(y[:, 0]))
    exists = week >= YEAR + 2
    return np.where(exists, own, np.nan), np.where(exists, of_category, np.nan)
