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

    n_items: int = param(
        10, "products recommended to a shopper: as many she bought before, and as many she did not", ge=1
    )
    n_groups: int = param(6, "groups of shoppers in the report at most", ge=1, le=20)
    smallest_group: int = param(20, "shoppers in a group at least; smaller ones are joined to others", ge=20)
    seed: int = param(0, "of factorisations, groups, and what is drawn by chance")
