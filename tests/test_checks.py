"""Bad tables: each fault stops with what is wrong, where, and how to mend it."""

import pandas as pd
import pytest
from small_retailer import add_optional_tables, make_retailer, write_retailer

from shelfcast.data import tables


def refused(raw, folder, words, category="TEA", rename=""):
    with pytest.raises(ValueError) as error:
        tables.load("tables", write_retailer(raw, folder), category, rename)
    for word in words:
        assert word in str(error.value), str(error.value)


def cell(name, column, value):
    """Another value in row 3 of a table."""

    def spoil(raw):
        frame = raw[name].copy()
        frame[column] = frame[column].astype(str) if isinstance(value, str) else frame[column]
        frame.loc[3, column] = value
        raw[name] = frame

    return spoil


def column(name, **values):
    """A table with columns of other values; a function is given the table."""
    return lambda raw: raw.update({name: raw[name].assign(**values)})


def renamed(name, **columns):
    return lambda raw: raw.update({name: raw[name].rename(columns=columns)})


def twice(name):
    return lambda raw: raw.update({name: pd.concat([raw[name], raw[name].head(1)], ignore_index=True)})


CASES = {
    "missing column": (
        renamed("transactions", quantity="quantities"),
        ["transactions.quantity is missing", "nearest: 'quantities'", "markets.<name>.rename"],
    ),
    "two missing columns": (
        renamed("transactions", store_id="a", product_id="b"),
        ["transactions.store_id is missing", "transactions.product_id is missing", "the table has timestamp, a, b"],
    ),
    "negative quantity": (
        cell("transactions", "quantity", -2.0),
        ["transactions.quantity must not be negative: net returns out first", "1 rows", "row 3: -2"],
    ),
    "two faults": (
        lambda raw: [cell("transactions", "quantity", -2.0)(raw), cell("transactions", "store_id", None)(raw)],
        ["transactions.quantity must not be negative", "transactions.store_id is empty", "row 3"],
    ),
    "infinite": (
        cell("transactions", "sales_value", float("inf")),
        ["transactions.sales_value is too large", "row 3: inf"],
    ),
    "empty number": (cell("transactions", "quantity", float("nan")), ["transactions.quantity is empty", "row 3"]),
    "words for numbers": (
        cell("transactions", "quantity", "two"),
        ["transactions.quantity cannot be read in 1 rows", "first in row 3: 'two' is not a number"],
    ),
    "thousands separators": (
        column("transactions", sales_value="1,234.50"),
        ["transactions.sales_value cannot be read", "'1,234.50'", "without thousands separators"],
    ),
    "empty id": (cell("transactions", "store_id", None), ["transactions.store_id is empty", "1 rows (row 3"]),
    "unreadable date": (
        cell("transactions", "timestamp", "soon"),
        ["transactions.timestamp cannot be read in 1 rows, first in row 3: 'soon' is not a date"],
    ),
    "dates as seconds": (
        column("transactions", timestamp=1_641_200_000),
        ["transactions.timestamp cannot be read", "'1641200000' is not a date"],
    ),
    "dates out of order": (
        lambda raw: raw.update(transactions=raw["transactions"].iloc[::-1].reset_index(drop=True)),
        ["transactions.timestamp is out of order: row 1", "Sort the table", "swapped"],
    ),
    "time zone as text": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].astype(str) + "Z"),
        ["transactions.timestamp carries the time zone UTC", "local time"],
    ),
    "offset as text": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].astype(str) + "-05:00"),
        ["transactions.timestamp carries the time zone -05:00", "local time"],
    ),
    "time zone in a later row": (
        cell("transactions", "timestamp", "2022-01-03 00:00:00+02:00"),
        ["transactions.timestamp carries the time zone +02:00", "markets.<name>.read.time_zone"],
    ),
    "time zone": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].dt.tz_localize("UTC")),
        ["transactions.timestamp carries the time zone UTC", "local time"],
    ),
    "duplicate product": (twice("products"), ["products: 1 rows repeat a key (product_id), first p00"]),
    "duplicate promotion": (twice("promotions"), ["promotions: 1 rows repeat a key (product_id, store_id, week)"]),
    "duplicate store": (twice("stores"), ["stores: 1 rows repeat a key (store_id), first s0"]),
    "promotion on a Tuesday": (
        column("promotions", week=lambda rows: rows["week"] + pd.Timedelta(days=1)),
        ["promotions.week must be the Monday", "2022-"],
    ),
    "channel of 7": (
        cell("promotions", "mailer", 7.0),
        ["promotions.mailer is a channel of promotion and must hold 0 to 1", "row 3: 7.0"],
    ),
    "channel in words": (
        column("promotions", mailer="summer weeks"),
        ["promotions.mailer cannot be read", "'summer weeks' is not a number, nor yes or no", "leave the column out"],
    ),
    "empty channel": (cell("promotions", "mailer", None), ["promotions.mailer is empty", "row 3"]),
    "no channel": (
        lambda raw: raw.update(promotions=raw["promotions"][["product_id", "store_id", "week"]]),
        ["promotions has no channel of promotion", "Add a column"],
    ),
    "store unknown to stores": (
        lambda raw: raw.update(stores=raw["stores"].head(2)),
        ["stores lacks 6 stores that sell", "s2", "Add them"],
    ),
    "too many unknown products": (
        lambda raw: raw.update(products=raw["products"].iloc[:-3]),
        ["unknown product_id in", "at most 5% may be dropped", "first row ", ": p", "Mend the table"],
    ),
    "price of zero": (cell("prices", "price", 0.0), ["prices.price must be above zero", "row 3: 0.0"]),
    "price twice": (twice("prices"), ["prices: 1 rows repeat a key (product_id, week)", "p00", "Keep one"]),
    "price on a Tuesday": (
        column("prices", week=lambda rows: rows["week"] + pd.Timedelta(days=1)),
        ["prices.week must be the Monday"],
    ),
    "event without a name": (cell("behavior", "event", None), ["behavior.event is empty", "row 3"]),
    "negative count": (cell("behavior", "count", -1), ["behavior.count must not be negative", "row 3: -1"]),
    "off the globe": (cell("stores", "latitude", 520.0), ["stores.latitude must be degrees, -90 to 90", "row 3: 520"]),
    "launch as words": (column("products", launch="spring"), ["products.launch cannot be read", "'spring'"]),
    "two codes for thousands": (
        column("transactions", sales_value="1.234.50"),
        ["transactions.sales_value cannot be read", "read.decimal"],
    ),
    "decimal comma": (
        column("transactions", sales_value="2,50"),
        ["transactions.sales_value cannot be read", "'2,50'", "markets.<name>.read.decimal: ','"],
    ),
    "currency": (column("transactions", sales_value="2.50 EUR"), ["transactions.sales_value", "or currency"]),
    "German money": (
        column("transactions", sales_value="1.234,50"),
        ["transactions.sales_value", "markets.<name>.read.thousands: '.' and decimal: ','"],
    ),
    "money in groups by spaces": (
        column("transactions", sales_value="1 234"),
        ["transactions.sales_value", "markets.<name>.read.thousands: ' '"],
    ),
    "points in some quantities": (
        column("transactions", quantity=lambda rows: ["1.234" if i % 9 == 3 else "2" for i in rows.index]),
        ["transactions.quantity is whole but for", "1.234", "markets.<name>.read.thousands: '.'", "read.decimal: '.'"],
    ),
    "changing offsets": (
        column(
            "transactions",
            timestamp=lambda rows: [f"{t}{'+01:00' if t.month < 4 else '+02:00'}" for t in rows["timestamp"]],
        ),
        ["transactions.timestamp carries the time zone +01:00 and +02:00", "markets.<name>.read.time_zone"],
    ),
    "day or month first": (
        column("transactions", timestamp="03/04/2022"),
        ["transactions.timestamp may be read with the day or the month first", "markets.<name>.read.dates"],
    ),
    "discounts of both signs": (
        column("transactions", discount=lambda rows: (rows.index % 2) - 0.5),
        ["transactions.discount is negative in", "row 0: -0.5", "Write money saved"],
    ),
    "loaded twice": (
        lambda raw: raw.update(
            transactions=pd.concat([raw["transactions"]] * 2).sort_values("timestamp", ignore_index=True)
        ),
        ["transactions: ", "were loaded more than once", "markets.<name>.read.keep_repeated"],
    ),
    "no rows": (lambda raw: raw.update(transactions=raw["transactions"].head(0)), ["transactions has no rows"]),
    "price without a store in part": (
        column("prices", store_id=lambda rows: ["s0" if i % 2 == 0 else None for i in rows.index]),
        ["prices.store_id is empty in", "rows 1, 3, 5", "hold for all stores"],
    ),
    "promotions of other stores": (
        column("promotions", store_id=lambda rows: "shop " + rows["store_id"]),
        ["promotions.store_id: none of its ids, such as shop s", "is one of transactions, such as s0"],
    ),
    "promotions of other products": (
        column("promotions", product_id=lambda rows: "x" + rows["product_id"]),
        ["promotions.product_id: none of its ids, such as x", "is one of products, such as p00"],
    ),
    "prices of other products": (
        column("prices", product_id=lambda rows: "x" + rows["product_id"]),
        ["prices.product_id: none of its ids", "take prices out of the folder"],
    ),
    "events of other products": (
        column("behavior", product_id=lambda rows: "x" + rows["product_id"]),
        ["behavior.product_id: none of its ids"],
    ),
    "events of other stores": (
        column("behavior", store_id="online"),
        ["behavior.store_id: none of its ids, such as online"],
    ),
    "zeros in front were added": (
        column("prices", product_id=lambda rows: "0" + rows["product_id"]),
        ["prices.product_id", "'0p00' may be 'p00'", "zeros in front"],
    ),
    "stores of other names": (
        column("stores", store_id=lambda rows: "0" + rows["store_id"]),
        ["stores lacks 8 stores", "zeros in front belong to an id"],
    ),
    "text beside a channel": (
        column("promotions", campaign="summer weeks"),
        ["promotions.campaign cannot be read", "'summer weeks'", "leave the column out"],
    ),
    "half a channel": (cell("promotions", "display", -0.5), ["promotions.display", "must hold 0 to 1", "row 3: -0.5"]),
    "price without a week": (cell("prices", "week", None), ["prices.week is empty", "row 3"]),
    "price without a number": (cell("prices", "price", float("nan")), ["prices.price is empty", "row 3"]),
    "product without an id": (cell("products", "product_id", None), ["products.product_id is empty", "row 3"]),
    "id of blanks": (cell("transactions", "product_id", "  "), ["transactions.product_id is empty", "row 3"]),
    "east of the globe": (cell("stores", "longitude", 999.0), ["stores.longitude must be degrees", "row 3: 999"]),
    "negative money": (cell("transactions", "sales_value", -1.0), ["transactions.sales_value must not be negative"]),
    "event without a time": (cell("behavior", "timestamp", None), ["behavior.timestamp is empty", "row 3"]),
    "no price column": (renamed("prices", price="amount"), ["prices.price is missing", "the table has product_id"]),
    "no week of promotion": (renamed("promotions", week="weeks"), ["promotions.week is missing", "nearest: 'weeks'"]),
    "no event column": (renamed("behavior", event="kind"), ["behavior.event is missing"]),
    "no category": (renamed("products", category="group"), ["products.category is missing"]),
    "number of days of a spreadsheet": (
        column("transactions", timestamp=lambda rows: (rows["timestamp"] - pd.Timestamp("1899-12-30")).dt.days),
        ["transactions.timestamp cannot be read", "row 0: '44564'", "2022-01-03", "format the column as a date"],
    ),
    "seconds since 1970": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].astype("int64") // 10**9),
        ["transactions.timestamp", "'1641168000' is not a date", "seconds since 1970 (2022-01-03"],
    ),
    "ISO weeks": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].dt.strftime("%G-W%V")),
        ["transactions.timestamp", "'2022-W01' is not a date", "the date of its Monday"],
    ),
    "weeks as six digits": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].dt.strftime("%G%V")),
        ["transactions.timestamp", "'202201' is not a date with a day", "the date of its Monday"],
    ),
    "weeks of a calendar": (column("promotions", week="KW 05 2022"), ["promotions.week", "the date of its Monday"]),
    "months": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].dt.strftime("%m/%Y")),
        ["transactions.timestamp", "'01/2022' is not a date with a day", "bring days or weeks"],
    ),
    "years of two digits in front": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].dt.strftime("%y-%m-%d")),
        ["transactions.timestamp may be read with the day or the year first", "'22-01-03'", "the format %y-%m-%d"],
    ),
    "months in another language": (
        column("transactions", timestamp="3. Januar 2022"),
        ["transactions.timestamp cannot be read", "'3. Januar 2022' is not a date"],
    ),
    "time without a day": (column("transactions", timestamp="12:30"), ["transactions.timestamp", "'12:30' is not a"]),
    "two forms of dates": (
        cell("transactions", "timestamp", "03.01.2022"),
        ["transactions.timestamp cannot be read in 1 rows, first in row 3: '03.01.2022'"],
    ),
    "end of all days": (
        column("products", launch="9999-12-31"),
        ["products.launch must be a date of the years 1900 to 2200", "left empty", "12 rows (row 0: 9999-12-31"],
    ),
    "no date written as zeros": (
        column("products", launch="0000-00-00"),
        ["products.launch cannot be read in 12 rows, first in row 0: '0000-00-00'", "leave the cell empty"],
    ),
    "sale in the year 0022": (
        column("transactions", timestamp=lambda rows: rows["timestamp"].astype(str).str.replace("2022", "0022")),
        ["transactions.timestamp must be a date of the years 1900 to 2200", "row 0: 0022-01-03"],
    ),
    "last row of totals": (
        lambda raw: raw.update(
            transactions=pd.concat([raw["transactions"], pd.DataFrame({"quantity": [9.0], "sales_value": [9.0]})])
        ),
        [
            "transactions.timestamp is empty",
            "transactions.store_id is empty",
            "the last row: if it holds totals, remove",
        ],
    ),
    "totals by name": (
        lambda raw: raw.update(
            promotions=pd.concat([raw["promotions"].astype(str), pd.DataFrame({"week": ["Total"]})], ignore_index=True)
        ),
        ["promotions.week cannot be read in 1 rows", "'Total' is not a date", "the last row: if it holds totals"],
    ),
    "formula that failed": (
        cell("transactions", "sales_value", "#VALUE!"),
        ["transactions.sales_value", "row 3: '#VALUE!' is not a number", "where a formula fails"],
    ),
    "number not found": (cell("transactions", "quantity", "#N/A"), ["transactions.quantity is empty", "row 3"]),
    "id of a failed formula": (
        cell("transactions", "product_id", "#REF!"),
        ["transactions.product_id is empty", "row 3"],
    ),
    "ids that a spreadsheet cut": (
        column("prices", product_id="4.00638E+12"),
        ["prices.product_id is a long number that a spreadsheet has cut", "export ids as text", "row 0: 4.00638E+12"],
    ),
    "units written out": (column("transactions", quantity="2 kg"), ["transactions.quantity", "'2 kg'", "unit"]),
    "negative in brackets": (cell("transactions", "sales_value", "(2.50)"), ["transactions.sales_value", "'(2.50)'"]),
    "discount in percent": (column("transactions", discount="10%"), ["transactions.discount", "'10%'", "percent"]),
    "channel in percent": (column("promotions", mailer="50%"), ["promotions.mailer", "'50%'", "0.5 for 50%"]),
    "codes of coupons": (column("transactions", coupon="SAVE10"), ["transactions.coupon", "'SAVE10'", "nor yes or no"]),
    "price below zero": (cell("prices", "price", -1.0), ["prices.price must be above zero", "row 3: -1.0"]),
    "thousands in Parquet": (
        column("transactions", quantity=lambda rows: [1.234 if i % 9 == 3 else 2.0 for i in rows.index]),
        ["transactions.quantity is whole but for", "first in row 3: 1.234", "as whole numbers", "read.decimal: '.'"],
    ),
    "lists": (
        column("transactions", quantity=lambda rows: [[1.0]] * len(rows)),
        ["transactions.quantity is of the type DOUBLE[]", "must be a number in each row"],
    ),
    "ids in records": (
        column("products", product_id=lambda rows: [{"id": product} for product in rows["product_id"]]),
        ["products.product_id is of the type STRUCT(id VARCHAR)", "must be text in each row"],
    ),
    "dates for numbers": (
        column("transactions", quantity=pd.Timestamp("2022-01-03")),
        ["transactions.quantity is of the type TIMESTAMP", "must be a number"],
    ),
    "two columns but for case": (
        column("transactions", Quantity=1.0),
        ["transactions.parquet: two columns are named 'Quantity', whatever the case"],
    ),
    "no products": (lambda raw: raw.update(products=raw["products"].head(0)), ["products has no rows"]),
    "weeks as columns": (
        lambda raw: raw.update(transactions=pd.DataFrame({"store_id": ["s1"]} | {f"w{i}": [1] for i in range(99)})),
        ["transactions.timestamp is missing", "the table has store_id, w0, w1", "and 80 more"],
    ),
    "weeks as channels": (
        column("promotions", **{f"w{i}": 0.0 for i in range(200)}),
        [
            "promotions has 202 columns that would be channels",
            "at most 100",
            "one row for each product, store and week",
        ],
    ),
    "channels without a value": (
        column("promotions", mailer=None, display=None),
        ["promotions: all channels are empty", "take promotions out of the folder"],
    ),
    "ids in other letters": (
        column("transactions", product_id=lambda rows: rows["product_id"].str.upper().str.replace("P", "P ")),
        ["unknown product_id in", "first row 0: P ", "'P 0", "' may be 'p0", "case, white space"],
    ),
    "stores in other letters": (
        column("stores", store_id=lambda rows: rows["store_id"].str.upper()),
        ["stores lacks 8 stores", "'s0' may be 'S0', 7 more alike"],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_bad_tables(tmp_path, case):
    assert len(CASES) >= 100
    raw = add_optional_tables(make_retailer())
    spoil, words = CASES[case]
    spoil(raw)
    refused(raw, tmp_path / "shop", words)


def test_categories(retailer, tmp_path):
    refused(retailer, tmp_path / "a", ["category 'TEE' does not exist", "nearest: TEA"], category="TEE")
    words = ["nearest: OAT MILK", "markets.<name>.category"]
    refused(retailer, tmp_path / "b", words, category="milk")
    coffee = pd.DataFrame({"product_id": ["p99"], "category": ["COFFEE"]})
    retailer["products"] = pd.concat([retailer["products"], coffee], ignore_index=True)
    refused(retailer, tmp_path / "c", ["'COFFEE' has no sales at all"], category="COFFEE")


def test_renaming(retailer, tmp_path):
    refused(retailer, tmp_path / "a", ["markets.<name>.rename is 'sku'", "theirs=ours"], rename="sku")
    words = ["promotions: two columns are named 'mailer' after markets.<name>.rename"]
    refused(retailer, tmp_path / "b", words, rename="display=mailer")
    refused(retailer, tmp_path / "c", ["names 'displai'", "no table has", "nearest is 'display'"], rename="displai=tv")


def test_folders_and_sources(tmp_path):
    with pytest.raises(ValueError, match=r"does not exist.*make setup"):
        tables.load("tables", tmp_path / "nowhere", None)
    with pytest.raises(ValueError, match=r"unknown source 'excel'.* complete_journey, tables, simulated"):
        tables.load("excel", tmp_path, None)
    with pytest.raises(ValueError, match="complete_journey"):
        tables.load("complete_journey", tmp_path, None, "sku=product_id")
    (tmp_path / "shop").mkdir()
    with pytest.raises(ValueError, match=r"has no transactions.parquet or transactions.csv, which is required"):
        tables.load("tables", tmp_path / "shop", None)
    (tmp_path / "shop/Transactions.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"which is required. Write Transactions.xlsx as transactions.csv"):
        tables.load("tables", tmp_path / "shop", None)
    with pytest.raises(ValueError, match=r"Transactions.xlsx is a file. Name the folder"):
        tables.load("tables", tmp_path / "shop/Transactions.xlsx", None)


def test_files_that_cannot_be_read(retailer, tmp_path):
    folder = write_retailer(retailer, tmp_path / "shop")
    (folder / "products.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match=r"products.parquet cannot be read as parquet"):
        tables.load("tables", folder, "TEA")
    (folder / "products.parquet").unlink()
    (folder / "products.csv").write_bytes(b'a,b\n"never closed')
    with pytest.raises(ValueError, match=r"products.csv: a quote is wrong from line 2 on"):
        tables.load("tables", folder, "TEA")


FORMS = ["%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%S", "%m/%d/%y", "%d-%b-%y"]
FORMS += ["%m/%d/%Y %I:%M:%S %p", "%d %B %Y", "%m/%d/%y %H:%M"]


@pytest.mark.parametrize("form", FORMS)
def test_dates_in_the_format_of_their_first_row(retailer, tmp_path, form):
    rows = retailer["transactions"]
    rows = rows[rows["timestamp"] >= "2022-01-13"].assign(timestamp=lambda rows: rows["timestamp"].dt.strftime(form))
    folder = write_retailer(retailer | {"transactions": rows.reset_index(drop=True)}, tmp_path / "shop")
    days = tables.load("tables", folder, "TEA").query("SELECT DISTINCT CAST(day AS TIMESTAMP) AS day FROM visits")
    expected = pd.to_datetime(rows["timestamp"], format=form).dt.normalize().unique()
    assert set(days["day"]) == set(expected)
