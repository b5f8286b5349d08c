"""The table of cheaper trainings: every row can be trained here, and says what it took."""

import dataclasses
import json

import pandas as pd
import pytest

from shelfcast.model_options import Finetune
from studies import parameters
from studies.efficiency import efficiency


@pytest.fixture(scope="module")
def folder(small_panel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("efficiency")
    meta = small_panel.meta | {"category": "TEA"}
    dataclasses.replace(small_panel, meta=meta).save(folder / "panels/tea")
    return folder


def test_every_row_has_settings():
    study = parameters.load(efficiency.Study, "efficiency")
    for row in study.rows:
        finetune = study.finetune(row)
        assert isinstance(finetune, Finetune) and finetune.steps == 240
    assert study.finetune("full_6").body == "backbone" and study.finetune("compact").body == "compact"


def test_figures_of_a_row(folder):
    study, figures = parameters.load(efficiency.Study, "efficiency"), {}
    for row in ("lora_2", "frozen_2"):
        finetune = dataclasses.replace(study.finetune(row), steps=2, judge_steps=2)
        efficiency.run_one(row, finetune, 0, folder, folder / "out.json")
        figures[row] = json.loads((folder / "out.json").read_text())
    lora, frozen = figures["lora_2"], figures["frozen_2"]
    assert lora["mb"] < 5 < 40 < frozen["mb"]  # adapters alone, and a whole model
    assert frozen["mb_int8"] < frozen["mb"]
    assert frozen["trained"] < lora["trained"] < 0.2
    for ending in ("", "_bf16", "_int8"):
        for row in figures.values():
            assert 0 < row[f"wql_chain{ending}"] < 2 and row[f"seconds_per_1000{ending}"] > 0


def test_unknown_rows_are_named():
    with pytest.raises(SystemExit, match=r"there are no rows half. Choose of full_6"):
        efficiency.main(["half"])


def test_rows_are_compared_seed_by_seed():
    rows = [("full_6", 0, 0.4), ("full_6", 1, 0.5), ("full_3", 0, 0.44), ("full_3", 1, 0.5)]
    figures = pd.DataFrame(rows, columns=["row", "seed", "wql_chain"]).assign(wql_regions=lambda x: x["wql_chain"])
    table = efficiency.table(figures, ["full_6", "full_3", "lora_6"])
    assert list(table.index) == ["full_6", "full_3"]
    assert table.loc["full_3", ["loss", "loss_least", "loss_most"]].tolist() == pytest.approx([0.05, 0.0, 0.1])


def test_what_was_trained_is_not_trained_again(folder, monkeypatch):
    (folder / "trained").mkdir(exist_ok=True)
    figures = {"row": "full_6", "seed": 0, "wql_chain": 0.4}
    (folder / "trained/full_6_0.json").write_text(json.dumps(figures))
    monkeypatch.setattr(efficiency, "run_watched", lambda *_: pytest.fail("trained again"))
    assert efficiency.run(["full_6"], [0], folder).to_dict("records") == [figures]
