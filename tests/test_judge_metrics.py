"""Scores, count distributions and calibration: by hand, against naive loops, and on draws whose law is known."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shelfcast.judge import metrics
from shelfcast.judge.calibration import pit, pit_histogram
from shelfcast.judge.distribution import (
    QUANTILE_COLUMNS,
    QUANTILES,
    WQL_QUANTILES,
    count_distribution,
    count_wql,
    fit_dispersion,
    law_quantiles,
    quantile_column,
)
from shelfcast.judge.frame import forecast_frame

MONDAY = pd.Timestamp("2017-10-30")


def chain_frame(y, mean, dispersion, products):
    """A forecast frame of the chain: each product's target weeks are numbered on."""
    keys = pd.DataFrame({"unique_id": [f"p{p}|chain" for p in products], "cutoff": MONDAY, "y": np.asarray(y, float)})
    keys["horizon"] = keys.groupby("unique_id").cumcount() + 1
    keys["ds"] = MONDAY + pd.to_timedelta(7 * keys["horizon"], unit="D")
    mean, dispersion = np.broadcast_to(mean, len(y)), np.broadcast_to(dispersion, len(y))
    return forecast_frame(keys, mean, dispersion).assign(method="m")


def without_distribution(frame, quantiles):
    """The same frame with quantiles (rows, 1) that are all alike, so that sums fit on paper."""
    frame[QUANTILE_COLUMNS] = quantiles + np.zeros(len(QUANTILE_COLUMNS))
    return frame.assign(dispersion=np.nan)


@pytest.fixture
def three_rows():
    """Two products; the second has two weeks. All quantiles are the median."""
    frame = chain_frame([4, 0, 3], [3.0, 1.0, 2.0], 0.5, ["a", "b", "b"])
    return without_distribution(frame, np.array([[2.0], [1.0], [3.0]]))


@pytest.fixture
def history():
    weeks = pd.date_range(end=MONDAY, periods=3, freq="7D")
    rows = [("p" + p, w, y) for p, ys in (("a", [1, 3, 1]), ("b", [2, 2, 4])) for w, y in zip(weeks, ys, strict=True)]
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y"]).assign(unique_id=lambda d: d["unique_id"] + "|chain")
    after = pd.DataFrame({"unique_id": ["pa|chain"], "ds": [MONDAY + pd.Timedelta(weeks=1)], "y": [99.0]})
    return pd.concat([frame, after])  # the week after the cutoff must not count


def test_scores_by_hand(three_rows, history):
    row = metrics.scores(three_rows, history).loc["m"]
    assert row["wape"] == pytest.approx((2 + 1 + 0) / 7)
    # y above the median by 2, below by 1, equal: 2 q 2 + 2 (1 - q) 1 averages to 2 + 1 over .1 … .9
    assert row["wql"] == pytest.approx(3 / 7)
    assert row["bias"] == pytest.approx((-1 + 1 - 1) / 7)
    # naive scales: a (4 + 4) / 2 = 4, b (0 + 4) / 2 = 2; squared errors: a 1, b (1 + 1) / 2
    assert row["rmsse"] == pytest.approx((np.sqrt(1 / 4) + np.sqrt(1 / 2)) / 2)
    # the third row equals all its quantiles and owns the whole range of probabilities, half of it inside
    assert row["coverage_50"] == pytest.approx(0.5 / 3)
    assert (row["n"], row["without_scale"]) == (3, 0)


def test_scores_equal_a_naive_loop(history):
    generator = np.random.default_rng(1)
    frame = chain_frame(generator.poisson(2, 24), generator.uniform(0.1, 4, 24), 0.4, ["a", "b", "b"] * 8)
    loss = 0.0
    for _, row in frame.iterrows():
        for q in WQL_QUANTILES:
            gap = row["y"] - row[quantile_column(q)]
            loss += 2 * (q * gap if gap > 0 else (q - 1) * gap) / len(WQL_QUANTILES)
    inside = 0.0
    for _, row in frame.iterrows():
        distribution = stats.nbinom(1 / 0.4, 1 / (1 + 0.4 * row["mean"]))
        below, upto = distribution.cdf(row["y"] - 1), distribution.cdf(row["y"])
        inside += max(min(upto, 0.9) - max(below, 0.1), 0) / (upto - below)
    row = metrics.scores(frame, history).loc["m"]
    assert row["wql"] == pytest.approx(loss / frame["y"].sum())
    assert row["coverage_80"] == pytest.approx(inside / len(frame))
    y, mean, dispersion = (frame[name].to_numpy() for name in ("y", "mean", "dispersion"))
    assert count_wql(y, mean, dispersion) == pytest.approx(row["wql"])


def test_a_perfect_forecast_scores_zero(history):
    frame = chain_frame([1, 0, 5, 2], [1.0, 0.0, 5.0, 2.0], 0.5, ["a", "a", "b", "b"])
    frame = without_distribution(frame, frame[["y"]].to_numpy())
    row = metrics.scores(frame, history).loc["m"]
    assert (row[["wape", "wql", "rmsse", "bias"]] == 0).all()
    assert row[["coverage_50", "coverage_95"]].tolist() == pytest.approx([0.5, 0.95], abs=1e-3)


def test_groups_rows_without_actuals_and_flat_series(three_rows, history):
    no_actuals = three_rows.assign(y=np.nan)
    region = three_rows.assign(unique_id="pa|region_1", method="n")
    flat = pd.DataFrame({"unique_id": "pa|region_1", "ds": [MONDAY, MONDAY - pd.Timedelta(weeks=1)], "y": 1.0})
    frame, history = pd.concat([three_rows, no_actuals, region]), pd.concat([history, flat])
    table = metrics.scores(frame, history, by=("method", "unique_id"))
    assert table.loc[("m", "pa|chain"), "n"] == 1
    assert table.loc[("n", "pa|region_1"), "without_scale"] == 1 and np.isnan(table["rmsse"].iloc[-1])
    nested = metrics.metrics_dict(frame, history)
    assert {level: list(methods) for level, methods in nested.items()} == {"product": ["m"], "product_region": ["n"]}
    assert nested["product"]["m"]["wape"] == pytest.approx(3 / 7, abs=1e-6)
    json.dumps(nested)


@pytest.mark.parametrize("dispersion", [0.0, 0.5, 2.0])
def test_forecasts_by_the_true_distribution_are_calibrated(history, dispersion):
    generator = np.random.default_rng(0)
    mean = generator.lognormal(0.3, 1, 8000)
    y = count_distribution(mean, dispersion).rvs(random_state=generator)
    products = np.arange(len(y)) // 8
    frame = chain_frame(y, mean, dispersion, products)
    row = metrics.scores(frame, history).loc["m"]
    for coverage in (50, 80, 95):
        assert row[f"coverage_{coverage}"] == pytest.approx(coverage / 100, abs=0.015)
    assert stats.kstest(pit(frame), "uniform").pvalue > 0.01
    assert pit_histogram(frame) == pytest.approx(np.full(10, 0.1), abs=0.012)
    assert fit_dispersion(y, mean) == pytest.approx(dispersion, rel=0.1, abs=0.02)
    if dispersion:  # a control that must fail
        narrow = chain_frame(y, mean, dispersion / 20, products)
        assert metrics.scores(narrow, history).loc["m", "coverage_80"] < 0.77


def test_calibration_by_hand():
    """A Poisson of mean 1 that meets 0 owns the PIT range [0, 1/e]: .25 e of it lies in the first quarter."""
    frame = chain_frame([0], 1.0, 0.0, ["a"])
    histogram = pit_histogram(frame, bins=4)
    assert histogram == pytest.approx([0.25 * np.e, 1 - 0.25 * np.e, 0, 0], abs=1e-5)


def test_quantiles_are_integers_that_scipy_agrees_with_and_fast():
    generator = np.random.default_rng(0)
    mean = generator.lognormal(0, 2, 50_000)
    started = time.process_time()
    quantiles = law_quantiles(mean, 0.7)
    assert time.process_time() - started < 3
    assert (quantiles == np.round(quantiles)).all() and (np.diff(quantiles, axis=1) >= 0).all()
    distribution = stats.nbinom(1 / 0.7, 1 / (1 + 0.7 * mean[:50]))
    median = quantiles[:50, QUANTILES.index(0.5)]
    assert (distribution.cdf(median) >= 0.5 - 1e-9).all() and (distribution.cdf(median - 1) < 0.5).all()
    poisson = stats.poisson.ppf(QUANTILES, mean[:50, None])
    assert (law_quantiles(mean[:50], 0) == poisson).mean() > 0.99
