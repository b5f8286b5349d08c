"""What notebook 4 delivers: the ensemble and calibrated ranges, in both situations, from validation weeks alone."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shelfcast import methods
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import is_chain
from shelfcast.pipeline import evaluate

CHEAP = ["moving_average_8", "croston_sba"]


@pytest.fixture(scope="module")
def members(small_panel):
    return methods.forecast_all(small_panel, CHEAP)


@pytest.fixture(scope="module")
def delivered(members):
    return evaluate.deliver([members], ["croston_sba"], seed=0)


def test_everything_is_delivered_in_both_situations(delivered, members, small_panel):
    frame, weights = delivered
    assert set(frame["situation"]) == set(weights) == {"plan_known", "no_plan"}
    sizes = frame.groupby(["situation", "method"]).size()
    assert set(sizes.index.levels[1]) == {"ensemble", *CHEAP} and sizes.nunique() == 1
    cutoffs = small_panel.cutoffs["test"] + small_panel.cutoffs["latest"]
    assert set(frame["cutoff"]) == set(cutoffs)
    own = [rows[rows["method"] == "moving_average_8"].reset_index(drop=True) for rows in (frame, members.ahead)]
    pd.testing.assert_frame_equal(own[0][QUANTILE_COLUMNS], own[1][QUANTILE_COLUMNS])  # a peer stays as it is


def test_regions_of_the_ensemble_add_up_to_the_chain(delivered):
    frame = delivered[0].query("method == 'ensemble' and situation == 'no_plan'")
    product = frame["unique_id"].str.rsplit("|", n=1).str[0]
    keys = [product, frame["cutoff"], frame["horizon"]]
    chain, regions = (frame["mean"].where(part, 0).groupby(keys).sum() for part in (is_chain(frame), ~is_chain(frame)))
    np.testing.assert_allclose(regions, chain, rtol=1e-6)


def test_leak_test_weeks_choose_neither_weights_nor_ranges(delivered, members):
    other = members.ahead.assign(y=members.ahead["y"] * 7 + 3)
    frame, weights = evaluate.deliver([dataclasses.replace(members, ahead=other)], ["croston_sba"], seed=0)
    assert weights == delivered[1]
    pd.testing.assert_frame_equal(frame[QUANTILE_COLUMNS], delivered[0][QUANTILE_COLUMNS])


def test_ranges_that_were_too_narrow_become_wider(members):
    """Validation forecasts whose quantiles all lie at the median hold next to nothing; coming ranges are stretched."""
    median = members.validation["q500"]
    narrow = members.validation.assign(**{c: 0.95 * median + 0.05 * members.validation[c] for c in QUANTILE_COLUMNS})
    narrow = narrow.assign(dispersion=np.nan)
    before, after = (
        evaluate.deliver([dataclasses.replace(members, validation=part)], ["croston_sba"], seed=0)[0]
        for part in (members.validation, narrow)
    )
    width = [(f["q900"] - f["q100"])[f["method"] == "croston_sba"].sum() for f in (before, after)]
    assert width[1] > 1.2 * width[0]
