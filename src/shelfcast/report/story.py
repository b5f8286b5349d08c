"""What the report says: sentences and titles as HTML, whose numbers come from the frames of `outlook`."""

from __future__ import annotations

from html import escape

import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.panel.frame import Panel
from shelfcast.report.names import day, product
from shelfcast.report.theme import percent, units

SOURCES = {  # what the source of the data means for the page
    "simulated": "<b>Nothing on this page is real.</b> Products, shops and sales come from a simulation, so that a "
    "forecast can be compared with the best that is possible.",
    "complete_journey": "Units are those bought by the {n_customers:,} households of a panel (the Complete Journey, "
    "84.51°), not the full sales of the stores. A price is seen only when somebody bought.",
}


def change_words(now: float, before: float, words: tuple[str, str, str] = ("more", "less", "as many as")) -> str:
    """'14 % less than', or 'as many as' where it rounds to nothing."""
    change = now / max(before, 1e-9) - 1
    return words[2] if abs(change) < 0.005 else f"{percent(abs(change))} {words[int(change < 0)]} than"


def span(first: pd.Timestamp, weeks: int) -> str:
    """'from 3 January 2022 to 30 January 2022' for four weeks."""
    return f"from {day(first)} to {day(first + pd.Timedelta(7 * weeks - 1, 'D'))}"


def what_will_sell(chain: pd.Series, first: pd.Timestamp, weeks: int) -> str:
    """The coming weeks' total, its range and its change; `chain` is the chain's row of `outlook.by_location`."""
    inside = chain["q100"] <= chain["last"] <= chain["q900"]
    return (
        f"<b>{units(chain['mean'])} units</b> {span(first, weeks)}; "
        f"four chances in five that it is between {units(chain['q100'])} and {units(chain['q900'])}. That is "
        f"<b>{change_words(chain['mean'], chain['last'])}</b> the {units(chain['last'])} of the last {weeks} weeks, a "
        f"change {'that may still be chance' if inside else 'beyond that range'}."
    )


def how_sure(score: dict, miss: float, gain: tuple[float, float, float], rival: str, n_weeks: int, weeks: int) -> str:
    """What the test weeks showed: coverage, typical error, and the difference to the best alternative."""
    estimate, low, high = gain
    interval = f"90 % confidence interval {percent(low, 1, True)} to {percent(high, 1, True)}"
    verdict = f"{percent(abs(estimate), 1)} {'lower' if estimate < 0 else 'higher'} than that of {rival}"
    doubt = "" if low * high > 0 else ": no clear difference"
    return (
        f"In {n_weeks} test weeks that no training had seen, <b>{percent(score['coverage_80'])}</b> of the products' "
        f"weekly sales fell inside the 80 % range. Forecasts of one product's week missed by "
        f"<b>{percent(score['wape'])}</b> of the units sold, forecasts of the category's {weeks} weeks by "
        f"<b>{percent(miss)}</b>. The forecast's error is {verdict}, the best alternative ({interval}){doubt}."
    )


def _count_and_names(rows: pd.DataFrame, detail, most: int = 2) -> tuple[str, str]:
    """How many products, and the first few of them by name and number, each with its `detail`."""
    names = [f"{product(row.label, row.Index)}{detail(row)}" for row in rows.head(most).itertuples()]
    return "1 product" if len(rows) == 1 else f"{len(rows)} products", " and ".join(names)


def movers(products: pd.DataFrame, word: str, weeks: int) -> str:
    """Products whose last weeks lie below ('rise') or above ('fall') the whole 80 % range, largest move first.

    A product that sold nothing lately is no riser: see `silent`.
    """
    rise = word == "rise"
    below = products["low"].gt(products["last"]) & products["last"].gt(0)
    rows = products[below if rise else products["high"].lt(products["last"])]
    if rows.empty:
        return f"No product is sure to {word}: all sold at least as {'much' if rise else 'little'} lately as is likely."
    rows = rows.loc[(rows["mean"] - rows["last"]).abs().sort_values(ascending=False).index]
    count, names = _count_and_names(rows, lambda row: f" from {units(row.last)} to {units(row.mean)}")
    most = "" if len(rows) == 1 else "; the largest changes"
    return f"<b>{count} very likely to {word}</b> against the last {weeks} weeks{most}: {names}."


def silent(products: pd.DataFrame, weeks: int) -> str:
    """Products without a sale lately of which some were likely: perhaps no longer on the shelf; '' where none."""
    rows = products[products["low"].gt(0) & products["last"].eq(0)].sort_values("mean", ascending=False)
    if rows.empty:
        return ""
    count, names = _count_and_names(rows, lambda row: f" ({units(row.mean)} expected)")
    check = f"check whether {'they are' if len(rows) > 1 else 'it is'} still on the shelf"
    return f"<b>{count} sold nothing</b> in the last {weeks} weeks though sales were likely; {check}: {names}."


def promotions(promoted: pd.DataFrame, first: pd.Timestamp, weeks: int, meta: dict) -> str:
    """How many products are on promotion in the coming weeks and were in the last, and which plans are missing.

    `promoted` has product_id and ds, see `outlook.promoted_weeks`; `first` is the first coming week.
    """
    start, last_day = first - pd.Timedelta(weeks=weeks), day(first - pd.Timedelta(days=1))
    coming = promoted.loc[promoted["ds"] >= first, "product_id"].nunique()
    lately = promoted.loc[promoted["ds"].ge(start) & promoted["ds"].lt(first), "product_id"].nunique()
    text = (
        f"<b>{coming} products have a promotion planned</b> in most stores in the next {weeks} weeks "
        f"({lately} in the last {weeks})."
    )
    if meta.get("plan_assumed"):
        text = (
            f"<b>No promotion plan</b> reaches past {last_day}: the forecast knows none of the coming "
            f"ones ({lately} products were promoted in most stores in the last {weeks} weeks)."
        )
    if meta.get("prices_assumed"):
        text += f" <b>No planned prices</b> reach past {last_day}: the forecast knows none of the coming ones."
    return text


def own_share(weights: dict[str, dict[str, float]], variant: str = "shelfcast") -> str:
    """What a model's own forecast counts in the ensemble: 'which counts 35 % in the ensemble.'; `weights` by level."""
    own = weights["product"]
    return f"which counts {percent(own.get(variant, 0.0) / max(sum(own.values()), 1e-9))} in the ensemble."


SITUATIONS = {
    "nothing_planned": "The tables hold no promotions and no prices, so no forecast knows any.",
    "plan_known": "The retailer's plan covers the coming weeks, and forecasts use it. So did the forecasts of the test "
    "weeks that are scored here.",
    "no_plan": "No plan of promotions and prices covers the coming weeks. The forecasts of the test weeks that are scored "
    "here were made without one too, so that they show what to expect.",
}


def situation(panel: Panel, name: str) -> str:
    """What the page's forecast and the scored ones know of the coming weeks; `name` as `Panel.situation` gives it."""
    return SITUATIONS[name if panel.planned else "nothing_planned"]


def where_regions_come_from(panel: Panel) -> str:
    """What a region of this panel is."""
    n_regions = len(panel.locations) - 1
    if n_regions == 1:
        return "The tables hold no regions, positions of stores or shoppers, so all stores are one region."
    if not all(name.startswith("region_") for name in panel.locations.index[1:]):
        return "Regions are the retailer's own."
    if {"store_latitude", "store_longitude"} <= set(panel.roles["static"]):
        return "A region is a group of stores that lie together."
    if n_regions == panel.locations.loc[CHAIN, "stores"]:
        return "Every store is a region."
    return (
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
    names = [f"{escape(name)} ({percent(regions.loc[name, 'change'], sign=True)})" for name in apart or furthest]
    against = f"the chain's {percent(chain, sign=True)}"
    if apart:
        return f"<b>{' and '.join(names)}</b> {'differ' if len(apart) > 1 else 'differs'} from {against}."
    return f"<b>All regions move alike</b>: {names[0]} is furthest from {against}, within what chance can do."


def limits(panel: Panel) -> list[str]:
    """What a reader must know about the data before acting on the page, most important first."""
    meta, weeks = panel.meta, panel.meta["horizon"]
    last_day, n_weeks = day(panel.weeks[-1] + pd.Timedelta(days=6)), len(panel.weeks)
    observed = panel.frame[(panel.frame["location"] != CHAIN) & (panel.frame["ds"] <= panel.weeks[-1])]
    holidays = panel.frame.groupby("ds")["holiday"].max()
    prices = "uses" if "price" in panel.roles["known_future"] else "does not use"
    reach = f"The data reach from {day(panel.weeks[0])} to {last_day}: {n_weeks} weeks."
    if n_weeks < 104:
        reach += " With less than two years no yearly season can be learned, and every holiday was seen once at most."
    amounts = f" Units are amounts, of which a usual sale has {meta['unit']:g}." if meta.get("amounts") else ""
    lines = [
        reach,
        f"Weekly sales of one product in one region are small: {percent(observed['y'].eq(0).mean())} of those weeks "
        f"are zero, so a range says more than a single number.{amounts}",
        f"The forecast {prices} prices of the coming weeks.",
        f"Public holidays: {holidays.iloc[-2 * weeks : -weeks].sum():.0f} in the last {weeks} weeks, "
        f"{holidays.iloc[-weeks:].sum():.0f} in the next {weeks}.",
    ]
    if "share_of_category" in meta:
        share = percent(meta["share_of_category"])
        lines.insert(2, f"The {len(panel.products)} products shown make {share} of the category's units.")
    first = SOURCES.get(meta["source"])
    return [first.format(**meta), *lines] if first else lines
