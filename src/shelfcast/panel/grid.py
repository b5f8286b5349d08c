"""The axes of a panel, and what families of features are made of.

Arrays have the axes P products, L locations (chain first), T observed weeks, or T + H where H weeks ahead are planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from shelfcast.settings import Prepare

ROLES = ("static", "past", "known_future", "price_plan")


@dataclass(frozen=True)
class Grid:
    """The axes.

    products : P rows, index product_id, with their attributes.
    launch : (P,) number of the week of a product's launch, negative for long ago.
    locations : L names, the chain first. regions : store -> name of its region.
    weeks : T Mondays: training weeks, then `prepare.validation_weeks`, then `prepare.test_weeks`.
    prepare : the settings, also of the horizon H.
    """

    products: pd.DataFrame
    launch: np.ndarray
    locations: list[str]
    regions: dict[str, str]
    weeks: pd.DatetimeIndex
    prepare: Prepare

    @property
    def shape(self) -> tuple[int, int, int]:
        """P, L, T."""
        return len(self.products), len(self.locations), len(self.weeks)

    @property
    def horizon(self) -> int:
        return self.prepare.horizon

    @property
    def validation_end(self) -> int:
        """Number of training and validation weeks."""
        return len(self.weeks) - self.prepare.test_weeks

    @property
    def train_end(self) -> int:
        """Number of training weeks."""
        return self.validation_end - self.prepare.validation_weeks

    @cached_property
    def weeks_ahead(self) -> pd.DatetimeIndex:
        """T + H Mondays."""
        return weeks_ahead(self.weeks, self.horizon)

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

    @property
    def n_sold(self) -> np.ndarray:
        """(P, 1, T) weeks since a product's launch, this one included; 0 before it."""
        week = np.arange(len(self.weeks))
        return np.clip(week + 1 - np.maximum(self.launch, 0)[:, None], 0, None)[:, None]

    def since_launch(self, x: np.ndarray) -> np.ndarray:
        """(P, L, T), NaN before a product's launch."""
        return np.where(self.n_sold > 0, x, np.nan)

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
    """

    name: str
    role: Literal["static", "past", "known_future", "price_plan"]
    values: np.ndarray
    meaning: str
    in_units: bool = False


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


def weeks_ahead(weeks: pd.DatetimeIndex, horizon: int) -> pd.DatetimeIndex:
    """The weeks, and `horizon` more."""
    return pd.date_range(weeks[0], periods=len(weeks) + horizon, freq="7D")


def shift(x: np.ndarray, k: int) -> np.ndarray:
    """The values k weeks earlier, 0 before the first."""
    return np.concatenate([np.zeros_like(x[..., :k]), x[..., : x.shape[-1] - k]], -1)


def mean(x: np.ndarray, k: int | None = None, n: np.ndarray | None = None) -> np.ndarray:
    """Mean over the last k weeks (all so far for None), fewer where there are fewer; `n` weeks count so far."""
    total = np.cumsum(x, -1)
    n = np.arange(1, x.shape[-1] + 1) if n is None else n
    return total / np.maximum(n, 1) if k is None else (total - shift(total, k)) / np.clip(n, 1, k)
