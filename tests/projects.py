"""A copy of the project in a temporary folder, and commands run in it as a person would."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from warm import warm

ROOT = Path(__file__).parents[1]
PYTHON = str(Path(sys.prefix) / "bin/python")  # a cold one; see warm
PATH = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"
ENV = os.environ | {"PATH": PATH, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # without a hub, as the pipeline must
WARM = warm(ENV)  # the same commands, with less to wait for


def copy_project(folder: Path) -> Path:
    """Everything that git holds but the tests; no data, nothing generated."""
    for name in ("models", "notebooks", "reports/template", "src", "studies"):
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", "Makefile", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc" / name)
    return folder


def on_cores(n: int, env: dict[str, str] = WARM) -> dict[str, str]:
    """The environment of a command that works side by side on so many cores, whatever tests run beside it."""
    return env | {"LOKY_MAX_CPU_COUNT": str(n)}


def call(folder: Path, *command: str, env: dict[str, str] = WARM, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, **options)


def message(done: subprocess.CompletedProcess) -> str:
    """Everything that a command printed, on one line."""
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def edit(folder: Path, section: str | None = None, **values) -> None:
    """Change values of a section of params.yaml, or whole sections."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    (params[section] if section else params).update(values)
    path.write_text(yaml.safe_dump(params))
