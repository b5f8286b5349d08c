"""Weekly facts of one partition's products, by the SQL of `data.weekly`, as one table.

A row is a product, location and week (numbers as in `panel.facts`). Columns of what was sold are empty where nothing was,
those of promotions where no recorded store promoted, and `price` where none was planned.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import pandas as pd

from shelfcast.data.reading.database import Database, literal
from shelfcast.data.tables import Tables
from shelfcast.panel.common import Common
from shelfcast.panel.facts import Facts, collect_products
from shelfcast.panel.grid import Grid
from shelfcast.scale.market import SPLIT, Market, load_market

AXES = ["item", "location", "week"]
KEYS = ["product_id", "location", "week"]
TOLD_BY = {"items": "units", "promotions": "promotion", "prices": "price"}  # frame -> the column that every row has


def weekly_facts(market: str, rows: str, start: int) -> pd.DataFrame:
    """The facts of the partition that begins with product `start`.

    Parameters
    ----------
    market : path of `Market.save`. rows : folder that `market.split` wrote.
    """
    whole = load_market(market)
    grid = whole.part(start)
    found = collect_products(_tables(Path(rows), grid, whole, start), grid, whole.shared)
    if "prices" in whole.shared["known"]:
        _check_prices(found["prices"], grid)
    return to_table({name: frame for name, frame in found.items() if frame is not None}, grid)


def to_table(frames: dict[str, pd.DataFrame], grid: Grid) -> pd.DataFrame:
    """The frames of `panel.facts.collect_products` side by side, sorted by `KEYS`."""
    parts = [frame.set_index(AXES) for frame in frames.values()]
    table = reduce(lambda left, right: left.join(right, how="outer"), parts).reset_index()
    table.insert(0, "product_id", grid.products.index.to_numpy()[table["item"]])
    return table.drop(columns="item").sort_values(KEYS, ignore_index=True)


def from_table(table: pd.DataFrame, market: Market, grid: Grid, common: Common | None = None) -> Facts:
    """The facts of a grid's products, from a table that `to_table` made."""
    table = table.assign(item=grid.products.index.get_indexer(table["product_id"])).drop(columns="product_id")
    of_promotions = [name for name in table if name == "promotion" or name.startswith("promotion: ")]
    columns = {"promotions": of_promotions, "prices": [name for name in ("price",) if name in table]}
    others = [*AXES, *of_promotions, *columns["prices"]]
    columns["items"] = [name for name in table if name not in others]
    frames = {}
    for name, own in columns.items():
        if name == "items" or name in market.shared["known"]:
            frames[name] = table.loc[table[TOLD_BY[name]].notna(), [*AXES, *own]]
    return Facts(grid=grid, **market.shared, **frames, common=common)


def _tables(folder: Path, grid: Grid, market: Market, start: int) -> Tables:
    """The partition's rows, as `data.weekly` queries them."""
    database = Database()
    for name in SPLIT:
        if (folder / name).is_dir():
            own = folder / name / f"rows/part={start}"
            files = own / "*.parquet" if own.is_dir() else folder / name / "empty.parquet"
            relation = f"read_parquet({literal(str(files))}, hive_partitioning = false)"
            database.execute(f"CREATE VIEW {name} AS SELECT * FROM {relation}")
    return Tables(None, database, grid.products.reset_index(), market.columns)


def _check_prices(prices: pd.DataFrame | None, grid: Grid) -> None:
    """A product without any planned price would take that of all others, which a partition does not see."""
    unpriced = grid.products.index if prices is None else grid.products.index.delete(prices["item"].unique())
    if len(unpriced):
        raise ValueError(
            f"the table prices has no price of {len(unpriced)} products, first {unpriced[0]!r}. Add their prices, or "
            "build the panel whole (`dvc repro prepare`)."
        )
