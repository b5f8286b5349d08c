"""Stands for `dvc`, `papermill`, a kernel or `python`: the server forks, and this waits for the fork and passes signals on.

Written with a first line that names Python, into a folder of programs; see `warm.start`. It imports as little as it can.
"""

import contextlib
import json
import os
import signal
import socket
import sys

MODULES = {"dvc": "dvc", "papermill": "papermill", "kernel": "ipykernel_launcher"}
FLAGS = ("-u", "-B")  # which a fork does not need


def wanted() -> dict | None:
    """What the fork runs, a module or code, and its arguments; None where Python itself is asked for another thing."""
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    if name in MODULES:
        return {"module": MODULES[name], "arguments": [name, *arguments]}
    if arguments[:1] == ["-m"]:
        return {"module": arguments[1], "arguments": arguments[1:]}
    while arguments[:1] and arguments[0] in FLAGS:
        del arguments[0]
    if arguments[:1] == ["-c"]:
        return {"code": arguments[1], "arguments": ["-c", *arguments[2:]]}
    return None


def open_files() -> list[int]:
    """What this process was given: its standard files, and the pipes of one that trains beside others."""
    files = []
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the list itself, which is closed by now
            os.fstat(number)
            files.append(number)
    return files


def main() -> int:
    request = wanted()
    if request is None:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    files = open_files()
    request |= {"files": files, "folder": os.getcwd(), "environment": dict(os.environ)}
    payload = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(os.environ["SHELFCAST_WARM"])
        socket.send_fds(link, [len(payload).to_bytes(8, "big")], files)
        link.sendall(payload)
        pid = int.from_bytes(link.recv(8), "big")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        status = link.recv(8)
    if not status:
        sys.exit("the server of warm processes ended")
    code = int.from_bytes(status, "big", signed=True)
    if code < 0:  # the fork was ended by a signal, and so is this
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


sys.exit(main())
