"""Names that are written in several ways: by case, white space, signs or zeros in front. They are told, never joined."""

from __future__ import annotations

from shelfcast.data.quality.table import Count
from shelfcast.data.reading.database import Database, literal
from shelfcast.data.reading.text.cell import SPACES, trimmed

WITHIN = {"products": ("product_id",), "stores": ("store_id", "region"), "behavior": ("event",)}
WITHIN |= {"transactions": ("store_id",)}
BLANK = rf"[\s\p{{Z}}{SPACES[4:]}]+"  # RE2's \s knows none of the wide or invisible spaces


def spelling(cell: str) -> str:
    """SQL of what spellings have in common that differ by case and white space alone."""
    return f"regexp_replace(lower(CAST({cell} AS VARCHAR)), {literal(BLANK)}, '', 'g')"


def _loose(cell: str) -> str:
    """SQL of the same where signs, accents and zeros in front differ, too."""
    plain = f"lower(CAST({cell} AS VARCHAR))"
    letters = f"regexp_replace(strip_accents({plain}), '[^\\p{{L}}\\p{{N}}]+', '', 'g')"
    letters = f"CASE WHEN regexp_full_match({plain}, '[a-z0-9]*') THEN {plain} ELSE {letters} END"  # as most are
    return f"ltrim({letters}, '0')"


def near_ids(database: Database, table: str, column: str, known: str) -> str:
    """The end of a sentence on ids of a table that `known` does not have, but for another spelling; empty without any."""
    found = database.rows(f"""
        WITH strange AS (
            SELECT id, {_loose("id")} AS near, n FROM (
                SELECT {column} AS id, count(*) AS n FROM {table}
                WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT {column} FROM {known}) GROUP BY ALL)),
        ours AS (SELECT {_loose(column)} AS near, min({column}) AS id FROM {known} GROUP BY ALL)
        SELECT s.id, o.id, n FROM strange s JOIN ours o USING (near) WHERE near <> '' ORDER BY n DESC, s.id""")
    if not found:
        return ""
    theirs, ours, _ = found[0]
    more = f", {len(found) - 1} more alike" if len(found) > 1 else ""
    return f"{theirs!r} may be {ours!r}{more} (case, white space, signs and zeros in front belong to an id)"


def check_spellings(database: Database, columns: dict[str, list[str]]) -> list[Count]:
    """Stores, products, regions and events of one table that differ by case and white space alone."""
    counts = []  # below, the test on what is empty is on a minimum: as a WHERE, the optimizer spells every row for it
    for table, names in WITHIN.items():
        for column in set(names) & set(columns.get(table, ())):
            n_all = database.rows(f"SELECT count(*) FROM {table}")[0][0]
            pairs = database.rows(f"""
                WITH different AS (SELECT CAST({column} AS VARCHAR) AS name, count(*) AS n FROM {table} GROUP BY ALL)
                SELECT min(name), max(name), sum(n)::BIGINT AS n_rows FROM different
                GROUP BY {spelling("name")} HAVING count(*) > 1 AND min({spelling("name")}) <> ''
                ORDER BY n_rows DESC, 1""")
            if pairs:
                some = "; ".join(f"{first!r} and {second!r}" for first, second, _ in pairs[:3])
                more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
                action = "kept as different ones; write them alike where they are the same"
                n_rows = sum(n for *_, n in pairs)
                counts.append(Count(f"{table}.{column} in other spellings: {some}{more}", n_rows, n_all, action))
    return counts


def note_trimmed_categories(database: Database, relation: str) -> None:
    """Make the table `trimmed_categories`: which cells of products.category stood there with white space around them."""
    database.execute(f"""
        CREATE TABLE trimmed_categories AS
        SELECT {trimmed("category")} AS category, CAST(category AS VARCHAR) AS written, count(*) AS n,
               list(row ORDER BY row)[:3] AS first
        FROM (SELECT row_number() OVER () - 1 AS row, category FROM {relation})
        WHERE CAST(category AS VARCHAR) <> {trimmed("category")} GROUP BY ALL""")


def other_categories(database: Database, category: str | None) -> list[Count]:
    """How else the category is written: with white space around it, which belongs to it; or by case, inner white space,
    signs or accents, which does not."""
    counts, (n_all,) = [], database.rows("SELECT count(*) FROM main.products")[0]
    own = "true" if category is None else f"category = {literal(category)}"
    for name, written, n, first in database.rows(
        f"SELECT category, written, n, first FROM main.trimmed_categories WHERE {own} AND category <> '' ORDER BY ALL"
    ):
        check = f"product of category {written!r} (products, rows {', '.join(map(str, first))})"
        counts.append(Count(check, n, n_all, f"taken as {name!r}: white space around it is none"))
    if category is None:
        return counts
    # Materialized, as the optimizer spells the category of every row else.
    for name, n, first in database.rows(f"""
        WITH different AS MATERIALIZED (
            SELECT category, count(*) AS n, list(rowid ORDER BY rowid)[:3] AS first FROM main.products GROUP BY category)
        SELECT category, n, first FROM different
        WHERE category <> {literal(category)} AND {_loose("category")} = {_loose(literal(category))}
        ORDER BY category"""):
        check = f"product of category {name!r} (products, rows {', '.join(map(str, first))})"
        counts.append(Count(check, n, n_all, f"left out; write {category!r} where it is the same"))
    return counts
