"""A market's tables are read before it is added, and nothing else of params.yaml changes."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_retailer import make_retailer, write_retailer

from shelfcast import settings
from shelfcast.pipeline import new_market

ROOT = Path(__file__).parents[1]


@pytest.fixture()
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    raw = make_retailer()
    raw["products"]["category"] = "TEA"
    raw["products"] = raw["products"].rename(columns={"product_id": "sku"})
    write_retailer(raw, tmp_path / "shop")
    write_retailer(make_retailer(1), tmp_path / "data")
    return lambda *arguments: CliRunner().invoke(new_market.main, arguments)


OWN = ("teas", "--tables", "shop", "--category", "TEA", "--rename", "sku=product_id", "--n-products", "8")


def test_a_line_is_added_and_the_rest_stays(call):
    before = Path("params.yaml").read_text()
    done = call(*OWN)
    assert done.exit_code == 0, done.output
    assert "8 products" in done.output and "dvc repro report@teas" in done.output
    assert (
        "known_future: promotion, promotion: display, promotion: mailer" in done.output
        and "starts from the backbone alone" in done.output
    )
    added = settings.load("teas")
    assert (added.market.tables, added.market.category, added.market.rename) == ("shop", "TEA", "sku=product_id")
    assert added.prepare.n_products == 8
    after = Path("params.yaml").read_text()
    assert [row for row in after.splitlines() if "teas:" not in row] == before.splitlines()
    again = call(*OWN)
    assert again.exit_code == 1 and "has a market 'teas' already" in again.output
    assert Path("params.yaml").read_text() == after


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Teas", *OWN[1:]), "'Teas' becomes a path"),
        (("teas", "--tables", "nowhere", "--category", "TEA"), "nowhere/ does not exist"),
        (("teas", "--tables", "shop", "--category", "TEE", "--rename", "sku=product_id"), "nearest: TEA"),
        (("teas", "--tables", "shop", "--category", "TEA"), "product_id"),
        (("teas", "--tables", "shop", "--source", "table"), "source is 'table'"),
        (("checked", *OWN[1:]), "'checked' becomes a path. Write small letters, digits and _"),
        (("base", *OWN[1:]), "none of base, checked, studies, summaries, template"),
        (("template", *OWN[1:]), "'template' becomes a path"),
        (("茶", *OWN[1:]), "'茶' becomes a path"),
        (("my teas", *OWN[1:]), "'my teas' becomes a path"),
        ((*OWN, "--country", "Germany"), "nearest: "),
        ((*OWN, "--read", "decimals=,"), "no parameter 'decimals'; the nearest name is 'decimal'"),
        ((*OWN, "--read", "decimal"), "--read 'decimal' has no value"),
        ((*OWN, "--read", "keep_repeated=perhaps"), "keep_repeated is 'perhaps'"),
        ((*OWN, "--read", "encoding=latin-99"), "there is no such encoding"),
        ((*OWN, "--n-products", "3"), "n_products is 3"),
        (("teas", "--tables", "shop/products.parquet"), "shop/products.parquet is a file"),
    ],
)
def test_a_mistake_is_named_and_nothing_written(call, arguments, words):
    before = Path("params.yaml").read_text()
    done = call(*arguments)
    assert done.exit_code == 1 and "nothing was written: " in done.output and words in done.output
    assert Path("params.yaml").read_text() == before and not list(Path().glob(".params*"))


def test_a_look_writes_nothing(call):
    before = Path("params.yaml").read_text()
    assert call(*OWN, "--look").exit_code == 0
    assert Path("params.yaml").read_text() == before


def test_an_unusual_layout_is_left_to_its_owner(call):
    text = Path("params.yaml").read_text()
    start, end = text.index("markets:"), text.index("# Markets with known truth")
    Path("params.yaml").write_text(text[:start] + "markets: {}\n" + text[end:])
    done = call(*OWN)
    assert done.exit_code == 1 and "by hand" in done.output and "teas: {source: tables" in done.output


NAMES = ["my shop's tables", "café [2022]*?", "茶 店", 'a "quoted" {name}: #1, $HOME', "-n"]


@pytest.mark.parametrize("folder", NAMES)
def test_any_folder_can_be_named(call, folder):
    Path("shop").rename(folder)
    done = call("teas", f"--tables={folder}", *OWN[3:])
    assert done.exit_code == 0, done.output
    added = settings.load("teas").market
    assert added.tables == folder and folder in Path("params.yaml").read_text(encoding="utf-8").replace("''", "'")
    again = call("teas", "--look")
    assert again.exit_code == 0 and "8 products" in again.output, again.output


def test_a_market_that_is_there_is_looked_at_again(call):
    assert call(*OWN).exit_code == 0
    before = Path("params.yaml").read_text()
    done = call("teas", "--look", "--n-products", "6", "--country", "DE")
    assert done.exit_code == 0, done.output
    assert "teas as it stands in params.yaml, with prepare changed" in done.output
    assert "6 products" in done.output and "public holidays of DE" in done.output
    assert Path("params.yaml").read_text() == before and settings.load("teas").prepare.n_products == 8


def test_options_of_reading_are_written(call):
    done = call(*OWN, "--read", "decimal=,", "--read", "keep_repeated=yes", "--read", "separator=tab")
    assert done.exit_code == 0, done.output
    read = settings.load("teas").market.read
    assert (read.decimal, read.keep_repeated, read.separator) == (",", True, "\t")
