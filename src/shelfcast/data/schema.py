"""The raw tables of a retailer, declared as data: columns, their kinds, rules and keys.

`checks.py` holds a table against this declaration; docs/tables.md shows it to people who bring their own tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CHAIN = "chain"  # the location that is all stores together


@dataclass(frozen=True)
class Rule:
    """A condition in SQL that no row may meet, `{}` being the column, and what is expected instead."""

    fault: str
    expected: str


@dataclass(frozen=True)
class Column:
    """One column.

    kind : `id` and `text` are read as strings, `number` and `flag` (which may be yes or no) as double, `time` as a local
        timestamp, `week` as a date.
    nullable : False where every row needs a value.
    """

    kind: Literal["id", "text", "number", "flag", "time", "week"]
    required: bool = True
    nullable: bool = False
    rule: Rule | None = None


@dataclass(frozen=True)
class Table:
    """One table.

    key : columns that identify a row; those that the table does not have are left out.
    others : what columns that are not declared are: nothing, channels of promotion, or attributes of any type.
    """

    columns: dict[str, Column]
    key: tuple[str, ...] = ()
    required: bool = False
    others: Literal["ignored", "channels", "attributes"] = "ignored"


ID, TIME = Column("id"), Column("time")
OPTIONAL_ID, OPTIONAL_NUMBER = (Column(kind, required=False, nullable=True) for kind in ("id", "number"))
_NOT_NEGATIVE = Rule("{} < 0", "must not be negative: net returns out first")
_NOT_NEGATIVE_NUMBER = Rule("{} < 0", "must not be negative")
UNITS = Column("number", rule=_NOT_NEGATIVE)
WEEK = Column(
    "week",
    rule=Rule("isodow({}) <> 1", "must be the Monday on which the week starts (or set markets.<name>.read.week_stamp)"),
)
CHANNEL = Column("flag", rule=Rule("NOT {} BETWEEN 0 AND 1", "is a channel of promotion and must hold 0 to 1"))
_SHARE = Rule("NOT {} BETWEEN 0 AND 1", "must be the share of the week that the shelf was empty, 0 to 1")
_LATITUDE = Rule("NOT {} BETWEEN -90 AND 90", "must be degrees, -90 to 90")
_LONGITUDE = Rule("NOT {} BETWEEN -180 AND 180", "must be degrees, -180 to 180")

SCHEMA = {
    "transactions": Table(
        {
            "timestamp": TIME,
            "store_id": ID,
            "product_id": ID,
            "quantity": UNITS,
            "sales_value": UNITS,  # money paid
            "customer_id": OPTIONAL_ID,
            "basket_id": OPTIONAL_ID,
            "discount": OPTIONAL_NUMBER,  # money saved
            "coupon": Column("flag", required=False, nullable=True),  # above 0 where a coupon was redeemed
        },
        required=True,
    ),
    "products": Table(
        {
            "product_id": ID,
            "category": Column("text", nullable=True),
            "launch": Column("time", required=False, nullable=True),
        },
        key=("product_id",),
        required=True,
        others="attributes",
    ),
    "promotions": Table(
        {"product_id": ID, "store_id": ID, "week": WEEK},
        key=("product_id", "store_id", "week"),
        others="channels",
    ),
    "prices": Table(
        {
            "product_id": ID,
            "week": WEEK,
            "price": Column("number", rule=Rule("{} <= 0", "must be above zero")),
            "store_id": OPTIONAL_ID,  # all rows, or none
        },
        key=("product_id", "week", "store_id"),
    ),
    "stockouts": Table(
        {
            "product_id": ID,
            "store_id": ID,
            "week": WEEK,
            "share": Column("number", required=False, nullable=True, rule=_SHARE),  # of the week with an empty shelf
        },
        key=("product_id", "store_id", "week"),
    ),
    "stores": Table(
        {
            "store_id": ID,
            "latitude": Column("number", required=False, nullable=True, rule=_LATITUDE),
            "longitude": Column("number", required=False, nullable=True, rule=_LONGITUDE),
        },
        key=("store_id",),
        others="attributes",
    ),
    "behavior": Table(
        {
            "timestamp": TIME,
            "product_id": ID,
            "event": Column("text"),
            "store_id": OPTIONAL_ID,  # empty: seen by the whole chain
            "count": Column("number", required=False, nullable=True, rule=_NOT_NEGATIVE),
        }
    ),
}

_ABOVE_ZERO = Rule("{} <= 0", "must be above zero")
OPTIONAL_AMOUNT = Column("number", required=False, nullable=True, rule=_NOT_NEGATIVE_NUMBER)
OPTIONAL_SIZE = Column("number", required=False, nullable=True, rule=_ABOVE_ZERO)
ORDER_TABLES = {  # in a folder of their own (`orders.tables`), since they change without any sale
    "stock": Table(
        {
            "product_id": ID,
            "store_id": OPTIONAL_ID,
            "location": OPTIONAL_ID,  # a region or the chain, where stock is not counted by store
            "on_hand": Column("number", rule=_NOT_NEGATIVE_NUMBER),
            "on_order": OPTIONAL_AMOUNT,
        },
        key=("product_id", "store_id", "location"),
    ),
    "terms": Table(
        {
            "product_id": ID,
            "pack_size": OPTIONAL_SIZE,
            "min_order": OPTIONAL_AMOUNT,
            "shelf_life": OPTIONAL_SIZE,  # weeks from arrival
            "unit_cost": OPTIONAL_SIZE,
            "price": OPTIONAL_SIZE,
        },
        key=("product_id",),
    ),
}
DECLARED = SCHEMA | ORDER_TABLES
