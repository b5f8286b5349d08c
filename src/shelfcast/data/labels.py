"""Human names of categories and products, from what a retailer's tables hold."""

from __future__ import annotations

import re
import textwrap

import pandas as pd

TILL_WORDS = {  # abbreviations on tills, whatever the category
    "sft": "soft", "drnk": "drink", "drnks": "drinks", "btl": "bottle", "carb": "carbonated", "mlt": "multi", "pk": "pack",
    "sngl": "single", "srv": "serve", "frzn": "frozen", "wtr": "water", "flvrd": "flavored", "choc": "chocolate",
    "reg": "regular", "asst": "assorted", "pkg": "package", "l": "L",
}  # fmt: skip

NAMES = ("name", "product_name", "title", "description", "product_type")  # attributes that name a product, best first


def category_label(name: str) -> str:
    """'FRZN POTATOES' is 'Frozen potatoes'."""
    return _spell_out(name.replace("_", " ").lower()).capitalize()


def product_label(row: pd.Series) -> str:
    """A human name from a product's attributes; show its id with it, since many products share a name.

    'SFT DRNK 2 LITER BTL CARB INCL' of 'SOFT DRINKS' is '2 liter bottle carbonated': these till names are cut at 30
    letters, so the last piece goes, and so does the category.
    """
    given = [row[column] for column in NAMES if isinstance(row.get(column), str)]
    name = given[0] if given else "; ".join(part.rpartition(": ")[2] for part in str(row["text"]).split("; ")[:3])
    if len(name) == 30:
        name = name.rsplit(" ", 1)[0]
    name = re.sub(r"\s*\([^)]*$", "", name.lower())
    name = _spell_out(name.replace("&", " & "))
    for word in str(row.get("category") or "").lower().split():
        name = re.sub(rf"^{re.escape(word.rstrip('s'))}s?\b[\s:,]*", "", name)
    name = textwrap.shorten(name, 60, placeholder=" …") or str(row.get("category", "product")).lower()
    size = _spell_out(str(row.get("package_size") or "nan").lower())
    if size != "nan" and size.split()[0] not in name.split():
        name += f", {size}"
    return name[:1].upper() + name[1:] + (", store brand" if row.get("brand") == "Private" else "")


def _spell_out(text: str) -> str:
    text = re.sub(r"(?<=\d)pk", " pk", text)
    return re.sub(r"[a-z]+", lambda word: TILL_WORDS.get(word[0], word[0]), text)
