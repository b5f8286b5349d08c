"""What is checked across tables: categories, products and stores that other tables name, shares of unusable rows.

Rows that cannot be used are left out and counted, as lines of the quality table; too many of
them, or what cannot be mended here, is a ValueError that says what, where and how to mend it.
"""

from __future__ import annotations

import difflib

from shelfcast.data.quality import Count
from shelfcast.data.reading.database import Database

ABSURD_QUANTITY = 1_000  # units on one line; no till line of counted goods reaches it (fuel and coupons do)
USABLE = f"quantity > 0 AND quantity <= {ABSURD_QUANTITY}"
MOST_UNUSABLE = 0.05  # above this share of rows the table is wrong, not dirty
MOST_ABSURD = 0.01
ROWS_OF = {"promotions": "promotion", "prices": "price", "behavior": "event"}


def check_categories(database: Database, categories: list[str | None]) -> None:
    """Refuse a category that no product has; the message names the nearest ones."""
    rows = database.rows("SELECT DISTINCT category FROM products WHERE category IS NOT NULL ORDER BY category")
    by_upper = {name.upper(): name for (name,) in rows}
    for category in set(categories) - {None, *by_upper.values()}:
        wanted = str(category).upper()
        inside = [name for name in by_upper if wanted in name]  # "milk" should find FLUID MILK PRODUCTS
        close = difflib.get_close_matches(wanted, by_upper, n=5, cutoff=0.4)
        near = [by_upper[name] for name in dict.fromkeys(inside + close)][:5]
        some = ", ".join(list(by_upper.values())[:5])
        hint = f"nearest: {', '.join(near)}" if near else f"there are {len(rows)}, such as {some}"
        raise ValueError(
            f"category {category!r} does not exist; {hint}. Set markets.<name>.category or base.categories."
        )


def check_retailer(database: Database, columns: dict[str, list[str]]) -> dict[str, Count]:
    """Check what does not depend on a category; table -> how many of its rows name unknown products."""
    strange = "product_id NOT IN (SELECT product_id FROM products)"
    counts = {}
    for name in {"transactions", *ROWS_OF} & columns.keys():
        n, of = database.rows(f"SELECT count(*) FILTER ({strange}), count(*) FROM {name}")[0]
        check = f"{ROWS_OF[name]} of unknown product" if name in ROWS_OF else "unknown product_id"
        counts[name] = Count(check, n, of, "dropped")
    _check_share(database, counts["transactions"], f"transactions WHERE {strange}")
    if "stores" in columns:
        lacking = "store_id NOT IN (SELECT store_id FROM stores)"
        rows = database.rows(f"SELECT DISTINCT store_id FROM transactions WHERE {lacking} ORDER BY store_id")
        if rows:
            stores = [store for (store,) in rows[:3]]
            raise ValueError(f"stores lacks {len(rows)} stores that sell, such as {stores}. Add them.")
    return counts


def check_category(database: Database, category: str | None, counts: dict[str, Count], images: set[str]) -> list[Count]:
    """Check one category, which `database` holds; all counts.

    Parameters
    ----------
    counts : what `check_retailer` counted. images : product ids with a picture.
    """
    n, n_absurd, n_zero, n_free = database.rows(f"""
        SELECT count(*), count(*) FILTER (quantity > {ABSURD_QUANTITY}), count(*) FILTER (quantity = 0),
               count(*) FILTER (sales_value = 0 AND {USABLE})
        FROM rows""")[0]
    if n == 0:
        raise ValueError(f"category {category!r} has no sales at all. Choose one that sells.")
    _, n_strange, n_read, *_ = counts["transactions"]
    absurd = Count(f"quantity above {ABSURD_QUANTITY:,}", n_absurd, n, "dropped")
    zero = Count("quantity zero", n_zero, n, "dropped")
    _check_share(database, absurd, f"rows WHERE quantity > {ABSURD_QUANTITY}", MOST_ABSURD)
    _check_share(database, zero, "rows WHERE quantity = 0")
    all_counts = [
        Count("rows read", n_read, n_read, "all categories"),
        counts["transactions"],
        Count("rows of the category", n, n_read - n_strange, "kept"),
        absurd,
        zero,
        Count("sales value zero", n_free, n, "kept, no price seen"),
        *(counts[name] for name in ROWS_OF if name in counts),
    ]
    products = {product for (product,) in database.rows("SELECT product_id FROM products")}
    if "prices" in counts:
        n_priced = database.rows("SELECT count(DISTINCT product_id) FROM prices")[0][0]
        n_unpriced = len(products) - n_priced
        action = "the category's median stands in"
        all_counts.append(Count("product without a planned price", n_unpriced, len(products), action))
    if images:
        all_products = {product for (product,) in database.rows("SELECT product_id FROM main.products")}
        all_counts += [
            Count("picture of unknown product", len(images - all_products), len(images), "ignored"),
            Count("product without a picture", len(products - images), len(products), "kept, no picture"),
        ]
    return all_counts


def _check_share(database: Database, count: Count, source: str, most: float = MOST_UNUSABLE) -> None:
    """Stop where more than a share of the rows would be left out; `source` are these rows."""
    check, n, of, *_ = count
    if n > most * of:
        first = database.frame(f"SELECT * FROM {source} LIMIT 3").dropna(axis=1).to_dict("records")
        raise ValueError(
            f"transactions: {check} in {n:,} of {of:,} rows ({n / of:.1%}, at most {most:.0%} may be dropped), first "
            f"{first}. Mend the table or choose another category."
        )
