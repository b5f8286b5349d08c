"""Weekly facts: what DuckDB aggregates is what pandas computes from the same rows, read from Parquet and from CSV."""

import numpy as np
import pandas as pd
import pytest
from small_retailer import LAUNCHES, MONDAY, WEEKS, add_optional_tables, make_retailer, write_retailer

from shelfcast.data import tables, weekly

MONDAYS = pd.DatetimeIndex(MONDAY + pd.to_timedelta(7 * np.arange(1, WEEKS - 1), unit="D"))  # without first and last
REGIONS = pd.DataFrame({"store_id": ["s0", "s1", "s2", "s4", "s5"], "location": [1, 1, 1, 2, 2]})  # others: no region
PRODUCTS = pd.DataFrame({"product_id": ["p01", "p02", "p05"], "item": [0, 1, 2], "launch": [-1, LAUNCHES["p02"], -1]})


@pytest.fixture(scope="module")
def raw():
    """All tables, with fractions of units, rows without money, discounts and coupons."""
    draw = np.random.default_rng(2)
    raw = add_optional_tables(make_retailer())
    rows = raw["transactions"]
    n = len(rows)
    quantity = np.where(draw.random(n) < 0.05, 0.37, draw.integers(1, 4, n))
    raw["transactions"] = rows.assign(
        quantity=quantity,
        sales_value=np.where(draw.random(n) < 0.02, 0.0, draw.uniform(0, 9, n)),
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
    """Rows of the complete weeks, of all categories."""
    rows = raw["transactions"].assign(week=number_of_week(raw["transactions"]["timestamp"]))
    tea = rows["product_id"] < "p08"
    rows = rows.assign(tea=tea, location=rows["store_id"].map(REGIONS.set_index("store_id")["location"]))
    return rows[rows["week"].between(0, len(MONDAYS) - 1)]


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
    units = rows[rows["tea"]].groupby(day[rows["tea"]])["quantity"].sum().reindex(inside.index, fill_value=0)
    np.testing.assert_allclose(inside["category_units"], units)
    first = rows[rows["tea"]].groupby(day[rows["tea"]])["store_id"].min()
    assert inside["first_store"].dropna().to_dict() == first.to_dict()


def test_products_and_stores(loaded, rows, items):
    tea = rows[rows["tea"]]
    expected = tea.groupby(["product_id", "week"]).agg(units=("quantity", "sum"), rows=("week", "size"))
    assert_same(weekly.product_weeks(loaded, MONDAYS), expected)
    sums = {"rows": ("week", "size"), "units": ("quantity", "sum")}
    assert_same(weekly.store_weeks(loaded, MONDAYS), rows.groupby(["store_id", "week"]).agg(**sums))
    assert_same(weekly.category_stores(loaded, MONDAYS), tea.groupby("store_id").agg(**sums))
    shopped = rows.groupby(["customer_id", "store_id"]).agg(rows=("week", "size"))
    assert_same(weekly.shopped_stores(loaded, MONDAYS), shopped)
    assert_same(weekly.shopped_stores(loaded, MONDAYS, pd.Index(["s1"])), shopped.loc[pd.IndexSlice[:, ["s1"]], :])
    for column in ("customer_id", "store_id"):
        assert weekly.n_different(loaded, MONDAYS, column) == rows[column].nunique()
    units = weekly.store_units(loaded, MONDAYS, PRODUCTS)
    pd.testing.assert_series_equal(units, items.groupby("store_id")["quantity"].sum(), check_names=False)


def test_what_products_sold(loaded, items):
    first = items.groupby(["item", "customer_id"])["week"].transform("min")
    items = items.assign(
        paid=items["quantity"].where(items["sales_value"] > 0, 0.0),
        repeat=items["customer_id"].where(items["week"] > first),
        coupons=items["basket_id"].where(items["coupon"] > 0),
    )
    expected = by_location(
        items,
        ["item", "week"],
        units=("quantity", "sum"),
        money=("sales_value", "sum"),
        paid_units=("paid", "sum"),
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
    assert weekly.promotion_stores(loaded, MONDAYS[20]) == sorted(before["store_id"].unique())
    stores = REGIONS.assign(weight=[3.0, 0.1, 2.5, 7.001, 1.0])
    rows = raw["promotions"].merge(PRODUCTS).merge(stores)
    rows = rows.assign(week=number_of_week(rows["week"]))
    rows = rows[rows["week"].between(0, len(MONDAYS) - 1)]
    weighted = rows[["mailer", "display"]].mul(rows["weight"], axis=0)
    rows = rows.assign(**weighted, promotion=rows[["mailer", "display"]].max(axis=1) * rows["weight"])
    sums = {name: (name, "sum") for name in ("display", "mailer", "promotion")}
    expected = by_location(rows, ["item", "week"], **sums)
    expected = expected.rename(columns={name: f"promotion: {name}" for name in ("display", "mailer")})
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
    assert_same(weekly.event_weeks(loaded, MONDAYS, PRODUCTS, REGIONS, 8, 20), expected)
    most = weekly.event_weeks(loaded, MONDAYS, PRODUCTS, REGIONS, 1, 20)
    assert set(most["event"]) == {"view"}


def test_kinds_of_events_are_chosen_by_the_first_weeks(raw, tmp_path):
    events = raw["behavior"]
    late = events["timestamp"] >= MONDAYS[20]
    renamed = events["event"].mask(late & (events["event"] == "view"), "wish")
    loaded = tables.load("tables", write_retailer(raw | {"behavior": events.assign(event=renamed)}, tmp_path), "TEA")
    chosen = weekly.event_weeks(loaded, MONDAYS, PRODUCTS, REGIONS, 2, 20)
    assert set(chosen["event"]) == {"view", "Add to cart"} and chosen["week"].max() > 20


@pytest.mark.parametrize("names", [["number", "item"], ["region", "weight"], ["promotion", "海报"]])
def test_a_channel_may_have_any_name(raw, tmp_path, names):
    renamed = raw["promotions"].rename(columns=dict(zip(("mailer", "display"), names, strict=True)))
    stores = REGIONS.assign(weight=1.0)
    ours, theirs = (
        weekly.promotion_weeks(
            tables.load("tables", write_retailer(each, tmp_path / name), "TEA"), MONDAYS, PRODUCTS, stores
        )
        for name, each in (("a", raw), ("b", raw | {"promotions": renamed}))
    )
    for ours_name, theirs_name in zip(("mailer", "display"), names, strict=True):
        a, b = (
            frame.set_index(["item", "location", "week"])[f"promotion: {name}"].sort_index()
            for frame, name in ((ours, ours_name), (theirs, theirs_name))
        )
        pd.testing.assert_series_equal(a, b, check_names=False)


def test_recorded_weeks_are_those_of_all_categories(loaded, raw):
    monday = raw["behavior"]["timestamp"].dt.normalize()
    monday = monday - pd.to_timedelta(monday.dt.dayofweek, unit="D")
    assert weekly.recorded_weeks(loaded, "behavior").to_dict() == monday.value_counts().to_dict()
    assert weekly.recorded_weeks(loaded, "prices").to_dict() == raw["prices"]["week"].value_counts().to_dict()


def test_quantities(loaded, rows):
    quantity = rows.loc[rows["tea"], "quantity"]
    seen = weekly.quantities(loaded, MONDAYS)
    assert seen["rows"] == len(quantity) and seen["fractional"] == (quantity == 0.37).sum()
    assert seen["median"] == quantity.median()


def test_rows_of_zero_are_no_sales(raw, tmp_path):
    rows = raw["transactions"]
    zeros = rows.iloc[::40].assign(quantity=0.0, sales_value=0.0, basket_id="b of nothing", customer_id="h of nothing")
    more = pd.concat([rows, zeros]).sort_values("timestamp", ignore_index=True)
    ours, theirs = (
        tables.load("tables", write_retailer(raw | {"transactions": each}, tmp_path / name), "TEA")
        for name, each in (("a", rows), ("b", more))
    )
    for read in (weekly.product_weeks, weekly.store_weeks, weekly.category_stores, weekly.shopped_stores):
        pd.testing.assert_frame_equal(read(theirs, MONDAYS), read(ours, MONDAYS))
    pd.testing.assert_frame_equal(weekly.trading_days(theirs), weekly.trading_days(ours))
    sold = (weekly.item_weeks(each, MONDAYS, PRODUCTS, REGIONS) for each in (ours, theirs))
    keys = ["item", "location", "week"]
    pd.testing.assert_frame_equal(*(frame.sort_values(keys, ignore_index=True) for frame in sold))
