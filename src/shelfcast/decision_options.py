"""Options of decisions: what orders, promotion plans and recommendations are made by (notebook 7)."""

from __future__ import annotations

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

    slots: int = param(10, "products promoted in a week at most", ge=1)


@dataclass(frozen=True, config=STRICT)
class Recommend:
    """What to recommend to whom: see `shelfcast.act.recommend`."""

    n_items: int = param(10, "products recommended to a shopper", ge=1)
