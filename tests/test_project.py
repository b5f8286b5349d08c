"""What the project says of itself: environment, notebooks, stages and documents agree."""

import ast
import functools
import importlib.util
import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("studies/*/*.ipynb")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [Requirement(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
LOCK = dict(re.findall(r"^([a-zA-Z0-9._-]+)(?:\[.*?\])?==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_conda_installs_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.11", "pip", {"pip": ["-c requirements.lock", "-e .[dev]"]}]
    assert "3.11" in PROJECT["requires-python"]


@pytest.mark.parametrize("requirement", WANTED, ids=lambda r: r.name)
def test_lock_and_environment_hold_every_requirement(requirement):
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


def parameters(path):
    cells = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1
    return cells[0].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameters_are_an_interface(path):
    """`papermill --help-notebook` reads one typed parameter a line, with a comment behind it."""
    lines = parameters(path).splitlines()
    assert len(lines) == len(ast.parse("\n".join(lines)).body)
    for line in lines:
        assert re.match(r"\w+: [^=]+ = [^#]+  # \w", line), line
        assert "=" not in line.split("  # ")[1], line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_take_names_and_overrides_and_read_the_rest_from_settings(path):
    names = {line.target.id for line in ast.parse(parameters(path)).body}
    assert "overrides" in names
    assert names <= {"market", "variant", "overrides", "folder", "ablation"}, path


def stages():
    for path in [ROOT / "dvc.yaml", *ROOT.glob("studies/*/dvc.yaml")]:
        for name, stage in yaml.safe_load(path.read_text())["stages"].items():
            yield f"{path.parent.name}/{name}", stage.get("do", stage)


@functools.cache
def module_imports():
    return load(ROOT / "docs/structure.py").module_imports()


def packages_of(source, imports):
    """Packages of src that a source needs: of the modules it imports, and of those that these import."""
    names = set(re.findall(r"(?:from|import) shelfcast\.([\w.]+)", source))
    for base, parts in re.findall(r"from shelfcast\.?([\w.]*) import ([^\n(]+)", source):
        names |= {f"{base}.{part.split(' as ')[0].strip()}".lstrip(".") for part in parts.split(",")}
    found, todo = set(), names & imports.keys()
    while todo:
        found |= todo
        todo = set().union(*(imports.get(module, set()) for module in todo)) - found
    return {module.split(".")[0] for module in found}


@pytest.mark.parametrize(("name", "stage"), list(stages()), ids=lambda x: x if isinstance(x, str) else "")
def test_a_stage_depends_on_the_packages_that_compute_its_outputs(name, stage):
    """A stage that misses a package would not rerun when that package changes."""
    notebook = re.search(r"[\w/]+\.ipynb", stage["cmd"])
    if not notebook:
        return
    cells = nbformat.read(ROOT / notebook[0], 4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    needed = packages_of(source, module_imports())
    # how a notebook starts and collects; parameters stand in `params`; words are English but where stages name languages
    needed -= {
        "language",
        "pipeline",
        "settings",
        "validate",
        "decision_options",
        "frequency",
        "live_options",
        "model_options",
        "reading_options",
        "scale_options",
        "word_options",
    }
    deps = [str(dep) for dep in stage["deps"]]
    if any(dep.endswith("/panel") and not dep.startswith("src/") for dep in deps):
        needed -= {"data", "panel"}  # behind the panel, which is itself a dependency
    if "8_report" not in notebook[0]:
        needed -= {"report"}  # a picture in an executed notebook is no output
    if "8_report" in notebook[0]:
        needed -= {"judge", "model", "methods", "training", "market"}  # behind the forecasts and scores
    listed = {Path(dep).name for dep in deps if dep.startswith("src/shelfcast/") and not dep.endswith(".py")}
    assert needed <= listed, f"{name} lacks {needed - listed}"


def test_readme_opens_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "make run" in text[:1200] and "make test" in text[:1200]
    assert len(text.splitlines()) <= 150


def test_design_is_short():
    assert len((ROOT / "docs/design.md").read_text().splitlines()) <= 150


def test_documents_quote_published_results():
    filler = load(ROOT / "docs/fill.py")
    for path in filler.documents():
        text = path.read_text()
        assert filler.fill(text) == text, f"{path.relative_to(ROOT)}: run `python docs/fill.py --only`"


def test_links_between_documents_lead_somewhere():
    for path in [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("studies/*/README.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]:
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.relative_to(ROOT)} links to {link}"


def test_published_results_are_whole():
    for market in ("soft_drinks", "simulated"):
        scores = json.loads((ROOT / f"docs/results/{market}/metrics.json").read_text())
        assert set(scores) == {"plan_known", "no_plan"}
        for levels in scores.values():
            assert set(levels) == {"product", "product_region"}
            assert all({"ensemble", "shelfcast"} <= set(methods) for methods in levels.values())


def test_the_base_has_its_provenance():
    facts = json.loads((ROOT / "models/base/base.json").read_text())
    for name in ("data_md5", "revision", "settings", "versions", "validation_wql", "encoder_md5"):
        assert facts[name], name
    size = sum(path.stat().st_size for path in (ROOT / "models/base").rglob("*") if path.is_file())
    assert size < 16e6, "the encoder is carried by a package, not by git"
