"""Panels of several categories of the retailer that the base was trained on, for studies of many categories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shelfcast.data.files import folder_md5
from shelfcast.data.tables import load_each
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.model_options import Base
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import Prepare


def category_panels(
    base: Base, prepare: Prepare, categories: list[str], n_products: int | None = None
) -> Iterator[Panel]:
    """One panel a category, built as notebook 2 builds them, of the base's own tables.

    Parameters
    ----------
    n_products : products of each; as many as the base has seen where none is given.

    Raises
    ------
    ValueError : a category that the tables do not have, or that is too small.
    """
    prepare = replace(prepare, n_products=n_products or base.n_products)
    data_md5 = folder_md5(base.tables)
    tables_of_each = load_each(base.source, base.tables, categories, base.rename, base.read)
    for category, tables in zip(categories, tables_of_each, strict=True):
        panel = build(tables, prepare, {"category": category, "data_md5": data_md5})
        yield with_outlook(panel) if prepare.outlook else panel
