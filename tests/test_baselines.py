"""The alternatives keep the contract of the forecast frame, see no test week, and repeat themselves."""

import copy
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import changed_after

from shelfcast.methods import baselines
from shelfcast.judge import metrics
from shelfcast.methods import trees
from shelfcast.model.tensors import load_tokenizer
from shelfcast.panel.frame import examples

ALL = dict(baselines.METHODS) | {"article_bert": partial(baselines.article_bert, n_train=64)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(baselines, "METHODS", ALL)
    monkeypatch.setattr(trees, "COMMON", trees.COMMON | {"min_data_in_leaf": 20, "num_threads": 1})


@pytest.fixture(scope="module")
def frame(small_panel):
    return baselines.run(small_panel, [m for m in ALL if m != "article_bert"])[0]


def test_contract(frame, small_panel):
    columns = [metrics.quantile_column(q) for q in metrics.QUANTILES]
    quantiles = frame[columns].to_numpy()
    assert (np.diff(quantiles) >= 0).all() and (quantiles >= 0).all() and (frame["mean"] > 0).all()
    counts = frame["dispersion"].notna()
    assert set(frame.loc[~counts, "method"]) == {"fracast"}
    assert (quantiles[counts] % 1 == 0).all()
    size = 6 * 3 * len(small_panel.cutoffs["test"]) * 4
    assert frame.groupby("method").size().eq(size).all()
    assert frame["y"].notna().all()


def test_moving_average_by_hand(frame, small_panel):
    row = frame[frame["method"] == "moving_average_8"].iloc[17]
    history = small_panel.frame[small_panel.frame["unique_id"] == row["unique_id"]].set_index("ds")["y"]
    assert row["mean"] == pytest.approx(history[: row["cutoff"]].iloc[-8:].mean())
    assert row["y"] == history[row["ds"]]


def test_promotions_help_the_trees(frame, small_panel):
    """A promotion doubles sales in the small retailer; the moving average cannot know."""
    chain = frame[frame["unique_id"].str.endswith("|chain")]
    wql = metrics.scores(chain, small_panel.frame)["wql"]
    assert wql["lightgbm"] < wql["moving_average_8"]


@pytest.mark.parametrize("method", list(ALL))
def test_leak_forecasts_see_nothing_after_the_first_cutoff(small_panel, method):
    """Fit, tuning, dispersion and forecast: everything after the last validation week is changed, nothing moves."""
    cutoff = pd.Timestamp(small_panel.meta["validation_end"])
    other = changed_after(small_panel, cutoff)
    before, after = (
        baselines._with_quantiles(ALL[method](p, 0)([cutoff])).drop(columns="y") for p in (small_panel, other)
    )
    if method.endswith("_price_plan"):  # the upper bound reads realised prices, so the test can fail
        assert not np.allclose(before["mean"], after["mean"])
    else:
        pd.testing.assert_frame_equal(before, after)


def test_same_seed_same_forecasts(small_panel):
    for method in ("lightgbm", "article_bert"):
        first, again = (ALL[method](small_panel, 0)(small_panel.cutoffs["test"]) for _ in range(2))
        pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_records_as_text(small_panel):
    cutoff = small_panel.cutoffs["test"][0]
    records = baselines.as_text(small_panel, [cutoff])
    rows = examples(small_panel, [cutoff])
    record = records.iloc[4]
    mine = rows[rows["unique_id"] == record["unique_id"]].sort_values("horizon")
    lags = " ".join(str(int(mine[f"lag_{k}"].iloc[0])) for k in (3, 2, 1, 0))
    plan = " ".join(np.where(mine["promotion_target"] > 0.5, "yes", "no"))
    assert record["text"].startswith(f"sold {lags}, usually {mine['level'].iloc[0]:.1f}; promotion next {plan}; ")
    assert record[[1, 2, 3, 4]].tolist() == mine["y"].tolist()
    assert "tea no" in record["text"]
    assert len(load_tokenizer("minilm")(record["text"])["input_ids"]) <= 64


def test_the_articles_bert_learns_from_its_labels(small_panel):
    """With the labels of all records set to one number, that number is what it forecasts."""
    constant = copy.copy(small_panel)
    seen = small_panel.frame["y"].notna()
    object.__setattr__(constant, "frame", small_panel.frame.assign(y=small_panel.frame["y"].where(~seen, 20.0)))
    cutoff = small_panel.cutoffs["test"][:1]
    mean = baselines.article_bert(constant, 0, n_train=384, epochs=4)(cutoff)["mean"]
    np.testing.assert_allclose(mean, 20, rtol=0.25)


def test_unknown_method(small_panel):
    with pytest.raises(ValueError, match=r"lightgmb.*known: .*lightgbm.*evaluate\.baselines"):
        baselines.run(small_panel, ["lightgmb"])
