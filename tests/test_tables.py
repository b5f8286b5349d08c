"""Tables of one category: what is read, what is left out and counted."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from projects import PYTHON
from small_retailer import add_optional_tables, make_retailer, write_retailer

from shelfcast.data import tables

ROOT = Path(__file__).parents[1]


def n_sales(loaded):
    return loaded.query("SELECT count(*) AS n FROM sales")["n"].iloc[0]


def test_a_good_folder(retailer, tmp_path):
    loaded = tables.load("tables", write_retailer(retailer, tmp_path / "shop"), "TEA")
    rows = retailer["transactions"]
    assert set(loaded.products["category"]) == {"TEA"}
    assert n_sales(loaded) == (rows["product_id"] < "p08").sum() < len(rows)
    assert loaded.query("SELECT sum(n) AS n FROM visits")["n"].iloc[0] == len(rows)  # of all categories
    assert loaded.stores is None and loaded.prices is None and loaded.behavior is None
    tea = retailer["promotions"]["product_id"] < "p08"
    assert len(loaded.promotions) == tea.sum()
    expected = rows[rows["product_id"] < "p08"].head(3)[loaded.head(3).columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(loaded.head(3), expected, check_dtype=False)


def test_all_categories_together(retailer, tmp_path):
    loaded = tables.load("tables", write_retailer(retailer, tmp_path / "shop"), None)
    assert n_sales(loaded) == len(retailer["transactions"]) and len(loaded.products) == 12


def test_several_categories_are_what_they_are_alone(retailer, tmp_path):
    folder = write_retailer(retailer, tmp_path / "shop")
    both = list(tables.load_each("tables", folder, ["TEA", "OAT MILK"]))
    for category, loaded in zip(["TEA", "OAT MILK"], both, strict=True):
        alone = tables.load("tables", folder, category)
        for name in ("products", "promotions", "quality"):
            pd.testing.assert_frame_equal(getattr(loaded, name), getattr(alone, name))
        for table in ("sales", "visits"):
            rows = [one.query(f"SELECT * FROM {table} ORDER BY ALL") for one in (loaded, alone)]
            pd.testing.assert_frame_equal(*rows)
    with pytest.raises(ValueError, match="'TEE' does not exist; nearest: TEA"):
        next(tables.load_each("tables", folder, ["TEA", "TEE"]))


def test_csv_and_rename(tmp_path):
    raw = add_optional_tables(make_retailer())
    raw["products"] = raw["products"].assign(size=[1.5, None, *range(10)], vegan=[True, False] * 6)
    loaded = tables.load("tables", write_retailer(raw, tmp_path / "parquet"), "TEA")
    folder = tmp_path / "csv"
    folder.mkdir()
    for name, frame in raw.items():
        names = {"product_id": "sku", "store_id": "shop number"}
        frame.rename(columns=names).to_csv(folder / f"{name}.csv", index=False)
    (folder / "notes.txt").write_text("hello")
    from_csv = tables.load("tables", folder, "TEA", "sku=product_id, shop number=store_id")
    assert from_csv.ignored == ("notes.txt: no table of this schema",)
    for name in ("products", "promotions", "prices", "behavior", "stores", "quality"):
        pd.testing.assert_frame_equal(getattr(from_csv, name), getattr(loaded, name), check_dtype=False)
    rows = [one.query("SELECT * FROM sales ORDER BY ALL") for one in (from_csv, loaded)]
    pd.testing.assert_frame_equal(*rows)


def test_ids_are_strings_whatever_a_file_holds(retailer, tmp_path):
    """Numbers in one file, text in the other; a zero in front belongs to an id."""
    for frame in retailer.values():
        frame["product_id"] = frame["product_id"].str[1:]
    folder = write_retailer(retailer, tmp_path / "shop")
    (folder / "transactions.parquet").unlink()
    retailer["transactions"].to_csv(folder / "transactions.csv", index=False)
    loaded = tables.load("tables", folder, "TEA")
    assert list(loaded.products["product_id"]) == [f"{i:02d}" for i in range(8)]
    assert loaded.quality.set_index("check").loc["unknown product_id", "found"] == 0
    numbers = {name: frame.assign(product_id=frame["product_id"].astype(int)) for name, frame in retailer.items()}
    loaded = tables.load("tables", write_retailer(numbers, tmp_path / "numbers"), "TEA")
    assert list(loaded.products["product_id"]) == [f"{i}" for i in range(8)]
    assert loaded.head(1)["product_id"].iloc[0] in set(loaded.products["product_id"])


def test_the_index_of_a_frame_is_no_column(retailer, tmp_path):
    retailer["promotions"] = retailer["promotions"].sample(frac=1, random_state=0)  # pandas writes such an index
    loaded = tables.load("tables", write_retailer(retailer, tmp_path / "shop"), "TEA")
    assert list(loaded.promotions) == ["product_id", "store_id", "week", "mailer", "display"]


def test_nothing_is_dropped_without_being_counted(retailer, tmp_path):
    rows = retailer["transactions"].copy()
    tea = rows.index[rows["product_id"] == "p01"]
    rows.loc[tea[:3], "quantity"] = 0
    rows.loc[tea[3], "quantity"] = 5000
    rows.loc[tea[4:6], "sales_value"] = 0
    rows.loc[tea[6:10], "product_id"] = "p77"
    loaded = tables.load("tables", write_retailer(retailer | {"transactions": rows}, tmp_path / "shop"), "TEA")
    found = loaded.quality.set_index("check")["found"]
    assert found["unknown product_id"] == 4
    assert found["quantity zero"] == 3
    assert found["quantity above 20 times the product's usual"] == 1
    assert found["sales value zero"] == 2
    units = loaded.quality.set_index("check")["units"]
    assert units["unknown product_id"] == 4 and units["quantity above 20 times the product's usual"] == 5000
    n_visits = loaded.query("SELECT sum(n) AS n, sum(units) AS units FROM visits").iloc[0]
    assert n_visits["n"] == len(rows) - 4 - 3
    assert n_visits["units"] == rows["quantity"].sum() - 4
    assert n_sales(loaded) == (rows["product_id"] < "p08").sum() - 3  # the outlier is kept
    of_category = loaded.query("SELECT count(*) AS n FROM rows")["n"].iloc[0]
    assert of_category == (rows["product_id"] < "p08").sum()  # rows of zero are there, too


def test_what_other_tables_leave_out_is_counted(tmp_path):
    raw = add_optional_tables(make_retailer())
    strange = raw["behavior"].head(3).assign(product_id="nobody")
    raw["prices"] = raw["prices"][raw["prices"]["product_id"] != "p01"]
    folder = write_retailer(raw | {"behavior": pd.concat([raw["behavior"], strange])}, tmp_path / "shop")
    (folder / "images").mkdir()
    for name in ("p00.png", "p01.JPG", "p99.png", "notes.txt"):
        (folder / "images" / name).write_bytes(b"")
    loaded = tables.load("tables", folder, "TEA")
    found = loaded.quality.set_index("check")["found"]
    assert found["event of unknown product"] == 3 and found["picture of unknown product"] == 1
    assert found["product without a planned price"] == 1
    assert found["product without a picture"] == 6 and set(loaded.images) == {"p00", "p01"}
    assert set(loaded.behavior["product_id"]) <= set(loaded.products["product_id"])


def test_weeks_of_the_complete_journey_are_new_yorks():
    """The package numbers weeks from Sunday 2017-01-01 by local time; its timestamps are UTC."""
    stored = pd.read_parquet(ROOT / "data/transactions.parquet", columns=["transaction_timestamp", "week"])
    loaded = tables.load("complete_journey", ROOT / "data", "SOFT DRINKS")
    read = loaded.query("SELECT timestamp FROM main.transactions ORDER BY rowid")["timestamp"]

    def n_other_week(stamps):
        week = (stamps.dt.normalize() - pd.Timestamp("2016-12-26")).dt.days // 7 + 1
        return (week != stored["week"]).sum()

    local = stored["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    pd.testing.assert_series_equal(read, local.dt.tz_localize(None), check_names=False, check_dtype=False)
    assert n_other_week(read) == 0
    assert n_other_week(stored["transaction_timestamp"]) > 10_000
    with pytest.raises(ValueError, match="nearest: SOFT DRINKS"):
        tables.load("complete_journey", ROOT / "data", "SOFT DRINK")


def test_reading_and_building_need_no_learning_libraries():
    """Their imports would take longer than the work."""
    code = "import sys, shelfcast.data.tables, shelfcast.panel.build; print(*sys.modules)"
    modules = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "duckdb" in modules and not {"torch", "transformers", "sklearn", "pandera"} & set(modules)
