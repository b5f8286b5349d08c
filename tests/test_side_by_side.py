"""Markets side by side: which stages are whose, and who waits for whom. That they run is in test_pipeline."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shelfcast.pipeline import side_by_side
from shelfcast.pipeline.side_by_side import Machine, Parts, parts_of, run_market, stages_of

STAGES = ["prepare", "finetune", "evaluate", "explain", "given", "stream", "decide", "report"]


def test_a_markets_own_stages_in_order():
    names = [
        "check",
        "simulate@tea",
        "prepare@tea",
        "prepare@tea_2",
        "base",
        "finetune@tea-wide",
        "finetune@tea_2-wide",
    ]
    names += ["report@tea", "report@tea_2", "index"]
    assert stages_of("tea", names) == ["prepare@tea", "finetune@tea-wide", "report@tea"]
    assert stages_of("tea_2", names) == ["prepare@tea_2", "finetune@tea_2-wide", "report@tea_2"]


def test_stages_that_only_read_forecasts_run_beside_each_other():
    parts = parts_of([f"{name}@tea" for name in STAGES])
    assert parts.train == ["prepare@tea", "finetune@tea"] and parts.evaluate == ["evaluate@tea"]
    assert parts.beside == [["given@tea", "decide@tea"], ["stream@tea"], ["explain@tea"]]
    assert parts.after == ["report@tea"]


def test_stages_of_somebodys_own_keep_their_place():
    alone = ["prepare@tea", "evaluate@tea"]
    assert parts_of(alone) == Parts([], alone, [], [])
    between = ["evaluate@tea", "explain@tea", "mine@tea", "decide@tea"]
    assert parts_of(between) == Parts([], between, [], [])
    last = ["finetune@tea-a", "finetune@tea-b", "evaluate@tea", "explain@tea", "decide@tea", "mine@tea"]
    assert parts_of(last) == Parts(last[:2], last[2:3], [["decide@tea"], ["explain@tea"]], ["mine@tea"])


@pytest.fixture()
def calls(tmp_path, monkeypatch):
    """What is reproduced, in order, in an empty project; a stage `finetune` writes a model unless its market is 'old'."""
    monkeypatch.chdir(tmp_path)
    done = []

    def repro(stages, threads):
        for stage in stages:
            kind, market = stage.split("@")
            if kind == "finetune" and market != "old":
                model = tmp_path / f"build/{market}/models/shelfcast/variant.json"
                model.parent.mkdir(parents=True)
                model.write_text("{}")
        done.append(list(stages))
        return "bad@tea" not in stages

    monkeypatch.setattr(side_by_side, "repro", repro)
    return done


def test_little_to_do_takes_two_calls(calls):
    assert run_market("old", [f"{name}@old" for name in STAGES], Machine(2, 2))
    assert [len(stages) for stages in calls] == [2, 6]


def test_after_a_training_groups_are_calls_of_their_own(calls):
    assert run_market("tea", [f"{name}@tea" for name in STAGES], Machine(2, 2))
    assert calls[:2] == [["prepare@tea", "finetune@tea"], ["evaluate@tea"]]
    assert sorted(calls[2:5]) == [["explain@tea"], ["given@tea", "decide@tea"], ["stream@tea"]]
    assert calls[5:] == [["report@tea"]]


def test_nothing_runs_after_a_failure(calls):
    assert not run_market("tea", ["bad@tea", "finetune@tea", "evaluate@tea"], Machine(2, 2))
    assert len(calls) == 1


def test_what_follows_a_training_waits_for_the_others(calls):
    machine, finished = Machine(2, 2), threading.Event()

    def follow():
        run_market("tea", [f"{name}@tea" for name in STAGES], machine)
        finished.set()

    with machine.training():
        threading.Thread(target=follow, daemon=True).start()
        assert not finished.wait(0.3)
        assert calls == [["prepare@tea", "finetune@tea"]]
    assert finished.wait(10) and calls[-1] == ["report@tea"]


def test_a_failed_training_keeps_nobody_waiting():
    machine = Machine(2, 2)
    with pytest.raises(OSError), machine.training():
        raise OSError
    machine.wait_for_trainings()


def test_no_more_groups_at_a_time_than_cores(monkeypatch):
    running, most, lock = 0, [], threading.Lock()

    def repro(stages, threads):
        nonlocal running
        assert threads == 1
        with lock:
            running += 1
            most.append(running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return stages != ["bad"]

    monkeypatch.setattr(side_by_side, "repro", repro)
    machine = Machine(2, 2)
    with ThreadPoolExecutor(2) as markets:
        well = list(markets.map(machine.beside, [[["a"], ["b"], ["c"]], [["d"], ["bad"], ["f"]]]))
    assert well == [True, False] and len(most) == 6 and max(most) == 2


@pytest.mark.parametrize(("given", "wanted"), [(None, "3"), ("7", "7")])
def test_processes_share_the_cores_unless_the_user_says_otherwise(monkeypatch, given, wanted):
    called = []
    monkeypatch.setattr(side_by_side.subprocess, "call", lambda command, env: called.append((command[-1], env)) or 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert Machine(6, 2).repro(["prepare@tea"]) and Machine(6, 1).beside([["explain@tea"], ["stream@tea"]])
    assert sorted((stage, env["OMP_NUM_THREADS"]) for stage, env in called) == [
        ("explain@tea", wanted),
        ("prepare@tea", wanted),
        ("stream@tea", wanted),
    ]
