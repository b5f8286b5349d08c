"""The human name of a category, and of a product by itself."""

from __future__ import annotations

import re
import textwrap
import unicodedata

import pandas as pd

TILL_WORDS = {  # abbreviations on tills, whatever the category
    "sft": "soft", "drnk": "drink", "drnks": "drinks", "btl": "bottle", "carb": "carbonated", "mlt": "multi", "pk": "pack",
    "sngl": "single", "srv": "serve", "frzn": "frozen", "wtr": "water", "flvrd": "flavored", "choc": "chocolate",
    "reg": "regular", "asst": "assorted", "pkg": "package", "l": "L",
}  # fmt: skip

NAMES = ("name", "product_name", "title", "description", "product_type")  # attributes that name a product, best first
WIDTH = 60  # letters of a name before it is cut


def category_label(name: str) -> str:
    """'FRZN POTATOES' is 'Frozen potatoes'."""
    return _spell_out(name.replace("_", " ").lower()).capitalize()


def product_label(row: pd.Series, width: int | None = WIDTH) -> str:
    """A human name from one product's attributes. Many products share it: `product_labels` tells them apart.

    'SFT DRNK 2 LITER BTL CARB INCL' of 'SOFT DRINKS' is '2 liter bottle carbonated': these till names are cut at 30
    letters, so the last piece goes, and so does the category. Longer names than `width` letters are cut, unless it is
    None.
    """
    given = [row[column] for column in NAMES if isinstance(row.get(column), str)]
    name = given[0] if given else "; ".join(part.rpartition(": ")[2] for part in str(row["text"]).split("; ")[:3])
    if len(name) == 30:
        name = name.rsplit(" ", 1)[0]
    name = re.sub(r"\s*\([^)]*$", "", name.lower())
    name = _spell_out(name.replace("&", " & "))
    for word in str(row.get("category") or "").lower().split():
        name = re.sub(rf"^{re.escape(word.rstrip('s'))}s?\b[\s:,]*", "", name)
    name = _cut(" ".join(name.split()), width) or str(row.get("category", "product")).lower()
    size = words_of(row.get("package_size"))
    if size and size.split()[0] not in name.split():
        name += f", {size}"
    return name[:1].upper() + name[1:] + (", store brand" if row.get("brand") == "Private" else "")


def _cut(name: str, width: int | None) -> str:
    """The words that fit into `width` letters; the first letters of a script that is written without spaces."""
    if width is None or len(name) <= width:
        return name
    return textwrap.shorten(name, width, placeholder=" …") if " " in name[:width] else f"{name[: width - 1]}…"


def words_of(value) -> str:
    """An attribute's value as a person reads it; '' where it is missing."""
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    text = f"{value:g}" if isinstance(value, float) else unicodedata.normalize("NFC", str(value)).lower()
    return _spell_out(text)


def _spell_out(text: str) -> str:
    text = re.sub(r"(?<=\d)pk", " pk", text)
    return re.sub(r"[a-z]+", lambda word: TILL_WORDS.get(word[0], word[0]), text)
