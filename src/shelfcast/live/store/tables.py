"""Events read back as raw tables (docs/tables.md), with the market's own rows: what `source: tables` reads.

The market's own tables are read and checked as notebook 1 does, and written in this project's form, so that the
pipeline on the folder and the service work on the same rows.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from shelfcast.data import tables
from shelfcast.data.files import atomic
from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.data.tables import Tables
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
ORDER = {  # by which rows are written, before their own order
    "transactions": "timestamp",
    "behavior": "timestamp",
    "promotions": "week, product_id, store_id",
    "prices": "week, product_id",
}


@dataclass(frozen=True)
class Written:
    """Table -> rows that events added, and sentences about events that the tables cannot hold."""

    rows: dict[str, int]
    left_out: tuple[str, ...] = ()


def write_tables(store: Store, folder: Path, market: Market, root: Path = Path()) -> Written:
    """Write the market's tables with all events of closed weeks, and prices and promotions of any week, to a folder.

    A week that is not closed is not complete: its sales and behaviour wait. Of prices and promotions of one week,
    product and store the event that came last counts, before the market's own row. Stores that only events know are added
    to the table of stores; products that only they know are counted by the reading, as rows of any unknown product are.
    The folder is replaced as a whole; the same store and tables give the same rows.

    Parameters
    ----------
    market : a line of `markets`, whose `tables` lie under `root`.

    Raises
    ------
    ValueError : the market's own tables cannot be read.
    """
    own = tables.load(market.source, root / market.tables, market.category, market.rename, market.read)
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
            _write(own, name, events.get(name, pd.DataFrame()), part / f"{name}.parquet")
        _add_stores(own.database, events["transactions"]["store_id"], part / "stores.parquet")
        if own.images:
            _link(own.images, part / "images")
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


def _prices(own: Tables, prices: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Prices in the form of the market's own: of all stores together, or of each. And what that leaves out, in words."""
    of_all = prices["store_id"].isna()
    by_store = "store_id" in own.columns["prices"] if "prices" in own.columns else not of_all.all()
    if by_store:
        stores = own.query("SELECT DISTINCT store_id FROM main.transactions ORDER BY store_id")["store_id"]
        spread = prices[of_all].drop(columns="store_id").merge(stores.astype("string").to_frame(), how="cross")
        both = pd.concat([spread, prices[~of_all]])  # a store's own price counts before that of all stores
        return both.drop_duplicates(["product_id", "week", "store_id"], keep="last", ignore_index=True), ()
    left_out = int((~of_all).sum())
    why = f"{left_out:,} prices of single stores are left out: the market's own prices are those of all stores together"
    return prices[of_all].drop(columns="store_id").reset_index(drop=True), (why,) if left_out else ()


def _write(own: Tables, name: str, events: pd.DataFrame, path: Path) -> None:
    """One table as Parquet: the market's own rows, but those that an event replaces, then the events'."""
    database = own.database
    keys = (
        [key for key in ("product_id", "week", "store_id") if key in events] if name in ("prices", "promotions") else []
    )
    own_rows = (
        f"SELECT {', '.join(map(quoted, own.columns.get(name, [])))}, 0 AS _origin, rowid AS _row FROM main.{name}"
    )
    if keys and len(events):
        same = " AND ".join(f"o.{key} = e.{key}" for key in keys)
        own_rows = f"SELECT o.* FROM ({own_rows}) o ANTI JOIN events e ON {same}"
    rows = [own_rows] if name in own.columns else []
    if len(events):
        rows.append("SELECT *, 1 AS _origin, row_number() OVER () AS _row FROM events")
    channels = [
        column for column in events if name == "promotions" and column not in ("product_id", "store_id", "week")
    ]
    channels += [
        c for c in own.columns.get(name, []) if name == "promotions" and c not in ("product_id", "store_id", "week")
    ]
    filled = ", ".join(f"coalesce({quoted(c)}, 0) AS {quoted(c)}" for c in dict.fromkeys(channels))
    chosen = f"* EXCLUDE (_origin, _row) REPLACE ({filled})" if filled else "* EXCLUDE (_origin, _row)"
    order = ", ".join(filter(None, [ORDER.get(name), "_origin", "_row"]))
    shown = events if len(events) else pd.DataFrame({"_none": []})
    database.connection.register("events", shown.astype({c: object for c in shown.select_dtypes("string")}))
    try:
        united = " UNION ALL BY NAME ".join(f"({part})" for part in rows)
        database.execute(
            f"COPY (SELECT {chosen} FROM ({united}) ORDER BY {order}) TO {literal(str(path))} (FORMAT parquet)"
        )
    finally:
        database.connection.unregister("events")


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


def _link(images: dict[str, Path], folder: Path) -> None:
    """The pictures under the ids that they belong to; links, since they may be many and do not change."""
    folder.mkdir()
    for product, path in images.items():
        (folder / f"{product}{path.suffix.lower()}").symlink_to(path.absolute())
