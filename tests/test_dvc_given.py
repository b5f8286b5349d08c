"""A table of stock that changes reruns what is decided by it, in a real DVC project; nothing else."""

import json
import re
import subprocess

import pytest
import yaml
from projects import ROOT, WARM, call

from shelfcast.pipeline import given


@pytest.fixture()
def project(tmp_path):
    """A git and DVC project with the real stage `given`, and `decide` with its real dependency but a cheap command."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert "build/${key}/given.json" in stages["decide"]["do"]["deps"]
    decide = {"cmd": "cat build/${key}/given.json > build/${key}/decided.json", "outs": ["build/${key}/decided.json"]}
    decide["deps"] = ["build/${key}/given.json"]
    check = stages["check"] | {"deps": ["params.yaml"]}
    own = {"check": check, "given": stages["given"], "decide": {"foreach": "${markets}", "do": decide}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": own}))
    markets = {"tea": {"orders": {"tables": "given"}}, "milk": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"markets": markets}))
    (tmp_path / "given").mkdir()
    (tmp_path / "given/stock.csv").write_text("product_id,on_hand\np1,3\n")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        call(tmp_path, *command, check=True)
    return tmp_path


def repro(project) -> list[str]:
    env = WARM | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(["dvc", "repro"], cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [name for name in re.findall(r"Running stage '(.*?)'", done.stdout) if "@" in name]


def test_a_stock_file_that_changed_is_decided_by(project):
    assert sorted(repro(project)) == ["decide@milk", "decide@tea", "given@milk", "given@tea"]
    assert sorted(repro(project)) == ["given@milk", "given@tea"], "the control: nothing has changed"
    before = json.loads((project / "build/tea/decided.json").read_text())
    (project / "given/stock.csv").write_text("product_id,on_hand\np1,4\n")
    assert sorted(repro(project)) == ["decide@tea", "given@milk", "given@tea"]
    after = json.loads((project / "build/tea/decided.json").read_text())
    assert before.keys() == after.keys() == {"stock.csv"} and before != after
    assert json.loads((project / "build/milk/decided.json").read_text()) == {}


def test_only_tables_of_orders_count(tmp_path):
    (tmp_path / "notes.csv").write_text("a\n")
    (tmp_path / "terms.parquet").write_bytes(b"a")
    assert list(given.hashes(str(tmp_path))) == ["terms.parquet"]
    assert given.hashes(None) == {}


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"which is no folder\. Name the folder"):
        given.hashes(str(tmp_path / "nowhere"))
