"""Options of decisions: what orders, promotion plans and recommendations are made by (notebook 7)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast.validate import STRICT, param


@dataclass(frozen=True, config=STRICT)
class Orders:
    """What to order: see `shelfcast.act.orders` and docs/decisions.md."""

    stocked: bool = param(True, "false where nothing is kept in stock, as of parcels or accounts: nothing is ordered")
    method: str = param("ensemble", "the forecast that orders follow: the ensemble, a variant or a peer")
    lead_time: int = param(1, "weeks (days where prepare.freq is D) from an order to its arrival", ge=0)
    review_period: int = param(1, "weeks (or days) from one order to the next", ge=1)
    rule: Literal["fill_rate", "cost"] = param("fill_rate", "stock for a share of demand, or for the least cost")
    service_level: float = param(0.95, "share of demand that stock should meet, for the rule fill_rate", gt=0, lt=1)
    margin: float = param(0.3, "share of the price that a sale earns, where terms.unit_cost gives no cost", gt=0, lt=1)
    holding: float = param(0.02, "share of its cost that a unit in stock costs a week: capital, space, spoilage", gt=0)
    pack_size: float = param(1, "units in a pack, where terms.pack_size gives none", gt=0)
    min_order: float = param(0, "units of the smallest order, where terms.min_order gives none", ge=0)
    shelf_life: float | None = param(
        None, "weeks (or days) from arrival to expiry, where terms.shelf_life gives none", gt=0
    )
    tables: str | None = param(None, "folder of the tables stock and terms, as CSV or Parquet; null for none")
    replay_lead_times: list[Annotated[int, Field(ge=0)]] = param(
        [1, 2], "lead times that the replay of past weeks compares"
    )
    n_paths: int = param(256, "demand paths drawn of a series, a power of two", ge=16)
    seed: int = param(0, "of the demand paths and the bootstrap")


@dataclass(frozen=True, config=STRICT)
class Promotions:
    """What to promote: see `shelfcast.act.promotions`."""

    advised: bool = param(True, "false where the page should not say what to promote, as of financial products")
    goal: Literal["margin", "units"] = param("margin", "what a plan should gain most of")
    slots: int = param(10, "products promoted in a week (or day) at most; 0 for no promotion", ge=0)
    max_weeks: int = param(2, "of the coming weeks (or days), in how many a product is promoted at most", ge=1)
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

    n_items: int = param(
        10, "products recommended to a shopper: as many she bought before, and as many she did not", ge=1
    )
    n_groups: int = param(6, "groups of shoppers in the report at most", ge=1, le=20)
    smallest_group: int = param(20, "shoppers in a group at least; smaller ones are joined to others", ge=20)
    seed: int = param(0, "of factorisations, groups, and what is drawn by chance")
