"""Each study, run as a person runs it, on miniature categories in a copy of the project."""

import ast
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from projects import ROOT, call, copy_project, edit, message
from small_retailer import make_retailer, write_retailer

from shelfcast import methods, settings
from shelfcast.data.files import folder_md5
from shelfcast.data.tables import load_each
from shelfcast.judge.frame import SCHEMA
from shelfcast.methods import article
from shelfcast.methods.dispersion import Predict
from shelfcast.methods.trees import boosting
from shelfcast.model.tensors import load_tokenizer
from shelfcast.panel.build import build
from shelfcast.training.base import facts, new_model, save_base
from shelfcast.training.base.join import join
from shelfcast.validate import read_yaml
from studies.ablation import ablation
from studies.categories import joint_trees
from studies.controls import controls

CATEGORIES = ["TEA", "MATE", "OAT MILK"]  # the last is unseen
STUDIES = sorted(path.parent.name for path in ROOT.glob("studies/*/dvc.yaml"))


# ---------------------------------------------------------------- what holds without running them


def stages(study: str) -> dict:
    return {
        name: stage.get("do", stage)
        for name, stage in yaml.safe_load((ROOT / "studies" / study / "dvc.yaml").read_text())["stages"].items()
    }


@pytest.mark.parametrize("study", STUDIES)
def test_no_study_is_a_part_of_the_pipeline(study):
    """Nothing that the pipeline depends on is the output of a study, else `dvc repro` would run it."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    deps = {str(dep) for stage in pipeline for dep in stage.get("do", stage)["deps"]}
    for stage in stages(study).values():
        for out in stage["outs"]:
            path = out if isinstance(out, str) else next(iter(out))
            assert not any(f"{path}/".startswith(f"{dep}/") for dep in deps), path


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_at_the_root_with_its_own_parameters(study):
    folder = ROOT / "studies" / study
    for stage in stages(study).values():
        assert stage["wdir"] == "../.."
    own, product = read_yaml(folder / "params.yaml"), {kind.__name__.lower() for kind in settings.SECTIONS.values()}
    assert own and not set(own) & product, "the product's parameters are never repeated"
    for stage in stages(study).values():
        check_command(stage["cmd"])
    for path in re.findall(r"(?<!build/)studies/[\w/]+\.(?:py|ipynb)", (folder / "dvc.yaml").read_text()):
        assert (ROOT / path).exists(), path


def check_command(command: str) -> None:
    """A notebook declares the parameters that it is given, and overrides are YAML."""
    if not command.startswith("papermill"):
        return
    cells = nbformat.read(ROOT / command.split()[1], 4).cells
    declared = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    for name in re.findall(r" -p (\w+) ", command):
        assert f"{name}: " in declared, name
    for text in re.findall(r' -y "(.*)"', command):
        given = yaml.safe_load(text.replace("${item}", "1"))
        settings.load(overrides=given["overrides"], path=ROOT / "params.yaml")


# ---------------------------------------------------------------- a miniature project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with one small market and an (untrained) base of two categories."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    write_retailer(three_categories(), folder / "tables")
    line = {"source": "tables", "tables": "tables", "category": "TEA"}
    edit(folder, markets={"tea": line}, variants={"shelfcast": {}}, simulations={})
    edit(folder, "prepare", n_products=5, n_regions=2, validation_weeks=6, test_weeks=6)
    base = {
        "source": "tables",
        "tables": "tables",
        "n_products": 5,
        "layers": 1,
        "width": 32,
        "steps": 4,
        "judge_steps": 2,
    }
    edit(folder, "base", **base, categories=["TEA", "MATE"])
    edit(folder, "finetune", layers=1, width=32, steps=4, judge_steps=2, seeds=[0, 1], warm_start={"steps": 2})
    for study in STUDIES:
        shutil.rmtree(folder / "studies" / study / "results")
    make_base(folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def three_categories() -> dict[str, pd.DataFrame]:
    """The small retailer and another one's products in the same stores: eight products in each category."""
    one, other = make_retailer(seed=0), make_retailer(seed=1)
    for table in other.values():
        table["product_id"] = table["product_id"].str.replace("p", "q")
    raw = {name: pd.concat([table, other[name]], ignore_index=True) for name, table in one.items()}
    raw["transactions"] = raw["transactions"].sort_values("timestamp", ignore_index=True)
    raw["products"]["category"] = [name for name in CATEGORIES for _ in range(8)]
    return raw


def make_base(folder: Path) -> None:
    """models/base and the market's panel, built in this process, which takes less time than notebooks 1 and 2."""
    own = settings.load("tea", path=folder / "params.yaml")
    md5 = folder_md5(folder / "tables")
    tables = load_each("tables", folder / "tables", own.base.categories)
    panels = [
        build(each, own.prepare, {"category": name, "data_md5": md5})
        for name, each in zip(own.base.categories, tables, strict=True)
    ]
    panels[0].save(folder / "build/tea/panel")
    market = join(panels, load_tokenizer("minilm"))
    models = {phase: new_model(own.base, market)(phase).eval() for phase in ("select", "refit")}
    shutil.rmtree(folder / "models/base")
    save_base(folder / "models/base", models, facts(market, panels[0], own.base, md5))
    save_pipeline_forecasts(folder / "build/tea", panels[0])


def save_pipeline_forecasts(folder: Path, panel) -> None:
    """What notebooks 3 and 4 leave of `shelfcast`, by a moving average."""
    predict = methods.METHODS["moving_average_8"](panel, 0)
    (folder / "models/shelfcast").mkdir(parents=True)
    validation, test = (predict(panel.cutoffs[part]).assign(situation="plan_known") for part in ("validation", "test"))
    validation.to_parquet(folder / "models/shelfcast/validation.parquet")
    test.assign(method="shelfcast").to_parquet(folder / "forecasts.parquet")


def edit_study(folder: Path, study: str, **values) -> None:
    path = folder / "studies" / study / "params.yaml"
    path.write_text(yaml.safe_dump(read_yaml(path) | values))


@pytest.fixture()
def here(project, monkeypatch):
    """The project, with this process in its root, and trees that grow for a few rounds."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        boosting, "COMMON_SETTINGS", boosting.COMMON_SETTINGS | {"min_data_in_leaf": 20, "num_threads": 1}
    )
    monkeypatch.setattr(boosting, "MAX_ROUNDS", 20)
    monkeypatch.setenv("SHELFCAST_PIPELINE", "1")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # no other process to start, which takes longer than the training
    return project


def run_notebook(path: str, **parameters) -> None:
    """Run a notebook's cells in this process, which takes less time than to start another; what it shows is rendered."""
    names = {"display": render}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            run_cell(cell.source, names)
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters


def run_cell(source: str, names: dict) -> None:
    *statements, last = ast.parse(source).body
    is_value = isinstance(last, ast.Expr)
    exec(compile(ast.Module(statements if is_value else [*statements, last], []), "cell", "exec"), names)
    if is_value:
        render(eval(compile(ast.Expression(last.value), "cell", "eval"), names))


def render(*values) -> None:
    for value in values:
        (value._repr_html_ if hasattr(value, "_repr_html_") else value.__repr__)()


# ---------------------------------------------------------------- the studies


@pytest.mark.slow
def test_an_ablation_by_dvc(project):
    """As `make ablate` runs it, here of one ablation."""
    target = "studies/ablation/dvc.yaml:ablate@tea-no_text"
    done = call(project, "dvc", "repro", "--single-item", target)
    assert done.returncode == 0, message(done)[-4000:]
    scores = pd.read_csv(project / "build/studies/ablation/tea/no_text.csv")
    assert set(scores["ablation"]) == {"no_text"} and scores["wql"].between(0, 3).all()
    assert set(scores["seed"]) == {-1, 0, 1} and set(scores["level"]) == {"product", "product_region"}
    assert not list((project / "build/studies/ablation/tea").rglob("checkpoint-*"))
    again = call(project, "dvc", "repro", "--single-item", target)
    assert again.returncode == 0 and "papermill" not in again.stdout, "an unchanged ablation must not run again"


@pytest.mark.slow
def test_ablation_of_new_products(here):
    edit_study(here, "ablation", ablations={"new": {"folds": 2}, "no_picture": {"removed": "picture"}})
    for name in ("new", "no_picture"):
        run_notebook("studies/ablation/ablation.ipynb", market="tea", ablation=name)
    scores = pd.read_csv("build/studies/ablation/tea/new.csv")
    assert set(scores["method"]) == {"shelfcast", "category_mean", "nearest_by_attributes"}
    assert set(scores.loc[scores["method"] == "shelfcast", "seed"]) == {-1, 0, 1}
    assert pd.read_csv("build/studies/ablation/tea/no_picture.csv").empty  # the market has no pictures
    results = json.loads(ablation.collect("tea").read_text())
    assert {"new", "category_mean", "nearest_by_attributes"} == set(results["new"]["product"])
    assert results["made"]["new"]["panel_md5"] == folder_md5("build/tea/panel")


@pytest.mark.slow
def test_categories(here):
    """The joint trees and the comparison; of two bases, which are the same one here."""
    other = "build/studies/categories/seed_1"
    shutil.copytree("models/base", other)
    edit_study(here, "categories", bases=["models/base", other], n_joint=2, unseen=["OAT MILK"], min_points=10)
    assert joint_trees.fit().categories == ["TEA", "MATE"]
    run_notebook("studies/categories/categories.ipynb")
    results = here / "studies/categories/results"
    scores, against = pd.read_csv(results / "scores.csv"), {"lightgbm", "lightgbm_joint", "lightgbm_pair"}
    assert set(scores["method"]) == {"shelfcast", "base", "blend", "moving_average_8", "seed_0", "seed_1"} | against
    assert set(scores.loc[~scores["seen"], "category"]) == {"OAT MILK"}
    differences = pd.read_csv(results / "differences.csv")
    assert set(differences["against"]) == against and differences["estimate"].between(-1, 2).all()
    assert set(pd.read_csv(results / "calibration.csv")["by"]) == {"all", "decile", "promoted", "horizon"}
    steps = json.loads((results / "facts.json").read_text())["steps"]
    assert set(steps) == set(CATEGORIES) and {e for row in steps.values() for e in row.values()} <= {0, 2}
    assert not Path("build/studies/categories/finished").exists()


@pytest.mark.slow
def test_transfer(here):
    edit_study(here, "transfer", seen=["TEA"], unseen=["OAT MILK"], histories=[1.0], n_products=5)
    run_notebook("studies/transfer/transfer.ipynb", overrides={"finetune": {"seeds": [0]}})
    results = here / "studies/transfer/results"
    scores = pd.read_csv(results / "transfer.csv")
    assert set(scores["start"]) == {"base", "language_model", "random_weights"}
    assert set(scores.loc[scores["history"] == 0, "start"]) == {"base"}
    differences = pd.read_csv(results / "transfer_differences.csv")
    assert set(differences["against"]) == {"language_model", "random_weights"} and set(differences["of"]) == {1}
    assert len(json.loads((results / "transfer.json").read_text())["steps"]) == 2 * 3


@pytest.mark.slow
def test_tune_from_panel_to_proposal(here, capsys):
    """A second run trains nothing and writes the same."""
    ranges = {"from_backbone": {"learning_rate": [1e-7, 1e-2], "compact_layers": [1, 2]}}
    edit_study(here, "tune", trials=2, fresh_seeds=[1], candidates=1, ranges=ranges)
    alone, results, outputs = {"finetune": {"from_base": False, "seeds": [0]}}, [], []
    for _ in range(2):
        run_notebook("studies/tune/tune.ipynb", market="tea", overrides=alone)
        files = [here / f"studies/tune/results/tea_shelfcast.{ending}" for ending in ("yaml", "diff")]
        results.append([path.read_text() for path in files])
        outputs.append(capsys.readouterr().out)
    assert results[0] == results[1]
    assert "0 trials of" in outputs[0] and "2 trials of" in outputs[1]
    written = yaml.safe_load(results[0][0])
    assert len(written["trials"]) == 2 and written["present"]["learning_rate"] == 0.002 and not written["from_base"]
    assert bool(results[0][1]) == bool(written["proposed"])


@pytest.mark.slow
def test_controls(here, monkeypatch):
    monkeypatch.setitem(controls.PEERS, "article_bert", partial(article.article_bert, n_train=64, n_dispersion=1))
    few = {"alone": {"from_base": False, "steps": 2, "seeds": [0]}}
    few["shelfcast_price_plan"] = few["alone"] | {"price_plan": True}
    edit_study(here, "controls", controls=few)
    edit_study(here, "categories", n_joint=2)
    joint_trees.fit()

    def finished(folder: Path, _panel) -> Predict:
        frames = [
            pd.read_parquet(folder / name) for name in ("models/shelfcast/validation.parquet", "forecasts.parquet")
        ]
        return controls.by_cutoff(frames[0], frames[1].drop(columns=["method", "situation"]))

    monkeypatch.setattr(controls, "pipeline_predict", finished)  # no trained model stands here
    run_notebook("studies/controls/controls.ipynb", market="tea")
    forecasts = pd.read_parquet("build/studies/controls/tea/forecasts.parquet")
    expected = {*few, "lightgbm_price_plan", "article_bert", "lightgbm_joint", "lightgbm_pair", "blend"}
    assert set(forecasts["method"]) == expected
    for _, rows in forecasts.groupby("method"):
        SCHEMA.validate(rows.drop(columns="method").reset_index(drop=True))
    results = json.loads(controls.write("tea").read_text())
    for level in ("product", "product_region"):
        assert set(results["scores"][level]) == expected | {"shelfcast"}
        assert set(results["differences"][level]) == expected
    assert results["made"]["seeds"] == [0, 1]
