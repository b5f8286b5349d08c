"""A market cut into partitions: its facts, panel and forecasts are those of the whole market, wherever it is cut."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from small_models import make_models, save_models
from small_retailer import add_optional_tables, make_retailer, tables_changed_after, write_retailer

from shelfcast import settings
from shelfcast.data import tables
from shelfcast.methods.zero_shot import with_outlook_at
from shelfcast.model.forecast import forecast
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.build import assemble, build
from shelfcast.panel.frame import Panel
from shelfcast.scale.common import read_facts
from shelfcast.scale.engine.parts import read_parts
from shelfcast.scale.engine.run import run
from shelfcast.scale.market import load_market, read_market
from shelfcast.scale.panels import FACTS, MARKET, market_panels, panel_job, part_panel, prepare
from shelfcast.scale.scoring import score_panel, score_prepared, tensors_of
from shelfcast.scale.texts import texts_job, trained
from shelfcast.scale_options import Scale

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SMALL = {"n_products": 11, "n_regions": 2, "validation_weeks": 6, "test_weeks": 6}
KEYS = ["unique_id", "ds"]


def tables_of(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Two categories with promotions, prices and launches; what partitions refuse is left out."""
    raw = add_optional_tables(make_retailer(seed))
    del raw["behavior"]
    return raw


def options_of(folder: Path, raw: dict[str, pd.DataFrame], products: int = 150, **market) -> settings.Settings:
    """The settings of a market of these tables, all categories together where none is given."""
    write_retailer(raw, folder / "tables")
    line = {"source": "tables", "tables": str(folder / "tables")} | market
    values = {"markets": {"shop": line}, "prepare": SMALL, "scale": {"products": products}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    return settings.load("shop", path=folder / "params.yaml")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[settings.Settings, Panel]:
    options = options_of(tmp_path_factory.mktemp("whole"), tables_of())
    return options, build(tables.load("tables", options.market.tables, None), options.prepare)


@pytest.fixture(scope="module")
def cut(whole, tmp_path_factory):
    """Products in a partition -> the folder of the prepared market; each is prepared once."""
    folders = {}

    def of_size(products: int) -> Path:
        if products not in folders:
            own = replace(whole[0], scale=Scale(products=products))
            folders[products] = prepare(own, tmp_path_factory.mktemp(f"cut_{products}"))
        return folders[products]

    return of_size


def assert_close(ours: pd.DataFrame, theirs: pd.DataFrame, keys=KEYS, most: float = 1e-6) -> None:
    """Equal columns and rows in any order, numbers within `most` of each other."""
    assert list(ours.columns) == list(theirs.columns)
    ours, theirs = (frame.sort_values(keys, ignore_index=True) for frame in (ours, theirs))
    pd.testing.assert_frame_equal(ours, theirs, rtol=most, atol=most)


def test_the_market_has_what_partitions_could_get_wrong(whole):
    """Several categories, launched products, promotions, prices, a location's shocks."""
    panel = whole[1]
    assert panel.products["category"].nunique() == 2
    assert {"on_sale", "price", "category_promotion", "location_now"} <= set(panel.frame)
    assert panel.frame["location_now"].abs().max() > 0.1
    assert panel.frame.groupby("product_id")["category_promotion"].mean().nunique() == len(panel.products)


@pytest.mark.parametrize("products", [1, 4, 11])
def test_panels_by_partitions_are_the_whole_panel(whole, cut, products):
    folder = cut(products)
    run(panel_job(folder))
    assert len(list((folder / "panel").glob("part-*"))) == -(-len(whole[1].products) // products)
    assert_close(read_parts(folder / "panel"), whole[1].frame, most=1e-9)
    part = part_panel(folder, 0)
    pd.testing.assert_frame_equal(part.typical, whole[1].typical, rtol=1e-9)
    pd.testing.assert_frame_equal(part.quality, whole[1].quality)
    assert part.roles == whole[1].roles
    assert part.meta["share_of_category"] == pytest.approx(whole[1].meta["share_of_category"])
    assert {key for key in whole[1].meta if part.meta[key] != whole[1].meta[key]} <= {"share_of_category"}  # rounding


def test_a_partition_that_sees_itself_alone_is_another(whole, cut):
    """The control: without what all products have in common, columns are wrong."""
    folder = cut(4)
    market = load_market(str(folder / MARKET))
    facts = read_facts(str(folder / MARKET), str(folder / FACTS), 0)
    alone = assemble(facts, facts.grid, market.graph, market.quality, market.meta).frame
    theirs = whole[1].frame[whole[1].frame["product_id"].isin(facts.grid.products.index)]
    theirs = theirs.sort_values(KEYS, ignore_index=True)
    for column in ("location_now", "category_promotion"):
        assert not np.allclose(alone[column], theirs[column], equal_nan=True)


def test_leak_partitions_see_nothing_after_a_week(whole, tmp_path):
    n_weeks = 30
    raw = tables_of()
    other = options_of(tmp_path, raw | tables_changed_after(raw, n_weeks + 1), products=4)
    folder = prepare(other, tmp_path / "cut")
    run(panel_job(folder))
    frame, until = read_parts(folder / "panel"), whole[1].weeks[n_weeks - 1]
    past = ["y", *whole[1].roles["past"]]
    ours, theirs = (f[f["ds"] <= until][[*KEYS, *past]] for f in (frame, whole[1].frame))
    assert_close(ours.reset_index(drop=True), theirs.reset_index(drop=True), most=1e-9)
    late = (frame["ds"] > until).to_numpy()
    assert not np.allclose(frame.loc[late, "y"], whole[1].frame.loc[late, "y"], equal_nan=True)


@pytest.fixture(scope="module")
def models(whole, tiny_bert, tmp_path_factory) -> Path:
    """build/<market>/ with models of random weights, and the panel they belong to."""
    folder = tmp_path_factory.mktemp("run")
    panel = with_outlook_at(whole[1], whole[1].cutoffs["latest"])
    panel.save(folder / "panel")
    save_models(folder, *make_models(panel, tiny_bert))
    return folder


@pytest.fixture(scope="module")
def expected(models, tiny_bert) -> pd.DataFrame:
    """What the notebooks' own function forecasts."""
    panel, own = Panel.load(models / "panel"), models / "models/shelfcast"
    return forecast(trained(str(own)), tensors_of(panel, str(own)), panel.cutoffs["latest"])


@pytest.mark.parametrize(("products", "workers"), [(3, 1), (11, 1), (4, 2)])
def test_forecasts_of_a_panel_do_not_depend_on_partitions(models, expected, tmp_path, products, workers):
    run(score_panel(models, "shelfcast", products, tmp_path), Scale(workers=workers))
    assert_close(read_parts(tmp_path), expected, ["unique_id", "horizon"])


@pytest.mark.parametrize("products", [1, 4, 11])
@pytest.mark.parametrize("texts", [False, True])
def test_forecasts_from_raw_tables_do_not_depend_on_partitions(cut, models, expected, products, texts):
    folder, own = cut(products), models / "models/shelfcast"
    if texts:
        run(texts_job(folder, own))
    run(score_prepared(folder, own))
    assert_close(read_parts(folder / "forecasts"), expected, ["unique_id", "horizon"])


def test_columns_that_the_model_does_not_know(models, whole):
    panel, own = whole[1], str(models / "models/shelfcast")
    panel = with_outlook_at(panel, panel.cutoffs["latest"])
    more = replace(panel, roles=panel.roles | {"past": [*panel.roles["past"], "own idea"]})
    more.frame["own idea"] = 1.0
    with pytest.raises(ValueError, match=r"was not trained on columns .*: own idea.*--leave-out"):
        tensors_of(more, own)
    without = tensors_of(more, own, leave_out=True)
    assert without.names == tensors_of(panel, own).names
    fewer = replace(panel, roles=panel.roles | {"past": panel.roles["past"][1:]})
    with pytest.raises(ValueError, match=rf"lacks: {panel.roles['past'][0]}\."):
        tensors_of(fewer, own)


def test_a_second_run_does_nothing_again(whole, tmp_path):
    own = replace(whole[0], scale=Scale(products=6))
    folder = prepare(own, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("part-*")}
    assert prepare(own, tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("part-*")} == times
    prepare(replace(own, prepare=replace(own.prepare, n_products=10)), tmp_path)
    assert all(path.stat().st_mtime_ns > time for path, time in times.items() if path.exists())


@pytest.mark.parametrize("table", ["behavior", "stockouts"])
def test_tables_that_need_all_products_are_refused(whole, table, tmp_path):
    raw = add_optional_tables(make_retailer())
    if table == "stockouts":
        del raw["behavior"]
        raw["stockouts"] = raw["promotions"][["product_id", "store_id", "week"]].head(5)
    own = tables.load("tables", write_retailer(raw, tmp_path), None)
    with pytest.raises(ValueError, match=f"with the table {table} cannot be cut"):
        read_market(own, whole[0].prepare, 4)
    if table == "stockouts":
        assert len(read_market(own, replace(whole[0].prepare, stockouts="ignore"), 4).grid.products) == 11


@pytest.mark.parametrize("products", [1, 4])
def test_a_product_without_a_planned_price_is_refused(tmp_path, products):
    raw = tables_of()
    raw["prices"] = raw["prices"][raw["prices"]["product_id"] != "p06"]
    with pytest.raises(ValueError, match="no price of 1 products, first 'p06'"):
        prepare(options_of(tmp_path, raw, products=products), tmp_path / "cut")


def test_panels_of_many_markets(tmp_path, tiny_bert):
    raw = make_retailer()
    fewer = {"n_products": 6, "outlook": False}
    both = {
        "tea": options_of(tmp_path, raw, category="TEA", prepare=fewer),
        "other": options_of(tmp_path, raw, prepare=fewer),
    }
    run(market_panels(both, tmp_path / "panels"))
    rows = read_parts(tmp_path / "panels/panels").set_index("market")
    assert rows["n_products"].to_dict() == {"tea": 6, "other": 6}
    loaded = tables.load("tables", both["tea"].market.tables, "TEA")
    expected = build(loaded, both["tea"].prepare)
    pd.testing.assert_frame_equal(Panel.load(tmp_path / "panels/tea/panel").frame, expected.frame)
    assert market_tensors(expected, load_tokenizer(tiny_bert)).locations == list(expected.locations.index)


def test_the_command_line_tells_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "shelfcast.scale", "score", "no_such_market", "--to", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "has no market 'no_such_market'" in done.stderr and "Traceback" not in done.stderr
