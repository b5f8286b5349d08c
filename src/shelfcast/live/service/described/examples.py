"""Examples of the API's page, made of the market's own names, so that every one of them works."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
from fastapi import Path, Query

from shelfcast.data.schema import CHAIN
from shelfcast.panel.frame import Panel
from shelfcast.why.whatif.changes import PROMOTION, channels, recorded_shares


def of(panel: Panel) -> dict:
    """Parts of a call -> parameters or examples, for `routes`.

    Events of the examples fall into the week after the panel's last one.
    """
    product = str(panel.products["units"].idxmax())
    monday = panel.weeks[-1] + pd.Timedelta(weeks=1)
    product_query = Query(description="as in the tables", examples=[product], max_length=1000)
    location_query = Query(description="the chain, or a region", examples=[CHAIN], max_length=1000)
    return {
        "product_id": product_query,
        "location": location_query,
        "monday": Path(description="a Monday, such as 2026-01-05", examples=[str(monday.date())]),
        "events": _events(panel, product, monday),
        "plan": _plans(panel, product, monday),
    }


def _events(panel: Panel, product: str, monday: pd.Timestamp) -> dict:
    store, day = next(iter(panel.meta["regions"])), monday.date()
    at = f"{day}T10:15:00"
    sale = {"kind": "sale", "id": "example-sale", "timestamp": at, "store_id": store, "product_id": product}
    sale |= {"quantity": 2, "sales_value": 3.98}
    price = {"kind": "price", "id": "example-price", "product_id": product, "week": str(day), "price": 1.99}
    behavior = {"kind": "behavior", "id": "example-view", "timestamp": at, "product_id": product, "event": "view"}
    promotion = {"kind": "promotion", "id": "example-promotion", "product_id": product, "store_id": store}
    names = [name.removeprefix(f"{PROMOTION}: ") for name in channels(panel)] or ["display"]
    promotion |= {"week": str(day + timedelta(weeks=1)), "channels": {names[0]: 1.0}}
    return {
        "one": {"summary": "One sale", "value": sale},
        "many": {"summary": "Many events", "value": [price, promotion, behavior]},
    }


def _plans(panel: Panel, product: str, monday: pd.Timestamp) -> dict:
    """What can be asked of this market: a price where it has a table of them, else a promotion."""
    change = {"products": [product], "locations": [CHAIN], "weeks": [str(monday.date())]}
    if "price" in panel.planned:
        return {"price": {"summary": "A fifth off", "value": {"changes": [change | {"price_factor": 0.8}]}}}
    if PROMOTION in panel.planned:
        location = recorded_shares(panel).idxmax()
        change |= {"locations": [location], "promotion": {PROMOTION: 1.0}}
        return {"promotion": {"summary": "Promoted in all stores", "value": {"changes": [change]}}}
    return {}
