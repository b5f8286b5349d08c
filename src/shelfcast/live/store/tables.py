"""Events read back as raw tables (docs/tables.md), with the market's own rows: what `source: tables` reads.

The market's own tables are read and checked as notebook 1 does, and written in this project's form, so that the
pipeline on the folder and the service work on the same rows.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from shelfcast.data.files import atomic
from shelfcast.data.reading.database import Database, literal
from shelfcast.live.store.one_table import Own, write
from shelfcast.live.store.own import kept_own, link_images, read_own
from shelfcast.live.store.store import Store
from shelfcast.settings import Market

SALE = (
    "timestamp",
    "store_id",
    "product_id",
    "quantity",
    "sales_value",
    "customer_id",
    "basket_id",
    "discount",
    "coupon",
)
BEHAVIOR = ("timestamp", "product_id", "event", "store_id", "count")
IDS = ("store_id", "product_id", "customer_id", "basket_id")


@dataclass(frozen=True)
class Written:
    """Table -> rows that events added, and sentences about events that the tables cannot hold."""

    rows: dict[str, int]
    left_out: tuple[str, ...] = ()


def write_tables(store: Store, folder: Path, market: Market, root: Path = Path(), kept: Path | None = None) -> Written:
    """Write the market's tables with all events of closed weeks, and prices and promotions of any week, to a folder.

    A week that is not closed is not complete: its sales and behaviour wait. Of prices and promotions of one week,
    product and store the event that came last counts, before the market's own row. Stores that only events know are added
    to the table of stores; products that only they know are counted by the reading, as rows of any unknown product are.
    The folder is replaced as a whole; the same store and tables give the same rows.

    Parameters
    ----------
    market : a line of `markets`, whose `tables` lie under `root`.
    kept : folder that keeps the market's own tables as they were read; where they are still the same they are not read
        and checked again, and a table without events is copied.

    Raises
    ------
    ValueError : the market's own tables cannot be read.
    """
    own = read_own(market, root) if kept is None else kept_own(market, root, kept)
    closed = store.closed()
    events = {
        "transactions": _rows(store, "sale", SALE, closed),
        "behavior": _rows(store, "behavior", BEHAVIOR, closed),
        "prices": _rows(store, "price", ("product_id", "week", "price", "store_id")),
        "promotions": _promotions(store),
    }
    events["prices"], left_out = _prices(own, events["prices"])
    with atomic(folder) as part:
        part.mkdir()
        for name in sorted(set(own.columns) | {name for name, rows in events.items() if len(rows)}):
            rows = events.get(name, pd.DataFrame())
            if own.folder is not None and rows.empty:
                shutil.copyfile(own.folder / f"{name}.parquet", part / f"{name}.parquet")
            else:
                write(own, name, rows, part / f"{name}.parquet")
        _add_stores(own.database, events["transactions"]["store_id"], part / "stores.parquet")
        link_images(own.images, part)
    return Written({name: len(rows) for name, rows in events.items()}, left_out)


def _rows(store: Store, kind: str, columns: tuple[str, ...], until: date | None = date.max) -> pd.DataFrame:
    """The events of a kind, in the order in which they came; none where no week was closed."""
    bodies = [] if until is None else store.bodies(kind, until)
    frame = pd.DataFrame([json.loads(body) for body in bodies]).reindex(columns=list(columns))
    for name in {"timestamp", "week"} & set(columns):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601")
    for name in (set(IDS) | {"event"}) & set(columns):
        frame[name] = frame[name].astype("string")
    for name in {"quantity", "sales_value", "discount", "coupon", "price", "count"} & set(columns):
        frame[name] = frame[name].astype(float)
    if kind in ("sale", "behavior"):  # these are all rows; of the others the last one a key counts
        return frame
    keys = [name for name in ("product_id", "week", "store_id") if name in frame]
    return frame.drop_duplicates(keys, keep="last", ignore_index=True)


def _promotions(store: Store) -> pd.DataFrame:
    """One row a product, store and week, with a column a channel."""
    frame = _rows(store, "promotion", ("product_id", "store_id", "week", "channels"))
    channels = pd.DataFrame(list(frame.pop("channels")), index=frame.index).fillna(0.0)
    return frame.join(channels[sorted(channels)].astype(float))


def _prices(own: Own, prices: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Prices in the form of the market's own: of all stores together, or of each. And what that leaves out, in words."""
    of_all = prices["store_id"].isna()
    by_store = "store_id" in own.columns["prices"] if "prices" in own.columns else not of_all.all()
    if by_store:
        stores = own.database.frame("SELECT DISTINCT store_id FROM main.transactions ORDER BY store_id")["store_id"]
        spread = prices[of_all].drop(columns="store_id").merge(stores.astype("string").to_frame(), how="cross")
        both = pd.concat([spread, prices[~of_all]])  # a store's own price counts before that of all stores
        return both.drop_duplicates(["product_id", "week", "store_id"], keep="last", ignore_index=True), ()
    left_out = int((~of_all).sum())
    why = f"{left_out:,} prices of single stores are left out: the market's own prices are those of all stores together"
    return prices[of_all].drop(columns="store_id").reset_index(drop=True), (why,) if left_out else ()


def _add_stores(database: Database, named: pd.Series, path: Path) -> None:
    """Stores that only events know, to the table of stores where there is one: without a region they join another's."""
    if not path.exists():
        return
    known = f"SELECT store_id FROM read_parquet({literal(str(path))})"
    new = sorted(set(named.dropna()) - {store for (store,) in database.rows(known)})
    if not new:
        return
    database.connection.register("events", pd.DataFrame({"store_id": new}))
    try:
        both = f"SELECT * FROM read_parquet({literal(str(path))}) UNION ALL BY NAME SELECT * FROM events"
        other = path.with_suffix(".new")
        database.execute(f"COPY ({both}) TO {literal(str(other))} (FORMAT parquet)")
        os.replace(other, path)
    finally:
        database.connection.unregister("events")
