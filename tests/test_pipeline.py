"""The whole pipeline, run as a person runs it, on a miniature market in a copy of the project."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import make_retailer, tables_changed_after, write_retailer

ROOT = Path(__file__).parents[1]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
ENV = os.environ | {"PATH": PATH, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # without a hub, as the pipeline must
MARKET = "soft_drinks"  # the notebooks' default, so that they also run by hand here
LINE = {"source": "tables", "tables": "tables", "category": "TEA"}


def call(folder, *command, **options):
    return subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True, **options)


def said(done):
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A fresh copy of the project with one small market, after its first `dvc repro`."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "reports/template", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "ablation/results").mkdir(parents=True)
    (folder / "ablation/results/.gitkeep").touch()
    shutil.copy(ROOT / "ablation/dvc.yaml", folder / "ablation")
    for name in ("categories", "tune"):
        (folder / name).mkdir()
        shutil.copy(ROOT / name / "dvc.yaml", folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    write_retailer(make_retailer(), folder / "tables")
    edit(folder, markets={MARKET: LINE})
    edit(folder, "panel", n_regions=2, validation_weeks=6, test_weeks=6)
    edit(folder, "prepare", n_products=6)
    edit(folder, "pretrain", source="tables", tables="tables", categories=[], layers=1, width=32)
    edit(folder, "categories", source="tables", tables="tables", n_products=6, unseen=[])
    edit(folder, "transfer", source="tables", tables="tables", n_products=6, seen=["TEA"], unseen=[], seeds=[0, 1])
    edit(folder, "transfer", histories=[1.0, 0.25], epochs=4)
    edit(folder, variants={"shelfcast": {}})
    edit(folder, "finetune", layers=1, width=32, epochs=4, seeds=[0, 1])
    edit(folder, "evaluate", baselines=["moving_average_8", "croston_sba", "lightgbm"])
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.org commit -qm start"):
        call(folder, "git", *command.split(), check=True)
    done = call(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def edit(folder, section=None, **values):
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    if section:
        params[section] |= values
    else:
        params |= values
    path.write_text(yaml.safe_dump(params))


@pytest.fixture()
def restored(project):
    """Parameters and tables as they were, whatever a test did to them."""
    yield project
    call(project, "git", "checkout", "-q", "params.yaml", "notebooks", "tables", check=True)


def test_metrics_and_forecasts(project):
    metrics = json.loads((project / f"build/{MARKET}/metrics.json").read_text())
    assert set(metrics) == {"product", "product_region"}
    names = {"wape", "wql", "rmsse", "bias", "coverage_50", "coverage_80", "coverage_95"}
    for methods in metrics.values():
        assert set(methods) == {"shelfcast", "moving_average_8", "croston_sba", "lightgbm"}
        assert all(set(scores) == names for scores in methods.values())
    frame = pd.read_parquet(project / f"build/{MARKET}/forecasts.parquet")
    assert {"unique_id", "ds", "cutoff", "horizon", "method", "mean", "dispersion", "q500", "y"} <= set(frame)
    timings = json.loads((project / f"build/{MARKET}/timings.json").read_text())
    assert set(timings) == set(metrics["product"])


def test_report_stands_alone(project):
    path = project / f"reports/{MARKET}/index.html"
    page = path.read_text()
    assert path.stat().st_size < 5e6
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", page), "the page must load nothing"
    assert (
        "@import" not in page and "Traceback" not in page and "nan" not in re.sub(r"<(script|style|img).*?>", "", page)
    )
    for words in (
        "What will sell",
        "How sure that is",
        "What stands out",
        "md5",
        'sortable">',
        "data:image/svg+xml",
    ):
        assert words in page, words
    total = pd.read_parquet(project / f"build/{MARKET}/forecasts.parquet").query("method == 'shelfcast' and y != y")
    total = total[total["unique_id"].str.endswith("|chain")]["mean"].sum()
    assert f"{total:,.0f} units" in page


def test_second_run_does_nothing(project):
    before = {p: p.stat().st_mtime_ns for p in (project / "build").rglob("*") if p.is_file()}
    done = call(project, "dvc", "repro")
    assert done.returncode == 0 and "Running stage" not in done.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (project / "build").rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def other(project):
    """What `dvc repro` said of a second market, whose tables differ from the first's in the test weeks alone.

    It is killed in its training, and started again.
    """
    weeks = pd.read_parquet(project / f"build/{MARKET}/panel/frame.parquet").dropna(subset="y")["ds"].nunique()
    write_retailer(tables_changed_after(make_retailer(), weeks - 6), project / "changed")
    edit(project, markets={MARKET: LINE, "changed": LINE | {"tables": "changed"}})
    work = project / "build/changed/checkpoints/shelfcast"
    with open(project / "killed.log", "w") as log:
        running = subprocess.Popen(
            ["dvc", "repro"], cwd=project, env=ENV, start_new_session=True, stdout=log, stderr=-2
        )
    for _ in range(12_000):  # ten minutes: a busy machine takes its time to get there
        if list(work.glob("seed_*/refit/checkpoint-*")):
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run(["pkill", "-9", "-f", f"{project}"], check=False)
    assert list(work.glob("seed_*/*/checkpoint-*")), "the kill came too late to test anything"
    assert not (project / "build/changed/models").exists(), "half a model must not be taken for one"
    logs = set(work.glob("seed_*/select/**/events*"))
    done = call(project, "dvc", "repro", "evaluate@changed", f"report@{MARKET}")
    call(project, "git", "checkout", "-q", "params.yaml", check=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not list(work.glob("seed_*/*/checkpoint-*"))
    assert logs <= set(work.glob("seed_*/select/**/events*")), "it began anew instead of going on"
    return (project / "killed.log").read_text() + done.stdout


def test_a_new_market_reruns_only_itself(other, project):
    ran = {name for name in re.findall(r"Running stage '([^']+)'", other) if name != "check"}
    assert ran == {"prepare@changed", "finetune@changed-shelfcast", "evaluate@changed"}
    assert other.count("Running stage 'prepare@changed'") == 1, "the kill must not cost the stages before it"
    assert f"Stage 'report@{MARKET}' didn't change" in other


def test_leak_no_test_week_reaches_models_or_forecasts(other, project):
    """The whole pipeline on tables whose test weeks are changed: the same weights, the same first forecasts.

    So a rerun is the same to the last digit, also one whose training was killed and went on.
    """
    folders = [project / f"build/{market}" for market in (MARKET, "changed")]
    for path in ("history.csv", "seed_0/model.safetensors", "seed_1/model.safetensors"):
        ours, theirs = ((folder / "models/shelfcast" / path).read_bytes() for folder in folders)
        assert ours == theirs
    ours, theirs = (pd.read_parquet(folder / "forecasts.parquet") for folder in folders)
    assert not ours["mean"].equals(theirs["mean"])  # later cutoffs have seen some of what differs
    ours, theirs = (frame[frame["cutoff"] == frame["cutoff"].min()] for frame in (ours, theirs))
    assert not ours["y"].equals(theirs["y"])
    pd.testing.assert_frame_equal(ours.drop(columns="y"), theirs.drop(columns="y"), check_exact=True)


def test_parameter_errors_stop_before_anything_runs(restored):
    """Unknown, mistyped and missing, all told at once."""
    edit(restored, "prepare", n_product=5)
    edit(restored, "finetune", epochs="many")
    params = yaml.safe_load((restored / "params.yaml").read_text())
    del params["finetune"]["patience"]
    (restored / "params.yaml").write_text(yaml.safe_dump(params))
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0 and "papermill" not in done.stdout
    for words in (
        "params.yaml:prepare.n_product = 5: notebooks/1_prepare.ipynb has no parameter 'n_product'",
        "params.yaml:finetune.epochs = 'many' is str: notebooks/3_finetune.ipynb wants int",
        "notebooks/3_finetune.ipynb wants 'patience: int'",
    ):
        assert words in said(done), said(done)


def test_a_name_that_cannot_be_a_folder(restored):
    edit(restored, markets={"Soft Drinks": LINE})
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0 and "papermill" not in done.stdout
    assert "'Soft Drinks' becomes a path; write small letters" in said(done)


def test_bad_category_stops_with_cell_and_reason(restored):
    markets = {MARKET: {"source": "tables", "tables": "tables", "category": "TEE"}}
    edit(restored, markets=markets)
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0
    for words in (
        "category 'TEE' does not exist",
        "nearest: TEA",
        "1_prepare.ipynb failed in cell",
        "kept for reading",
    ):
        assert words in said(done), words
    partial = json.loads((restored / f"build/{MARKET}/notebooks/1_prepare.ipynb").read_text())
    assert any(output["output_type"] == "error" for cell in partial["cells"] for output in cell.get("outputs", []))
    assert not (restored / f"build/{MARKET}/panel").exists()
    call(restored, "git", "checkout", "-q", "params.yaml")
    done = call(restored, "dvc", "repro", f"prepare@{MARKET}")  # mended: DVC's cache has the panel
    assert done.returncode == 0 and (restored / f"build/{MARKET}/panel/panel.json").exists()


def test_a_market_goes_on_from_a_base(restored):
    """And is compared with what boosted trees learned from the same categories."""
    edit(restored, "pretrain", categories=["TEA"], epochs=2)
    edit(restored, "evaluate", baselines=["lightgbm", "lightgbm_joint", "lightgbm_pair", "blend"])
    done = call(restored, "dvc", "repro", f"evaluate@{MARKET}")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert json.loads((restored / f"build/{MARKET}/models/shelfcast/variant.json").read_text())["from_base"]
    executed = (restored / f"build/{MARKET}/notebooks/3_finetune_shelfcast.ipynb").read_text()
    assert "goes on from the base of 1 categories" in executed
    metrics = json.loads((restored / f"build/{MARKET}/metrics.json").read_text())
    assert set(metrics["product"]) == {"shelfcast", "lightgbm", "lightgbm_joint", "lightgbm_pair", "blend"}
    timings = json.loads((restored / f"build/{MARKET}/timings.json").read_text())
    assert timings["lightgbm_joint"]["fit_seconds"] > 0.1

    edit(restored, "categories", bases=["build/pretrain", "build/categories/seed_1"], alone=["build/categories/seed_2"])
    done = call(restored, "dvc", "repro", "categories/dvc.yaml")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    table = pd.read_csv(restored / "categories/results/scores.csv").set_index(["level", "method"])["wql"]
    rows = {"shelfcast", "seed_0", "seed_1", "seed_2", "base", "moving_average_8", "blend"}
    assert set(table["product"].index) == rows | {"lightgbm", "lightgbm_joint", "lightgbm_pair"}
    assert table["product", "seed_0"] != table["product", "seed_1"] != table["product", "seed_2"]
    epochs = json.loads((restored / "categories/results/facts.json").read_text())["epochs"]["TEA"]
    assert len(epochs) == 3 and set(epochs.values()) <= set(range(4))
    if not any(epochs.values()):  # where each stays as it is, so does their mean
        assert table["product", "shelfcast"] == table["product", "base"]
    differences = pd.read_csv(restored / "categories/results/differences.csv")
    assert differences["low"].le(differences["estimate"]).all() and differences["of"].eq(1).all()

    transfer = pd.read_csv(restored / "categories/results/transfer.csv").set_index("level").loc["product"]
    wql = transfer.set_index(["start", "history", "seed"])["wql"]
    assert len(wql) == 1 + 3 * 2 * 3  # starts, histories, and two seeds and their mean
    assert wql["base", 1, 0] != wql["language_model", 1, 0] != wql["language_model", 0.25, 0]
    differences = pd.read_csv(restored / "categories/results/transfer_differences.csv")
    at = differences.set_index(["level", "history", "against", "metric"])["estimate"]
    for history in (0, 1, 0.25):
        ratio = wql["base", history, -1] / wql["language_model", history or 1, -1]
        assert at["product", history, "language_model", "wql"] == pytest.approx(ratio - 1, abs=1e-5)


def test_report_runs_by_hand_with_its_defaults(project, tmp_path):
    done = call(project / "notebooks", "papermill", "8_report.ipynb", str(tmp_path / "out.ipynb"), "-k", "python3")
    assert done.returncode == 0, done.stderr[-2000:]


def test_unknown_backbone_stops_before_training(restored):
    edit(restored, "finetune", backbone="no/such-model")
    start = time.perf_counter()
    done = call(restored, "dvc", "repro", "-s", f"finetune@{MARKET}-shelfcast")
    assert done.returncode != 0 and "backbone 'no/such-model' cannot be loaded" in said(done)
    assert time.perf_counter() - start < 60
    assert not (restored / f"build/{MARKET}/models/shelfcast").exists()


def test_a_market_with_known_truth(restored):
    """Simulated, prepared, forecast, judged beside the oracle, reported; nothing of the other market runs."""
    small = dict(n_products=24, n_new=4, n_stores=6, n_weeks=60, mechanism="choice", seed=3)
    edit(restored, simulations={"known": small})
    line = {"source": "simulated", "tables": "build/known/tables", "category": None}
    edit(restored, "markets", known=line)
    edit(restored, "variants", shelfcast_price_plan={"price_plan": True})
    edit(restored, "finetune", epochs=2, seeds=[0])
    edit(restored, "evaluate", baselines_beside_truth=["moving_average_8", "auto_ets", "croston_sba"])
    done = call(restored, "dvc", "repro", "report@known")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert f"build/{MARKET}" not in done.stdout
    metrics = json.loads((restored / "build/known/metrics.json").read_text())
    for methods in metrics.values():  # prices are planned here, so the variant that knows them would be no other model
        assert set(methods) == {"shelfcast", "oracle", "moving_average_8", "auto_ets", "croston_sba"}
        assert min(methods, key=lambda m: methods[m]["wql"]) == "oracle"
        assert abs(methods["oracle"]["coverage_80"] - 0.8) < 0.08
    page = (restored / "reports/known/index.html").read_text()
    assert "Nothing on this page is real" in page and "How far from the truth" in page
    assert "stores that lie together" in page and "are known to the forecast" in page
    assert "What each kind of data is worth" not in page

    ablations = {"whole": {}, "no_plan": {"blind": "plan"}, "new": {"folds": 2}}
    edit(restored, ablations=ablations, markets={"known": line})
    done = call(restored, "dvc", "repro", "ablation/dvc.yaml")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    call(restored, "python", "-m", "shelfcast.ablate", "known", check=True)
    done = call(restored, "dvc", "repro", "report@known")
    assert done.stdout.count("Running stage") == 1, done.stdout
    page = (restored / "reports/known/index.html").read_text()
    for words in (
        "most is lost with",
        "Who knows the true laws also loses",
        "Products without a history",
        "Ten most alike",
    ):
        assert words in page, words
    results = json.loads((restored / "ablation/results/known.json").read_text())
    assert set(results["new"]["product"]) == {"new", "category_mean", "nearest_by_attributes"}
    whole = pd.read_csv(restored / "build/known/ablation/whole.csv").set_index(["level", "seed"])["wql"]
    told = metrics["product"]["shelfcast"]["wql"]  # with six digits
    assert whole["product", -1] == pytest.approx(told, abs=1e-6)
