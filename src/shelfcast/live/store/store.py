"""The store of events: SQLite by default, PostgreSQL by URL.

A batch is one transaction, committed to the disk before `add` returns; an id counts once however often it is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from shelfcast.live.store.events import KINDS, Event

VERSION = "1"  # of the store's tables
PATIENCE = 10  # seconds that a writer waits for another one
AT_ONCE = 5_000  # ids that one query asks for; SQLite takes 32,766 values in one
LOCK = 7415263  # of PostgreSQL, for writers; any number that no one else uses

METADATA = sa.MetaData()
INFO = sa.Table(
    "shelfcast_store",
    METADATA,
    sa.Column("name", sa.String(50), primary_key=True),
    sa.Column("value", sa.String(50), nullable=False),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("week", sa.Date, nullable=False, index=True),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("digest", sa.String(32), nullable=False),
    sa.Column("received", sa.DateTime, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
CLOSED = sa.Table(
    "closed_weeks",
    METADATA,
    sa.Column("week", sa.Date, primary_key=True),
    sa.Column("closed", sa.DateTime, nullable=False),
)


class Conflict(ValueError):
    """An id came with other content than before."""

    def __init__(self, id: str):
        self.id = id
        super().__init__(
            f"event {id!r} was sent before with other content; nothing of this batch was stored. "
            "Send a correction as an event with an id of its own."
        )


class Unavailable(ValueError):
    """The database cannot be read or written; a sentence says why."""


@dataclass(frozen=True)
class Added:
    """How many events of a batch were new, were stored before, and are of weeks that were closed before they came."""

    new: int
    repeated: int
    late: int


class Store:
    """Events of one market.

    Parameters
    ----------
    url : 'sqlite:///path/events.sqlite' or 'postgresql+psycopg://user:password@host/database'.

    Raises
    ------
    ValueError : an address that is neither, or a store that another version wrote.
    Unavailable : the database does not answer, or the file is no database.
    """

    def __init__(self, url: str):
        self._engine = _engine(url)
        with self._sentences(), self._writing() as connection:
            METADATA.create_all(connection)
            known = connection.execute(sa.select(INFO.c.value).where(INFO.c.name == "version")).scalar()
            if known is None:
                row = self._insert(INFO).values(name="version", value=VERSION)
                connection.execute(row.on_conflict_do_nothing())
        if known not in (None, VERSION):
            raise ValueError(
                f"the store of events was written by another version of shelfcast (its form is {known}, expected is "
                f"{VERSION}). Use that version to read it, or start a new store at another address."
            )

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()

    def add(self, events: Sequence[Event]) -> Added:
        """Store a batch, all or nothing; it is on the disk when this returns.

        Raises
        ------
        Conflict : an id came with other content, before or in this batch.
        Unavailable : the database cannot be written.
        """
        rows: dict[str, dict] = {}
        received = datetime.now(UTC).replace(tzinfo=None)
        for event in events:
            row = row_of(event, received)
            if rows.setdefault(event.id, row)["digest"] != row["digest"]:
                raise Conflict(event.id)
        with self._sentences(), self._writing() as connection:
            closed = connection.execute(sa.select(sa.func.max(CLOSED.c.week))).scalar()
            for row in rows.values():
                row["late"] = closed is not None and row["week"] <= closed
            before: set[str] = set()
            for part in _parts(list(rows)):
                stored = sa.select(EVENTS.c.id, EVENTS.c.digest).where(EVENTS.c.id.in_(part))
                for id, digest in connection.execute(stored):
                    if digest != rows[id]["digest"]:
                        raise Conflict(id)
                    before.add(id)
            new = [row for id, row in rows.items() if id not in before]
            if new:
                connection.execute(sa.insert(EVENTS), new)
        return Added(len(new), len(events) - len(new), sum(row["late"] for row in new))

    def close_week(self, week: date) -> bool:
        """Close the week of a Monday and all before it; False where it was closed already.

        Raises
        ------
        ValueError : no Monday.
        """
        if week.weekday():
            raise ValueError(f"{week} is no Monday. A week is named by the Monday on which it starts.")
        with self._sentences(), self._writing() as connection:
            now = datetime.now(UTC).replace(tzinfo=None)
            last = connection.execute(sa.select(sa.func.max(CLOSED.c.week))).scalar()
            if last is not None and last >= week:
                return False
            connection.execute(sa.insert(CLOSED).values(week=week, closed=now))
        return True

    def closed(self) -> date | None:
        """The Monday of the last closed week."""
        with self._sentences(), self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(CLOSED.c.week))).scalar()

    def count(self) -> dict[str, int]:
        """Kind -> stored events, all kinds."""
        with self._sentences(), self._engine.connect() as connection:
            found = connection.execute(sa.select(EVENTS.c.kind, sa.func.count()).group_by(EVENTS.c.kind)).all()
        return dict.fromkeys(KINDS, 0) | {kind: n for kind, n in found}

    def sales(self, weeks: Sequence[date]) -> dict[date, int]:
        """Monday -> stored sales of its week, for all of these weeks."""
        chosen = sa.select(EVENTS.c.week, sa.func.count()).where(EVENTS.c.kind == "sale", EVENTS.c.week.in_(weeks))
        with self._sentences(), self._engine.connect() as connection:
            found = connection.execute(chosen.group_by(EVENTS.c.week)).all()
        return dict.fromkeys(weeks, 0) | {week: n for week, n in found}

    def bodies(self, kind: str, until: date | None = None) -> list[str]:
        """The events of a kind as JSON, in the order in which they came; those of weeks up to `until`."""
        chosen = sa.select(EVENTS.c.body).where(EVENTS.c.kind == kind).order_by(EVENTS.c.number)
        if until is not None:
            chosen = chosen.where(EVENTS.c.week <= until)
        with self._sentences(), self._engine.connect() as connection:
            return list(connection.execute(chosen).scalars())

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """The only transaction that writes, from its start: what it has seen stays true until it ends."""
        with self._engine.connect().execution_options(write=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            yield connection

    def _insert(self, table: sa.Table):
        """INSERT that knows ON CONFLICT, in the database's own words."""
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(table)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """The database's errors as sentences, without addresses or passwords."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0] if error.orig is not None else type(error).__name__
            raise Unavailable(
                f"the store of events cannot be used: {reason}. Nothing of this batch was stored; mend the database "
                "(its disk, its rights, its address) and send it again."
            ) from error


def _engine(url: str) -> sa.Engine:
    try:
        address = sa.make_url(url)
        kind = address.get_backend_name()
    except sa.exc.ArgumentError:
        kind = ""
    if kind not in ("sqlite", "postgresql"):
        raise ValueError(
            "the address of the store of events must be sqlite:///path/to/events.sqlite or "
            "postgresql+psycopg://user:password@host/database."
        )
    if kind == "postgresql":
        engine = sa.create_engine(address.set(drivername="postgresql+psycopg"), pool_pre_ping=True)

        @sa.event.listens_for(engine, "connect")
        def wait(connection, _):
            connection.execute(f"SET lock_timeout = {round(1000 * PATIENCE)}")
            connection.commit()

        return engine
    engine = sa.create_engine(address, connect_args={"timeout": PATIENCE})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection, _):
        connection.isolation_level = None  # transactions begin below, so that a writer waits in place of failing later
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={round(1000 * PATIENCE)}"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")

    return engine


def row_of(event: Event, received: datetime) -> dict:
    """The row of `EVENTS` that holds an event; whether it is late is seen when it is stored."""
    body = event.model_dump_json(exclude_none=True)
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    keys = {"id": event.id, "kind": event.kind, "week": event.monday, "late": False}
    return keys | {"digest": digest, "received": received, "body": body}


def _parts(values: list) -> Iterator[list]:
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]
