"""The promotion plan in sentences for a category manager: what it gains, what it rests on, and what it leaves out."""

from __future__ import annotations

import pandas as pd

from shelfcast.act.promotions.decide import Decided
from shelfcast.act.promotions.plan import said
from shelfcast.report.names import day
from shelfcast.report.theme import money

SHOWN = 3  # promotions that the headline names
LEFT_OUT = (
    "stock: whether there is enough of a product to sell what a promotion would",
    "other categories: what shoppers buy besides, or no longer buy",
    "the weeks after: shoppers who fill their cupboards in a promotion buy less later",
    "competitors, who may answer",
    "that the promotions so far were chosen, for products and weeks in which much was expected of them; the estimate of "
    "causes corrects for what the tables show of this, and for nothing else",
    "that two promotions of one category in a week weaken each other more than their single effects say",
)


def headline(decided: Decided, labels: pd.Series | None = None) -> str:
    """The plan in two or three sentences.

    Parameters
    ----------
    labels : product_id -> human name; the ids without.
    """
    n = int(decided.chosen.plan.sum())
    if not n:
        return (
            f"No promotion is worth its cost: none gains {_goal(decided)} under these terms ({said(decided.options)}). "
            f"{' '.join(decided.gains.terms.notes)}"
        )
    rows = decided.frame
    column = "money" if decided.options.goal == "margin" else "units"
    best = rows[rows["chosen"]].nlargest(SHOWN, column)
    names = best["product_id"] if labels is None else best["product_id"].map(labels).fillna(best["product_id"])
    listed = "; ".join(f"{name} in the week of {day(week)}" for name, week in zip(names, best["ds"], strict=True))
    totals = decided.gains.total(decided.chosen.plan)
    gap = f" The plan is within {decided.chosen.gap:.1%} of the best." if decided.chosen.gap else ""
    return (
        f"{n} promotions of {rows.loc[rows['chosen'], 'product_id'].nunique()} products ({said(decided.options)}) gain "
        f"{_range(totals['money'], money)} of margin against no promotion at all, with "
        f"{_range(totals['units'], _units)} units more of the promoted products and {_range(totals['others'], _units)} "
        f"of the category's others. The largest gains: {listed}.{gap}"
    )


def effect(decided: Decided) -> str:
    """What a promotion does to its own product by the forecasts, and by the estimate of causes beside it."""
    gains, on_sale = decided.gains, decided.gains.on_sale
    base = gains.base[on_sale].sum()
    if decided.causes.own is None:
        return "What promotions cause could not be estimated beside the forecasts. " + " ".join(decided.causes.notes)
    by = {
        "as this plan counts it": gains.expected["units"],
        "by the forecasting models alone": gains.model,
        "by the estimate of causes alone": gains.cause,
    }
    parts = [f"{_change(units[on_sale].sum() / base)} {name}" for name, units in by.items()]
    return (
        f"A promotion of a product changes its units by {', '.join(parts)}. The estimate compares weeks of the same product "
        "that are alike in season, price so far and sales before; it holds if nothing else moved both promotions and sales."
    )


def against_present(decided: Decided) -> str:
    """How the plan compares with the retailer's own."""
    now = decided.planned_now
    if now is None:
        return "The retailer's own plan does not reach the coming weeks, so that there is nothing to compare with."
    gains = decided.gains
    both = int((decided.chosen.plan & now).sum())
    return (
        f"The retailer's own plan has {int(now.sum())} promotions, which under the same terms would gain "
        f"{money(gains.expected['money'][now & gains.on_sale].sum())} of margin; {both} of them are in this plan as well."
    )


def left_out() -> str:
    """What the plan does not look at."""
    return f"The plan leaves out {'; '.join(f'({i}) {text}' for i, text in enumerate(LEFT_OUT, 1))}."


def sentences(decided: Decided, labels: pd.Series | None = None) -> list[str]:
    """All of it, in the page's order."""
    notes = [*decided.gains.terms.notes, *decided.gains.notes]
    return [headline(decided, labels), effect(decided), against_present(decided), " ".join(notes), left_out()]


def _goal(decided: Decided) -> str:
    return "margin" if decided.options.goal == "margin" else "units"


def _range(total: tuple[float, float, float], write) -> str:
    """'120 (four chances in five between 60 and 190)'."""
    mean, low, high = total
    return f"{write(mean)} (four chances in five between {write(low)} and {write(high)})"


def _units(value: float) -> str:
    rounded = round(value)
    return ("−" if rounded < 0 else "") + f"{abs(rounded):,}"


def _change(share: float) -> str:
    """'+120 %' for a share of 1.2."""
    return f"{'−' if share < 0 else '+'}{abs(round(100 * share))} %"
