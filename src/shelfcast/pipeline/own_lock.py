"""Run a command with this machine's own dvc.lock: `python -m shelfcast.pipeline.own_lock COMMAND …`.

git holds the dvc.lock of the published run, and a run on another machine differs from it in the third digit. So what
was recorded here is kept in build/own.lock: it is put in place while the command runs, and taken away after it, however
it ends. git's tree stays clean, a second run knows what the first one did, and `git pull` finds nothing in its way.
A dvc.lock that differs from git's before the command (a run by hand, or one that was killed) is newer, and goes first.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shelfcast.data.files import atomic

LOCK, OWN = Path("dvc.lock"), Path("build/own.lock")


def git(*command: str) -> int:
    """The exit status of a git command; that of a failure where there is no git."""
    try:
        return subprocess.call(["git", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return 127


def is_tracked() -> bool:
    """Whether the last commit holds dvc.lock; where not, nothing has to be kept clean."""
    return git("cat-file", "-e", f"HEAD:./{LOCK}") == 0


def put_in_place() -> None:
    """The own lock instead of git's."""
    git("update-index", "--no-skip-worktree", str(LOCK))  # which earlier versions had set
    if git("diff", "--quiet", "HEAD", "--", str(LOCK)) == 0 and OWN.exists():
        shutil.copyfile(OWN, LOCK)


def take_away() -> None:
    """git's lock instead of the own one, which is kept."""
    if LOCK.exists():
        OWN.parent.mkdir(parents=True, exist_ok=True)
        with atomic(OWN) as part:
            shutil.copyfile(LOCK, part)
    git("checkout", "-q", "HEAD", "--", str(LOCK))


def run(command: Sequence[str]) -> int:
    """Run the command with the own lock; its exit status. An interrupt reaches the command, which is waited for."""
    tracked = is_tracked()
    if tracked:
        put_in_place()
    try:
        process = subprocess.Popen(command)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal has sent it to the command, too
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()
    finally:
        if tracked:
            take_away()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("error: no command was given. Write python -m shelfcast.pipeline.own_lock COMMAND …")
    sys.exit(run(sys.argv[1:]))
