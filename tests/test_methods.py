"""Peers keep one protocol: the forecast frame, no label after the validation weeks, the same seed the same forecast."""

import dataclasses
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
from small_retailer import MONDAY, changed_after, load_retailer, make_retailer, small_trees

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


@pytest.fixture(scope="module")
def fitted(small_panel, few_rounds):
    """A method's name -> the method, fitted once to the small panel."""
    return cache(lambda method: ALL[method](small_panel, 0))


def test_every_method_gives_all_rows_of_a_forecast_frame(frame, small_panel):
    quantiles = frame[QUANTILE_COLUMNS].to_numpy()
    assert (frame["mean"] > 0).all() and frame["y"].notna().all()
    has_distribution = frame["dispersion"].notna()
    assert set(frame.loc[~has_distribution, "method"]) == {"fracast"}
    assert (quantiles[has_distribution] % 1 == 0).all()
    n_rows = 6 * 3 * len(small_panel.cutoffs["test"]) * 4  # products, locations, cutoffs, horizons
    assert frame.groupby("method").size().eq(n_rows).all()


def test_moving_average_by_hand(frame, small_panel):
    row = frame[(frame["method"] == "moving_average_8") & is_chain(frame)].iloc[17]
    history = small_panel.frame[small_panel.frame["unique_id"] == row["unique_id"]].set_index("ds")["y"]
    assert row["mean"] == pytest.approx(history[: row["cutoff"]].iloc[-8:].mean())
    assert row["y"] == history[row["ds"]]


def test_promotions_help_the_trees(frame, small_panel):
    """A promotion doubles sales in the small retailer; the moving average does not read the plan."""
    wql = metrics.scores(frame[is_chain(frame)], small_panel.frame)["wql"]
    assert wql["lightgbm"] < wql["moving_average_8"]


@pytest.mark.parametrize("method", list(ALL))
def test_leak_forecasts_see_nothing_after_the_first_test_cutoff(small_panel, fitted, method):
    """Fit, tuning, dispersion and forecast: everything after the last validation week is changed, nothing moves."""
    cutoff = pd.Timestamp(small_panel.meta["validation_end"])
    changed = changed_after(small_panel, cutoff)
    predicts = fitted(method), ALL[method](changed, 0)
    before, after = (predict([cutoff]).drop(columns="y") for predict in predicts)
    if method.endswith("_price_plan"):  # the upper bound reads realised prices, so the test can fail
        assert not np.allclose(before["mean"], after["mean"])
    else:
        pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("method", ["lightgbm", "article_bert"])
def test_same_seed_same_forecasts(small_panel, fitted, method):
    first, again = (predict(small_panel.cutoffs["test"]) for predict in (fitted(method), ALL[method](small_panel, 0)))
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


def with_plan(panel):
    """The panel with its promotions as a plan that may be hidden."""
    planned = [name for name in panel.roles["known_future"] if "promotion" in name or name in ("mailer", "display")]
    return dataclasses.replace(panel, planned=planned)


def rough(panel):
    """A tenth of the weeks were not observed, nor one week at all; one region never sold one product; plans have holes."""
    frame, draw = with_plan(panel).frame.copy(), np.random.default_rng(0)
    silent = frame["unique_id"] == "p01|region_1"
    frame.loc[silent & frame["y"].notna(), "y"] = 0.0
    weeks = panel.weeks
    frame.loc[(draw.random(len(frame)) < 0.1) | (frame["ds"] == weeks[20]), "y"] = np.nan
    frame.loc[frame["ds"].isin(weeks[:10]), ["promotion", "mailer"]] = np.nan
    return dataclasses.replace(with_plan(panel), frame=frame)


MARKETS = {
    "rough": lambda panel, raw, folder: rough(panel),
    "amounts": lambda panel, raw, folder: dataclasses.replace(
        panel, frame=panel.frame.assign(y=panel.frame["y"] * 0.37), meta=panel.meta | {"amounts": True, "unit": 0.37}
    ),
    "fourteen_training_weeks": lambda panel, raw, folder: load_retailer(
        raw, folder, validation_weeks=13, test_weeks=13
    ),
    "one_region": lambda panel, raw, folder: load_retailer(raw, folder, n_regions=1),
}


@pytest.mark.parametrize("market", MARKETS)
def test_every_method_forecasts_every_market_in_both_situations(market, small_panel, retailer, tmp_path):
    panel = MARKETS[market](small_panel, retailer, tmp_path)
    forecasts = methods.forecast_all(panel, list(methods.METHODS))
    for part, cutoffs in (("validation", panel.cutoffs["validation"]), ("ahead", panel.cutoffs["test"])):
        frame = getattr(forecasts, part)
        cutoffs = cutoffs + (panel.cutoffs["latest"] if part == "ahead" else [])
        n_rows = len(cutoffs) * panel.frame["unique_id"].nunique() * panel.meta["horizon"]
        assert (frame.groupby(["method", "situation"]).size() == n_rows).all()
        assert len(frame) == n_rows * len(methods.METHODS) * 2 and np.isfinite(frame["mean"]).all()
        assert (frame["unit"] == (0.37 if market == "amounts" else 0)).all()
        product = frame["unique_id"].str.split("|").str[0].rename("product")
        keys = [product, "method", "situation", "cutoff", "horizon", is_chain(frame).rename("chain")]
        sums = frame.groupby(keys)["mean"].sum().unstack()
        np.testing.assert_allclose(sums[True], sums[False], rtol=1e-6)
    if market == "amounts":
        region = forecasts.ahead[~is_chain(forecasts.ahead) & forecasts.ahead["y"].gt(0)]
        assert (region["q500"] % 1 != 0).mean() > 0.9


def test_methods_that_read_no_plan_forecast_the_same_without_it(small_panel):
    names = ["moving_average_8", "lightgbm"]
    ahead = methods.forecast_all(with_plan(small_panel), names).ahead
    by_method = dict(list(ahead.groupby("method")))
    same = {}
    for name, frame in by_method.items():
        known, hidden = (frame[frame["situation"] == s]["mean"].to_numpy() for s in methods.SITUATIONS)
        same[name] = np.array_equal(known, hidden)
    assert same == {"moving_average_8": True, "lightgbm": False}


@pytest.mark.parametrize("method", list(methods.METHODS))
def test_leak_validation_forecasts_see_nothing_of_the_validation_weeks(small_panel, fitted, method):
    """Everything after the training weeks is changed: fits, choices and dispersions of their forecasts stay."""
    changed = changed_after(small_panel, pd.Timestamp(small_panel.meta["train_end"]))
    cutoff = small_panel.cutoffs["validation"][:1]
    predicts = fitted(method), methods.METHODS[method](changed, 0)
    before, after = (predict(cutoff).drop(columns="y") for predict in predicts)
    pd.testing.assert_frame_equal(before, after)


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
