"""The search: it goes on after a kill, prunes, sees no test week, and proposes a change only of what is better."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from conftest import changed_after
from optuna.trial import TrialState
from test_training import RECIPE, Setup

from studies.tune import search as tune
from shelfcast.training.fit import COLUMNS, best_epoch, fit, select

ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_text()
PRESENT = {"learning_rate": 0.001, "dropout": 0.1, "batch_weeks": 300}
RANGES = {"learning_rate": [1e-5, 0.1], "dropout": [0.0, 0.3], "batch_weeks": [100, 1200]}
AMONG = tune.space(RANGES, PRESENT)
SEEDS = [0, 1]


class Trainings:
    """Stands for `training.select`: curves that depend on settings and seed, without a model. Dies at the calls named."""

    def __init__(self, die_at=()):
        self.die_at, self.calls = die_at, []

    def __call__(self, settings, seeds, work, callbacks):
        self.calls.append((settings, seeds))
        rows = []
        for seed in seeds:
            for epoch in (1, 2, 3):
                away = abs(np.log10(settings["learning_rate"] / 0.003)) + settings["dropout"]
                wql = 1 + away / epoch + 0.01 * seed
                state = SimpleNamespace(epoch=float(epoch))
                for callback in callbacks:
                    callback.on_evaluate(None, state, None, {"eval_wql": wql})
                if len(self.calls) in self.die_at and epoch == 2:
                    raise KeyboardInterrupt
                rows.append(("select", seed, epoch, np.nan, wql, False))
        return pd.DataFrame(rows, columns=COLUMNS)


def search(folder, train, trials=12, facts=None, minutes=5.0):
    study = tune.open_study(folder / "study.db", facts or {"seeds": SEEDS}, warmup=1)
    tune.search(study, AMONG, PRESENT, train, SEEDS, folder / "trial", trials, minutes, sampler_seed=0)
    return study


def of_each(study):
    return [(t.state, t.value, t.user_attrs["settings"], t.intermediate_values) for t in tune.finished(study)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    train = Trainings()
    return search(tmp_path_factory.mktemp("searched"), train), train


def test_the_present_setting_comes_first_and_some_trials_are_pruned(searched):
    study, train = searched
    first, *others = tune.finished(study)
    assert first.user_attrs["settings"] == PRESENT and first.state == TrialState.COMPLETE
    assert first.value == pytest.approx(np.mean(list(first.user_attrs["scores"].values())))
    pruned = [t for t in others if t.state == TrialState.PRUNED]
    assert pruned and len(others) == 11 and min(t.value for t in others) < first.value
    for trial in pruned:  # by the first seed alone
        assert [seeds for settings, seeds in train.calls if settings == trial.user_attrs["settings"]] == [[0]]
    trials, curves = tune.tables(study)
    assert trials["pruned"].sum() == len(pruned) and set(trials) == {"wql", "pruned", *PRESENT}
    assert curves.shape == (3, 12) and curves[first.number].notna().all()


def test_killed_and_resumed_equals_uninterrupted(searched, tmp_path):
    """Also where the present setting's own trial was killed; what was finished is not repeated."""
    train = Trainings(die_at=(1, 3, 9))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, train)
    study = search(tmp_path, train)
    assert of_each(study) == of_each(searched[0])
    states = [t.state for t in study.trials]
    assert states.count(TrialState.FAIL) == 3 and len(states) == 12 + 3
    calls = len(train.calls)
    search(tmp_path, train)
    assert len(train.calls) == calls
    assert len(tune.finished(search(tmp_path, train, trials=14))) == 14  # more are asked for: it goes on


def test_a_trial_without_a_score_ends(tmp_path):
    """A learning rate that destroys the model; the search goes on."""

    def train(settings, seeds, work, callbacks):
        history = Trainings()(settings, seeds, work, [] if settings is not PRESENT else callbacks)
        for callback in callbacks if settings is not PRESENT else []:
            callback.on_evaluate(None, SimpleNamespace(epoch=1.0), None, {"eval_wql": np.nan})
        return history

    study = search(tmp_path, train, trials=3)
    assert [t.state.name for t in tune.finished(study)] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert tune.tables(study)[0]["wql"].isna().sum() == 2


def test_no_trial_is_begun_after_its_time(tmp_path):
    assert not tune.finished(search(tmp_path, Trainings(), minutes=0.0))


def test_a_strangers_study_is_refused(searched, tmp_path):
    search(tmp_path, Trainings(), trials=1)
    with pytest.raises(ValueError, match=r"study.db is the study of another search: seeds differ. Move it away"):
        search(tmp_path, Trainings(), facts={"seeds": [7]})


def test_whole_numbers_stay_whole():
    """A notebook that wants a whole number refuses another."""
    ranges = {"base_batch_weeks": [75, 600], "batch_weeks": [100, 1200], "width": [64, 192], "dropout": [0, 1]}
    among = tune.space(ranges, {"base_batch_weeks": 300, "batch_weeks": 300, "width": 128, "dropout": 0.1})
    whole = {name for name, spread in among.items() if isinstance(spread, optuna.distributions.IntDistribution)}
    assert whole == {"base_batch_weeks", "batch_weeks", "width"}


def test_ranges_that_cannot_be_searched():
    for ranges, said in (({"dropout": [0.3, 0.0]}, "less than"), ({"dropout": [0.2, 0.3]}, r"dropout is 0.1, outside")):
        with pytest.raises(ValueError, match=said):
            tune.space(ranges, PRESENT)
    assert AMONG["learning_rate"].log and not AMONG["dropout"].log
    assert isinstance(AMONG["batch_weeks"], optuna.distributions.IntDistribution)


def test_the_best_are_trained_anew_once(searched, tmp_path):
    study, train = searched[0], Trainings()
    table = tune.compare(study, train, [5, 6, 7], tmp_path / "w", candidates=2)
    assert table.shape == (3, 3) and table.index[0] == tune.finished(study)[0].number
    assert all(seeds == [5, 6, 7] for _, seeds in train.calls) and len(train.calls) == 3
    pd.testing.assert_frame_equal(tune.compare(study, train, [5, 6, 7], tmp_path / "w", 2), table)
    assert len(train.calls) == 3
    assert tune.winner(table) == table.mean(axis=1).idxmin() != table.index[0]


def test_nothing_is_proposed_where_nothing_is_better(tmp_path):
    study = search(tmp_path, Trainings(), trials=1)
    table = tune.compare(study, Trainings(), [5], tmp_path / "w", candidates=2)
    assert table.empty and tune.winner(table) is None
    seeds = ["5", "6", "7"]
    lucky = pd.DataFrame([[0.5, 0.5, 0.5], [0.3, 0.3, 0.51], [0.5, 0.5, 0.5]], index=[0, 3, 4], columns=seeds)
    assert tune.winner(lucky) is None  # a better mean is not enough, an equal one neither
    assert tune.winner(pd.concat([lucky, pd.DataFrame([[0.49] * 3], index=[8], columns=seeds)])) == 8
    assert tune.proposal(PARAMS, "shelfcast", {}) == ""


@pytest.mark.parametrize("variant", ["shelfcast", "alone"])
def test_the_proposal_applies_and_keeps_comments(tmp_path, variant):
    changes = {"base_learning_rate": 3e-05, "dropout": 0.0, "batch_weeks": 450}
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "p.diff").write_text(tune.proposal(PARAMS, variant, changes))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "p.diff"], cwd=tmp_path, check=True)
    text = (tmp_path / "params.yaml").read_text()
    wanted = yaml.safe_load(PARAMS)
    wanted["variants"][variant] |= changes
    assert yaml.safe_load(text) == wanted
    old, new = PARAMS.splitlines(), text.splitlines()
    assert [a for a, b in zip(old, new, strict=True) if a != b] == [
        next(x for x in old if x.startswith(f"  {variant}: {{"))
    ]


@pytest.fixture(scope="module")
def cut(small_panel, tiny_bert):
    return Setup(tune.until_validation(small_panel), tiny_bert)


def test_leak_test_weeks_are_in_no_tensor_of_the_search(small_panel, tiny_bert, cut, tmp_path):
    """Whatever the test weeks hold, plan and all, the study is the same; and its scores are those of `fit`."""
    end = pd.Timestamp(small_panel.meta["validation_end"])
    assert cut.panel.frame["ds"].max() == cut.market.weeks_index[-1] == end < small_panel.weeks[-1]
    changed = changed_after(small_panel, end)
    late, plan = changed.frame["ds"] > end, small_panel.roles["known_future"]
    changed.frame.loc[late, plan] = changed.frame.loc[late, plan] * 2 + 1
    usual = changed.usual.copy()
    usual.loc[usual.index > end] = 99.0
    other = Setup(tune.until_validation(dataclasses.replace(changed, usual=usual)), tiny_bert)
    assert tune.tensors_md5(other.train, other.validation) == tune.tensors_md5(cut.train, cut.validation)
    assert other.market.scale == cut.market.scale
    whole = Setup(small_panel, tiny_bert)
    histories = [
        select(lambda _, s=s: s.make_model(), s.train, s.validation, RECIPE, [0], tmp_path / str(i), "x")
        for i, s in enumerate((cut, other, whole))
    ]
    for history in histories[1:]:
        pd.testing.assert_frame_equal(history, histories[0], check_exact=True)


def test_a_real_search_is_judged_as_fit_judges(cut, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "FEW", 1)
    recipe = dataclasses.replace(RECIPE, epochs=2)

    def train(settings, seeds, work, callbacks):
        its = dataclasses.replace(recipe, **settings)
        return select(lambda _: cut.make_model(), cut.train, cut.validation, its, seeds, work, "x", callbacks)

    present = {"learning_rate": recipe.learning_rate}
    study = tune.open_study(tmp_path / "study.db", {}, warmup=0)
    among = tune.space({"learning_rate": [1e-7, 3e-3]}, present)
    tune.search(study, among, present, train, SEEDS, tmp_path / "trial", 4, 5.0, sampler_seed=0)
    first, *others = tune.finished(study)
    assert any(t.state == TrialState.PRUNED and list(t.intermediate_values) == [1] for t in others)
    parts = cut.train, cut.validation, cut.refit
    _, history, _ = fit(lambda _: cut.make_model(), *parts, recipe, SEEDS, tmp_path / "fit", "x")
    assert first.value == pytest.approx(history.loc[history["best"], "wql"].mean(), rel=1e-4)
    chosen = history[history["phase"] == "select"]
    assert best_epoch(chosen) == chosen.loc[chosen["best"], "epoch"].iloc[0]
    assert not (tmp_path / "trial").exists()


def test_the_notebook_from_panel_to_proposal(small_panel, tiny_bert, tmp_path):
    """By the strict engine; a second call trains nothing and writes the same."""
    small_panel.save(tmp_path / "build/tea/panel")
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    params = yaml.safe_load(PARAMS)
    params["finetune"] |= {"backbone": tiny_bert, "from_base": False, "layers": 1, "width": 32, "epochs": 2}
    few = {"market": "tea", "trials": 3, "seeds": [0], "fresh_seeds": [1], "candidates": 1}
    params["tune"] |= few | {"ranges": {"learning_rate": [1e-7, 1e-2], "compact_layers": [1, 2]}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    command = "papermill notebooks/tune.ipynb out.ipynb --engine strict -k python3 -f params.yaml:finetune"
    command = [sys.executable, "-m", *command.split(), "-f", "params.yaml:go_on", "-f", "params.yaml:tune"]
    results, printed = [], []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        results.append([(tmp_path / f"tune/results/tea_shelfcast.{end}").read_text() for end in ("yaml", "diff")])
        cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
        printed.append(json.dumps([c.get("outputs", []) for c in cells]))
    assert results[0] == results[1]
    assert "0 trials of" in printed[0] and "3 trials of" in printed[1]
    told = yaml.safe_load(results[0][0])
    assert len(told["trials"]) == 3 and told["present"]["learning_rate"] == 0.002 and not told["from_base"]
    assert bool(results[0][1]) == bool(told["proposed"])
