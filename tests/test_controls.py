"""What the study of controls writes: scores and differences to the pipeline's model, on the same rows."""

import dataclasses
import json
from types import SimpleNamespace

import pandas as pd
import pytest

from shelfcast.judge.metrics import metrics_dict
from shelfcast.methods import averages, statistical
from shelfcast.model_options import Finetune
from shelfcast.settings import SettingsError
from studies import parameters
from studies.controls import controls


@pytest.fixture(scope="module")
def forecasts(small_panel):
    """`shelfcast` by a moving average from the test and latest cutoffs, controls from the test cutoffs alone."""
    average, croston = averages.moving_average_8(small_panel, 0), statistical.croston_sba(small_panel, 0)
    test, latest = small_panel.cutoffs["test"], small_panel.cutoffs["latest"]
    frames = {"shelfcast": average(test + latest), "lightgbm": croston(test), "alone": croston(test)}
    frames["blend"] = average(test)
    return pd.concat([frame.assign(method=name) for name, frame in frames.items()], ignore_index=True)


def test_scores_and_differences_to_the_pipelines_model(forecasts, small_panel):
    made = {"revision": "abc", "panel_md5": "x", "seeds": [0]}
    results = json.loads(json.dumps(controls.collect(forecasts, small_panel, made)))
    assert results["made"] == made
    assert results["scores"] == metrics_dict(forecasts, small_panel.frame)
    for level, differences in results["differences"].items():
        assert set(differences) == {"alone", "blend"}  # lightgbm is scored beside them, and no control
        assert differences["blend"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
        wql = {method: score["wql"] for method, score in results["scores"][level].items()}
        assert differences["alone"]["estimate"] == pytest.approx(wql["alone"] / wql["shelfcast"] - 1, abs=1e-4)
        assert differences["alone"]["low"] <= differences["alone"]["estimate"] <= differences["alone"]["high"]


def test_only_frame_and_cutoffs_of_the_panel_are_read(forecasts, small_panel):
    light = SimpleNamespace(frame=small_panel.frame[["unique_id", "ds", "y"]], cutoffs=small_panel.cutoffs)
    assert controls.collect(forecasts, light, {}) == controls.collect(forecasts, small_panel, {})


def test_without_the_pipelines_model_there_is_nothing_to_compare_with(forecasts, small_panel, tmp_path):
    with pytest.raises(ValueError, match=r"there is no forecast by shelfcast. Run `dvc repro`"):
        controls.collect(forecasts[forecasts["method"] != "shelfcast"], small_panel, {})
    with pytest.raises(ValueError, match=r"forecasts.parquet is missing. Run `dvc repro` first"):
        controls.all_forecasts("tea", tmp_path)
    (tmp_path / "tea").mkdir()
    forecasts.to_parquet(tmp_path / "tea/forecasts.parquet")
    with pytest.raises(ValueError, match=r"forecasts.parquet is missing. Run `make controls` first"):
        controls.all_forecasts("tea", tmp_path)


def test_controls_are_settings_of_finetune(small_panel):
    study = parameters.load(controls.Study, "controls")
    settings = controls.control_settings(Finetune(steps=7), study, small_panel)
    assert set(settings) == {"alone", "random_backbone", "small_transformer", "shelfcast_price_plan"}
    assert not any(own.from_base for own in settings.values()) and {own.steps for own in settings.values()} == {7}
    assert not settings["random_backbone"].pretrained and not settings["small_transformer"].use_text
    wrong = dataclasses.replace(study, controls={"alone": {"from_bas": False}})
    with pytest.raises(
        SettingsError, match=r"controls.alone: no parameter 'from_bas'; the nearest name is 'from_base'"
    ):
        controls.control_settings(Finetune(), wrong, small_panel)


def test_a_market_with_a_real_price_plan_needs_no_assumed_one(small_panel):
    study = parameters.load(controls.Study, "controls")
    planned = dataclasses.replace(small_panel, roles=small_panel.roles | {"price_plan": []})
    assert set(controls.control_settings(Finetune(), study, planned)) == set(study.controls) - {"shelfcast_price_plan"}


def test_finished_forecasts_by_cutoff(small_panel):
    predict = averages.moving_average_8(small_panel, 0)
    validation, test = (small_panel.cutoffs[part] for part in ("validation", "test"))
    both = [predict(validation).assign(situation=name) for name in ("plan_known", "no_plan")]
    stored = controls.by_cutoff(pd.concat(both), predict(test))
    for cutoffs in (validation, test):
        pd.testing.assert_frame_equal(stored(cutoffs).reset_index(drop=True), predict(cutoffs))
