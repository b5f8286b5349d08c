"""What a retailer says of orders: terms of each product, and stock on hand and on order, by optional tables.

Both tables stand in a folder of their own (`orders.tables`): stock changes daily, and a folder of the market's tables
that changes is trained on anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from shelfcast.data.reading.checks import copy
from shelfcast.data.reading.database import Database
from shelfcast.data.reading.files import find
from shelfcast.data.schema import CHAIN, ORDER_TABLES
from shelfcast.decision_options import Orders
from shelfcast.language import N_, _
from shelfcast.panel.frame import Panel
from shelfcast.reading_options import Reading

TERMS = ("pack_size", "min_order", "shelf_life", "unit_cost", "price")


class Given(NamedTuple):
    """The tables as they were given; None where there is none."""

    stock: pd.DataFrame | None
    terms: pd.DataFrame | None


def read_given(folder: str | None, reading: Reading) -> Given:
    """Read the tables `stock` and `terms` of a folder, checked against `data.schema.ORDER_TABLES`.

    Raises
    ------
    ValueError : the folder is missing or holds neither table, or a table breaks the schema.
    """
    if folder is None:
        return Given(None, None)
    if not Path(folder).is_dir():
        raise ValueError(
            f"orders.tables is {folder!r}, which is no folder. Name the folder of stock.csv and terms.csv."
        )
    database, tables = Database(), {}
    for name in ORDER_TABLES:
        relation = find(database, Path(folder), name, reading)
        if relation is not None:
            copy(database, name, relation, reading)
            tables[name] = database.frame(f"SELECT * FROM {name}")
    if not tables:
        raise ValueError(
            f"{folder}/ holds neither stock nor terms. Write stock.csv or terms.csv, or set orders.tables to null."
        )
    return Given(tables.get("stock"), tables.get("terms"))


def usual_prices(panel: Panel) -> pd.Series:
    """The price of each product in the training weeks, in the retailer's money; the median product's where unknown."""
    chain = panel.frame[panel.frame["location"] == CHAIN]
    prices = np.exp(chain.groupby("product_id")["price_level"].last())
    return prices.fillna(prices.median()).fillna(1.0)


def terms_by_series(
    series: list[str],
    options: Orders,
    prices: pd.Series,
    given: pd.DataFrame | None = None,
    whole: bool = True,
    per_week: int = 1,
) -> pd.DataFrame:
    """What orders of each series must keep to, and what they cost.

    Parameters
    ----------
    prices : usual price by product. given : the table `terms`. whole : whether sales are counts.
    per_week : periods of a week: `orders.holding` is for a week, what comes out is for a period.

    Returns
    -------
    Index unique_id; `TERMS`; holding_cost, money a unit in stock costs a week; lost_sale_cost, the margin that a unit not
    sold costs; whole, whether units are.

    Raises
    ------
    ValueError : a product's cost is not below its price.
    """
    product = pd.Series(series).str.rsplit("|", n=1).str[0]
    table = pd.DataFrame(index=pd.Index(series, name="unique_id"), columns=list(TERMS), dtype=float)
    if given is not None:
        own = given.set_index("product_id")[list(TERMS)].astype(float).reindex(product)
        table[:] = own.to_numpy()
    table["price"] = table["price"].fillna(pd.Series(prices.reindex(product).to_numpy(), table.index))
    defaults = {
        "pack_size": options.pack_size,
        "min_order": options.min_order,
        "shelf_life": np.nan if options.shelf_life is None else options.shelf_life,
        "unit_cost": (1 - options.margin) * table["price"],
    }
    for name, value in defaults.items():
        table[name] = table[name].fillna(value)
    wrong = product[(table["unit_cost"] >= table["price"]).to_numpy()].unique()
    if len(wrong):
        raise ValueError(
            f"terms: unit_cost is not below the price of {len(wrong)} products, {wrong[0]} the first. Write both for the "
            "same unit, or leave unit_cost empty to use orders.margin."
        )
    table["holding_cost"] = options.holding / per_week * table["unit_cost"]
    table["lost_sale_cost"] = table["price"] - table["unit_cost"]
    return table.assign(whole=whole)


class GivenStock(NamedTuple):
    """Index unique_id: on_hand and on_order, NaN where nothing was given. notes: what of the table was not used."""

    table: pd.DataFrame
    notes: list[str]


def stock_by_series(series: list[str], given: pd.DataFrame | None, region_of_store: dict[str, str]) -> GivenStock:
    """Stock on hand and on order of each product and location.

    Stores are added up to their regions and to the chain. A row with a location counts there alone; one with neither
    counts for the chain. Where a product has stock in no row of a location, none is known there.

    Worked example: 3 units in store s1 and 4 in s2, both in region_1: 7 in region_1, 7 in the chain.
    """
    index = pd.Index(series, name="unique_id")
    empty = pd.DataFrame(np.nan, index, ["on_hand", "on_order"])
    if given is None:
        return GivenStock(empty, [])
    rows = given.assign(on_order=given["on_order"].astype(float).fillna(0))
    by_store = rows[rows["store_id"].notna()]
    elsewhere = rows[rows["store_id"].isna()]
    parts = [
        by_store.assign(location=by_store["store_id"].map(region_of_store)),
        by_store.assign(location=CHAIN),
        elsewhere.assign(location=elsewhere["location"].fillna(CHAIN)),
    ]
    rows = pd.concat(parts).dropna(subset="location")
    rows["unique_id"] = rows["product_id"] + "|" + rows["location"]
    sums = rows.groupby("unique_id")[["on_hand", "on_order"]].sum()
    unknown = sorted(set(by_store["store_id"]) - set(region_of_store))
    notes = []
    if unknown:
        stores = N_("{n} stores ({first} the first) lie in no region; their stock counts for the chain")
        notes.append(_(stores, n=len(unknown), first=unknown[0]))
    if len(unused := sums.index.difference(index)):
        lacking = N_("stock of {n} products and locations ({first} the first) has no forecast")
        notes.append(_(lacking, n=len(unused), first=unused[0]))
    return GivenStock(sums.reindex(index), notes)
