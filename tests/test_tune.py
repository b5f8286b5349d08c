"""The search resumes after a kill, prunes, sees no test week, and proposes a change only of what is better."""

import dataclasses
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState
from small_retailer import changed_after

from shelfcast.model_options import Finetune
from shelfcast.settings import SettingsError
from shelfcast.training.fit import COLUMNS, best_step, fit
from shelfcast.training.setup import training_setup
from studies import parameters as studies
from studies.tune import parameters, plots, search

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_text()
PRESENT = {"learning_rate": 0.001, "dropout": 0.1, "batch_weeks": 300}
RANGES = {"learning_rate": [1e-5, 0.1], "dropout": [0.0, 0.3], "batch_weeks": [100, 1200]}
SPACE = parameters.search_space(RANGES, PRESENT)
SEEDS = [0, 1]


class Trainings:
    """Stands for `search.trainer`: curves that depend on values and seed, without a model. Dies at the calls named."""

    def __init__(self, die_at=()):
        self.die_at, self.calls = die_at, []

    def __call__(self, values, seeds, work, callbacks):
        self.calls.append((values, seeds))
        rows = []
        for seed in seeds:
            for epoch in (1, 2, 3):
                distance = abs(np.log10(values["learning_rate"] / 0.003)) + values["dropout"]
                wql = 1 + distance / epoch + 0.01 * seed
                for callback in callbacks:
                    callback.on_evaluate(None, SimpleNamespace(global_step=epoch), None, {"eval_wql": wql})
                if len(self.calls) in self.die_at and epoch == 2:
                    raise KeyboardInterrupt
                rows.append(("select", seed, epoch, np.nan, wql, False))
        return pd.DataFrame(rows, columns=COLUMNS)


def run_search(folder, train, trials=12, facts=None, minutes=5.0):
    study = search.open_study(folder / "study.db", facts or {"seeds": SEEDS}, warmup=1)
    search.search(study, SPACE, PRESENT, train, SEEDS, folder / "trial", trials, minutes, sampler_seed=0)
    return study


def summary(study):
    return [(t.state, t.value, t.user_attrs["values"], t.intermediate_values) for t in search.finished(study)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    train = Trainings()
    return run_search(tmp_path_factory.mktemp("searched"), train), train


# ---------------------------------------------------------------- the search


def test_the_present_values_come_first_and_some_trials_are_pruned(searched):
    study, train = searched
    first, *others = search.finished(study)
    assert first.user_attrs["values"] == PRESENT and first.state == TrialState.COMPLETE
    assert first.value == pytest.approx(np.mean(list(first.user_attrs["scores"].values())))
    pruned = [trial for trial in others if trial.state == TrialState.PRUNED]
    assert pruned and len(others) == 11 and min(trial.value for trial in others) < first.value
    for trial in pruned:  # by the first seed alone
        assert [seeds for values, seeds in train.calls if values == trial.user_attrs["values"]] == [[0]]
    trials, curves = search.tables(study)
    assert trials["pruned"].sum() == len(pruned) and set(trials) == {"wql", "pruned", *PRESENT}
    assert curves.shape == (3, 12) and curves[first.number].notna().all()


def test_killed_and_resumed_equals_uninterrupted(searched, tmp_path):
    """Also where the first trial was killed; what was finished is not repeated."""
    train = Trainings(die_at=(1, 3, 9))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run_search(tmp_path, train)
    study = run_search(tmp_path, train)
    assert summary(study) == summary(searched[0])
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.FAIL) == 3 and len(states) == 12 + 3
    calls = len(train.calls)
    run_search(tmp_path, train)
    assert len(train.calls) == calls
    assert len(search.finished(run_search(tmp_path, train, trials=14))) == 14  # more are asked for: it continues


def test_a_trial_without_a_score_ends(tmp_path):
    """A learning rate that destroys the model; the search continues."""

    def train(values, seeds, work, callbacks):
        if values is PRESENT:
            return Trainings()(values, seeds, work, callbacks)
        for callback in callbacks:
            callback.on_evaluate(None, SimpleNamespace(global_step=1), None, {"eval_wql": np.nan})
        return Trainings()(values, seeds, work, [])

    study = run_search(tmp_path, train, trials=3)
    assert [trial.state.name for trial in search.finished(study)] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert search.tables(study)[0]["wql"].isna().sum() == 2


def test_no_trial_starts_after_the_time_limit(tmp_path):
    assert not search.finished(run_search(tmp_path, Trainings(), minutes=0.0))


def test_the_study_of_another_search_is_refused(tmp_path):
    run_search(tmp_path, Trainings(), trials=1)
    with pytest.raises(ValueError, match=r"study.db is the study of another search: seeds differ. Move it away"):
        run_search(tmp_path, Trainings(), facts={"seeds": [7]})


def test_figures_of_a_search(searched):
    trials, curves = search.tables(searched[0])
    figure = plots.search(trials, curves, "a search")
    assert len(figure.axes) == 2 and len(figure.axes[1].lines) == 12
    figure = plots.slices(trials, {"learning_rate": True, "dropout": False}, "by setting")
    assert [ax.get_xscale() for ax in figure.axes] == ["log", "linear"]


# ---------------------------------------------------------------- what is searched


def test_the_studys_own_parameters_name_settings():
    study = studies.load(parameters.Study, "tune")
    for warm_start in (True, False):
        ranges = study.ranges.of(warm_start)
        assert parameters.search_space(ranges, parameters.present_values(Finetune(), list(ranges)))
    assert "warm_start.learning_rate" in study.ranges.of(True) and "width" in study.ranges.of(False)


def test_values_by_name_and_back():
    values = {"weight_decay": 0.2, "warm_start.learning_rate": 3e-4, "warm_start.batch_weeks": 200}
    finetune = parameters.with_values(Finetune(), values)
    assert parameters.present_values(finetune, list(values)) == values
    assert finetune.learning_rate == Finetune().learning_rate and finetune.warm_start.steps == 150
    with pytest.raises(SettingsError, match=r"no setting 'weight_decai'; the nearest name is 'weight_decay'"):
        parameters.present_values(finetune, ["weight_decai"])


def test_integers_stay_integers():
    ranges = {"warm_start.batch_weeks": [75, 600], "batch_weeks": [100, 1200], "width": [64, 192], "dropout": [0, 1]}
    present = {"warm_start.batch_weeks": 300, "batch_weeks": 300, "width": 128, "dropout": 0.1}
    space = parameters.search_space(ranges, present)
    integers = {name for name, kind in space.items() if isinstance(kind, optuna.distributions.IntDistribution)}
    assert integers == {"warm_start.batch_weeks", "batch_weeks", "width"}


@pytest.mark.parametrize(
    ("limits", "message"), [([0.3, 0.0], "must be less than"), ([0.2, 0.3], "dropout is 0.1, outside")]
)
def test_ranges_that_cannot_be_searched(limits, message):
    with pytest.raises(SettingsError, match=message):
        parameters.search_space({"dropout": limits}, PRESENT)


def test_a_range_over_a_factor_of_ten_is_searched_in_logs():
    assert SPACE["learning_rate"].log and not SPACE["dropout"].log


# ---------------------------------------------------------------- the proposal


def test_the_best_are_trained_again_once(searched, tmp_path):
    study, train = searched[0], Trainings()
    table = search.compare(study, train, [5, 6, 7], tmp_path / "w", candidates=2)
    assert table.shape == (3, 3) and table.index[0] == search.finished(study)[0].number
    assert all(seeds == [5, 6, 7] for _, seeds in train.calls) and len(train.calls) == 3
    pd.testing.assert_frame_equal(search.compare(study, train, [5, 6, 7], tmp_path / "w", 2), table)
    assert len(train.calls) == 3
    assert search.winner(table) == table.mean(axis=1).idxmin() != table.index[0]


def test_nothing_is_proposed_where_nothing_is_better(tmp_path):
    study = run_search(tmp_path, Trainings(), trials=1)
    table = search.compare(study, Trainings(), [5], tmp_path / "w", candidates=2)
    assert table.empty and search.winner(table) is None
    seeds = ["5", "6", "7"]
    lucky = pd.DataFrame([[0.5, 0.5, 0.5], [0.3, 0.3, 0.51], [0.5, 0.5, 0.5]], index=[0, 3, 4], columns=seeds)
    assert search.winner(lucky) is None  # a better mean is not enough, an equal one neither
    assert search.winner(pd.concat([lucky, pd.DataFrame([[0.49] * 3], index=[8], columns=seeds)])) == 8
    assert search.proposal(PARAMS, "shelfcast", {}) == ""


@pytest.mark.parametrize("line", ["{}", "{from_base: false}", "{warm_start: {steps: 2}}"])
def test_the_proposal_applies_and_keeps_comments(tmp_path, line):
    text = PARAMS.replace("  shelfcast: {}\n", f"  shelfcast: {line}\n")
    changes = {"dropout": 0.0, "batch_weeks": 450, "warm_start.learning_rate": 3e-05, "warm_start.batch_weeks": 200}
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "p.diff").write_text(search.proposal(text, "shelfcast", changes))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "p.diff"], cwd=tmp_path, check=True)
    new = (tmp_path / "params.yaml").read_text()
    wanted = yaml.safe_load(text)
    variant = wanted["variants"]["shelfcast"]
    variant |= {"dropout": 0.0, "batch_weeks": 450}
    variant["warm_start"] = variant.get("warm_start", {}) | {"learning_rate": 3e-05, "batch_weeks": 200}
    assert yaml.safe_load(new) == wanted
    changed = [before for before, after in zip(text.splitlines(), new.splitlines(), strict=True) if before != after]
    assert changed == [f"  shelfcast: {line}"]


# ---------------------------------------------------------------- with a real, tiny model


@pytest.fixture(scope="module")
def finetune(tiny_bert):
    small = {"backbone": tiny_bert, "from_base": False, "layers": 1, "width": 32, "compact_layers": 1}
    return Finetune(
        **small, steps=6, judge_steps=2, warmup=1, batch_weeks=100, learning_rate=3e-3, patience=3, seeds=SEEDS
    )


@pytest.fixture(scope="module")
def cut_panel(small_panel):
    return search.until_validation(small_panel)


def test_leak_test_weeks_are_in_no_tensor_of_the_search(small_panel, cut_panel, finetune, tmp_path):
    """Whatever the test weeks hold, plan and all, the search is the same; and its scores are those of notebook 3."""
    end = pd.Timestamp(small_panel.meta["validation_end"])
    changed = changed_after(small_panel, end)
    late, plan = changed.frame["ds"] > end, small_panel.roles["known_future"]
    changed.frame.loc[late, plan] = changed.frame.loc[late, plan] * 2 + 1
    typical = changed.typical.copy()
    typical.loc[typical.index > end] = 99.0
    changed = search.until_validation(dataclasses.replace(changed, typical=typical))
    setups = [training_setup(panel, finetune) for panel in (cut_panel, changed)]
    for setup in setups:
        assert cut_panel.frame["ds"].max() == setup.market.weeks_index[-1] == end < small_panel.weeks[-1]
    assert len({search.tensors_md5(*setup.splits[:2]) for setup in setups}) == 1
    assert setups[0].market.scale == setups[1].market.scale
    histories = [
        search.trainer(panel, finetune)({}, [0], tmp_path / str(i), [])
        for i, panel in enumerate((cut_panel, changed, small_panel))
    ]
    for history in histories[1:]:
        pd.testing.assert_frame_equal(history, histories[0], check_exact=True)


def test_a_real_search_is_judged_as_fit_judges(small_panel, cut_panel, finetune, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "MIN_COMPLETE", 1)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # no other process to start, which takes longer than the training
    finetune = dataclasses.replace(finetune, steps=4)
    present = {"learning_rate": finetune.learning_rate}
    study = search.open_study(tmp_path / "study.db", {}, warmup=0)
    space = parameters.search_space({"learning_rate": [1e-7, 3e-3]}, present)
    train = search.trainer(cut_panel, finetune)
    search.search(study, space, present, train, SEEDS, tmp_path / "trial", 4, 5.0, sampler_seed=0)
    first, *others = search.finished(study)
    assert any(t.state == TrialState.PRUNED and len(t.intermediate_values) == 1 for t in others)
    setup = training_setup(small_panel, finetune)
    history = fit(setup.make_model, *setup.splits, setup.training, SEEDS, tmp_path / "fit", "x").history
    assert first.value == pytest.approx(history.loc[history["best"], "wql"].mean(), rel=1e-4)
    chosen = history[history["phase"] == "select"]
    assert best_step(chosen) == chosen.loc[chosen["best"], "step"].iloc[0]
    assert not (tmp_path / "trial").exists()
