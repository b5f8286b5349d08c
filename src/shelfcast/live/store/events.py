"""Events: sales, prices, promotions and behaviour, as they are sent, one at a time.

Ids are the sender's: an event that is sent again counts once. Times are local, as in the raw tables (docs/tables.md).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

LONGEST = 200  # letters of an id
FIRST, LAST = date(1970, 1, 1), date(2200, 1, 1)


def _of_text(value: Any) -> Any:
    """pydantic would take numbers as seconds since 1970, which no one means."""
    if not isinstance(value, str | date):
        raise ValueError("write it as text, such as 2026-11-23 or 2026-11-23T17:05:00")
    return value


def _local(value: datetime) -> datetime:
    if value.tzinfo is not None:
        raise ValueError("has a time zone; send the stores' local time, without one")
    return _in_range(value)


def _in_range(value: Any) -> Any:
    day = value.date() if isinstance(value, datetime) else value
    if not FIRST <= day < LAST:
        raise ValueError(f"is not between {FIRST} and {LAST}")
    return value


def _monday(value: date) -> date:
    if value.weekday():
        monday = value - timedelta(days=value.weekday())
        raise ValueError(f"is no Monday; the week of {value} starts on {monday}")
    return _in_range(value)


def _printable(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a zero byte")
    return value


Id = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST, strict=True),
    AfterValidator(_printable),
]
Local = Annotated[datetime, BeforeValidator(_of_text), AfterValidator(_local)]
Monday = Annotated[date, BeforeValidator(_of_text), AfterValidator(_monday)]
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]


class Base(BaseModel):
    """What every event has. `id` is the sender's, `product_id` the tables'."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Id
    product_id: Id

    @property
    def monday(self) -> date:
        """The Monday of the event's week."""
        day = self.timestamp.date() if "timestamp" in type(self).model_fields else self.week
        return day - timedelta(days=day.weekday())


class Sale(Base):
    """One line of a receipt: quantity in units, sales_value the money paid for all of them, discount the money saved."""

    kind: Literal["sale"]
    timestamp: Local
    store_id: Id
    quantity: Amount
    sales_value: Amount
    customer_id: Id | None = None
    basket_id: Id | None = None
    discount: Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False, strict=True)] | None = None
    coupon: bool | None = None


class Price(Base):
    """The regular or planned price of a unit in a week, of all stores or of one."""

    kind: Literal["price"]
    week: Monday
    price: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False, strict=True)]
    store_id: Id | None = None


class Promotion(Base):
    """How a product is promoted in a store's week: channel -> share of the week, 0 to 1; a channel not named is 0."""

    kind: Literal["promotion"]
    store_id: Id
    week: Monday
    channels: Annotated[dict[Id, Share], Field(min_length=1, max_length=50)]


class Behavior(Base):
    """What shoppers did with a product `count` times: view, click, cart …; without a store, online."""

    kind: Literal["behavior"]
    timestamp: Local
    event: Id
    store_id: Id | None = None
    count: Annotated[int, Field(ge=1, le=10**9, strict=True)] = 1


Event = Annotated[Sale | Price | Promotion | Behavior, Field(discriminator="kind")]
KINDS = {"sale": Sale, "price": Price, "promotion": Promotion, "behavior": Behavior}
