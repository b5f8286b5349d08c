"""A daily market: models and peers forecast days, nothing leaks, and the whole pipeline runs for it."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from projects import call, copy_project, edit, message
from small_models import make_models
from small_retailer import changed_after, make_retailer, small_trees, with_coming_promotions, write_retailer
from test_training import Setup

from shelfcast import methods
from shelfcast.act.orders.past.replay import observed_demand, replay
from shelfcast.act.orders.policy import Timing
from shelfcast.judge.frame import forecast_frame, is_chain
from shelfcast.live.engine.trained import check_weekly
from shelfcast.methods.dispersion import held_out_cutoffs
from shelfcast.methods.trees import fitted as trees
from shelfcast.model.forecast import forecast
from shelfcast.model.tensors import load_tokenizer, market_tensors, network_shape
from shelfcast.model_options import Network, Training
from shelfcast.panel.frame import DAILY_WINDOW, Panel
from shelfcast.training.fit import products_a_step
from shelfcast.validate import SettingsError
from shelfcast.why.causes.data import rows as rows_of_effects

TRAINING = Training(mode="full", steps=2, judge_steps=1, warmup=1, batch_weeks=100, learning_rate=3e-3)
NAMES = ["moving_average_8", "seasonal_average", "croston_sba", "auto_ets", "lightgbm", "fracast"]


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    with small_trees(6), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "MAX_ROWS", 3000)
        yield


@pytest.fixture(scope="module")
def market(daily_panel, tiny_bert):
    return market_tensors(daily_panel, load_tokenizer(tiny_bert))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", ["train_end", "validation_end"])
def test_leak_methods_see_nothing_of_later_days(daily_panel, name, end):
    """Fit, tuning, dispersion and forecast: everything after the last day that may be known is changed."""
    cutoff = pd.Timestamp(daily_panel.meta[end])
    changed = changed_after(daily_panel, cutoff)
    before, after = (methods.METHODS[name](panel, 0)([cutoff]).drop(columns="y") for panel in (daily_panel, changed))
    pd.testing.assert_frame_equal(before, after)
    assert len(before) == 18 * 28 and (before["ds"] - before["cutoff"]).dt.days.equals(before["horizon"])
    if end == "train_end" and name != "lightgbm":  # a control: what may be known is read
        earlier = changed_after(daily_panel, cutoff - pd.Timedelta(days=60))
        assert not methods.METHODS[name](earlier, 0)([cutoff])["mean"].equals(before["mean"])


def test_days_are_forecast_by_their_weekday(daily_panel):
    """Sales are the same every day in the retailer; here Saturdays sell four times as much."""
    frame = daily_panel.frame
    more = dataclasses.replace(
        daily_panel, frame=frame.assign(y=frame["y"] * np.where(frame["weekday: saturday"], 4, 1))
    )
    cutoff = more.cutoffs["test"][:1]
    for name, least in (("moving_average_8", 3.0), ("auto_ets", 2.5), ("croston_sba", 0.0)):
        chain = methods.METHODS[name](more, 0)(cutoff).pipe(lambda rows: rows[is_chain(rows)])
        by_day = chain.groupby(chain["ds"].dt.dayofweek)["mean"].sum()
        ratio = by_day[5] / by_day.drop(5).mean()
        assert ratio > least and (least or ratio == pytest.approx(1)), name  # Croston's method knows no weekdays


def test_held_out_cutoffs_are_a_week_apart_and_end_with_training(daily_panel):
    cutoffs = pd.DatetimeIndex(held_out_cutoffs(daily_panel))
    assert (np.diff(cutoffs) == np.timedelta64(7, "D")).all()
    assert cutoffs[-1] + pd.Timedelta(days=28) == pd.Timestamp(daily_panel.meta["train_end"])


def test_a_network_reads_the_last_year_of_days(daily_panel, market, monkeypatch, tiny_bert):
    assert market.weeks_index.equals(daily_panel.weeks) and len(daily_panel.weeks) < 7 * DAILY_WINDOW
    monkeypatch.setattr("shelfcast.panel.frame.DAILY_WINDOW", 10)
    short = market_tensors(daily_panel, load_tokenizer(tiny_bert))
    train_end = pd.Timestamp(daily_panel.meta["train_end"])
    assert short.weeks_index[0] == train_end - pd.Timedelta(days=69) and short.weeks_index[-1] == daily_panel.weeks[-1]
    n = len(short.weeks_index)
    for name in ("labels", "level", "typical", "location_shock"):
        np.testing.assert_array_equal(short.tensors[name], market.tensors[name][:, :, -n:])
    train, validation, refit = short.splits(daily_panel)
    known = [~part.tensors["labels"].isnan() for part in (train, validation, refit)]
    assert known[0].any() and known[1].any() and known[2].sum() > known[0].sum()
    assert products_a_step(Training(batch_weeks=30), train) == 3  # 30 weeks are 210 days, and a product has 70
    with pytest.raises(ValueError, match=r"body is 'backbone'.*Set it to 'compact'"):
        network_shape(Network(body="backbone"), short)


def test_leak_labels_of_days_end_with_their_split(daily_panel, market):
    ends = [pd.Timestamp(daily_panel.meta[name]) for name in ("train_end", "validation_end", "validation_end")]
    for part, end in zip(market.splits(daily_panel), ends, strict=True):
        labels = part.tensors["labels"]
        target = part.weeks_index.to_numpy()[:, None] + np.arange(1, 29).astype("timedelta64[D]")
        assert labels[:, :, target > np.datetime64(end)].isnan().all()
        assert not labels[:, :, target <= np.datetime64(end)].isnan().all()


def test_leak_a_networks_forecasts_see_no_later_days(daily_panel, market, tiny_bert):
    models, _ = make_models(daily_panel, tiny_bert, seeds=(0,))
    for cutoff in daily_panel.cutoffs["test"][:2]:
        other = market_tensors(changed_after(daily_panel, cutoff), load_tokenizer(tiny_bert))
        ours, theirs = (forecast(models, part, [cutoff]).drop(columns="y") for part in (market, other))
        pd.testing.assert_frame_equal(ours, theirs)
        assert ours["horizon"].max() == 28


def test_leak_test_days_reach_neither_scaling_nor_training(daily_panel, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr("shelfcast.panel.frame.DAILY_WINDOW", 5)
    ours = Setup(daily_panel, tiny_bert)
    other = Setup(changed_after(daily_panel, ours.validation_end), tiny_bert)
    assert other.market.scale == ours.market.scale
    (model, _), (again, _) = (
        own.fit(tmp_path / str(i), TRAINING, body="compact") for i, own in enumerate((ours, other))
    )
    assert all(x.equal(y) for x, y in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_effects_of_days_know_their_weekday(daily_panel):
    known = rows_of_effects(daily_panel, least_units=0.1)
    assert known.per_week == 7 and {"weekday: monday", "level_28_before", "level_91_before"} <= set(known.controls)
    first = known.frame["ds"].min()
    assert (known.frame["week"] - known.frame["week"].min()).equals((known.frame["ds"] - first).dt.days)


def test_orders_of_days_by_hand():
    """Forecasts a week apart, an order each; three days to arrive. Level 20 a day, demand 1 a day: 20 - 17 = 3 more."""
    days, cutoff = pd.date_range("2022-01-04", periods=35), pd.Timestamp("2022-01-03")
    parts = []
    for start in (cutoff, cutoff + pd.Timedelta(days=7)):
        ds = pd.date_range(start + pd.Timedelta(days=1), periods=28)
        keys = pd.DataFrame({"unique_id": "p|chain", "ds": ds, "cutoff": start, "horizon": range(1, 29), "y": 1.0})
        parts.append(forecast_frame(keys, np.ones(28), np.zeros(28)))
    frame = pd.concat(parts, ignore_index=True)
    frame.loc[(frame["ds"] == "2022-01-10"), "y"] = np.nan  # nobody observed that day, which counts as a mean one
    demand = observed_demand(frame, frame[frame["cutoff"] == cutoff], per_week=7)
    assert list(demand.weeks) == list(days) and (demand.units == 1).all() and demand.start.tolist() == [1.0]
    terms = pd.DataFrame(
        {"pack_size": 1.0, "min_order": 0.0, "shelf_life": np.nan, "unit_cost": 1.0, "holding_cost": 0.1},
        index=["p|chain"],
    ).assign(lost_sale_cost=1.0, whole=True)
    asked = []

    def level(number, stock):
        asked.append((number, float(stock.position[0])))
        return np.array([20.0])

    rows = replay(demand, level, Timing(3, 7), terms, n_cutoffs=2, apart=7)
    assert asked == [(0, 3.0), (1, 13.0)]  # on day 0 what lasts three days; then 20, less what seven days have sold
    assert list(rows["ds"]) == list(days[3:17]) and rows["lost"].sum() == 0 and rows["ordered"].sum() == 7


def test_the_service_refuses_days(daily_panel, small_panel):
    check_weekly(small_panel, "tea")
    with pytest.raises(SettingsError, match=r"markets\.tea: the service closes weeks.*periods of D"):
        check_weekly(daily_panel, "tea")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with one small daily market, after `dvc repro`."""
    folder = copy_project(tmp_path_factory.mktemp("daily_project"))
    write_retailer(with_coming_promotions(make_retailer()), folder / "tables")
    line = {"source": "tables", "tables": "tables", "category": "TEA", "prepare": {"freq": "D"}}
    edit(folder, markets={"tea": line}, simulations={}, variants={"shelfcast": {}})
    edit(folder, "prepare", n_products=5, n_regions=2, validation_weeks=6, test_weeks=6, outlook=False)
    edit(folder, "base", source="tables", tables="tables", categories=[], layers=1, width=32)
    edit(folder, "finetune", layers=1, width=32, steps=4, judge_steps=2, seeds=[0])
    edit(folder, "evaluate", methods=["moving_average_8", "lightgbm"])
    edit(folder, "stream", ways=["frozen", "level"])
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.org commit -qm start"):
        call(folder, "git", *command.split(), check=True)
    done = call(folder, "dvc", "repro")
    assert done.returncode == 0, message(done)[-4000:]
    return folder


@pytest.mark.slow
def test_the_pipeline_runs_by_the_day(project):
    panel = Panel.load(project / "build/tea/panel")
    assert panel.frequency.daily and panel.meta["horizon"] == 28
    frame = pd.read_parquet(project / "build/tea/forecasts.parquet")
    latest = frame[frame["cutoff"] == panel.cutoffs["latest"][0]]
    assert (latest["ds"] - latest["cutoff"]).dt.days.max() == 28 and {"ensemble", "shelfcast"} <= set(latest["method"])
    assert len(pd.read_parquet(project / "build/tea/alarms.parquet")) == 0
    orders = pd.read_parquet(project / "build/tea/orders.parquet")
    assert (orders["arrives"] - orders["cutoff"]).dt.days.unique().tolist() == [2]
    assert json.loads((project / "build/tea/decisions.json").read_text())["orders"]


@pytest.mark.slow
def test_the_page_speaks_of_days(project):
    page = (project / "reports/tea/index.html").read_text()
    text = re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S))
    text = re.sub(r"\s+", " ", re.sub(r"prepare\.\w+\s*=\s*\S+|&nbsp;", " ", text))
    assert "units in the next 28 days" in text and "test days" in text and "a day" in text
    known = ("8-week average", "the mean of the last eight weeks", "on weeks alone")
    for words in known:
        text = text.replace(words, "")
    assert not re.findall(r".{40}\b[Ww]eek(?:s|ly)?\b.{20}", text)
