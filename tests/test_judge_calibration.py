"""Ranges that hold too little or too much are stretched by what they held before; counts stay counts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shelfcast.judge import calibration, metrics
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES, count_distribution
from shelfcast.judge.frame import forecast_frame, grid_keys

MONDAY = pd.Timestamp("2017-10-30")
HISTORY = pd.DataFrame({"unique_id": ["p0|chain"], "ds": [MONDAY], "y": [1.0]})


def forecasts(told, n=1500, true=0.5, seed=0, quantiles=None, horizons=4, mean=None):
    """Counts of dispersion `true`, forecast with the dispersion `told`."""
    generator = np.random.default_rng(seed)
    mean = generator.lognormal(1.5, 1, n * horizons) if mean is None else np.full(n * horizons, mean)
    y = count_distribution(mean, true).rvs(random_state=generator).astype(float)
    keys = grid_keys([f"p{i}" for i in range(n)], ["chain"], [MONDAY], y.reshape(n, 1, 1, horizons))
    return forecast_frame(keys, mean, told)


def coverage(frame):
    return metrics.scores(frame.assign(method="m"), HISTORY).loc["m"]


@pytest.mark.parametrize("told", [0.12, 0.5, 1.6])
def test_ranges_hold_what_they_say_after_calibration(told):
    stretches = calibration.fit_stretches(forecasts(told))
    ahead = forecasts(told, seed=1)
    mended = calibration.recalibrate(ahead, stretches)
    before, after = coverage(ahead), coverage(mended)
    assert after["coverage_80"] == pytest.approx(0.8, abs=0.03)
    assert (mended[QUANTILE_COLUMNS] % 1 == 0).all(axis=None) and (mended["mean"] == ahead["mean"]).all()
    if told != 0.5:
        assert abs(before["coverage_80"] - 0.8) > 0.06, "a control: without calibration ranges are wrong"
        assert after["wql"] < before["wql"]
    else:
        assert after["wql"] == pytest.approx(before["wql"], rel=0.003)


def test_quantiles_alone_are_stretched_too():
    """A method of averaged quantiles: half units, no dispersion."""
    told = forecasts(0.12)
    halves = told.assign(dispersion=np.nan)
    halves[QUANTILE_COLUMNS] = told[QUANTILE_COLUMNS] + 0.25
    stretches = calibration.fit_stretches(halves)
    assert coverage(halves)["coverage_80"] < 0.72
    assert coverage(calibration.recalibrate(halves, stretches))["coverage_80"] == pytest.approx(0.8, abs=0.03)


def test_stretches_that_cost_accuracy_are_not_made():
    """Half of the rows lie far below all quantiles, which no stretch around the median can mend."""
    told = forecasts(0.001, mean=200.0, true=0.001)
    odd = told.assign(y=told["y"].where(np.arange(len(told)) % 4 > 0, 0.0))
    stretches = calibration.fit_stretches(odd)
    after = coverage(calibration.recalibrate(odd, stretches))
    assert after["wql"] <= coverage(odd)["wql"] * (1 + calibration.WORSE + 1e-9)


def test_stretch_by_hand():
    """PIT values of a normal that is 1.5 times as wide as told: point ranges, evenly spread before the stretch."""
    pit = stats.norm.cdf(1.5 * stats.norm.ppf((np.arange(2000) + 0.5) / 2000))
    assert calibration.stretch((pit, pit)) == pytest.approx(np.full(3, 1.5), rel=0.02)


def test_few_rows_move_little():
    many, few = (calibration.fit_stretches(forecasts(0.05, n=n))["product"][1][1] for n in (2000, 5))
    assert many > 1.3 and 1 < few < 1 + 0.3 * (many - 1)


def test_what_one_week_decides_moves_little():
    """Ranges that fail in all weeks alike are stretched; those that fail as often, but in one week of four, are not."""
    told = forecasts(0.5, n=500)
    all_weeks = told.assign(y=told["y"].where(np.arange(len(told)) % 16 >= 4, 1000.0))
    one_week = told.assign(y=told["y"].where(told["horizon"] < 4, 1000.0))
    alike, alone = (calibration._settled(frame)[1] for frame in (all_weeks, one_week))
    assert alike > 0.2 and abs(alone) < 0.3 * alike


def test_levels_and_horizons_without_rows_are_not_stretched():
    ahead = forecasts(0.12, n=5)
    same = calibration.recalibrate(ahead, {"product_region": {1: [2.0] * 3}})
    assert np.allclose(same[QUANTILE_COLUMNS], ahead[QUANTILE_COLUMNS])
    assert calibration.fit_stretches(ahead.assign(y=np.nan)) == {}
    wide = calibration.recalibrate(ahead, {"product": {1: [2.0] * 3}})
    changed = (wide[QUANTILE_COLUMNS].to_numpy() != ahead[QUANTILE_COLUMNS].to_numpy()).any(1)
    assert set(ahead.loc[changed, "horizon"]) == {1}


def test_further_columns_are_kept():
    ahead = forecasts(0.5, n=3).assign(method="m")
    assert (calibration.recalibrate(ahead, {})["method"] == "m").all()


def test_pit_of_quantiles_alone_comes_near_that_of_the_distribution():
    frame = forecasts(0.5, n=500)
    by_law = calibration.pit_histogram(frame)
    by_quantiles = calibration.pit_histogram(frame.assign(dispersion=np.nan))
    assert by_quantiles == pytest.approx(by_law, abs=0.02)


def test_pit_bounds_of_quantiles_by_hand():
    """Amounts whose quantiles are the probabilities themselves; zero in a tenth of the weeks."""
    keys = grid_keys(["a", "b", "c"], ["chain"], [MONDAY], np.array([0.5, 0.0, 0.35]).reshape(3, 1, 1, 1))
    quantiles = np.tile(QUANTILES, (3, 1))
    quantiles[:, :2] = 0
    frame = forecast_frame(keys, 0.5, quantiles=quantiles, unit=0.1)
    below, upto = calibration.pit_bounds(frame)
    assert below[[0, 2]] == pytest.approx([0.5, 0.35], abs=3e-3) and upto[[0, 2]] == pytest.approx(
        [0.5, 0.35], abs=3e-3
    )
    assert (below[1], upto[1]) == pytest.approx((0, 0.1))


def test_rows_without_an_actual_have_no_pit():
    frame = forecasts(0.5, n=2).assign(y=np.nan)
    assert np.isnan(calibration.pit_bounds(frame)).all()
