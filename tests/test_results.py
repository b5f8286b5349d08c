"""Notebook 8's loader: what it reads, and what it says where something is missing."""

import json
import re
import shutil

import pandas as pd
import pytest

from shelfcast.judge.frame import forecast_frame
from shelfcast.panel.frame import examples
from shelfcast.pipeline import results

FACTS = {"plan_known": 1, "no_plan": 2}


@pytest.fixture(scope="module")
def folder(small_panel, tmp_path_factory):
    """A market's outputs, whose forecasts are twice the level at each cutoff."""
    folder = tmp_path_factory.mktemp("market")
    small_panel.save(folder / "panel")
    keys = examples(small_panel, small_panel.cutoffs["test"] + small_panel.cutoffs["latest"])
    ours = forecast_frame(keys, 2 * keys["y_level"], 0.1).assign(method="shelfcast")
    both = pd.concat([ours, ours.assign(method="lightgbm")])
    situations = [both.assign(situation=name, mean=both["mean"] * (name == "no_plan")) for name in FACTS]
    pd.concat(situations).to_parquet(folder / "forecasts.parquet")
    for name in ("metrics", "weights", "timings"):
        (folder / f"{name}.json").write_text(json.dumps(FACTS))
    (folder / "models/shelfcast").mkdir(parents=True)
    (folder / "models/shelfcast/history.csv").write_text("step,best\n1,True\n")
    (folder / "models/shelfcast/variant.json").write_text(json.dumps({"still_falling": True}))
    return folder


def test_a_markets_results(folder, small_panel):
    run = results.load(folder, "shelfcast")
    assert run.situation == small_panel.situation(small_panel.cutoffs["latest"][0])
    assert run.scores == run.weights == FACTS[run.situation] and run.timings == FACTS and len(run.history) == 1
    assert run.still_falling
    assert (run.test["mean"] > 0).all() == (run.situation == "no_plan")  # forecasts of that situation alone
    assert set(run.latest["cutoff"]) == set(small_panel.cutoffs["latest"]) and run.latest["y"].isna().all()
    assert set(run.latest["method"]) == {"shelfcast"} and set(run.test["method"]) == {"shelfcast", "lightgbm"}
    assert set(run.test["cutoff"]) == set(small_panel.cutoffs["test"]) and run.test["y"].notna().all()
    assert set(run.past["method"]) == {"shelfcast"}
    series = run.past.set_index("unique_id")
    assert (series.index == series["product_id"] + "|" + series["location"]).all()
    assert run.sold.shape == (small_panel.frame["unique_id"].nunique(), len(small_panel.weeks))
    assert run.sold.iloc[:, -1].sum() == small_panel.frame.query("ds == @small_panel.weeks[-1]")["y"].sum()


def test_weeks_before_a_launch_are_no_misses(folder, tmp_path):
    """A series without an actual has no error: its forecast must not count in the chain's total either."""
    market = shutil.copytree(folder, tmp_path / "market")
    frame = pd.read_parquet(market / "forecasts.parquet")
    unlaunched = frame["unique_id"].iloc[0]
    assert unlaunched in set(results.load(market, "shelfcast").past["unique_id"])
    frame.assign(y=frame["y"].where(frame["unique_id"] != unlaunched)).to_parquet(market / "forecasts.parquet")
    assert unlaunched not in set(results.load(market, "shelfcast").past["unique_id"])


@pytest.mark.parametrize(
    ("name", "writer"), [("forecasts.parquet", "4_evaluate"), ("models/shelfcast/history.csv", "3_finetune")]
)
def test_a_missing_file_names_the_notebook_that_writes_it(folder, name, writer):
    path = folder / name
    hidden = path.rename(path.with_suffix(".hidden"))
    try:
        with pytest.raises(FileNotFoundError, match=rf"{re.escape(str(path))} \(of notebook {writer}\)"):
            results.load(folder, "shelfcast")
    finally:
        hidden.rename(path)


def test_no_panel_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no panel"):
        results.load(tmp_path, "shelfcast")


def test_forecasts_without_the_pages_method_are_refused(folder):
    with pytest.raises(ValueError, match=r"no rows of report\.method 'small'"):
        results.load(folder, "small")


def test_a_study_that_was_not_run_is_empty(tmp_path):
    (tmp_path / "controls/results").mkdir(parents=True)
    (tmp_path / "controls/results/tea.json").write_text('{"made": {}}')
    assert results.load_study("controls", "tea", tmp_path) == {"made": {}}
    assert results.load_study("controls", "oat", tmp_path) == {}


def test_a_frame_that_no_stage_wrote_is_empty(tmp_path):
    assert results.load_frame(tmp_path / "explanations.parquet").empty
    pd.DataFrame({"units": [1.0]}).to_parquet(tmp_path / "explanations.parquet")
    assert len(results.load_frame(tmp_path / "explanations.parquet")) == 1
