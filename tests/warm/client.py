"""Stands for `dvc`, `papermill`, a kernel or `python`: the server forks, and this waits for the fork and passes signals on.

Written with a first line that names Python, into a folder of programs; see `warm.start`. It imports as little as it can.
"""

import json
import os
import signal
import socket
import sys

MODULES = {"dvc": "dvc", "papermill": "papermill", "kernel": "ipykernel_launcher"}


def wanted() -> dict | None:
    """What the fork runs, a module or code, and its arguments; None where Python itself is asked for another thing."""
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    if name in MODULES:
        return {"module": MODULES[name], "arguments": [name, *arguments]}
    if arguments[:1] == ["-m"]:
        return {"module": arguments[1], "arguments": arguments[1:]}
    if arguments[:2] == ["-u", "-c"]:  # a worker of pytest
        return {"code": arguments[2], "arguments": arguments[1:]}
    return None


def main() -> int:
    request = wanted()
    if request is None:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    payload = json.dumps(request | {"folder": os.getcwd(), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(os.environ["SHELFCAST_WARM"])
        socket.send_fds(link, [len(payload).to_bytes(8, "big")], [0, 1, 2])
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
