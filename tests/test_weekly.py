"""Weekly facts: what DuckDB aggregates is what pandas computes from the same rows, read from Parquet and from CSV."""

import numpy as np
import pandas as pd
import pytest
from conftest import LAUNCHES, MONDAY, WEEKS, add_optional_tables, make_retailer, write_retailer

from shelfcast.data import tables, weekly

MONDAYS = pd.DatetimeIndex(MONDAY + pd.to_timedelta(7 * np.arange(1, WEEKS - 1), unit="D"))  # without first and last
REGIONS = pd.DataFrame({"store_id": ["s0", "s1", "s2", "s4", "s5"], "location": [1, 1, 1, 2, 2]})  # others: no region
PRODUCTS = pd.DataFrame({"product_id": ["p01", "p02", "p05"], "item": [0, 1, 2], "launch": [-1, LAUNCHES["p02"], -1]})


@pytest.fixture(scope="module")
def raw():
    """All tables, with unusable rows, fractions of units, discounts and coupons."""
    draw = np.random.default_rng(2)
    raw = add_optional_tables(make_retailer())
    rows = raw["transactions"]
    n = len(rows)
    quantity = np.where(draw.random(n) < 0.05, 0.37, draw.integers(1, 4, n))
    raw["transactions"] = rows.assign(
        quantity=np.where(draw.random(n) < 0.01, 0.0, np.where(draw.random(n) < 0.002, 5000.0, quantity)),
        sales_value=draw.uniform(0, 9, n),
        discount=draw.uniform(0, 1, n),
        coupon=(draw.random(n) < 0.2).astype(float),
    )
    raw["prices"] = raw["prices"].merge(pd.DataFrame({"store_id": ["s0", "s4", "s7"]}), how="cross")
    raw["prices"]["price"] *= draw.uniform(0.9, 1.1, len(raw["prices"]))
    return raw


@pytest.fixture(scope="module", params=["parquet", "csv"])
def loaded(request, raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "parquet":
        write_retailer(raw, folder)
    else:
        for name, frame in raw.items():
            frame.to_csv(folder / f"{name}.csv", index=False)
    return tables.load("tables", folder, "TEA")


def number_of_week(stamps):
    return (stamps.dt.normalize() - MONDAYS[0]).dt.days // 7


@pytest.fixture(scope="module")
def rows(raw):
    """Usable rows of the complete weeks, of all categories."""
    rows = raw["transactions"].assign(week=number_of_week(raw["transactions"]["timestamp"]))
    tea = rows["product_id"] < "p08"
    unusable = tea & (rows["quantity"] == 0)
    rows = rows.assign(tea=tea, location=rows["store_id"].map(REGIONS.set_index("store_id")["location"]))
    return rows[~unusable & rows["week"].between(0, len(MONDAYS) - 1)]


@pytest.fixture(scope="module")
def items(rows):
    """Rows of the three products from their launch on."""
    products = PRODUCTS.set_index("product_id")
    rows = rows[rows["product_id"].isin(products.index)]
    rows = rows.assign(item=rows["product_id"].map(products["item"]), launch=rows["product_id"].map(products["launch"]))
    return rows[rows["week"] >= rows["launch"]]


def by_location(rows, keys, **facts):
    """The chain (location 0) and the regions, each aggregated from its own rows."""
    parts = [rows.assign(location=0), rows[rows["location"] > 0]]
    names = [*keys, "location"]
    return pd.concat([part.groupby(names).agg(**facts) for part in parts]).sort_index()


def assert_same(frame, expected):
    """The same rows in any order; sums of decimals round at the twelfth digit."""
    frame = frame.set_index(expected.index.names).sort_index()
    pd.testing.assert_frame_equal(frame[list(expected)], expected, check_dtype=False, rtol=1e-9, check_index_type=False)


def test_days(loaded, rows):
    days = weekly.trading_days(loaded).set_index("day")
    inside = days[MONDAYS[0] : MONDAYS[-1] + pd.Timedelta(days=6)]
    day = rows["timestamp"].dt.normalize()
    assert inside["rows"].to_dict() == day.value_counts().to_dict()
    expected = day[rows["tea"]].value_counts().reindex(inside.index, fill_value=0)
    assert inside["category_rows"].to_dict() == expected.to_dict()


def test_products_and_stores(loaded, rows, items):
    tea = rows[rows["tea"]]
    expected = tea.groupby(["product_id", "week"]).agg(units=("quantity", "sum"), rows=("week", "size"))
    assert_same(weekly.product_weeks(loaded, MONDAYS), expected)
    assert_same(weekly.store_weeks(loaded, MONDAYS), rows.groupby(["store_id", "week"]).agg(units=("quantity", "sum")))
    assert_same(weekly.store_rows(loaded, MONDAYS), tea.groupby("store_id").agg(rows=("week", "size")))
    shopped = rows.groupby(["customer_id", "store_id"]).agg(rows=("week", "size"))
    assert_same(weekly.shopped_stores(loaded, MONDAYS), shopped)
    for column in ("customer_id", "store_id"):
        assert weekly.n_different(loaded, MONDAYS, column) == rows[column].nunique()
    units = weekly.store_units(loaded, MONDAYS, PRODUCTS)
    pd.testing.assert_series_equal(units, items.groupby("store_id")["quantity"].sum(), check_names=False)


def test_what_products_sold(loaded, items):
    first = items.groupby(["item", "customer_id"])["week"].transform("min")
    items = items.assign(
        repeat=items["customer_id"].where(items["week"] > first), coupons=items["basket_id"].where(items["coupon"] > 0)
    )
    expected = by_location(
        items,
        ["item", "week"],
        units=("quantity", "sum"),
        money=("sales_value", "sum"),
        discount=("discount", "sum"),
        buyers=("customer_id", "nunique"),
        repeat_buyers=("repeat", "nunique"),
        baskets=("basket_id", "nunique"),
        coupon_baskets=("coupons", "nunique"),
    )
    assert_same(weekly.item_weeks(loaded, MONDAYS, PRODUCTS, REGIONS), expected)
    assert expected["repeat_buyers"].sum() > 0 and expected["coupon_baskets"].sum() > 0


def test_what_locations_sold(loaded, rows):
    expected = by_location(rows[rows["tea"]], ["week"], units=("quantity", "sum"))
    assert_same(weekly.category_units(loaded, MONDAYS, REGIONS), expected)
    # a basket of two regions counts twice in the chain, one of stores without a region once
    baskets = rows.fillna({"location": -1})[["week", "location", "basket_id"]].drop_duplicates()
    assert_same(weekly.traffic(loaded, MONDAYS, REGIONS), by_location(baskets, ["week"], baskets=("basket_id", "size")))


def test_promotions(loaded, raw):
    before = raw["promotions"][raw["promotions"]["week"] < MONDAYS[20]]
    before = before[before["product_id"] < "p08"]
    assert weekly.promotion_stores(loaded, MONDAYS[20]) == sorted(before["store_id"].unique())
    stores = REGIONS.assign(weight=[3.0, 0.1, 2.5, 7.001, 1.0])
    rows = raw["promotions"].merge(PRODUCTS).merge(stores)
    rows = rows.assign(week=number_of_week(rows["week"]))
    rows = rows[rows["week"].between(0, len(MONDAYS) - 1)]
    weighted = rows[["mailer", "display"]].mul(rows["weight"], axis=0)
    rows = rows.assign(**weighted, promotion=rows[["mailer", "display"]].max(axis=1) * rows["weight"])
    sums = {name: (name, "sum") for name in ("display", "mailer", "promotion")}
    expected = by_location(rows, ["item", "week"], **sums)
    assert_same(weekly.promotion_weeks(loaded, MONDAYS, PRODUCTS, stores), expected)


def test_prices(loaded, raw):
    rows = raw["prices"].merge(PRODUCTS).merge(REGIONS, how="left")
    rows = rows.assign(week=(rows["week"] - MONDAYS[3]).dt.days // 7, price=np.log(rows["price"]))
    expected = by_location(rows, ["item", "week"], price=("price", "mean"))
    actual = weekly.price_weeks(loaded, MONDAYS[3], PRODUCTS, REGIONS)
    assert_same(actual, expected)
    assert actual["week"].min() == -4  # prices before the first week are needed


def test_events(loaded, raw):
    rows = raw["behavior"].merge(PRODUCTS).merge(REGIONS, how="left")
    rows = rows.assign(week=number_of_week(rows["timestamp"]))
    rows = rows[rows["week"].between(0, len(MONDAYS) - 1)]
    expected = by_location(rows, ["event", "item", "week"], n=("count", "sum"))
    assert_same(weekly.event_weeks(loaded, MONDAYS, PRODUCTS, REGIONS, most=8), expected)
    most = weekly.event_weeks(loaded, MONDAYS, PRODUCTS, REGIONS, most=1)
    assert set(most["event"]) == {"view"}
