"""Files to what one can select from: Parquet as it is, CSV as text, in the market's encoding and with its separator."""

from __future__ import annotations

import codecs
import tempfile
from pathlib import Path

import duckdb

from shelfcast.data.reading.cells import MISSING, OPTION, number_of_text, trimmed
from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.data.schema import SCHEMA
from shelfcast.reading_options import Reading

CHUNK = 1 << 20  # bytes
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def find(database: Database, folder: Path, name: str, reading: Reading) -> str | None:
    """What one selects `<name>.parquet` or `<name>.csv` of a folder from; None where an optional table is absent.

    A CSV file is copied into the database as text, which the checks convert; attributes get the type they look like.

    Raises
    ------
    ValueError : a required file is missing, both files are there, or one cannot be read.
    """
    parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
    if parquet.exists() and csv.exists():
        raise ValueError(f"{name} stands there twice, as {parquet} and as {csv}. Remove the one that is out of date.")
    path = parquet if parquet.exists() else csv
    if not path.exists():
        if not SCHEMA[name].required:
            return None
        raise ValueError(f"{folder}/ has no {name}.parquet or {name}.csv, which is required. Add it.")
    try:
        if path == parquet:
            relation = f"read_parquet({literal(str(path))})"
            database.columns(relation)
            return relation
        _copy_csv(database, path, name, reading)
    except duckdb.Error as error:
        raise ValueError(
            f"{path} cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}. Write it anew."
        ) from error
    if SCHEMA[name].others == "attributes":
        _type_attributes(database, f"file_{name}", set(SCHEMA[name].columns), reading)
    return f"file_{name}"


def _copy_csv(database: Database, path: Path, name: str, reading: Reading) -> None:
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as folder:
        plain = _in_utf8(path, Path(folder) / path.name, reading)
        options = f"header = true, delim = {literal(reading.separator)}, quote = '\"', escape = '\"', skip = 0"
        relation = f"read_csv({literal(str(plain))}, {options}, comment = '', nullstr = '', all_varchar = true)"
        with plain.open(encoding="utf-8-sig") as file:
            header = file.readline().rstrip()
        for other in ";\t|,":
            if reading.separator not in header and other in header:
                raise ValueError(
                    f"{path} has one column, {header[:80]!r}: its cells are not separated by {reading.separator!r}. "
                    f"Set {OPTION}.separator: {other!r}."
                )
        database.execute(f"CREATE TABLE file_{name} AS SELECT * FROM {relation}")


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
