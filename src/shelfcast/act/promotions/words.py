"""The promotion plan in sentences for a category manager: what it gains, what it rests on, and what it leaves out."""

from __future__ import annotations

import pandas as pd

from shelfcast.act.promotions.decide import Decided
from shelfcast.act.promotions.plan import said
from shelfcast.language import N_, _, day, joined
from shelfcast.language import sentences as together
from shelfcast.report.theme import money

SHOWN = 3  # promotions that the headline names
LEFT_OUT = (
    N_("stock: whether there is enough of a product to sell what a promotion would"),
    N_("other categories: what shoppers buy besides, or no longer buy"),
    N_("the weeks after: shoppers who fill their cupboards in a promotion buy less later"),
    N_("competitors, who may answer"),
    N_(
        "that the promotions so far were chosen, for products and weeks in which much was expected of them; the estimate of "
        "causes corrects for what the tables show of this, and for nothing else"
    ),
    N_("that two promotions of one category in a week weaken each other more than their single effects say"),
)


def headline(decided: Decided, labels: pd.Series | None = None) -> str:
    """The plan in two or three sentences.

    Parameters
    ----------
    labels : product_id -> human name; the ids without.
    """
    n = int(decided.chosen.plan.sum())
    if not n:
        none = N_("No promotion is worth its cost: none gains margin under these terms ({terms}).")
        if decided.options.goal == "units":
            none = N_("No promotion is worth its cost: none gains units under these terms ({terms}).")
        return together([_(none, terms=said(decided.options)), *decided.gains.terms.notes])
    rows = decided.frame
    column = "money" if decided.options.goal == "margin" else "units"
    best = rows[rows["chosen"]].nlargest(SHOWN, column)
    names = best["product_id"] if labels is None else best["product_id"].map(labels).fillna(best["product_id"])
    one = N_("{product} in the week of {day}")
    largest = joined([_(one, product=name, day=day(ds)) for name, ds in zip(names, best["ds"], strict=True)], ";")
    totals = decided.gains.total(decided.chosen.plan)
    text = _(
        "{n} promotions of {products} products ({terms}) gain {money} of margin against no promotion at all, with "
        "{units} units more of the promoted products and {others} "
        "of the category's others. The largest gains: {largest}.",
        n=n,
        products=rows.loc[rows["chosen"], "product_id"].nunique(),
        terms=said(decided.options),
        money=_range(totals["money"], money),
        units=_range(totals["units"], _units),
        others=_range(totals["others"], _units),
        largest=largest,
    )
    if not decided.chosen.gap:
        return text
    return together([text, _("The plan is within {gap:.1%} of the best.", gap=decided.chosen.gap)])


def effect(decided: Decided) -> str:
    """What a promotion does to its own product by the forecasts, and by the estimate of causes beside it."""
    gains, on_sale = decided.gains, decided.gains.on_sale
    base = gains.base[on_sale].sum()
    if decided.causes.own is None:
        return together(
            [_("What promotions cause could not be estimated beside the forecasts."), *decided.causes.notes]
        )
    changes = (_change(units[on_sale].sum() / base) for units in (gains.expected["units"], gains.model, gains.cause))
    plan, model, cause = changes
    return _(
        "A promotion of a product changes its units by {plan} as this plan counts it, {model} by the forecasting models "
        "alone, {cause} by the estimate of causes alone. The estimate compares weeks of the same product "
        "that are alike in season, price so far and sales before; it holds if nothing else moved both promotions and sales.",
        plan=plan,
        model=model,
        cause=cause,
    )


def against_present(decided: Decided) -> str:
    """How the plan compares with the retailer's own."""
    now = decided.planned_now
    if now is None:
        return _("The retailer's own plan does not reach the coming weeks, so that there is nothing to compare with.")
    gains = decided.gains
    return _(
        "The retailer's own plan has {n} promotions, which under the same terms would gain "
        "{money} of margin; {both} of them are in this plan as well.",
        n=int(now.sum()),
        money=money(gains.expected["money"][now & gains.on_sale].sum()),
        both=int((decided.chosen.plan & now).sum()),
    )


def left_out() -> str:
    """What the plan does not look at."""
    numbered = N_("({i}) {text}")
    parts = [_(numbered, i=i, text=_(text)) for i, text in enumerate(LEFT_OUT, 1)]
    return _("The plan leaves out {parts}.", parts=joined(parts, ";"))


def sentences(decided: Decided, labels: pd.Series | None = None) -> list[str]:
    """All of it, in the page's order."""
    notes = [*decided.gains.terms.notes, *decided.gains.notes]
    return [headline(decided, labels), effect(decided), against_present(decided), together(notes), left_out()]


def _range(total: tuple[float, float, float], write) -> str:
    """'120 (four chances in five between 60 and 190)'."""
    mean, low, high = (write(value) for value in total)
    return _("{mean} (four chances in five between {low} and {high})", mean=mean, low=low, high=high)


def _units(value: float) -> str:
    rounded = round(value)
    return ("−" if rounded < 0 else "") + f"{abs(rounded):,}"


def _change(share: float) -> str:
    """'+120 %' for a share of 1.2."""
    return _("{sign}{share} %", sign="−" if share < 0 else "+", share=abs(round(100 * share)))
