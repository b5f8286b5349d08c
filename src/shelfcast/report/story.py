"""What the report says: sentences and titles as HTML, whose numbers come from the frames of `outlook`."""

from __future__ import annotations

from html import escape

import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.language import N_, _, day, ngettext, period_days, sentences
from shelfcast.panel.frame import Panel
from shelfcast.report.evidence.limits import limits as limits
from shelfcast.report.names import product
from shelfcast.report.theme import percent, units

MORE = (N_("{share} more than"), N_("{share} less than"), N_("as many as"))
HIGHER = (N_("{share} higher than"), N_("{share} lower than"), N_("as high as"))


def change_words(now: float, before: float, words: tuple[str, str, str] = MORE) -> str:
    """'14 % less than', or 'as many as' where it rounds to nothing; words : messages for more, less and the same."""
    change = now / max(before, 1e-9) - 1
    return _(words[2]) if abs(change) < 0.005 else _(words[int(change < 0)], share=percent(abs(change)))


def span(first: pd.Timestamp, weeks: int) -> str:
    """'from 3 January 2022 to 30 January 2022' for four weeks."""
    return _("from {first} to {last}", first=day(first), last=day(first + pd.Timedelta(period_days() * weeks - 1, "D")))


def what_will_sell(chain: pd.Series, first: pd.Timestamp, weeks: int) -> str:
    """The coming weeks' total, its range and its change; `chain` is the chain's row of `outlook.by_location`."""
    inside = chain["q100"] <= chain["last"] <= chain["q900"]
    return _(
        "<b>{mean} units</b> {span}; four chances in five that it is between {low} and {high}. That is "
        "<b>{change}</b> the {last} of the last {weeks} weeks, a change {verdict}.",
        mean=units(chain["mean"]),
        span=span(first, weeks),
        low=units(chain["q100"]),
        high=units(chain["q900"]),
        change=change_words(chain["mean"], chain["last"]),
        last=units(chain["last"]),
        weeks=weeks,
        verdict=_("that may still be chance") if inside else _("beyond that range"),
    )


def how_sure(score: dict, miss: float, gain: tuple[float, float, float], rival: str, n_weeks: int, weeks: int) -> str:
    """What the test weeks showed: coverage, typical error, and the difference to the best alternative."""
    estimate, low, high = gain
    better = N_("{share} lower than that of {rival}") if estimate < 0 else N_("{share} higher than that of {rival}")
    return _(
        "In {n_weeks} test weeks that no training had seen, <b>{coverage}</b> of the products' "
        "weekly sales fell inside the 80 % range. Forecasts of one product's week missed by "
        "<b>{wape}</b> of the units sold, forecasts of the category's {weeks} weeks by "
        "<b>{miss}</b>. The forecast's error is {verdict}, the best alternative "
        "(90 % confidence interval {low} to {high}){doubt}.",
        n_weeks=n_weeks,
        coverage=percent(score["coverage_80"]),
        wape=percent(score["wape"]),
        weeks=weeks,
        miss=percent(miss),
        verdict=_(better, share=percent(abs(estimate), 1), rival=rival),
        low=percent(low, 1, True),
        high=percent(high, 1, True),
        doubt="" if low * high > 0 else _(": no clear difference"),
    )


def _count_and_names(rows: pd.DataFrame, detail, most: int = 2) -> tuple[str, str]:
    """How many products, and the first few of them by name and number, each with its `detail`."""
    names = [f"{product(row.label, row.Index)}{detail(row)}" for row in rows.head(most).itertuples()]
    return ngettext("1 product", "{n} products", len(rows)), _and(names)


def movers(products: pd.DataFrame, word: str, weeks: int) -> str:
    """Products whose last weeks lie below ('rise') or above ('fall') the whole 80 % range, largest move first.

    A product that sold nothing lately is no riser: see `silent`.
    """
    rise = word == "rise"
    below = products["low"].gt(products["last"]) & products["last"].gt(0)
    rows = products[below if rise else products["high"].lt(products["last"])]
    if rows.empty and rise:
        return _("No product is sure to rise: all sold at least as much lately as is likely.")
    if rows.empty:
        return _("No product is sure to fall: all sold at least as little lately as is likely.")
    rows = rows.loc[(rows["mean"] - rows["last"]).abs().sort_values(ascending=False).index]
    moved = N_(" from {last} to {mean}")
    count, names = _count_and_names(rows, lambda row: _(moved, last=units(row.last), mean=units(row.mean)))
    message = N_("<b>{count} very likely to rise</b> against the last {weeks} weeks{most}: {names}.")
    if not rise:
        message = N_("<b>{count} very likely to fall</b> against the last {weeks} weeks{most}: {names}.")
    most = "" if len(rows) == 1 else _("; the largest changes")
    return _(message, count=count, weeks=weeks, most=most, names=names)


def silent(products: pd.DataFrame, weeks: int) -> str:
    """Products without a sale lately of which some were likely: perhaps no longer on the shelf; '' where none."""
    rows = products[products["low"].gt(0) & products["last"].eq(0)].sort_values("mean", ascending=False)
    if rows.empty:
        return ""
    count, names = _count_and_names(rows, lambda row: _(" ({mean} expected)", mean=units(row.mean)))
    return ngettext(
        "<b>{count} sold nothing</b> in the last {weeks} weeks though sales were likely; check whether it is still on "
        "offer: {names}.",
        "<b>{count} sold nothing</b> in the last {weeks} weeks though sales were likely; check whether they are still on "
        "offer: {names}.",
        len(rows),
        count=count,
        weeks=weeks,
        names=names,
    )


def promotions(promoted: pd.DataFrame, first: pd.Timestamp, weeks: int, meta: dict) -> str:
    """How many products are on promotion in the coming weeks and were in the last, and which plans are missing.

    `promoted` has product_id and ds, see `outlook.promoted_weeks`; `first` is the first coming week.
    """
    start, last_day = first - pd.Timedelta(days=period_days() * weeks), day(first - pd.Timedelta(days=1))
    coming = promoted.loc[promoted["ds"] >= first, "product_id"].nunique()
    lately = promoted.loc[promoted["ds"].ge(start) & promoted["ds"].lt(first), "product_id"].nunique()
    text = _(
        "<b>{coming} products have a promotion planned</b> in most stores in the next {weeks} weeks "
        "({lately} in the last {weeks}).",
        coming=coming,
        weeks=weeks,
        lately=lately,
    )
    if meta.get("plan_assumed"):
        text = _(
            "<b>No promotion plan</b> reaches past {day}: the forecast knows none of the coming "
            "ones ({lately} products were promoted in most stores in the last {weeks} weeks).",
            day=last_day,
            lately=lately,
            weeks=weeks,
        )
    if not meta.get("prices_assumed"):
        return text
    prices = N_("<b>No planned prices</b> reach past {day}: the forecast knows none of the coming ones.")
    return sentences([text, _(prices, day=last_day)])


def own_share(weights: dict[str, dict[str, float]], variant: str = "shelfcast") -> str:
    """What a model's own forecast counts in the ensemble: 'which counts 35 % in the ensemble.'; `weights` by level."""
    own = weights["product"]
    share = percent(own.get(variant, 0.0) / max(sum(own.values()), 1e-9))
    return _("which counts {share} in the ensemble.", share=share)


SITUATIONS = {
    "nothing_planned": N_("The tables hold no promotions and no prices, so no forecast knows any."),
    "plan_known": N_(
        "The retailer's plan covers the coming weeks, and forecasts use it. So did the forecasts of the test "
        "weeks that are scored here."
    ),
    "no_plan": N_(
        "No plan of promotions and prices covers the coming weeks. The forecasts of the test weeks that are scored "
        "here were made without one too, so that they show what to expect."
    ),
}


def situation(panel: Panel, name: str) -> str:
    """What the page's forecast and the scored ones know of the coming weeks; `name` as `Panel.situation` gives it."""
    key = name if panel.planned else "nothing_planned"
    return _(SITUATIONS[key])


def where_regions_come_from(panel: Panel) -> str:
    """What a region of this panel is."""
    n_regions = len(panel.locations) - 1
    if n_regions == 1:
        return _("The tables hold no regions, positions of stores or shoppers, so all stores are one region.")
    if not all(name.startswith("region_") for name in panel.locations.index[1:]):
        return _("Regions are the retailer's own.")
    if {"store_latitude", "store_longitude"} <= set(panel.roles["static"]):
        return _("A region is a group of stores that lie together.")
    if n_regions == panel.locations.loc[CHAIN, "stores"]:
        return _("Every store is a region.")
    return _(
        "The data hold no positions of stores. A region is a group of stores in which the same households shop; regions "
        "that share many shoppers stand side by side."
    )


def regions_apart(regions: pd.DataFrame, chain: float) -> list[str]:
    """Regions whose 80 % range of change leaves out the chain's change, the furthest first."""
    distance = (regions["change"] - chain).abs().dropna().sort_values(ascending=False)
    return [name for name in distance.index if not regions.loc[name, "low"] <= chain <= regions.loc[name, "high"]]


def differing(regions: pd.DataFrame, chain: float) -> str:
    """Regions whose change range leaves out the chain's change; else the one furthest from it."""
    apart = regions_apart(regions, chain)
    furthest = (regions["change"] - chain).abs().sort_values(ascending=False).index[:1]
    named = N_("{name} ({change})")
    names = [
        _(named, name=escape(name), change=percent(regions.loc[name, "change"], sign=True))
        for name in apart or furthest
    ]
    against = percent(chain, sign=True)
    if apart:
        one, many = (
            N_("<b>{names}</b> differs from the chain's {chain}."),
            N_("<b>{names}</b> differ from the chain's {chain}."),
        )
        return _(many if len(apart) > 1 else one, names=_and(names), chain=against)
    return _(
        "<b>No region clearly moves apart</b>: {name} is furthest from the chain's {chain}, within what chance can do.",
        name=names[0],
        chain=against,
    )


def _and(names: list[str]) -> str:
    """'a and b and c': names that hold a number each are not counted by commas."""
    return _(" and ").join(names)
