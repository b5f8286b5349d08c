"""The benchmark's peers are told nothing of the future, judged as the evaluation judges, and fail one at a time."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import changed_after

from shelfcast.methods import baselines
from shelfcast.judge.metrics import metrics_dict

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import methods
import peers

CHEAP = ["moving_average_8", "croston_sba"]


@pytest.fixture()
def market(small_panel, tmp_path):
    """Where `tea` has a panel, and where results go."""
    small_panel.save(tmp_path / "build/tea/panel")
    return {"build": tmp_path / "build", "results": tmp_path / "results"}


def call(market, *arguments):
    peers.main([*arguments, "--build", str(market["build"]), "--results", str(market["results"])])


def handed(panel, cutoff):
    rows, static, columns = methods.frames(panel)
    return methods.until(rows, cutoff), methods.plan(rows, cutoff, panel), static, columns


def test_peers_are_told_nothing_of_the_weeks_after_a_cutoff_but_the_plan(small_panel):
    cutoff = small_panel.cutoffs["test"][1]
    seen, plan, static, columns = handed(small_panel, cutoff)
    assert seen["ds"].max() == cutoff and {"y", *columns["past"]} <= set(seen)
    assert set(plan) == {"unique_id", "ds", *small_panel.roles["known_future"]}
    weeks = [cutoff + pd.Timedelta(weeks=h) for h in range(1, small_panel.meta["horizon"] + 1)]
    assert sorted(plan["ds"].unique()) == weeks and len(plan) == len(weeks) * len(static)
    assert not {*columns["past"], *small_panel.roles["price_plan"]} & set(columns["known"])
    other = handed(changed_after(small_panel, cutoff), cutoff)
    for mine, theirs in zip((seen, plan, static), other[:3], strict=True):
        pd.testing.assert_frame_equal(mine, theirs)


def test_weeks_before_a_launch_are_no_history(small_panel):
    frame = small_panel.frame.copy()
    first = frame["ds"].min()
    frame.loc[(frame["ds"] == first) & (frame["product_id"] == frame["product_id"].iloc[0]), "y"] = np.nan
    rows, *_ = methods.frames(dataclasses.replace(small_panel, frame=frame))
    started = methods.until(rows, small_panel.meta["train_end"]).groupby("unique_id")["ds"].min()
    assert (started > first).sum() == len(small_panel.locations)


@pytest.mark.parametrize(
    ("peer", "package"), [("lightgbm_mlforecast", "mlforecast"), ("nhits", "neuralforecast"), ("tft", "neuralforecast")]
)
def test_fits_and_forecasts_know_nothing_later(peer, package, small_panel, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.setattr(methods, "STEPS", 3)
    first = small_panel.cutoffs["test"][0]
    found = []
    for panel in (small_panel, changed_after(small_panel, first)):
        panel = dataclasses.replace(panel, cutoffs=panel.cutoffs | {"test": [first]})
        frame = methods.PEERS[peer][0](panel, tmp_path, methods.Clock())
        found.append(frame.sort_values(["unique_id", "ds"])[["mean", *methods.COLUMNS]].to_numpy(float))
    assert len(found[0]) == small_panel.meta["horizon"] * small_panel.frame["unique_id"].nunique()
    np.testing.assert_array_equal(*found)


def test_unknown_peers_markets_and_a_missing_extra_are_said_before_anything_runs(market, monkeypatch):
    def nothing(*_):
        raise AssertionError("it ran")

    monkeypatch.setattr(peers, "watched", nothing)
    with pytest.raises(SystemExit, match=r"unknown peers nhitz; known: .*nhits"):
        call(market, "tea", "nhitz")
    with pytest.raises(SystemExit, match=r"coffee holds no panel. Run `dvc repro prepare@coffee`"):
        call(market, "coffee", *CHEAP)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "neuralforecast" else found(name))
    with pytest.raises(SystemExit, match=r"neuralforecast cannot be imported. Run pip install .*\[bench\]"):
        call(market, "tea", *CHEAP, "tft")
    assert not market["results"].exists()


def test_cheap_peers_write_scores_of_the_evaluation_and_what_they_took(market, small_panel):
    call(market, "tea", *CHEAP)
    table = pd.read_csv(market["results"] / "tea.csv").set_index("peer")
    assert ["peer", *table] == peers.FIELDS and set(table.index) == set(CHEAP)
    assert table["error"].isna().all()
    known = metrics_dict(baselines.run(small_panel, CHEAP)[0], small_panel.frame)
    for level, name in peers.LEVELS.items():
        for score in ("wql", "wape"):
            for peer in CHEAP:
                assert table.loc[peer, f"{score}_{name}"] == pytest.approx(known[level][peer][score], abs=1e-4)
    series = small_panel.frame["unique_id"].nunique()
    assert (table["forecasts"] == series * len(small_panel.cutoffs["test"])).all()
    spent = table[["fit_seconds", "forecast_seconds", "seconds_per_1000", "forecasts_per_second", "peak_mib"]]
    assert (spent > 0).all(axis=None) and (table["cores"] <= peers.CORES).all()
    assert (market["results"] / "tea.png").read_bytes().startswith(b"\x89PNG")


def test_a_peer_that_fails_is_said_to_and_the_others_stay(market, monkeypatch, capsys):
    scores = {name: 0.5 for name in peers.FIELDS[3:14]}

    def watched(command, log):
        _, peer, _, out = command[2:]
        log.write_text("Traceback …\nValueError: too few weeks")
        if peer != "nhits":
            Path(out).write_text(json.dumps(scores))
        return int(peer == "nhits"), 1.0

    monkeypatch.setattr(peers, "watched", watched)
    monkeypatch.setattr(peers, "check", lambda *_: None)
    monkeypatch.setattr(peers, "version", lambda _: "1")
    with pytest.raises(SystemExit, match="nhits failed"):
        call(market, "tea", "nhits", "fracast")
    assert "nhits: FAILED: ValueError: too few weeks" in capsys.readouterr().out
    call(market, "tea", "auto_ets")  # a later run replaces its own rows alone
    table = pd.read_csv(market["results"] / "tea.csv").set_index("peer")
    assert set(table.index) == {"nhits", "fracast", "auto_ets"}
    assert table["error"].to_dict()["nhits"] == "ValueError: too few weeks" and table["wql_chain"].notna().sum() == 2


def test_forecasts_that_are_left_out_are_an_error(small_panel):
    frame = methods.ours("moving_average_8", small_panel, Path(), methods.Clock())
    with pytest.raises(ValueError, match=r"1 of .* forecasts are missing"):
        peers.judged(frame.iloc[1:], small_panel)


def test_memory_is_that_of_a_process_and_its_children(tmp_path):
    child = "import time; x = bytearray(150 << 20); time.sleep(2)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); sys.exit(3)"
    status, peak = peers.watched([sys.executable, "-c", parent], tmp_path / "log")
    assert status == 3 and 150 < peak < 300
