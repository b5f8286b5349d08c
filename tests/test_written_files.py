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


def of(name, change):
    """A CSV file with other text (or bytes); a function is given what it holds."""

    def spoil(folder):
        path = folder / f"{name}.csv"
        new = change(path.read_text(encoding="utf-8")) if callable(change) else change
        path.write_bytes(new if isinstance(new, bytes) else new.encode())

    return spoil


def folder_for_file(folder):
    (folder / "prices.csv").unlink()
    (folder / "prices.csv").mkdir()


def no_bytes(folder):
    (folder / "prices.csv").unlink()
    (folder / "prices.parquet").write_bytes(b"")


FILES = {
    "title above the header": (
        of("transactions", lambda text: "Sales report\n\n" + text),
        ["transactions.csv: line 3 has 5 cells, line 1 has 1", "must be in line 1"],
    ),
    "title with separators": (
        of("products", lambda text: "Products 2022,,\n" + text),
        ["products.csv: line 1 holds 'Products 2022' alone", "must be in line 1"],
    ),
    "comment above the header": (
        of("transactions", lambda text: "# exported by a tool\n" + text),
        ["transactions.csv: line 2 has 5 cells, line 1 has 1", "must be in line 1"],
    ),
    "header twice": (
        of("products", lambda text: text + text),
        ["products.csv: the header stands there again, instead of values (rows 2)"],
    ),
    "a name twice": (
        of("transactions", lambda text: text.replace("sales_value", "Quantity", 1)),
        ["transactions.csv: two columns are named 'quantity', whatever the case"],
    ),
    "cell with a separator": (
        of("products", lambda text: text.replace("Grün", "Grün, Bio")),
        ["products.csv: line 2 has 4 cells, line 1 has 3", "needs quotes around it"],
    ),
    "row too short": (
        of("products", lambda text: text.replace(",Blau", "")),
        ["products.csv: line 3 has 2 cells, line 1 has 3"],
    ),
    "open quote": (
        of("products", lambda text: text.replace("Blau", '"Blau')),
        ["products.csv: a quote is wrong from line 3 on", "Close it"],
    ),
    "UTF-16 without its mark": (
        of("transactions", lambda text: text.encode("utf-16-le")),
        ["transactions.csv holds bytes of zero, as UTF-16 does", "read.encoding: utf-16-le"],
    ),
    "UTF-16 of the other kind": (
        of("transactions", lambda text: text.encode("utf-16-be")),
        ["transactions.csv holds bytes of zero", "read.encoding: utf-16-be"],
    ),
    "a byte of zero": (
        of("products", lambda text: text.replace("Grün", "Gr\0n")),
        ["products.csv holds a byte of zero, first after"],
    ),
    "spreadsheet": (of("products", b"PK\x03\x04" + b"\x80" * 99), ["products.csv is a spreadsheet (.xlsx)", "Save"]),
    "old spreadsheet": (of("products", b"\xd0\xcf\x11\xe0" + b"\0" * 99), ["products.csv is a spreadsheet (.xls)"]),
    "packed": (of("products", b"\x1f\x8b" + b"\x80" * 99), ["products.csv is packed by gzip"]),
    "Parquet by another name": (of("products", b"PAR1" + b"\x80" * 99), ["products.csv is Parquet, whatever its name"]),
    "web page": (of("products", "<html><table></table></html>"), ["products.csv is a web page"]),
    "no bytes": (of("prices", ""), ["prices.csv is empty", "take it out of the folder"]),
    "no bytes of Parquet": (no_bytes, ["prices.parquet cannot be read as parquet", "Write it anew"]),
    "folder for a file": (folder_for_file, ["prices.csv is a folder, not a file", "as one file"]),
}


@pytest.mark.parametrize("case", list(FILES))
def test_a_file_of_another_kind(tmp_path, case):
    spoil, words = FILES[case]
    folder = write(tmp_path / "shop", make_tables())
    spoil(folder)
    with pytest.raises(ValueError) as error:
        tables.load("tables", folder, "TEA")
    for word in words:
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n" + ",,\n" * 30,
        lambda text: text.replace("\n", "\n,,\n", 1),
        lambda text: "\n".join(line + ",," for line in text.splitlines()),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("product_id", " product_id\u00a0"),
    ],
    ids=["blank rows", "blank row", "columns without name", "line ends of Windows", "mark", "blanks in the header"],
)
def test_what_spreadsheets_add_is_nothing(tmp_path, change):
    folder = write(tmp_path / "shop", make_tables())
    of("products", change)(folder)
    read = tables.load("tables", folder, "TEA").products
    assert read[["product_id", "category", "brand"]].to_numpy().tolist() == [
        ["0401", "TEA", "Grün"],
        ["0402", "TEA", "Blau"],
    ]


def test_iso_dates_stay_where_another_table_puts_the_day_first(tmp_path):
    raw = make_tables()
    stamps("%d/%m/%Y")(raw)
    read = tables.load("tables", write(tmp_path / "shop", raw), "TEA", reading=Reading(dates="day first"))
    assert sorted(read.promotions["week"].unique()) == sorted(MONDAYS) == sorted(read.prices["week"].unique())


def test_the_separator_may_be_called_tab(tmp_path):
    folder = write(tmp_path / "shop", make_tables(), sep="\t")
    for name in ("tab", "\\t", "\t"):
        assert len(tables.load("tables", folder, "TEA", reading=Reading(separator=name)).products) == 2
    with pytest.raises(ValueError, match="write one sign"):
        Reading(separator=";;")
