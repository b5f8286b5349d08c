"""Which products a panel holds, and where a history begins."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from shelfcast.data.quality.table import Count, week_text
from shelfcast.frequency import WEEKLY, Frequency

MIN_PRODUCTS = 5  # fewer cannot be learned from, nor judged
RECENT = 52  # last training weeks, which choose and rank
OFTEN = 0.25  # a product must have sold in this share of them
LIVING = 13  # last training weeks; a product without sales in all of them is dead
SEVERAL = 4  # weeks with sales before a launch date, from which on the date is not that of the launch
NEW = 4  # weeks of its own that weigh as much as what products usually sell


@dataclass(frozen=True)
class Choice:
    """The products of a panel.

    products : their ids. launch : product_id -> number of the week of its launch, for those launched within the weeks.
    counts : lines of the quality table.
    """

    products: list[str]
    launch: pd.Series
    counts: list[Count] = field(default_factory=list)


def launch_weeks(products: pd.DataFrame, weeks: pd.DatetimeIndex, frequency: Frequency = WEEKLY) -> pd.Series:
    """product_id -> number of the week of its launch, for products launched after the first of `weeks` and by the last."""
    if "launch" not in products:
        return pd.Series(dtype=int)
    number = frequency.number(products.set_index("product_id")["launch"].dropna(), weeks[0])
    return number[number.between(1, len(weeks) - 1)].sort_index()


def without_false_launches(
    launched: pd.Series, sold: pd.DataFrame, weeks: pd.DatetimeIndex, train_end: int, frequency: Frequency = WEEKLY
) -> tuple[pd.Series, list[Count]]:
    """The launches without those of products that had sold for weeks: such a date is that of a new system, say.

    Parameters
    ----------
    sold : see `weekly.product_weeks`.
    """
    before = sold[(sold["week"] < sold["product_id"].map(launched).fillna(-1)) & (sold["week"] < train_end)]
    n_weeks = (before["week"] // frequency.per_week).groupby(before["product_id"]).nunique()
    false = launched.index.intersection(n_weeks.index[n_weeks >= SEVERAL])
    if false.empty:
        return launched, []
    units = float(before.loc[before["product_id"].isin(false), "units"].sum())
    some = ", ".join(map(str, false[:3]))
    count = Count(
        f"products.launch lies after {SEVERAL} or more weeks of sales (product {some}{' …' if len(false) > 3 else ''})",
        len(false),
        len(launched),
        f"kept with their whole history; the launch, in these {frequency.noun}s, is ignored. Mend or empty products.launch",
        units,
        week_text(weeks[sorted(set(launched[false]))]),
    )
    return launched.drop(false), [count]


def choose_products(
    sold: pd.DataFrame, observed: np.ndarray, n_products: int, launched: pd.Series, frequency: Frequency = WEEKLY
) -> Choice:
    """The largest products of the last year of training, of those that sold often in it or were launched.

    Products that no longer sell at the end of training are left out. A list of launches is known in advance, sales are
    not: a launched product counts by what it sells in a week so far, drawn towards what products usually sell.

    Parameters
    ----------
    sold : see `weekly.product_weeks`, without sales before a product's own launch.
    observed : (T,) bool, of the training weeks. n_products : at most so many.
    frequency : of `sold` and `observed`. In how many weeks a product sold is counted in weeks, also of a daily market.

    Raises
    ------
    ValueError : too few products.
    """
    per_week = frequency.per_week
    start, weeks = max(len(observed) - RECENT * per_week, 0), np.arange(len(observed))
    end = np.flatnonzero(observed)[-min(LIVING * per_week, max(observed.sum() // 2, 1)) :][0]
    train = sold[sold["week"] < len(observed)]
    last = train.groupby("product_id")["week"].max()
    dead = last.index[(last < end).to_numpy() & (last.index.map(launched).fillna(-1) < end)]
    recent = train[(train["week"] >= start) & ~train["product_id"].isin(dead)]
    recent = recent.assign(week=(recent["week"] - start) // per_week)
    totals = recent.groupby("product_id").agg(units=("units", "sum"), weeks=("week", "nunique"))
    often = totals[totals["weeks"] >= OFTEN * observed[start:].sum() / per_week]
    if len(often) < MIN_PRODUCTS:
        raise ValueError(
            f"the category has {len(often)} products that sold in at least a quarter of the last "
            f"{observed[start:].sum() // per_week} training weeks and still sell; at least {MIN_PRODUCTS} are needed. Choose a wider "
            "category (markets.<name>.category)."
        )
    rate = often["units"] / observed[start:].sum()
    new = launched.index.difference(dead)
    n_own = np.array([(observed & (weeks >= max(launched[product], start))).sum() for product in new], float)
    own = totals["units"].reindex(new).fillna(0).to_numpy()
    drawn = NEW * per_week
    rate_of_new = (own + drawn * rate.median()) / (n_own + drawn)
    rate = pd.concat([rate.drop(new, errors="ignore"), pd.Series(rate_of_new, new)])
    ranked = rate.rename_axis("product_id").rename("rate").reset_index()
    chosen = ranked.sort_values(["rate", "product_id"], ascending=[False, True])["product_id"].head(n_products)
    old = chosen[~chosen.isin(launched.index)]
    counts = []
    if len(dead):
        units = float(train.loc[train["product_id"].isin(dead), "units"].sum())
        action = "left out; in category totals only"
        counts.append(Count("products without sales at the end of training", len(dead), len(last), action, units))
    return Choice([*old, *sorted(set(chosen) - set(old))], launched[launched.index.isin(chosen)], counts)
