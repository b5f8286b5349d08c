"""The whole pipeline, run as a person runs it, on a miniature market in a copy of the project."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil  # comes with accelerate and DVC
import pytest
from browser import CHROMIUM, chromium, faults, opened
from languages import english_words
from projects import ENV, call, copy_project, edit, message, on_cores
from small_retailer import make_retailer, tables_changed_after, write_retailer

from shelfcast.panel.frame import Panel

MARKET = "soft_drinks"  # the notebooks' default, so that they also run by hand here
LINE = {"source": "tables", "tables": "tables", "category": "TEA"}
PEERS = ["moving_average_8", "croston_sba", "lightgbm"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A fresh copy of the project with one small market, after its first `dvc repro`."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    write_retailer(make_retailer(), folder / "tables")
    edit(folder, markets={MARKET: LINE}, variants={"shelfcast": {}})
    edit(folder, "prepare", n_products=6, n_regions=2, validation_weeks=6, test_weeks=6)
    edit(folder, "base", source="tables", tables="tables", categories=[], layers=1, width=32)
    edit(folder, "finetune", layers=1, width=32, steps=8, judge_steps=2, seeds=[0, 1])
    edit(folder, "evaluate", methods=PEERS)
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.org commit -qm start"):
        call(folder, "git", *command.split(), check=True)
    done = call(folder, "dvc", "repro")
    assert done.returncode == 0, message(done)[-4000:]
    return folder


@pytest.fixture()
def restored(project):
    """Parameters, tables and stages as they were, whatever a test did to them."""
    yield project
    call(project, "git", "checkout", "-q", "params.yaml", "dvc.yaml", "notebooks", "tables", "models", check=True)


def test_metrics_and_forecasts(project):
    metrics = json.loads((project / f"build/{MARKET}/metrics.json").read_text())
    assert set(metrics) == {"plan_known", "no_plan"}
    names = {"wape", "wql", "rmsse", "bias", "coverage_50", "coverage_80", "coverage_95"}
    for levels in metrics.values():
        assert set(levels) == {"product", "product_region"}
        for methods in levels.values():
            assert set(methods) == {"ensemble", "shelfcast", *PEERS}
            assert all(set(scores) == names for scores in methods.values())
    weights = json.loads((project / f"build/{MARKET}/weights.json").read_text())
    assert all(abs(sum(own.values()) - 1) < 1e-9 for levels in weights.values() for own in levels.values())
    frame = pd.read_parquet(project / f"build/{MARKET}/forecasts.parquet")
    assert {"unique_id", "ds", "cutoff", "horizon", "method", "mean", "dispersion", "q500", "y", "situation"} <= set(
        frame
    )
    timings = json.loads((project / f"build/{MARKET}/timings.json").read_text())
    assert set(timings) == {"shelfcast", *PEERS}


def test_the_shipped_base_is_refused_for_other_tables(project):
    executed = (project / f"build/{MARKET}/notebooks/3_finetune_shelfcast.ipynb").read_text()
    assert "The base does not fit this market: it was trained on other tables" in executed
    assert not json.loads((project / f"build/{MARKET}/models/shelfcast/variant.json").read_text())["from_base"]


def test_report_stands_alone(project):
    path = project / f"reports/{MARKET}/index.html"
    page = path.read_text()
    assert path.stat().st_size < 5e6
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", page), "the page must load nothing"
    assert "@import" not in page and "Traceback" not in page
    assert "nan" not in re.sub(r"<(script|style|img|a download).*?>", "", page)
    for words in ("What will sell", "How sure that is", "What stands out", "md5", 'sortable">', "data:image/svg+xml"):
        assert words in page, words
    total = pd.read_parquet(project / f"build/{MARKET}/forecasts.parquet").query("method == 'ensemble' and y != y")
    panel = Panel.load(project / f"build/{MARKET}/panel")
    total = total[total["situation"] == panel.situation(panel.cutoffs["latest"][0])]
    total = total[total["unique_id"].str.endswith("|chain")]["mean"].sum()
    assert f"{total:,.0f} units" in page
    titles = ["What to order", "What to promote", "What not to trust", "What changed since the last run", "Downloads"]
    assert [title for title in re.findall(r'<a href="#[^"]*">([^<]*)</a>', page) if title in titles] == titles
    assert "Who buys what next" not in page, "a handful of shoppers makes no groups"
    assert set(re.findall(r'<a download="([^"]*)"', page)) == {
        f"{MARKET}{end}" for end in (".xlsx", "_forecasts.csv", "_orders.csv", "_promotions.csv")
    }


def test_decisions_are_metrics_and_the_index_leads_to_the_page(project):
    decided = json.loads((project / f"build/{MARKET}/decisions.json").read_text())
    assert decided["orders"]["product_region"]["lead_1"]["cost"] > 0
    assert decided["promotions"]["promotions"] >= 0 and "no recommendations" in decided["recommendations"]["lack"]
    shown = call(project, "dvc", "metrics", "show", "--json", f"build/{MARKET}/decisions.json", check=True)
    assert '"money"' in shown.stdout
    index = (project / "reports/index.html").read_text()
    assert f'<a href="{MARKET}/index.html">' in index
    assert len(pd.read_parquet(project / f"build/{MARKET}/recommendations.parquet")) == 0


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: install Debian's chromium")
def test_report_in_a_browser(project):
    path = project / f"reports/{MARKET}/index.html"
    with chromium() as running:
        assert faults(running, path) == []
        with opened(running, path, 1200) as (page, _):
            for link in page.locator("a[download]").all():
                with page.expect_download() as waiting:
                    link.click()
                assert waiting.value.path().stat().st_size > 0, waiting.value.suggested_filename


def test_second_run_does_nothing(project):
    """But for looking whether a table of stock or terms has changed."""

    def written():
        files = [p for p in (project / "build").rglob("*") if p.is_file() and p.name != "given.json"]
        return {p: p.stat().st_mtime_ns for p in files}

    before = written()
    done = call(project, "dvc", "repro")
    assert done.returncode == 0 and re.findall(r"Running stage '(.*?)'", done.stdout) == [f"given@{MARKET}"]
    assert before == written()


def test_a_run_leaves_gits_tree_clean(project):
    """Everything generated is ignored; dvc.lock, which records this machine's run, is put away by `make run`."""
    changed = call(project, "git", "status", "--porcelain", check=True).stdout.splitlines()
    assert [line for line in changed if "dvc.lock" not in line] == []
    recipe = (project / "Makefile").read_text().split("\nrun:")[1].split("\n\n")[0]
    assert "shelfcast.pipeline.own_lock python -m shelfcast.pipeline.side_by_side" in recipe  # see test_own_lock


def test_a_simulated_market_in_chinese(restored):
    """Simulated, prepared, forecast, judged beside the oracle, reported in Chinese; nothing of the other market runs."""
    small = dict(n_products=24, n_new=4, n_stores=6, n_weeks=60, mechanism="choice", seed=3)
    line = {
        "source": "simulated",
        "tables": "build/known/tables",
        "finetune": {"steps": 4, "judge_steps": 2, "seeds": [0]},
        "evaluate": {"methods": ["moving_average_8"]},
        "report": {"language": "zh"},
    }
    edit(restored, simulations={"known": small}, markets={MARKET: LINE, "known": line})
    done = call(restored, "dvc", "repro", "report@known")
    assert done.returncode == 0, message(done)[-4000:]
    assert f"build/{MARKET}" not in done.stdout
    done = call(restored, "python", "-m", "shelfcast.pipeline.side_by_side", env=on_cores(2))
    assert done.returncode == 0, message(done)[-4000:]
    assert "build/known/notebooks" not in done.stdout, "it was done"
    index = (restored / "reports/index.html").read_text()
    assert all(f'href="{name}/index.html"' in index for name in (MARKET, "known"))
    metrics = json.loads((restored / "build/known/metrics.json").read_text())
    for methods in metrics["plan_known"].values():
        assert set(methods) == {"ensemble", "shelfcast", "oracle", "moving_average_8"}
        assert min(methods, key=lambda m: methods[m]["wql"]) == "oracle"
        assert abs(methods["oracle"]["coverage_80"] - 0.8) < 0.08
    path = restored / "reports/known/index.html"
    page = path.read_text()
    assert '<html lang="zh-Hans">' in page and "本页没有任何真实内容" in page
    texts = " ".join(pd.read_parquet(restored / "build/known/panel/products.parquet")["text"])
    assert english_words(page.rpartition(">本页的来源")[0], f"{texts} known simulated") == set()
    if CHROMIUM.exists():
        with chromium() as running:
            assert faults(running, path) == []


@pytest.fixture(scope="module")
def other(project):
    """What `dvc repro` prints for a second market, whose tables differ from the first's in the test weeks alone.

    It is killed in its training, and started again.
    """
    weeks = pd.read_parquet(project / f"build/{MARKET}/panel/frame.parquet").dropna(subset="y")["ds"].nunique()
    write_retailer(tables_changed_after(make_retailer(), weeks - 6), project / "changed")
    edit(project, markets={MARKET: LINE, "changed": LINE | {"tables": "changed"}})
    work = project / "build/changed/checkpoints/shelfcast"
    log = start_and_kill(project, lambda: list(work.glob("seed_*/refit/checkpoint-*")))
    assert list(work.glob("seed_*/*/checkpoint-*")), "the kill came too late to test anything"
    assert not (project / "build/changed/models").exists(), "half a model must not be taken for one"
    events = set(work.glob("seed_*/select/**/events*"))
    done = call(project, "dvc", "repro", "evaluate@changed", f"report@{MARKET}")
    call(project, "git", "checkout", "-q", "params.yaml", check=True)
    assert done.returncode == 0, message(done)[-4000:]
    assert not list(work.glob("seed_*/*/checkpoint-*"))
    assert events <= set(work.glob("seed_*/select/**/events*")), "it began anew instead of going on"
    return log + done.stdout


def start_and_kill(folder, is_time):
    """Start `dvc repro`, kill it and all its processes once `is_time()`, and return what it printed.

    Seeds are trained side by side, where the first market's and those that go on may be trained one after the other.
    """
    path = folder / "killed.log"
    with open(path, "w") as log:
        how = {"env": on_cores(2), "start_new_session": True, "stdout": log, "stderr": subprocess.STDOUT}
        running = subprocess.Popen(["dvc", "repro"], cwd=folder, **how)
    for _ in range(12_000):  # ten minutes: a busy machine takes its time to get there
        if is_time():
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    for process in psutil.process_iter(["cwd"]):  # kernels and trainings have sessions of their own
        if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(folder):
            process.kill()
    return path.read_text()


def test_a_new_market_reruns_only_itself(other, project):
    """`given` only looks for tables of stock, whenever DVC gets to it."""
    ran = {
        name for name in re.findall(r"Running stage '([^']+)'", other) if name.split("@")[0] not in ("check", "given")
    }
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
    edit(restored, "prepare", n_product=5)
    edit(restored, "report", n_fans="many")
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0 and "papermill" not in done.stdout
    assert "prepare: no parameter 'n_product'; the nearest name is 'n_products'" in message(done)
    call(restored, "git", "checkout", "-q", "params.yaml")
    edit(restored, "report", n_fans="many")
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0 and "report: n_fans is 'many'" in message(done)


def test_a_name_that_cannot_be_a_folder(restored):
    edit(restored, markets={"Soft Drinks": LINE})
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0 and "papermill" not in done.stdout
    assert "'Soft Drinks' becomes a path. Write small letters" in message(done)


def test_bad_category_stops_with_cell_and_reason(restored):
    edit(restored, markets={MARKET: LINE | {"category": "TEE"}})
    done = call(restored, "dvc", "repro")
    assert done.returncode != 0
    for words in ("'TEE' does not exist", "nearest: TEA", "1_prepare.ipynb failed in cell", "written for reading"):
        assert words in message(done), words
    partial = json.loads((restored / f"build/{MARKET}/notebooks/1_prepare.ipynb").read_text())
    outputs = [output for cell in partial["cells"] for output in cell.get("outputs", [])]
    assert any(output["output_type"] == "error" for output in outputs)
    assert not (restored / f"build/{MARKET}/panel").exists()
    call(restored, "git", "checkout", "-q", "params.yaml")
    done = call(restored, "dvc", "repro", f"prepare@{MARKET}")  # mended: DVC's cache has the panel
    assert done.returncode == 0 and (restored / f"build/{MARKET}/panel/panel.json").exists()


def test_unknown_backbone_stops_before_training(restored):
    edit(restored, "finetune", backbone="no/such-model")
    done = call(restored, "dvc", "repro", "-s", f"finetune@{MARKET}-shelfcast")
    assert done.returncode != 0 and "backbone 'no/such-model' cannot be loaded" in message(done)
    assert not (restored / f"build/{MARKET}/models/shelfcast").exists()


def test_report_runs_by_hand_with_its_defaults(project, tmp_path):
    """By a new Python, which has imported nothing."""
    call(project, "dvc", "checkout", "-q")
    command = ["papermill", "8_report.ipynb", str(tmp_path / "out.ipynb"), "-k", "python3"]
    done = call(project / "notebooks", *command, env=ENV)
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_experiment_changes_a_parameter_by_name(restored):
    call(restored, "git", "add", "-f", "dvc.lock", check=True)
    call(restored, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "run", check=True)
    done = call(restored, "dvc", "exp", "run", "--name", "one-fan", "-S", "report.n_fans=1", f"report@{MARKET}")
    assert done.returncode == 0, message(done)[-4000:]
    assert "Running stage 'report" in done.stdout and "Running stage 'finetune" not in done.stdout
    shown = call(restored, "dvc", "exp", "show", "--md", "--no-pager", check=True).stdout
    assert "one-fan" in shown and "shelfcast.wql" in shown


def test_a_market_starts_from_a_base_of_its_own_tables(restored):
    """As `make base` trains it: the frozen stage is thawed, run, and frozen again."""
    edit(restored, "base", categories=["TEA"], steps=4, judge_steps=2, n_products=6)
    stages = restored / "dvc.yaml"
    frozen = stages.read_text()
    assert frozen.count("frozen: true") == 1
    stages.write_text(frozen.replace("frozen: true", "frozen: false"))
    done = call(restored, "dvc", "repro", "--single-item", "--force", "base")
    stages.write_text(frozen)
    assert done.returncode == 0, message(done)[-4000:]
    assert set(json.loads((restored / "models/base/base.json").read_text())["categories"]) == {"TEA"}
    done = call(restored, "dvc", "repro", f"finetune@{MARKET}-shelfcast")
    assert done.returncode == 0, message(done)[-4000:]
    assert json.loads((restored / f"build/{MARKET}/models/shelfcast/variant.json").read_text())["from_base"]
    executed = (restored / f"build/{MARKET}/notebooks/3_finetune_shelfcast.ipynb").read_text()
    assert "Training starts from the base of 1 categories" in executed


def test_a_market_that_fails_is_named_and_the_others_run(restored):
    """Side by side, one market's error stops no other."""
    edit(restored, markets={MARKET: LINE, "lost": LINE | {"tables": "nowhere"}})
    done = call(restored, "python", "-m", "shelfcast.pipeline.side_by_side", env=on_cores(2))
    assert done.returncode != 0
    assert "error: lost failed, see above" in message(done)
    assert "nowhere" in message(done)
    assert call(restored, "dvc", "status", f"report@{MARKET}").stdout.strip() == "Data and pipelines are up to date."
