"""What the report says: sums, ranges and sentences, checked by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest

from shelfcast.report import story


def forecasts(mean=5.0, dispersion=0.2, products=400, cutoffs=8, correlation=0.0, seed=0):
    """Past forecasts of four weeks, and counts drawn from them; `correlation` shares a series' luck between weeks."""
    draw = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [[f"p{i}|chain" for i in range(products)], pd.date_range("2022-01-03", periods=cutoffs, freq="28D"), range(4)],
        names=["unique_id", "cutoff", "horizon"],
    )
    frame = index.to_frame(index=False).assign(mean=mean, dispersion=dispersion, q100=0.0, q900=9.0)
    frame["ds"] = frame["cutoff"] + pd.to_timedelta(7 * (frame["horizon"] + 1), unit="D")
    shared = np.repeat(draw.normal(size=products * cutoffs), 4)
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * draw.normal(size=len(frame))
    sd = np.sqrt(mean + dispersion * mean**2)
    return frame.assign(y=mean + sd * noise)


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_correlation_between_weeks_is_found(correlation):
    assert story.week_correlation(forecasts(correlation=correlation)) == pytest.approx(correlation, abs=0.05)


def test_worked_example_of_the_correlation():
    frame = forecasts(products=2, cutoffs=1).query("horizon < 2")
    errors = np.array([1, 1, 1, -1]) * np.sqrt(5 + 0.2 * 25)
    assert story.week_correlation(frame.assign(y=5 + errors)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_the_range_of_a_sum_holds_four_times_in_five(correlation):
    frame = forecasts(correlation=correlation, mean=20.0)
    frame = frame.assign(unique_id=frame["unique_id"] + frame["cutoff"].astype(str))  # every stretch its own series
    sums = story.sums(frame, correlation)
    sold = frame.groupby("unique_id")["y"].sum()
    inside = sold.between(sums["low"], sums["high"]).mean()
    assert sums["mean"].eq(80).all() and inside == pytest.approx(0.8, abs=0.03)
    if correlation:  # the control: read as independent, the range is too narrow
        narrow = story.sums(frame, 0.0)
        assert sold.between(narrow["low"], narrow["high"]).mean() < 0.72


def test_a_total_is_as_wide_as_its_misses():
    past = forecasts(products=50)
    ahead = past[past["cutoff"] == past["cutoff"].max()]
    calm = story.total(past, ahead, 0.0)
    wild = past.assign(y=past["y"] * past["cutoff"].map(dict(zip(past["cutoff"].unique(), [0.5, 2] * 4, strict=True))))
    stormy = story.total(wild, ahead, 0.0)
    assert calm["mean"] == stormy["mean"] == pytest.approx(50 * 4 * 5)
    assert calm["q100"] < calm["q250"] < calm["mean"] < calm["q750"] < calm["q900"]
    assert stormy["q900"] - stormy["q100"] > 5 * (calm["q900"] - calm["q100"])
    assert stormy["miss"] == pytest.approx(np.log(2), rel=0.1)


def products(**columns):
    frame = pd.DataFrame(
        {"label": ["Cola", "Root <beer>"], "mean": [30.0, 3.0], "low": [20.0, 1.0], "high": [40.0, 6.0]}
    )
    return frame.assign(**columns).set_axis(["11", "22"])


def test_movers():
    up = products(last=[10.0, 0.0])
    assert "1 product very likely to rise" in story.movers(up, "rise", 4)
    assert "Cola <span class='id'>11</span> from 10 to 30" in story.movers(up, "rise", 4)
    assert story.movers(up, "fall", 4).startswith("No product is sure to fall")
    assert "1 product sold nothing" in story.silent(up, 4) and "Root &lt;beer&gt;" in story.silent(up, 4)
    assert story.silent(products(last=[10.0, 2.0]), 4) == ""
    both = story.movers(products(last=[50.0, 9.0]), "fall", 4)
    assert "2 products very likely to fall" in both and both.index("Cola") < both.index("Root")


def test_words():
    assert story.change_words(86, 100) == "14\u00a0% less than" and story.change_words(100.2, 100) == "as many as"
    chance = pd.Series({"q100": 80.0, "mean": 100.0, "q900": 120.0})
    assert "may still be chance" in story.what_will_sell(chance, 110, pd.Timestamp("2022-01-03"), 4)
    assert "beyond that range" in story.what_will_sell(chance, 130, pd.Timestamp("2022-01-03"), 4)
    score = {"coverage_80": 0.83, "wape": 0.4}
    assert "no clear difference" in story.how_sure(score, 0.1, (-0.01, -0.02, 0.01), "Trees", 8, 4)
    assert "1.0\u00a0% lower than that of Trees" in story.how_sure(score, 0.1, (-0.01, -0.02, -0.005), "Trees", 8, 4)
    regions = pd.DataFrame({"change": [0.1, -0.3], "low": [0.0, -0.4], "high": [0.2, -0.2]}, index=["North", "South"])
    assert story.differing(regions, 0.1) == "<b>South (−30\u00a0%)</b> differs from the chain's +10\u00a0%."
    assert "All regions move alike" in story.differing(regions.assign(low=-1, high=1), 0.1)


def test_labels():
    till = {"product_type": "SFT DRNK 2 LITER BTL CARB INCL", "category": "SOFT DRINKS", "package_size": "2 LTR"}
    assert story.product_label(pd.Series(till | {"text": "…"})) == "2 liter bottle carbonated"
    assert story.product_label(pd.Series({"text": "blend: green tea", "category": "TEA"})) == "Blend: green tea"
    long = {"name": "Brook & Vale raspberry sparkling water, no sugar added, 500 ml bottle", "text": "…"}
    assert story.product_label(pd.Series(long)) == "Brook & vale raspberry sparkling water, no sugar added, …"


def test_a_categorys_name():
    assert story.category_label("FRZN POTATOES") == "Frozen potatoes"
    assert story.category_label("soft_drinks") == "Soft drinks"
