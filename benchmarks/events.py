"""The store of events alone: events a second in batches, beside plain inserts with the same durability.

    python -m benchmarks.events [--rounds 3] [--events 20000] [--batches 1 100 500]

SQLite, and PostgreSQL where Debian's package is installed (a server of its own in a temporary folder). `plain` writes the
same rows by the driver's own executemany, one transaction a batch, into a table with the same keys: WAL and
synchronous=FULL in SQLite, PostgreSQL as it comes. Both take turns, and a row holds the median of the rounds. Seconds
depend on the disk and on what else the machine does; the ratio depends on that least. Writes benchmarks/results/events.csv.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import sqlalchemy as sa
from tqdm import tqdm

from shelfcast.data.files import atomic
from shelfcast.live.store.events import Event, Sale
from shelfcast.live.store.store import Store, row_of
from tests import postgres

RESULTS = Path(__file__).parent / "results" / "events.csv"
AT_MOST = 300  # batches in a round: single events take a flush of the disk each
COLUMNS = ("id", "kind", "week", "late", "digest", "received", "body")
TABLE = (
    "CREATE TABLE plain (number {serial} PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, week DATE NOT NULL,"
    " late BOOLEAN NOT NULL, digest TEXT NOT NULL, received TIMESTAMP NOT NULL, body TEXT NOT NULL)"
)
Add = Callable[[Sequence[Event]], object]


def sales(n: int, name: str) -> list[Event]:
    """Sales of one week, with ids of their own."""
    draw, monday = np.random.default_rng(0), datetime(2026, 11, 23)
    seconds, products = draw.integers(0, 7 * 86_400, n), draw.integers(0, 500, n)
    return [
        Sale(
            kind="sale",
            id=f"{name}-{i}",
            timestamp=(monday + timedelta(seconds=int(seconds[i]))).isoformat(),
            store_id=f"s{i % 40}",
            product_id=f"p{products[i]}",
            quantity=1.0,
            sales_value=2.0,
        )
        for i in range(n)
    ]


def values(events: Sequence[Event]) -> list[tuple]:
    """The rows that the store writes of these events."""
    received = datetime.now(UTC).replace(tzinfo=None)
    rows = [row_of(event, received) for event in events]
    return [tuple(row[name] for name in COLUMNS) for row in rows]


@contextlib.contextmanager
def plain_sqlite(path: Path) -> Iterator[Add]:
    """Inserts by sqlite3 itself, as durable as the store's."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", TABLE.format(serial="INTEGER")):
        connection.execute(statement)
    connection.execute("CREATE INDEX plain_week ON plain (week)")
    insert = f"INSERT INTO plain ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

    def add(events: Sequence[Event]) -> None:
        rows = [(*row[:2], str(row[2]), *row[3:5], str(row[5]), row[6]) for row in values(events)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert, rows)
        connection.execute("COMMIT")

    with contextlib.closing(connection):
        yield add


@contextlib.contextmanager
def plain_postgres(url: str) -> Iterator[Add]:
    """Inserts by psycopg itself, as durable as the store's."""
    with psycopg.connect(sa.make_url(url).set(drivername="postgresql").render_as_string(False)) as connection:
        connection.execute(TABLE.format(serial="BIGSERIAL"))
        connection.execute("CREATE INDEX plain_week ON plain (week)")
        connection.commit()
        insert = f"INSERT INTO plain ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"

        def add(events: Sequence[Event]) -> None:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(insert, values(events))

        yield add


def rate(add: Add, events: Sequence[Event], size: int) -> float:
    """Events a second in batches of a size."""
    parts = [events[start : start + size] for start in range(0, len(events), size)]
    began = time.perf_counter()
    for part in parts:
        add(part)
    return len(events) / (time.perf_counter() - began)


def measure(database: str, url: str, plain: Add, sizes: Sequence[int], n: int, rounds: int) -> Iterator[dict]:
    """A row for each size of a batch."""
    store = Store(url)
    for size in tqdm(sizes, desc=database, disable="SHELFCAST_PIPELINE" in os.environ):
        rates = {"store": [], "plain": []}
        for i in range(rounds):
            events = sales(min(n, AT_MOST * size), f"{size}-{i}")
            for name, add in (("store", store.add), ("plain", plain)):
                rates[name].append(rate(add, events, size))
        row = {"database": database, "batch": size, "events": len(events), "rounds": rounds}
        row |= {f"{name}_events_a_second": round(float(np.median(own)), 1) for name, own in rates.items()}
        ratios = [own / other for own, other in zip(rates["store"], rates["plain"], strict=True)]
        row |= {
            "ratio": round(float(np.median(ratios)), 3),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        }
        yield row | {"measured": datetime.now(UTC).date().isoformat()}
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 100, 500])
    parser.add_argument("--events", type=int, default=20_000, help="in a round; fewer where batches are small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    load = (given.batches, given.events, given.rounds)
    with tempfile.TemporaryDirectory() as folder, plain_sqlite(Path(folder) / "plain.sqlite") as plain:
        rows = list(measure("sqlite", f"sqlite:///{folder}/events.sqlite", plain, *load))
    if postgres.binaries() is None:
        print("PostgreSQL is left out: there is no server (Debian: postgresql).")
    else:
        with postgres.server() as url, plain_postgres(url) as plain:
            rows += measure("postgresql", url, plain, *load)
    with atomic(given.results) as part:
        pd.DataFrame(rows).to_csv(part, index=False)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
