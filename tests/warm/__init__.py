"""Commands in processes that have imported the project's libraries already.

A notebook of a miniature market spends eight of its ten seconds on imports. So tests start `dvc`, `papermill`, the
kernels of notebooks and `python` as forks of one process that has imported everything (`server.py`), by small
programs of the same names (`client.py`) that pass on arguments, folder, environment, open files and signals. All else
is as without: processes of their own, one for each command, notebook and seed. Pytest's workers are such forks, too.

What only a cold start shows, an import that is missing because another module has made it, is seen by tests that start
Python itself: a notebook run by hand and the what-if page.
"""

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ADDRESS = "SHELFCAST_WARM"  # of the server's socket; set once for all of pytest's workers
HERE = Path(__file__).parent
POSSIBLE = hasattr(os, "pidfd_open")  # Linux; elsewhere all commands start cold
PROGRAMS = ("dvc", "papermill", "python", "kernel")
# As the pipeline's notebooks set it, before libraries are imported.
QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}


def start() -> None:
    """Start the server of this session and its workers, which imports nothing until it is asked for a process."""
    if not POSSIBLE or ADDRESS in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _write_programs(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        own = os.environ | QUIET | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "warm.server", str(listener.fileno())]
        # It ends with this process, which holds the other end of its input.
        subprocess.Popen(command, cwd=HERE.parent, env=own, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    os.environ[ADDRESS] = str(folder / "socket")


def _write_programs(folder: Path) -> None:
    """The clients, and what Jupyter reads to start a kernel by one of them."""
    (folder / "bin").mkdir()
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(f"#!{sys.executable} -SI\n{(HERE / 'client.py').read_text()}")
        program.chmod(0o755)
    kernel = folder / "kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [str(folder / "bin/kernel"), "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))


def python() -> str:
    """The path of the `python` that runs modules and code in forks of the server; `sys.executable` in all forks."""
    return str(Path(os.environ[ADDRESS]).parent / "bin/python")


def warm(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a command, so that it and the commands that it starts by name are forks of the server."""
    if ADDRESS not in os.environ:
        return environment
    folder = Path(os.environ[ADDRESS]).parent
    paths = {"PATH": f"{folder / 'bin'}:{environment['PATH']}", "JUPYTER_PATH": str(folder)}
    return environment | paths | {ADDRESS: os.environ[ADDRESS]}
