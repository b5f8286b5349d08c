"""Run a command in a process of its own, and measure the memory that it takes."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil  # comes with accelerate and DVC

ROOT = Path(__file__).resolve().parents[1]
INTERVAL = 0.25  # seconds between two measurements


def run_watched(command: list[str], log: Path) -> tuple[int, float]:
    """Run a command in the project's root, with its output in `log`.

    Returns
    -------
    Exit status, and the peak memory in MiB of the process and its children.
    """
    peak = 0.0
    with log.open("w") as out:
        process = psutil.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
    while process.poll() is None:
        memory = [_bytes(part) for part in (process, *process.children(recursive=True))]
        peak = max(peak, sum(memory) / 2**20)
        time.sleep(INTERVAL)
    return process.returncode, peak


def _bytes(process: psutil.Process) -> int:
    """Memory of a process; what several share counts once among them, where the system can say that."""
    try:
        memory = process.memory_full_info()
    except psutil.Error:  # it has just ended
        return 0
    return getattr(memory, "pss", memory.uss)
