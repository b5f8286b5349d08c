"""How a cell is read as what the schema declares: SQL for ids, text, numbers, yes and no, dates.

What cannot be read becomes NULL; `checks.copy` then refuses it. Missing is an empty cell, in other columns than ids also
a word such as NA.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from pandas.tseries.api import guess_datetime_format

from shelfcast.data.reading.advice import OPTION
from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.data.schema import Column
from shelfcast.reading_options import Reading

SQL_TYPE = {"id": "VARCHAR", "text": "VARCHAR", "number": "DOUBLE", "flag": "DOUBLE", "time": "TIMESTAMP"}
SQL_TYPE |= {"week": "DATE"}
SPACES = " \t\r\n\u00a0\u2007\u202f\u200b\ufeff\u3000"
MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "NAN", "NULL", "NONE")  # as pandas reads CSV, whatever the case
BROKEN = ("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!")  # formulas of spreadsheets that failed
TRUE, FALSE = ("TRUE", "YES", "Y", "T"), ("FALSE", "NO", "N", "F")
ISO = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?"
ZONE = r"(Z|[+-]\d\d:?(\d\d)?)"
ORDERS = {"day first": ("%d", "%m"), "month first": ("%m", "%d")}


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
        return f"CASE WHEN upper({self.text}) NOT IN ({_listed(MISSING)}) THEN {self.text} END"

    def count(self, condition: str) -> int:
        return self.database.rows(f"SELECT count(*) FILTER ({condition}) FROM {self.relation}")[0][0]


def trimmed(cell: str) -> str:
    """A cell as text without white space around it, no-break spaces and byte order marks too."""
    return f"trim(CAST({cell} AS VARCHAR), {literal(SPACES)})"


def nested(kind: str) -> bool:
    """Whether a cell of this SQL type holds several values."""
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))


def read_cell(cells: Cells, column: Column, reading: Reading) -> tuple[str, bool]:
    """SQL of a column's cells in the declared type, and whether some may be unreadable: those that are text.

    Raises
    ------
    ValueError : the file's own type cannot be what is declared, or dates carry a zone or may be read in two ways.
    """
    kind, cell = cells.kind, quoted(cells.name)
    strange = ("DATE", "TIME", "INTERVAL", "BLOB") if column.kind in ("number", "flag") else ()
    if nested(kind) or kind.startswith(strange):
        what = {"number": "a number", "flag": "a number, or yes or no", "time": "a date", "week": "a date"}
        raise ValueError(
            f"{cells.table}.{cells.name} is of the type {kind[:60]} in its file, and must be "
            f"{what.get(column.kind, 'text')} in each row. Write the column anew."
        )
    if column.kind == "id":
        return _id(cells), False
    if column.kind == "text":
        return (cells.filled if kind == "VARCHAR" else f"CAST({cell} AS VARCHAR)"), False
    if column.kind in ("number", "flag"):
        if kind == "BOOLEAN":  # a byte for each of the many cells of channels
            return f"CAST({cell} AS UTINYINT)", False
        if kind != "VARCHAR":
            return f"nullif(CAST({cell} AS DOUBLE), 'NaN'::DOUBLE)", False
        number = number_of_text(cells.filled, reading)
        return (_flag(cells.filled, number) if column.kind == "flag" else number), True
    target = SQL_TYPE[column.kind]
    if kind.startswith(("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")):
        if reading.time_zone is None:
            raise _zone_error(cells, "UTC")
        return f"CAST({cell} AT TIME ZONE {literal(reading.time_zone)} AS {target})", False
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"CAST({cell} AS {target})", False
    return _date_of_text(cells, target, reading), True


def _id(cells: Cells) -> str:
    """Text, trimmed; a whole number that was written with decimals, such as 11.0, is 11."""
    cell, text = quoted(cells.name), f"CASE WHEN {cells.text} NOT IN ('', {_listed(BROKEN)}) THEN {cells.text} END"
    if cells.kind in ("DOUBLE", "FLOAT"):
        whole = f"{cell} = trunc({cell}) AND abs({cell}) < 1e18"
        return (
            f"CASE WHEN isnan({cell}) THEN NULL WHEN {whole} THEN CAST(CAST({cell} AS HUGEINT) AS VARCHAR) "
            f"ELSE CAST({cell} AS VARCHAR) END"
        )
    if "INT" in cells.kind:
        return f"CAST({cell} AS VARCHAR)"
    decimals = f"{text} LIKE '%.%0' AND regexp_full_match({text}, '-?[0-9]+[.]0+')"
    return f"CASE WHEN {decimals} THEN split_part({text}, '.', 1) ELSE {text} END"


def number_of_text(text: str, reading: Reading) -> str:
    """Text as a number, by the market's signs; groups of thousands must be whole groups."""
    decimal, thousands = reading.decimal or ".", reading.thousands
    if thousands is None and decimal == ".":
        return f"TRY_CAST({text} AS DOUBLE)"
    if thousands == " ":
        text = f"translate({text}, '\u00a0\u202f', '  ')"
    if thousands == decimal:  # 1.234 is a thousand and more, 2.50 is not
        grouped = f"regexp_full_match({text}, '[-+]?[1-9][0-9]{{0,2}}([{decimal}][0-9]{{3}})+')"
        other = f"replace({text}, {literal(decimal)}, '.')"
        whole = f"replace({text}, {literal(thousands)}, '')"
        return f"TRY_CAST(CASE WHEN {grouped} THEN {whole} ELSE {other} END AS DOUBLE)"
    groups = f"[0-9]{{1,3}}([{thousands}][0-9]{{3}})+|" if thousands else ""
    pattern = f"[-+]?({groups}[0-9]+)?([{decimal}][0-9]+)?([eE][-+]?[0-9]+)?"
    plain = f"replace({text}, {literal(thousands)}, '')" if thousands else text
    plain = f"replace({plain}, {literal(decimal)}, '.')"
    return f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) THEN TRY_CAST({plain} AS DOUBLE) END"


def _flag(text: str, number: str) -> str:
    return f"CASE WHEN upper({text}) IN ({_listed(TRUE)}) THEN 1 WHEN upper({text}) IN ({_listed(FALSE)}) THEN 0 ELSE {number} END"


def _date_of_text(cells: Cells, target: str, reading: Reading) -> str:
    """Text as a date, in the declared format or that of its first row; whole numbers such as 20220131 are text, too."""
    text = cells.filled
    zoned = f"regexp_matches({text}, '[0-9]{{2}}:[0-9]{{2}}.*{ZONE}$')"
    if cells.count(zoned):
        return _local_time(cells, zoned, target, reading)
    if reading.dates not in (None, *ORDERS):
        return f"CAST(try_strptime({text}, {literal(reading.dates)}) AS {target})"
    rows = cells.database.rows(f"SELECT {text} FROM {cells.relation} WHERE {text} IS NOT NULL LIMIT 1")
    first = rows[0][0] if rows else ""
    form = _format(first, reading.dates == "day first")
    if form.startswith("%Y-%m-%d"):  # a cast alone would read 3-4-22 as the year 3, and drop a zone
        return f"CASE WHEN regexp_full_match({text}, '{ISO}') THEN TRY_CAST({text} AS {target}) END"
    if "%d" not in form:  # nothing known, or a month or a year alone
        return f"CAST(NULL AS {target})"
    if reading.dates is None and not form.startswith("%Y"):
        form = _clear_order(cells, first, form)
    return f"CAST(try_strptime({text}, {literal(form)}) AS {target})"


def _format(first: str, day_first: bool) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a day above 12 stands first
        return guess_datetime_format(first, dayfirst=day_first) or ""


def _year_first(form: str) -> str:
    """The format with a year of two digits first, where it has one elsewhere: 22-01-31 is often written so."""
    parts = re.fullmatch(r"%[dm](\W)%[dm]\1%y(.*)", form)
    return f"%y{parts[1]}%m{parts[1]}%d{parts[2]}" if parts else form


def _clear_order(cells: Cells, first: str, form: str) -> str:
    """The one order of day and month that reads every row.

    Raises
    ------
    ValueError : both orders do, with different dates.
    """
    forms = list(dict.fromkeys((form, _format(first, True), _year_first(form))))
    unread = [
        cells.count(f"{cells.filled} IS NOT NULL AND try_strptime({cells.filled}, {literal(f)}) IS NULL") for f in forms
    ]
    fitting = [f for f, n in zip(forms, unread, strict=True) if n == 0]
    if len(fitting) > 1:
        year = f", or to the format {fitting[-1]}" if fitting[-1].startswith("%y") else ""
        raise ValueError(
            f"{cells.table}.{cells.name} may be read with the day or the month first, as {first!r} in row 0. "
            f"Set {OPTION}.dates to 'day first' or 'month first'{year}, or write 2022-01-31."
        )
    return fitting[0] if fitting else form


def _local_time(cells: Cells, zoned: str, target: str, reading: Reading) -> str:
    """Stamps with zones or offsets, also changing ones, in the named zone's time."""
    stamps = f"SELECT row_number() OVER () - 1 AS row, {cells.filled} AS cell FROM {cells.relation}"
    if reading.time_zone is None:
        found = f"SELECT DISTINCT regexp_extract({cells.filled}, '{ZONE}$') FROM {cells.relation} WHERE {zoned} ORDER BY 1 LIMIT 3"
        zones = [zone for (zone,) in cells.database.rows(found)]
        raise _zone_error(cells, "UTC" if set(zones) <= {"Z", "+00:00"} else " and ".join(zones))
    bare = f"SELECT row, cell FROM ({stamps}) WHERE NOT regexp_matches(cell, '{ZONE}$') LIMIT 1"
    for row, cell in cells.database.rows(bare):
        raise ValueError(
            f"{cells.table}.{cells.name}: row {row} ({cell}) has no time zone, while others have. Write all rows alike."
        )
    return f"CAST(TRY_CAST({cells.filled} AS TIMESTAMPTZ) AT TIME ZONE {literal(reading.time_zone)} AS {target})"


def _zone_error(cells: Cells, zone: str) -> ValueError:
    return ValueError(
        f"{cells.table}.{cells.name} carries the time zone {zone}. Convert it to the stores' local time and drop the "
        f"zone, or set {OPTION}.time_zone to the stores' zone, such as Europe/Berlin; else late sales fall into the wrong week."
    )


def in_week(sql: str, column: Column, reading: Reading) -> str:
    """A date moved from the day that weekly rows are stamped with to the Monday of their week.

    Weeks of plans that are Mondays already stay, since a retailer may stamp its tables differently.
    """
    days = reading.stamp_days
    if days == 0:
        return sql
    if column.kind == "week":
        return f"CASE WHEN isodow({sql}) = {days % 7 + 1} THEN {sql} - INTERVAL ({days}) DAY ELSE {sql} END"
    return f"{sql} - INTERVAL ({days}) DAY"


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(map(literal, words))
