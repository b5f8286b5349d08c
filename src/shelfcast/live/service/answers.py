"""What the service is asked and answers, as typed models with examples; /openapi.json is made of them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from shelfcast.live.store.events import Event

Situation = Literal["plan_known", "no_plan"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Day = Annotated[date, Field(ge=date(1970, 1, 1), lt=date(2200, 1, 1))]
# one event or many: told apart by whether it is a list, so that an error names the one field that is wrong
Events = Annotated[
    Annotated[list[Event], Tag("many")] | Annotated[Event, Tag("one")],
    Discriminator(lambda value: "many" if isinstance(value, list) else "one"),
]


class Stored(BaseModel):
    """How many events of a request are new, were stored before, and came after their week was closed."""

    new: int
    repeated: int
    late: int


class ClosedWeek(BaseModel):
    """A week that a request closed, and how many sales of it were stored by then."""

    week: date
    sales: int


class Closed(BaseModel):
    """The last closed week, whether this request closed it, and all weeks that it closed."""

    week: date
    newly_closed: bool
    closed: list[ClosedWeek]


class Model(BaseModel):
    """What made a forecast: version is the md5 of models, weights and calibration; members are shares by level."""

    method: str
    version: str
    members: dict[str, dict[str, float]]


class Week(BaseModel):
    """Units of one coming week, named by its Monday; quantile -> units."""

    horizon: int
    week: date
    mean: float
    quantiles: dict[str, float]


class Series(BaseModel):
    """The forecast of one product at one location."""

    product_id: str
    location: str
    weeks: list[Week]


class Origin(BaseModel):
    """What forecasts were made of.

    cutoff : Monday of the last week that was seen. situation : whether the retailer's plan was read. plan : what its plan
    covers of the coming weeks. last_closed_week : the run's last one where none was closed since.
    """

    cutoff: date
    situation: Situation
    plan: Situation
    last_closed_week: date
    computed: str
    model: Model


class Forecast(Series):
    """One series and what it was made of."""

    origin: Origin


class Forecasts(BaseModel):
    """One page of series. next : the offset of the next page, null on the last."""

    origin: Origin
    total: int
    offset: int
    next: int | None
    series: list[Series]


class Reason(BaseModel):
    """Units that a group of inputs moves (exact Shapley value), over all coming weeks."""

    label: str
    units: float


class Explanation(BaseModel):
    """From the usual forecast to this one: the units of all reasons add up to `forecast` - `usual`.

    The forecast is that of the trained models alone (`variant`), not the ensemble's.
    """

    product_id: str
    location: str
    cutoff: date
    variant: str
    usual: float
    forecast: float
    reasons: list[Reason]


class PlanChange(BaseModel):
    """A change of the plan; what is not stated stays. promotion : channel -> share of stores, 0 to 1."""

    model_config = ConfigDict(extra="forbid")

    products: list[str] = Field(min_length=1, max_length=100)
    locations: list[str] = Field(min_length=1, max_length=100)
    weeks: list[Day] = Field(min_length=1, max_length=53, description="Mondays of coming weeks")
    price_factor: Finite | None = Field(None, description="times the planned price")
    price: Finite | None = Field(None, description="shelf price, in money; not beside price_factor")
    promotion: dict[str, Finite] | None = None


class Plan(BaseModel):
    """Changes, applied one after the other."""

    model_config = ConfigDict(extra="forbid")

    changes: list[PlanChange] = Field(min_length=1, max_length=100)


class Difference(BaseModel):
    """Units of one series over its weeks under both plans; low and high hold four in five of the differences."""

    product_id: str
    location: str
    stated: bool
    present: float
    other: float
    difference: float
    low: float
    high: float


class WhatIf(BaseModel):
    """Every series that the changes move, by the trained models alone."""

    cutoff: date
    variant: str
    series: list[Difference]


class Health(BaseModel):
    """status : `failing` where the last computation failed and the old forecasts are kept; `computing` while one runs.
    note : of closed weeks that the forecasts could not see, as too few sales came; null without any.
    """

    status: Literal["ok", "computing", "failing"]
    market: str
    cutoff: date
    last_closed_week: date
    note: str | None = None


class Fault(BaseModel):
    """code : for programs. message : for people. field : of the request, where one is wrong."""

    code: str
    message: str
    field: str | None = None


class Error(BaseModel):
    """The one shape of all errors."""

    error: Fault
