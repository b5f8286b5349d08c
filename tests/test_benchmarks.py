"""The benchmark's peers see nothing of the future, are scored as the evaluation scores, and fail one at a time."""

import contextlib
import dataclasses
import importlib.util
import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from projects import PYTHON
from small_retailer import changed_after

from benchmarks import events, methods, peers, processes
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.metrics import metrics_dict
from shelfcast.live.store.store import Store
from shelfcast.methods import forecast_test_weeks

CHEAP = ["moving_average_8", "croston_sba"]


@pytest.fixture()
def folders(small_panel, tmp_path):
    """Where the market `tea` has a panel, and where results go."""
    small_panel.save(tmp_path / "build/tea/panel")
    return {"build": tmp_path / "build", "results": tmp_path / "results"}


def call(folders, *arguments):
    peers.main([*arguments, "--build", str(folders["build"]), "--results", str(folders["results"])])


def inputs(panel, cutoff):
    """What a peer reads at a cutoff."""
    rows, static, columns = methods.frames(panel)
    return methods.history(rows, cutoff), methods.future(rows, cutoff, panel), static, columns


def test_leak_peers_read_nothing_after_a_cutoff_but_known_future_columns(small_panel):
    cutoff = small_panel.cutoffs["test"][1]
    history, future, static, columns = inputs(small_panel, cutoff)
    assert history["ds"].max() == cutoff and {"y", *columns["past"]} <= set(history)
    assert set(future) == {"unique_id", "ds", *small_panel.roles["known_future"]}
    weeks = [cutoff + pd.Timedelta(weeks=h) for h in range(1, small_panel.meta["horizon"] + 1)]
    assert sorted(future["ds"].unique()) == weeks and len(future) == len(weeks) * len(static)
    assert not {*columns["past"], *small_panel.roles["price_plan"]} & set(columns["known_future"])
    changed = inputs(changed_after(small_panel, cutoff), cutoff)
    for before, after in zip((history, future, static), changed[:3], strict=True):
        pd.testing.assert_frame_equal(before, after)


def test_columns_in_units_become_logs(small_panel):
    rows, _, columns = methods.frames(small_panel)
    raw = small_panel.frame.sort_values(["unique_id", "ds"], ignore_index=True)
    assert "lag_0" in small_panel.in_units and "lag_0" in columns["past"]
    np.testing.assert_allclose(rows["lag_0"], np.log1p(raw["lag_0"].fillna(0)))


def test_weeks_before_a_launch_are_no_history(small_panel):
    frame = small_panel.frame.copy()
    first = frame["ds"].min()
    frame.loc[(frame["ds"] == first) & (frame["product_id"] == frame["product_id"].iloc[0]), "y"] = np.nan
    rows, *_ = methods.frames(dataclasses.replace(small_panel, frame=frame))
    starts = methods.history(rows, small_panel.meta["train_end"]).groupby("unique_id")["ds"].min()
    assert (starts > first).sum() == len(small_panel.locations)


@pytest.mark.parametrize(
    ("peer", "package"), [("lightgbm_mlforecast", "mlforecast"), ("nhits", "neuralforecast"), ("tft", "neuralforecast")]
)
def test_leak_later_weeks_change_no_fit_and_no_forecast(peer, package, small_panel, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.setattr(methods, "STEPS", 3)
    first = small_panel.cutoffs["test"][0]
    forecasts = []
    for panel in (small_panel, changed_after(small_panel, first)):
        panel = dataclasses.replace(panel, cutoffs=panel.cutoffs | {"test": [first]})
        frame = methods.PEERS[peer][0](panel, tmp_path, methods.Clock())
        forecasts.append(frame.sort_values(["unique_id", "ds"])[["mean", *QUANTILE_COLUMNS]].to_numpy(float))
    assert len(forecasts[0]) == small_panel.meta["horizon"] * small_panel.frame["unique_id"].nunique()
    np.testing.assert_array_equal(*forecasts)


def test_unknown_peers_markets_and_a_missing_extra_stop_before_anything_runs(folders, monkeypatch):
    monkeypatch.setattr(peers, "run_watched", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit, match=r"there are no peers nhitz. Choose of .*nhits"):
        call(folders, "tea", "nhitz")
    with pytest.raises(SystemExit, match=r"coffee holds no panel. Run `dvc repro prepare@coffee`"):
        call(folders, "coffee", *CHEAP)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "neuralforecast" else find(name))
    with pytest.raises(SystemExit, match=r"neuralforecast cannot be imported. Run pip install .*\[bench\]"):
        call(folders, "tea", *CHEAP, "tft")
    assert not folders["results"].exists()


def test_cheap_peers_have_the_scores_of_the_evaluation(folders, small_panel):
    call(folders, "tea", *CHEAP)
    table = pd.read_csv(folders["results"] / "tea.csv").set_index("peer")
    assert ["peer", *table] == peers.FIELDS and set(table.index) == set(CHEAP)
    assert table["error"].isna().all()
    scores = metrics_dict(forecast_test_weeks(small_panel, CHEAP)[0], small_panel.frame)
    for level, name in peers.LEVELS.items():
        for metric in ("wql", "wape"):
            for peer in CHEAP:
                assert table.loc[peer, f"{metric}_{name}"] == pytest.approx(scores[level][peer][metric], abs=1e-4)
    series = small_panel.frame["unique_id"].nunique()
    assert (table["forecasts"] == series * len(small_panel.cutoffs["test"])).all()
    spent = table[["fit_seconds", "forecast_seconds", "seconds_per_1000", "forecasts_per_second", "peak_mib"]]
    assert (spent > 0).all(axis=None) and (table["cores"] <= peers.CORES).all()
    assert (folders["results"] / "tea.png").read_bytes().startswith(b"\x89PNG")


def test_a_peer_that_fails_is_named_and_the_others_stay(folders, monkeypatch, capsys):
    figures = {name: 0.5 for name in peers.FIELDS[3:14]}

    def run_watched(command, log):
        peer, _, out = command[-3:]
        log.write_text("Traceback …\nValueError: too few weeks")
        if peer != "nhits":
            Path(out).write_text(json.dumps(figures))
        return int(peer == "nhits"), 1.0

    monkeypatch.setattr(peers, "run_watched", run_watched)
    monkeypatch.setattr(peers, "check", lambda *_: None)
    monkeypatch.setattr(peers, "version", lambda _: "1")
    with pytest.raises(SystemExit, match="nhits failed"):
        call(folders, "tea", "nhits", "fracast")
    assert "nhits: FAILED: ValueError: too few weeks" in capsys.readouterr().out
    call(folders, "tea", "auto_ets")  # a later run replaces its own rows alone
    table = pd.read_csv(folders["results"] / "tea.csv").set_index("peer")
    assert set(table.index) == {"nhits", "fracast", "auto_ets"}
    assert table["error"].to_dict()["nhits"] == "ValueError: too few weeks" and table["wql_chain"].notna().sum() == 2


def test_missing_forecasts_are_an_error(small_panel):
    frame = methods.own_method("moving_average_8", small_panel, Path(), methods.Clock())
    with pytest.raises(ValueError, match=r"1 of .* forecasts are missing"):
        peers.score(frame.iloc[1:], small_panel)


def test_memory_is_that_of_a_process_and_its_children(tmp_path):
    child = "import time; x = bytearray(150 << 20); time.sleep(2)"
    parent = f"import subprocess, sys; subprocess.run([{PYTHON!r}, '-c', {child!r}]); sys.exit(3)"
    status, peak = processes.run_watched([PYTHON, "-c", parent], tmp_path / "log")
    assert status == 3 and 150 < peak < 300


def test_the_store_and_plain_inserts_write_the_same_events(tmp_path):
    url, plain = f"sqlite:///{tmp_path}/events.sqlite", tmp_path / "plain.sqlite"
    with events.plain_sqlite(plain) as add:
        rows = list(events.measure("sqlite", url, add, [1, 7], 20, 2))
    assert [row["batch"] for row in rows] == [1, 7] and all(row["events"] == 20 for row in rows)
    for row in rows:
        assert row["store_events_a_second"] > 0 and row["plain_events_a_second"] > 0 and row["ratio"] > 0
    with contextlib.closing(sqlite3.connect(plain)) as connection:
        bodies = [body for (body,) in connection.execute("SELECT body FROM plain ORDER BY number")]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert bodies == Store(url).bodies("sale") and len(bodies) == 2 * 2 * 20, "two sizes, two rounds"
