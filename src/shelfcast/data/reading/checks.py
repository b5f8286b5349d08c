"""What is checked of each raw table alone: columns, types, empty cells, rules, keys, order.

`copy` takes a table into the database with its declared types. Whatever is wrong is a ValueError that says what, where,
what was expected and how to mend it.
"""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass

import duckdb
from pandas.tseries.api import guess_datetime_format

from shelfcast.data.reading.database import Database, quoted
from shelfcast.data.schema import CHANNEL, SCHEMA, Column

SQL_TYPE = {"id": "VARCHAR", "text": "VARCHAR", "number": "DOUBLE", "time": "TIMESTAMP", "week": "DATE"}
LARGEST = 1e15  # a number beyond it, or an infinite one, is a mistake
ISO = r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?"
NUMBER_ADVICE = "a number; write 1234.5, without thousands separators or currency"
DATE_ADVICE = "a date; write 2022-01-31 or 2022-01-31 18:05:00, all rows alike"


@dataclass(frozen=True)
class _Typed:
    """A declared column of a file, and its value in the declared type as SQL: NULL where it cannot be read."""

    name: str
    column: Column
    sql: str
    from_text: bool = False


def copy(database: Database, name: str, relation: str) -> list[str]:
    """Copy what `relation` selects into the table `name`, checked against the schema.

    Optional columns that are absent are NULL in the copy, but for attributes.

    Returns
    -------
    The columns that are there.

    Raises
    ------
    ValueError : see the module's text.
    """
    table = SCHEMA[name]
    try:
        types = database.columns(relation)
        _check_columns(name, list(types))
        declared = {c: table.columns.get(c, CHANNEL) for c in types if c in table.columns or table.others == "channels"}
        typed = {c: _typed(database, name, relation, c, types[c], column) for c, column in declared.items()}
        _check_readable(database, name, relation, [column for column in typed.values() if column.from_text])
        selected = {c: column.sql for c, column in typed.items()}
        if table.others == "attributes":
            selected = {c: selected.get(c, _attribute(c, kind)) for c, kind in types.items()}
        else:
            absent = {c: column for c, column in table.columns.items() if c not in types}
            selected |= {c: f"CAST(NULL AS {SQL_TYPE[column.kind]})" for c, column in absent.items()}
        columns = ", ".join(f"{sql} AS {quoted(c)}" for c, sql in selected.items())
        database.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM {relation}")
    except duckdb.Error as error:
        raise ValueError(f"{name} cannot be read: {str(error).splitlines()[0]}. Write its file anew.") from error
    _check_rules(database, name, list(typed.values()))
    _check_key(database, name, [c for c in table.key if c in types])
    if name == "transactions":
        _check_order(database)
    return [c for c in selected if c in types]


def _check_columns(name: str, columns: list[str]) -> None:
    faults = []
    for column, declared in SCHEMA[name].columns.items():
        if declared.required and column not in columns:
            near = difflib.get_close_matches(column, columns, n=1)
            faults.append(f"{name}.{column} is missing" + (f" (nearest: {near[0]!r})" if near else ""))
    if faults:
        raise ValueError(
            f"{'; '.join(faults)}. Add it, or rename yours through markets.<name>.rename; the table has {', '.join(columns)}."
        )
    if SCHEMA[name].others == "channels" and set(columns) <= set(SCHEMA[name].columns):
        raise ValueError(f"{name} has no channel of promotion. Add a column for each, which holds 0 to 1.")


def _attribute(name: str, kind: str) -> str:
    """An attribute keeps its type, but a date becomes text."""
    return f"CAST({quoted(name)} AS VARCHAR)" if kind == "DATE" else quoted(name)


def _typed(database: Database, table: str, relation: str, name: str, kind: str, column: Column) -> _Typed:
    """How a column of SQL type `kind` is read as what the schema declares."""
    cell, target = quoted(name), SQL_TYPE[column.kind]
    if target == "VARCHAR":
        return _Typed(name, column, f"CAST({cell} AS VARCHAR)")
    if target == "DOUBLE" and kind == "BOOLEAN":  # a byte for each of the many cells of channels
        return _Typed(name, column, f"CAST({cell} AS UTINYINT)")
    if target == "DOUBLE" and kind != "VARCHAR":
        return _Typed(name, column, f"nullif(CAST({cell} AS DOUBLE), 'NaN'::DOUBLE)")
    if target == "DOUBLE":
        number = f"CASE lower({cell}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE TRY_CAST({cell} AS DOUBLE) END"
        return _Typed(name, column, number, from_text=True)
    if kind.startswith(("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")):
        raise _zone_error(table, name, "UTC")
    if kind.startswith(("TIMESTAMP", "DATE")):
        return _Typed(name, column, f"CAST({cell} AS {target})")
    return _Typed(name, column, _date_of_text(database, table, relation, name, target), from_text=True)


def _date_of_text(database: Database, table: str, relation: str, name: str, target: str) -> str:
    """Text as a date, in the format of its first row; whole numbers such as 20220131 are text, too."""
    text = f"CAST({quoted(name)} AS VARCHAR)"
    rows = database.rows(f"SELECT {text} FROM {relation} WHERE {quoted(name)} IS NOT NULL LIMIT 1")
    first = rows[0][0] if rows else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a day above 12 stands first
        form = guess_datetime_format(first) or ""
    if "%z" in form:
        raise _zone_error(table, name, "UTC" if first.endswith(("Z", "+00:00")) else first[-6:])
    if form.startswith("%Y-%m-%d"):  # a cast alone would read 3-4-22 as the year 3, and drop a zone
        return f"CASE WHEN regexp_full_match({text}, '{ISO}') THEN TRY_CAST({text} AS {target}) END"
    return f"CAST(try_strptime({text}, '{form}') AS {target})" if form else f"CAST(NULL AS {target})"


def _zone_error(table: str, column: str, zone: str) -> ValueError:
    return ValueError(
        f"{table}.{column} carries the time zone {zone}. Convert it to the stores' local time and drop the zone, else "
        "late sales fall into the wrong week."
    )


def _check_readable(database: Database, name: str, relation: str, columns: list[_Typed]) -> None:
    """Text that should be numbers or dates: refuse the first cell that is neither empty nor one of these."""
    for typed in columns:
        cell = f"CAST({quoted(typed.name)} AS VARCHAR)"
        cells = f"SELECT row_number() OVER () - 1 AS row, {cell} AS cell, {typed.sql} AS value FROM {relation}"
        wrong = database.rows(f"""
            SELECT row, cell, count(*) OVER () FROM ({cells})
            WHERE cell IS NOT NULL AND value IS NULL ORDER BY row LIMIT 1""")
        if wrong:
            row, value, n = wrong[0]
            advice = NUMBER_ADVICE if typed.column.kind == "number" else DATE_ADVICE
            raise ValueError(
                f"{name}.{typed.name} cannot be read in {n:,} rows, first in row {row}: {value!r} is not {advice}."
            )


def _check_rules(database: Database, name: str, columns: list[_Typed]) -> None:
    """Empty cells and the rules of columns; every fault is a line of the message."""
    conditions = []
    for typed in columns:
        cell, column = quoted(typed.name), typed.column
        if not column.nullable:
            conditions.append((typed.name, f"{cell} IS NULL", "is empty, but every row needs a value"))
        if column.kind == "number":
            conditions.append((typed.name, f"abs({cell}) > {LARGEST}", "is too large to be true"))
        if column.rule is not None:
            conditions.append((typed.name, column.rule.fault.format(cell), column.rule.expected))
    counts = ", ".join(f"count(*) FILTER ({condition})" for _, condition, _ in conditions)
    n_wrong = database.rows(f"SELECT {counts} FROM {name}")[0]
    faults = []
    for n, (column, condition, what) in zip(n_wrong, conditions, strict=True):
        if n:
            first = f"SELECT rowid, {quoted(column)} FROM {name} WHERE {condition} ORDER BY rowid LIMIT 3"
            cells = ", ".join(f"row {row}: {value}" for row, value in database.rows(first))
            faults.append(f"{name}.{column} {what}. Mend {n:,} rows ({cells}).")
    if faults:
        raise ValueError("\n".join(faults))


def _check_key(database: Database, name: str, key: list[str]) -> None:
    if not key:
        return
    columns = ", ".join(key)
    repeated = f"(SELECT {columns}, count(*) AS n FROM {name} GROUP BY {columns} HAVING count(*) > 1)"
    n = database.rows(f"SELECT sum(n - 1) FROM {repeated}")[0][0]
    if n:
        first = database.rows(f"SELECT {columns} FROM {repeated} ORDER BY ALL LIMIT 1")[0]
        raise ValueError(
            f"{name}: {n:,} rows repeat a key ({columns}), first {', '.join(map(str, first))}. Keep one of each."
        )


def _check_order(database: Database) -> None:
    stamps = "(SELECT rowid AS row, timestamp, lag(timestamp) OVER () AS before FROM transactions)"
    late = (
        f"SELECT row, timestamp, before, count(*) OVER () FROM {stamps} WHERE timestamp < before ORDER BY row LIMIT 1"
    )
    for row, stamp, before, n in database.rows(late):
        raise ValueError(
            f"transactions.timestamp is out of order: row {row} ({stamp}) is earlier than the row before ({before}), "
            f"{n:,} such rows. Sort the table by timestamp; if that surprises you, day and month may be swapped."
        )
