"""What changed since the last run: earlier forecasts against what sold, and against the new forecast of the same weeks.

Two comparisons. What the last forecast said of weeks that have passed needs no earlier run: notebook 4 made it from a
test cutoff. How the forecast of the coming weeks moved needs what the page of the earlier run showed, so each run keeps
its own forecast beside that of the last run from an earlier week (`published`). A rerun from the same week replaces its
own rows and nothing else, so that a page is the same however often it is made.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.language import N_, _, day, last_day, listed
from shelfcast.report.decisions.words import product
from shelfcast.report.story import change_words
from shelfcast.report.theme import percent, units

COLUMNS = ["cutoff", "product_id", "ds", "mean", "q100", "q900"]
MOVED, LEAST_UNITS = 0.1, 5.0  # relative and absolute change from which a product's forecast counts as moved
SHOWN = 3


def published(path: str | Path, ahead: pd.DataFrame) -> pd.DataFrame:
    """Rows that the chain's forecast had in the last run from an earlier week, then those it has now.

    Parameters
    ----------
    path : of the frame that the last run wrote; may be missing. ahead : forecast of the coming weeks, of all locations.

    Returns
    -------
    `COLUMNS`: the product's units of a week and their 80 % range.
    """
    now = ahead[ahead["location"] == CHAIN][COLUMNS]
    before = pd.read_parquet(path) if Path(path).is_file() else now.iloc[:0]
    before = before[before["cutoff"] < now["cutoff"].max()]
    before = before[before["cutoff"] == before["cutoff"].max()]
    return pd.concat([before, now], ignore_index=True).astype(now.dtypes.to_dict())


def since_last_run(kept: pd.DataFrame, labels: pd.Series) -> list[str]:
    """Sentences on how the forecast moved.

    Parameters
    ----------
    kept : of `published`. labels : product_id -> human name.
    """
    cutoffs = sorted(kept["cutoff"].unique())
    if len(cutoffs) < 2:
        return [
            _(
                "This is the first run, or the last one was of the same week: how forecasts move is told from the next one on."
            )
        ]
    before, now = (kept[kept["cutoff"] == cutoff].set_index(["product_id", "ds"])["mean"] for cutoff in cutoffs)
    both = pd.concat([before, now], axis=1, keys=["before", "now"], join="inner")
    last = day(last_day(pd.Timestamp(cutoffs[0])))
    if both.empty:
        return [_("The last run, with data up to {last}, forecast none of the coming weeks.", last=last)]
    total = both.sum()
    lines = [
        _(
            "The last run had data up to {last}. Of the {n_weeks} weeks that both forecasts cover, <b>{now} "
            "units</b> are now expected, {change} then ({before}).",
            last=last,
            n_weeks=both.index.get_level_values("ds").nunique(),
            now=units(total["now"]),
            change=change_words(total["now"], total["before"]),
            before=units(total["before"]),
        )
    ]
    by_product = both.groupby("product_id").sum()
    difference = by_product["now"] - by_product["before"]
    moved = difference[(difference.abs() >= LEAST_UNITS) & (difference.abs() >= MOVED * by_product["before"])]
    if moved.empty:
        return [*lines, _("No product's forecast moved by more than {share}.", share=percent(MOVED))]
    largest = by_product.loc[moved.abs().sort_values(ascending=False).index[:SHOWN]]
    step = N_("{product} from {before} to {now}")
    names = [
        _(step, product=product(labels, row.Index), before=units(row.before), now=units(row.now))
        for row in largest.itertuples()
    ]
    said = N_("<b>{n} products' forecasts moved</b> by more than {share}; the largest: {names}.")
    return [*lines, _(said, n=len(moved), share=percent(MOVED), names=listed(names))]


def new_and_gone(kept: pd.DataFrame, labels: pd.Series) -> str:
    """Products that only one of the last two runs forecast; '' where there are none."""
    cutoffs = sorted(kept["cutoff"].unique())
    if len(cutoffs) < 2:
        return ""
    before, now = (set(kept.loc[kept["cutoff"] == cutoff, "product_id"]) for cutoff in cutoffs)
    parts = []
    if new := sorted(now - before):
        first = product(labels, new[0])
        parts.append(_("{n} products are new on this page, such as {product}", n=len(new), product=first))
    if gone := len(before - now):
        parts.append(_("{n} are no longer on it", n=gone))
    return _("{text}.", text=listed(parts)) if parts else ""


def last_forecast(earlier: pd.DataFrame, expected: pd.Series, labels: pd.Series) -> list[str]:
    """Sentences on what the last forecast whose weeks have all passed said, and what then sold.

    Parameters
    ----------
    earlier : its rows of the chain, with actuals `y`. expected : their total, of `judge.totals.total`.
    """
    rows = earlier[earlier["y"].notna()]
    sold, (first, last) = rows["y"].sum(), (rows["ds"].min(), last_day(rows["ds"].max()))
    inside = expected["q100"] <= sold <= expected["q900"]
    lines = [
        _(
            "For the weeks from {first} to {last} the forecast made before them expected "
            "{mean} units; <b>{sold} sold</b>, {change} expected and "
            "{inside} the 80 % range ({low}–{high}).",
            first=day(first),
            last=day(last),
            mean=units(expected["mean"]),
            sold=units(sold),
            change=change_words(sold, expected["mean"]),
            inside=_("inside") if inside else _("<b>outside</b>"),
            low=units(expected["q100"]),
            high=units(expected["q900"]),
        )
    ]
    by_product = rows.groupby("product_id")[["y", "mean"]].sum()
    error = (by_product["y"] - by_product["mean"]).abs().sort_values(ascending=False).index[:SHOWN]
    missed = N_("{product} ({mean} expected, {sold} sold)")
    names = [
        _(missed, product=product(labels, row.Index), mean=units(row.mean), sold=units(row.y))
        for row in by_product.loc[error].itertuples()
    ]
    return [*lines, _("It was furthest off for {names}.", names=listed(names))]
