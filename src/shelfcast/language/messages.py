"""All messages of the report, and a catalogue brought up to date with them.

    python -m shelfcast.language.messages zh    # add new messages to a catalogue, take out those no longer used

Messages are the first argument of `_`, `N_` and `ngettext`, and the markdown of the report's notebook.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from shelfcast.language.active import FOLDER, TAGS

SOURCE = FOLDER.parent
ROOT = SOURCE.parents[1]
NOTEBOOKS = ("notebooks/7_decide.ipynb", "notebooks/8_report.ipynb")
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2)}


def path_of(language: str) -> Path:
    """The catalogue of a language."""
    return FOLDER / language / "LC_MESSAGES/shelfcast.po"


def read(language: str) -> Catalog:
    """The catalogue of a language, with messages that are no longer used."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language)


def messages() -> Catalog:
    """Every message with the files that hold it."""
    catalogue = Catalog(project="shelfcast", fuzzy=False)
    for path in [*sorted(SOURCE.rglob("*.py")), ROOT / "studies/answers.py"]:
        _add(catalogue, path.read_bytes(), path.relative_to(ROOT).as_posix())
    for name in NOTEBOOKS:
        for cell in json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            if cell["cell_type"] == "code":
                _add(catalogue, text.encode(), name)
            elif name == NOTEBOOKS[-1] and "analyst" not in cell["metadata"].get("tags", []):
                catalogue.add(text, locations=[(name, None)])
    return catalogue


def _add(catalogue: Catalog, source: bytes, name: str) -> None:
    for _line, message, _comments, context in extract("python", io.BytesIO(source), KEYWORDS):
        if message:
            catalogue.add(message, locations=[(name, None)], context=context)  # no lines, which change with every edit


def update(language: str) -> tuple[int, int]:
    """Bring a catalogue up to date; how many messages it has, and how many of them are not translated yet.

    Raises
    ------
    ValueError : the language is not one of `TAGS`.
    """
    if language not in TAGS or language == "en":
        raise ValueError(f"{language!r} has no catalogue. Add it to TAGS and LOCALES first: docs/language.md")
    path = path_of(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    catalogue = read(language) if path.exists() else Catalog(locale=language, project="shelfcast", fuzzy=False)
    created = catalogue.creation_date
    catalogue.update(messages(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    catalogue.creation_date = created  # so that an update that finds nothing new changes nothing
    text = io.BytesIO()
    write_po(text, catalogue, width=110, sort_by_file=True)
    path.write_bytes(text.getvalue())
    own = [message for message in catalogue if message.id]
    return len(own), sum(not message.string or not all(message.string) for message in own)


if __name__ == "__main__":
    for asked in sys.argv[1:] or [code for code in TAGS if code != "en"]:
        try:
            total, lacking = update(asked)
        except ValueError as error:
            sys.exit(f"error: {error}")
        print(f"{path_of(asked).relative_to(ROOT)}: {total} messages, {lacking} not translated")
