"""A temporary DuckDB database, in which raw tables are read, checked and aggregated.

It holds about a gigabyte in memory; what is more goes to a temporary folder, so that tables may be larger than the
memory.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator

import duckdb
import pandas as pd

MEMORY = "1GB"


class Database:
    """One connection; the files vanish with the object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="shelfcast-")
        self.connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": self._folder.name})
        # A sum of doubles depends on the order in which threads add; one of decimals does not.
        self.execute("CREATE MACRO exact_sum(x) AS CAST(sum(CAST(x AS DECIMAL(38, 12))) AS DOUBLE)")

    def cursor(self, schema: str = "main") -> Database:
        """A second connection, for which the tables of `schema` go before others of the same name."""
        other = copy.copy(self)
        other.connection = self.connection.cursor()
        other.execute(f"SET search_path = '{schema},main'")
        return other

    @contextlib.contextmanager
    def one_thread(self) -> Iterator[None]:
        """Within it, queries run on one thread, and so keep the order of rows in any case."""
        self.execute("SET threads = 1")
        try:
            yield
        finally:
            self.execute("RESET threads")

    def execute(self, sql: str) -> None:
        self.connection.execute(sql)

    def rows(self, sql: str) -> list[tuple]:
        return self.connection.execute(sql).fetchall()

    def frame(self, sql: str, **frames: pd.DataFrame) -> pd.DataFrame:
        """The result as a data frame; `frames` are tables that the query may name."""
        for name, frame in frames.items():
            self.connection.register(name, frame)
        result = self.connection.execute(sql).df()
        for name in frames:
            self.connection.unregister(name)
        times = result.select_dtypes("datetime").columns
        return result.astype(dict.fromkeys(times, "datetime64[ns]"))

    def columns(self, relation: str) -> dict[str, str]:
        """Column -> type of a table or of anything else that one can select from."""
        return {name: kind for name, kind, *_ in self.rows(f"DESCRIBE SELECT * FROM {relation}")}


def quoted(name: str) -> str:
    """A column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL."""
    return "'" + text.replace("'", "''") + "'"
