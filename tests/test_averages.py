"""Averages of recent weeks and of earlier years, by hand; weeks that were not observed are skipped."""

import numpy as np
import pandas as pd
import pytest

from shelfcast.methods.averages import season
from shelfcast.methods.history import filled, mean_of_last

NAN = np.nan


def past(rows, start="2020-01-06"):
    """Series by location: {'a|chain': units, …}."""
    n = len(next(iter(rows.values())))
    return pd.DataFrame(rows, index=pd.date_range(start, periods=n, freq="7D")).T


def test_mean_of_the_last_observed_weeks():
    y = np.array([[4, NAN, 2, 6.0], [NAN, NAN, NAN, NAN], [1, 2, 3, NAN]])
    assert mean_of_last(y, 2, 4)[[0, 2]].tolist() == [4, 2.5] and np.isnan(mean_of_last(y, 2, 4)[1])
    assert mean_of_last(y, 3, 4)[0] == 4
    assert mean_of_last(y, 3, 1)[0] == 6, "weeks further back than the last one are not read"


def test_missing_weeks_are_filled_by_lines():
    y = past({"a|chain": [NAN, 2, NAN, 4, NAN]})
    assert filled(y).to_numpy()[0, 1:].tolist() == [2, 3, 4, 4] and np.isnan(filled(y).iloc[0, 0])


def test_without_a_year_there_is_no_season():
    assert (season(past({"a|chain": np.ones(55)}), 4) == 1).all()


def test_season_by_hand():
    """A year ago 5 a week up to this date, 10 around the targets, for every series alike."""
    y = np.full(52 + 8, 5.0)
    y[8:14] = 10.0
    ratios = season(past({"a|chain": y, "b|chain": y}), 4)
    prior = 10 / 8 + 0.5 * 5
    for horizon, around in enumerate((25 / 3, 10)):  # the first target's neighbours are 5, 10, 10; the others all 10
        shared = (2 * around + 1) / (2 * 5 + 1)
        own = (around + prior * shared) / (5 + prior)
        assert ratios[:, horizon] == pytest.approx(np.full(2, own ** (1 / 3)))  # two years without a season are added


def test_few_units_follow_the_others():
    """One product sells next to nothing, and much more a year ago by accident."""
    steady, rare = np.full(60, 50.0), np.full(60, 0.0)
    rare[9:11] = 1.0
    ratio = season(past({"a|chain": steady, "b|chain": rare}), 4)
    assert np.allclose(ratio[0], 1, atol=0.02) and (ratio[1] < 1.3).all()


def test_a_product_that_did_not_exist_has_the_others_season():
    old, new = np.full(60, 50.0), np.full(60, NAN)
    old[8:14], new[30:] = 100.0, 5.0
    ratio = season(past({"a|chain": old, "b|chain": new}), 4)
    assert np.isfinite(ratio).all() and ratio[1, 1] == pytest.approx((101 / 51) ** (1 / 3))


def test_more_years_say_more():
    one_year, two_years = np.full(60, 10.0), np.full(112, 10.0)
    one_year[8:14] = two_years[8:14] = two_years[60:66] = 40.0
    one, two = (season(past({"a|chain": y}), 4)[0, 1] for y in (one_year, two_years))
    assert 1 < one < two < 4
