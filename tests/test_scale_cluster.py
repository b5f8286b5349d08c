"""Work in partitions on real processes: a LocalCluster, and a scheduler and workers that were started apart."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from test_scale import calls, job_of

from shelfcast.scale.engine.parts import read_parts
from shelfcast.scale.engine.run import run
from shelfcast.scale_options import Scale

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
WAIT = 60.0  # seconds; starting a process on a busy machine takes a while


def environment() -> dict[str, str]:
    """Of workers: they find this code, and the work of these tests."""
    paths = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def dask(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dask", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment(), **quiet)


def start_worker(address: str) -> subprocess.Popen:
    return dask("worker", f"tcp://{address}", "--no-nanny", "--nthreads", "1", "--no-dashboard")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """host:port of a scheduler in a process of its own."""
    address = f"127.0.0.1:{free_port()}"
    process = dask("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard")
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                break
        time.sleep(0.2)
    yield address
    process.terminate()
    process.wait(WAIT)


def test_a_scheduler_without_workers_is_an_error(scheduler, tmp_path):
    with pytest.raises(ValueError, match=r"has no workers .*dask worker"):
        run(job_of(tmp_path, 4), Scale(engine=f"dask://{scheduler}", wait=1.0))


def test_a_killed_worker_loses_and_doubles_nothing(scheduler, tmp_path):
    """Of two workers without a nanny, one is killed in the middle of its task: the other one does what is left."""
    log, folder = tmp_path / "log", tmp_path / "parts"
    workers = [start_worker(scheduler) for _ in range(2)]
    with Client(f"tcp://{scheduler}", timeout=WAIT, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=WAIT)
    job = job_of(folder, 1, log=str(log), seconds=0.4)
    failed = []

    def work() -> None:
        try:
            run(job, Scale(engine=f"dask://{scheduler}", wait=WAIT))
        except Exception as error:  # a thread's own errors would pass in silence
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and (not log.exists() or len(calls(log)) < 4):
        time.sleep(0.02)
    os.kill(workers[0].pid, signal.SIGKILL)
    thread.join(WAIT)
    workers[1].kill()
    assert workers[0].wait(WAIT) == -signal.SIGKILL
    workers[1].wait(WAIT)
    assert not thread.is_alive() and not failed
    frame = read_parts(folder)
    assert frame["n"].tolist() == list(range(12))
    assert frame["square"].tolist() == [i * i for i in range(12)]
    started = calls(log)
    assert set(started) == {str(i) for i in range(12)}
    assert len(started) > 12  # what the killed worker had begun was begun again: the kill did hit a task
    assert len(list(folder.glob("part-*"))) == 12
    assert not list(folder.glob(".tmp-*"))


def test_a_local_cluster_gives_what_this_process_gives(tmp_path, monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    run(job_of(tmp_path / "here", 5))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        engine = cluster.scheduler_address.replace("tcp://", "dask://")
        run(job_of(tmp_path / "there", 3), Scale(engine=engine, wait=WAIT))
    assert read_parts(tmp_path / "there").equals(read_parts(tmp_path / "here"))
