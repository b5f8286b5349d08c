"""Peers keep one protocol: the forecast frame, no label after the validation weeks, the same seed the same forecast."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import MONDAY, changed_after, load_retailer, make_retailer, small_trees

from shelfcast import methods
from shelfcast.judge import metrics
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import is_chain
from shelfcast.methods import article, trees
from shelfcast.model.tensors import load_tokenizer
from shelfcast.panel.frame import examples

PEERS = methods.METHODS | {"lightgbm_price_plan": partial(trees.lightgbm_counts, price_plan=True)}
ALL = PEERS | {"article_bert": partial(article.article_bert, n_train=64)}


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    with small_trees(max_rounds=100):
        yield


@pytest.fixture(scope="module")
def frame(small_panel, few_rounds):
    return methods.forecast_test_weeks(small_panel, list(PEERS), methods=PEERS)[0]


def test_every_method_gives_all_rows_of_a_forecast_frame(frame, small_panel):
    quantiles = frame[QUANTILE_COLUMNS].to_numpy()
    assert (frame["mean"] > 0).all() and frame["y"].notna().all()
    has_distribution = frame["dispersion"].notna()
    assert set(frame.loc[~has_distribution, "method"]) == {"fracast"}
    assert (quantiles[has_distribution] % 1 == 0).all()
    n_rows = 6 * 3 * len(small_panel.cutoffs["test"]) * 4  # products, locations, cutoffs, horizons
    assert frame.groupby("method").size().eq(n_rows).all()


def test_moving_average_by_hand(frame, small_panel):
    row = frame[frame["method"] == "moving_average_8"].iloc[17]
    history = small_panel.frame[small_panel.frame["unique_id"] == row["unique_id"]].set_index("ds")["y"]
    assert row["mean"] == pytest.approx(history[: row["cutoff"]].iloc[-8:].mean())
    assert row["y"] == history[row["ds"]]


def test_promotions_help_the_trees(frame, small_panel):
    """A promotion doubles sales in the small retailer; the moving average does not read the plan."""
    wql = metrics.scores(frame[is_chain(frame)], small_panel.frame)["wql"]
    assert wql["lightgbm"] < wql["moving_average_8"]


@pytest.mark.parametrize("method", list(ALL))
def test_leak_forecasts_see_nothing_after_the_first_test_cutoff(small_panel, method):
    """Fit, tuning, dispersion and forecast: everything after the last validation week is changed, nothing moves."""
    cutoff = pd.Timestamp(small_panel.meta["validation_end"])
    changed = changed_after(small_panel, cutoff)
    before, after = (ALL[method](panel, 0)([cutoff]).drop(columns="y") for panel in (small_panel, changed))
    if method.endswith("_price_plan"):  # the upper bound reads realised prices, so the test can fail
        assert not np.allclose(before["mean"], after["mean"])
    else:
        pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("method", ["lightgbm", "article_bert"])
def test_same_seed_same_forecasts(small_panel, method):
    first, again = (ALL[method](small_panel, 0)(small_panel.cutoffs["test"]) for _ in range(2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_products_without_a_history_are_forecast(tmp_path):
    """p02 is launched in the training weeks, p03 in the last test weeks."""
    launch_week = {"p02": 20, "p03": 37}
    raw = make_retailer()
    launch = raw["products"]["product_id"].map({p: MONDAY + pd.Timedelta(weeks=w) for p, w in launch_week.items()})
    sold_from = raw["transactions"]["product_id"].map(launch.set_axis(raw["products"]["product_id"])).fillna(MONDAY)
    raw["products"] = raw["products"].assign(launch=launch)
    raw["transactions"] = raw["transactions"][raw["transactions"]["timestamp"] >= sold_from].reset_index(drop=True)
    panel = load_retailer(raw, tmp_path)
    frame, _ = methods.forecast_test_weeks(panel, list(methods.METHODS))
    new = frame[frame["unique_id"].str.startswith("p03|")]
    assert new["mean"].gt(0).all() and set(new["method"]) == set(methods.METHODS)
    before_launch = new["ds"] < MONDAY + pd.Timedelta(weeks=launch_week["p03"])
    assert (
        before_launch.any() and new.loc[before_launch, "y"].isna().all() and new.loc[~before_launch, "y"].notna().all()
    )
    assert new.groupby("method").size().nunique() == 1


def test_an_unknown_method_is_an_error(small_panel):
    with pytest.raises(ValueError, match=r"evaluate\.methods.*lightgmb.*lightgbm"):
        methods.forecast_test_weeks(small_panel, ["lightgmb"])


def test_seconds_of_each_method(small_panel):
    _, timings = methods.forecast_test_weeks(small_panel, ["moving_average_8"])
    assert set(timings) == {"moving_average_8"}
    assert set(timings["moving_average_8"]) == {"fit_seconds", "predict_seconds"}


def test_records_as_text(small_panel):
    cutoff = small_panel.cutoffs["test"][0]
    records = article.as_text(small_panel, [cutoff])
    rows = examples(small_panel, [cutoff])
    record = records.iloc[4]
    own = rows[rows["unique_id"] == record["unique_id"]].sort_values("horizon")
    sales = " ".join(str(int(own[f"lag_{k}"].iloc[0])) for k in (3, 2, 1, 0))
    promotions = " ".join(np.where(own["promotion_target"] > 0.5, "yes", "no"))
    expected = f"sold {sales}, usually {own['level'].iloc[0]:.1f}; promotion next {promotions}; "
    assert record["text"].startswith(expected) and "tea no" in record["text"]
    assert record[[1, 2, 3, 4]].tolist() == own["y"].tolist()
    assert len(load_tokenizer("minilm")(record["text"])["input_ids"]) <= article.MAX_TOKENS


def test_the_articles_bert_learns_from_its_labels(small_panel, monkeypatch):
    """With the labels of all records set to one number, that number is what it forecasts, more so than untrained."""
    monkeypatch.setattr(article, "LAYERS", 1)
    y = small_panel.frame["y"]
    constant = dataclasses.replace(small_panel, frame=small_panel.frame.assign(y=y.where(y.isna(), 20.0)))
    cutoffs = small_panel.cutoffs["test"][:1]
    trained, untrained = (
        article.article_bert(constant, 0, n_train=n, epochs=epochs)(cutoffs)["mean"] for n, epochs in ((384, 4), (1, 1))
    )
    np.testing.assert_allclose(trained, 20, rtol=0.14)
    assert abs(trained - 20).mean() < 0.5 * abs(untrained - 20).mean()
