"""The zero-shot model on short contexts: the library's own numbers, missing weeks, and large markets."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fracast import FracastModel

from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import is_chain
from shelfcast.methods import zero_shot
from shelfcast.methods.zero_shot import forecasts
from shelfcast.methods.zero_shot.short_context import MIN_OBSERVED, ShortContext

HORIZON = 4


@pytest.fixture(scope="module")
def model():
    return FracastModel.from_pretrained(weights="fp32")


def contexts(kind, length, n=4, seed=0):
    generator = np.random.default_rng(seed)
    y = generator.poisson(6, (n, length)).astype(float)
    if kind == "season":
        y += 20 * (1 + np.sin(2 * np.pi * np.arange(length) / 13))
    if kind == "gaps":
        y[:, 5:9] = np.nan
        y[1, : length // 2] = np.nan
    return y


@pytest.mark.parametrize(
    ("kind", "length"), [("counts", 30), ("counts", 230), ("gaps", 60), ("counts", 600), ("season", 104)]
)
def test_forecasts_are_the_librarys(model, kind, length):
    y = contexts(kind, length)
    ours = ShortContext(model, length, HORIZON).forecast(y)
    theirs = np.sort(model.forecast_batch(y, horizon=HORIZON), -1)
    assert ours.shape == (4, HORIZON, 9)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_series_does_not_depend_on_its_batch(model):
    y = contexts("counts", 40, n=70)
    fitted = ShortContext(model, 40, HORIZON)
    np.testing.assert_allclose(fitted.forecast(y)[65], fitted.forecast(y[65:66])[0], rtol=1e-4, atol=1e-4)


def test_cutoffs_together_equal_cutoffs_alone(small_panel):
    predict = zero_shot.fracast(small_panel, 0)
    cutoffs = small_panel.cutoffs["test"]
    together = predict(cutoffs)
    alone = predict(cutoffs[:1])
    same = together[together["cutoff"] == cutoffs[0]].reset_index(drop=True)
    np.testing.assert_allclose(same[QUANTILE_COLUMNS], alone[QUANTILE_COLUMNS], rtol=1e-3, atol=2e-2)


def test_missing_weeks_are_masked_not_zero(small_panel):
    """With the last weeks but one missing, the forecast stays at the level; as zeros they would draw it down."""
    frame = small_panel.frame
    cutoff = small_panel.cutoffs["test"][0]
    late = frame["ds"].between(cutoff - pd.Timedelta(weeks=6), cutoff - pd.Timedelta(weeks=1))
    as_gap, as_zero = (
        dataclasses.replace(small_panel, frame=frame.assign(y=frame["y"].mask(late, value))) for value in (np.nan, 0.0)
    )
    full, gap, zero = (zero_shot.fracast(panel, 0)([cutoff])["mean"].mean() for panel in (small_panel, as_gap, as_zero))
    assert abs(gap / full - 1) < 0.2 and zero < 0.75 * full


def test_in_a_large_market_regions_follow_the_chain(small_panel, monkeypatch):
    cutoffs = small_panel.cutoffs["test"]
    full = zero_shot.fracast(small_panel, 0)(cutoffs)
    monkeypatch.setattr(forecasts, "MOST_WEEKS", 1)
    bounded = zero_shot.fracast(small_panel, 0)(cutoffs)
    assert set(bounded["unique_id"]) == set(full["unique_id"]) and len(bounded) == len(full)
    keys = ["unique_id", "cutoff", "horizon"]
    both = bounded.merge(full, on=keys, suffixes=("", "_full"))
    chain = is_chain(both)
    np.testing.assert_allclose(both.loc[chain, "mean"], both.loc[chain, "mean_full"], rtol=1e-3)
    assert both.loc[~chain, "dispersion"].notna().all()
    product = both["unique_id"].str.split("|").str[0]
    sums = both.groupby([product, "cutoff", "horizon", chain.rename("chain")])["mean"].sum().unstack()
    np.testing.assert_allclose(sums[True], sums[False], rtol=1e-3)


def test_the_outlook_is_what_the_model_forecasts_from_each_week(small_panel):
    outlook = zero_shot.with_outlook(small_panel).outlook
    cutoff = small_panel.cutoffs["validation"][0]
    frame = zero_shot.fracast(small_panel, 0)([cutoff])
    frame = frame[is_chain(frame)].assign(product_id=lambda f: f["unique_id"].str.split("|").str[0])
    both = frame.merge(outlook, on=["product_id", "cutoff", "horizon"], validate="one_to_one")
    assert len(both) == len(frame) == small_panel.meta["horizon"] * len(small_panel.products)
    np.testing.assert_allclose(both["units"], both["mean"], rtol=2e-3, atol=1e-3)
    observed = [week for week in small_panel.weeks[MIN_OBSERVED - 1 :]]
    assert set(outlook["cutoff"]) == set(observed)


def test_the_outlook_knows_nothing_after_its_week(small_panel):
    cutoff = small_panel.cutoffs["train"][-1]
    frame = small_panel.frame
    changed = frame.assign(y=frame["y"].where(frame["ds"] <= cutoff, 7 * frame["y"] + 50))
    before, after = (
        zero_shot.with_outlook(panel).outlook.set_index(["product_id", "cutoff", "horizon"])["units"]
        for panel in (small_panel, dataclasses.replace(small_panel, frame=changed))
    )
    known = before.index.get_level_values("cutoff") <= cutoff
    np.testing.assert_allclose(after[known], before[known], rtol=1e-3, atol=1e-3)
    assert not np.allclose(after[~known], before[~known], rtol=0.1)


def test_a_new_product_has_no_outlook_until_it_was_observed(small_panel):
    product, first = small_panel.products.index[0], small_panel.weeks[20]
    frame = small_panel.frame
    unborn = (frame["product_id"] == product) & (frame["ds"] < first)
    panel = dataclasses.replace(small_panel, frame=frame.assign(y=frame["y"].mask(unborn)))
    outlook = zero_shot.with_outlook(panel).outlook
    own = outlook[outlook["product_id"] == product]
    assert own["cutoff"].min() == first + pd.Timedelta(weeks=MIN_OBSERVED - 1)
