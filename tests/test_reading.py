"""Options of reading: the same retailer, written as other tools write it, is read alike or refused with the option."""

import pandas as pd
import pytest
from small_retailer import make_retailer, write_retailer

from shelfcast.data import tables
from shelfcast.reading_options import Reading


def write(raw, folder, **options):
    folder.mkdir()
    for name, frame in raw.items():
        frame.to_csv(folder / f"{name}.csv", index=False, **options)
    return folder


def sold(folder, reading=None):
    loaded = tables.load("tables", folder, "TEA", reading=reading)
    columns = "timestamp, store_id, product_id, quantity, sales_value"
    return loaded.query(f"SELECT {columns} FROM sales ORDER BY ALL")


@pytest.fixture()
def raw():
    return make_retailer()


def test_other_tools_write_other_csv(raw, tmp_path):
    plain = sold(write(raw, tmp_path / "plain"))
    german = write(raw, tmp_path / "german", sep=";", decimal=",", encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"has one column.*markets.<name>.read.separator: ';'"):
        sold(german)
    pd.testing.assert_frame_equal(sold(german, Reading(separator=";", decimal=",")), plain)
    pd.testing.assert_frame_equal(sold(write(raw, tmp_path / "marked", encoding="utf-16")), plain)
    raw["products"]["blend"] = "Grüntee"
    windows = write(raw, tmp_path / "windows", encoding="cp1252")
    with pytest.raises(ValueError, match=r"products.csv is not written in utf-8.*read.encoding: cp1252"):
        sold(windows)
    loaded = tables.load("tables", windows, "TEA", reading=Reading(encoding="cp1252"))
    assert set(loaded.products["blend"]) == {"Grüntee"}


def test_thousands(raw, tmp_path):
    raw["transactions"]["quantity"] = ["1.234" if i % 9 == 0 else "2" for i in raw["transactions"].index]
    folder = write(raw, tmp_path / "shop")
    assert set(sold(folder, Reading(thousands="."))["quantity"]) == {1234.0, 2.0}
    assert set(sold(folder, Reading(decimal="."))["quantity"]) == {1.234, 2.0}


def test_dates_and_zones(raw, tmp_path):
    stamps = raw["transactions"]["timestamp"]
    raw["transactions"]["timestamp"] = stamps.dt.strftime("%d/%m/%Y")
    days = sold(write(raw, tmp_path / "days"), Reading(dates="day first"))["timestamp"]
    assert days.min() == stamps.min().normalize() and days.max() == stamps.max().normalize()
    local = stamps.where(stamps != stamps, stamps).dt.tz_localize(
        "Europe/Berlin", ambiguous=True, nonexistent="shift_forward"
    )
    raw["transactions"]["timestamp"] = local.map(lambda stamp: stamp.isoformat())
    read = sold(write(raw, tmp_path / "zones"), Reading(time_zone="Europe/Berlin"))["timestamp"]
    tea = raw["transactions"]["product_id"] < "p08"
    expected = local[tea].dt.tz_localize(None).sort_values(ignore_index=True)
    pd.testing.assert_series_equal(read, expected, check_names=False, check_dtype=False)


def test_weeks_stamped_with_the_sunday_before(raw, tmp_path):
    rows = raw["transactions"]
    monday = rows["timestamp"].dt.normalize() - pd.to_timedelta(rows["timestamp"].dt.dayofweek, unit="D")
    keys = ["timestamp", "store_id", "product_id"]
    weekly = rows.assign(timestamp=monday).groupby(keys)[["quantity", "sales_value"]].sum().reset_index()
    plain = sold(write(raw | {"transactions": weekly}, tmp_path / "monday"))
    day = pd.Timedelta(days=1)
    sunday = raw | {"transactions": weekly.assign(timestamp=weekly["timestamp"] - day)}
    sunday["promotions"] = sunday["promotions"].assign(week=lambda rows: rows["week"] - day)
    folder = write(sunday, tmp_path / "sunday")
    pd.testing.assert_frame_equal(sold(folder, Reading(week_stamp="sunday before")), plain)
    with pytest.raises(ValueError, match=r"promotions.week must be the Monday.*read.week_stamp"):
        sold(folder)
    with pytest.raises(ValueError, match=r"transactions.timestamp: .* rows do not lie on the day.*'saturday before'"):
        sold(
            write(raw | {"transactions": sunday["transactions"]}, tmp_path / "mixed"),
            Reading(week_stamp="saturday before"),
        )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_ids_are_text(raw, tmp_path, ending):
    """11.0 is 11, NA is an id, white space around an id is none, zeros in front belong to it."""
    raw["transactions"]["store_id"] = raw["transactions"]["store_id"].replace({"s0": "NA", "s1": " 011\u00a0"})
    raw["promotions"]["store_id"] = raw["promotions"]["store_id"].replace({"s0": "NA", "s1": "011", "s2": "s2 "})
    loaded = tables.load("tables", (write if ending == "csv" else write_retailer)(raw, tmp_path / "shop"), "TEA")
    assert {"NA", "011", "s2"} <= set(loaded.promotions["store_id"])
    assert loaded.quality.set_index("check").loc["promotion of unknown store", "found"] == 0
    numbers = {name: frame.copy() for name, frame in make_retailer().items()}
    for name, kind in (("transactions", int), ("promotions", float)):
        numbers[name]["store_id"] = numbers[name]["store_id"].str[1:].astype(kind)
    loaded = tables.load("tables", (write if ending == "csv" else write_retailer)(numbers, tmp_path / "n"), "TEA")
    assert "2" in set(loaded.promotions["store_id"]) and "2.0" not in set(loaded.promotions["store_id"])


def test_a_table_in_two_formats_is_refused(raw, tmp_path):
    folder = write_retailer(raw, tmp_path / "shop")
    raw["transactions"].to_csv(folder / "transactions.csv", index=False)
    with pytest.raises(ValueError, match=r"transactions stands there twice, as .*parquet and as .*csv"):
        sold(folder)


def test_empty_columns_are_absent_and_nobody_is_no_shopper(raw, tmp_path):
    rows = raw["transactions"]
    rows["discount"] = float("nan")
    rows["customer_id"] = rows["customer_id"].where(rows.index % 2 == 0, "0")
    loaded = tables.load("tables", write_retailer(raw, tmp_path / "shop"), "TEA")
    assert "discount" not in loaded.columns["transactions"]
    checks = loaded.quality.set_index("check")
    assert checks.loc["transactions.discount empty", "found"] == len(rows)
    assert checks.loc["rows of customer_id '0'", "found"] == (rows["customer_id"] == "0").sum()
    assert loaded.query("SELECT count(*) AS n FROM sales WHERE customer_id = '0'")["n"].iloc[0] == 0


def test_negative_discounts_and_receipts_that_start_again(raw, tmp_path):
    rows = raw["transactions"]
    rows["discount"] = [-0.5 if i % 3 == 0 else 0.0 for i in rows.index]
    rows["basket_id"] = [str(i % 7) for i in rows.index]
    loaded = tables.load("tables", write_retailer(raw, tmp_path / "shop"), None)
    read = loaded.query("SELECT sum(discount) AS saved, count(DISTINCT basket_id) AS baskets FROM sales").iloc[0]
    keys = [rows["store_id"], rows["timestamp"].dt.normalize(), rows["basket_id"]]
    assert read["saved"] == -rows["discount"].sum() > 0
    assert read["baskets"] == rows.groupby(keys).ngroups


def test_spellings_of_a_category(raw, tmp_path):
    raw["products"].loc[[0, 1], "category"] = ["Tea", "TEA\u00a0"]
    loaded = tables.load("tables", write_retailer(raw, tmp_path / "shop"), "TEA")
    assert len(loaded.products) == 7
    assert loaded.quality.set_index("check").loc["product of category 'Tea' (products, rows 0)", "found"] == 1
    assert tables.load("tables", write_retailer(make_retailer(), tmp_path / "b"), "tea").category == "TEA"


def test_the_stamp_of_weeks_does_not_move_sales_of_single_days(raw, tmp_path):
    plain = tables.load("tables", write_retailer(raw, tmp_path / "monday"), "TEA")
    raw["promotions"]["week"] -= pd.Timedelta(days=1)
    folder = write_retailer(raw, tmp_path / "sunday")
    with pytest.raises(ValueError, match=r"promotions.week must be the Monday.*read.week_stamp"):
        tables.load("tables", folder, "TEA")
    read = tables.load("tables", folder, "TEA", reading=Reading(week_stamp="sunday before"))
    for table in ("sales", "promotions"):
        rows = [loaded.query(f"SELECT * FROM {table} ORDER BY ALL") for loaded in (plain, read)]
        pd.testing.assert_frame_equal(*rows)
    line = read.quality.set_index("check").loc["rows of single days, not of weeks"]
    assert line["found"] == len(raw["transactions"]) and "not moved" in line["action"]
