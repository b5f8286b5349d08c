"""The raw tables' schema and what is checked of each table alone: types, keys, ids, dates, order.

An error names table, column, rule, count and examples, and says how to mend it.
"""

from __future__ import annotations

import difflib

import pandas as pd
import pandera.pandas as pa

CHAIN = "chain"  # the location that is all stores together

_ID = pa.Column(str, coerce=True)
_UNITS = pa.Column(float, coerce=True, checks=pa.Check.ge(0, error="must not be negative: net returns out first"))
_TIME = pa.Column("datetime64[ns]", coerce=True)
_WEEK = pa.Column(
    "datetime64[ns]",
    coerce=True,
    checks=pa.Check(lambda s: s.dt.dayofweek.eq(0), error="must be the Monday the week starts on"),
)


def _optional(column: pa.Column) -> pa.Column:
    return pa.Column(column.dtype, checks=column.checks, nullable=column.nullable, coerce=True, required=False)


SCHEMAS = {
    "transactions": pa.DataFrameSchema(
        {
            "timestamp": _TIME,
            "store_id": _ID,
            "product_id": _ID,
            "quantity": _UNITS,
            "sales_value": _UNITS,
            "customer_id": _optional(_ID),
            "basket_id": _optional(_ID),
            "discount": pa.Column(float, coerce=True, required=False),
            "coupon": pa.Column(float, coerce=True, required=False),
        }
    ),
    "products": pa.DataFrameSchema(
        {
            "product_id": _ID,
            "category": pa.Column(str, nullable=True, coerce=True),
            "launch": pa.Column("datetime64[ns]", nullable=True, coerce=True, required=False),
        },
        unique=["product_id"],
    ),
    "promotions": pa.DataFrameSchema(
        {
            "product_id": _ID,
            "store_id": _ID,
            "week": _WEEK,
        },
        unique=["product_id", "store_id", "week"],
    ),
    "prices": pa.DataFrameSchema(
        {
            "product_id": _ID,
            "week": _WEEK,
            "price": pa.Column(float, coerce=True, checks=pa.Check.gt(0, error="must be above zero")),
            "store_id": _optional(_ID),
        }
    ),
    "stores": pa.DataFrameSchema(
        {
            "store_id": _ID,
            "latitude": _optional(pa.Column(float, pa.Check.between(-90, 90, error="must be degrees, -90 to 90"))),
            "longitude": _optional(pa.Column(float, pa.Check.between(-180, 180, error="must be degrees, -180 to 180"))),
        },
        unique=["store_id"],
    ),
    "behavior": pa.DataFrameSchema(
        {
            "timestamp": _TIME,
            "product_id": _ID,
            "event": pa.Column(str, coerce=True),
            "store_id": pa.Column(str, coerce=True, nullable=True, required=False),  # empty: seen by the whole chain
            "count": _optional(_UNITS),
        }
    ),
}
OPTIONAL = ("promotions", "prices", "stores", "behavior")  # each switches something on where it is there


def check(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Validate one table against its schema; the error names table, column, rule, count and examples."""
    frame = _parsed(name, frame)
    for column in frame.select_dtypes("datetimetz"):
        raise ValueError(
            f"{name}.{column} carries the time zone {frame[column].dt.tz}; convert it to the stores' local time and "
            "drop the zone, else late sales fall into the wrong week."
        )
    required = [
        c for c in ("product_id", "store_id", "customer_id", "basket_id") if (name, c) != ("behavior", "store_id")
    ]
    for column in frame.columns.intersection(required):
        if frame[column].isna().any():
            raise ValueError(f"{name}.{column} is empty in {frame[column].isna().sum()} rows; every row needs one.")
    try:
        checked = SCHEMAS[name].validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        said = []
        for (column, check), group in cases.groupby(["column", "check"], dropna=False):
            if check == "column_in_dataframe":
                for missing in group["failure_case"]:
                    near = difflib.get_close_matches(str(missing), map(str, frame.columns), n=1)
                    said.append(f"column {missing!r} is missing{f' (nearest: {near[0]!r})' if near else ''}")
                said[-1] += "; add it, or rename yours through prepare.rename; found "
                said[-1] += ", ".join(map(str, frame.columns))
                continue
            rows = group["index"].dropna().astype(int).unique()
            where = f" in {len(rows)} rows (first: {', '.join(map(str, rows[:3]))})" if len(rows) else ""
            said.append(f"column {column!r}: {check}{where}, found {group['failure_case'].head(3).tolist()}")
        raise ValueError(f"table {name!r} does not pass the door:\n  - " + "\n  - ".join(said)) from None
    if name == "transactions":
        stamps = checked["timestamp"]
        back = stamps.lt(stamps.shift())
        if back.any():
            row = int(back.to_numpy().argmax())
            raise ValueError(
                f"transactions.timestamp is out of order: row {row} ({stamps.iloc[row]}) is earlier than the row "
                f"before ({stamps.iloc[row - 1]}), {int(back.sum())} such rows. Sort the table by timestamp; if that "
                "surprises you, day and month may be swapped."
            )
    return checked


def _parsed(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Dates and numbers that came as text; the schema's own coercion would try a million cells one by one."""
    kinds = {
        "datetime64[ns]": ("mM", pd.to_datetime, "a date; write 2022-01-31 or 2022-01-31 18:05:00, all rows alike"),
        "float64": ("iufb", pd.to_numeric, "a number; write 1234.5, without thousands separators or currency"),
    }
    for column in frame.columns.intersection(list(SCHEMAS[name].columns)):
        native, reader, advice = kinds.get(str(SCHEMAS[name].columns[column].dtype), ("", None, ""))
        if reader is None or frame[column].dtype.kind in native:
            continue
        given = frame[column] if frame[column].dtype.kind == "O" else frame[column].astype(str)  # 20220131 is a date
        found = reader(given, errors="coerce")
        if (bad := found.isna() & frame[column].notna()).any():
            row = int(bad.to_numpy().argmax())
            raise ValueError(
                f"{name}.{column} cannot be read in {int(bad.sum()):,} of {len(frame):,} rows, first in row {row}: "
                f"{given.iloc[row]!r} is not {advice}."
            )
        frame = frame.assign(**{column: found})
    return frame
