"""A market whose products are cut into partitions: its axes, and the facts that belong to no single product.

One process reads and checks the raw tables, by DuckDB and out of memory, finds weeks, locations and products, and writes
the rows of every partition into files of their own; from there on each partition is a task.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfcast.data.files import atomic
from shelfcast.data.quality.table import quality_table
from shelfcast.data.reading.database import literal
from shelfcast.data.tables import Tables
from shelfcast.panel.build import find_axes, find_unit, market_meta
from shelfcast.panel.calendar import check_country
from shelfcast.panel.facts import Facts, collect_market, known_counts
from shelfcast.panel.grid import Grid
from shelfcast.settings import Prepare

SPLIT = ("sales", "promotions", "prices")  # tables that a partition reads
REFUSED = ("behavior", "stockouts")  # tables whose columns need all products at once


@dataclass(frozen=True)
class Market:
    """What every partition of a market's products reads.

    grid : with all products. shared : see `panel.facts.collect_market`. graph, quality, meta : of the panel. columns :
    table -> its columns, of those that were read. size : products in a partition.
    """

    grid: Grid
    shared: dict[str, Any]
    graph: pd.DataFrame
    quality: pd.DataFrame
    meta: dict[str, Any]
    columns: dict[str, list[str]]
    size: int

    @property
    def starts(self) -> range:
        """Number of the first product of each partition."""
        return range(0, len(self.grid.products), self.size)

    def part(self, start: int) -> Grid:
        """The grid with one partition's products alone."""
        own = slice(start, start + self.size)
        return replace(self.grid, products=self.grid.products.iloc[own], launch=self.grid.launch[own])

    def save(self, path: Path) -> None:
        with atomic(path) as part:
            part.write_bytes(pickle.dumps(self))


def load_market(path: str) -> Market:
    """The market that `Market.save` wrote; read once in a process, and again where the file changed."""
    return _load(path, stamp(path))


@lru_cache(maxsize=1)
def _load(path: str, stamp: tuple[int, int]) -> Market:
    return pickle.loads(Path(path).read_bytes())


def stamp(path: str | Path) -> tuple[int, int]:
    """What changes with a file: its size and the time of its last change."""
    facts = Path(path).stat()
    return facts.st_size, facts.st_mtime_ns


def read_market(tables: Tables, prepare: Prepare, size: int, meta: dict | None = None) -> Market:
    """Find a market's axes and what belongs to no single product.

    Parameters
    ----------
    size : products in a partition. meta : further facts that the panel should carry.

    Raises
    ------
    ValueError : see `panel.build.build`; or the tables have some that need all products at once.
    """
    for name in REFUSED:
        if name in tables.columns and not (name == "stockouts" and prepare.stockouts == "ignore"):
            cure = ", or set prepare.stockouts: ignore" if name == "stockouts" else ""
            raise ValueError(
                f"a market with the table {name} cannot be cut into partitions yet, since its columns are made of all "
                f"products at once. Build its panel whole (`dvc repro prepare`), or take {name} out of the folder{cure}."
            )
    check_country(prepare.country)
    grid, graph, sold, counts = find_axes(tables, prepare)
    amounts, units = find_unit(tables, grid)
    shared = collect_market(tables, grid)
    shell = Facts(
        grid=replace(grid, products=grid.products.iloc[:0], launch=grid.launch[:0]), **shared, **_empty(shared)
    )
    quality = quality_table([*counts, *known_counts(tables, shell), units])
    quality = pd.concat([tables.quality, quality], ignore_index=True)
    facts = market_meta(tables, shell, grid, sold) | {"share_of_category": _share(grid, sold)} | amounts | (meta or {})
    return Market(grid, shared, graph, quality, facts, tables.columns, size)


def _empty(shared: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Facts of no product, by which a market tells what its tables hold."""
    axes = {name: np.empty(0, int) for name in ("item", "location", "week")}
    nothing = pd.DataFrame(axes | {"units": np.empty(0)})
    return {"items": nothing} | {name: nothing for name in ("prices", "promotions") if name in shared["known"]}


def _share(grid: Grid, sold: pd.DataFrame) -> float:
    """The products' share of the category's units in the last training year; `sold` as `find_axes` gives it."""
    recent = sold[sold["week"].between(grid.recent.start, grid.recent.stop - 1) & grid.observed[0, sold["week"]]]
    own = recent[recent["product_id"].isin(grid.products.index) & ~recent["early"]]
    return float(own["units"].sum() / max(recent["units"].sum(), 1e-9))


def split(tables: Tables, market: Market, folder: Path) -> None:
    """Write the rows of each partition's products into files of their own: <folder>/<table>/part=<start>/."""
    products = market.grid.products.index
    parts = [i - i % market.size for i in range(len(products))]
    chosen = pd.DataFrame({"product_id": products, "part": parts})
    with atomic(folder) as whole:
        for name in SPLIT:
            if name != "sales" and name not in tables.columns:
                continue
            (whole / name).mkdir(parents=True)
            tables.database.connection.register("chosen", chosen)
            empty = literal(str(whole / name / "empty.parquet"))
            tables.database.execute(f"COPY (SELECT * FROM {name} LIMIT 0) TO {empty} (FORMAT parquet)")
            rows = f"SELECT own.*, part FROM {name} own JOIN chosen USING (product_id)"
            target = literal(str(whole / name / "rows"))
            tables.database.execute(f"COPY ({rows}) TO {target} (FORMAT parquet, PARTITION_BY (part))")
            tables.database.connection.unregister("chosen")
