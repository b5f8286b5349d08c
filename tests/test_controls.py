"""Controls: their settings, and how their scores are collected."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shelfcast import settings
from shelfcast.judge.frame import forecast_frame, grid_keys
from studies import parameters
from studies.controls import controls

ROOT = Path(__file__).parents[1]


@pytest.fixture()
def own(monkeypatch):
    monkeypatch.chdir(ROOT)
    return settings.load("soft_drinks")


def test_a_control_differs_from_the_markets_model_in_its_line_alone(own):
    variants = controls.variants(own, parameters.load(controls.Study, "controls"))
    assert {"alone", "random_backbone", "small_transformer", "shelfcast_price_plan"} == set(variants)
    assert replace(variants["alone"], from_base=True) == own.finetune
    assert not any(finetune.from_base for finetune in variants.values())


def test_a_mistyped_control_is_an_error(own):
    study = controls.Study(variants={"alone": {"from_bas": False}})
    with pytest.raises(settings.SettingsError, match=r"variants.alone: no parameter 'from_bas'.*'from_base'"):
        controls.variants(own, study)


def test_price_plans_are_needed_where_no_prices_are_planned(small_panel):
    plan = settings.Finetune(price_plan=True)
    assert controls.needed(small_panel, plan) and controls.needed(small_panel, settings.Finetune())
    planned = replace(small_panel, roles=small_panel.roles | {"price_plan": []})
    assert not controls.needed(planned, plan) and controls.needed(planned, settings.Finetune())


def test_scores_and_differences_by_hand():
    """Forecasts that double every loss have twice the WQL: a difference of +100 %."""
    cutoffs = list(pd.date_range("2022-01-03", periods=2, freq="7D"))
    y = np.full((3, 2, 2, 1), 10.0)
    keys = grid_keys(["a", "b", "c"], ["chain", "region_1"], cutoffs, y)
    quantiles = np.full((len(keys), 13), 12.0)
    near = forecast_frame(keys, np.full(len(keys), 12.0), quantiles=quantiles).assign(method="shelfcast")
    far = forecast_frame(keys, np.full(len(keys), 14.0), quantiles=quantiles + 2).assign(method="alone")
    history = pd.DataFrame({"unique_id": keys["unique_id"], "ds": keys["cutoff"], "y": 1.0})
    results = controls.collect(pd.concat([near, far]), history, {"revision": "x"})
    assert set(results) == {"made", "scores", "differences"} and results["made"] == {"revision": "x"}
    for level in ("product", "product_region"):
        assert results["scores"][level]["shelfcast"]["wape"] == pytest.approx(0.2)
        assert results["differences"][level] == {"alone": {"estimate": 1.0, "low": 1.0, "high": 1.0}}
