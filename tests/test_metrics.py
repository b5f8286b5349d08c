import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shelfcast.judge import metrics
from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.distribution import quantile_column
from shelfcast.judge.metrics import WQL_QUANTILES

COLUMNS = [quantile_column(q) for q in QUANTILES]
MONDAY = pd.Timestamp("2017-10-30")


def forecast_frame(y, mean, dispersion, method="m", products=None, weeks=8):
    """Rows of a chain-level forecast frame: each product has `weeks` target weeks."""
    n = len(y)
    products = products if products is not None else np.arange(n) // weeks
    mean, dispersion = np.broadcast_to(mean, n), np.broadcast_to(dispersion, n)
    horizon = np.arange(n) % weeks + 1
    frame = pd.DataFrame({"unique_id": [f"p{p}|chain" for p in products], "cutoff": MONDAY, "horizon": horizon})
    frame["ds"] = MONDAY + pd.to_timedelta(7 * horizon, unit="D")
    frame = frame.assign(method=method, y=np.asarray(y, float), mean=mean, dispersion=dispersion)
    frame[COLUMNS] = metrics.negative_binomial_quantiles(mean, dispersion)
    return frame


@pytest.fixture
def three_rows():
    """Two products; the second has two weeks. All quantiles are the median, so that sums fit on paper."""
    frame = forecast_frame([4, 0, 3], [3.0, 1.0, 2.0], np.nan, products=["a", "b", "b"])
    frame[COLUMNS] = np.array([[2.0], [1.0], [3.0]]) + np.zeros(len(COLUMNS))
    return frame


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
    assert row["coverage_50"] == pytest.approx(1 / 3)
    assert (row["n"], row["without_scale"]) == (3, 0)


def test_scores_equal_a_naive_loop(history):
    generator = np.random.default_rng(1)
    frame = forecast_frame(generator.poisson(2, 24), generator.uniform(0.1, 4, 24), 0.4, products=["a", "b", "b"] * 8)
    loss = 0.0
    for _, row in frame.iterrows():
        for q in WQL_QUANTILES:
            gap = row["y"] - row[quantile_column(q)]
            loss += 2 * (q * gap if gap > 0 else (q - 1) * gap) / len(WQL_QUANTILES)
    inside = 0.0
    for _, row in frame.iterrows():
        law = stats.nbinom(1 / 0.4, 1 / (1 + 0.4 * row["mean"]))
        below, upto = law.cdf(row["y"] - 1), law.cdf(row["y"])
        inside += max(min(upto, 0.9) - max(below, 0.1), 0) / (upto - below)
    row = metrics.scores(frame, history).loc["m"]
    assert row["wql"] == pytest.approx(loss / frame["y"].sum())
    assert row["coverage_80"] == pytest.approx(inside / len(frame))


def test_a_perfect_forecast_scores_zero(history):
    frame = forecast_frame([1, 0, 5, 2], 0.0, np.nan, products=["a", "a", "b", "b"])
    frame["mean"] = frame["y"]
    frame[COLUMNS] = frame[["y"]].to_numpy() + np.zeros(len(COLUMNS))
    row = metrics.scores(frame, history).loc["m"]
    assert (row[["wape", "wql", "rmsse", "bias"]] == 0).all() and (row[["coverage_50", "coverage_95"]] == 1).all()


def test_groups_unknown_weeks_and_flat_series(three_rows, history):
    unknown = three_rows.assign(y=np.nan)
    region = three_rows.assign(unique_id="pa|region_1", method="n")
    flat = pd.DataFrame({"unique_id": "pa|region_1", "ds": [MONDAY, MONDAY - pd.Timedelta(weeks=1)], "y": 1.0})
    frame, history = pd.concat([three_rows, unknown, region]), pd.concat([history, flat])
    table = metrics.scores(frame, history, by=("method", "unique_id"))
    assert table.loc[("m", "pa|chain"), "n"] == 1
    assert table.loc[("n", "pa|region_1"), "without_scale"] == 1 and np.isnan(table["rmsse"].iloc[-1])
    nested = metrics.metrics_dict(frame, history)
    assert {level: list(methods) for level, methods in nested.items()} == {
        "product": ["m"],
        "product_region": ["n"],
    }
    assert nested["product"]["m"]["wape"] == pytest.approx(3 / 7, abs=1e-6)
    json.dumps(nested)


@pytest.mark.parametrize("dispersion", [0.0, 0.5, 2.0])
def test_calibrated_counts(history, dispersion):
    generator = np.random.default_rng(0)
    mean = generator.lognormal(0.3, 1, 8000)
    y = metrics.count_distribution(mean, dispersion).rvs(random_state=generator)
    frame = forecast_frame(y, mean, dispersion)
    row = metrics.scores(frame, history).loc["m"]
    for coverage in (50, 80, 95):
        assert row[f"coverage_{coverage}"] == pytest.approx(coverage / 100, abs=0.015)
    assert stats.kstest(metrics.pit(frame), "uniform").pvalue > 0.01
    assert metrics.pit_histogram(frame) == pytest.approx(np.full(10, 0.1), abs=0.012)
    assert metrics.fit_dispersion(y, mean) == pytest.approx(dispersion, rel=0.1, abs=0.02)
    narrow = forecast_frame(y, mean, dispersion / 20) if dispersion else None
    if narrow is not None:
        assert metrics.scores(narrow, history).loc["m", "coverage_80"] < 0.77


def test_quantiles_are_integers_that_scipy_agrees_with_and_fast():
    generator = np.random.default_rng(0)
    mean = generator.lognormal(0, 2, 50_000)
    started = time.perf_counter()
    quantiles = metrics.negative_binomial_quantiles(mean, 0.7)
    assert time.perf_counter() - started < 3
    assert (quantiles == np.round(quantiles)).all() and (np.diff(quantiles, axis=1) >= 0).all()
    law = stats.nbinom(1 / 0.7, 1 / (1 + 0.7 * mean[:50]))
    assert (law.cdf(quantiles[:50, 6]) >= 0.5 - 1e-9).all() and (law.cdf(quantiles[:50, 6] - 1) < 0.5).all()
    poisson = stats.poisson.ppf(QUANTILES, mean[:50, None])
    assert (metrics.negative_binomial_quantiles(mean[:50], 0) == poisson).mean() > 0.99


def two_methods(products, effect, seed=0):
    generator = np.random.default_rng(seed)
    mean = np.repeat(generator.lognormal(1, 0.5, products), 8)
    y = generator.poisson(mean)
    return pd.concat(
        [forecast_frame(y, mean, 0.0, "good"), forecast_frame(y, mean * effect, 0.0, "bad")],
        ignore_index=True,
    )


def test_bootstrap_estimate_interval_and_speed(history):
    frame = two_methods(60, 1.6)
    totals = metrics.scores(frame, history)["wql"]
    started = time.perf_counter()
    estimate, low, high = metrics.paired_bootstrap(frame, "good", "bad", draws=2000)
    assert time.perf_counter() - started < 1
    assert estimate == pytest.approx(totals["good"] / totals["bad"] - 1)
    assert low < estimate < high < 0
    assert (estimate, low, high) == metrics.paired_bootstrap(frame, "good", "bad", draws=2000)
    assert metrics.paired_bootstrap(frame, "good", "good") == (0, 0, 0)
    _, low_few, high_few = metrics.paired_bootstrap(two_methods(8, 1.6), "good", "bad")
    assert high - low < high_few - low_few


def test_bootstrap_interval_holds_the_truth_about_as_often_as_it_says():
    """Two equally good methods: the interval holds zero in most of many worlds, if fewer than 90 %."""
    hits = 0
    for seed in range(40):
        frame = two_methods(40, 1.0, seed)
        noise = np.random.default_rng(100 + seed)
        frame["q500"] += noise.choice([-1, 1], len(frame))  # both disturbed alike and independently
        _, low, high = metrics.paired_bootstrap(frame, "good", "bad", "wape", draws=300)
        hits += low <= 0 <= high
    assert 28 <= hits <= 40


def test_bootstrap_refuses_what_it_cannot_compare():
    frame = two_methods(5, 1.5)
    with pytest.raises(ValueError, match="same products"):
        metrics.paired_bootstrap(frame.iloc[:-1], "good", "bad")
    with pytest.raises(ValueError, match="same products"):
        metrics.paired_bootstrap(frame, "good", "absent")
    with pytest.raises(ValueError, match="wape"):
        metrics.paired_bootstrap(frame, "good", "bad", metric="rmsse")


def many(effects):
    """Categories in which the worse method's means are so many times too high."""
    parts = [
        two_methods(30, effect, seed).assign(
            category=f"c{seed}", unique_id=lambda f, seed=seed: f"c{seed}" + f["unique_id"]
        )
        for seed, effect in enumerate(effects)
    ]
    return pd.concat(parts, ignore_index=True)


def test_mean_difference_counts_each_category_alike():
    frame = many([1.6, 1.4, 1.0])
    found = metrics.mean_difference(frame, "good", "bad")
    single = [
        metrics.losses(part).groupby(part["method"])[["wql", "y"]].sum().eval("wql / y")
        for _, part in frame.groupby("category")
    ]
    mean = pd.concat(single, axis=1).mean(axis=1)
    assert found["estimate"] == pytest.approx(mean["good"] / mean["bad"] - 1)
    assert found["low"] < found["estimate"] < found["high"] < 0
    assert (found["better"], found["of"]) == (2, 3)  # the third is the same forecast twice
    assert found == metrics.mean_difference(frame, "good", "bad")
    same = metrics.mean_difference(frame, "good", "good")
    assert (same["estimate"], same["low"], same["high"]) == (0, 0, 0)
    with pytest.raises(ValueError, match="same products"):
        metrics.mean_difference(frame.iloc[:-1], "good", "bad")
    with pytest.raises(ValueError, match="wape"):
        metrics.mean_difference(frame, "good", "bad", metric="rmsse")
