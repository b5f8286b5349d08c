"""Scenes of other trades: their demand follows the laws, their tables pass the door, and no value is ignored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from shelfcast.data import tables
from shelfcast.frequency import DAILY
from shelfcast.market.oracle import oracle
from shelfcast.market.scenes import laws
from shelfcast.market.scenes.laws import SCENES
from shelfcast.market.scenes.raw import raw_tables
from shelfcast.market.scenes.truth import all_days, draw, usual_orders
from shelfcast.market.tables import load_truth, write
from shelfcast.panel.build import build
from shelfcast.settings import Prepare, SettingsError, Simulation

SIZES = {"spare_parts": (30, 4), "parcels": (12, 4), "accounts": (12, 4)}


@pytest.fixture(scope="module")
def markets():
    return {name: draw(Simulation(scene=name, n_products=p, n_stores=n)) for name, (p, n) in SIZES.items()}


def test_units_of_orders_have_the_law_s_mean_and_lumps():
    """Of orders of 1 + NB(mean 2, size .5): three units an order, with a variance of 2 + 4 / .5 = 10 each."""
    law = SCENES["spare_parts"]
    orders, units = laws.draw_units(np.random.default_rng(0), law, np.full(200_000, 1.0))
    ones = units[orders == 1]
    assert ones.min() == 1 and ones.mean() == pytest.approx(3, rel=0.03)
    assert ones.var() == pytest.approx(10, rel=0.08)
    assert (units[orders == 0] == 0).all()


def test_spare_parts_are_intermittent_and_parcels_are_not(markets):
    zeros = {name: (market["sold"] == 0).mean() for name, market in markets.items()}
    assert zeros["spare_parts"] > 0.6 > 0.1 > zeros["parcels"]
    per_order = {name: m["units_by_day"].sum() / m["orders_by_day"].sum() for name, m in markets.items()}
    assert per_order["spare_parts"] == pytest.approx(3, rel=0.1) and per_order["parcels"] == 1


@pytest.mark.parametrize("name", SIZES)
def test_nothing_happens_on_days_on_which_places_are_closed(markets, name):
    market = markets[name]
    days, n = all_days(market["mondays"]), market["units_by_day"].shape[-1]
    christmas = (days == "2022-12-26")[:n]
    sundays = (days.dayofweek == 6)[:n]
    assert market["units_by_day"][..., christmas].sum() == 0 and market["units_by_day"][..., sundays].sum() == 0
    assert market["units_by_day"][..., ~sundays].sum() > 0


def test_the_mean_product_at_the_mean_place_gets_the_law_s_orders(markets):
    """Without campaigns and states, a week has `law.orders` in the mean over products, places and weeks."""
    for name, market in markets.items():
        plain = market | {"campaign": np.zeros_like(market["campaign"])}
        usual = usual_orders(SCENES[name], plain, 0, len(market["mondays"]))
        assert 7 * usual.mean() == pytest.approx(SCENES[name].orders)


def test_a_campaign_multiplies_orders_by_the_law(markets):
    market, law = markets["accounts"], SCENES["accounts"]
    on, off = (
        usual_orders(law, market | {"campaign": np.full_like(market["campaign"], flag)}, 3, 1) for flag in (1, 0)
    )
    open_days = off > 0
    assert np.allclose(on[open_days] / off[open_days], np.exp(law.campaign))


def test_tables_hold_all_units_and_no_true_effect(markets):
    for name, market in markets.items():
        raw = raw_tables(market)
        assert raw["transactions"]["quantity"].sum() == market["sold"].sum()
        assert not {"appeal", "season", "peak", "size"} & {column for table in raw.values() for column in table}
        assert ("promotions" in raw) == (name == "accounts")
    weeks = raw_tables(markets["accounts"])["promotions"]["week"]
    last = raw_tables(markets["accounts"])["transactions"]["timestamp"].max()
    assert weeks.max() > last, "campaigns are planned ahead"


def test_a_scene_depends_on_its_seed_and_past_weeks_not_on_later_ones(markets):
    again = draw(Simulation(scene="parcels", n_products=12, n_stores=4))
    other = draw(Simulation(scene="parcels", n_products=12, n_stores=4, seed=1))
    assert np.array_equal(again["sold"], markets["parcels"]["sold"])
    assert not np.array_equal(other["sold"], again["sold"])


def test_a_scene_becomes_a_panel_through_the_door_of_any_retailer(tmp_path):
    write(tmp_path, Simulation(scene="accounts", n_products=8, n_stores=3, n_weeks=60))
    raw = tables.load("simulated", tmp_path / "tables", None)
    panel = build(raw, Prepare(n_products=8, country="DE", validation_weeks=6, test_weeks=6, outlook=False))
    assert list(panel.locations.index[1:]) == ["Castle Square", "Harbour", "Main Street"]
    truth = load_truth(tmp_path / "truth")
    chain = panel.frame[(panel.frame["location"] == "chain") & panel.frame["y"].notna()]
    assert chain["y"].sum() == truth["sold"].sum()
    assert "promotion: campaign" in panel.planned


def test_no_forecast_of_the_mean_beats_the_oracle_by_more_than_chance(markets):
    """Its ranges hold what they promise, and the mean of the last eight weeks errs more."""
    for name, market in markets.items():
        places = {"chain": market["stores"]["store_id"].tolist()}
        cutoffs = market["mondays"][60:100:4]
        frame = oracle(market, cutoffs, places, draws=150)
        frame = frame[frame["y"].notna()]
        inside = frame["y"].between(frame["q100"], frame["q900"]).mean()
        assert inside >= 0.75, name
        weekly = pd.DataFrame(market["sold"].sum(1), market["products"]["product_id"], market["mondays"][:104])
        naive = [weekly.loc[row.unique_id.split("|")[0], : row.cutoff].iloc[-8:].mean() for row in frame.itertuples()]
        assert (frame["y"] - frame["mean"]).abs().sum() < (frame["y"] - np.array(naive)).abs().sum(), name


@pytest.mark.parametrize("values", [{"mechanism": "choice"}, {"stock_outs": 0.1}, {"n_new": 3}])
def test_values_that_mean_nothing_to_a_scene_are_refused(values):
    with pytest.raises(SettingsError, match=f"{next(iter(values))} has no meaning for the scene 'parcels'.*Remove it"):
        draw(Simulation(scene="parcels", n_products=12, n_stores=4, **values))


def test_a_scene_says_how_much_it_has():
    with pytest.raises(ValueError, match="n_products is 160, and the scene 'parcels' has 45"):
        draw(Simulation(scene="parcels", n_stores=4))
    with pytest.raises(ValueError, match="n_stores is 24"):
        draw(Simulation(scene="parcels", n_products=12))
    market = draw(Simulation(scene="parcels", n_products=5, n_stores=2, n_weeks=43))
    with pytest.raises(ValueError, match="withheld"):
        oracle(market, market["mondays"][30:31], {"chain": ["berlin"]}, withheld=["text"])


def test_days_of_a_scene_add_up_to_its_weeks(markets):
    """The oracle by the day and by the week, from the same state: the same units, and means alike."""
    market, places = markets["parcels"], {"chain": ["berlin", "cologne", "frankfurt", "hamburg"]}
    monday = market["mondays"][80]
    weekly = oracle(market, [monday], places, draws=300)
    daily = oracle(market, [monday + pd.Timedelta(days=6)], places, draws=300, frequency=DAILY)
    assert daily["ds"].min() == weekly["ds"].min() and len(daily) == 7 * len(weekly)
    assert daily["y"].sum() == weekly["y"].sum()
    assert daily["mean"].sum() == pytest.approx(weekly["mean"].sum(), rel=0.02)
    assert daily.loc[daily["ds"].dt.dayofweek == 6, "mean"].eq(0).all(), "closed on Sundays"
    tuesday = oracle(market, [monday + pd.Timedelta(days=1)], places, draws=300, frequency=DAILY)
    assert tuesday["ds"].min() == monday + pd.Timedelta(days=2) and len(tuesday) == len(daily)
    both = daily.merge(tuesday, on=["unique_id", "ds"])
    assert (both["y_x"] == both["y_y"]).all() and len(both) == len(daily) * 23 // 28
    assert both["mean_x"].sum() == pytest.approx(both["mean_y"].sum(), rel=0.1)


def test_a_shop_has_no_days():
    with pytest.raises(ValueError, match=r"of weeks from Monday.*prepare\.freq: W"):
        oracle({"settings": {"scene": "shop"}}, [], {}, frequency=DAILY)
