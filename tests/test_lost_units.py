"""The table `stockouts`: demand is learned, sales are kept beside it, and no week is read by a later one."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_retailer import MONDAY, STORES, WEEKS, load_retailer, make_retailer

from shelfcast.act.orders.past import contest
from shelfcast.data.schema import CHAIN
from shelfcast.judge.frame import is_chain
from shelfcast.panel.frame import examples
from shelfcast.pipeline import evaluate


def cut_retailer(share=None, seed=5):
    """The small retailer, of whose cells a fifth was cut to a half; the table names them. Also the full one."""
    full, draw = make_retailer(), np.random.default_rng(seed)
    ids, stores = full["products"]["product_id"], [f"s{i}" for i in range(STORES)]
    cells = pd.MultiIndex.from_product([ids, stores, range(WEEKS)], names=["product_id", "store_id", "number"])
    cells = cells.to_frame(index=False)[draw.random(len(cells)) < 0.2]
    cells["week"] = MONDAY + pd.to_timedelta(7 * cells["number"], unit="D")
    rows = full["transactions"]
    week = rows["timestamp"].dt.to_period("W").dt.start_time
    keys = pd.MultiIndex.from_arrays([rows["product_id"], rows["store_id"], week])
    is_cut = keys.isin(pd.MultiIndex.from_frame(cells[["product_id", "store_id", "week"]]))
    kept = rows[~is_cut | (draw.random(len(rows)) < 0.5)].reset_index(drop=True)
    table = cells[["product_id", "store_id", "week"]].reset_index(drop=True)
    return full, full | {"transactions": kept, "stockouts": table if share is None else table.assign(share=share)}


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    """By demand as it was, by sales alone, and by sales with the table."""
    full, cut = cut_retailer()
    told = {"demand": full, "sales": {k: v for k, v in cut.items() if k != "stockouts"}, "corrected": cut}
    return {name: load_retailer(raw, tmp_path_factory.mktemp(name)) for name, raw in told.items()}


def chain_total(panel, column="y"):
    return panel.frame.loc[panel.frame["location"] == CHAIN, column].sum()


def test_demand_is_learned_and_sales_stay_as_they_were(panels):
    wanted, sold = (chain_total(panels[name]) for name in ("demand", "sales"))
    corrected = panels["corrected"]
    assert abs(chain_total(corrected) / wanted - 1) < 0.02 < 0.05 < 1 - sold / wanted
    assert "sold" not in panels["sales"].frame and "sold" not in panels["demand"].frame
    frame = corrected.frame
    pd.testing.assert_series_equal(frame["sold"], panels["sales"].frame["y"], check_names=False)
    assert (frame["y"] >= frame["sold"])[frame["y"].notna()].all()
    prices = [column for column in ("price_ratio", "discount") if column in frame]
    pd.testing.assert_frame_equal(frame[prices], panels["sales"].frame[prices])
    assert "sold" not in examples(corrected, corrected.cutoffs["test"]), "a method sees no column of that name"


def test_regions_add_up_to_the_chain(panels):
    wide = panels["corrected"].frame.dropna(subset="y").pivot_table("y", ["product_id", "ds"], "location")
    np.testing.assert_allclose(wide[CHAIN], wide.drop(columns=CHAIN).sum(axis=1))


def test_the_quality_table_counts_stock_outs(tmp_path):
    _, cut = cut_retailer()
    strange = pd.DataFrame(
        {"product_id": ["nobody", "p00", "p00"], "store_id": ["s0", "nowhere", "s0"], "week": MONDAY}
    )
    strange.loc[2, "week"] = MONDAY + pd.Timedelta(weeks=WEEKS + 9)
    table = pd.concat([cut["stockouts"], strange], ignore_index=True)
    panel = load_retailer(cut | {"stockouts": table}, tmp_path)
    quality = panel.quality.set_index("check")
    assert quality.loc["stock-out of unknown product", "found"] == 1
    assert quality.loc["stock-out of unknown store", "found"] == 1
    outside = quality.loc["stock-outs outside the observed weeks, or before a product's launch"]
    assert outside["found"] >= 1 and outside["action"] == "not used"
    told = quality.loc["weeks of products in stores that a stock-out cut"]
    own = table[table["product_id"].isin(panel.products.index)]
    assert 0.9 * len(own) < told["found"] <= len(own) and told["units"] > 0


def test_no_week_is_corrected_by_a_later_one(panels, tmp_path):
    _, cut = cut_retailer()
    n_train = (pd.Timestamp(panels["corrected"].meta["train_end"]) - MONDAY).days // 7 + 1
    late = MONDAY + pd.Timedelta(weeks=n_train)
    rows, table = cut["transactions"], cut["stockouts"]
    tripled = rows.assign(quantity=rows["quantity"].where(rows["timestamp"] < late, 3.0))
    other = load_retailer(cut | {"transactions": tripled, "stockouts": table[table["week"] < late]}, tmp_path)
    frames = [panel.frame.set_index(["unique_id", "ds"])["y"] for panel in (panels["corrected"], other)]
    training = frames[0].index.get_level_values("ds") < late
    pd.testing.assert_series_equal(frames[0][training], frames[1][training])
    assert (frames[0][~training].dropna() != frames[1][~training].dropna()).any(), "the control"


def test_stock_outs_can_be_ignored(panels, tmp_path):
    _, cut = cut_retailer()
    ignored = load_retailer(cut, tmp_path, stockouts="ignore")
    pd.testing.assert_frame_equal(ignored.frame, panels["sales"].frame)


def test_amounts_are_corrected_in_sales(panels, tmp_path):
    _, cut = cut_retailer()
    rows = cut["transactions"]
    panel = load_retailer(cut | {"transactions": rows.assign(quantity=0.75)}, tmp_path)
    assert panel.meta["amounts"]
    assert chain_total(panel) == pytest.approx(0.75 * chain_total(panels["corrected"]), rel=0.002)


def test_a_product_that_was_never_there_is_refused(tmp_path):
    _, cut = cut_retailer()
    every = pd.MultiIndex.from_product(
        [["p00"], [f"s{i}" for i in range(STORES)], MONDAY + pd.to_timedelta(7 * np.arange(WEEKS), unit="D")],
        names=["product_id", "store_id", "week"],
    ).to_frame(index=False)
    with pytest.raises(ValueError, match="1 products, p00 the first, are out of stock in all weeks"):
        load_retailer(cut | {"stockouts": every}, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.5}, "share of the week that the shelf was empty, 0 to 1"),
        ({"week": MONDAY + pd.Timedelta(days=2)}, "must be the Monday"),
        ({"product_id": lambda rows: "x" + rows["product_id"]}, "none of its ids, such as xp00, xp01"),
        ({"product_id": "p00", "store_id": "s0", "week": MONDAY}, "rows repeat a key"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, change, message):
    _, cut = cut_retailer()
    with pytest.raises(ValueError, match=message):
        load_retailer(cut | {"stockouts": cut["stockouts"].assign(**change)}, tmp_path)


def test_forecasts_are_judged_by_sales_where_little_was_cut(panels):
    panel = panels["corrected"]
    rows = panel.frame[panel.frame["ds"].isin(panel.cutoffs["test"])]
    frame = rows.assign(mean=1.0)[["unique_id", "ds", "y", "mean"]].reset_index(drop=True)
    judged, words = evaluate.judged(frame, panel)
    sold = rows["sold"].reset_index(drop=True)
    lost = 1 - sold / frame["y"].clip(lower=1e-9)
    chain = is_chain(frame)
    left_out = lost > evaluate.MOST_LOST
    assert 0 < left_out[chain].mean() < evaluate.MOST_LEFT_OUT, "the case that this test is of"
    assert judged.loc[chain & left_out, "y"].isna().all()
    pd.testing.assert_series_equal(judged.loc[chain & ~left_out, "y"], sold[chain & ~left_out], check_names=False)
    assert len(words) == 2 and "product: " in words[0]
    everywhere = dataclasses.replace(panel, frame=panel.frame.assign(sold=0.5 * panel.frame["y"]))
    by_estimates, words = evaluate.judged(frame, everywhere)
    pd.testing.assert_frame_equal(by_estimates, frame)
    assert "judged by estimated demand" in words[0]
    without, words = evaluate.judged(frame, panels["sales"])
    assert without is frame and not words


def test_orders_are_replayed_on_demand(panels):
    panel = panels["corrected"]
    frame = panel.frame.loc[panel.frame["y"].notna(), ["unique_id", "ds"]].assign(y=np.nan)
    np.testing.assert_array_equal(contest.with_demand(frame, panel)["y"], panel.frame["y"].dropna())
    assert contest.with_demand(frame, panels["sales"]) is frame
