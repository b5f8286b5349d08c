"""Where forecasts are least sure, and what on the page not to trust."""

from __future__ import annotations

from html import escape

import pandas as pd

from shelfcast.language import N_, _, day, last_day, listed
from shelfcast.panel.frame import Panel
from shelfcast.report.decisions.words import product
from shelfcast.report.evidence import quality as checks
from shelfcast.report.theme import percent, units

NARROW, BIASED = 0.05, 0.05  # from which coverage and bias are told
FEWEST_WEEKS = 104
FAULTS = 3  # checks of the raw tables that are named
LOST = ("dropped", "not used", "missing")  # words of an action by which rows do not count


def least_sure(products: pd.DataFrame, most: int) -> pd.DataFrame:
    """The products whose coming weeks may differ most, in units: a row each, the widest range first.

    Parameters
    ----------
    products : of `outlook.by_product`.
    """
    rows = products.assign(width=products["high"] - products["low"]).nlargest(most, "width")
    labels = products["label"]
    return pd.DataFrame(
        {
            _("Product"): [product(labels, name) for name in rows.index],
            _("Expected"): rows["mean"].map(units),
            _("80 % range"): [f"{row.low:,.0f}–{row.high:,.0f}" for row in rows.itertuples()],
            _("Range over expected"): (rows["width"] / rows["mean"].clip(lower=1e-9)).map(percent),
            _("Sold lately"): rows["last"].map(units),
        }
    )


def least_sure_words(products: pd.DataFrame, most: int) -> str:
    """How much of all products' uncertainty the widest few hold, and how the slow sellers compare."""
    width = (products["high"] - products["low"]).sort_values(ascending=False)
    share = width.iloc[:most].sum() / max(width.sum(), 1e-9)
    slow = products["mean"] <= products["mean"].median()
    fast_width, slow_width = ((products["high"] - products["low"])[rows].sum() for rows in (~slow, slow))
    fast_mean, slow_mean = (products["mean"][rows].sum() for rows in (~slow, slow))
    return _(
        "The {n} products below hold {share} of the units by which all products may differ. "
        "Relative to what they sell, slow products are less sure: the ranges of the slower half are "
        "{slow} of their expected units, those of the faster half "
        "{fast}.",
        n=min(most, len(products)),
        share=percent(share),
        slow=percent(slow_width / max(slow_mean, 1e-9)),
        fast=percent(fast_width / max(fast_mean, 1e-9)),
    )


def not_to_trust(panel: Panel, score: dict, still_falling: bool) -> list[str]:
    """Doubts about this page, most important first; each says what to do.

    Parameters
    ----------
    score : of the page's method for products, see `metrics.metrics_dict`. still_falling : whether the validation error was
        lowest at the last step that training may take, see `variant.json`.
    """
    doubts = [
        _plan(panel),
        _coverage(score),
        _bias(score),
        _curve(still_falling),
        _history(panel),
        *_faults(panel.quality),
    ]
    return [line for line in doubts if line]


def _plan(panel: Panel) -> str:
    meta = panel.meta
    lacking = [
        _(name)
        for name, key in ((N_("promotions"), "plan_assumed"), (N_("prices"), "prices_assumed"))
        if meta.get(key) and any(column.startswith(name.rstrip("s")) for column in panel.planned)
    ]
    if not panel.planned:
        return _(
            "<b>No plan of promotions or prices is known at all</b>, so the forecast expects weeks like those before. Weeks in "
            "which you promote will sell more."
        )
    if not lacking:
        return ""
    return _(
        "<b>The plan of {what} ends {day}</b>, before the coming weeks: "
        "products that you will promote or price differently sell otherwise than forecast. Add the plan and run again.",
        what=listed(lacking),
        day=day(last_day(panel.weeks[-1])),
    )


def _coverage(score: dict) -> str:
    off = score["coverage_80"] - 0.8
    if abs(off) <= NARROW:
        return ""
    narrow = N_(
        "<b>Ranges were too narrow</b> in the test weeks: {share} of sales fell inside the 80 % range. "
        "Read them as wider than they are."
    )
    wide = N_(
        "<b>Ranges were too wide</b> in the test weeks: {share} of sales fell inside the 80 % range. "
        "Read them as narrower than they are."
    )
    return _(narrow if off < 0 else wide, share=percent(score["coverage_80"]))


def _bias(score: dict) -> str:
    bias = score["bias"]
    if abs(bias) <= BIASED:
        return ""
    high = N_(
        "<b>Forecasts were too high</b> by {share} over all test weeks; they promised too "
        "much. Expect less if these weeks are like the coming ones."
    )
    low = N_(
        "<b>Forecasts were too low</b> by {share} over all test weeks; they promised too "
        "little. Expect more if these weeks are like the coming ones."
    )
    return _(high if bias > 0 else low, share=percent(abs(bias)))


def _curve(still_falling: bool) -> str:
    if not still_falling:
        return ""
    return _(
        "<b>The model had not finished learning</b>: its validation error still fell at the last step. More "
        "<code>finetune.steps</code> would make it better."
    )


def _history(panel: Panel) -> str:
    n_weeks = len(panel.weeks)
    if n_weeks >= FEWEST_WEEKS:
        return ""
    return _(
        "<b>{n} weeks are less than two years</b>: the season of a year cannot be told from what happened once. Holidays "
        "and the turn of the year need your own judgement.",
        n=n_weeks,
    )


def _faults(quality: pd.DataFrame) -> list[str]:
    """The checks of the raw tables by which most rows do not count."""
    lost = quality["action"].astype(str).str.contains("|".join(LOST)) & quality["found"].gt(0)
    rows = quality[lost & ~quality["action"].astype(str).str.contains("in category totals")].nlargest(FAULTS, "share")
    rows = rows[rows["share"] > 0.001]
    if rows.empty:
        return []
    fault = N_("{check} ({share}: {action})")
    named = [
        _(
            fault,
            check=escape(checks.said(str(row.check))),
            share=percent(row.share, 1),
            action=escape(checks.said(str(row.action))),
        )
        for row in rows.itertuples()
    ]
    return [_("<b>Faults of the tables</b>: {faults}. The last section lists all checks.", faults=listed(named))]
