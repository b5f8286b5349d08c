"""1.234 that may mean 1,234: units that are whole, but for some that have three decimals."""

from __future__ import annotations

from shelfcast.data.reading.text.advice import OPTION
from shelfcast.data.reading.text.cell import Cells
from shelfcast.reading_options import Reading

COLUMNS = {"transactions": ("quantity", "sales_value", "discount"), "prices": ("price",), "behavior": ("count",)}
UNITS = ("quantity", "count")  # usually whole
TEXT = "regexp_full_match({}, '-?[1-9][0-9]{{0,2}}[.][0-9]{{3}}')"
WHOLE_TEXT = "regexp_full_match({}, '-?[0-9]+')"
SOME = 0.01  # share of whole units that is no chance; one of 1,000 amounts with three decimals is whole
THIRD = 0.5  # share of those with decimals whose third one is not 0, which as a number 1.230 has lost


def check_thousands(cells: Cells, value: str, reading: Reading) -> None:
    """Refuse a column whose decimals may be thousands.

    Parameters
    ----------
    value : SQL of the cell as a number.

    Raises
    ------
    ValueError : names a cell, and how to say what it is.
    """
    if cells.name not in COLUMNS.get(cells.table, ()) or "INT" in cells.kind or reading.decimal is not None:
        return
    is_text = cells.kind == "VARCHAR"
    if is_text and reading.thousands is None:
        _check_text(cells)
    if cells.name in UNITS and (reading.thousands is None or not is_text):
        _check_number(cells, value, is_text)


def _check_text(cells: Cells) -> None:
    """Text keeps the decimals that were written."""
    dotted, whole = TEXT.format(cells.filled), WHOLE_TEXT.format(cells.filled)
    counts = f"count(*) FILTER ({dotted}), count(*) FILTER ({whole}), count({cells.filled})"
    n_dotted, n_whole, n = cells.database.rows(f"SELECT {counts} FROM {cells.relation}")[0]
    if n_dotted and n_whole and n_dotted + n_whole == n:
        first = cells.database.rows(f"SELECT {cells.filled} FROM {cells.relation} WHERE {dotted} LIMIT 1")[0][0]
        raise ValueError(
            f"{cells.table}.{cells.name} is whole but for {n_dotted:,} of {n:,} rows with three decimals, such as "
            f"{first}: these may be thousands. Set {OPTION}.thousands: '.' if they are, or {OPTION}.decimal: '.' if not."
        )


def _check_number(cells: Cells, value: str, is_text: bool) -> None:
    """Numbers have lost the zeros at their end: 1.000 is 1, and 1.200 is 1.2."""
    part = "value <> trunc(value)"
    three = "abs(value) >= 1 AND abs(value) < 1000 AND abs(value * 1000 - round(value * 1000)) < 0.05"  # float32 is no finer
    n, n_part, n_three, n_third = cells.database.rows(f"""
        SELECT count(value), count(*) FILTER ({part}), count(*) FILTER ({part} AND {three}),
               count(*) FILTER ({part} AND {three} AND round(value * 1000) % 10 <> 0)
        FROM (SELECT CAST({value} AS DOUBLE) AS value FROM {cells.relation})""")[0]
    if not n_part or n_three < n_part or n_third < THIRD * n_part or n - n_part < SOME * n:
        return
    numbers = f"SELECT row_number() OVER () - 1 AS row, CAST({value} AS DOUBLE) AS value FROM {cells.relation}"
    row, first = cells.database.rows(f"SELECT row, value FROM ({numbers}) WHERE {part} ORDER BY row LIMIT 1")[0]
    how = "in the file" if is_text else "in the Parquet file's numbers"
    raise ValueError(
        f"{cells.table}.{cells.name} is whole but for {n_part:,} of {n:,} rows with three decimals, first in row {row}: "
        f"{first:.3f}. If a point stood for thousands, 1.000 is 1 {how}, and cannot be mended here: export the units "
        f"anew as whole numbers. If they are amounts, set {OPTION}.decimal: '.'."
    )
