"""Options of decisions: what orders, promotion plans and recommendations are made by (notebook 7)."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from shelfcast.validate import STRICT, param


@dataclass(frozen=True, config=STRICT)
class Orders:
    """What to order: see `shelfcast.act.orders`."""

    lead_time: int = param(1, "weeks from an order to its arrival", ge=0)
    service_level: float = param(0.95, "share of demand that stock should meet", gt=0, lt=1)


@dataclass(frozen=True, config=STRICT)
class Promotions:
    """What to promote: see `shelfcast.act.promotions`."""

    goal: Literal["margin", "units"] = param("margin", "what a plan should gain most of")
    slots: int = param(10, "products promoted in a week at most; 0 for no promotion", ge=0)
    max_weeks: int = param(2, "of the coming weeks, in how many a product is promoted at most", ge=1)
    apart: bool = param(False, "whether a product's promotions may not be in weeks that follow one another")
    budget: float | None = param(
        None, "money for fixed costs and price cuts of all promotions; null for no limit", ge=0
    )
    fixed_cost: float = param(0.0, "money that one promotion of a product costs in a week, besides the cut", ge=0)
    cut: float | None = param(
        None, "share that a promotion takes off the price; null for the usual one so far", ge=0, lt=1
    )
    funded: float = param(0.0, "share of the cut that suppliers pay", ge=0, le=1)
    margin: float = param(0.3, "of the regular price, where no unit cost is known", gt=0, lt=1)
    channels: dict[str, float] = param(
        {}, "channel: share of stores that take part; empty for all stores, usual channels"
    )


@dataclass(frozen=True, config=STRICT)
class Recommend:
    """What to recommend to whom: see `shelfcast.act.recommend`."""

    n_items: int = param(10, "products recommended to a shopper", ge=1)
