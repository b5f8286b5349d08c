"""Facts by week (or day): what a panel needs of line items, aggregated by DuckDB to small frames.

`weeks` are the first days of periods of `tables.frequency`, and a *week* below is such a period; rows outside of them are left out, those of missing weeks in between too, and the frames number all
weeks from the first of them. Locations are numbered, too: the chain is 0, and `regions` (store_id, location) gives the others; sales
in stores that it does not name count in the chain alone. Rows of zero units are no sales.
"""

from __future__ import annotations

import pandas as pd

from shelfcast.data.periods import first_day, number, recorded_before, records, rows_in
from shelfcast.data.reading.database import quoted
from shelfcast.data.schema import SCHEMA
from shelfcast.data.tables import Tables

# The chain and every region from one pass: rows `l` have the number of their region, -1 without one.
LOCATION = "CASE WHEN grouping(l.region) = 1 THEN 0 ELSE l.region END AS location"
SALES = "(SELECT * FROM sales WHERE quantity > 0)"
VISITS = "(SELECT * FROM visits WHERE units > 0)"
BY_LOCATION = "GROUP BY GROUPING SETS (({keys}), ({keys}, l.region)) HAVING grouping(l.region) = 1 OR l.region > 0"


def trading_days(tables: Tables) -> pd.DataFrame:
    """Days with sales of any category: day, rows; category_rows, category_units; first_store and first_product of the
    category, by name, to tell what an odd day holds."""
    return tables.query(f"""
        SELECT CAST(v.day AS TIMESTAMP) AS day, v.rows, coalesce(s.rows, 0) AS category_rows,
               coalesce(s.units, 0) AS category_units, first_store, first_product
        FROM (SELECT day, CAST(sum(n) AS BIGINT) AS rows FROM {VISITS} GROUP BY day) v
        LEFT JOIN (
            SELECT day, count(*) AS rows, exact_sum(quantity) AS units, min(store_id) AS first_store,
                   arg_min(product_id, store_id) AS first_product
            FROM {SALES} GROUP BY day) s USING (day)
        ORDER BY v.day""")


def filled_columns(tables: Tables) -> list[str]:
    """The columns of transactions that hold anything in the category's rows."""
    columns = tables.columns["transactions"]
    filled = tables.query(f"SELECT {', '.join(f'count({quoted(c)}) AS {quoted(c)}' for c in columns)} FROM sales")
    return [column for column in columns if filled[column].iloc[0] > 0]


def product_weeks(tables: Tables, weeks: pd.DatetimeIndex) -> pd.DataFrame:
    """Sales of the category's products in the whole chain: product_id, week, units, rows."""
    return tables.query(f"""
        SELECT product_id, week, exact_sum(quantity) AS units, count(*) AS rows
        FROM {rows_in(tables, SALES, weeks)} GROUP BY product_id, week ORDER BY product_id, week""")


def store_weeks(tables: Tables, weeks: pd.DatetimeIndex) -> pd.DataFrame:
    """Sales of all categories: store_id, week, rows, units."""
    return tables.query(f"""
        SELECT store_id, week, CAST(sum(n) AS BIGINT) AS rows, exact_sum(units) AS units
        FROM {rows_in(tables, VISITS, weeks)} GROUP BY store_id, week ORDER BY store_id, week""")


def category_stores(tables: Tables, weeks: pd.DatetimeIndex) -> pd.DataFrame:
    """Sales of the category: store_id, rows, units."""
    return tables.query(f"""
        SELECT store_id, count(*) AS rows, exact_sum(quantity) AS units
        FROM {rows_in(tables, SALES, weeks)} GROUP BY store_id ORDER BY store_id""")


def quantities(tables: Tables, weeks: pd.DatetimeIndex) -> pd.Series:
    """The category's quantities: rows above zero, how many of these are not whole, and their median."""
    frame = tables.query(f"""
        SELECT count(*) AS rows, count(*) FILTER (quantity <> round(quantity)) AS fractional, median(quantity) AS median
        FROM {rows_in(tables, SALES, weeks)}""")
    return frame.iloc[0]


def n_different(tables: Tables, weeks: pd.DatetimeIndex, column: str) -> int:
    """Number of stores, customers or baskets in all categories; 0 where transactions do not name them."""
    return int(tables.query(f"SELECT count(DISTINCT {column}) AS n FROM {rows_in(tables, VISITS, weeks)}")["n"].iloc[0])


def shopped_stores(tables: Tables, weeks: pd.DatetimeIndex, stores: pd.Index | None = None) -> pd.DataFrame:
    """Where customers shop: customer_id, store_id, rows of all categories; rows without a customer are left out.

    Parameters
    ----------
    stores : these stores alone; all where none are given.
    """
    chosen = {} if stores is None else {"chosen": pd.DataFrame({"store_id": stores})}
    return tables.query(
        f"""
        SELECT customer_id, store_id, CAST(sum(n) AS BIGINT) AS rows
        FROM {rows_in(tables, VISITS, weeks)} v {"SEMI JOIN chosen USING (store_id)" if chosen else ""}
        WHERE customer_id IS NOT NULL
        GROUP BY customer_id, store_id ORDER BY customer_id, store_id""",
        **chosen,
    )


def shopper_items(tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame) -> pd.DataFrame:
    """What customers bought: customer_id, item, week, units; rows without a customer are left out.

    Parameters
    ----------
    products : product_id, item (its number).
    """
    return tables.query(
        f"""
        SELECT customer_id, item, week, exact_sum(quantity) AS units
        FROM {rows_in(tables, SALES, weeks)} JOIN items USING (product_id) WHERE customer_id IS NOT NULL
        GROUP BY customer_id, item, week ORDER BY customer_id, item, week""",
        items=products,
    )


def shopper_regions(tables: Tables, weeks: pd.DatetimeIndex, regions: pd.DataFrame) -> pd.DataFrame:
    """Where customers shop, week by week: customer_id, location, week, rows of all categories."""
    return tables.query(
        f"""
        SELECT customer_id, location, week, CAST(sum(n) AS BIGINT) AS rows
        FROM {rows_in(tables, VISITS, weeks)} JOIN regions USING (store_id) WHERE customer_id IS NOT NULL
        GROUP BY customer_id, location, week ORDER BY customer_id, location, week""",
        regions=regions,
    )


def store_units(tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame) -> pd.Series:
    """Units of some products by store_id; see `item_weeks` for `products`."""
    frame = tables.query(
        f"""
        SELECT store_id, exact_sum(quantity) AS units
        FROM {rows_in(tables, SALES, weeks)} JOIN items USING (product_id) WHERE week >= launch
        GROUP BY store_id ORDER BY store_id""",
        items=products,
    )
    return frame.set_index("store_id")["units"]


def item_weeks(tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """What some products sold: item, location, week; units, money, paid_units (those that money was paid for), discount;
    buyers, repeat_buyers (who had bought the product in an earlier week), baskets, coupon_baskets, each counted once in
    a location.

    Parameters
    ----------
    products : product_id, item (its number), launch (number of the first week that counts, negative for all).
    """
    return tables.query(
        f"""
        WITH lines AS (
            SELECT s.*, item, coalesce(location, -1) AS region,
                   min(week) OVER (PARTITION BY item, customer_id) AS first_week
            FROM {rows_in(tables, SALES, weeks)} s JOIN items USING (product_id) LEFT JOIN regions USING (store_id)
            WHERE week >= launch)
        SELECT item, {LOCATION}, week, exact_sum(quantity) AS units, exact_sum(sales_value) AS money,
               exact_sum(CASE WHEN sales_value > 0 THEN quantity ELSE 0 END) AS paid_units,
               coalesce(exact_sum(discount), 0) AS discount,
               count(DISTINCT customer_id) AS buyers,
               count(DISTINCT customer_id) FILTER (week > first_week) AS repeat_buyers,
               count(DISTINCT basket_id) AS baskets,
               count(DISTINCT basket_id) FILTER (coupon > 0) AS coupon_baskets
        FROM lines l {BY_LOCATION.format(keys="item, week")}""",
        items=products,
        regions=regions,
    )


def store_item_weeks(tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame) -> pd.DataFrame:
    """What some products sold by store: item, store_id, week, units; see `item_weeks` for `products`."""
    return tables.query(
        f"""
        SELECT item, store_id, week, exact_sum(quantity) AS units
        FROM {rows_in(tables, SALES, weeks)} JOIN items USING (product_id) WHERE week >= launch GROUP BY ALL ORDER BY ALL""",
        items=products,
    )


def cut_weeks(tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame) -> pd.DataFrame:
    """Stock-outs of some products: item, store_id, week, share of the week with an empty shelf, NULL if unknown."""
    share = "share" if "share" in tables.columns["stockouts"] else "NULL::DOUBLE AS share"
    rows = records(tables, "stockouts", f"product_id, store_id, {share}")
    return tables.query(
        f"""
        SELECT item, store_id, week, share FROM {rows_in(tables, rows, weeks)} JOIN items USING (product_id)
        WHERE week >= launch ORDER BY item, store_id, week""",
        items=products,
    )


def category_units(tables: Tables, weeks: pd.DatetimeIndex, regions: pd.DataFrame) -> pd.DataFrame:
    """Units of the whole category: location, week, units."""
    return _by_location(tables, rows_in(tables, SALES, weeks), "exact_sum(quantity) AS units", regions)


def traffic(tables: Tables, weeks: pd.DatetimeIndex, regions: pd.DataFrame) -> pd.DataFrame:
    """Baskets with anything at all: location, week, baskets. One that is seen in two regions counts twice."""
    return _by_location(
        tables, rows_in(tables, VISITS, weeks), "count(DISTINCT (region, basket_id)) AS baskets", regions
    )


def _by_location(tables: Tables, rows: str, fact: str, regions: pd.DataFrame) -> pd.DataFrame:
    return tables.query(
        f"""
        WITH lines AS (SELECT s.*, coalesce(location, -1) AS region FROM {rows} s LEFT JOIN regions USING (store_id))
        SELECT {LOCATION}, week, {fact} FROM lines l {BY_LOCATION.format(keys="week")}""",
        regions=regions,
    )


def recorded_weeks(tables: Tables, table: str) -> pd.Series:
    """Week -> records of all categories in `promotions`, `prices` or `behavior`; weeks without any are left out.

    The whole table is counted once, however many categories are read from it.
    """
    rows, number_of = "(SELECT CAST(timestamp AS DATE) AS day FROM main.behavior)", "count(*)"
    if table != "behavior":
        rows = records(tables, f"main.{table}", "product_id")
        if tables.frequency.daily:
            number_of = f"count(*) / {tables.plan_days}"  # a record of a week is one, not seven
    counts = f"main.records_of_{table}_{tables.frequency.alias.replace('-', '_')}"
    tables.database.execute(f"""
        CREATE TABLE IF NOT EXISTS {counts} AS
        SELECT {first_day(tables, "day")} AS week, {number_of} AS records FROM {rows} GROUP BY 1 ORDER BY 1""")
    return tables.query(f"SELECT week, records FROM {counts} ORDER BY week").set_index("week")["records"]


def promotion_stores(tables: Tables, until: pd.Timestamp) -> list[str]:
    """Stores with any record of promotion before a week, of any category."""
    tables.database.execute("""
        CREATE TABLE IF NOT EXISTS main.stores_of_promotions AS
        SELECT store_id, min(week) AS first_week FROM main.promotions GROUP BY store_id""")
    frame = tables.query(f"""
        SELECT store_id FROM main.stores_of_promotions WHERE {recorded_before(tables, until, "first_week")} ORDER BY 1""")
    return frame["store_id"].tolist()


def promotion_weeks(
    tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame, stores: pd.DataFrame
) -> pd.DataFrame:
    """Weights of the stores that promote a product: item, location, week, `promotion` for any channel, and one column
    for each channel, `promotion: <channel>`.

    Parameters
    ----------
    stores : store_id, location, weight. A channel that a store uses in part counts that part of its weight.
    """
    channels = sorted(set(tables.columns["promotions"]) - set(SCHEMA["promotions"].columns))
    numbers = [f"channel_{i}" for i in range(len(channels))]  # a channel may have the name of any column below
    names = ", ".join(f"{quoted(name)} AS {number}" for name, number in zip(channels, numbers, strict=True))
    rows = records(tables, "promotions", f"product_id, store_id, {names}")
    sums = [f"exact_sum({number} * weight) AS {number}" for number in numbers]
    frame = tables.query(
        f"""
        WITH lines AS (
            SELECT p.*, item, location AS region, weight
            FROM {rows_in(tables, rows, weeks)} p JOIN items USING (product_id) JOIN stores USING (store_id))
        SELECT item, {LOCATION}, week, exact_sum(greatest({", ".join(numbers)}) * weight) AS promotion, {", ".join(sums)}
        FROM lines l {BY_LOCATION.format(keys="item, week")}""",
        items=products,
        stores=stores,
    )
    return frame.rename(columns=dict(zip(numbers, (f"promotion: {name}" for name in channels), strict=True)))


def price_weeks(tables: Tables, first: pd.Timestamp, products: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """Planned prices: item, location, week (counted from `first`, negative before it), mean of log prices."""
    rows = records(tables, "prices", "product_id, store_id, price")
    return tables.query(
        f"""
        WITH lines AS (
            SELECT item, coalesce(location, -1) AS region, {number(tables, "day", first)} AS week, price
            FROM {rows} JOIN items USING (product_id) LEFT JOIN regions USING (store_id))
        SELECT item, {LOCATION}, week, exact_sum(ln(price)) / count(*) AS price
        FROM lines l {BY_LOCATION.format(keys="item, week")}""",
        items=products,
        regions=regions,
    )


def event_weeks(
    tables: Tables, weeks: pd.DatetimeIndex, products: pd.DataFrame, regions: pd.DataFrame, most: int, n_weeks: int
) -> pd.DataFrame:
    """Shoppers' behaviour, its `most` frequent kinds in the first `n_weeks`: event, item, location, week, n."""
    rows = "(SELECT *, CAST(timestamp AS DATE) AS day FROM behavior)"
    return tables.query(
        f"""
        WITH lines AS (
            SELECT trim(event) AS event, item, coalesce(location, -1) AS region, week, coalesce("count", 1) AS n
            FROM {rows_in(tables, rows, weeks)}
            JOIN items USING (product_id) LEFT JOIN regions USING (store_id)),
        frequent AS (
            SELECT event FROM lines WHERE week < {n_weeks} GROUP BY event ORDER BY exact_sum(n) DESC, event LIMIT {most})
        SELECT event, item, {LOCATION}, week, exact_sum(n) AS n
        FROM lines l WHERE event IN (SELECT event FROM frequent)
        {BY_LOCATION.format(keys="event, item, week")}""",
        items=products,
        regions=regions,
    )
