"""Sources: adapters from what a folder holds to SQL that selects tables of this project's schema."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.data.schema import SCHEMA

MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"]  # in CSV, as pandas reads it

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


def complete_journey(database: Database, folder: Path, rename: str) -> Source:
    """The default data: one year of 2,469 households."""
    if rename:
        raise ValueError("markets.<name>.rename has no meaning for the source complete_journey. Remove it.")
    transactions, products, promotions = (
        find(database, folder, name) for name in ("transactions", "products", "promotions")
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


def tables_folder(database: Database, folder: Path, rename: str) -> Source:
    """A folder in this project's schema."""
    names = _names(rename)
    relations = {}
    for name in SCHEMA:
        relation = find(database, folder, name, names)
        if relation is not None:
            relations[name] = _renamed(database, name, relation, names)
    expected = {f"{name}{ending}" for name in SCHEMA for ending in (".parquet", ".csv")} | {"images"}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in expected)
    return Source(relations, tuple(f"{name}: no table of this schema" for name in strange))


def _names(rename: str) -> dict[str, str]:
    """'theirs=ours, …' as a dictionary."""
    names = {}
    for pair in filter(str.strip, rename.split(",")):
        theirs, equals, ours = pair.partition("=")
        if not (theirs.strip() and equals and ours.strip()):
            raise ValueError(f"markets.<name>.rename is {rename!r}. Write 'theirs=ours' pairs, comma separated.")
        names[theirs.strip()] = ours.strip()
    return names


SOURCES: dict[str, Callable[[Database, Path, str], Source]] = {
    "complete_journey": complete_journey,
    "tables": tables_folder,
    "simulated": tables_folder,
}


def find(database: Database, folder: Path, name: str, names: dict[str, str] | None = None) -> str | None:
    """What one selects `<name>.parquet` or `<name>.csv` of a folder from; None where an optional table is absent.

    A CSV file is copied into the database: declared columns as text, which the checks convert, others by what they
    look like.

    Parameters
    ----------
    names : the file's column -> the schema's, for those that are renamed.

    Raises
    ------
    ValueError : a required file is missing, or one cannot be read.
    """
    parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
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
        database.execute(f"CREATE TABLE file_{name} AS SELECT * FROM {_csv(database, path, name, names or {})}")
        return f"file_{name}"
    except duckdb.Error as error:
        raise ValueError(
            f"{path} cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}. Write it anew."
        ) from error


def _csv(database: Database, path: Path, name: str, names: dict[str, str]) -> str:
    missing = ", ".join(literal(text) for text in MISSING)
    options = f"header = true, delim = ',', quote = '\"', escape = '\"', nullstr = [{missing}]"
    as_text = f"read_csv({literal(str(path))}, {options}, all_varchar = true)"
    declared = [c for c in database.columns(as_text) if names.get(c, c) in SCHEMA[name].columns]
    if SCHEMA[name].others != "attributes" or not declared:
        return as_text
    types = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in declared)
    options += f", types = {{{types}}}, auto_type_candidates = ['BOOLEAN', 'BIGINT', 'DOUBLE', 'VARCHAR']"
    return f"read_csv({literal(str(path))}, {options}, sample_size = -1)"


def _renamed(database: Database, name: str, relation: str, names: dict[str, str]) -> str:
    """The relation with its columns renamed, without the index that pandas may have written."""
    columns = [column for column in database.columns(relation) if not column.startswith("__index_level_")]
    ours = [names.get(column, column) for column in columns]
    twice = sorted({column for column in ours if ours.count(column) > 1})
    if twice:
        raise ValueError(
            f"{name}: two columns are named {twice[0]!r} after markets.<name>.rename. Rename only one column to that name."
        )
    selected = ", ".join(f"{quoted(a)} AS {quoted(b)}" for a, b in zip(columns, ours, strict=True))
    return f"(SELECT {selected} FROM {relation})"
