"""A scene as the raw tables of a company, in the schema of `shelfcast.data.schema`: frames, no files."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.market.scenes.catalogue import CATEGORY, EFFECTS
from shelfcast.market.scenes.truth import all_days


def raw_tables(market: dict) -> dict[str, pd.DataFrame]:
    """The tables that a company would have of a scene: transactions, products, stores, and planned campaigns if any."""
    scene, products = market["settings"]["scene"], market["products"]
    shown = products.drop(columns=[*EFFECTS, "launch", "price"]).assign(category=CATEGORY[scene])
    tables = {
        "transactions": _transactions(market),
        "products": shown,
        "stores": market["stores"][["store_id", "region"]],
    }
    return tables | ({"promotions": _campaigns(market)} if market["campaign"].any() else {})


def _transactions(market: dict) -> pd.DataFrame:
    """One row per product, place and day with an order, by day."""
    units = market["units_by_day"]
    day, product, place = np.nonzero(units.transpose(2, 0, 1))
    quantity = units[product, place, day]
    price = market["products"]["price"].to_numpy()[product]
    return pd.DataFrame(
        {
            "timestamp": all_days(market["mondays"])[day],
            "store_id": market["stores"]["store_id"].to_numpy()[place],
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "quantity": quantity,
            "sales_value": np.round(quantity * price, 2),
        }
    )


def _campaigns(market: dict) -> pd.DataFrame:
    """One row per product, place and week of a campaign, those planned included: it runs everywhere."""
    week, product = np.nonzero(market["campaign"].T)
    places = market["stores"]["store_id"].to_numpy()
    return pd.DataFrame(
        {
            "product_id": np.repeat(market["products"]["product_id"].to_numpy()[product], len(places)),
            "store_id": np.tile(places, len(week)),
            "week": np.repeat(market["mondays"][week], len(places)),
            "campaign": 1.0,
        }
    )
