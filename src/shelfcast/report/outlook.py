"""Units of the coming weeks by product, by location and by week, each with its range (see `judge.totals`).

`past` is a forecast frame whose weeks have actuals, `ahead` one of the coming weeks; `sold` has units by series and
observed week.
"""

from __future__ import annotations

import pandas as pd

from shelfcast.data.labels import product_labels
from shelfcast.data.schema import CHAIN
from shelfcast.judge.frame import is_chain
from shelfcast.judge.totals import sums, total


def by_product(products: pd.DataFrame, sold: pd.DataFrame, ahead: pd.DataFrame, correlation: float) -> pd.DataFrame:
    """Each product in the whole chain, most units first.

    Parameters
    ----------
    products : index product_id, attributes. sold : units by series and observed week.

    Returns
    -------
    Index product_id; label, to be shown with the id, since two products may differ in nothing else; mean, sd, low,
    high of the coming weeks' units; last, the units of as many weeks before; change of mean against last, NaN where
    nothing sold.
    """
    frame = sums(ahead[is_chain(ahead)], correlation)
    frame["last"] = sold.iloc[:, -ahead["ds"].nunique() :].sum(axis=1)
    frame = frame.rename(lambda series: series.rsplit("|", 1)[0])
    frame["label"] = product_labels(products, ids=False)
    return frame.assign(change=_change(frame["mean"], frame["last"])).sort_values("mean", ascending=False)


def by_location(sold: pd.DataFrame, past: pd.DataFrame, ahead: pd.DataFrame, correlation: float) -> pd.DataFrame:
    """The chain and each region, all products together.

    Returns
    -------
    Index location, the chain first; the columns of `total`; last, the units of as many weeks before; change of the
    mean against last, and low and high, those of its 80 % range (NaN where nothing sold).
    """
    last = sold.iloc[:, -ahead["ds"].nunique() :].sum(axis=1)
    last = last.groupby(sold.index.str.rsplit("|", n=1).str[1]).sum()
    past_by_name = dict(list(past.groupby("location")))
    rows = {name: total(past_by_name[name], own, correlation) for name, own in ahead.groupby("location")}
    frame = pd.DataFrame(rows).T.assign(last=last)
    frame = frame.loc[[CHAIN, *frame.index.drop(CHAIN)]]
    columns = {"change": "mean", "low": "q100", "high": "q900"}
    return frame.assign(**{name: _change(frame[column], frame["last"]) for name, column in columns.items()})


def by_week(past: pd.DataFrame, ahead: pd.DataFrame, correlation: float) -> pd.DataFrame:
    """Each week of `ahead`, all its series together: `ds` and the columns of `total`."""
    past_by_horizon = dict(list(past.groupby("horizon")))
    rows = {ds: total(past_by_horizon[own["horizon"].iloc[0]], own, correlation) for ds, own in ahead.groupby("ds")}
    return pd.DataFrame(rows).T.rename_axis("ds").reset_index()


def promoted_weeks(frame: pd.DataFrame) -> pd.DataFrame:
    """`product_id` and `ds` of a panel's rows in which most stores promote the product."""
    return frame.loc[is_chain(frame) & (frame["promotion"] >= 0.5), ["product_id", "ds"]]


def _change(now: pd.Series, before: pd.Series) -> pd.Series:
    return now / before.where(before > 0) - 1
