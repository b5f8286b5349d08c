"""Human names of categories and products, from what a retailer's tables hold.

They are for people alone: what a model reads of a product is `text`, which `panel.build` writes and nothing here changes.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from itertools import combinations

import pandas as pd

TILL_WORDS = {  # abbreviations on tills, whatever the category
    "sft": "soft", "drnk": "drink", "drnks": "drinks", "btl": "bottle", "carb": "carbonated", "mlt": "multi", "pk": "pack",
    "sngl": "single", "srv": "serve", "frzn": "frozen", "wtr": "water", "flvrd": "flavored", "choc": "chocolate",
    "reg": "regular", "asst": "assorted", "pkg": "package", "l": "L",
}  # fmt: skip

NAMES = ("name", "product_name", "title", "description", "product_type")  # attributes that name a product, best first
NO_ATTRIBUTES = ("text", "units")  # columns of a panel's products that were computed
WIDTH = 60  # letters of a name before it is cut
MOST_ADDED = 3  # attributes that a label is made longer by, at most


def category_label(name: str) -> str:
    """'FRZN POTATOES' is 'Frozen potatoes'."""
    return _spell_out(name.replace("_", " ").lower()).capitalize()


def product_labels(products: pd.DataFrame, ids: bool = True) -> pd.Series:
    """Names of a market's products by which a person tells them apart.

    Where names are equal, the attributes that differ are added: as few as tell most of the products apart, and of as
    few words as can be. Two colas of 'pack: can' and 'pack: bottle' are 'Cola, can' and 'Cola, bottle'.

    Parameters
    ----------
    products : index product_id, attributes and `text` (a panel's `products`).
    ids : whether the id is added, in brackets, where no attribute differs. False is for places that show the id
        beside each name; labels may then be equal.

    Returns
    -------
    Label by product_id, in the order of `products`. With `ids`, no two are equal.
    """
    labels = pd.Series([product_label(row) for _, row in products.iterrows()], products.index, dtype=object)
    for same in _equal(labels):  # names that were cut to be short
        labels[same] = [product_label(row, width=None) for _, row in products.loc[same].iterrows()]
    columns = [column for column in products if column not in NO_ATTRIBUTES]
    for same in _equal(labels):
        added = _difference(products.loc[same, columns].map(_words), labels[same[0]])
        labels[same] = [", ".join([labels[product], *added[product]]) for product in same]
    while ids and (equal := _equal(labels)):
        same = [product for group in equal for product in group]
        labels[same] = [f"{labels[product]} ({product})" for product in same]
    return labels


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
    size = _words(row.get("package_size"))
    if size and size.split()[0] not in name.split():
        name += f", {size}"
    return name[:1].upper() + name[1:] + (", store brand" if row.get("brand") == "Private" else "")


def _cut(name: str, width: int | None) -> str:
    """The words that fit into `width` letters; the first letters of a script that is written without spaces."""
    if width is None or len(name) <= width:
        return name
    return textwrap.shorten(name, width, placeholder=" …") if " " in name[:width] else f"{name[: width - 1]}…"


def _equal(labels: pd.Series) -> list[list]:
    """Groups of two or more products whose labels look the same."""
    looks = labels.map(lambda label: unicodedata.normalize("NFC", label).casefold())
    groups = labels.index.to_series().groupby(looks.to_numpy(), sort=False)
    return [list(same) for _, same in groups if len(same) > 1]


def _difference(words: pd.DataFrame, label: str) -> dict:
    """What tells products of one label apart: product -> what to add to it, nothing where that would be empty.

    Parameters
    ----------
    words : index product_id, a column an attribute; '' where it is missing.
    """
    differing = [column for column in words if words[column].nunique() > 1]
    best, columns = (-1, 0, 0), ()
    for n_columns in range(1, min(MOST_ADDED, len(differing)) + 1):
        for chosen in combinations(differing, n_columns):
            letters = words[list(chosen)].map(len).to_numpy().sum()
            rank = (words.groupby(list(chosen)).ngroups, -n_columns, -letters)
            if rank > best:
                best, columns = rank, chosen
    shorter = pd.DataFrame({column: _without(words[column], label) for column in columns}, index=words.index)
    return {product: [value for value in row if value] for product, *row in shorter.itertuples()}


def _without(values: pd.Series, label: str) -> pd.Series:
    """Values without the words that the label says already, if they differ as much without them."""
    said = set(re.findall(r"\w+", label.lower()))

    def rest(value: str) -> str:
        return " ".join(word for word in re.split(r"[\s(),;:]+", value) if word and word.lower() not in said)

    shorter = values.map(rest)
    return shorter if shorter.nunique() == values.nunique() else values


def _words(value) -> str:
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
