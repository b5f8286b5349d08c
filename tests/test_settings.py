"""Parameters: one place, typed, and every slip is an error that says where it stands."""

from pathlib import Path

import pytest

from shelfcast import model_options, settings
from shelfcast.settings import SettingsError

ROOT = Path(__file__).parents[1]
PARAMS = """
markets:
  tea: {source: tables, tables: shop, category: TEA, prepare: {n_products: 60}, finetune: {steps: 5}}
  milk: {source: tables, tables: shop, category: MILK}
variants:
  shelfcast: {}
  wide: {width: 192, steps: 7, warm_start: {steps: 6}}
prepare: {n_products: 100, horizon: 3}
finetune: {steps: 9, learning_rate: 1e-3, warm_start: {learning_rate: 0.0003}}
"""


@pytest.fixture()
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    return path


def refused(path, text, *words, **load):
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        settings.load(**{"market": "tea", "path": path} | load)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_later_places_go_first(params):
    """Default, section, market's line, variant's line, overrides."""
    assert settings.load("milk", path=params).finetune.patience == model_options.Finetune().patience
    assert settings.load("milk", path=params).finetune.steps == 9
    assert settings.load("tea", path=params).finetune.steps == 5
    assert settings.load("tea", "wide", path=params).finetune.steps == 7
    overrides = {"finetune": {"steps": 11}}
    assert settings.load("tea", "wide", overrides, params).finetune.steps == 11
    assert settings.load("tea", path=params).prepare.n_products == 60
    assert settings.load("milk", path=params).prepare.n_products == 100
    assert settings.load(path=params).prepare.n_products == 100


def test_a_nested_section_is_merged(params):
    warm_start = settings.load("tea", "wide", path=params).finetune.warm_start
    assert (warm_start.steps, warm_start.learning_rate) == (6, 0.0003)
    assert warm_start.batch_weeks == model_options.WarmStart().batch_weeks


def test_numbers_are_read_as_dvc_reads_them(params):
    assert settings.load("tea", path=params).finetune.learning_rate == 0.001


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "horizon: 3",
            "horizn: 3",
            ["prepare: no parameter 'horizn'", "nearest name is 'horizon'", "Rename or remove"],
        ),
        ("horizon: 3", "horizon: three", ["prepare: horizon is 'three'", "integer"]),
        ("horizon: 3", "horizon: true", ["prepare: horizon is True", "integer"]),
        ("horizon: 3", "horizon: 3.5", ["prepare: horizon is 3.5"]),
        ("horizon: 3", "horizon: 0", ["prepare: horizon is 0", "greater than or equal to 1"]),
        ("steps: 5", "step: 5", ["markets.tea.finetune: no parameter 'step'", "'steps'"]),
        ("width: 192", "witdh: 192", ["variants.wide: no parameter 'witdh'", "'width'"]),
        ("warm_start: {steps: 6}", "warm_start: {step: 6}", ["variants.wide.warm_start: no parameter 'step'"]),
        ("category: MILK", "categry: MILK", ["params.yaml: markets.milk: no parameter 'categry'", "'category'"]),
        ("source: tables, tables: shop, category: MILK", "source: excel", ["source is 'excel'", "complete_journey"]),
        ("  milk:", "  Milk Shop:", ["'Milk Shop' becomes a path", "small letters"]),
        ("\nprepare:", "\nprepar:", ["no parameter 'prepar'", "nearest name is 'prepare'"]),
        ("finetune: {steps: 9", "finetune: {mode: half, steps: 9", ["mode is 'half'", "'full', 'lora' or 'frozen'"]),
        ("prepare: {", "prepare: {{", ["cannot be read"]),
        ("prepare: {n_products: 100, horizon: 3}", "prepare: 3", ["prepare is 3"]),
    ],
)
def test_slips_are_named(params, old, new, words):
    assert old in PARAMS
    refused(params, PARAMS.replace(old, new, 1), *words)


def test_several_slips_are_named_at_once(params):
    refused(params, PARAMS.replace("horizon: 3", "horizn: 3, test_weeks: many"), "'horizn'", "test_weeks is 'many'")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"market": "te"}, ["no market 'te'", "nearest name is 'tea'"]),
        ({"variant": "wid"}, ["no variant 'wid'", "nearest name is 'wide'"]),
        ({"overrides": {"finetun": {}}}, ["overrides: no section 'finetun'", "'finetune'"]),
        ({"overrides": {"finetune": {"steps": "many"}}}, ["overrides: finetune: steps is 'many'"]),
    ],
)
def test_slips_in_what_a_notebook_is_given(params, load, words):
    refused(params, PARAMS, *words, **load)


def test_a_missing_file(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.load("tea", path=tmp_path / "params.yaml")


def test_settings_cannot_be_changed(params):
    loaded = settings.load("tea", path=params)
    with pytest.raises(AttributeError):
        loaded.finetune.steps = 3


def test_every_parameter_has_a_meaning_and_the_projects_own_are_valid():
    lines = settings.table(ROOT / "params.yaml").splitlines()
    assert len(lines) > 50
    assert all(line[60:].strip() for line in lines), "a parameter without a meaning"
    project = settings.check(ROOT / "params.yaml")
    assert {"soft_drinks", "simulated"} <= set(project.markets)
