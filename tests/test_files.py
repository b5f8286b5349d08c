"""Files: atomic writes, and the default data with its pin."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from shelfcast.data import files, tables

ROOT = Path(__file__).parents[1]


def pinned():
    return yaml.safe_load(Path("data.dvc").read_text())["outs"][0]["md5"]


def test_atomic_writes_all_or_nothing(tmp_path):
    target = tmp_path / "deep/out"
    with pytest.raises(RuntimeError), files.atomic(target) as part:
        part.mkdir()
        (part / "half").write_text("half")
        raise RuntimeError
    assert not target.exists() and not list(tmp_path.glob("**/*.part"))
    with files.atomic(target) as part:
        part.mkdir()
        (part / "old").write_text("old")
    with pytest.raises(RuntimeError), files.atomic(target) as part:
        part.mkdir()
        raise RuntimeError
    assert (target / "old").read_text() == "old"
    with files.atomic(target) as part:
        part.mkdir()
        (part / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]


@pytest.fixture()
def project(tmp_path, monkeypatch):
    """An empty folder with the pin of the default data."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data.dvc", tmp_path / "data.dvc")
    return tmp_path


def test_fetch_copies_byte_for_byte_and_never_overwrites(project):
    files.fetch()
    assert files.folder_md5("data") == pinned() == files.verify("data")
    files.fetch()  # nothing to do
    mine = project / "data/products.parquet"
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"nothing was overwritten.*--force"):
        files.fetch()
    assert mine.read_bytes() == b"mine"
    with pytest.raises(ValueError, match=r"data/ differs from data.dvc.*fetch --force.*dvc commit"):
        tables.load("complete_journey", "data", "SOFT DRINKS")
    files.fetch(force=True)
    assert files.verify("data") == pinned()


def test_the_pin_in_git_counts(project):
    """DVC rewrites data.dvc when it meets changed data; that alone must not make them the pinned ones."""
    files.fetch()
    for command in ("init -q", "add data.dvc", "-c user.name=t -c user.email=t@example.org commit -qm pin"):
        subprocess.run(["git", *command.split()], check=True)
    (project / "data/products.parquet").write_bytes(b"mine")
    pin, before = Path("data.dvc"), pinned()
    pin.write_text(pin.read_text().replace(before, files.folder_md5("data")))
    with pytest.raises(ValueError, match=rf"pinned is {before}.*git checkout data.dvc.*commit data.dvc to git"):
        files.verify("data")
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "mine"], check=True)
    assert files.verify("data") == files.folder_md5("data")


def test_fetch_checks_what_it_copies(project):
    pin = Path("data.dvc")
    pin.write_text(pin.read_text().replace("md5: e", "md5: f"))
    with pytest.raises(ValueError, match=r"does not carry the data that data\.dvc pins"):
        files.fetch()
    assert not Path("data").exists()
