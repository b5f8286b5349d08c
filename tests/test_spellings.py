"""Names that are written in several ways are told with their rows; what is wholly empty is told and left out."""

import pytest
from small_retailer import add_optional_tables, make_retailer, write_retailer

from shelfcast.data import tables


@pytest.fixture()
def raw():
    return add_optional_tables(make_retailer())


def quality(raw, folder, category="TEA"):
    loaded = tables.load("tables", write_retailer(raw, folder), category)
    return loaded, loaded.quality.set_index("check")


def test_categories(raw, tmp_path):
    names = ["Tea", "TEA ", "T E A", "TEA\u00a0", "TEA", "TEA", "TEA", "TÉA."]
    raw["products"]["category"] = [*names, *["OAT MILK"] * 4]
    loaded, checks = quality(raw, tmp_path / "shop")
    assert list(loaded.products["product_id"]) == ["p01", "p03", "p04", "p05", "p06"]
    for written, row in (("TEA ", 1), ("TEA\xa0", 3)):
        line = checks.loc[f"product of category {written!r} (products, rows {row})"]
        assert line["found"] == 1 and line["action"].startswith("taken as 'TEA'")
    for written, row in (("Tea", 0), ("T E A", 2), ("TÉA.", 7)):
        line = checks.loc[f"product of category {written!r} (products, rows {row})"]
        assert line["found"] == 1 and line["action"] == "left out; write 'TEA' where it is the same"
    assert loaded.category == tables.load("tables", tmp_path / "shop", " TEA\u00a0").category == "TEA"
    with pytest.raises(ValueError, match=r"'tea' is written in several ways; nearest: .*TEA"):
        tables.load("tables", tmp_path / "shop", "tea")


def test_ids_across_tables(raw, tmp_path):
    rows = raw["transactions"]
    raw["transactions"]["product_id"] = rows["product_id"].mask(rows.index < 20, rows["product_id"].str.upper())
    raw["promotions"].loc[:9, "store_id"] = raw["promotions"].loc[:9, "store_id"].str.replace("s", "s ")
    raw["prices"].loc[:4, "product_id"] = "0p00"
    raw["behavior"].loc[:2, "store_id"] = "S-7"
    _, checks = quality(raw, tmp_path / "shop")
    sold = checks.loc["unknown product_id"]
    assert sold["found"] == 20 and "' may be 'p" in sold["action"] and sold["action"].startswith("dropped; 'P")
    promoted = checks.loc["promotion of unknown store"]
    assert promoted["found"] == 10 and "'s " in promoted["action"] and "' may be 's" in promoted["action"]
    assert "'0p00' may be 'p00'" in checks.loc["price of unknown product", "action"]
    assert "'S-7' may be 's7'" in checks.loc["event of unknown store", "action"]


def test_ids_that_are_known_or_like_none_are_not_explained(raw, tmp_path):
    raw["promotions"].loc[:9, "store_id"] = [f"elsewhere {i}" for i in range(10)]
    _, checks = quality(raw, tmp_path / "shop")
    assert checks.loc["promotion of unknown store", ["found", "action"]].tolist() == [10, "not used"]
    assert not checks.index.str.contains("other spellings").any()


def test_spellings_within_a_table(raw, tmp_path):
    del raw["stores"]
    raw["transactions"].loc[:30, "store_id"] = raw["transactions"].loc[:30, "store_id"].replace("s1", "S 1")
    raw["behavior"].loc[:50, "event"] = "VIEW"
    _, checks = quality(raw, tmp_path / "shop")
    stores = checks.loc["transactions.store_id in other spellings: 'S 1' and 's1'"]
    n = raw["transactions"]["store_id"].isin(["s1", "S 1"]).sum()
    assert stores["found"] == n and stores["action"].startswith("kept as different ones")
    assert "behavior.event in other spellings: 'VIEW' and 'view'" in checks.index


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_wholly_empty_is_told_and_absent(raw, tmp_path, ending):
    raw["promotions"]["tv"] = float("nan")
    raw["products"]["brand"] = None
    raw["stores"]["region"] = "  "
    raw["behavior"]["count"] = None
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, frame in raw.items():
        frame.to_csv(folder / f"{name}.csv", index=False) if ending == "csv" else None
    loaded = tables.load("tables", folder if ending == "csv" else write_retailer(raw, folder), "TEA")
    checks = loaded.quality.set_index("check")
    for table, column in (("promotions", "tv"), ("products", "brand"), ("stores", "region"), ("behavior", "count")):
        line = checks.loc[f"{table}.{column} empty"]
        assert line["found"] == line["of"] == len(raw[table]) and line["action"] == "read as if the column were absent"
        assert column not in loaded.columns[table] and column not in getattr(loaded, table)
    assert {"mailer", "display"} <= set(loaded.promotions)


def test_what_is_zero_throughout_is_told(raw, tmp_path):
    raw["promotions"]["tv"] = 0
    raw["behavior"].loc[raw["behavior"]["event"] == "Add to cart", "count"] = 0
    raw["stores"].loc[:1, ["latitude", "longitude"]] = 0.0
    _, checks = quality(raw, tmp_path / "shop")
    assert checks.loc["promotions.tv is 0", "found"] == len(raw["promotions"])
    assert checks.loc["events of kind 'Add to cart' with a count of 0", "found"] == raw["behavior"]["count"].eq(0).sum()
    assert checks.loc["store at latitude 0 and longitude 0: s0, s1", "found"] == 2
    assert not checks.index.str.startswith("promotions.mailer").any()
