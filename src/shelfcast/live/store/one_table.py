"""One table as Parquet: the market's own rows in a fixed order, with those of events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shelfcast.data.reading.database import Database, literal, quoted

KEY = ("product_id", "week", "store_id")  # of prices and promotions
ORDER = {  # by which rows are written, before their own order
    "transactions": "timestamp",
    "behavior": "timestamp",
    "promotions": "week, product_id, store_id",
    "prices": "week, product_id",
}


@dataclass(frozen=True)
class Own:
    """A market's own tables, whole and in this project's form.

    database : holds them in the schema `main`. columns : table -> its columns. images : product_id -> picture file.
    row : what numbers the rows of a table, in the order in which they count. folder : holds each table as a Parquet file
        as `write` writes it without events; None where there is none.
    """

    database: Database
    columns: dict[str, list[str]]
    images: dict[str, Path]
    row: str = "rowid"
    folder: Path | None = None


def write(own: Own, name: str, events: pd.DataFrame, path: Path) -> None:
    """One table as Parquet: the market's own rows, but those that an event replaces, then the events'."""
    columns = own.columns.get(name, [])
    keys = [key for key in KEY if key in events] if name in ("prices", "promotions") else []
    own_rows = f"SELECT {', '.join(map(quoted, columns))}, 0 AS _origin, {own.row} AS _row FROM main.{name}"
    if keys and len(events):
        same = " AND ".join(f"o.{key} = e.{key}" for key in keys)
        own_rows = f"SELECT o.* FROM ({own_rows}) o ANTI JOIN events e ON {same}"
    rows = [own_rows] if name in own.columns else []
    if len(events):
        rows.append("SELECT *, 1 AS _origin, row_number() OVER () AS _row FROM events")
    channels = [column for column in [*events, *columns] if name == "promotions" and column not in KEY]
    filled = ", ".join(f"coalesce({quoted(c)}, 0) AS {quoted(c)}" for c in dict.fromkeys(channels))
    chosen = f"* EXCLUDE (_origin, _row) REPLACE ({filled})" if filled else "* EXCLUDE (_origin, _row)"
    order = ", ".join(filter(None, [ORDER.get(name), "_origin", "_row"]))
    shown = events if len(events) else pd.DataFrame({"_none": []})
    own.database.connection.register("events", shown.astype({c: object for c in shown.select_dtypes("string")}))
    try:
        united = " UNION ALL BY NAME ".join(f"({part})" for part in rows)
        own.database.execute(
            f"COPY (SELECT {chosen} FROM ({united}) ORDER BY {order}) TO {literal(str(path))} (FORMAT parquet)"
        )
    finally:
        own.database.connection.unregister("events")
