"""The forecast frame: how it is made, and that a method's output which breaks its schema is an error."""

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES, quantile_column
from shelfcast.judge.frame import KEYS, add_level, forecast_frame, grid_keys, is_chain
from shelfcast.methods.dispersion import with_dispersion

MONDAY = pd.Timestamp("2017-10-30")


@pytest.fixture
def keys():
    """Two products in two locations, one cutoff, two horizons."""
    return grid_keys(["a", "b"], ["chain", "region_1"], [MONDAY], np.arange(8.0).reshape(2, 2, 1, 2))


def test_grid_keys_follow_the_axes_of_the_actuals(keys):
    assert keys["unique_id"].tolist() == ["a|chain"] * 2 + ["a|region_1"] * 2 + ["b|chain"] * 2 + ["b|region_1"] * 2
    assert keys["horizon"].tolist() == [1, 2] * 4
    assert keys["ds"].head(2).tolist() == [MONDAY + pd.Timedelta(weeks=1), MONDAY + pd.Timedelta(weeks=2)]
    assert keys["y"].tolist() == list(range(8))


def test_quantiles_are_those_of_the_negative_binomial_where_none_are_given(keys):
    frame = forecast_frame(keys.assign(further="column"), 2.0, 0.5)
    assert list(frame) == [*KEYS, "mean", "dispersion", *QUANTILE_COLUMNS, "unit"]
    assert quantile_column(0.025) == QUANTILE_COLUMNS[0] == "q025" and len(QUANTILE_COLUMNS) == len(QUANTILES)
    # P(y = k) = (k + 1) / 2^(k + 2): .25, .25, .19, .125, .08, .05, .03, .015 for 0 … 7
    assert frame.loc[0, ["q025", "q300", "q600", "q750", "q900", "q975"]].tolist() == [0, 1, 2, 3, 5, 7]


def test_quantiles_of_a_method_without_a_count_distribution(keys):
    quantiles = np.linspace(0, 3, len(QUANTILES)) + np.zeros((len(keys), 1))
    frame = forecast_frame(keys, 1.5, quantiles=quantiles)
    assert frame["dispersion"].isna().all() and frame["q500"].eq(1.5).all()


def test_levels(keys):
    assert is_chain(keys).tolist() == [True, True, False, False] * 2
    assert add_level(keys)["level"].tolist() == ["product", "product", "product_region", "product_region"] * 2


RISING = np.linspace(0, 3, len(QUANTILES))
BROKEN = {
    "a mean below zero": (lambda keys: (keys, -1.0, 0.5), "mean"),
    "no mean": (lambda keys: (keys, np.nan, 0.5), "mean"),
    "a dispersion below zero": (lambda keys: (keys, 1.0, -0.5), "dispersion"),
    "quantiles that fall": (lambda keys: (keys, 1.0, 0.5, np.tile(RISING[::-1], (8, 1))), "quantiles must not fall"),
    "quantiles below zero": (lambda keys: (keys, 1.0, 0.5, np.tile(RISING - 1, (8, 1))), "q025"),
    "missing quantiles": (lambda keys: (keys, 1.0, 0.5, np.full((8, len(QUANTILES)), np.nan)), "q025"),
    "a row twice": (lambda keys: (pd.concat([keys, keys.tail(1)]), 1.0, 0.5), "not unique"),
    "horizon zero": (lambda keys: (keys.assign(horizon=keys["horizon"] - 1), 1.0, 0.5), "horizon"),
    "another week": (lambda keys: (keys.assign(ds=keys["cutoff"]), 1.0, 0.5), "cutoff \\+ horizon"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_frame_that_breaks_the_schema_is_an_error(keys, case):
    arguments, message = BROKEN[case]
    with pytest.raises(AssertionError, match=message):
        forecast_frame(*arguments(keys))


def test_a_method_whose_output_breaks_the_schema_is_an_error(small_panel):
    rows = small_panel.frame.dropna(subset="y")[["unique_id", "ds", "y"]]
    rows = rows.assign(cutoff=rows["ds"] - pd.Timedelta(weeks=1), horizon=1)

    def predict_means(cutoffs):
        own = rows[rows["cutoff"].isin(cutoffs)]
        return own.assign(mean=1.0 if cutoffs == small_panel.cutoffs["validation"] else -1.0)

    predict = with_dispersion(small_panel, predict_means)
    assert len(predict(small_panel.cutoffs["validation"]))
    with pytest.raises(AssertionError, match="a forecast breaks the schema"):
        predict(small_panel.cutoffs["test"])
