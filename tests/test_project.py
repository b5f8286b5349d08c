"""What the project says of itself: environment, notebooks, parameters and documents agree."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
LOCK = dict(re.findall(r"^([a-zA-Z0-9._-]+)(?:\[.*?\])?==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M))


def test_conda_door_names_nothing_itself():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.11", "pip", {"pip": ["-c requirements.lock", "-e .[dev]"]}]
    assert "3.11" in PROJECT["requires-python"]


@pytest.mark.parametrize("requirement", WANTED, ids=lambda r: r.name)
def test_lock_and_environment_hold_what_is_asked_for(requirement):
    locked = LOCK[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(locked), f"{requirement} but the lock has {locked}: run `make lock`"
    assert version(requirement.name).split("+")[0] == locked, "installed differs from the lock: run `make setup`"


def test_torch_is_exact_and_the_lock_names_no_address():
    assert LOCK["torch"] == "2.13.0"
    assert "://" not in re.sub(r"^#.*$", "", (ROOT / "requirements.lock").read_text(), flags=re.M)


@pytest.mark.parametrize("requirement", WANTED, ids=lambda r: r.name)
def test_every_dependency_is_justified(requirement):
    assert f"`{requirement.name}`" in (ROOT / "docs/design.md").read_text().split("## Dependencies")[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stored_clean(path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    assert set(book.metadata) <= {"kernelspec", "language_info"}
    for cell in book.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert len(cell.source.splitlines()) <= 45


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameters_are_an_interface(path):
    cells = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1
    lines = cells[0].source.splitlines()
    starts = {node.lineno for node in ast.parse(cells[0].source).body}
    for number in starts:
        assert re.match(r"\w+: [^=]+ = ", lines[number - 1]), lines[number - 1]
    helped = [line for line in lines if "  # " in line]
    assert len(helped) == len(starts), "each parameter has a comment behind it that `papermill --help-notebook` shows"
    assert all(line.split("  # ")[1].count("=") == 0 for line in helped)


def test_notebooks_run_by_hand_as_the_pipeline_runs_them():
    """Defaults in the notebooks are the values of params.yaml for the first market and its main model."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    market, line = next(iter(params["markets"].items()))
    sections = {
        "1_prepare": params["panel"] | params["prepare"] | line,
        "2_pretrain": params["panel"] | params["pretrain"],
        "3_finetune": params["finetune"] | params["go_on"],
        "4_evaluate": params["evaluate"],
    }
    sections["8_report"] = params["report"]
    sections["categories"] = params["panel"] | params["go_on"] | params["categories"]
    sections["transfer"] = params["panel"] | params["go_on"] | params["transfer"]
    assert all(params["finetune"].get(name, value) == value for name, value in params["transfer"].items())
    sections["ablate"] = params["finetune"] | params["ablate"] | {"variant": "whole"}
    tune = params["tune"]
    sections["tune"] = params["finetune"] | params["go_on"] | params["variants"][tune["variant"]] | tune
    for path in NOTEBOOKS:
        cell = next(c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", []))
        defaults = {n.target.id: ast.literal_eval(n.value) for n in ast.parse(cell.source).body}
        names = {
            "2_pretrain": {},
            "categories": {},
            "transfer": {},
            "3_finetune": {"market": market, "variant": "shelfcast"},
        }
        assert defaults == sections[path.stem] | names.get(path.stem, {"market": market}), path.stem


def test_parameters_agree_everywhere(tmp_path):
    command = [sys.executable, "-m", "shelfcast.strict", str(tmp_path / "checked")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_module_is_a_dependency_of_the_stages_that_import_it():
    """A stage that misses a module would not rerun when that module changes."""
    stages = {}
    for path in [ROOT / "dvc.yaml", ROOT / "categories/dvc.yaml", ROOT / "tune/dvc.yaml"]:
        stages |= yaml.safe_load(path.read_text())["stages"]
    imports = {p.stem: used(p.read_text()) for p in (ROOT / "src/shelfcast").glob("*.py")}
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        notebook = re.search(r"notebooks/(\w+)\.ipynb", stage["cmd"])
        if not notebook:
            continue
        source = "\n".join(
            c.source
            for c in nbformat.read(ROOT / "notebooks" / f"{notebook[1]}.ipynb", 4).cells
            if c.cell_type == "code"
        )
        needed, todo = set(), used(source)
        while todo:
            needed |= todo
            todo = set().union(*(imports[m] for m in todo)) - needed
        if notebook[1] not in (
            "1_prepare",
            "2_pretrain",
            "categories",
            "transfer",
        ):  # behind the panel, which is itself a dependency
            needed -= {"features", "regions", "schema"}
        if notebook[1] != "8_report":  # a picture in an executed notebook is no output
            needed -= {"plots"}
        listed = {Path(dep).stem for dep in stage["deps"] if str(dep).startswith("src/")}
        assert listed == needed, f"stage {name}"


def used(source: str) -> set[str]:
    found = re.findall(r"from shelfcast\.(\w+) import", source)
    for names in re.findall(r"from shelfcast import ([^\n]+)", source):
        found += [part.split(" as ")[0].strip() for part in names.split(",")]
    return set(found)


def test_readme_opens_with_the_two_commands():
    top = (ROOT / "README.md").read_text()[:1200]
    assert "make run" in top and "make test" in top and "minutes" in top


def test_documents_say_what_the_pipeline_measured():
    spec = importlib.util.spec_from_file_location("fill", ROOT / "docs/fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    for name in fill.FILES:
        text = (ROOT / name).read_text()
        assert fill.fill(text, keep=("minutes", "commands")) == text, f"{name}: run `make docs`"


def test_source_stays_small():
    lines = {p.stem: len(p.read_text().splitlines()) for p in (ROOT / "src/shelfcast").glob("*.py")}
    assert max(lines.values()) <= 400, lines


def test_metrics_in_git_are_whole():
    for path in ROOT.glob("build/*/metrics.json"):
        assert set(json.loads(path.read_text())) == {"product", "product_region"}
