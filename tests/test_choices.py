"""The study of settings over markets: what a choice changes, what is compared, and that earlier rows stay."""

import pandas as pd
import pytest

from shelfcast import settings
from shelfcast.model_options import Finetune
from studies import parameters
from studies.choices import choices
from studies.choices.choices import Study
from studies.choices.tables import PRESENT, means


def table(market: str, **ratios: float) -> pd.DataFrame:
    rows = [{"market": market, "choice": name, "ratio": ratio, "wql": ratio / 2} for name, ratio in ratios.items()]
    return pd.DataFrame(rows)


def test_a_choice_changes_both_kinds_of_start(small_panel):
    panel, finetune = choices.with_choice(small_panel, Finetune(), {"finetune.dropout": 0.3, "finetune.average": 0.5})
    assert panel is small_panel
    assert (finetune.dropout, finetune.warm_start.dropout, finetune.average) == (0.3, 0.3, 0.5)
    with pytest.raises(ValueError, match=r"'finetune.dropuot' cannot be judged"):
        choices.with_choice(small_panel, Finetune(), {"finetune.dropuot": 0.3})


def test_the_outlook_can_be_left_out(small_panel):
    panel, _ = choices.with_choice(small_panel, Finetune(), {"prepare.outlook": False})
    assert panel.outlook.empty and list(panel.outlook) == list(small_panel.outlook)


def test_every_choice_of_the_study_is_understood(small_panel):
    study = parameters.load(Study, "choices")
    assert next(iter(study.choices)) == PRESENT and not study.choices[PRESENT]
    for choice in study.choices.values():
        choices.with_choice(small_panel, Finetune(), choice)


def test_it_looks_at_no_untouched_category():
    base = settings.load().base.categories
    assert set(parameters.load(Study, "choices").categories) <= set(base)


def test_a_choice_is_compared_on_the_markets_that_it_was_trained_for(tmp_path):
    choices.write(table("north", present=1.0, dry=0.9), tmp_path)
    choices.write(table("south", present=0.8, dry=0.88), tmp_path)
    choices.write(table("south", dry=0.84), tmp_path)
    compared = means(pd.read_csv(tmp_path / "scores.csv"))
    assert compared.loc["dry", "change"] == pytest.approx((-0.1 + 0.05) / 2)
    assert compared.loc["dry", "better_on"] == 1 and compared.loc[PRESENT, "change"] == 0
