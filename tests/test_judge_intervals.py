"""Bootstrap intervals of the difference between two methods: exact estimates, honest widths, refusals."""

import time

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge import metrics
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.judge.intervals import mean_difference, paired_bootstrap

MONDAY = pd.Timestamp("2017-10-30")
WEEKS = 8


def two_methods(products, factor, seed=0):
    """Poisson sales of eight weeks, forecast with their true means by `good`, and with `factor` times these by `bad`."""
    generator = np.random.default_rng(seed)
    mean = np.repeat(generator.lognormal(1, 0.5, products), WEEKS)
    y = generator.poisson(mean)
    keys = grid_keys([f"p{i}" for i in range(products)], ["chain"], [MONDAY], y.reshape(products, 1, 1, WEEKS))
    frames = [forecast_frame(keys, mean * f, 0.0).assign(method=name) for name, f in (("good", 1), ("bad", factor))]
    return pd.concat(frames, ignore_index=True)


def test_estimate_interval_and_speed():
    frame = two_methods(60, 1.6)
    totals = metrics.scores(frame, frame)["wql"]
    started = time.process_time()
    estimate, low, high = paired_bootstrap(frame, "good", "bad", draws=2000)
    assert time.process_time() - started < 1
    assert estimate == pytest.approx(totals["good"] / totals["bad"] - 1)
    assert low < estimate < high < 0
    assert (estimate, low, high) == paired_bootstrap(frame, "good", "bad", draws=2000)
    assert paired_bootstrap(frame, "good", "good") == (0, 0, 0)
    _, low_few, high_few = paired_bootstrap(two_methods(8, 1.6), "good", "bad")
    assert high - low < high_few - low_few


def test_the_worked_example_of_the_docstring():
    """Losses 1, 3 against 2, 2: a draw takes the first product twice, the second twice, or both."""
    keys = grid_keys(["a", "b"], ["chain"], [MONDAY], np.full((2, 1, 1, 1), 10.0))
    frames = []
    for name, losses in (("ours", [1.0, 3.0]), ("theirs", [2.0, 2.0])):
        median = 10 - np.array(losses)[:, None] + np.zeros(len(QUANTILE_COLUMNS))
        frames.append(forecast_frame(keys, 10.0, quantiles=median).assign(method=name))
    assert paired_bootstrap(pd.concat(frames), "ours", "theirs", "wape") == (0, -0.5, 0.5)


def test_the_interval_covers_the_truth_about_as_often_as_it_claims():
    """Two equally good methods: the interval holds zero in most of many worlds, if fewer than 90 %."""
    hits = 0
    for seed in range(40):
        frame = two_methods(40, 1.0, seed)
        noise = np.random.default_rng(100 + seed)
        frame["q500"] += noise.choice([-1, 1], len(frame))  # both are disturbed alike and independently
        _, low, high = paired_bootstrap(frame, "good", "bad", "wape", draws=300)
        hits += low <= 0 <= high
    assert 28 <= hits <= 40


@pytest.mark.parametrize("compare", [paired_bootstrap, mean_difference])
def test_what_cannot_be_compared_is_refused(compare):
    frame = two_methods(5, 1.5).assign(category="c")
    with pytest.raises(ValueError, match="same products"):
        compare(frame.iloc[:-1], "good", "bad")
    with pytest.raises(ValueError, match="same products"):
        compare(frame, "good", "absent")
    with pytest.raises(ValueError, match=r"rmsse.*Choose 'wape' or 'wql'"):
        compare(frame, "good", "bad", metric="rmsse")


def test_mean_difference_counts_each_category_alike():
    frame = pd.concat(
        [
            two_methods(30, factor, seed).assign(
                category=f"c{seed}", unique_id=lambda f, s=seed: f"c{s}" + f["unique_id"]
            )
            for seed, factor in enumerate([1.6, 1.4, 1.0])
        ],
        ignore_index=True,
    )
    difference = mean_difference(frame, "good", "bad")
    totals = metrics.losses(frame).groupby([frame["category"], frame["method"]])[["wql", "y"]].sum()
    mean = (totals["wql"] / totals["y"]).groupby(level="method").mean()
    assert difference["estimate"] == pytest.approx(mean["good"] / mean["bad"] - 1)
    assert difference["low"] < difference["estimate"] < difference["high"] < 0
    assert (difference["better"], difference["of"]) == (2, 3)  # in the third both are the same forecast
    assert difference == mean_difference(frame, "good", "bad")
    same = mean_difference(frame, "good", "good")
    assert (same["estimate"], same["low"], same["high"]) == (0, 0, 0)
