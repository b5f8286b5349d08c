"""Values from a YAML file to a typed dataclass; every slip is an error that says where it stands and how to mend it."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML, YAMLError

T = TypeVar("T")
STRICT = ConfigDict(strict=True, extra="forbid")  # of every dataclass of parameters
RESERVED = ("base", "checked", "studies", "summaries", "template")  # folders of the project itself


def param(default: Any, meaning: str, **limits) -> Any:
    """A parameter of a (pydantic) dataclass: its default, its meaning in words, and limits such as `ge=1`."""
    if isinstance(default, list | dict):
        return Field(default_factory=lambda: type(default)(default), description=meaning, **limits)
    return Field(default=default, description=meaning, **limits)


def _day(text: str) -> str:
    try:
        return str(date.fromisoformat(text))
    except ValueError:
        raise ValueError("a day is written as 2026-12-25") from None


Day = Annotated[str, AfterValidator(_day)]  # text, so that settings can be written as JSON


class SettingsError(ValueError):
    """A parameter that is unknown, mistyped or out of range; the message says where it stands and how to mend it."""


def build(kind: type[T], values: dict, where: str) -> T:
    """Make a (pydantic) dataclass of checked values.

    Parameters
    ----------
    where : names the place of the values in messages, such as 'params.yaml: prepare'.

    Raises
    ------
    SettingsError : one sentence for each unknown, mistyped or unfit value.
    """
    try:
        # by way of JSON, so that types are strict, but a dict may stand for a nested dataclass
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as errors:
        raise SettingsError("\n".join(_sentence(error, kind, where) for error in errors.errors())) from None


def _sentence(error: dict, kind: type, where: str) -> str:
    *parents, name = [str(part) for part in error["loc"]] or [""]
    place = where
    if parents:
        place += (": " if where.endswith(".yaml") else ".") + ".".join(parents)
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        names = [field.name for field in fields(_nested_kind(kind, parents))]
        return f"{place}: no parameter {name!r}{nearest(name, names)}. Rename or remove it."
    return f"{place}: {name} is {error['input']!r}. {error['msg']}."


def _nested_kind(kind: type, parents: list[str]) -> type:
    """The innermost dataclass on the way through fields (and dictionaries) of these names."""
    for parent in parents:
        hint = get_type_hints(kind).get(parent)
        candidates = [part for part in (hint, *get_args(hint)) if is_dataclass(part)]
        kind = candidates[0] if candidates else kind
    return kind


def check_path_name(name: str, kind: str) -> None:
    """Refuse a name that cannot be a folder of its own under build/ and reports/; `kind` is what has the name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in RESERVED:
        raise SettingsError(
            f"{kind}: {name!r} becomes a path. Write small letters, digits and _, a letter first, and none of "
            f"{', '.join(RESERVED)}."
        )


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that names what may have been meant."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; the nearest name is {close[0]!r}"
    return f" (there are {', '.join(names)})" if names else ""


def read_yaml(path: str | Path) -> dict:
    """Read as DVC reads it (YAML 1.2: 1e-3 is a number)."""
    try:
        values = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeError, YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold 'name: value' pairs.")
    return values
