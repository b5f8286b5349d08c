"""Demand that stock-outs cut: worked examples, and worlds whose demand is known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shelfcast.market import truth
from shelfcast.market.retailer.raw import raw_tables
from shelfcast.panel.demand import stockouts
from shelfcast.settings import Simulation


def test_worked_examples_of_the_expected_demand(monkeypatch):
    law = stats.rv_discrete(values=([0, 1, 2], [1 / 3, 1 / 3, 1 / 3]))
    monkeypatch.setattr(stockouts, "count_distribution", lambda mean, dispersion: law)
    for mechanism, expected in (("sold_out", 1.5), ("part_of_week", 1.4)):
        found = stockouts.expected_demand(np.array([1.0]), np.array([1.0]), 0.5, mechanism)
        assert found == pytest.approx([expected])
        half = stockouts.expected_demand(np.array([1.0]), np.array([1.0]), 0.5, mechanism, np.array([0.5]))
        assert half == pytest.approx([1.5]), "a share that is known goes before the mechanism"


def test_a_store_that_was_cut_is_read_by_the_others():
    sold = np.full((1, 10, 30), 4.0)
    cut = np.zeros(sold.shape, bool)
    sold[0, 9, ::3], cut[0, 9, ::3] = 1.0, True
    found = stockouts.correct(sold, cut)
    assert 2.2 < found.demand[cut].mean() < 4.2 and (found.demand[cut] >= 1).all()
    assert (found.demand[~cut] == 4).all()
    assert found.added == pytest.approx((found.demand.sum() - sold.sum()) / found.demand.sum())


@pytest.mark.parametrize("starts", [0.07, 0.15])
def test_bias_is_small_where_many_weeks_are_cut(starts):
    market = truth.draw(Simulation(seed=3, n_products=30, n_new=4, n_weeks=50, stock_outs=starts))
    sold, wanted = (stockouts.since_launch(market[name], market["products"]["launch"]) for name in ("sold", "wanted"))
    cut = market["out"] & ~np.isnan(sold)
    assert 0.08 < cut.sum() / (~np.isnan(sold)).sum() < 0.21
    found = stockouts.correct(sold, cut)
    total = np.nansum(wanted)
    assert abs(np.nansum(found.demand) / total - 1) < 0.02
    assert np.nansum(sold) / total - 1 < -0.04, "the control: sales as they are"
    wrong = stockouts.correct(sold, cut, "sold_out")
    assert np.nansum(wrong.demand) / total - 1 > 0.03, "the control: another mechanism"


def test_shelves_that_were_emptied_have_a_mechanism_of_their_own():
    draw = np.random.default_rng(0)
    wanted = draw.negative_binomial(2, 2 / (2 + 3.0), (20, 12, 40)).astype(float)
    stock = draw.poisson(6, wanted.shape)
    cut, sold = wanted >= stock, np.minimum(wanted, stock)
    assert 0.1 < cut.mean() < 0.3
    bias = {m: stockouts.correct(sold, cut, m).demand.sum() / wanted.sum() - 1 for m in stockouts.MECHANISMS}
    assert abs(bias["sold_out"]) < 0.04 and bias["part_of_week"] < -0.03
    assert sold.sum() / wanted.sum() - 1 < -0.08


def test_shares_that_are_known_say_more_than_a_flag():
    draw = np.random.default_rng(1)
    wanted = draw.negative_binomial(2, 2 / (2 + 4.0), (15, 12, 40))
    cut = draw.random(wanted.shape) < 0.15
    share = np.where(cut, draw.beta(2, 1, wanted.shape), np.nan)
    sold = np.where(cut, draw.binomial(wanted, 1 - np.nan_to_num(share)), wanted).astype(float)
    known, flag = (stockouts.correct(sold, cut, share=given).demand for given in (share, None))
    assert abs(known.sum() / wanted.sum() - 1) < 0.01 < 0.08 < 1 - sold.sum() / wanted.sum()
    assert ((known - wanted)[cut] ** 2).mean() < ((flag - wanted)[cut] ** 2).mean()


def test_a_week_is_read_by_no_later_one():
    draw = np.random.default_rng(2)
    sold = draw.poisson(3, (4, 6, 30)).astype(float)
    cut = draw.random(sold.shape) < 0.2
    changed, changed_cut = sold.copy(), cut.copy()
    changed[..., 20:] = draw.poisson(30, changed[..., 20:].shape)
    changed_cut[..., 20:] = draw.random(changed[..., 20:].shape) < 0.5
    before, after = (stockouts.correct(*given, n_train=20).demand for given in ((sold, cut), (changed, changed_cut)))
    assert (before[..., :20] == after[..., :20]).all() and (before[..., 20:] != after[..., 20:]).any()
    again = stockouts.correct(changed, changed_cut).demand
    assert (again[..., :20] != before[..., :20]).any(), "the control: a dispersion fitted on all weeks"


def test_a_simulated_market_names_its_stock_outs_only_if_asked():
    options = {"seed": 3, "n_products": 6, "n_new": 2, "n_stores": 4, "n_weeks": 50, "stock_outs": 0.1}
    without, told = (raw_tables(truth.draw(Simulation(**options, stockouts_table=asked))) for asked in (False, True))
    assert set(told) - set(without) == {"stockouts"}
    for name, table in without.items():
        pd.testing.assert_frame_equal(table, told[name])
    market = truth.draw(Simulation(**options))
    offered = np.arange(50) >= market["products"]["launch"].to_numpy()[:, None, None]
    assert len(told["stockouts"]) == (market["out"] & offered).sum() > 0


def test_nothing_cut_changes_nothing():
    sold = np.random.default_rng(0).poisson(2, (3, 4, 20)).astype(float)
    found = stockouts.correct(sold, np.zeros(sold.shape, bool))
    assert (found.demand == sold).all() and found.added == 0


@pytest.mark.parametrize(
    ("sold", "cut", "mechanism", "message"),
    [
        (np.ones((1, 2, 3)), np.zeros((1, 2, 4), bool), "sold_out", "sold has the shape"),
        (np.ones((1, 2, 3)), np.zeros((1, 2, 3), bool), "theft", "Choose of sold_out, part_of_week"),
        (np.full((1, 2, 3), 0.5), np.zeros((1, 2, 3), bool), "sold_out", "whole units"),
        (
            np.ones((2, 2, 3)),
            np.array([[[False] * 3] * 2, [[True] * 3] * 2]),
            "sold_out",
            "1 products, number 1 the first",
        ),
    ],
)
def test_bad_input_is_refused(sold, cut, mechanism, message):
    with pytest.raises(ValueError, match=message):
        stockouts.correct(sold, cut, mechanism)
