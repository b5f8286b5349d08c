"""One column of a file, and its cells as trimmed text."""

from __future__ import annotations

from dataclasses import dataclass

from shelfcast.data.reading.database import Database, literal, quoted

SPACES = " \t\r\n\u00a0\u2007\u202f\u200b\ufeff\u3000"
MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "NAN", "NULL", "NONE")  # as pandas reads CSV, whatever the case


@dataclass(frozen=True)
class Cells:
    """One column of one relation: how messages name it, how SQL does, and the SQL type that it has there."""

    database: Database
    table: str
    relation: str
    name: str
    kind: str

    @property
    def text(self) -> str:
        """The cell as trimmed text."""
        return trimmed(quoted(self.name))

    @property
    def filled(self) -> str:
        """The cell as trimmed text; NULL where it is missing."""
        return f"CASE WHEN upper({self.text}) NOT IN ({listed(MISSING)}) THEN {self.text} END"

    def count(self, condition: str) -> int:
        return self.database.rows(f"SELECT count(*) FILTER ({condition}) FROM {self.relation}")[0][0]


def trimmed(cell: str) -> str:
    """A cell as text without white space around it, no-break spaces and byte order marks too."""
    return f"trim(CAST({cell} AS VARCHAR), {literal(SPACES)})"


def listed(words: tuple[str, ...]) -> str:
    """Words as SQL lists them."""
    return ", ".join(map(literal, words))
