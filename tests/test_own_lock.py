"""A run leaves git's tree clean, a second one finds the first one's lock, and `git pull` works: in real repositories."""

import signal
import subprocess
import sys
import time

import pytest
from projects import ENV, ROOT, call

OWN_ENV = ENV | {"PYTHONPATH": str(ROOT / "src"), "GIT_CONFIG_GLOBAL": "/dev/null"}
RUN = [sys.executable, "-m", "shelfcast.pipeline.own_lock"]
SHOW_AND_WRITE = "import sys; p = open('dvc.lock').read(); print(p); open('dvc.lock', 'w').write(sys.argv[1])"


def commit(folder, text):
    (folder / "dvc.lock").write_text(text)
    call(folder, "git", "add", "-A", check=True)
    call(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", text, check=True)


@pytest.fixture()
def clone(tmp_path):
    """A clone whose origin lies beside it."""
    origin = tmp_path / "origin"
    origin.mkdir()
    call(origin, "git", "init", "-q", check=True)
    (origin / ".gitignore").write_text("build\n")
    commit(origin, "published")
    call(tmp_path, "git", "clone", "-q", str(origin), "clone", check=True)
    return tmp_path / "clone"


def run(folder, text, status=0) -> str:
    """What a run finds in dvc.lock before it writes `text` into it."""
    code = SHOW_AND_WRITE + (f"; sys.exit({status})" if status else "")
    command = [*RUN, sys.executable, "-c", code, text]
    done = subprocess.run(command, cwd=folder, env=OWN_ENV, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def changes(folder) -> str:
    return call(folder, "git", "status", "--porcelain", check=True).stdout


def test_a_run_leaves_the_tree_clean_and_the_next_one_goes_on(clone):
    assert run(clone, "first") == "published" and changes(clone) == ""
    assert (clone / "dvc.lock").read_text() == "published"
    assert run(clone, "second") == "first" and run(clone, "third") == "second"
    assert call(clone, "git", "ls-files", "-v", "dvc.lock").stdout.startswith("H "), "git compares it as any other"


def test_a_pull_that_changes_the_lock_works(clone):
    run(clone, "first")
    commit(clone.parent / "origin", "published anew")
    call(clone, "git", "pull", "-q", check=True)
    assert (clone / "dvc.lock").read_text() == "published anew"
    assert run(clone, "second") == "first" and changes(clone) == ""


def test_the_control_is_refused(clone):
    """What `skip-worktree` did: a lock that is left in place stands in the way of a pull."""
    call(clone, "git", "update-index", "--skip-worktree", "dvc.lock", check=True)
    (clone / "dvc.lock").write_text("first")
    commit(clone.parent / "origin", "published anew")
    assert call(clone, "git", "pull", "-q").returncode != 0
    assert run(clone, "second") == "first", "a clone of an earlier version goes on from its run"
    call(clone, "git", "pull", "-q", check=True)
    assert (clone / "dvc.lock").read_text() == "published anew"


def test_a_run_that_fails_is_cleaned_up_and_kept(clone):
    assert run(clone, "half", status=3) == "published" and changes(clone) == ""
    assert run(clone, "whole") == "half"


def test_an_interrupted_run_is_cleaned_up(clone):
    code = "import time; open('dvc.lock', 'w').write('half'); print('ready', flush=True); time.sleep(60)"
    command = [*RUN, sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=clone, env=OWN_ENV, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) != 0
    assert changes(clone) == "" and run(clone, "whole") == "half"


def test_a_lock_that_was_made_by_hand_goes_first(clone):
    run(clone, "first")
    (clone / "dvc.lock").write_text("by hand")
    assert run(clone, "second") == "by hand"


def test_without_a_lock_in_git_nothing_is_moved(tmp_path):
    (tmp_path / "dvc.lock").write_text("own")
    assert run(tmp_path, "next") == "own"
    assert (tmp_path / "dvc.lock").read_text() == "next" and not (tmp_path / "build").exists()
