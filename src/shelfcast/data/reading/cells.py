"""How a cell is read as what the schema declares: SQL for ids, text, numbers, yes and no, dates.

What cannot be read becomes NULL; `checks.copy` then refuses it. Missing is an empty cell, in other columns than ids also
a word such as NA.
"""

from __future__ import annotations

from shelfcast.data.reading.database import literal, quoted
from shelfcast.data.reading.text.cell import Cells, listed
from shelfcast.data.reading.text.dates import date_of_text, zone_error
from shelfcast.data.reading.text.numbers import number_of_text
from shelfcast.data.schema import Column
from shelfcast.reading_options import Reading

SQL_TYPE = {"id": "VARCHAR", "text": "VARCHAR", "number": "DOUBLE", "flag": "DOUBLE", "time": "TIMESTAMP"}
SQL_TYPE |= {"week": "DATE"}
BROKEN = ("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!")  # formulas of spreadsheets that failed
TRUE, FALSE = ("TRUE", "YES", "Y", "T"), ("FALSE", "NO", "N", "F")


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
            raise zone_error(cells, "UTC")
        return f"CAST({cell} AT TIME ZONE {literal(reading.time_zone)} AS {target})", False
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"CAST({cell} AS {target})", False
    return date_of_text(cells, target, reading), True


def _id(cells: Cells) -> str:
    """Text, trimmed; a whole number that was written with decimals, such as 11.0, is 11."""
    cell, text = quoted(cells.name), f"CASE WHEN {cells.text} NOT IN ('', {listed(BROKEN)}) THEN {cells.text} END"
    if cells.kind in ("DOUBLE", "FLOAT"):
        whole = f"{cell} = trunc({cell}) AND abs({cell}) < 1e18"
        return (
            f"CASE WHEN isnan({cell}) THEN NULL WHEN {whole} THEN CAST(CAST({cell} AS HUGEINT) AS VARCHAR) "
            f"ELSE CAST({cell} AS VARCHAR) END"
        )
    if "INT" in cells.kind:
        return f"CAST({cell} AS VARCHAR)"
    decimals = f"{text} LIKE '%.%0' AND regexp_full_match({text}, '-?[0-9]+[.]0+')"
    mended = f"CASE WHEN {decimals} THEN split_part({text}, '.', 1) ELSE {text} END"
    # Different ids are far fewer than rows, which are slow to mend one by one. The condition is a FILTER, since the
    # optimizer moves a WHERE to the rows.
    different = f"SELECT DISTINCT {cell} FROM {cells.relation}"
    n_odd = cells.database.rows(f"SELECT count(*) FILTER ({mended} IS DISTINCT FROM {cell}) FROM ({different})")[0][0]
    return mended if n_odd else cell


def _flag(text: str, number: str) -> str:
    return f"CASE WHEN upper({text}) IN ({listed(TRUE)}) THEN 1 WHEN upper({text}) IN ({listed(FALSE)}) THEN 0 ELSE {number} END"
