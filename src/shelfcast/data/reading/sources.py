"""Sources: adapters from what a folder holds to SQL that selects tables of this project's schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shelfcast.data.reading.database import Database, quoted
from shelfcast.data.reading.files import find
from shelfcast.data.reading.text.cell import SPACES
from shelfcast.data.schema import SCHEMA
from shelfcast.reading_options import Reading

# In New York, in the one year of the Complete Journey; times are UTC.
SUMMER_TIME = "transaction_timestamp >= '2017-03-12 07:00:00' AND transaction_timestamp < '2017-11-05 06:00:00'"


@dataclass(frozen=True)
class Source:
    """What a folder holds.

    relations : table -> what one can select its columns from. That of promotions may name the table `wanted`, which
        holds the ids of the products of all wanted categories.
    ignored : 'name: reason' of what is not used.
    """

    relations: dict[str, str]
    ignored: tuple[str, ...] = ()


def complete_journey(database: Database, folder: Path, rename: str, reading: Reading) -> Source:
    """The default data: one year of 2,469 households."""
    for option, given in (("rename", bool(rename)), ("read", reading != Reading())):
        if given:
            raise ValueError(f"markets.<name>.{option} has no meaning for the source complete_journey. Remove it.")
    transactions, products, promotions = (
        find(database, folder, name, reading) for name in ("transactions", "products", "promotions")
    )
    # The package stores UTC; in New York time every row falls into the week the package itself gives it (measured:
    # 0 of 1,469,307 rows disagree; as stored 2.4 % do). Two cases are ten times faster than a time zone's rules.
    rows = f"""(
        SELECT CASE WHEN {SUMMER_TIME} THEN transaction_timestamp - INTERVAL 4 HOUR
                    ELSE transaction_timestamp - INTERVAL 5 HOUR END AS timestamp,
               store_id, product_id, quantity, sales_value, basket_id, household_id AS customer_id,
               retail_disc + coupon_disc + coupon_match_disc AS discount, coupon_disc > 0 AS coupon
        FROM {transactions})"""
    listed = f"(SELECT * EXCLUDE (manufacturer_id) RENAME (product_category AS category) FROM {products})"
    # Week 1 is the Sunday 2017-01-01 alone, so week w starts on the Monday 2016-12-26 + 7 (w - 1) days.
    # A promoted product may be listed twice a week with two mailer places: it then has both.
    channels = [f"max({column} IN ({codes})) AS {name}" for name, (column, codes) in CHANNELS.items()]
    promoted = f"""(
        SELECT product_id, store_id, DATE '2016-12-26' + 7 * (week - 1)::INTEGER AS week, {", ".join(channels)}
        FROM {promotions} WHERE product_id IN (SELECT CAST(product_id AS BIGINT) FROM wanted)
        GROUP BY product_id, store_id, week)"""
    ignored = "campaigns, campaign_descriptions, coupons, coupon_redemptions, demographics: per household, not used"
    return Source({"transactions": rows, "products": listed, "promotions": promoted}, (ignored,))


# The codes of the Complete Journey's documentation, grouped by what a shopper meets.
CHANNELS = {
    "display_front": ("display_location", "'1', '2'"),  # store front, store rear
    "display_end_cap": ("display_location", "'3', '4', '5', '6'"),
    "display_aisle": ("display_location", "'7', '9'"),  # in aisle, secondary location
    "display_shelf": ("display_location", "'A'"),
    "mailer_cover": ("mailer_location", "'D', 'F', 'H', 'L', 'Z'"),  # front, back and wrap pages
    "mailer_inside": ("mailer_location", "'A', 'C', 'J', 'P', 'X'"),
}


def tables_folder(database: Database, folder: Path, rename: str, reading: Reading) -> Source:
    """A folder in this project's schema."""
    found = {name: find(database, folder, name, reading) for name in SCHEMA}
    relations = {name: relation for name, relation in found.items() if relation is not None}
    columns = {name: _columns(database, relation) for name, relation in relations.items()}
    names = _names(rename, columns)
    relations = {name: _renamed(name, relation, columns[name], names) for name, relation in relations.items()}
    expected = {f"{name}{ending}" for name in SCHEMA for ending in (".parquet", ".csv")} | {"images"}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in expected)
    return Source(relations, tuple(f"{name}: {_no_table(name, relations)}" for name in strange))


def _no_table(file: str, found: dict[str, str]) -> str:
    """Why a file is ignored, and which table it may be."""
    lacking = {name for name in SCHEMA if name not in found}
    near = difflib.get_close_matches(file.split(".")[0].casefold(), sorted(lacking), n=1, cutoff=0.7)
    hint = f"; if it is {near[0]}, write it as {near[0]}.csv or {near[0]}.parquet" if near else ""
    return f"no table of this schema{hint}"


def _columns(database: Database, relation: str) -> dict[str, str]:
    """The file's column -> its name without white space around it; without the index that pandas may have written."""
    columns = [column for column in database.columns(relation) if not column.startswith("__index_level_")]
    return {column: column.strip(SPACES) for column in columns}


def _names(rename: str, columns: dict[str, dict[str, str]]) -> dict[tuple[str, str], str]:
    """'theirs=ours, table.theirs=ours, …' as (table, theirs) -> ours; what names one table goes before the rest.

    Raises
    ------
    ValueError : a pair is mistyped, or no table has a column of that name.
    """
    for_all, for_one = {}, {}
    for pair in filter(str.strip, rename.split(",")):
        theirs, equals, ours = (part.strip() for part in pair.rpartition("="))
        if not (theirs and equals and ours):
            raise ValueError(f"markets.<name>.rename is {rename!r}. Write 'theirs=ours' pairs, comma separated.")
        table, dot, column = theirs.partition(".")
        one = bool(dot) and table in SCHEMA
        name = column if one else theirs
        where = [table] if one else list(columns)
        having = [other for other in where if name in columns.get(other, {}).values()]
        if not having:
            raise _unknown_column(theirs, [c for other in where for c in columns.get(other, {}).values()])
        (for_one if one else for_all).update({(other, name): ours for other in having})
    return for_all | for_one


def _unknown_column(theirs: str, columns: list[str]) -> ValueError:
    near = difflib.get_close_matches(theirs.split(".")[-1], columns, n=1, cutoff=0.5)
    hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(dict.fromkeys(columns))}"
    return ValueError(f"markets.<name>.rename names {theirs!r}, a column that no table has; {hint}. Mend or remove it.")


SOURCES: dict[str, Callable[[Database, Path, str, Reading], Source]] = {
    "complete_journey": complete_journey,
    "tables": tables_folder,
    "simulated": tables_folder,
}


def _renamed(name: str, relation: str, columns: dict[str, str], names: dict[tuple[str, str], str]) -> str:
    """The relation with its columns renamed."""
    ours = {column: names.get((name, stripped), stripped) for column, stripped in columns.items()}
    all_ours = list(ours.values())
    twice = sorted({column for column in all_ours if all_ours.count(column) > 1})
    if twice:
        raise ValueError(
            f"{name}: two columns are named {twice[0]!r} after markets.<name>.rename. Rename only one column to that name."
        )
    selected = ", ".join(f"{quoted(a)} AS {quoted(b)}" for a, b in ours.items())
    return f"(SELECT {selected} FROM {relation})"
