"""What is checked across tables: categories, and the products and stores that one table names and another does not.

Rows that cannot be used are left out and counted, as lines of the quality table; too many of
them, or what cannot be mended here, is a ValueError that says what, where and how to mend it.
"""

from __future__ import annotations

import difflib

from shelfcast.data.quality.spellings import near_ids, other_categories
from shelfcast.data.quality.table import Count, week_text
from shelfcast.data.reading.database import Database, quoted
from shelfcast.data.reading.text.cell import SPACES
from shelfcast.data.schema import SCHEMA

USABLE = "quantity > 0"  # rows of zero prove that a day was observed, and sell nothing
MOST_UNUSABLE = 0.05  # above this share of rows the table is wrong, not dirty
TIMES_USUAL = 20  # times what nine of ten of a product's rows reach, and a quantity is told as an outlier
ROWS_OF = {"promotions": "promotion", "prices": "price", "behavior": "event", "stockouts": "stock-out"}
UNKNOWN_PRODUCT = "product_id NOT IN (SELECT product_id FROM products)"


def find_categories(database: Database, categories: list[str | None]) -> list[str | None]:
    """The categories as products writes them; another case is taken where it is the only one.

    Raises
    ------
    ValueError : no product has the category; the message names the nearest ones.
    """
    rows = database.rows("SELECT DISTINCT category FROM products WHERE category IS NOT NULL ORDER BY category")
    names = [name for (name,) in rows]
    return [None if category is None else _find_category(category, names) for category in categories]


def _find_category(category: str, names: list[str]) -> str:
    category = category.strip(SPACES)
    if category in names:
        return category
    wanted = _spelling(category)
    same = [name for name in names if _spelling(name) == wanted]
    if len(same) == 1:
        return same[0]
    inside = [name for name in names if wanted in _spelling(name)]  # "milk" should find FLUID MILK PRODUCTS
    by_spelling = {_spelling(name): name for name in names}
    close = [by_spelling[s] for s in difflib.get_close_matches(wanted, by_spelling, n=5, cutoff=0.4)]
    near = list(dict.fromkeys(same + inside + close))[:5]
    some = ", ".join(names[:5])
    hint = f"nearest: {', '.join(near)}" if near else f"there are {len(names)}, such as {some}"
    what = "is written in several ways" if same else "does not exist"
    raise ValueError(f"category {category!r} {what}; {hint}. Set markets.<name>.category or base.categories.")


def _spelling(name: str) -> str:
    return " ".join(name.casefold().split())


def drop_empty(database: Database, columns: dict[str, list[str]]) -> list[Count]:
    """Take columns without any value out of `columns`, but for required ones; what is empty is counted.

    Raises
    ------
    ValueError : no channel of promotion is left, or a column of prices is empty in part.
    """
    counts = []
    for table, names in columns.items():
        filled = ", ".join(f"count({quoted(column)})" for column in names)
        n, *n_filled = database.rows(f"SELECT count(*), {filled} FROM {table}")[0]
        for column, n_column in zip(list(names), n_filled, strict=True):
            declared = SCHEMA[table].columns.get(column)
            n_empty = n - n_column
            if n_empty == 0 or (declared is not None and declared.required):
                continue
            if n_empty == n:
                names.remove(column)
                counts.append(Count(f"{table}.{column} empty", n, n, "read as if the column were absent"))
            elif table == "prices":
                _refuse_gaps(database, column, n_empty, n)
            elif declared is not None and table in ("transactions", "stores"):
                counts.append(Count(f"{table}.{column} empty", n_empty, n, "kept"))
    if "promotions" in columns and set(columns["promotions"]) <= set(SCHEMA["promotions"].columns):
        raise ValueError(
            "promotions: all channels are empty. Fill one with 0 to 1, or take promotions out of the folder."
        )
    return counts


def _refuse_gaps(database: Database, column: str, n_empty: int, n: int) -> None:
    rows = database.rows(f"SELECT rowid FROM prices WHERE {quoted(column)} IS NULL ORDER BY rowid LIMIT 3")
    first = ", ".join(str(row) for (row,) in rows)
    raise ValueError(
        f"prices.{column} is empty in {n_empty:,} of {n:,} rows (rows {first}). Fill it in every row, or "
        "remove the column where prices hold for all stores."
    )


def count_idle(database: Database, columns: dict[str, list[str]]) -> list[Count]:
    """Channels that promote nothing, and kinds of events that were never counted: kept, and told."""
    counts = []
    channels = [column for column in columns.get("promotions", ()) if column not in SCHEMA["promotions"].columns]
    if channels:
        used = ", ".join(f"count(*) FILTER ({quoted(channel)} <> 0)" for channel in channels)
        n, *n_used = database.rows(f"SELECT count(*), {used} FROM promotions")[0]
        idle = [channel for channel, n_own in zip(channels, n_used, strict=True) if n and n_own == 0]
        counts += [
            Count(f"promotions.{channel} is 0", n, n, "kept; nothing can be learned from it") for channel in idle
        ]
    if "behavior" in columns:
        rows = database.rows("""
            SELECT event, count(*), sum(count(*)) OVER (), max(coalesce("count", 1)) AS most
            FROM behavior GROUP BY event QUALIFY most = 0 ORDER BY event""")
        action = "kept; nothing can be learned from them"
        counts += [Count(f"events of kind {kind!r} with a count of 0", n, int(of), action) for kind, n, of, _ in rows]
    return counts


def check_ids(database: Database, columns: dict[str, list[str]]) -> dict[str, list[Count]]:
    """Compare products and stores of all tables; table -> what was counted, rows of unknown products first.

    Raises
    ------
    ValueError : transactions name too many unknown products, another table knows none of them, or `stores` lacks some.
    """
    n_all = database.rows("SELECT count(*) FROM transactions")[0][0]
    database.execute(f"""
        CREATE TABLE strangers AS
        SELECT rowid AS row, timestamp, product_id, quantity FROM transactions WHERE {UNKNOWN_PRODUCT}""")
    strange = dropped(database, "unknown product_id", "strangers", n_all)
    _check_share(database, strange)
    near = near_ids(database, "strangers", "product_id", "products") if strange.found else ""
    strange = strange._replace(action=f"dropped; {near}" if near else "dropped")
    counts = {"transactions": [strange]}
    database.execute("CREATE TABLE sellers AS SELECT DISTINCT store_id FROM transactions")
    for table, rows in ROWS_OF.items():
        if table in columns:
            counts[table] = [
                _unknown(database, table, "product_id", "products", f"{rows} of unknown product", "dropped")
            ]
            if "store_id" in columns[table]:
                count = _unknown(database, table, "store_id", "sellers", f"{rows} of unknown store", "not used")
                counts[table].append(count)
    if "stores" in columns:
        counts["stores"] = _check_stores(database, columns["stores"])
    return counts


def _unknown(database: Database, table: str, column: str, known: str, check: str, action: str) -> Count:
    """Rows whose product or store `known` does not have; none that it has is an error."""
    strange = f"{column} IS NOT NULL AND {column} NOT IN (SELECT {column} FROM {known})"
    n, of = database.rows(f"SELECT count(*) FILTER ({strange}), count({column}) FROM {table}")[0]
    if n and n == of:
        theirs = [name for (name,) in database.rows(f"SELECT DISTINCT {column} FROM {table} ORDER BY 1 LIMIT 3")]
        ours = [name for (name,) in database.rows(f"SELECT DISTINCT {column} FROM {known} ORDER BY 1 LIMIT 3")]
        other = "transactions" if known == "sellers" else known
        raise ValueError(
            f"{table}.{column}: none of its ids, such as {', '.join(theirs)}, is one of {other}, such as "
            f"{', '.join(ours)}. Write ids alike in all tables, or take {table} out of the folder."
            + _hint(database, table, column, known)
        )
    near = near_ids(database, table, column, known) if n else ""
    return Count(check, n, of, f"{action}; {near}" if near else action)


def _hint(database: Database, table: str, column: str, known: str) -> str:
    """One more sentence where ids would be known if they were spelled otherwise."""
    near = near_ids(database, table, column, known)
    return f" {near}." if near else ""


def _check_stores(database: Database, columns: list[str]) -> list[Count]:
    """Stores that `stores` lacks are refused; those that sell nothing, or lie nowhere, are counted."""
    lacking = "store_id NOT IN (SELECT store_id FROM stores)"
    rows = database.rows(f"SELECT store_id FROM sellers WHERE {lacking} ORDER BY store_id")
    if rows:
        names = [store for (store,) in rows[:3]]
        raise ValueError(
            f"stores lacks {len(rows)} stores that sell, such as {names}. Add them."
            + _hint(database, "sellers", "store_id", "stores")
        )
    idle = "store_id NOT IN (SELECT store_id FROM sellers)"
    n_idle, n = database.rows(f"SELECT count(*) FILTER ({idle}), count(*) FROM stores")[0]
    near = near_ids(database, "stores", "store_id", "sellers") if n_idle else ""
    counts = [Count("store without sales", n_idle, n, f"not used; {near}" if near else "not used")]
    if {"latitude", "longitude"} <= set(columns):
        nowhere = "latitude = 0 AND longitude = 0"
        names = [name for (name,) in database.rows(f"SELECT store_id FROM stores WHERE {nowhere} ORDER BY 1")]
        if names:
            check = f"store at latitude 0 and longitude 0: {', '.join(names[:3])}"
            counts.append(Count(check, len(names), n, "kept; empty both where the place is not known"))
    if "region" in columns:
        gap = "trim(CAST(region AS VARCHAR)) = '' OR region IS NULL"
        names = [name for (name,) in database.rows(f"SELECT store_id FROM stores WHERE {gap} ORDER BY 1")]
        if names:
            check = f"store without a region: {', '.join(names[:3])}"
            counts.append(Count(check, len(names), n, "joins another store's region, or the chain alone"))
    return counts


def check_category(
    database: Database, category: str | None, counts: dict[str, list[Count]], images: set[str]
) -> list[Count]:
    """Check one category, which `database` holds; all counts.

    Parameters
    ----------
    counts : what `check_ids` counted. images : product ids with a picture.
    """
    n, n_zero, n_free = database.rows(f"""
        SELECT count(*), count(*) FILTER (quantity = 0), count(*) FILTER (sales_value = 0 AND {USABLE}) FROM rows""")[0]
    if n == n_zero:
        raise ValueError(f"category {category!r} has no sales at all. Choose one that sells.")
    unknown = counts["transactions"][0]
    all_counts = [
        Count("rows read", unknown.of, unknown.of, "all categories"),
        unknown,
        Count("rows of the category", n, unknown.of - unknown.found, "kept"),
        *other_categories(database, category),
        Count("quantity zero", n_zero, n, "no sale; the day was observed"),
        *_outliers(database, n),
        Count("sales value zero", n_free, n, "kept, no price seen"),
        *(count for name in (*ROWS_OF, "stores") for count in counts.get(name, ())),
    ]
    products = {product for (product,) in database.rows("SELECT product_id FROM products")}
    if "prices" in counts:
        n_priced = database.rows("SELECT count(DISTINCT product_id) FROM prices")[0][0]
        action = "the category's median stands in"
        all_counts.append(Count("product without a planned price", len(products) - n_priced, len(products), action))
    if images:
        all_products = {product for (product,) in database.rows("SELECT product_id FROM main.products")}
        if not images & all_products:
            raise ValueError(
                f"images: no file name is a product_id, such as {sorted(images)[0]} (products has "
                f"{sorted(all_products)[0]}). Name pictures by product_id, or take the folder away."
            )
        all_counts += [
            Count("picture of unknown product", len(images - all_products), len(images), "ignored"),
            Count("product without a picture", len(products - images), len(products), "kept, no picture"),
        ]
    return all_counts


def _outliers(database: Database, n_rows: int) -> list[Count]:
    """Quantities far above what nine of ten rows of the product reach, everywhere and in the same store; kept."""
    usual = "quantile_cont(quantity, 0.9) AS usual"
    far = f"""(
        WITH of_product AS (
            SELECT product_id, {usual} FROM sales GROUP BY product_id HAVING count(*) >= 20),
        candidates AS (
            SELECT s.* FROM sales s JOIN of_product p USING (product_id) WHERE quantity > {TIMES_USUAL} * p.usual),
        of_store AS (
            SELECT product_id, store_id, count(*) AS n, {usual} FROM sales SEMI JOIN candidates USING (product_id, store_id) GROUP BY ALL)
        SELECT c.* FROM candidates c JOIN of_store o USING (product_id, store_id)
        WHERE o.n < 10 OR quantity > {TIMES_USUAL} * o.usual)"""
    found = dropped(database, f"quantity above {TIMES_USUAL} times the product's usual", far, n_rows)
    return [found._replace(action="kept")]


def dropped(database: Database, check: str, source: str, of: int) -> Count:
    """Count rows of transactions that are left out, with their units and weeks; `source` are these rows."""
    week = "CAST(date_trunc('week', timestamp) AS DATE)"
    n, units = database.rows(f"SELECT count(*), exact_sum(quantity) FROM {source}")[0]
    if n == 0:
        return Count(check, 0, of, "dropped", 0.0)
    weeks = [row for (row,) in database.rows(f"SELECT DISTINCT {week} FROM {source} ORDER BY 1")]
    first, last = database.rows("SELECT min(timestamp), max(timestamp) FROM transactions")[0]
    rare = len(weeks) <= ((last - first).days / 7 + 1) / 2
    return Count(check, n, of, "dropped", units, week_text(weeks) if rare else "")


def _check_share(database: Database, count: Count) -> None:
    """Stop where more than a share of the rows would be left out, which are those of `strangers`."""
    if count.found > MOST_UNUSABLE * count.of:
        rows = database.rows("SELECT row, product_id FROM strangers ORDER BY row LIMIT 3")
        first = ", ".join(f"row {row}: {product}" for row, product in rows)
        raise ValueError(
            f"transactions: {count.check} in {count.found:,} of {count.of:,} rows ({count.found / count.of:.1%}, at most "
            f"{MOST_UNUSABLE:.0%} may be dropped), first {first}. Mend the table, or add the products to products."
            + _hint(database, "transactions", "product_id", "products")
        )
