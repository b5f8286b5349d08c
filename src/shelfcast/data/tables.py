"""A retailer's checked tables, cut to one category."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from shelfcast.data.files import verify
from shelfcast.data.quality import across, spellings
from shelfcast.data.quality.table import Count, quality_table
from shelfcast.data.quality.transactions import check_transactions
from shelfcast.data.reading.checks import copy
from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.data.reading.sources import SOURCES
from shelfcast.data.reading.text.cell import SPACES
from shelfcast.frequency import DAYS, WEEKLY, Frequency
from shelfcast.reading_options import Reading


@dataclass(frozen=True)
class Tables:
    """A retailer's tables, of which one category's rows can be asked for.

    In `query`, these tables hold the category alone: `rows` (of transactions) and `sales` (those of them that sell
    anything), `promotions`, `prices`, `behavior` and `stockouts`; `visits` holds all categories' rows by day, store_id, customer_id and basket_id, with their number
    `n` and `units`; `stores` all stores. Ids are strings, timestamps local and without a zone; optional columns that
    the files do not have are NULL.

    Attributes
    ----------
    products : of the category, with their attributes.
    columns : table -> its columns, for the tables that are there.
    images : product_id -> picture file.
    quality : what was counted while reading, see `data.quality`.
    ignored : 'name: reason' of what is not used.
    frequency : of the periods that `data.weekly` counts in; `at` changes it.
    plan_days : days that a record of promotions, prices or stockouts holds: 7, or 1 where `read.week_stamp` is `day`.
    """

    category: str | None
    database: Database
    products: pd.DataFrame
    columns: dict[str, list[str]]
    images: dict[str, Path] = field(default_factory=dict)
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    ignored: tuple[str, ...] = ()
    frequency: Frequency = WEEKLY
    plan_days: int = DAYS

    def at(self, frequency: Frequency) -> Tables:
        """The same tables, counted in other periods.

        Raises
        ------
        ValueError : records of single days cannot be counted by the week.
        """
        if self.plan_days < frequency.days:
            raise ValueError(
                "read.week_stamp is 'day', so promotions, prices and stockouts hold for single days, but prepare.freq is W. "
                "Set prepare.freq: D, or bring these tables by the week."
            )
        return replace(self, frequency=frequency)

    def query(self, sql: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """The result of a query; `frames` are tables that it may name."""
        return self.database.frame(sql, **frames)

    def head(self, n: int = 5) -> pd.DataFrame:
        """The category's first rows of transactions."""
        return self.query(f"SELECT {', '.join(self.columns['transactions'])} FROM sales ORDER BY timestamp LIMIT {n}")

    def _frame(self, name: str) -> pd.DataFrame | None:
        if name not in self.columns:
            return None
        return self.query(f"SELECT {', '.join(map(quoted, self.columns[name]))} FROM {name}")

    # As frames, None where there is no such table; of the category, but for stores.
    promotions = property(lambda self: self._frame("promotions"))
    prices = property(lambda self: self._frame("prices"))
    behavior = property(lambda self: self._frame("behavior"))
    stores = property(lambda self: self._frame("stores"))


def load(
    source: str, folder: str | Path, category: str | None, rename: str = "", reading: Reading | None = None
) -> Tables:
    """Read one category of one retailer.

    Parameters
    ----------
    source : 'complete_journey' (the default data), 'tables' (a folder in this project's schema) or 'simulated' (such a
        folder too, of a simulated market).
    folder : where the files are.
    category : a value of products.category, or None for all products.
    rename : for 'tables': 'theirs=ours' pairs, comma separated, applied to every table, or to one as 'table.theirs=ours'.
    reading : how the files write text, numbers, dates and weeks.

    Raises
    ------
    ValueError : for whatever is wrong with the input, before any long work.
    """
    return next(load_each(source, folder, [category], rename, reading))


def load_each(
    source: str,
    folder: str | Path,
    categories: list[str | None],
    rename: str = "",
    reading: Reading | None = None,
) -> Iterator[Tables]:
    """Each of several categories of one retailer, as `load` gives it; the files are read and checked once."""
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}. Set markets.<name>.source to one of {', '.join(SOURCES)}.")
    verify(folder)
    database, reading = Database(), reading or Reading()
    files = SOURCES[source](database, Path(folder), rename, reading)
    columns, retailer = _read(database, "products", files.relations["products"], reading)
    spellings.note_trimmed_categories(database, files.relations["products"])
    categories = across.find_categories(database, categories)
    names = ", ".join(literal(name) for name in categories if name is not None) or "NULL"
    database.execute(
        f"CREATE TABLE wanted AS SELECT * FROM products WHERE {None in categories} OR category IN ({names})"
    )
    others = [(name, relation) for name, relation in files.relations.items() if name != "products"]
    with ThreadPoolExecutor() as threads:  # a file may be one row group, which one thread reads
        for own, found in threads.map(lambda table: _read(database.cursor(), *table, reading), others):
            columns |= own
            retailer += found
    counts = across.check_ids(database, columns)
    database.execute("""
        CREATE TABLE visits AS
        SELECT CAST(timestamp AS DATE) AS day, store_id, customer_id, basket_id, count(*) AS n,
               exact_sum(quantity) AS units
        FROM transactions WHERE product_id IN (SELECT product_id FROM products) GROUP BY ALL""")
    images = _images(Path(folder) / "images")
    for i, category in enumerate(categories):
        own = _cut(database, f"category_{i}", category, columns)
        quality = quality_table(across.check_category(own, category, counts, set(images)) + retailer)
        products = own.frame(f"SELECT {', '.join(map(quoted, columns['products']))} FROM products ORDER BY rowid")
        pictures = {product: images[product] for product in products["product_id"] if product in images}
        days = 1 if reading.week_stamp == "day" else DAYS
        yield Tables(category, own, products, columns, pictures, quality, files.ignored, plan_days=days)


def _read(database: Database, name: str, relation: str, reading: Reading) -> tuple[dict[str, list[str]], list[Count]]:
    """Copy a table, and check it alone: name -> its columns that hold anything; what was counted."""
    columns = {name: copy(database, name, relation, reading)}
    counts = across.drop_empty(database, columns)
    if name == "transactions":
        counts += check_transactions(database, columns, reading)
    return columns, counts + across.count_idle(database, columns) + spellings.check_spellings(database, columns)


def _images(folder: Path) -> dict[str, Path]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return {path.stem.strip(SPACES): path for path in paths}


def _cut(database: Database, schema: str, category: str | None, columns: dict[str, list[str]]) -> Database:
    """The same database, in which `sales`, `visits` and others hold one category as `Tables` describes them."""
    database.execute(f"CREATE SCHEMA {schema}")
    chosen = "true" if category is None else f"category = {literal(category)}"
    database.execute(f"CREATE TABLE {schema}.products AS SELECT * FROM products WHERE {chosen}")
    of_category = f"product_id IN (SELECT product_id FROM {schema}.products)"
    database.execute(f"""
        CREATE TABLE {schema}.rows AS
        SELECT *, CAST(timestamp AS DATE) AS day FROM transactions WHERE {of_category};
        CREATE VIEW {schema}.sales AS SELECT * FROM {schema}.rows WHERE {across.USABLE};
        CREATE VIEW {schema}.visits AS
        WITH unusable AS (
            SELECT day, store_id, customer_id, basket_id, count(*) AS n, exact_sum(quantity) AS units
            FROM {schema}.rows WHERE NOT ({across.USABLE}) GROUP BY ALL)
        SELECT v.* REPLACE (v.n - coalesce(u.n, 0) AS n, v.units - coalesce(u.units, 0) AS units)
        FROM main.visits v LEFT JOIN unusable u
        ON v.day = u.day AND v.store_id = u.store_id AND v.customer_id IS NOT DISTINCT FROM u.customer_id
           AND v.basket_id IS NOT DISTINCT FROM u.basket_id
        WHERE v.n > coalesce(u.n, 0)""")
    for name in {"promotions", "prices", "behavior", "stockouts"} & set(columns):
        database.execute(f"CREATE VIEW {schema}.{name} AS SELECT * FROM main.{name} WHERE {of_category}")
    own = database.cursor(schema)
    weakref.finalize(own, database.execute, f"DROP SCHEMA {schema} CASCADE")  # when nobody reads the category any more
    return own
