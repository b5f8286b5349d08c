"""Work in partitions: one part a partition, whatever runs it, and nothing lost or doubled where it is killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from shelfcast.scale.engine import parts
from shelfcast.scale.engine.parts import Job, finish, read_manifest, read_parts
from shelfcast.scale.engine.run import run
from shelfcast.scale_options import Scale
from shelfcast.settings import SettingsError
from shelfcast.validate import build

ROOT = Path(__file__).parents[1]


def squares(start: int, stop: int, log: str = "", seconds: float = 0.0) -> pd.DataFrame:
    """The squares of some numbers; every call is a line of the log."""
    if log:
        with open(log, "a") as file:
            file.write(f"{start}\n")
    time.sleep(seconds)
    n = np.arange(start, stop)
    return pd.DataFrame({"n": n, "square": n**2})


def job_of(folder, size: int, n: int = 12, **more) -> Job:
    tasks = {f"{i:03d}": {"start": i, "stop": min(i + size, n), **more} for i in range(0, n, size)}
    return Job(Path(folder), squares, tasks, {"inputs": "a"})


def calls(log: Path) -> list[str]:
    return log.read_text().split()


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (5, 1), (12, 1), (5, 2)])
def test_any_partitioning_gives_the_same(tmp_path, size, workers):
    run(job_of(tmp_path, size), Scale(workers=workers))
    frame = read_parts(tmp_path)
    assert frame["n"].tolist() == list(range(12))
    assert frame["square"].tolist() == [i * i for i in range(12)]


def test_finished_partitions_are_not_done_again(tmp_path):
    log = tmp_path / "log"
    job = job_of(tmp_path / "parts", 4, log=str(log))
    run(job)
    run(job)
    assert calls(log) == ["0", "4", "8"]
    job.path("004").unlink()
    with pytest.raises(ValueError, match="part-004"):
        read_manifest(job.folder)
    run(job)
    assert calls(log) == ["0", "4", "8", "4"]


@pytest.mark.parametrize("change", ["inputs", "arguments", "code"])
def test_other_inputs_settings_or_code_are_done_again(tmp_path, monkeypatch, change):
    log = tmp_path / "log"
    job = job_of(tmp_path / "parts", 6, log=str(log))
    run(job)
    if change == "inputs":
        job = Job(job.folder, job.work, job.tasks, {"inputs": "b"})
    elif change == "arguments":
        job = job_of(job.folder, 6, log=str(log), seconds=0.001)
    else:
        monkeypatch.setattr(parts, "code_md5", lambda: "other")
        with pytest.raises(ValueError, match=r"changed while the job ran"):
            job.path("000").unlink()
            job.do("000")
        job = job_of(job.folder, 6, log=str(log))
    run(job)
    assert calls(log) == ["0", "6"] * 2


def test_parts_of_another_partitioning_are_taken_away(tmp_path):
    run(job_of(tmp_path, 3))
    (tmp_path / "notes.txt").write_text("of somebody else")
    run(job_of(tmp_path, 6))
    assert len(read_parts(tmp_path)) == 12
    assert len(list(tmp_path.glob("part-*"))) == 2
    assert (tmp_path / "notes.txt").exists()


def test_a_manifest_is_complete_or_there_is_none(tmp_path):
    job = job_of(tmp_path, 4)
    job.do("000")
    with pytest.raises(ValueError, match="not complete"):
        read_parts(tmp_path)
    with pytest.raises(ValueError, match="lacks 2 of 3 parts"):
        finish(job)
    run(job)
    pq.write_table(pq.read_table(job.path("004")).slice(0, 1), job.path("004"))
    with pytest.raises(ValueError, match="not the part"):
        read_parts(tmp_path)


def test_a_job_that_changed_leaves_no_old_manifest_behind(tmp_path):
    run(job_of(tmp_path, 4))

    def stop(**arguments):
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        run(Job(tmp_path, stop, job_of(tmp_path, 6).tasks))
    with pytest.raises(ValueError, match="not complete"):
        read_parts(tmp_path)


def test_two_attempts_at_once_write_one_part(tmp_path):
    """A worker that was taken for dead may still write: its attempt and the second one do not meet."""
    job = job_of(tmp_path, 12, seconds=0.5)
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'tests')!r}, {str(ROOT / 'src')!r}]\n"
        "from test_scale import job_of\n"
        f"print(job_of({str(tmp_path)!r}, 12, seconds=0.5).do('000'))"
    )
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate(timeout=60)[0].strip() for process in both}
    assert digests == {job.digest("000")}
    assert [path.name for path in tmp_path.iterdir()] == ["part-000.parquet"]


def test_an_attempt_that_fails_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="partition 007: arange"):
        Job(tmp_path, squares, {"007": {"start": 0, "stop": float("nan")}}).do("007")
    monkeypatch.setattr(parts.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
    with pytest.raises(OSError, match="full"):
        job_of(tmp_path, 12).do("000")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ["dask", "dask://", "dask://host", "tcp://host:8786", "spark", "dask://a b:1"])
def test_an_engine_that_is_none(engine):
    with pytest.raises(SettingsError, match="dask://host:port"):
        build(Scale, {"engine": engine}, "params.yaml: scale")


def test_a_cluster_that_does_not_answer_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at 127\.0\.0\.1:9 .*dask scheduler.*local"):
        run(job_of(tmp_path, 4), Scale(engine="dask://127.0.0.1:9", wait=1.0))
    assert not list(tmp_path.iterdir())


def die(start: int, stop: int) -> pd.DataFrame:
    """As a process that the system kills while it works on the second partition."""
    if start:
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(start, stop)


def test_a_killed_process_of_this_machine_is_told_and_made_good(tmp_path):
    job = job_of(tmp_path, 6)
    with pytest.raises(ValueError, match=r"was killed.*finished partitions are kept"):
        run(Job(tmp_path, die, job.tasks), Scale(workers=2))
    with pytest.raises(ValueError, match="not complete"):
        read_parts(tmp_path)
    run(job)
    assert read_parts(tmp_path)["n"].tolist() == list(range(12))


def test_nothing_to_do_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing to do"):
        run(Job(tmp_path, squares, {}))


def test_progress_is_shown_on_a_terminal_alone(tmp_path, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    run(job_of(tmp_path / "quiet", 4))
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    job_of(tmp_path / "seen", 4).do("000")
    run(job_of(tmp_path / "seen", 4))
    assert "3/3" in terminal.getvalue() and "seen" in terminal.getvalue()


def test_files_of_others_stay(tmp_path):
    pd.DataFrame({"n": [1]}).to_parquet(tmp_path / "part-mine.parquet")
    run(job_of(tmp_path, 6))
    assert (tmp_path / "part-mine.parquet").exists()
    assert len(read_parts(tmp_path)) == 12


def test_parts_tell_the_seconds_of_their_work(tmp_path):
    run(job_of(tmp_path, 6, seconds=0.05))
    wall, processor = parts.read_seconds(tmp_path)["all"]
    assert 0.1 <= wall < 5
    assert processor < wall


def test_the_manifest_tells_rows_and_bytes(tmp_path):
    manifest = run(job_of(tmp_path, 5))
    facts = json.loads(manifest.read_text())
    assert [part["rows"] for part in facts["parts"].values()] == [5, 5, 2]
    assert read_manifest(tmp_path) == facts["parts"]
