"""Drift: residuals by hand, detectors on shifts and on noise, nothing later read, the study's judgement."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.live.drift import words
from shelfcast.live.drift.detect import DEFAULT, Detector, Joint, alarms
from shelfcast.live.drift.residuals import log_ratios, price_slopes, scaled, slopes_of, with_scale
from shelfcast.validate import SettingsError
from studies.drift import drift, worlds

WEEKS = pd.date_range("2024-01-01", periods=60, freq="7D")
PAGE = Detector("page_hinkley", 4.0, 1.0)
DETECTORS = (DEFAULT, PAGE, Detector("adwin", 0.3))


def residuals(values, location="chain", weeks=WEEKS):
    values = np.asarray(values, float)
    return pd.DataFrame(
        {"week": weeks[: len(values)], "location": location, "about": "sales", "ratio": 0.1 * values, "z": values}
    )


def watched(values, n_history=30):
    frame = residuals(values)
    return frame.iloc[n_history:], frame.iloc[:n_history]


def test_a_ratio_by_hand():
    """Two products of a location: 100 and 20 units forecast, 80 and 16 sold, weighed by 100 / 21 and 20 / 5; a third has
    no actual and counts nowhere."""
    y, mean = np.array([80.0, 16.0, np.nan]), np.array([100.0, 20.0, 999.0])
    keys = grid_keys(["a", "b", "c"], ["chain"], [WEEKS[0]], y.reshape(3, 1, 1, 1))
    ratios = log_ratios(forecast_frame(keys, mean, 0.1))
    assert ratios["week"].tolist() == [WEEKS[1]]
    by_hand = (100 / 21 * 80.5 / 100.5 + 20 / 5 * 16.5 / 20.5) / (100 / 21 + 20 / 5)
    assert ratios["ratio"].item() == pytest.approx(np.log(by_hand))
    empty = forecast_frame(grid_keys(["c"], ["chain"], [WEEKS[0]], y[2:].reshape(1, 1, 1, 1)), mean[2:], 0.1)
    assert log_ratios(empty).empty  # a week of which nothing is known says nothing


def test_a_slope_on_prices_by_hand():
    """Forecasts of 100 at log prices of -.1 and .1; 110 and 90 are sold, then all twice as much, which cancels."""
    y, mean = np.array([[110.0, 200.0], [90.0, 200.0]]), np.full((2, 2), 100.0)
    slopes = slopes_of(WEEKS[:2], y, mean, np.array([[-0.1, -0.1], [0.1, 0.1]]))
    by_hand = np.log(90.5 / 110.5) / 0.2
    np.testing.assert_allclose(slopes["ratio"], [by_hand, 0], atol=1e-12)
    assert slopes_of(WEEKS[:2], y, mean, np.zeros((2, 2))).empty  # no price differs
    keys = grid_keys(["a", "b"], ["chain", "region_1"], [WEEKS[0]], np.array([110.0, 1, 90.0, 1]).reshape(2, 2, 1, 1))
    prices = pd.DataFrame({"unique_id": ["a|chain", "b|chain"], "ds": WEEKS[1], "price": [-0.1, 0.1]})
    frame = forecast_frame(keys, [100, 1, 100, 1], 0.1)
    assert price_slopes(frame, prices)["ratio"].item() == pytest.approx(by_hand)


def test_scaling_by_hand():
    """Usual is .01 with a standard deviation of .1."""
    ratio = [0.11, -0.09, 0.11, -0.09]
    history = pd.DataFrame({"week": WEEKS[:4], "location": "chain", "about": "sales", "ratio": ratio})
    now = pd.DataFrame({"week": WEEKS[4:5], "location": "chain", "about": "sales", "ratio": [-0.22]})
    assert scaled(now, history)["z"].item() == pytest.approx(-2.3)
    assert scaled(now, history)["ratio"].item() == pytest.approx(-0.23)
    assert with_scale(history)["z"].tolist() == pytest.approx([1, -1, 1, -1])
    with pytest.raises(ValueError, match="4 are needed"):
        scaled(now, history.iloc[:3])
    with pytest.raises(ValueError, match="cut the history"):
        scaled(now.assign(week=WEEKS[2]), history)


def test_a_joint_sum_by_hand():
    """Uncorrelated history; weeks of (-2, -2): sums of length 1.83, 3.66; the second is beyond 3."""
    history = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    watch = Joint(history, threshold=3.0, slack=1.0)
    assert watch.update(np.array([-2.0, -2.1])) is None
    assert np.linalg.norm(watch.sum) == pytest.approx(np.hypot(2, 2.1) - 1)
    assert watch.update(np.array([-2.0, -2.1])) == 1  # what moved most
    assert not watch.sum.any()  # it begins anew


def test_two_small_moves_together_are_seen_sooner():
    """Sales and slope each leave by 1.5 deviations; weeks until the alarm, over twenty draws."""

    def weeks_until(frames):
        now, history = (pd.concat([frame.iloc[rows] for frame in frames]) for rows in (slice(30, None), slice(30)))
        found = alarms(now, history)["week"]
        after = found[found >= WEEKS[40]]
        return WEEKS.get_loc(after.iloc[0]) - 39 if len(after) else 21

    draw, together, alone = np.random.default_rng(3), [], []
    for _ in range(20):
        moved = draw.normal(0, 1, (60, 2)) + 1.5 * (np.arange(60) >= 40)[:, None]
        sales, slope = residuals(moved[:, 0]), residuals(moved[:, 1]).assign(about="price")
        together.append(weeks_until([sales, slope]))
        alone.append(min(weeks_until([sales]), weeks_until([slope])))
    assert np.mean(together) < np.mean(alone) - 0.5
    assert np.median(together) <= 4


def test_a_region_needs_more_than_the_chain():
    values = np.random.default_rng(4).normal(0, 0.5, 60) + 2.0 * (np.arange(60) >= 40)
    chain, region = (alarms(*(frame.assign(location=name) for frame in watched(values))) for name in ("chain", "north"))
    assert chain["week"].iloc[0] < region["week"].iloc[0]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.kind)
@pytest.mark.parametrize("shift", [-2.5, 2.5])
def test_a_clear_shift_is_found_with_its_direction(detector, shift):
    noise = np.random.default_rng(0).normal(0, 0.5, 60)
    found = alarms(*watched(noise + shift * (np.arange(60) >= 40)), detector)
    assert len(found) and found["week"].iloc[0] >= WEEKS[40]
    assert found["direction"].iloc[0] == ("more" if shift > 0 else "fewer")
    if detector.kind != "adwin":
        assert found["week"].iloc[0] <= WEEKS[44]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.kind)
def test_stationary_noise_gives_few_alarms(detector):
    """At most one a year of 52 weeks, on the mean over forty series; a shift gives one in nearly all of them."""
    draw = np.random.default_rng(1)
    quiet, found = 0, 0
    for _ in range(40):
        noise = draw.normal(0, 1, 60)
        quiet += len(alarms(*watched(noise), detector))
        found += len(alarms(*watched(noise + 3 * (np.arange(60) >= 45)), detector)) > 0
    assert quiet / (40 * 30 / 52) <= 1
    assert found >= 36


def test_nothing_later_is_read():
    noise = np.random.default_rng(2).normal(0, 1, 60) + 2 * (np.arange(60) >= 35)
    changed = np.where(np.arange(60) >= 50, -9.0, noise)
    first, second = (alarms(*watched(values), PAGE) for values in (noise, changed))
    early = [table[table["week"] < WEEKS[50]].reset_index(drop=True) for table in (first, second)]
    assert len(early[0])
    pd.testing.assert_frame_equal(*early)
    assert not first.equals(second)  # what is later does change what is later


def test_one_odd_week_is_no_drift():
    values = np.zeros(60)
    values[45] = 100
    assert alarms(*watched(values), PAGE).empty


def test_bad_residuals_are_refused():
    now, history = watched(np.r_[np.zeros(59), np.nan])
    with pytest.raises(ValueError, match="not finite"):
        alarms(now, history)


def test_an_alarm_in_words():
    found = alarms(*watched(-3.0 * (np.arange(60) >= 40)), PAGE)
    sentence = words.sentences(found.head(1), 30)[0]
    assert sentence.startswith("Chain: ") and "26% fewer units" in sentence  # 1 - exp(-.3)
    assert "stayed as near" in words.sentences(found.head(0), 8)[0]


@pytest.fixture(scope="module")
def study():
    return drift.Study(
        set_on=[1],
        judged_on=[2],
        strengths=[0, 4],
        n_products=20,
        n_stores=8,
        earlier_weeks=30,
        watched_weeks=20,
        changed_weeks=10,
        max_false_alarms=1.0,
        max_delay=3,
        thresholds={"page_hinkley": [5.0], "adwin": [0.01]},
        slacks={"page_hinkley": [0.5]},
    )


def test_a_world_and_its_twin_differ_after_the_change_alone():
    sizes = {"n_weeks": 50, "changed_weeks": 10, "n_products": 20, "n_stores": 8}
    calm, changed = (worlds.ratios(3, strength, **sizes) for strength in (0.0, 4.0))
    early = calm["week"] < calm["week"].unique()[-10]
    assert calm["week"].nunique() == 50 - worlds.RECENT
    pd.testing.assert_frame_equal(calm[early], changed[early])
    assert changed.loc[~early, "ratio"].mean() < calm.loc[~early, "ratio"].mean()  # a rival has opened


def test_a_world_is_judged_by_hand(study):
    """The laws change in the last ten of 42 weeks; residuals leave in the second of these and the alarm stands there."""
    shifted = np.r_[np.tile([1.0, -1.0], 16), 0.0, np.full(9, 40.0)]
    world = residuals(shifted).assign(seed=1, strength=4.0)
    detector = Detector("page_hinkley", 2.4, 0.5)
    one = drift.judge(drift.Watched.of(world, study), detector)
    assert one["changed"] and one["delay"] == 2 and one["false"] == one["weeks"] == 0
    calm = drift.judge(drift.Watched.of(world.assign(strength=0.0), study), detector)
    assert calm["false"] >= 1 and calm["weeks"] == 20 and np.isnan(calm["delay"])


def test_thresholds_with_too_many_false_alarms_are_not_chosen(study):
    row = {"kind": "adwin", "slack": 0.0, "seed": 1}
    table = pd.DataFrame(
        [
            row | {"threshold": 1.0, "strength": 0.0, "false": 3, "weeks": 52, "delay": np.nan, "changed": False},
            row | {"threshold": 1.0, "strength": 4.0, "false": 0, "weeks": 0, "delay": 1.0, "changed": True},
            row | {"threshold": 2.0, "strength": 0.0, "false": 1, "weeks": 52, "delay": np.nan, "changed": False},
            row | {"threshold": 2.0, "strength": 4.0, "false": 0, "weeks": 0, "delay": np.nan, "changed": True},
        ]
    )
    assert drift.choose(table, study) == [Detector("adwin", 2.0, 0.0)]
    with pytest.raises(ValueError, match="Add stricter ones"):
        drift.choose(table[table["threshold"] == 1.0], study)


def test_a_world_may_not_judge_the_threshold_set_on_it(study):
    with pytest.raises(SettingsError, match="judged by its own world"):
        dataclasses.replace(study, judged_on=[1]).check()
