"""Sums of forecasts and their ranges, checked by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge import totals


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
def test_correlation_between_weeks_is_estimated(correlation):
    assert totals.week_correlation(forecasts(correlation=correlation)) == pytest.approx(correlation, abs=0.05)


def test_worked_example_of_the_correlation():
    frame = forecasts(products=2, cutoffs=1).query("horizon < 2")
    errors = np.array([1, 1, 1, -1]) * np.sqrt(5 + 0.2 * 25)
    assert totals.week_correlation(frame.assign(y=5 + errors)) == pytest.approx(0, abs=1e-12)
    assert totals.week_correlation(frame.query("horizon < 1")) == 0, "one week has no pair"


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_the_range_of_a_sum_holds_four_times_in_five(correlation):
    frame = forecasts(correlation=correlation, mean=20.0)
    frame = frame.assign(unique_id=frame["unique_id"] + frame["cutoff"].astype(str))  # every stretch its own series
    sums = totals.sums(frame, correlation)
    sold = frame.groupby("unique_id")["y"].sum()
    inside = sold.between(sums["low"], sums["high"]).mean()
    assert sums["mean"].eq(80).all() and inside == pytest.approx(0.8, abs=0.03)
    if correlation:  # the control: read as independent, the range is too narrow
        narrow = totals.sums(frame, 0.0)
        assert sold.between(narrow["low"], narrow["high"]).mean() < 0.72


def test_a_method_of_quantiles_alone_has_a_range_too():
    frame = forecasts(products=2, cutoffs=1).assign(dispersion=np.nan, q100=1.0, q900=9.0)
    sums = totals.sums(frame, 0.0)
    assert sums["sd"].to_numpy() == pytest.approx(2 * 8 / (2 * 1.28155), rel=1e-4)  # four weeks of one deviation
    assert (sums["low"] < 20).all() and (sums["high"] > 20).all()


def test_a_total_is_as_wide_as_its_misses():
    past = forecasts(products=50)
    ahead = past[past["cutoff"] == past["cutoff"].max()]
    calm = totals.total(past, ahead, 0.0)
    wild = past.assign(y=past["y"] * past["cutoff"].map(dict(zip(past["cutoff"].unique(), [0.5, 2] * 4, strict=True))))
    stormy = totals.total(wild, ahead, 0.0)
    assert calm["mean"] == stormy["mean"] == pytest.approx(50 * 4 * 5)
    assert calm["q100"] < calm["q250"] < calm["mean"] < calm["q750"] < calm["q900"]
    assert stormy["q900"] - stormy["q100"] > 5 * (calm["q900"] - calm["q100"])
    assert stormy["miss"] == pytest.approx(np.log(2), rel=0.1)
