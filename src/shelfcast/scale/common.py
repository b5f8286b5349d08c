"""What all products of a market have in common, summed up over partitions before any partition builds its panel.

Two rounds: the second one needs the first one's sums, since a product's usual shares by location are drawn towards those
of all products.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from shelfcast.panel.common import Common
from shelfcast.panel.facts import Facts
from shelfcast.panel.features.history import settled_sums
from shelfcast.panel.features.location import SETTLED, shock_of_sums, shock_sums, sold_before
from shelfcast.panel.features.prices import paid_levels
from shelfcast.panel.features.promotions import promoted_sums
from shelfcast.panel.features.season import category_chain
from shelfcast.scale.engine.parts import MANIFEST, iter_parts
from shelfcast.scale.facts import from_table
from shelfcast.scale.market import Market, load_market, stamp

Sums = dict[tuple[str, str], np.ndarray]  # name of a value, and of its category or '' -> the sum over products


def first_sums(market: str, facts: str, start: int) -> pd.DataFrame:
    """One partition's part of all that adds up at once; see `to_rows` for the frame."""
    own, grid = read_facts(market, facts, start), load_market(market).part(start)
    sold, n_settled = settled_sums(own.units, grid)
    sums = {("usual", ""): sold, ("settled", ""): n_settled}
    sums["before", ""] = sold_before(own.units, grid.observed).sum(0)
    sums |= {("chain", name): units for name, units in category_chain(own.units, grid).items()}
    if own.promotions is not None:
        promoted, weight = promoted_sums(own, grid)
        sums |= {("promoted", name): values for name, values in promoted.items()}
        sums |= {("weight", name): np.array([value]) for name, value in weight.items()}
    return to_rows(sums | {("paid", ""): paid_levels(own, grid)})


def second_sums(market: str, facts: str, first: str, start: int) -> pd.DataFrame:
    """One partition's part of the locations' shocks, by the first round's sums; see `to_rows` for the frame."""
    own, grid = read_facts(market, facts, start), load_market(market).part(start)
    before = add_up(first)["before", ""].reshape(len(grid.locations) - 1, -1)
    sold, expected = shock_sums(own.units, grid.observed, before)
    return to_rows({("sold", ""): sold, ("expected", ""): expected})


def read_common(market: str, first: str, second: str) -> Common:
    """The values of all products, from the folders of both rounds' parts; read once in a process."""
    files = (market, Path(first) / MANIFEST, Path(second) / MANIFEST)
    return _read_common(market, first, second, tuple(map(stamp, files)))


@lru_cache(maxsize=1)
def _read_common(market: str, first: str, second: str, stamps: tuple) -> Common:
    return common_of(load_market(market), add_up(first), add_up(second))


def common_of(market: Market, first: Sums, second: Sums) -> Common:
    """The values of all products, from both rounds' sums."""
    grid, both = market.grid, first | second
    n_locations = len(grid.locations)
    sold, expected = (both[name, ""].reshape(n_locations - 1, -1) for name in ("sold", "expected"))
    usual = both["usual", ""] / np.maximum(both["settled", ""], 1)

    def by_category(wanted: str) -> dict[str, np.ndarray]:
        return {category: values for (name, category), values in both.items() if name == wanted}

    paid = both["paid", ""]
    return Common(
        typical=usual.reshape(n_locations, -1),
        shock=shock_of_sums(sold, expected, grid.observed, grid.frequency.periods(SETTLED)),
        category_chain=by_category("chain"),
        promoted={name: values.reshape(n_locations, -1) for name, values in by_category("promoted").items()},
        promoted_weight={name: float(value[0]) for name, value in by_category("weight").items()},
        paid_level=float(np.median(paid)) if len(paid) else None,
        launched=bool((grid.launch >= 0).any()),
    )


def add_up(folder: str) -> Sums:
    """The sums over all parts of a folder, always in the same order; price levels are put together instead."""
    return _add_up(folder, stamp(Path(folder) / MANIFEST))


@lru_cache(maxsize=1)
def _add_up(folder: str, stamp: tuple[int, int]) -> Sums:
    sums: Sums = defaultdict(float)
    levels = [np.empty(0)]
    for part in iter_parts(folder):
        for row in part.itertuples():
            if row.name == "paid":
                levels.append(row.values)
            else:
                sums[row.name, row.category] = sums[row.name, row.category] + row.values
    return dict(sums) | {("paid", ""): np.concatenate(levels)}


def to_rows(sums: Sums) -> pd.DataFrame:
    """A row for each sum: name, category, values (flat)."""
    rows = [(name, category, np.asarray(values, float).ravel()) for (name, category), values in sums.items()]
    return pd.DataFrame(rows, columns=["name", "category", "values"])


def read_facts(market: str, facts: str, start: int, common: Common | None = None) -> Facts:
    """One partition's facts, from the part that `facts.weekly_facts` made."""
    whole = load_market(market)
    return from_table(pd.read_parquet(Path(facts) / part_name(start)), whole, whole.part(start), common)


def part_name(start: int) -> str:
    return f"part-{start:09d}.parquet"
