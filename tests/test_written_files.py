"""Files as other tools write them: each is read by an option of `read`, or refused with a sentence that names it."""

import pandas as pd
import pytest

from shelfcast.data import tables
from shelfcast.reading_options import Reading

MONDAYS = pd.date_range("2022-01-03", periods=4, freq="7D")


def make_tables() -> dict[str, pd.DataFrame]:
    """Two products of TEA in two stores: 1.5 units of each, every Monday of four weeks."""
    sold = pd.MultiIndex.from_product([MONDAYS, ["01", "02"], ["0401", "0402"]])
    sold = sold.to_frame(index=False, name=["timestamp", "store_id", "product_id"])
    plan = pd.MultiIndex.from_product([["0401", "0402"], ["01", "02"], MONDAYS])
    plan = plan.to_frame(index=False, name=["product_id", "store_id", "week"])
    return {
        "transactions": sold.assign(quantity=1.5, sales_value=2.25),
        "products": pd.DataFrame({"product_id": ["0401", "0402"], "category": "TEA", "brand": ["Grün", "Blau"]}),
        "promotions": plan.assign(mailer=[1, 0] * 8),
        "prices": plan.drop(columns="store_id").drop_duplicates().assign(price=1.5),
        "stores": pd.DataFrame({"store_id": ["01", "02"], "latitude": 50.5, "longitude": [8.25, 9.25]}),
        "behavior": sold[["timestamp", "product_id"]].assign(event="view", count=1),
    }


def write(folder, raw, **how):
    folder.mkdir()
    for name, frame in raw.items():
        frame.to_csv(folder / f"{name}.csv", index=False, **how)
    return folder


def change(name, **columns):
    """A table with columns of other values; a function is given the table."""
    return lambda raw: raw.update({name: raw[name].assign(**columns)})


def stamps(form):
    return change("transactions", timestamp=lambda rows: rows["timestamp"].dt.strftime(form))


def first_cell(name, column, value):
    """Another value in row 0 of a table, the others as they are."""

    def spoil(raw):
        values = raw[name][column].astype(object).tolist()
        raw[name] = raw[name].assign(**{column: [value, *values[1:]]})

    return spoil


@pytest.mark.parametrize(
    ("how", "reading"),
    [
        ({"sep": ";", "decimal": ","}, Reading(separator=";", decimal=",")),
        ({"sep": "\t"}, Reading(separator="\t")),
        ({"encoding": "utf-16"}, Reading()),
        ({"encoding": "utf-8-sig"}, Reading()),
        ({"encoding": "cp1252"}, Reading(encoding="cp1252")),
        ({"date_format": "%d.%m.%Y"}, Reading(dates="day first")),
        ({"date_format": "%m/%d/%Y"}, Reading(dates="month first")),
        ({"date_format": "%Y|%d|%m"}, Reading(dates="%Y|%d|%m")),
    ],
)
def test_options_read_the_same_tables(tmp_path, how, reading):
    raw = tables.load("tables", write(tmp_path / "shop", make_tables(), **how), "TEA", reading=reading)
    sold = raw.query("SELECT store_id, product_id, timestamp, quantity FROM sales ORDER BY ALL")
    assert len(sold) == 16 and sold["quantity"].eq(1.5).all()
    assert sorted(sold["timestamp"].unique()) == sorted(MONDAYS)
    assert set(sold["store_id"]) == {"01", "02"} and set(raw.products["product_id"]) == {"0401", "0402"}
    assert raw.products["brand"].tolist() == ["Grün", "Blau"]
    assert len(raw.promotions) == 16 and raw.promotions["mailer"].sum() == 8
    assert raw.prices["price"].eq(1.5).all() and raw.stores["latitude"].eq(50.5).all()


CASES = {
    "semicolons": ({"sep": ";"}, None, ["has one column", "read.separator: ';'"]),
    "tabs": ({"sep": "\t"}, None, ["has one column", "read.separator: tab"]),
    "cp1252": ({"encoding": "cp1252"}, None, ["products.csv is not written in utf-8", "read.encoding: cp1252"]),
    "day or month first": (
        {},
        lambda raw: raw.update(transactions=raw["transactions"].assign(timestamp="03/04/2022")),
        ["transactions.timestamp may be read with the day or the month first", "'03/04/2022'", "read.dates"],
    ),
    "decimal comma": (
        {},
        first_cell("transactions", "quantity", "1,5"),
        ["transactions.quantity cannot be read in 1 rows", "row 0: '1,5'", "read.decimal: ','"],
    ),
    "thousands and decimals": (
        {},
        first_cell("transactions", "sales_value", "1.234,50"),
        ["transactions.sales_value", "'1.234,50'", "read.thousands: '.' and decimal: ','"],
    ),
    "thousands with apostrophe": (
        {},
        first_cell("transactions", "sales_value", "1'234"),
        ["transactions.sales_value", "read.thousands"],
    ),
    "currency": ({}, first_cell("prices", "price", "$1.50"), ["prices.price", "row 0: '$1.50'", "currency"]),
    "decimal comma of a price": ({}, first_cell("prices", "price", "1,5"), ["prices.price", "read.decimal: ','"]),
    "decimal comma of a latitude": (
        {},
        first_cell("stores", "latitude", "50,5"),
        ["stores.latitude", "'50,5'", "read.decimal: ','"],
    ),
    "text in a count": ({}, first_cell("behavior", "count", "few"), ["behavior.count", "row 0: 'few' is not a number"]),
    "text in a channel": (
        {},
        first_cell("promotions", "mailer", "front page"),
        ["promotions.mailer", "row 0: 'front page'", "nor yes or no", "leave the column out"],
    ),
    "channel above one": ({}, first_cell("promotions", "mailer", 3), ["promotions.mailer", "0 to 1", "row 0: 3"]),
    "zone Z": (
        {},
        stamps("%Y-%m-%dT%H:%M:%SZ"),
        ["transactions.timestamp carries the time zone UTC", "read.time_zone"],
    ),
    "one offset": ({}, stamps("%Y-%m-%dT%H:%M:%S+01:00"), ["carries the time zone +01:00", "read.time_zone"]),
    "changing offsets": (
        {},
        lambda raw: [
            stamps("%Y-%m-%dT%H:%M:%S+01:00")(raw),
            first_cell("transactions", "timestamp", "2022-01-03T00:00:00+02:00")(raw),
        ],
        ["transactions.timestamp carries the time zone +01:00 and +02:00", "read.time_zone", "Europe/Berlin"],
    ),
    "words for dates": (
        {},
        first_cell("prices", "week", "week 1"),
        ["prices.week cannot be read", "the date of its Monday"],
    ),
    "two orders of dates": (
        {},
        lambda raw: [stamps("%d/%m/%Y")(raw), first_cell("transactions", "timestamp", "01/13/2022")(raw)],
        ["transactions.timestamp cannot be read", "read.dates"],
    ),
    "empty store": ({}, first_cell("transactions", "store_id", None), ["transactions.store_id is empty", "row 0"]),
    "spaces for a store": ({}, first_cell("transactions", "store_id", "\u00a0 "), ["transactions.store_id is empty"]),
    "empty product": ({}, first_cell("products", "product_id", None), ["products.product_id is empty", "row 0"]),
    "product twice after trimming": (
        {},
        first_cell("products", "product_id", "0402\u00a0"),
        ["products: 1 rows repeat a key (product_id)", "0402"],
    ),
    "no event": ({}, first_cell("behavior", "event", None), ["behavior.event is empty", "row 0"]),
    "longitude off the globe": (
        {},
        first_cell("stores", "longitude", 500),
        ["stores.longitude", "-180 to 180", "row 0"],
    ),
    "price of zero": ({}, first_cell("prices", "price", 0), ["prices.price must be above zero", "row 0"]),
    "negative money": (
        {},
        first_cell("transactions", "sales_value", -2),
        ["sales_value must not be negative", "row 0"],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_sentence_names_place_and_option(tmp_path, case):
    how, spoil, words = CASES[case]
    raw = make_tables()
    if spoil:
        spoil(raw)
    with pytest.raises(ValueError) as error:
        tables.load("tables", write(tmp_path / "shop", raw, **how), "TEA")
    for word in words:
        assert word in str(error.value), str(error.value)


def test_offsets_are_read_into_a_named_zone(tmp_path):
    """23:30 UTC on a Sunday is a Monday in Berlin: the sale belongs to the week that begins."""
    raw = make_tables()
    stamps("%Y-%m-%dT12:00:00+01:00")(raw)
    first_cell("transactions", "timestamp", "2022-01-02T23:30:00+00:00")(raw)
    folder = write(tmp_path / "shop", raw)
    read = tables.load("tables", folder, "TEA", reading=Reading(time_zone="Europe/Berlin"))
    assert str(read.query("SELECT min(timestamp) AS t FROM sales")["t"][0]) == "2022-01-03 00:30:00"


def test_two_files_of_one_table_are_both_named(tmp_path):
    folder = write(tmp_path / "shop", make_tables())
    make_tables()["prices"].to_parquet(folder / "prices.parquet")
    with pytest.raises(ValueError, match=r"prices\.parquet and as .*prices\.csv\. Remove"):
        tables.load("tables", folder, "TEA")


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        ("prices.unit_prise=price", ["'prices.unit_prise'", "nearest is 'unit price'"]),
        ("shop=store_id", ["'shop', a column that no table has"]),
        ("unit price", ["'theirs=ours' pairs"]),
    ],
)
def test_renaming_names_the_nearest_column(tmp_path, rename, words):
    raw = make_tables()
    raw["prices"] = raw["prices"].rename(columns={"price": "unit price"})
    folder = write(tmp_path / "shop", raw)
    with pytest.raises(ValueError) as error:
        tables.load("tables", folder, "TEA", rename)
    for word in words:
        assert word in str(error.value), str(error.value)
    assert tables.load("tables", folder, "TEA", "prices.unit price=price").prices["price"].eq(1.5).all()


def test_ids_of_files_with_and_without_decimals_are_the_same(tmp_path):
    """A column of floats writes 11.0; NA is an id as good as any; leading zeros stay."""
    raw = make_tables()
    number = {"01": "11", "02": "NA"}
    for name in ("transactions", "promotions", "stores"):
        raw[name]["store_id"] = raw[name]["store_id"].map(number)
    raw["promotions"]["store_id"] = raw["promotions"]["store_id"].replace("11", "11.0")
    read = tables.load("tables", write(tmp_path / "shop", raw), "TEA")
    for name in ("sales", "promotions", "stores"):
        assert set(read.query(f"SELECT DISTINCT store_id FROM {name}")["store_id"]) == {"11", "NA"}, name
    assert set(read.promotions["product_id"]) == {"0401", "0402"}
