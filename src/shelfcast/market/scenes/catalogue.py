"""What the scenes deal in, and where: products with their texts, places with their sizes. All of it is invented."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd


class Kind(NamedTuple):
    """A kind of product. appeal, season : on log orders; peak : day of the year; price : of a unit."""

    name: str
    appeal: float
    season: float
    peak: float
    price: float


PARTS = [
    Kind("oil filter", 1.0, 0.0, 0, 12), Kind("brake disc", 0.5, 0.0, 0, 58), Kind("brake pad set", 0.8, 0.0, 0, 34),
    Kind("starter battery", 0.5, 0.7, 15, 95), Kind("wiper blade", 0.7, 0.5, 320, 14), Kind("glow plug", -0.2, 0.8, 10, 18),
    Kind("air conditioning compressor", -0.8, 1.0, 185, 280), Kind("radiator fan", -0.7, 0.8, 190, 120),
    Kind("alternator", -0.4, 0.1, 15, 210), Kind("shock absorber", 0.0, 0.0, 0, 76), Kind("timing belt kit", -0.1, 0.0, 0, 130),
    Kind("headlamp", -0.2, 0.4, 330, 165), Kind("bumper", -0.6, 0.3, 20, 240), Kind("clutch kit", -0.3, 0.0, 0, 190),
]  # fmt: skip
VEHICLES = {"Alva": 0.6, "Borea van": 0.3, "Cirro": 0.0, "Dorado pickup": -0.3, "Elan hybrid": -0.5}  # appeal
GRADES = {"original": (0.0, 1.0), "economy": (0.2, 0.6)}  # appeal, price

CITIES = {
    "Amsterdam": ("NL", 0.5), "Antwerp": ("BE", 0.2), "Basel": ("CH", -0.1), "Copenhagen": ("DK", 0.0), "Graz": ("AT", -0.4),
    "Lille": ("FR", -0.1), "Lyon": ("FR", 0.1), "Milan": ("IT", 0.4), "Paris": ("FR", 0.8), "Prague": ("CZ", 0.3),
    "Rotterdam": ("NL", 0.3), "Vienna": ("AT", 0.5), "Warsaw": ("PL", 0.4), "Wroclaw": ("PL", 0.0), "Zurich": ("CH", 0.3),
}  # country, appeal  # fmt: skip
SERVICES = {  # log orders, season before Christmas, price
    "standard": Kind("standard", 0.6, 0.30, 345, 6.5),
    "express": Kind("express", -0.3, 0.20, 345, 14.0),
    "economy": Kind("economy", 0.0, 0.15, 340, 4.2),
}

ACCOUNTS = [
    Kind("current account", 0.9, 0.1, 280, 5), Kind("savings account", 0.6, 0.2, 15, 1), Kind("student account", 0.0, 1.0, 265, 1),
    Kind("fixed deposit", 0.1, 0.2, 20, 1), Kind("credit card", 0.5, 0.2, 340, 3), Kind("car loan", -0.2, 0.4, 110, 20),
    Kind("home loan", -0.6, 0.2, 130, 60), Kind("travel insurance", -0.2, 0.8, 170, 4), Kind("home insurance", -0.3, 0.0, 0, 6),
    Kind("pension plan", -0.5, 0.7, 350, 10),
]  # fmt: skip
VARIANTS = {"online": 0.2, "classic": 0.0, "young": -0.4}  # appeal

PLACES = {
    "spare_parts": ["Bremen", "Dresden", "Essen", "Kassel", "Nuremberg", "Ulm", "Rostock", "Trier"],
    "parcels": ["Berlin", "Cologne", "Frankfurt", "Hamburg", "Leipzig", "Munich", "Stuttgart", "Hanover"],
    "accounts": [
        "Castle Square",
        "Harbour",
        "Main Street",
        "New Town",
        "Old Market",
        "Park Road",
        "Station",
        "University",
    ],
}
CATEGORY = {"spare_parts": "spare parts", "parcels": "parcels", "accounts": "accounts"}
OWN_APPEAL = {"spare_parts": 0.6, "parcels": 0.2, "accounts": 0.2}  # sd of what no attribute explains
MOST_PLACES = 8


def _parts() -> list[dict]:
    return [
        {
            "name": f"{kind.name} for {vehicle}, {grade}",
            "group": kind.name,
            "vehicle": vehicle,
            "grade": grade,
            "appeal": kind.appeal + appeal + grade_appeal,
            "season": kind.season,
            "peak": kind.peak,
            "price": kind.price * factor,
        }
        for kind in PARTS
        for vehicle, appeal in VEHICLES.items()
        for grade, (grade_appeal, factor) in GRADES.items()
    ]


def _routes() -> list[dict]:
    return [
        {
            "name": f"{city}, {service.name}",
            "destination": city,
            "country": country,
            "service": service.name,
            "appeal": appeal + service.appeal,
            "season": service.season,
            "peak": service.peak,
            "price": service.price,
        }
        for city, (country, appeal) in CITIES.items()
        for service in SERVICES.values()
    ]


def _accounts() -> list[dict]:
    return [
        {
            "name": f"{kind.name}, {variant}",
            "kind": kind.name,
            "variant": variant,
            "appeal": kind.appeal + appeal,
            "season": kind.season,
            "peak": kind.peak,
            "price": kind.price,
        }
        for kind in ACCOUNTS
        for variant, appeal in VARIANTS.items()
    ]


ROWS: dict[str, Callable[[], list[dict]]] = {"spare_parts": _parts, "parcels": _routes, "accounts": _accounts}
EFFECTS = ["appeal", "season", "peak"]  # columns that no table of the retailer shows


def draw_products(rng: np.random.Generator, scene: str, n: int) -> pd.DataFrame:
    """Products of a scene, by chance of all there are: product_id, name, attributes, price, and true effects.

    Raises
    ------
    ValueError : the scene has fewer products.
    """
    rows = ROWS[scene]()
    if n > len(rows):
        raise ValueError(f"n_products is {n}, and the scene {scene!r} has {len(rows)} products. Choose at most that.")
    chosen = sorted(rng.choice(len(rows), n, replace=False))
    frame = pd.DataFrame([rows[i] for i in chosen])
    frame["appeal"] += rng.normal(0, OWN_APPEAL[scene], n)
    frame.insert(0, "product_id", [f"{scene[:1].upper()}{i:03d}" for i in range(1, n + 1)])
    return frame.assign(launch=-999)  # all were there before the first week


def draw_places(rng: np.random.Generator, scene: str, n: int) -> pd.DataFrame:
    """Places of a scene: store_id, region (its name) and size, on log orders.

    Raises
    ------
    ValueError : more places than have names.
    """
    if n > MOST_PLACES:
        raise ValueError(f"n_stores is {n}, and scenes have at most {MOST_PLACES} places. Choose at most that.")
    names = PLACES[scene][:n]
    ids = [name.replace(" ", "_").lower() for name in names]
    return pd.DataFrame({"store_id": ids, "region": names, "size": rng.normal(0, 0.4, n)})
