"""The axes of a panel, and what families of features are made of.

Arrays have the axes P products, L locations (chain first), T observed weeks, or T + H where H weeks ahead are planned.
A *week* is a period of the market's frequency: a day in a daily market (`shelfcast.frequency`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.panel.axes.products import RECENT
from shelfcast.settings import Prepare

HOLE = 20  # usual records
ROLES = ("static", "past", "known_future", "price_plan")


@dataclass(frozen=True)
class Grid:
    """The axes.

    products : P rows, index product_id, with their attributes.
    launch : (P,) number of the week of a product's launch, negative for long ago.
    locations : L names, the chain first. regions : store -> name of its region.
    weeks : T first days of weeks: training weeks, then `prepare.validation_weeks`, then `prepare.test_weeks`.
    prepare : the settings, also of the horizon H.
    observed : (L, T) bool, False where a location's week is missing.
    open_stores : stores that sold anything at the end of training; the others weigh nothing in what is true today.
    later_stores : stores that sold nothing in the training weeks.
    """

    products: pd.DataFrame
    launch: np.ndarray
    locations: list[str]
    regions: dict[str, str]
    weeks: pd.DatetimeIndex
    prepare: Prepare
    observed: np.ndarray
    open_stores: frozenset[str]
    later_stores: frozenset[str]

    @property
    def shape(self) -> tuple[int, int, int]:
        """P, L, T."""
        return len(self.products), len(self.locations), len(self.weeks)

    @property
    def horizon(self) -> int:
        return self.prepare.horizon

    @property
    def frequency(self) -> Frequency:
        return self.prepare.frequency

    @property
    def validation_end(self) -> int:
        """Number of training and validation weeks."""
        return len(self.weeks) - self.frequency.periods(self.prepare.test_weeks)

    @property
    def train_end(self) -> int:
        """Number of training weeks."""
        return self.validation_end - self.frequency.periods(self.prepare.validation_weeks)

    @property
    def recent(self) -> slice:
        """The last year of training, by which products are chosen and shares are told."""
        return slice(max(self.train_end - self.frequency.periods(RECENT), 0), self.train_end)

    def weeks_seen(self, start: int = 0, stop: int | None = None) -> pd.DatetimeIndex:
        """The weeks that were observed anywhere, from one number of week to before another."""
        return self.weeks[start:stop][self.observed.any(0)[start:stop]]

    @cached_property
    def weeks_ahead(self) -> pd.DatetimeIndex:
        """T + H first days of weeks."""
        return weeks_ahead(self.weeks, self.horizon, self.frequency)

    @cached_property
    def items(self) -> pd.DataFrame:
        """product_id, item (its number), launch: the products as SQL joins them."""
        items = range(len(self.products))
        return pd.DataFrame({"product_id": self.products.index, "item": items, "launch": self.launch})

    @cached_property
    def stores(self) -> pd.DataFrame:
        """store_id, location (its number): the regions as SQL joins them."""
        number = {name: i for i, name in enumerate(self.locations)}
        return pd.DataFrame({"store_id": list(self.regions), "location": [number[r] for r in self.regions.values()]})

    @cached_property
    def n_sold(self) -> np.ndarray:
        """(P, L, T) observed weeks since a product's launch, this one included; 0 before it."""
        begun = np.arange(len(self.weeks)) >= self.launch[:, None]
        return np.cumsum(begun[:, None] & self.observed, -1)

    def since_launch(self, x: np.ndarray) -> np.ndarray:
        """(P, L, T), NaN before a product's launch."""
        return np.where(self.n_sold > 0, x, np.nan)

    def over_observed(self, function: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
        """A function of histories as if missing weeks did not exist; a missing week has the value of the one before, 0
        where there is none.

        Parameters
        ----------
        function : of arrays (…, n), n observed weeks of one or more locations; gives an array (…, n).
        arrays : (…, L, T).
        """
        if self.observed.all():
            return function(*arrays)
        parts = []
        for i, observed in enumerate(self.observed):
            values = function(*(x[..., i : i + 1, :][..., observed] for x in arrays))
            last = np.cumsum(observed) - 1
            parts.append(np.where(last >= 0, values[..., np.maximum(last, 0)], 0.0))
        return np.concatenate(parts, -2)

    def spread(self, frame: pd.DataFrame, fact: str, n_weeks: int | None = None) -> np.ndarray:
        """A column of a frame with `item` (or none), `location` and `week` as an array, 0 where there is no row."""
        axes = ["item", "location", "week"] if "item" in frame else ["location", "week"]
        shape = (*self.shape[:2], n_weeks or len(self.weeks))
        array = np.zeros(shape[-len(axes) :])
        array[tuple(frame[axis].to_numpy() for axis in axes)] = frame[fact]
        return array


@dataclass(frozen=True)
class Column:
    """One feature.

    role : `static`; `past`, known at the end of its own week; `known_future`, known in advance for its own week; or
        `price_plan`, the realised price read as if it had been planned: an upper bound that is off by default.
    values : what broadcasts to (P, L), for static ones, or to (P, L, T) or (P, L, T + H).
    in_units : whether it is measured in units of sales.
    planned : whether it comes from the retailer's plan (promotions, prices), which is not always known.
    """

    name: str
    role: Literal["static", "past", "known_future", "price_plan"]
    values: np.ndarray
    meaning: str
    in_units: bool = False
    planned: bool = False


def merge(families: dict[str, list[Column]]) -> list[Column]:
    """The columns of all families, by role.

    Raises
    ------
    ValueError : two families (or one) have a column of the same name.
    """
    family_of: dict[str, str] = {}
    for family, columns in families.items():
        for column in columns:
            if column.name in family_of:
                raise ValueError(
                    f"column {column.name!r} is made by the families {family_of[column.name]!r} and {family!r}. Rename "
                    "one of them; where it comes from a table, rename that table's column through markets.<name>.rename."
                )
            family_of[column.name] = family
    every = [column for columns in families.values() for column in columns]
    return sorted(every, key=lambda column: ROLES.index(column.role))


def weeks_ahead(weeks: pd.DatetimeIndex, horizon: int, frequency: Frequency = WEEKLY) -> pd.DatetimeIndex:
    """The weeks, and `horizon` more."""
    return frequency.ahead(weeks[0], len(weeks) + horizon)


def recorded(
    records: pd.Series, weeks: pd.DatetimeIndex, holes: bool = True, frequency: Frequency = WEEKLY
) -> np.ndarray:
    """(T,) bool: weeks of which a table tells anything: from its first record to its last, without `holes`.

    Weeks without any record are a hole where they would usually have held `HOLE` records or more together; fewer may be
    chance, and such a week is one without anything to record.

    Parameters
    ----------
    records : see `weekly.recorded_weeks`.
    """
    if records.empty:
        return np.zeros(len(weeks), bool)
    whole = frequency.between(records.index[0], records.index[-1])
    n = records.reindex(whole, fill_value=0).to_numpy()
    empty, run = n == 0, np.cumsum(np.diff(n == 0, prepend=False))  # runs of weeks with and without records
    length = np.bincount(run)[run]
    known = ~(empty & (length * np.median(n) >= HOLE)) if holes else np.ones(len(n), bool)
    return weeks.isin(whole[known])


def between(x: np.ndarray, observed: np.ndarray, start: np.ndarray, end: np.ndarray, least: int = 1) -> np.ndarray:
    """Mean over the observed weeks from `start` to the one before `end`; NaN where there are fewer than `least`.

    Parameters
    ----------
    x : (…, T). observed : (T,), or with the axes of x. start, end : (…, N) numbers of weeks; those outside are left out.
    """
    total, n = (np.cumsum(np.insert(values, 0, 0, -1), -1, float) for values in (x * observed, observed))
    start, end = (np.clip(at, 0, x.shape[-1]) for at in (start, end))
    end = np.maximum(start, end)

    def at(sums: np.ndarray, index: np.ndarray) -> np.ndarray:
        if index.ndim == 1:
            return sums[..., index]
        axes = np.broadcast_shapes(sums.shape[:-1], index.shape[:-1])
        sums, index = np.broadcast_to(sums, (*axes, sums.shape[-1])), np.broadcast_to(index, (*axes, index.shape[-1]))
        return np.take_along_axis(sums, index, -1)

    count = at(n, end) - at(n, start)
    return np.where(count >= least, (at(total, end) - at(total, start)) / np.maximum(count, 1), np.nan)


def shift(x: np.ndarray, k: int) -> np.ndarray:
    """The values k weeks earlier, 0 before the first."""
    return np.concatenate([np.zeros_like(x[..., :k]), x[..., : x.shape[-1] - k]], -1)


def mean(x: np.ndarray, k: int | None = None, n: np.ndarray | None = None) -> np.ndarray:
    """Mean over the last k weeks (all so far for None), fewer where there are fewer; `n` weeks count so far."""
    total = np.cumsum(x, -1)
    n = np.arange(1, x.shape[-1] + 1) if n is None else n
    return total / np.maximum(n, 1) if k is None else (total - shift(total, k)) / np.clip(n, 1, k)
