"""What is checked of each raw table alone: columns, types, empty cells, rules, keys, order.

`copy` takes a table into the database with its declared types. Whatever is wrong is a ValueError that says what, where,
what was expected and how to mend it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

import duckdb

from shelfcast.data.reading.cells import BROKEN, SQL_TYPE, nested, read_cell
from shelfcast.data.reading.database import Database, quoted
from shelfcast.data.reading.text.advice import advice_on_date, advice_on_number, total_hint
from shelfcast.data.reading.text.cell import Cells, listed, trimmed
from shelfcast.data.reading.text.dates import in_week
from shelfcast.data.reading.text.thousands import check_thousands
from shelfcast.data.schema import CHANNEL, DECLARED, Column
from shelfcast.reading_options import Reading

LARGEST = 1e15  # a number beyond it, or an infinite one, is a mistake
YEARS = (1900, 2200)  # a date outside is a mistake, or stands for none
MOST_NAMES = 20  # columns that a message lists
MOST_CHANNELS = 100  # of promotion; each is a column of every product, location and week


@dataclass(frozen=True)
class _Typed:
    """A declared column of a file, and its value in the declared type as SQL: NULL where it cannot be read."""

    cells: Cells
    column: Column
    sql: str
    from_text: bool = False

    @property
    def name(self) -> str:
        return self.cells.name


def copy(database: Database, name: str, relation: str, reading: Reading) -> list[str]:
    """Copy what `relation` selects into the table `name`, checked against the schema.

    Optional columns that are absent are NULL in the copy, but for attributes.

    Returns
    -------
    The columns that are there.

    Raises
    ------
    ValueError : see the module's text.
    """
    table = DECLARED[name]
    try:
        types = database.columns(relation)
        _check_columns(name, list(types))
        declared = {c: table.columns.get(c, CHANNEL) for c in types if c in table.columns or table.others == "channels"}
        typed = {}
        for c, column in declared.items():
            typed[c] = _typed(Cells(database, name, relation, c, types[c]), column, reading)
        from_text = [column for column in typed.values() if column.from_text]
        _check_readable(from_text)
        for column in typed.values():
            check_thousands(column.cells, column.sql, reading)
        selected = {c: column.sql for c, column in typed.items()}
        if table.others == "attributes":
            selected = {c: selected.get(c, _attribute(c, kind)) for c, kind in types.items()}
        else:
            absent = {c: column for c, column in table.columns.items() if c not in types}
            selected |= {c: f"CAST(NULL AS {SQL_TYPE[column.kind]})" for c, column in absent.items()}
        columns = ", ".join(f"{sql} AS {quoted(c)}" for c, sql in selected.items())
        database.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM {relation}")
        if name == "transactions" and _out_of_order(database):  # DuckDB 2.0.1 may have swapped parts of a large file
            with database.one_thread():
                database.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {columns} FROM {relation}")
    except duckdb.Error as error:
        raise ValueError(f"{name} cannot be read: {str(error).splitlines()[0]}. Write its file anew.") from error
    if name == "products" and not database.rows("SELECT 1 FROM products LIMIT 1"):
        raise ValueError("products has no rows. Add one for each product.")
    _check_rules(database, name, list(typed.values()))
    _check_key(database, name, [c for c in table.key if c in types])
    if name == "transactions":
        _check_order(database)
    return [c for c in selected if c in types]


def _check_columns(name: str, columns: list[str]) -> None:
    faults = []
    for column, declared in DECLARED[name].columns.items():
        if declared.required and column not in columns:
            near = difflib.get_close_matches(column, columns, n=1)
            faults.append(f"{name}.{column} is missing" + (f" (nearest: {near[0]!r})" if near else ""))
    if faults:
        more = f" and {len(columns) - MOST_NAMES:,} more" if len(columns) > MOST_NAMES else ""
        raise ValueError(
            f"{'; '.join(faults)}. Add it, or rename yours through markets.<name>.rename; the table has "
            f"{', '.join(columns[:MOST_NAMES])}{more}."
        )
    if DECLARED[name].others == "channels" and set(columns) <= set(DECLARED[name].columns):
        raise ValueError(f"{name} has no channel of promotion. Add a column for each, which holds 0 to 1.")
    n_channels = len(set(columns) - set(DECLARED[name].columns))
    if DECLARED[name].others == "channels" and n_channels > MOST_CHANNELS:
        raise ValueError(
            f"{name} has {n_channels:,} columns that would be channels of promotion; at most {MOST_CHANNELS} can be read. "
            "Write one column for each kind of promotion, and one row for each product, store and week."
        )


def _attribute(name: str, kind: str) -> str:
    """An attribute keeps its type, but dates and what holds several values become text; blanks and errors are empty."""
    if kind == "VARCHAR":
        return f"CASE WHEN {trimmed(quoted(name))} NOT IN ('', {listed(BROKEN)}) THEN {quoted(name)} END"
    as_text = nested(kind) or kind.startswith(("DATE", "TIME", "INTERVAL", "BLOB"))
    return f"CAST({quoted(name)} AS VARCHAR)" if as_text else quoted(name)


def _typed(cells: Cells, column: Column, reading: Reading) -> _Typed:
    sql, from_text = read_cell(cells, column, reading)
    if column.kind == "week" or (cells.table, column.kind) == ("transactions", "time"):
        sql = f"CAST({in_week(sql, column, reading)} AS {SQL_TYPE[column.kind]})"
    if column.kind == "week" and reading.week_stamp == "day":
        column = replace(column, rule=None)  # any day may be recorded
    return _Typed(cells, column, sql, from_text)


def _check_readable(columns: list[_Typed]) -> None:
    """Text that should be numbers or dates: refuse the first cell that is neither missing nor one of these."""
    for typed in columns:
        cells = typed.cells
        read = f"SELECT row_number() OVER () - 1 AS row, {cells.filled} AS cell, {typed.sql} AS value FROM {cells.relation}"
        wrong = cells.database.rows(f"""
            SELECT row, cell, count(*) OVER () FROM ({read})
            WHERE cell IS NOT NULL AND value IS NULL ORDER BY row LIMIT 1""")
        if wrong:
            row, value, n = wrong[0]
            numeric = typed.column.kind in ("number", "flag")
            advice = advice_on_number(value, typed.column) if numeric else advice_on_date(value)
            raise ValueError(
                f"{cells.table}.{typed.name} cannot be read in {n:,} rows, first in row {row}: {value!r} is not {advice}."
                + total_hint(row, cells.count("true"))
            )


def _check_rules(database: Database, name: str, columns: list[_Typed]) -> None:
    """Empty cells and the rules of columns; every fault is a line of the message.

    A channel of promotion may be empty throughout, which is told later.
    """
    conditions = []
    for typed in columns:
        cell, column = quoted(typed.name), typed.column
        if not column.nullable:
            conditions.append((typed.name, f"{cell} IS NULL", "is empty, but every row needs a value"))
        if column.kind == "id" and not typed.cells.kind.endswith(("INT", "INTEGER")):  # those cannot be cut
            cut = f"{cell} LIKE '%E+%' AND regexp_full_match({cell}, '[0-9]([.,][0-9]+)?E[+][0-9]+')"
            conditions.append((typed.name, cut, "is a long number that a spreadsheet has cut: export ids as text"))
        if column.kind in ("time", "week"):
            first, last = YEARS
            outside = f"({cell} < DATE '{first}-01-01' OR {cell} >= DATE '{last + 1}-01-01')"
            cure = ", and is left empty where it is not known" if column.nullable else ""
            conditions.append((typed.name, outside, f"must be a date of the years {first} to {last}{cure}"))
        if column.kind == "flag" and typed.cells.kind == "BOOLEAN":  # 0 or 1, which no rule forbids
            continue
        if column.kind in ("number", "flag"):
            conditions.append((typed.name, f"abs({cell}) > {LARGEST}", "is too large to be true"))
        if column.rule is not None:
            conditions.append((typed.name, column.rule.fault.format(cell), column.rule.expected))
    counts = ", ".join(f"count(*) FILTER ({condition})" for _, condition, _ in conditions)
    n_rows, *n_wrong = database.rows(f"SELECT count(*), {counts} FROM {name}")[0]
    channels = {typed.name for typed in columns if typed.column is CHANNEL}
    faults = []
    for n, (column, condition, what) in zip(n_wrong, conditions, strict=True):
        if n and not (n == n_rows and column in channels and condition.endswith("IS NULL")):
            first = f"SELECT rowid, {quoted(column)} FROM {name} WHERE {condition} ORDER BY rowid LIMIT 3"
            cells = ", ".join(f"row {row}: {value}" for row, value in database.rows(first))
            last = database.rows(f"SELECT max(rowid) FROM {name} WHERE {condition}")[0][0]
            hint = total_hint(last, n_rows) if n == 1 else ""
            faults.append(f"{name}.{column} {what}. Mend {n:,} rows ({cells}).{hint}")
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


def _out_of_order(database: Database) -> list[tuple]:
    """The first row of transactions that is earlier than the row before: row, timestamp, the one before, how many."""
    stamps = "(SELECT rowid AS row, timestamp, lag(timestamp) OVER () AS before FROM transactions)"
    return database.rows(
        f"SELECT row, timestamp, before, count(*) OVER () FROM {stamps} WHERE timestamp < before ORDER BY row LIMIT 1"
    )


def _check_order(database: Database) -> None:
    for row, stamp, before, n in _out_of_order(database):
        raise ValueError(
            f"transactions.timestamp is out of order: row {row} ({stamp}) is earlier than the row before ({before}), "
            f"{n:,} such rows. Sort the table by timestamp; if that surprises you, day and month may be swapped."
        )
