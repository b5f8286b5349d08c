"""Products of one name told apart by the attributes in which they differ."""

from __future__ import annotations

import re
import unicodedata
from itertools import combinations

import pandas as pd

from shelfcast.data.labels.single import product_label, words_of

NO_ATTRIBUTES = ("text", "units")  # columns of a panel's products that were computed
MOST_ADDED = 3  # attributes that a label is made longer by, at most


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
        added = _difference(products.loc[same, columns].map(words_of), labels[same[0]])
        labels[same] = [", ".join([labels[product], *added[product]]) for product in same]
    while ids and (equal := _equal(labels)):
        same = [product for group in equal for product in group]
        labels[same] = [f"{labels[product]} ({product})" for product in same]
    return labels


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
