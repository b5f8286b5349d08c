"""Files to what one can select from: Parquet as it is, CSV as text, in the market's encoding and with its separator."""

from __future__ import annotations

import codecs
import csv
import difflib
import tempfile
from pathlib import Path

import duckdb

from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.data.reading.text.advice import OPTION
from shelfcast.data.reading.text.cell import MISSING, SPACES, trimmed
from shelfcast.data.reading.text.numbers import number_of_text
from shelfcast.data.schema import DECLARED
from shelfcast.reading_options import Reading

CHUNK = 1 << 20  # bytes
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
ABOVE = "Remove what stands above the names of columns, which must be in line 1"
OTHER_KINDS = {  # first bytes of files that people rename to .csv
    b"PK\x03\x04": "a spreadsheet (.xlsx) or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (.xls)",
    b"\x1f\x8b": "packed by gzip",
    b"PAR1": "Parquet",
}


def find(database: Database, folder: Path, name: str, reading: Reading) -> str | None:
    """What one selects `<name>.parquet` or `<name>.csv` of a folder from; None where an optional table is absent.

    A CSV file is copied into the database as text, which the checks convert; attributes get the type they look like.

    Raises
    ------
    ValueError : a required file is missing, both files are there, or one cannot be read.
    """
    parquet, csv_file = folder / f"{name}.parquet", folder / f"{name}.csv"
    if parquet.exists() and csv_file.exists():
        raise ValueError(
            f"{name} stands there twice, as {parquet} and as {csv_file}. Remove the one that is out of date."
        )
    path = parquet if parquet.exists() else csv_file
    if not path.exists():
        if not DECLARED[name].required:
            return None
        raise ValueError(f"{folder}/ has no {name}.parquet or {name}.csv, which is required. {_cure(folder, name)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file. Write the table {name} as one file of that name.")
    try:
        if path == parquet:
            return _parquet(database, path)
        _copy_csv(database, path, name, reading)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {reason}. Write it anew.") from error
    if DECLARED[name].others == "attributes":
        _type_attributes(database, f"file_{name}", set(DECLARED[name].columns), reading)
    return f"file_{name}"


def _parquet(database: Database, path: Path) -> str:
    """What one selects a Parquet file from; a ValueError where two of its columns have one name."""
    relation = f"read_parquet({literal(str(path))})"
    written = {name for (name,) in database.rows(f"SELECT name FROM parquet_schema({literal(str(path))})")}
    renamed = [
        column for column in database.columns(relation) if column not in written
    ]  # by DuckDB, as they were alike
    if renamed:
        name = renamed[0].rsplit("_", 1)[0]
        raise ValueError(f"{path}: two columns are named {name!r}, whatever the case. Rename or remove one of them.")
    return relation


def _cure(folder: Path, name: str) -> str:
    """What to do about a missing file, by the files that are there."""
    by_stem = {path.name.split(".")[0].casefold(): path.name for path in sorted(folder.iterdir())}
    near = difflib.get_close_matches(name, by_stem, n=1, cutoff=0.7)
    return f"Write {by_stem[near[0]]} as {name}.csv." if near else "Add it."


def _copy_csv(database: Database, path: Path, name: str, reading: Reading) -> None:
    """Copy a CSV file as text; rows without any value are no rows.

    Raises
    ------
    ValueError : the file is of another kind or encoding, or its header is wrong, or stands there again.
    """
    _check_kind(path, reading)
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as folder:
        plain = _in_utf8(path, Path(folder) / "table.csv", reading)
        names = _header(plain, path, reading)
        options = f"header = true, delim = {literal(reading.separator)}, quote = '\"', escape = '\"', skip = 0"
        relation = f"read_csv({literal(str(plain))}, {options}, comment = '', nullstr = '', all_varchar = true)"
        try:
            columns = database.columns(relation)
        except duckdb.Error:
            _check_rows(plain, path, reading)
            raise
        cells = [trimmed(quoted(column)) for column in columns]
        filled = " OR ".join(f"{cell} <> ''" for cell in cells)
        try:
            database.execute(f"CREATE TABLE file_{name} AS SELECT * FROM {relation} WHERE {filled}")
        except duckdb.Error:
            _check_rows(plain, path, reading)
            raise
    again = " AND ".join(f"coalesce({cell}, '') = {literal(own)}" for cell, own in zip(cells, names, strict=False))
    rows = [row for (row,) in database.rows(f"SELECT rowid FROM file_{name} WHERE {again} ORDER BY rowid LIMIT 3")]
    if rows:
        where = ", ".join(map(str, rows))
        raise ValueError(f"{path}: the header stands there again, instead of values (rows {where}). Remove it there.")


def _check_kind(path: Path, reading: Reading) -> None:
    """Refuse a file that is empty, no CSV at all, or UTF-16 without a mark that nobody declared."""
    with path.open("rb") as file:
        begin = file.read(4096)
    if not begin.strip(b"\0 \r\n\t\xef\xbb\xbf"):
        raise ValueError(f"{path} is empty. Write it anew, or take it out of the folder.")
    for mark, kind in OTHER_KINDS.items():
        if begin.startswith(mark):
            raise ValueError(f"{path} is {kind}, whatever its name says. Save the table as CSV or Parquet.")
    if begin.lstrip().lower().startswith((b"<html", b"<table", b"<!doctype", b"<?xml")):
        raise ValueError(f"{path} is a web page or XML, whatever its name says. Save the table as CSV or Parquet.")
    if b"\0" in begin and reading.encoding is None and not begin.startswith(UTF_16_MARKS):
        if begin.count(b"\0") < len(begin) / 4:
            at = begin.find(b"\0")
            raise ValueError(
                f"{path} holds a byte of zero, first after {at:,} bytes. Remove such bytes, or write it anew."
            )
        order = "le" if begin.find(b"\0") % 2 else "be"
        raise ValueError(
            f"{path} holds bytes of zero, as UTF-16 does. Set {OPTION}.encoding: utf-16-{order}, or write it as UTF-8."
        )


def _header(plain: Path, path: Path, reading: Reading) -> list[str]:
    """The names in the first row, trimmed; a ValueError where the separator is another, or a name stands there twice."""
    with plain.open(encoding="utf-8-sig", newline="") as file:
        names = [name.strip(SPACES) for name in next(csv.reader(file, delimiter=reading.separator), [])]
    line = reading.separator.join(names)
    for other in ";\t|,":
        if len(names) == 1 and other in line:
            raise ValueError(
                f"{path} has one column, {line[:80]!r}: its cells are not separated by {reading.separator!r}. "
                f"Set {OPTION}.separator: {'tab' if other == chr(9) else repr(other)}."
            )
    if len(names) > 1 and _n_filled(names) == 1:
        raise ValueError(f"{path}: line 1 holds {next(filter(None, names))!r} alone. {ABOVE}.")
    lower = [name.casefold() for name in names]
    twice = [name for name in names if name and lower.count(name.casefold()) > 1]
    if twice:
        raise ValueError(
            f"{path}: two columns are named {twice[0]!r}, whatever the case. Rename or remove one of them."
        )
    return names


def _check_rows(plain: Path, path: Path, reading: Reading) -> None:
    """What is wrong with the rows of a CSV file that cannot be read: their cells, or a quote that is never closed.

    Raises
    ------
    ValueError : names the line.
    """
    with plain.open(encoding="utf-8-sig", newline="") as file:
        rows, header, line = csv.reader(file, delimiter=reading.separator, strict=True), [], 1
        try:
            for row in rows:
                header = header or row
                if row and len(row) != len(header):
                    above = _n_filled(header) <= 2 < _n_filled(row)
                    cure = ABOVE if above else "A cell that holds the separator needs quotes around it"
                    raise ValueError(f"{path}: line {line} has {len(row)} cells, line 1 has {len(header)}. {cure}.")
                line = rows.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"{path}: a quote is wrong from line {line} on ({error}). Close it, or write quotes inside of a cell twice."
            ) from None


def _n_filled(row: list[str]) -> int:
    return sum(bool(cell.strip(SPACES)) for cell in row)


def _in_utf8(path: Path, copy: Path, reading: Reading) -> Path:
    """The file itself where it is UTF-8, else a copy that is.

    Raises
    ------
    ValueError : the file holds bytes that are none of its encoding.
    """
    with path.open("rb") as file:
        marked = file.read(2) in UTF_16_MARKS
    encoding = "utf-16" if marked else reading.encoding or "utf-8"
    decoder, n_read = codecs.getincrementaldecoder(encoding)(), 0
    rewrite = encoding != "utf-8"
    try:
        with path.open("rb") as file, copy.open("w", encoding="utf-8", newline="") as plain:
            while chunk := file.read(CHUNK):
                text = decoder.decode(chunk)
                n_read += len(chunk)
                if rewrite:
                    plain.write(text)
            decoder.decode(b"", final=True)
    except UnicodeError:
        raise ValueError(
            f"{path} is not written in {encoding} (after {n_read:,} bytes). Set {OPTION}.encoding: cp1252 (Windows), or "
            "the encoding that the exporting tool names."
        ) from None
    return copy if rewrite else path


def _type_attributes(database: Database, table: str, declared: set[str], reading: Reading) -> None:
    """Undeclared columns of text become what all their cells look like: yes or no, whole numbers, numbers."""
    for column in database.columns(table):
        if column in declared:
            continue
        cell = quoted(column)
        text = f"CASE WHEN upper({trimmed(cell)}) NOT IN ({', '.join(map(literal, MISSING))}) THEN {trimmed(cell)} END"
        number = number_of_text(text, reading)
        n, n_zeros, n_numbers, n_whole, n_flags = database.rows(f"""
            SELECT count({text}), count(*) FILTER (regexp_matches({text}, '^-?0[0-9]')), count({number}),
                   count(*) FILTER (regexp_full_match({text}, '-?[0-9]{{1,18}}')),
                   count(*) FILTER (lower({text}) IN ('true', 'false'))
            FROM {table}""")[0]
        kind = "BOOLEAN" if n == n_flags else "BIGINT" if n == n_whole else "DOUBLE" if n == n_numbers else "VARCHAR"
        if n == 0 or n_zeros:  # 007 is a code
            kind = "VARCHAR"
        value = number if kind == "DOUBLE" else text
        database.execute(f"ALTER TABLE {table} ALTER {cell} TYPE {kind} USING CAST({value} AS {kind})")
