"""The first line of every notebook: where it runs, what it reads, and how loud its libraries are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shelfcast import settings


def start(
    market: str | None = None, variant: str = "shelfcast", overrides: dict[str, dict] | None = None
) -> settings.Settings:
    """Go to the project's root and return the settings of a market (or of none, for the base).

    JupyterLab starts a notebook in its own folder and the pipeline starts it in the root; all paths are relative to the
    root, and `studies` is importable from there.

    Raises
    ------
    SettingsError : `params.yaml`, the market, the variant or `overrides` is wrong; see `settings.load`.
    """
    os.chdir(project_root())
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return settings.load(market, variant, overrides)


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds `params.yaml` and `notebooks/`."""
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").exists() and (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(f"no folder above {here} holds params.yaml and notebooks/. Start inside of the project.")
