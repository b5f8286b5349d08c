"""The laws of demand of the scenes: one equation, and constants for each scene. See docs/scenes.md.

The expected number of orders of product i at place s on day d, in week w, is

    mean(i,s,d) = level · exp(appeal(i) + size(s) + taste(i,s) + season(i) · cos(2π (day of year − peak(i)) / 365.25)
                  + month · [one of a month's first seven days] + campaign · campaign(i,w)
                  + popularity(i,w) + local(s,w)) · weekday(d) · luck(i,w)

and nothing on a public holiday where the place is closed. Orders are Poisson around it. An order has one unit, and a
negative binomial number more. `popularity` and `local` are first-order autoregressive; `luck` is a gamma variable of
mean 1, the same at all places, and nothing predicts it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from shelfcast.market.laws import Autoregressive, Spells

COUNTRY = "DE"  # whose public holidays close the places
MONDAY_TO_FRIDAY = (1.15, 1.05, 1.0, 1.0, 0.8, 0.0, 0.0)
DAYS_OF_YEAR = 365.25


class Law(NamedTuple):
    """Constants of one scene; effects are on log orders."""

    orders: float  # a week, of the mean product at the mean place
    taste_sd: float  # of a product from place to place
    popularity: Autoregressive  # of a product, by week
    local: Autoregressive  # of a place, by week
    luck_variance: float  # of a product's week
    weekday: tuple[float, ...]  # Monday to Sunday, relative
    month: float  # first seven days of a month
    more_units: float = 0.0  # of an order beyond the first, mean
    lumpiness: float = 1.0  # their size parameter: the smaller, the more they differ from order to order
    campaign: float = 0.0
    campaigns: Spells | None = None  # of a product, planned weeks ahead


SCENES = {
    "spare_parts": Law(
        orders=0.3, taste_sd=0.5, popularity=Autoregressive(0.97, 0.3), local=Autoregressive(0.7, 0.15),
        luck_variance=0.15, weekday=MONDAY_TO_FRIDAY, month=0.0, more_units=2.0, lumpiness=0.5,
    ),
    "parcels": Law(
        orders=110.0, taste_sd=0.6, popularity=Autoregressive(0.9, 0.15), local=Autoregressive(0.8, 0.1),
        luck_variance=0.01, weekday=(1.3, 1.1, 1.0, 1.0, 1.1, 0.4, 0.0), month=0.08,
    ),
    "accounts": Law(
        orders=3.0, taste_sd=0.4, popularity=Autoregressive(0.95, 0.2), local=Autoregressive(0.8, 0.12),
        luck_variance=0.04, weekday=MONDAY_TO_FRIDAY, month=0.25, campaign=0.5, campaigns=Spells(0.05, 0.75),
    ),
}  # fmt: skip


def log_mean(
    law: Law,
    products: pd.DataFrame,
    stores: pd.DataFrame,
    taste: np.ndarray,
    campaign: np.ndarray,
    days: pd.DatetimeIndex,
) -> np.ndarray:
    """(P, S, D) log of the expected orders without the states (popularity, local, luck) and without the level.

    Parameters
    ----------
    products : appeal, season, peak (a day of the year). stores : size. taste : (P, S).
    campaign : (P, D) 1 on the days of a campaign.
    """
    peak = products["peak"].to_numpy()[:, None]
    season = products["season"].to_numpy()[:, None] * np.cos(
        2 * np.pi * (days.dayofyear.to_numpy() - peak) / DAYS_OF_YEAR
    )
    by_product = products["appeal"].to_numpy()[:, None] + season + law.campaign * campaign  # P, D
    by_place = stores["size"].to_numpy() + taste  # P, S
    return by_product[:, None] + by_place[:, :, None] + law.month * (days.day <= 7)


def opening(law: Law, days: pd.DatetimeIndex, closed: np.ndarray) -> np.ndarray:
    """(D,) a day's orders relative to those of a mean day: by its weekday, nothing where it is closed."""
    weekday = np.asarray(law.weekday) / np.mean(law.weekday)
    return weekday[days.dayofweek] * ~closed


def draw_units(rng: np.random.Generator, law: Law, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orders around their mean, and the units of all of them together; both of the shape of `mean`.

    Of n orders the further units are a sum of n negative binomials, which is one again, of n times the size parameter.
    """
    orders = rng.poisson(mean)
    if not law.more_units:
        return orders, orders
    chance = law.lumpiness / (law.lumpiness + law.more_units)
    more = rng.negative_binomial(np.maximum(orders, 1) * law.lumpiness, chance)
    return orders, orders + np.where(orders > 0, more, 0)
