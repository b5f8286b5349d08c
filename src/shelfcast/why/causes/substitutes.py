"""Own-price and cross-price effects of a group of close substitutes, in one regression a product."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.why.causes import effects
from shelfcast.why.causes.data import PRICE, Rows

MOST = 20  # products; beyond it a product's weeks do not tell so many prices apart
OTHERS = "other_prices"  # the mean of the other prices, which the prices themselves replace
COLUMNS = ["product_id", "price_of", "estimate", "se", "low", "high", "n", "blocks"]


def cross_price(rows: Rows) -> pd.DataFrame:
    """The effect of every product's price on the units of every product, all of them together.

    Log units of a product are regressed on the log prices of all products of the same location and week and on the
    controls, after each series' own level, trend and season are taken out (`effects.within`). Standard errors are
    clustered by block of weeks, over all locations.

    Returns
    -------
    A row for each pair: `COLUMNS`. Where product_id and price_of are equal it is the own-price elasticity. `low` and
    `high` are the 95 % interval.

    Raises
    ------
    ValueError : fewer than two or more than `MOST` products, prices that never differ, hardly any week in which all
        prices are known.
    """
    products = sorted(rows.frame["product_id"].unique())
    if not 2 <= len(products) <= MOST:
        raise ValueError(f"there are {len(products)} products. Choose 2 to {MOST} close substitutes by rows.where.")
    effects.check(rows, PRICE)
    prices = rows.frame.pivot(index=["location", "week"], columns="product_id", values=PRICE).dropna()
    names = {product: f"p{i}" for i, product in enumerate(products)}
    frame = rows.frame.join(prices.rename(columns=names), on=["location", "week"], how="inner")
    controls = [name for name in rows.controls_of(PRICE) if name != OTHERS]
    everything = Rows(frame, [PRICE], [*names.values(), *controls])
    parts = []
    for product in products:
        own = everything.where(frame["product_id"] == product)
        if len(own.frame) < 3 * len(everything.controls):
            raise ValueError(
                f"all prices are known in {len(own.frame)} rows of {product!r}, too few for {len(everything.controls)} "
                "columns. Take fewer products, or regions in place of the chain."
            )
        parts.append(_of_one(own, list(names.values()), controls).assign(product_id=product, price_of=products))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _of_one(rows: Rows, prices: list[str], controls: list[str]) -> pd.DataFrame:
    """A row a price, for the rows of one product."""
    frame = effects.within(rows, PRICE)
    varying = [name for name in controls if frame[name].std() > 1e-9]
    columns = {name: f"x{i}" for i, name in enumerate(varying)}
    data = frame[["log_units", "block", *prices, *varying]].rename(columns=columns)
    model = effects.regress(f"log_units ~ {' + '.join([*prices, *columns.values()])}", data, ("block",))
    n_own = effects.own_columns(frame, rows.per_week).shape[1] * frame["unique_id"].nunique()
    lost = np.sqrt(len(frame) / max(len(frame) - n_own, 1))
    estimate, se = (values.reindex(prices).to_numpy() for values in (model.coef(), model.se() * lost))
    blocks = frame["block"].nunique()
    half = stats.t.ppf(0.975, blocks - 1) * se
    interval = {"low": estimate - half, "high": estimate + half}
    return pd.DataFrame({"estimate": estimate, "se": se, **interval, "n": len(frame), "blocks": blocks})
