"""Keeping up: level correction by hand, no label read before its time, harmful updates undone, the replay as a whole."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import make_models, save_models
from small_retailer import changed_after

from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.live.drift.detect import Detector
from shelfcast.live.drift.watch import watch, widened
from shelfcast.live.online import market as live_market
from shelfcast.live.online import refit, scores
from shelfcast.live.online.grid import Grid
from shelfcast.live.online.head import HeadLearner
from shelfcast.live.online.level import NONE, Rates, choose, correct, factors
from shelfcast.live.online.replay import Replayed, Start, replay, weekly_cutoffs
from shelfcast.live_options import Stream
from shelfcast.model.forecast import forecast
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.settings import Simulation

WEEKS = pd.date_range("2024-01-01", periods=12, freq="7D")
STREAM = Stream(steps=3, batch_products=4, learning_rate=0.01, recent_weeks=3)
ALONE = np.inf
EAGER = Detector("page_hinkley", 0.1, 0.0)  # random models err by much, beside which a drift is small


def frame_of(y, mean, series=("a",), locations=("chain",), cutoffs=None):
    """A forecast frame of arrays (P, L, C, H)."""
    y, mean = np.asarray(y, float), np.asarray(mean, float)
    cutoffs = list(WEEKS[: y.shape[2]]) if cutoffs is None else cutoffs
    return forecast_frame(grid_keys(list(series), list(locations), cutoffs, y), mean.ravel(), 0.1)


# Level correction


def test_factors_by_hand():
    """The example of level.py: 100 forecast and 80 sold a week ago, then 100 and 110, with a prior of 100 units."""
    frame = frame_of(np.reshape([80, 110, np.nan], (1, 1, 3, 1)), np.full((1, 1, 3, 1), 100.0))
    rates = Rates(0.5, 100, ALONE, ALONE)
    by_week = [factors(Grid.of(frame), week, rates).item() for week in WEEKS[:3]]
    np.testing.assert_allclose(by_week, [1, 0.9, 1])


def test_a_series_is_drawn_to_its_location_and_that_to_the_market():
    y, mean = np.array([40.0, 20.0, 10.0, 10.0]).reshape(2, 2, 1, 1), np.full((2, 2, 1, 1), 20.0)
    grid = Grid.of(frame_of(y, mean, ("a", "b"), ("x", "y")))
    market = 1.0  # 80 of 80
    x, other = (50 + 10 * market) / (40 + 10), (30 + 10 * market) / (40 + 10)
    wanted = [(40 + 5 * x) / 25, (20 + 5 * other) / 25, (10 + 5 * x) / 25, (10 + 5 * other) / 25]
    got = factors(grid, WEEKS[1], Rates(0.5, 100, 10, 5))
    np.testing.assert_allclose(got[:, 0], wanted)
    np.testing.assert_allclose(factors(grid, WEEKS[1], NONE), 1)
    assert np.isclose(factors(grid, WEEKS[1], Rates(0.5, ALONE, ALONE, 5))[0, 0], (40 + 5) / 25)


def test_each_horizon_learns_from_its_own_misses():
    y = np.full((1, 1, 6, 2), 100.0) * [1.0, 0.5]
    got = factors(Grid.of(frame_of(y, np.full(y.shape, 100.0))), WEEKS[5], Rates(0.9, 1.0, ALONE, ALONE))
    assert got[0, 0] == pytest.approx(1) and got[0, 1] < 0.6


def test_correction_reads_no_week_after_its_cutoff():
    draw = np.random.default_rng(0)
    y, mean = draw.poisson(20, (3, 2, 8, 2)).astype(float), np.full((3, 2, 8, 2), 15.0)
    later = y.copy()
    target = np.arange(8)[:, None] + [1, 2]
    later[:, :, target > 5] = 500.0
    rates, places = Rates(0.7, 50, 50, 20), (("a", "b", "c"), ("chain", "x"))
    first, second = (
        correct(frame_of(sold, mean, *places), frame_of(y, mean, *places).head(0), rates) for sold in (y, later)
    )
    until = first["cutoff"] <= WEEKS[5]
    values = ["mean", "q025", "q500", "q975"]
    pd.testing.assert_frame_equal(first.loc[until, values], second.loc[until, values])
    assert not np.allclose(first.loc[~until, "mean"], second.loc[~until, "mean"])
    assert first.loc[first["cutoff"] == WEEKS[5], "mean"].mean() > 16  # it does learn: 20 sold, 15 forecast


def test_validation_weeks_choose_a_correction_only_where_it_helps():
    draw = np.random.default_rng(1)
    mean = np.full((20, 1, 8, 2), 30.0)
    names = [f"p{i}" for i in range(20)]
    right, half = (draw.poisson(level, mean.shape) for level in (30, 15))
    assert choose(frame_of(right, mean, names))[0] == NONE
    rates, table = choose(frame_of(half, mean, names))
    assert rates != NONE
    assert table["wql"].min() < 0.8 * table["wql"].iloc[0]


def test_two_forecasts_of_one_week_are_refused():
    frame = frame_of(np.ones((1, 1, 2, 1)), np.ones((1, 1, 2, 1)))
    with pytest.raises(ValueError, match="two forecasts"):
        Grid.of(pd.concat([frame, frame]))
    with pytest.raises(ValueError, match="no forecasts"):
        Grid.of(frame.head(0))


# Online learning


@pytest.fixture(scope="module")
def trained(small_panel, tiny_bert):
    return make_models(small_panel, tiny_bert)


def begin(panel, trained, **changes):
    models, facts = trained
    market = market_tensors(panel, load_tokenizer(facts["backbone"]), scale=facts["scale"])
    start = Start(copy.deepcopy(models), market, pd.Timestamp(panel.meta["validation_end"]), NONE)
    return dataclasses.replace(start, **changes)


def with_labels(market, labels):
    return dataclasses.replace(market, tensors=market.tensors | {"labels": labels})


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_learner_that_has_learned_nothing_forecasts_as_the_model(small_panel, trained):
    start, cutoffs = begin(small_panel, trained), weekly_cutoffs(small_panel)
    replayed = replay(dataclasses.replace(start), cutoffs[:1], dataclasses.replace(STREAM, ways=["frozen", "online"]))
    frozen, online = (part for _, part in replayed.forecasts.groupby("way"))
    np.testing.assert_allclose(frozen["mean"], online["mean"], rtol=1e-4)
    direct = forecast(start.models, start.market, cutoffs[:1])
    np.testing.assert_allclose(frozen["mean"], direct["mean"], rtol=1e-6)


def test_an_update_learns_what_lowers_the_loss_and_is_kept(small_panel, trained):
    """All weeks after training sell five times as much: the head follows."""
    start = begin(small_panel, trained)
    learner = HeadLearner(start.models[0], start.market, start.until, STREAM)
    late = torch.as_tensor(learner.targets > np.datetime64(start.until))
    labels = start.market.tensors["labels"]
    market = with_labels(start.market, torch.where(late, labels * 5 + 5, labels))
    learner = HeadLearner(start.models[0], market, start.until, STREAM)
    decisions = [learner.learn(cutoff) for cutoff in weekly_cutoffs(small_panel)]
    assert [d.choice for d in decisions[:2]] == ["waited", "kept"]  # nothing new; one new week, which checks
    assert "updated" in [d.choice for d in decisions[2:]]
    last = decisions[-1]
    assert min(last.before, last.after) < last.as_trained
    assert not same(learner.as_trained, learner.values())
    frozen = [name for name, _ in learner.model.named_parameters() if name not in learner.values()]
    before = dict(trained[0][0].named_parameters())
    assert all(torch.equal(before[name], p) for name, p in learner.model.named_parameters() if name in frozen)


def test_poisoned_labels_are_rolled_back(small_panel, trained):
    """Weeks to learn from sell a hundred times as much, and the week that checks sells as ever: weights are undone."""
    start = begin(small_panel, trained)
    cutoffs = weekly_cutoffs(small_panel)
    probe = HeadLearner(copy.deepcopy(start.models[0]), start.market, start.until, STREAM)
    poisoned = torch.as_tensor(
        (probe.targets > np.datetime64(start.until)) & (probe.targets < np.datetime64(cutoffs[3]))
    )
    labels = start.market.tensors["labels"]
    market = with_labels(start.market, torch.where(poisoned, labels * 100 + 100, labels))
    learner = HeadLearner(start.models[0], market, start.until, STREAM)
    first = [learner.learn(cutoff) for cutoff in cutoffs[:3]]
    assert first[-1].choice == "updated"  # the week that checks is poisoned too, so the check is content
    assert learner.learn(cutoffs[3]).choice == "rolled back"
    assert same(learner.as_trained, learner.values())


def test_no_label_is_read_before_its_week_is_over(small_panel, trained):
    start, cutoffs = begin(small_panel, trained), weekly_cutoffs(small_panel)
    labels, at = start.market.tensors["labels"], cutoffs[3]
    learner = HeadLearner(copy.deepcopy(start.models[0]), start.market, start.until, STREAM)
    later = torch.as_tensor(learner.targets > np.datetime64(at))
    changed = with_labels(start.market, torch.where(later, labels * 9 + 9, labels))
    other = HeadLearner(copy.deepcopy(start.models[0]), changed, start.until, STREAM)
    for cutoff in cutoffs[:4]:
        assert repr(learner.learn(cutoff)) == repr(other.learn(cutoff))
    assert same(learner.values(), other.values())
    for cutoff in cutoffs[4:]:
        one, two = learner.learn(cutoff), other.learn(cutoff)
    assert repr(one) != repr(two)


# The replay


def test_a_changed_later_week_changes_no_earlier_forecast_decision_or_alarm(small_panel, trained):
    cutoffs = weekly_cutoffs(small_panel)
    at, rates, ways = cutoffs[3], Rates(0.7, 50, 50, 20), ["frozen", "level", "online"]
    results, alarms = [], []
    for panel in (small_panel, changed_after(small_panel, at)):
        start = begin(panel, trained, rates=rates)
        past = forecast(start.models, start.market, panel.cutoffs["validation"])
        start = dataclasses.replace(start, past=past)
        replayed = replay(start, cutoffs, dataclasses.replace(STREAM, ways=ways))
        frozen = replayed.forecasts[replayed.forecasts["way"] == "frozen"].drop(columns="way")
        alarms.append(watch(panel, start, frozen, EAGER))
        results.append(replayed)
    for name, until in (("forecasts", lambda t: t["cutoff"] <= at), ("decisions", lambda t: t["cutoff"] <= at)):
        first, second = (getattr(r, name).drop(columns="y", errors="ignore") for r in results)
        pd.testing.assert_frame_equal(first[until(first)], second[until(second)])
        assert not first.equals(second)
    early = [table[table["week"] <= at].reset_index(drop=True) for table in alarms]
    assert len(early[0])
    pd.testing.assert_frame_equal(*early)
    assert not alarms[0].equals(alarms[1])  # three times as much and seven more is a drift


def test_the_replay_is_the_same_twice(small_panel, trained):
    stream = dataclasses.replace(STREAM, ways=["online"])
    first, second = (replay(begin(small_panel, trained), weekly_cutoffs(small_panel)[:4], stream) for _ in range(2))
    pd.testing.assert_frame_equal(first.forecasts, second.forecasts)
    pd.testing.assert_frame_equal(first.decisions, second.decisions)


def test_a_refit_sees_its_week_and_what_it_forecasts_changes_from_then_on(small_panel, trained):
    cutoffs, asked = weekly_cutoffs(small_panel), []

    def again(week):
        asked.append(week)
        return list(reversed(begin(small_panel, trained).models))[:1]

    start = begin(small_panel, trained, refit=again)
    stream = dataclasses.replace(STREAM, ways=["frozen", "refit"], refit_every=2)
    replayed = replay(start, cutoffs, stream)
    assert asked == [cutoffs[2], cutoffs[4]]
    frozen, refitted = (
        part.set_index(["unique_id", "cutoff", "horizon"])["mean"] for _, part in replayed.forecasts.groupby("way")
    )
    differs = (frozen - refitted).abs().groupby("cutoff").max() > 1e-6
    assert differs.tolist() == [False, False] + [True] * (len(cutoffs) - 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutoffs": []}, "no week to replay"),
        ({"cutoffs": "reversed"}, "must rise"),
        ({"cutoffs": "early"}, "would know what they forecast"),
        ({"ways": ["refit"]}, "no training was prepared"),
    ],
)
def test_bad_input_is_refused(small_panel, trained, change, message):
    start, cutoffs = begin(small_panel, trained), weekly_cutoffs(small_panel)
    asked = {"reversed": cutoffs[::-1], "early": [cutoffs[0] - pd.Timedelta(weeks=1)], "as it is": cutoffs}
    cutoffs = change.get("cutoffs", "as it is")
    with pytest.raises(ValueError, match=message):
        replay(start, asked[cutoffs] if cutoffs else [], Stream(ways=change.get("ways", ["frozen"])))


def test_a_market_is_loaded_from_its_folder(small_panel, trained, tmp_path):
    models, facts = trained
    with pytest.raises(ValueError, match="Run notebook 3_finetune"):
        live_market.load(tmp_path, "shelfcast", small_panel, "no_plan")
    save_models(tmp_path, models, facts)
    market = market_tensors(small_panel, load_tokenizer(facts["backbone"]))
    past = forecast(models, market, small_panel.cutoffs["validation"])
    both = pd.concat([past.assign(situation=name) for name in ("plan_known", "no_plan")])
    both.to_parquet(tmp_path / "models/shelfcast/validation.parquet")
    start, table = live_market.load(tmp_path, "shelfcast", small_panel, "no_plan")
    assert len(start.models) == 2 and not start.plan_known and table["wql"].notna().all()
    assert len(live_market.distinct([models[0], copy.deepcopy(models[0])])) == 1


def test_the_number_of_steps_of_a_refit_is_what_training_chose():
    history = pd.DataFrame({"phase": ["select", "select", "refit"], "step": [0, 25, 30], "best": [False, True, False]})
    assert refit.chosen_steps(history) == 25
    with pytest.raises(ValueError, match="no best step"):
        refit.chosen_steps(history.assign(best=False))


# Scores


def test_scores_of_ways_and_the_share_of_a_refit_by_hand():
    """Forecasts of 12, 11 and 10 (certain) for sales of 10: WQL .2, .1 and 0; online goes half of the refit's way."""
    frames, seconds = [], []
    for way, mean, learn in (("frozen", 12.0, 0.0), ("online", 11.0, 2.0), ("refit", 10.0, 40.0)):
        y = np.full((2, 1, 4, 1), 10.0)
        keys = grid_keys(["a", "b"], ["chain"], list(WEEKS[:4]), y)
        frames.append(forecast_frame(keys, np.full(8, mean), quantiles=np.full((8, 13), mean)).assign(way=way))
        seconds += [(way, week, learn / 4, 0.0) for week in WEEKS[:4]]
    table = pd.DataFrame(seconds, columns=["way", "cutoff", "learn", "forecast"])
    replayed = Replayed(pd.concat(frames), table, pd.DataFrame())
    summary = scores.summary(replayed).set_index("way")
    np.testing.assert_allclose(summary.loc[["frozen", "online", "refit"], "wql"], [0.2, 0.1, 0], atol=1e-9)
    assert summary.loc["online", "against_frozen"] == pytest.approx(-0.5)
    share = scores.share_of_refit(summary.reset_index()).set_index("way")
    assert share.loc["online"].tolist()[1:] == pytest.approx([0.5, 0.05])
    assert scores.by_week(replayed)["wql"].groupby(level=0).size().sum() == 12


def test_the_default_gains_where_laws_change_and_costs_little_where_they_do_not():
    def table(**against):
        return pd.DataFrame({"way": list(against), "level": "product", "against_frozen": list(against.values())})

    calm = table(frozen=0.0, level=0.02, online=0.004)
    changed = table(frozen=0.0, level=-0.2, online=-0.1)
    assert scores.default_way({"calm": calm, "changed": changed}, {"changed"}) == "online"  # level costs 2 %
    assert scores.default_way({"calm": calm, "changed": table(frozen=0.0, online=0.01)}, {"changed"}) == "frozen"
    with pytest.raises(ValueError, match="Measure one of each"):
        scores.default_way({"calm": calm}, set())


def test_learned_weeks_are_widened_to_unseen_ones_by_hand():
    learned = pd.DataFrame({"about": "sales", "ratio": [0.1, -0.1]})
    assert widened(learned, learned.assign(ratio=0.15))["ratio"].tolist() == pytest.approx([0.15, -0.15])
    assert widened(learned, learned.assign(ratio=0.05))["ratio"].tolist() == pytest.approx([0.1, -0.1])


def test_a_regime_without_strength_changes_nothing():
    from shelfcast.market import truth

    small = {"n_products": 8, "n_new": 0, "n_stores": 4, "n_weeks": 43, "regime_weeks": 10}
    calm, usual, strong = (truth.draw(Simulation(**small, regime_strength=x)) for x in (0.0, 1.0, 2.0))
    assert (calm["regime"] == 1).all()
    np.testing.assert_array_equal(calm["sold"][..., :33], strong["sold"][..., :33])
    assert usual["regime"][-1] == 1.25 and strong["regime"][-1] == pytest.approx(1.25**2)
    assert (strong["mean"][..., 33:] != calm["mean"][..., 33:]).any()
