"""Who bought what and when: a market's raw tables to shopper x product x week, and what of it a cutoff may know.

Axes: S shoppers that had bought anything by a cutoff, P products of the panel, L locations (chain first).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.tables import Tables
from shelfcast.language import _
from shelfcast.panel.frame import Panel

HALF_LIVES = (
    2,
    6,
    13,
)  # weeks, by which purchases lose half of their weight: a month's, a quarter's, half a year's habits
LATELY = 4  # weeks that recent popularity is counted over
FEWEST = 100  # shoppers, below which nothing can be learned of them, nor be shown of groups


@dataclass(frozen=True)
class Purchases:
    """Purchases of a panel's products by shoppers who can be told apart.

    rows : shopper, item and week (their numbers), units; one row each, in this order.
    visits : shopper, location and week (their numbers), rows of all categories; where shoppers shop.
    shoppers, products : their ids, by number. locations : their names. weeks : their first days; days in a
        daily market, of which a week has `per_week`.
    """

    rows: pd.DataFrame
    visits: pd.DataFrame
    shoppers: pd.Index
    products: pd.Index
    locations: list[str]
    weeks: pd.DatetimeIndex
    per_week: int = 1

    @property
    def lack(self) -> str:
        """Why there are no recommendations, in one sentence; empty where there may be some."""
        if len(self.shoppers) >= FEWEST:
            return ""
        if not len(self.shoppers):
            return _("There are no recommendations: the transactions name no customers.")
        return _(
            "There are no recommendations: {n} customers bought the products, and fewer than {fewest} say too little.",
            n=len(self.shoppers),
            fewest=FEWEST,
        )

    def number(self, cutoff: pd.Timestamp) -> int:
        """The number of a cutoff's week.

        Raises
        ------
        ValueError : it is none of the observed weeks.
        """
        number = self.weeks.get_indexer([cutoff])[0]
        if number < 0:
            one = f"the {self.weeks[0]:%A} of one of these weeks" if self.per_week == 1 else "one of these days"
            raise ValueError(
                f"cutoff {cutoff:%Y-%m-%d} is no week of the purchases, which run from {self.weeks[0]:%Y-%m-%d} to "
                f"{self.weeks[-1]:%Y-%m-%d}. Choose {one}."
            )
        return int(number)


def read_purchases(tables: Tables, panel: Panel) -> Purchases:
    """Purchases of the panel's products in its weeks, counted by DuckDB; empty where no row names a customer.

    Raises
    ------
    ValueError : the tables hold none of the panel's products.
    """
    products = pd.Index(panel.products.index, name="product_id")
    if not products.isin(tables.products["product_id"]).any():
        raise ValueError(
            "the tables hold none of the panel's products. Read the folder and category that the panel was built from, "
            "or run notebook 1_prepare again."
        )
    locations, tables = list(panel.locations.index), tables.at(panel.frequency)
    observed = panel.weeks.difference(pd.DatetimeIndex(panel.meta["missing_weeks"]))
    items = pd.DataFrame({"product_id": products, "item": np.arange(len(products))})
    stores = pd.Series(panel.meta["regions"], dtype=object)
    numbers = {name: i for i, name in enumerate(locations)}
    regions = pd.DataFrame({"store_id": stores.index.astype(str), "location": stores.map(numbers).to_numpy()})
    rows = weekly.shopper_items(tables, observed, items)
    visits = weekly.shopper_regions(tables, observed, regions)
    shoppers = pd.Index(np.sort(rows["customer_id"].unique()), name="customer_id")
    visits = visits[visits["customer_id"].isin(shoppers)]
    first = panel.frequency.number(observed[0], panel.weeks[0])  # the queries count from the first observed week
    return Purchases(
        rows=_numbered(rows, shoppers, first),
        visits=_numbered(visits, shoppers, first),
        shoppers=shoppers,
        products=products,
        locations=locations,
        weeks=panel.weeks,
        per_week=panel.frequency.per_week,
    )


def _numbered(frame: pd.DataFrame, shoppers: pd.Index, first: int) -> pd.DataFrame:
    frame = frame.assign(customer_id=shoppers.get_indexer(frame["customer_id"]), week=frame["week"] + first)
    return frame.rename(columns={"customer_id": "shopper"}).reset_index(drop=True)


@dataclass(frozen=True)
class History:
    """What a cutoff knows of shoppers.

    shoppers : (S,) numbers of those that had bought anything; their positions are the `row`s of `pairs`.
    pairs : one row for each product a shopper had bought, by row and item: n (weeks in which she bought it), first and
        last (weeks ago), recent_<half-life> (weeks in which she bought it, each weighed by its age).
    home : (S,) the location in whose stores she shopped most, the chain where that is not known.
    popularity, lately : (P,) purchases of all shoppers so far, and in the last weeks.
    active : (S,) purchases of her last eight weeks.
    """

    shoppers: np.ndarray
    pairs: pd.DataFrame
    home: np.ndarray
    popularity: np.ndarray
    lately: np.ndarray
    active: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.shoppers), len(self.popularity)

    def had(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Weeks in which shoppers start..stop had bought each product: (stop - start, P)."""
        stop = len(self.shoppers) if stop is None else min(stop, len(self.shoppers))
        begin, end = np.searchsorted(self.pairs["row"].to_numpy(), [start, stop])
        own = self.pairs.iloc[begin:end]
        counts = np.zeros((stop - start, len(self.popularity)), dtype=np.float32)
        counts[own["row"] - start, own["item"]] = own["n"]
        return counts


def history(purchases: Purchases, cutoff: pd.Timestamp) -> History:
    """What is known of shoppers at the end of a cutoff's week.

    Worked example: a product bought one and four weeks ago has n = 2, last = 1, first = 4 and
    recent_2 = 0.5 ** (1 / 2) + 0.5 ** (4 / 2) = 0.96.

    Raises
    ------
    ValueError : the cutoff is no week of the purchases.
    """
    now = purchases.number(cutoff)
    rows = purchases.rows[purchases.rows["week"] <= now]
    shoppers, row = np.unique(rows["shopper"], return_inverse=True)
    age = now - rows["week"]
    if purchases.per_week > 1:
        age = age / purchases.per_week  # weeks, so that habits are told alike
    weighed = {f"recent_{half}": 0.5 ** (age / half) for half in HALF_LIVES}
    lines = pd.DataFrame({"row": row, "item": rows["item"], "age": age, **weighed})
    sums = {name: (name, "sum") for name in weighed}
    pairs = lines.groupby(["row", "item"], sort=True).agg(
        n=("age", "size"), first=("age", "max"), last=("age", "min"), **sums
    )
    n_products = len(purchases.products)
    return History(
        shoppers=shoppers,
        pairs=pairs.reset_index(),
        home=_homes(purchases, now, shoppers),
        popularity=np.bincount(rows["item"], minlength=n_products),
        lately=np.bincount(rows["item"][age < LATELY], minlength=n_products),
        active=np.bincount(row[age < 2 * LATELY], minlength=len(shoppers)),
    )


def _homes(purchases: Purchases, now: int, shoppers: np.ndarray) -> np.ndarray:
    """The location in which each shopper bought most rows so far, the first of equals; 0, the chain, without any."""
    visits = purchases.visits[purchases.visits["week"] <= now]
    rows = visits.groupby(["shopper", "location"])["rows"].sum().reset_index()
    rows = rows.sort_values(["shopper", "rows", "location"], ascending=[True, False, True], kind="stable")
    home = rows.drop_duplicates("shopper").set_index("shopper")["location"]
    return home.reindex(shoppers, fill_value=0).to_numpy(int)


def bought_next(purchases: Purchases, cutoff: pd.Timestamp, horizon: int, shoppers: np.ndarray) -> np.ndarray:
    """Whether shoppers bought each product in the `horizon` weeks after a cutoff: (S, P) of bool."""
    now = purchases.number(cutoff)
    rows = purchases.rows[purchases.rows["week"].between(now + 1, now + horizon)]
    rows = rows[rows["shopper"].isin(shoppers)]
    bought = np.zeros((len(shoppers), len(purchases.products)), dtype=bool)
    bought[np.searchsorted(shoppers, rows["shopper"]), rows["item"]] = True
    return bought
