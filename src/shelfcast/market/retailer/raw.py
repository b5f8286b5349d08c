"""A simulated market as the raw tables of a retailer, in the schema of `shelfcast.data.schema`: frames, no files."""

from __future__ import annotations

import numpy as np
import pandas as pd


def raw_tables(market: dict) -> dict[str, pd.DataFrame]:
    """The tables that a retailer would have of a market, in the schema of `shelfcast.data.schema`."""
    products = market["products"]
    first_weeks = [market["mondays"][week] if week > 0 else pd.NaT for week in products["launch"]]
    product_table = pd.DataFrame(
        {
            "product_id": products["product_id"],
            "category": products["kind"],
            "brand": products["brand"],
            "name": products["name"],
            "pack_size": products["pack"],
            "launch": first_weeks,
        }
    )
    tables = {"stockouts": _stock_outs(market)} if market["settings"]["stockouts_table"] else {}
    return tables | {
        "transactions": _transactions(market),
        "products": product_table.sort_values("product_id", ignore_index=True),
        "promotions": _promotions(market),
        "prices": _prices(market),
        "stores": market["stores"][["store_id", "latitude", "longitude", "area", "format"]],
        "behavior": _behavior(market),
    }


def _transactions(market: dict) -> pd.DataFrame:
    """One row per product, store and week with a sale, by week."""
    week, product, store = np.nonzero(market["sold"].transpose(2, 0, 1))
    quantity = market["sold"][product, store, week]
    paid = np.round(quantity * market["price"][product, week], 2)
    cut = (market["depth"] * market["promoted"])[product, week]  # share of the price without the promotion
    return pd.DataFrame(
        {
            "timestamp": market["mondays"][week],
            "store_id": market["stores"]["store_id"].to_numpy()[store],
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "quantity": quantity,
            "sales_value": paid,
            "discount": np.round(paid * (1 / (1 - cut) - 1), 2),
        }
    )


def _is_listed(market: dict) -> np.ndarray:
    """(P, all weeks) whether a product has been launched."""
    return np.arange(len(market["mondays"])) >= market["products"]["launch"].to_numpy()[:, None]


def _promotions(market: dict) -> pd.DataFrame:
    """One row per product, store and week with a display or a mailer, those planned included."""
    display, mailer = market["plan_display"], market["plan_mailer"]
    shown = (display + mailer[:, None] > 0) & _is_listed(market)[:, None]
    week, product, store = np.nonzero(shown.transpose(2, 0, 1))
    return pd.DataFrame(
        {
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "store_id": market["stores"]["store_id"].to_numpy()[store],
            "week": market["mondays"][week],
            "display": display[product, store, week],
            "mailer": mailer[product, week],
        }
    )


def _stock_outs(market: dict) -> pd.DataFrame:
    """One row per product, store and week with a stock-out, from the product's launch on."""
    cut = market["out"] & _is_listed(market)[:, None, : market["out"].shape[-1]]
    week, product, store = np.nonzero(cut.transpose(2, 0, 1))
    return pd.DataFrame(
        {
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "store_id": market["stores"]["store_id"].to_numpy()[store],
            "week": market["mondays"][week],
        }
    )


def _prices(market: dict) -> pd.DataFrame:
    """One row per product and week from its launch on, those planned included."""
    week, product = np.nonzero(_is_listed(market).T)
    usual_cost = 0.6 * market["products"]["list_price"].to_numpy()[product]
    return pd.DataFrame(
        {
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "week": market["mondays"][week],
            "price": market["price"][product, week],
            "cost": np.round(usual_cost * np.exp(market["cost"][product, week]), 2),
        }
    )


def _behavior(market: dict) -> pd.DataFrame:
    """Views and clicks per product and week."""
    parts = []
    for event in ("view", "click"):
        count = market[f"{event}s"]
        week, product = np.nonzero(count.T)
        part = {
            "timestamp": market["mondays"][week],
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "event": event,
            "count": count[product, week],
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts).sort_values("timestamp", kind="stable", ignore_index=True)
