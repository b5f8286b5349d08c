"""What a person may change of a plan, and sentences for what cannot be changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.panel.frame import Panel

FACTORS = (0.3, 3.0)  # of a planned price; beyond them nothing that was learned holds
PROMOTION = "promotion"
CHANNEL = f"{PROMOTION}: "  # columns of channels begin so
SHOWN = 5  # names that a sentence lists


@dataclass(frozen=True)
class Change:
    """A change of the plan; what is not stated stays.

    products, locations : names, one or more; the chain means all of its regions.
    weeks : Mondays of coming weeks, one or more.
    price_factor : times the planned price, such as 0.8. price : a shelf price, in money. At most one of them. Code may
        state a price a product, as an array (products, 1, 1); `check` is for those that a person states.
    promotion : column or channel -> share of the location's stores that promote, 0 to 1. `promotion` is any channel.

    Worked example: ``Change("p01", "chain", "2022-10-10", price_factor=0.8, promotion={"display": 1})``.
    """

    products: Sequence[str]
    locations: Sequence[str]
    weeks: Sequence[pd.Timestamp]
    price_factor: float | None = None
    price: float | np.ndarray | None = None
    promotion: dict[str, float] | None = None

    def __post_init__(self):
        for name in ("products", "locations", "weeks"):
            given = getattr(self, name)
            one = isinstance(given, str) or not isinstance(given, Iterable)
            object.__setattr__(self, name, (given,) if one else tuple(given))
        object.__setattr__(self, "weeks", tuple(pd.Timestamp(week) for week in self.weeks))

    @property
    def states_price(self) -> bool:
        return self.price_factor is not None or self.price is not None

    @property
    def shares(self) -> dict[str, float]:
        """Column of the panel -> share; a channel may be named with or without 'promotion: '."""
        return {column_of(name): float(share) for name, share in (self.promotion or {}).items()}


def column_of(name: str) -> str:
    """'display' is 'promotion: display'."""
    return name if name == PROMOTION or name.startswith(CHANNEL) else CHANNEL + name


def channels(panel: Panel) -> list[str]:
    """The columns of a panel's channels of promotion."""
    return [name for name in panel.planned if name.startswith(CHANNEL)]


def coming_weeks(panel: Panel, cutoff: pd.Timestamp | None = None) -> pd.DatetimeIndex:
    """First days of the weeks after a cutoff, as many as a forecast reaches; the latest cutoff where none is given."""
    cutoff = panel.weeks[-1] if cutoff is None else pd.Timestamp(cutoff)
    if cutoff not in panel.weeks:
        first, last = panel.weeks[[0, -1]]
        raise ValueError(
            f"cutoff {cutoff.date()} is not {_first_day(panel.frequency)} of the observed {panel.frequency.noun}s, "
            f"{first.date()} to {last.date()}."
        )
    return panel.coming(cutoff)


def _first_day(frequency: Frequency) -> str:
    """What a period is named by, in a message: a Monday, the first day of one."""
    if frequency.daily:
        return "one"
    return "a Monday" if frequency == WEEKLY else "the first day of one"


def check(panel: Panel, changes: Sequence[Change], cutoff: pd.Timestamp | None = None) -> None:
    """Raise a ValueError, in a sentence, for the first change that cannot be forecast.

    Parameters
    ----------
    cutoff : last observed week, from which the other plan is forecast; the latest where none is given.
    """
    weeks = coming_weeks(panel, cutoff)
    for change in changes:
        for kind, given, known in (
            ("product", change.products, panel.products.index),
            ("location", change.locations, panel.locations.index),
        ):
            _check_names(kind, given, known)
        _check_weeks(change.weeks, weeks, panel.frequency)
        if not change.states_price and not change.promotion:
            raise ValueError("a change states neither a price nor a promotion. Give price_factor, price or promotion.")
        if change.states_price:
            _check_price(panel, change)
        if change.promotion:
            _check_promotion(panel, change)


def _check_names(kind: str, given: Sequence[str], known: pd.Index) -> None:
    if not given:
        raise ValueError(f"a change names no {kind}. Name at least one.")
    for name in given:
        if name not in known:
            raise ValueError(f"there is no {kind} {name!r}{_nearest(str(name), list(known))}.")


def _check_weeks(given: Sequence[pd.Timestamp], weeks: pd.DatetimeIndex, frequency: Frequency) -> None:
    noun, of = frequency.noun, "" if frequency.daily else "the week of "
    if not given:
        raise ValueError(f"a change names no {noun}. Choose of {_days(weeks)}.")
    for week in given:
        day = str(week.date())
        if week < weeks[0]:
            raise ValueError(f"{of}{day} is already observed. The nearest that can be planned is {_days(weeks[:1])}.")
        if week >= weeks[-1] + frequency.step:
            raise ValueError(
                f"{of}{day} is beyond the horizon of {len(weeks)} {noun}s. The nearest one is {_days(weeks[-1:])}."
            )
        if week not in weeks:
            nearest = weeks[weeks <= week][-1:]
            raise ValueError(
                f"{day} is not {_first_day(frequency)}. Weeks are named by their first days; the nearest is {_days(nearest)}."
                if frequency != WEEKLY
                else f"{day} is not a Monday. Weeks are named by their Mondays; the nearest is {_days(nearest)}."
            )


def _check_price(panel: Panel, change: Change) -> None:
    if "price" not in panel.planned:
        raise ValueError(
            "this retailer has no table of planned prices, so no model has learned what they do. "
            "State a promotion, or add the table `prices` and train again."
        )
    if change.price_factor is not None and change.price is not None:
        raise ValueError("a change states both price_factor and price. Give one of them.")
    if change.price is not None:
        _check_shelf_price(panel, change)
    elif not (np.isfinite(change.price_factor) and FACTORS[0] <= change.price_factor <= FACTORS[1]):
        raise ValueError(
            f"price_factor is {change.price_factor:g}. Choose between {FACTORS[0]:g} and {FACTORS[1]:g} times the planned "
            "price; outside of that no forecast holds."
        )


def _check_shelf_price(panel: Panel, change: Change) -> None:
    if not (np.isfinite(change.price) and change.price > 0):
        raise ValueError(f"the price is {change.price:g}. A shelf price must be above zero.")
    levels = usual_prices(panel)
    for product in change.products:
        usual = float(levels[product])
        low, high = usual * FACTORS[0], usual * FACTORS[1]
        if not low <= change.price <= high:
            raise ValueError(
                f"a price of {change.price:g} is {change.price / usual:.2g} times the usual one of {product!r}. "
                f"Choose between {low:.2f} and {high:.2f}."
            )


def usual_prices(panel: Panel) -> pd.Series:
    """The usual shelf price of each product in the chain, in money; see features.prices."""
    last = panel.frame[(panel.frame["ds"] == panel.weeks[-1]) & (panel.frame["location"] == CHAIN)]
    return np.exp(last.set_index("product_id")["price_level"])


def _check_promotion(panel: Panel, change: Change) -> None:
    if PROMOTION not in panel.planned:
        raise ValueError(
            "this retailer has no table of promotions, so no model has learned what they do. "
            "State a price, or add the table `promotions` and train again."
        )
    known = [PROMOTION, *channels(panel)]
    for name, share in change.promotion.items():
        if name == "category_promotion":
            raise ValueError("category_promotion follows from the promotions of the other products. State theirs.")
        if column_of(name) not in known:
            raise ValueError(f"there is no channel {name!r}{_nearest(name, [c.removeprefix(CHANNEL) for c in known])}.")
        if not (np.isfinite(share) and 0 <= share <= 1):
            raise ValueError(f"promotion {name!r} is {share:g}. It is a share of stores: choose between 0 and 1.")
    recorded = recorded_shares(panel)
    for name in change.locations:
        if recorded[name] <= 0:
            others = _listed([other for other, share in recorded.items() if share > 0])
            raise ValueError(
                f"no store of {name!r} has records of promotions, so what they do there was not learned. Choose of {others}."
            )


def recorded_shares(panel: Panel) -> pd.Series:
    """The share of each location's units that is sold in stores with records of promotions."""
    known = panel.frame[["location", "promo_known"]].drop_duplicates("location")
    return known.set_index("location")["promo_known"].reindex(panel.locations.index)


def _nearest(name: str, names: list[str]) -> str:
    """The end of a sentence that names what may have been meant."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; the nearest is {close[0]!r}" if close else f". There are {_listed(names)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _days(weeks: pd.DatetimeIndex) -> str:
    return ", ".join(str(week.date()) for week in weeks)
