"""Units of the coming weeks by product, location and week, on frames that one can add up by hand."""

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge.frame import forecast_frame
from shelfcast.report import outlook

LAST = pd.Timestamp("2022-01-31")  # the last observed week
SERIES = ["a|chain", "b|chain", "a|region_1", "b|region_1", "a|region_2", "b|region_2"]
MEANS = [20.0, 6.0, 15.0, 6.0, 5.0, 0.0]  # a week


def forecasts(cutoff, actuals=None):
    """Two weeks of every series from one cutoff; `actuals` is their factor on the means, None beyond the data."""
    rows = [(name, h, mean) for name, mean in zip(SERIES, MEANS, strict=True) for h in (1, 2)]
    keys = pd.DataFrame(rows, columns=["unique_id", "horizon", "mean"]).assign(cutoff=cutoff)
    keys["ds"] = keys["cutoff"] + pd.to_timedelta(7 * keys["horizon"], unit="D")
    keys["y"] = np.nan if actuals is None else actuals * keys["mean"]
    frame = forecast_frame(keys, keys["mean"], 0.1)
    frame[["product_id", "location"]] = frame["unique_id"].str.split("|", expand=True)
    return frame


PAST = pd.concat([forecasts(LAST - pd.Timedelta(weeks=w), 1.1) for w in (4, 2)])
AHEAD = forecasts(LAST)
SOLD = pd.DataFrame(
    {-2: [99.0] * 6, -1: [10, 4, 10, 4, 0, 0], 0: [10, 0, 10, 0, 0, 0]}, index=pd.Index(SERIES, name="unique_id")
)
PRODUCTS = pd.DataFrame({"text": ["cola", "tea"], "category": "DRINKS"}, index=["a", "b"])


def test_products():
    frame = outlook.by_product(PRODUCTS, SOLD, AHEAD, 0.0)
    assert list(frame.index) == ["a", "b"] and list(frame["label"]) == ["Cola", "Tea"]
    assert list(frame["mean"]) == [40, 12], "two weeks, the chain alone"
    assert list(frame["last"]) == [20, 4], "the two weeks before, not the third"
    assert list(frame["change"]) == [1.0, 2.0]
    assert (frame["low"] < frame["mean"]).all() and (frame["mean"] < frame["high"]).all()


def test_locations():
    frame = outlook.by_location(SOLD, PAST, AHEAD, 0.0)
    assert list(frame.index) == ["chain", "region_1", "region_2"]
    assert list(frame["mean"]) == [52, 42, 10] and list(frame["last"]) == [24, 24, 0]
    assert frame.loc["chain", "change"] == pytest.approx(52 / 24 - 1)
    assert frame.loc["chain", "high"] == pytest.approx(frame.loc["chain", "q900"] / 24 - 1)
    assert frame["miss"].to_numpy() == pytest.approx(np.log(1.1))
    assert frame.loc["region_2", ["change", "low", "high"]].isna().all(), "nothing sold, so no change"


def test_weeks_are_as_wide_as_that_weeks_misses():
    past = PAST.assign(y=PAST["mean"] * np.where(PAST["horizon"] == 2, 3.0, 1.0))  # the second week misses
    chain, chain_past = (frame[frame["location"] == "chain"] for frame in (AHEAD, past))
    weeks = outlook.by_week(chain_past, chain, 0.0)
    assert list(weeks["ds"]) == [LAST + pd.Timedelta(weeks=h) for h in (1, 2)]
    assert list(weeks["mean"]) == [26, 26]
    assert list(weeks["miss"]) == [0, pytest.approx(np.log(3))]
    assert weeks["q900"].iloc[1] > weeks["q900"].iloc[0]


def test_promoted_weeks_are_those_of_most_stores():
    rows = {"unique_id": ["a|chain", "b|chain", "a|region_1"], "product_id": ["a", "b", "a"], "ds": LAST}
    frame = pd.DataFrame(rows).assign(promotion=[0.5, 0.4, 1.0])
    assert outlook.promoted_weeks(frame)["product_id"].to_list() == ["a"]
