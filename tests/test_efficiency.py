"""The table of cheaper trainings: every row can be trained here, and says what it took."""

import dataclasses
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import efficiency


@pytest.fixture(scope="module")
def folder(small_panel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("efficiency")
    meta = small_panel.meta | {"category": "TEA"}
    dataclasses.replace(small_panel, meta=meta).save(folder / "panels/tea")
    return folder


def test_what_a_row_says_of_itself(folder, monkeypatch):
    monkeypatch.setattr(efficiency, "EPOCHS", 3)
    found = {}
    for row in ("lora_2", "frozen_2"):
        efficiency.one(row, 0, folder, folder / "out.json")
        found[row] = json.loads((folder / "out.json").read_text())
    lora, frozen = found["lora_2"], found["frozen_2"]
    assert lora["mb"] < 5 < 40 < frozen["mb"]  # adapters alone, and a whole model
    assert frozen["mb_int8"] < frozen["mb"]
    assert frozen["trained"] < lora["trained"] < 0.2
    for name in ("", "_bf16", "_int8"):
        for row in found.values():
            assert 0 < row[f"wql_chain{name}"] < 2 and row[f"seconds_per_1000{name}"] > 0


def test_rows_are_named_and_compared_seed_by_seed(monkeypatch):
    with pytest.raises(SystemExit, match=r"unknown rows half; known: full_6"):
        efficiency.main(["half"])
    rows = [("full_6", 0, 0.4), ("full_6", 1, 0.5), ("full_3", 0, 0.44), ("full_3", 1, 0.5)]
    figures = pd.DataFrame(rows, columns=["row", "seed", "wql_chain"]).assign(wql_regions=lambda x: x["wql_chain"])
    table = efficiency.table(figures)
    assert list(table.index) == ["full_6", "full_3"]
    assert table.loc["full_3", ["loss", "loss_least", "loss_most"]].tolist() == pytest.approx([0.05, 0.0, 0.1])


def test_what_was_trained_is_not_trained_again(folder, monkeypatch):
    (folder / "trained").mkdir(exist_ok=True)
    done = {"row": "full_6", "seed": 0, "wql_chain": 0.4}
    (folder / "trained/full_6_0.json").write_text(json.dumps(done))
    monkeypatch.setattr(efficiency, "watched", lambda *_: pytest.fail("trained again"))
    assert efficiency.run(["full_6"], [0], folder).to_dict("records") == [done]
