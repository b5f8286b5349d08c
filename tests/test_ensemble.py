"""The ensemble: weights by hand, what it may not do, and that it costs seconds."""

import time

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge import metrics
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES
from shelfcast.judge.frame import add_level, forecast_frame, grid_keys
from shelfcast.methods import ensemble

MONDAY = pd.Timestamp("2017-10-30")
LOCATIONS = ["chain", "north", "south"]


def member(name, error, y, quantiles=None):
    """A method whose forecasts are the actuals and an error; all quantiles are the median."""
    products = [f"p{i}" for i in range(len(y))]
    keys = grid_keys(products, LOCATIONS, [MONDAY], y)
    mean = np.maximum(keys["y"].fillna(0).to_numpy() + error, 0)
    quantiles = np.repeat(mean[:, None], len(QUANTILES), 1)
    return add_level(forecast_frame(keys, mean, quantiles=quantiles).assign(method=name))


@pytest.fixture
def actuals():
    return np.random.default_rng(0).gamma(2, 10, (12, 3, 1, 4)).round()


def test_two_that_err_to_opposite_sides_share(actuals):
    frame = pd.concat([member("low", -2.0, actuals + 5), member("high", 2.0, actuals + 5)])
    weights = ensemble.select_weights(frame)
    assert weights == {level: {"low": 0.5, "high": 0.5} for level in ("product", "product_region")}
    average = ensemble.combine(frame, weights)
    assert np.allclose(average["mean"], average["y"]) and average["dispersion"].isna().all()
    assert np.allclose(average[QUANTILE_COLUMNS], average[["y"]])


def test_levels_have_weights_of_their_own(actuals):
    one, other = member("one", 1.0, actuals), member("other", 3.0, actuals)
    chain = one["level"] == "product"
    one_is_bad = member("one", 9.0, actuals).where(chain, one)  # at the chain alone
    weights = ensemble.select_weights(pd.concat([one_is_bad, other]))
    assert weights == {"product": {"other": 1.0}, "product_region": {"one": 1.0}}


def test_ties_go_to_the_simpler_which_comes_first(actuals):
    frame = pd.concat([member(name, 1.0, actuals) for name in ("simple", "complex")])
    assert ensemble.select_weights(frame)["product"] == {"simple": 1.0}


def test_weights_add_up_and_small_ones_are_left_out(actuals):
    generator = np.random.default_rng(1)
    members = [member(f"m{i}", generator.normal(0, 4, actuals.size), actuals) for i in range(6)]
    weights = ensemble.select_weights(pd.concat(members))
    for of_level in weights.values():
        assert sum(of_level.values()) == pytest.approx(1) and min(of_level.values()) >= ensemble.MIN_WEIGHT
        assert len(of_level) > 2
    assert weights == ensemble.select_weights(pd.concat(members)), "the same forecasts, the same weights"


def test_the_average_is_at_least_as_good_as_the_best_member_on_the_rows_it_was_chosen_by(actuals):
    generator = np.random.default_rng(2)
    members = pd.concat([member(f"m{i}", generator.normal(0, 3 + i, actuals.size), actuals) for i in range(4)])
    average = ensemble.combine(members, ensemble.select_weights(members)).assign(method="ensemble")
    frame = pd.concat([members, add_level(average)])
    history = frame[["unique_id", "ds", "y"]]
    wql = metrics.scores(frame, history, by=("level", "method"))["wql"].unstack()
    assert (wql["ensemble"] < wql.drop(columns="ensemble").min(axis=1)).all()


def test_rows_without_an_actual_do_not_count(actuals):
    good, bad = member("good", 0.5, actuals), member("bad", 2.0, actuals)
    hidden = good["horizon"] > 1
    good.loc[hidden, ["y"]] = bad.loc[hidden, ["y"]] = np.nan
    good.loc[hidden, QUANTILE_COLUMNS] = 1e6
    assert ensemble.select_weights(pd.concat([good, bad]))["product"] == {"good": 1.0}


def test_no_row_in_common_is_an_error(actuals):
    first, second = member("first", 1.0, actuals), member("second", 1.0, actuals)
    apart = pd.concat([first[first["horizon"] == 1], second[second["horizon"] == 2]])
    with pytest.raises(ValueError, match=r"first, second have no validation week.*evaluate\.methods"):
        ensemble.select_weights(apart)
    with pytest.raises(ValueError, match=r"no validation forecast.*prepare\.validation_weeks"):
        ensemble.select_weights(pd.concat([first, second]).assign(y=np.nan))


def test_members_that_forecast_other_rows_are_an_error(actuals):
    first, second = member("first", -2.0, actuals), member("second", 2.0, actuals)
    weights = {"product": {"first": 0.5, "second": 0.5}}
    with pytest.raises(ValueError, match="'second' forecasts 36 rows and another member of the ensemble 48"):
        ensemble.combine(pd.concat([first, second[second["horizon"] < 4]]), weights)
    with pytest.raises(ValueError, match="'third' forecasts 0 rows"):
        ensemble.combine(first, {"product": {"first": 0.5, "third": 0.5}})


def test_in_words():
    weights = {"product": {"shelfcast": 0.6, "lightgbm": 0.4}, "product_region": {"lightgbm": 1.0}}
    text = ensemble.in_words(weights, {"lightgbm": "LightGBM"})
    assert text == "60 % shelfcast and 40 % LightGBM at the chain; LightGBM alone in regions"
    three = ensemble.in_words({"product": {"a": 0.2, "b": 0.5, "c": 0.3}})
    assert three == "50 % b, 30 % c and 20 % a at the chain"


@pytest.mark.slow
def test_a_large_market_takes_seconds():
    """150 products, 7 locations, 8 cutoffs and 7 methods."""
    generator = np.random.default_rng(0)
    y = generator.poisson(5, (150, 7, 8, 4)).astype(float)
    cutoffs = list(pd.date_range(MONDAY, periods=8, freq="7D"))
    keys = grid_keys([f"p{i}" for i in range(150)], ["chain", *"abcdef"], cutoffs, y)
    first = add_level(forecast_frame(keys, 5.0, 0.1))
    members = []
    for i in range(7):
        own = first.assign(method=f"m{i}")
        own[QUANTILE_COLUMNS] += generator.normal(0, 1, (len(own), 1))
        members.append(own)
    frame, began = pd.concat(members), time.process_time()
    ensemble.select_weights(frame)
    assert time.process_time() - began < 20
