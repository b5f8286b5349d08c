"""The study of scenes: a project of its own with the pipeline's stages, words that its pages say, scores that are kept."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pandas as pd
import pytest
from projects import ROOT, WARM, call

from shelfcast import language, settings
from shelfcast.report import story
from shelfcast.settings import SettingsError
from studies import parameters
from studies.scenes import scenes
from studies.scenes.scenes import Study


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    work = tmp_path_factory.mktemp("scenes")
    with contextlib.chdir(ROOT), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", WARM["PATH"])
        scenes.prepare_work(parameters.load(Study, "scenes"), work)
    return work


def test_the_pipeline_s_stages_run_in_a_project_of_the_scenes_own(project):
    stages = call(project, "dvc", "stage", "list", "--name-only").stdout.split()
    for name in ("spare_parts", "parcels", "accounts"):
        assert {f"simulate@{name}", f"prepare@{name}", f"finetune@{name}-shelfcast", f"report@{name}"} <= set(stages)
    assert not [stage for stage in stages if "soft_drinks" in stage]


def test_make_run_knows_no_scene():
    usual = settings.check(ROOT / "params.yaml")
    assert not set(parameters.load(Study, "scenes").markets) & set(usual.markets)


def test_scenes_are_small_markets_with_words_of_their_own(project):
    for name in ("spare_parts", "parcels", "accounts"):
        s = settings.load(name, path=project / "params.yaml")
        assert len(s.finetune.seeds) == 1 and s.finetune.steps <= 200
        assert {"unit", "place", "chain"} <= set(s.market.words.given())
        assert s.evaluate.methods == settings.load(path=ROOT / "params.yaml").evaluate.methods, "the same peers"
    assert not settings.load("parcels", path=project / "params.yaml").orders.stocked
    bank = settings.load("accounts", path=project / "params.yaml")
    assert not bank.promotions.advised and "promises no return" in bank.report.notice


def test_a_page_of_a_scene_says_its_words(project):
    words = settings.load("parcels", path=project / "params.yaml").market.words.given()
    rows = pd.DataFrame(
        {"label": ["Lyon, express"], "low": [0.0], "high": [9.0], "last": [5.0], "mean": [4.0]}, ["P001"]
    )
    with language.using("en", words=words):
        said = story.movers(rows, "rise", 4)
        silent = story.silent(rows.assign(low=2.0, last=0.0), 4)
    assert said == "No route is sure to rise: all shipped at least as much lately as is likely."
    assert (
        "1 route shipped nothing" in silent and "though shipments were likely" in silent and "Lyon, express" in silent
    )


def test_scores_are_of_both_situations_where_there_is_a_plan(tmp_path, small_panel):
    row = {"wql": 0.5, "wape": 0.6, "coverage_80": 0.8, "bias": 0.0, "rmsse": 1.0}
    measured = {name: {"product": {"ensemble": row}} for name in ("plan_known", "no_plan")}
    (tmp_path / "metrics.json").write_text(json.dumps(measured))
    small_panel.save(tmp_path / "panel")
    assert list(scenes.scores("a", tmp_path)["situation"]) == ["plan_known", "no_plan"]
    replace(small_panel, planned=[]).save(tmp_path / "panel")
    assert list(scenes.scores("a", tmp_path)["situation"]) == ["no_plan"]


def test_an_unknown_scene_is_named():
    with pytest.raises(SettingsError, match="no scene 'parcel'; the nearest name is 'parcels'"):
        scenes.main(["parcel"])


def test_one_scene_that_fails_is_named_and_the_others_run(project, monkeypatch):
    asked, ran = [], []
    monkeypatch.setattr(scenes.side_by_side, "repro", lambda stages, **_: asked.append(list(stages)) or True)
    monkeypatch.setattr(
        scenes.side_by_side, "run_market", lambda name, stages: ran.append((name, stages[0])) or name != "parcels"
    )
    monkeypatch.setenv("PATH", WARM["PATH"])
    assert scenes.run(["parcels", "accounts"], project) == ["parcels"]
    assert asked == [["check", "simulate@parcels", "simulate@accounts"], ["index"]]
    assert ran == [("parcels", "prepare@parcels"), ("accounts", "prepare@accounts")]
