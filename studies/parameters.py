"""A study's own parameters: `studies/<study>/params.yaml`, checked by a small dataclass of the study.

The product's parameters come from `shelfcast.settings` and are never repeated there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict

from shelfcast import settings

T = TypeVar("T")
STRICT = ConfigDict(strict=True, extra="forbid")  # of a parameter dataclass: unknown or mistyped names are errors
FOLDER = Path("studies")


def load(kind: type[T], study: str) -> T:
    """Read the parameters of a study, from the project's root.

    Raises
    ------
    SettingsError : an unknown, mistyped or unfit value; the message names the file and the value.
    """
    path = FOLDER / study / "params.yaml"
    return settings.build(kind, settings.read_yaml(path), str(path))
