"""Which weeks are complete, and which products a panel holds."""

from __future__ import annotations

import pandas as pd

from shelfcast.settings import Prepare

MIN_PRODUCTS, MIN_TRAIN_WEEKS = 5, 13  # fewer cannot be learned from, nor judged
TRADING = 0.5  # a weekday with sales in this share of the weeks is a trading day
OFTEN = 0.25  # a product must have sold in this share of the training weeks


def complete_weeks(days: pd.DataFrame) -> tuple[pd.DatetimeIndex, int]:
    """The Mondays of complete weeks, and how many rows of the category lie outside of them.

    A week is complete when it holds all trading days. So a shop closed on Sundays, or one row a week, is not mistaken
    for a week cut short.

    Parameters
    ----------
    days : see `weekly.trading_days`.

    Raises
    ------
    ValueError : weeks without any sales between others.
    """
    weekday = days["day"].dt.dayofweek
    monday = days["day"] - pd.to_timedelta(weekday, unit="D")
    n_weeks = weekday.value_counts()
    trading = n_weeks[n_weeks >= TRADING * monday.nunique()].index
    start, end = monday.min(), monday.max()
    start += pd.Timedelta(weeks=int(weekday.iloc[0] > trading.min()))
    end -= pd.Timedelta(weeks=int(weekday.iloc[-1] < trading.max()))
    weeks = pd.date_range(start, end, freq="7D")
    gaps = weeks.difference(pd.DatetimeIndex(monday))
    if len(gaps):
        raise ValueError(
            f"{len(gaps)} weeks between {start.date()} and {end.date()} have no sales at all, first {gaps[0].date()}. "
            "A gap reads as zero demand: fill it from your source, or cut the table before or after it."
        )
    outside = ~monday.between(start, end)
    return weeks, int(days.loc[outside, "category_rows"].sum())


def training_weeks(weeks: pd.DatetimeIndex, prepare: Prepare) -> pd.DatetimeIndex:
    """The weeks before the validation and test weeks."""
    validation_weeks, test_weeks = prepare.validation_weeks, prepare.test_weeks
    if min(validation_weeks, test_weeks) < prepare.horizon:
        raise ValueError(
            f"prepare.validation_weeks ({validation_weeks}) and test_weeks ({test_weeks}) must each be at least "
            f"the horizon ({prepare.horizon}), else no full forecast can be judged."
        )
    n = len(weeks) - test_weeks - validation_weeks
    if n < MIN_TRAIN_WEEKS:
        raise ValueError(
            f"{len(weeks)} complete weeks leave {n} for training after {validation_weeks} validation and {test_weeks} "
            f"test weeks; at least {MIN_TRAIN_WEEKS} are needed. Bring more weeks or shorten the two."
        )
    return weeks[:n]


def launch_weeks(products: pd.DataFrame, weeks: pd.DatetimeIndex) -> pd.Series:
    """product_id -> number of the week of its launch, for products launched after the first of `weeks` and by the last."""
    if "launch" not in products:
        return pd.Series(dtype=int)
    number = (products.set_index("product_id")["launch"].dropna() - weeks[0]).dt.days // 7
    return number[number.between(1, len(weeks) - 1)].sort_index()


def choose_products(sold: pd.DataFrame, train_end: int, n_products: int, launched: pd.Series) -> list[str]:
    """The largest products by training units among those that sold often, then all that are listed with a launch.

    A list of launches is known in advance, sales are not: so a launched product is in, whatever it sold.

    Parameters
    ----------
    sold : see `weekly.product_weeks`; `early` marks sales before a product's own launch.
    """
    train = sold[(sold["week"] < train_end) & ~sold["early"]]
    totals = train.groupby("product_id").agg(units=("units", "sum"), weeks=("week", "nunique")).reset_index()
    often = totals[totals["weeks"] >= OFTEN * train_end]
    if len(often) < MIN_PRODUCTS:
        raise ValueError(
            f"the category has {len(often)} products that sold in at least a quarter of the {train_end} training "
            f"weeks; at least {MIN_PRODUCTS} are needed. Choose a wider category."
        )
    largest = often.sort_values(["units", "product_id"], ascending=[False, True])["product_id"].head(n_products)
    return [*largest, *launched.index.difference(largest)]
