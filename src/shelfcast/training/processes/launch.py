"""Start the processes of a phase, wait for them, and return what came of it or raise what went wrong.

A notebook cannot become one of several processes itself, so it writes the phase to a folder, and processes started by
torchrun's elastic agent read it there. What is a function of a notebook is written by cloudpickle, as joblib does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import cloudpickle
import joblib
import torch

PHASE, MARKETS, RESULT, LOG = "phase.pkl", "markets.joblib", "result.pkl", "log.txt"  # files of a job
FAILURES = "failures.json"  # [[rank, exit code], …], by the agent
END_SECONDS = 30  # for processes to end that are told to


def error_file(job: Path, rank: int) -> Path:
    """Where a process writes when and by which exception it ended."""
    return job / f"error_{rank}.pkl"


def check_processes(n_processes: int, batch: int) -> None:
    """Raise a ValueError where a step cannot be shared among so many processes.

    Parameters
    ----------
    batch : products in a step.
    """
    if n_processes > batch:
        raise ValueError(
            f"finetune.processes is {n_processes}, and a step has {batch} product{'s' if batch > 1 else ''}: a process "
            "would have nothing to do. Lower finetune.processes or raise batch_weeks."
        )
    if torch.cuda.is_available() and n_processes > (n_gpus := torch.cuda.device_count()):
        raise ValueError(
            f"finetune.processes is {n_processes}, and this machine has {n_gpus} GPU{'s' if n_gpus > 1 else ''}. "
            "Each process needs one of its own; lower finetune.processes."
        )


def on_processes(phase, seed: int, folder: Path, checkpoint: str | None):
    """What `phase.run_here(seed, folder, checkpoint)` returns in the first of `phase.training.processes` processes.

    Raises
    ------
    ValueError : see `check_processes`. Whatever a process raised. RuntimeError : a process was ended from outside.
    """
    n_processes = phase.training.processes
    check_processes(n_processes, phase.batch)
    job = folder / f"{phase.name}_processes"
    shutil.rmtree(job, ignore_errors=True)
    job.mkdir(parents=True)
    joblib.dump((phase.train, phase.validation), job / MARKETS)  # arrays that all processes map into their memory
    phase = replace(phase, train=None, validation=None)
    (job / PHASE).write_bytes(cloudpickle.dumps((phase, seed, folder, checkpoint)))
    status = _run_agent(job, n_processes)
    if status or not (job / RESULT).exists():
        raise _error(job, n_processes, status)
    result = cloudpickle.loads((job / RESULT).read_bytes())
    shutil.rmtree(job)
    return result


def end_with_the_notebook() -> None:
    """End this process when the one that started the job ends or gives it up: then the pipe to all of them is closed."""

    def wait() -> None:
        os.read(0, 1)  # nothing is ever written
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _run_agent(job: Path, n_processes: int) -> int:
    """Run the agent and return its exit status; nothing of the job outlives this call."""
    threads = max(1, joblib.cpu_count() // n_processes)
    paths = os.pathsep.join(path for path in sys.path if path)  # where this process finds modules
    env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "shelfcast.training.processes.agent", str(job), str(n_processes)]
    with (job / LOG).open("w") as log:
        agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env)
        try:
            return agent.wait()
        finally:
            agent.stdin.close()  # the agent and all processes end with it
            try:
                agent.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                agent.kill()


def _error(job: Path, n_processes: int, status: int) -> BaseException:
    """What ended a job: a process that was killed, else the first exception, else the agent itself."""
    failures = json.loads((job / FAILURES).read_text()) if (job / FAILURES).exists() else []
    killed = [(rank, signal.Signals(-code).name) for rank, code in failures if code < 0]
    killed = [(rank, name) for rank, name in killed if name != "SIGTERM"]  # by which the agent ends the others
    errors = [cloudpickle.loads(path.read_bytes()) for path in job.glob("error_*.pkl")]
    if errors and not killed:
        return min(errors, key=lambda error: error[0])[1]  # others fail because the first one did
    what = f"the processes stopped with exit status {status}"
    if killed:
        rank, name = killed[0]
        why = ", as the system does where memory runs out" if name == "SIGKILL" else ""
        what = f"process {rank} of {n_processes} (counted from 0) was ended by {name}{why}"
    return RuntimeError(
        f"training ended: {what}. The log is {job / LOG}; the same call continues from the last checkpoint."
    )
