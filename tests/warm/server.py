"""Forks processes that have the project's libraries: `python -m warm.server <number of a listening socket>`."""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import types

import shelfcast
import warm

# What is imported late, beside all modules of the package.
LATE = (
    *("dvc.cli", "dvc.cli.parser", "dvc.commands.repro", "dvc.repo", "dvc.repo.reproduce", "dvc.stage.cache"),
    *("papermill.cli", "papermill.execute", "ipykernel.kernelapp", "ipykernel.zmqshell", "jupyter_client.manager"),
    *("lightgbm", "fracast", "statsforecast.models", "transformers.trainer", "peft", "tensorboard"),
    *(
        "transformers.models.bert.modeling_bert",
        "transformers.models.bert.tokenization_bert",
        "torch.utils.tensorboard",
    ),
    *("captum.attr", "doubleml", "pyfixest", "implicit", "matplotlib.pyplot", "seaborn", "nbconvert", "xlsxwriter"),
    *("torch.distributed.launcher.api", "pytest", "ipywidgets", "distributed", "dask.dataframe", "optuna"),
)

HIGH, MOST_FILES = 500, 100  # numbers of files above those of the server; files of a client


def load() -> None:
    """Import the package and what it needs, once."""
    for module in pkgutil.walk_packages(shelfcast.__path__, "shelfcast."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # forks share these pages


def serve(listener: socket.socket) -> dict:
    """Fork for each client until the session ends; in a fork, return what it is to run."""
    loaded, waiting = False, selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(0, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj == 0:
                sys.exit()
            if key.fileobj is listener:
                if not loaded:
                    load()
                    loaded = True
                link, _ = listener.accept()
                request, files = receive(link)
                pid = os.fork()
                if not pid:
                    link.close()
                    for other in [*waiting.get_map().values()]:
                        if isinstance(other.fileobj, socket.socket):
                            other.fileobj.close()
                    waiting.close()
                    become(request, files)
                    return request
                for file in files:
                    os.close(file)
                link.sendall(pid.to_bytes(8, "big"))
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, link))
                waiting.register(link, selectors.EVENT_READ, (pid, None))
            elif key.data[1]:
                ended(waiting, key.fileobj, *key.data)
            elif key.fileobj.fileno() >= 0:  # a client was killed, and its fork is killed with it
                waiting.unregister(key.fileobj)
                key.fileobj.close()
                os.kill(key.data[0], signal.SIGKILL)


def receive(link: socket.socket) -> tuple[dict, list[int]]:
    """A client's request, and its open files."""
    size, files, *_ = socket.recv_fds(link, 8, MOST_FILES)
    with link.makefile("rb") as stream:
        return json.loads(stream.read(int.from_bytes(size, "big"))), files


def ended(waiting: selectors.BaseSelector, pidfd: int, pid: int, link: socket.socket) -> None:
    """Tell a client how its fork ended."""
    waiting.unregister(pidfd)
    os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if link.fileno() >= 0:
        waiting.unregister(link)
        with contextlib.suppress(OSError):  # it is being killed
            link.sendall(code.to_bytes(8, "big", signed=True))
        link.close()


def become(request: dict, files: list[int]) -> None:
    """Take the place of a client in this fork."""
    os.setsid()
    files = [fcntl.fcntl(file, fcntl.F_DUPFD, HIGH) for file in files]
    os.closerange(3, HIGH)  # the server's own
    for number, file in zip(request["files"], files, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = ["", *own, *sys.path[1:]]
    sys.argv = request["arguments"]
    sys.executable = warm.python()
    multiprocessing.set_executable(sys.executable)
    random.seed()
    sys.modules["numpy"].random.seed()


def run(request: dict) -> int:
    """Run a module or code as a command; its exit code."""
    try:
        if "module" in request:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = main = types.ModuleType("__main__")
            exec(request["code"], main.__dict__)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    code = run(serve(socket.socket(fileno=int(sys.argv[1]))))
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python would take half a second to tear down all that was imported
