"""What is odd in the transactions of all categories: told, mended where that is safe, refused where it is not.

"Odd" is always measured by what is usual in the same table, so that it holds for till lines as for weekly totals.
"""

from __future__ import annotations

from shelfcast.data.quality.table import Count, week_text
from shelfcast.data.reading.database import Database
from shelfcast.data.reading.text.advice import OPTION
from shelfcast.reading_options import WEEKDAYS, Reading

ONE_OF_MOST = 0.1  # an id with this share of rows, and ...
TIMES_THE_NEXT = 10  # ... with so many times the rows of the next one, is a number for nobody
FEW_REFUNDS = 0.01  # of the rows with a discount may have the other sign
LOADED_TWICE = 0.95  # of a day's different rows stand there twice (four times, ...), or three times
MANY_WEEKDAYS = 3  # with sales, from which on rows are not totals of weeks
FEW_ROWS = 20  # different rows, from which on a day is looked at
MOST_REPEATED = 0.01  # of all rows may be on days that were loaded twice


def check_transactions(database: Database, columns: dict[str, list[str]], reading: Reading) -> list[Count]:
    """All checks; `columns` are those that hold anything."""
    has = columns["transactions"]
    if database.rows("SELECT count(*) FROM transactions")[0][0] == 0:
        raise ValueError("transactions has no rows. Add some.")
    counts = _week_stamps(database, reading)
    if "discount" in has:
        counts += _discounts(database)
    counts += [count for column in ("customer_id", "basket_id") if column in has for count in _nobody(database, column)]
    if "basket_id" in has:
        counts += _receipts(database)
    return counts + _repeated(database, reading)


def _week_stamps(database: Database, reading: Reading) -> list[Count]:
    """Tell how weekly rows were taken, and refuse rows on other days than the declared one."""
    n, n_days, n_weekdays, n_mondays, weekday = database.rows("""
        SELECT count(*), count(DISTINCT CAST(timestamp AS DATE)), count(DISTINCT isodow(timestamp)),
               count(*) FILTER (isodow(timestamp) = 1), min(isodow(timestamp)) FROM transactions""")[0]
    if reading.week_stamp not in ("monday", "day"):
        if n_weekdays >= MANY_WEEKDAYS and n_mondays < n / 2:  # as they were before they were moved
            database.execute(f"UPDATE transactions SET timestamp = timestamp + INTERVAL ({reading.stamp_days}) DAY")
            action = f"not moved: {OPTION}.week_stamp concerns the weeks of promotions and prices alone"
            return [Count("rows of single days, not of weeks", n, n, action)]
        if n_mondays < n:
            first = "SELECT rowid, timestamp FROM transactions WHERE isodow(timestamp) <> 1 ORDER BY rowid LIMIT 1"
            row, moved = database.rows(first)[0]
            stamp = moved.date().fromordinal(moved.date().toordinal() + reading.stamp_days)
            raise ValueError(
                f"transactions.timestamp: {n - n_mondays:,} rows do not lie on the day that {OPTION}.week_stamp names, "
                f"{reading.week_stamp!r}, first row {row} ({stamp}). Mend these rows, or the option."
            )
        return [
            Count(f"rows stamped on the {reading.week_stamp}", n, n, "taken as the week from Monday that they mean")
        ]
    if n_weekdays == 1 and n_days > 1 and weekday > 1:
        day = WEEKDAYS[weekday - 1]
        action = f"taken as the week from Monday to Sunday they lie in; {OPTION}.week_stamp says otherwise"
        return [Count(f"weekly rows, all on a {day.capitalize()}", n, n, action)]
    return []


def _discounts(database: Database) -> list[Count]:
    """Discounts are money saved, above zero; where nearly all are negative, they are what was taken away."""
    n, n_negative = database.rows(
        "SELECT count(*) FILTER (discount <> 0), count(*) FILTER (discount < 0) FROM transactions"
    )[0]
    if n_negative == 0:
        return []
    if n_negative >= (1 - FEW_REFUNDS) * n:
        database.execute("UPDATE transactions SET discount = greatest(-discount, 0) WHERE discount <> 0")
        return [Count("discount negative", n_negative, n, "sign changed: all say what was taken away")]
    if n_negative > FEW_REFUNDS * n:
        where = "FROM transactions WHERE discount < 0 ORDER BY rowid LIMIT 3"
        first = ", ".join(f"row {row}: {value}" for row, value in database.rows(f"SELECT rowid, discount {where}"))
        raise ValueError(
            f"transactions.discount is negative in {n_negative:,} of {n:,} rows with a discount ({first}), above zero in "
            "the others. Write money saved, at least 0, in every row; net returns out first."
        )
    database.execute("UPDATE transactions SET discount = 0 WHERE discount < 0")
    return [Count("discount negative", n_negative, n, "taken as no discount")]


def _nobody(database: Database, column: str) -> list[Count]:
    """One id that stands for all who have none, such as customer 0, is no shopper."""
    rows = database.rows(f"""
        SELECT {column}, count(*) AS n, sum(count(*)) OVER () AS of FROM transactions
        WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY n DESC, {column} LIMIT 2""")
    name, n, of = rows[0]
    following = rows[1][1] if len(rows) > 1 else 0
    if n < max(ONE_OF_MOST * of, 2) or n < TIMES_THE_NEXT * following:
        return []
    literal_name = name.replace("'", "''")
    database.execute(f"UPDATE transactions SET {column} = NULL WHERE {column} = '{literal_name}'")
    what = "shopper" if column == "customer_id" else "basket"
    return [Count(f"rows of {column} {name!r}", n, int(of), f"kept, not counted as one {what}: most rows have it")]


def _receipts(database: Database) -> list[Count]:
    """Receipt numbers that are used again on another day or in another store become baskets of their own."""
    n, of = database.rows("""
        SELECT count(*) FILTER (again), count(*) FROM (
            SELECT min(store_id) <> max(store_id)
                   OR min(CAST(timestamp AS DATE)) <> max(CAST(timestamp AS DATE)) AS again
            FROM transactions WHERE basket_id IS NOT NULL GROUP BY basket_id)""")[0]
    if n:
        database.execute("""
            UPDATE transactions SET basket_id = concat_ws(' ', store_id, CAST(timestamp AS DATE), basket_id)
            WHERE basket_id IS NOT NULL""")
        return [
            Count("basket_id used on several days or in several stores", n, of, "a basket is a store, a day and an id")
        ]
    return []


def _repeated(database: Database, reading: Reading) -> list[Count]:
    """Rows that equal another one in all columns: told, and refused where whole days were loaded more than once.

    A till that sells the same product twice in a minute writes such rows, too; but then a day also has rows that stand
    there once.
    """
    # Materialized, as the optimizer counts all rows once more for the window else.
    rows = database.rows(f"""
        WITH different AS (
            SELECT any_value(CAST(timestamp AS DATE)) AS day, any_value(quantity) AS quantity, count(*) AS n
            FROM transactions WHERE quantity > 0
            GROUP BY hash(timestamp, store_id, product_id, quantity, sales_value, customer_id, basket_id, discount, coupon)),
        by_day AS MATERIALIZED (
            SELECT CAST(date_trunc('week', day) AS DATE) AS week, sum(n) AS n, sum(n - 1) AS extra,
                   exact_sum((n - 1) * quantity) AS units, count(*) AS found, sum((n % 2 = 0)::INT) AS twos,
                   sum((n % 3 = 0)::INT) AS threes
            FROM different GROUP BY day)
        SELECT week, n, extra, units,
               found >= {FEW_ROWS} AND greatest(twos, threes) >= {LOADED_TWICE} * found
               OR sum(found) OVER w >= {FEW_ROWS}
                  AND greatest(sum(twos) OVER w, sum(threes) OVER w) >= {LOADED_TWICE} * sum(found) OVER w
        FROM by_day WINDOW w AS (PARTITION BY week) ORDER BY week""")
    n_all, n_repeated = sum(row[1] for row in rows), sum(row[2] for row in rows)
    if n_repeated == 0:
        return []
    again = [row for row in rows if row[4]]
    n_again, units = sum(row[2] for row in again), sum(row[3] for row in again)
    weeks = week_text(sorted({row[0] for row in again}))
    if n_again > MOST_REPEATED * n_all and not reading.keep_repeated:
        raise ValueError(
            f"transactions: {n_again:,} of {n_all:,} rows ({units:,.0f} units) repeat others in all columns, for whole days "
            f"of the weeks {weeks}: they were loaded more than once. Remove the copies, or set {OPTION}.keep_repeated: true."
        )
    counts = [Count("row repeated on a day loaded twice", n_again, n_all, "kept", units, weeks)] if n_again else []
    others = [row for row in rows if not row[4] and row[2]]
    if others:
        weeks_of_others = {row[0] for row in others}
        rare = len(weeks_of_others) <= len({row[0] for row in rows}) / 2
        weeks = week_text(sorted(weeks_of_others)) if rare else ""
        units = sum(row[3] for row in others)
        counts.append(Count("row repeated in all columns", n_repeated - n_again, n_all, "kept", units, weeks))
    return counts
