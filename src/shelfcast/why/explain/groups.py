"""The groups of inputs that move a forecast: which fields and columns of a model's tensors belong to which.

Every column of `weeks` and `plan` belongs to one group or to the context. What belongs to the context is never changed:
what a product and a location are (static columns, age), the level that units are relative to, and how far a plan is
known.

The columns of past weeks (sales, and the promotions, prices and calendar that they were made in) belong together:
without its promotion, a peak of the past would be read as news. So `promotion`, `price` and `season` are what is known
of the coming weeks. Where no prices are planned, the last prices seen stand for the coming ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from shelfcast.language import N_
from shelfcast.model.columns import OUTLOOK
from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.frame import PLAN_KNOWN

PLAN, WEEKS, SHOCK, WORDS, PICTURE = "plan", "weeks", "shock", "words", "picture"  # the fields that groups change
NAMES = {  # in the order in which they are shown where units do not decide
    "promotion": N_("Promotion"),
    "price": N_("Price"),
    "season": N_("Season and calendar"),
    "own": N_("Own recent sales"),
    "category": N_("Rest of the category"),
    "regions": N_("Neighbouring regions"),
    "behavior": N_("Shoppers' behaviour"),
    "text": N_("Product text"),
    "picture": N_("Product picture"),
}
CONTEXT = {*PLAN_KNOWN, "on_sale", "age", "level"}
SHOPPERS = {"buyers", "baskets", "repeat_share", "coupons"}  # shoppers' behaviour in the transactions
PRICES_SEEN = {"price_ratio", "discount"}  # of the last prices that were paid


@dataclass(frozen=True)
class Group:
    """A group of inputs: `columns` has the columns of each field that it changes; None is the field as a whole."""

    name: str
    columns: dict[str, list[str] | None]

    @property
    def label(self) -> str:
        return NAMES[self.name]


def groups_of(market: MarketTensors) -> list[Group]:
    """The groups that a market has inputs for, in the order of `NAMES`; without pictures there is no group of them."""
    prices_planned = any(group_of_plan(name, market.planned) == "price" for name in market.names["plan"])
    columns: dict[str, dict] = {name: {} for name in NAMES}
    for name in market.names["plan"]:
        if group := group_of_plan(name, market.planned):
            columns[group].setdefault(PLAN, []).append(name)
    for name in market.names["weeks"]:
        if group := group_of_past(name, prices_planned):
            columns[group].setdefault(WEEKS, []).append(name)
    if len(market.locations) > 1:
        columns["regions"][SHOCK] = None
    if bool(market.tensors["has_text"].any()):
        columns["text"][WORDS] = None
    if bool(market.tensors["has_picture"].any()):
        columns["picture"][PICTURE] = None
    return [Group(name, fields) for name, fields in columns.items() if fields]


def group_of_plan(column: str, planned: list[str]) -> str | None:
    """The group of a known-future column of a coming week; None of the context. planned : of the retailer's plan."""
    if column in CONTEXT:
        return None
    if column == OUTLOOK:  # a zero-shot forecast of the product's own sales
        return "own"
    if column.startswith("category_"):
        return "category"
    if column.startswith("price"):
        return "price"
    return "promotion" if column in planned else "season"


def group_of_past(column: str, prices_planned: bool) -> str | None:
    """The group of a column of past weeks; None of the context."""
    if column in CONTEXT:
        return None
    if column.startswith("event_") or column in SHOPPERS:
        return "behavior"
    return "price" if column in PRICES_SEEN and not prices_planned else "own"
