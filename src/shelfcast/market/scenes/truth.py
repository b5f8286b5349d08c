"""Draw a scene's truth: products, places, latent states, plan and demand, by day.

Axes: P products, S places, W weeks with demand, A all weeks (those of the plan alone included), D days of the W weeks.
"""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np
import pandas as pd
from holidays import country_holidays

from shelfcast.market.laws import FIRST_WEEK, draw_autoregressive, draw_spells
from shelfcast.market.scenes import laws
from shelfcast.market.scenes.catalogue import draw_places, draw_products
from shelfcast.market.scenes.laws import COUNTRY, SCENES, Law
from shelfcast.settings import Simulation
from shelfcast.validate import SettingsError

STREAMS = ("products", "places", "tastes", "popularity", "local", "luck", "orders", "campaigns")
USED = ("scene", "seed", "n_products", "n_stores", "n_weeks", "horizon")  # fields of `Simulation` that scenes read


def check(simulation: Simulation, where: str = "simulations") -> None:
    """Refuse values that have no meaning for a scene.

    Raises
    ------
    SettingsError : names the first of them.
    """
    usual = Simulation()
    for field in fields(Simulation):
        if field.name not in USED and getattr(simulation, field.name) != getattr(usual, field.name):
            raise SettingsError(
                f"{where}: {field.name} has no meaning for the scene {simulation.scene!r}, which reads "
                f"{', '.join(USED)}. Remove it."
            )


def draw(simulation: Simulation) -> dict:
    """Draw the whole truth of a scene.

    Returns
    -------
    As of `market.truth.draw`: tables `products` and `stores`, `mondays`, `settings`, `level`, and arrays: taste (P, S),
    popularity (P, A) and local (S, A): log effects; luck (P, W); campaign (P, A); closed (7 A,); orders_by_day and
    units_by_day (P, S, D); sold, wanted (the same) and out (nothing), (P, S, W).

    Raises
    ------
    SettingsError, ValueError : see `check`, `draw_products` and `draw_places`.
    """
    check(simulation)
    children = np.random.SeedSequence([simulation.seed, *simulation.scene.encode()]).spawn(len(STREAMS))
    rng = {name: np.random.default_rng(child) for name, child in zip(STREAMS, children, strict=True)}
    law, n_weeks, n_all = SCENES[simulation.scene], simulation.n_weeks, simulation.n_weeks + simulation.horizon
    products = draw_products(rng["products"], simulation.scene, simulation.n_products)
    stores = draw_places(rng["places"], simulation.scene, simulation.n_stores)
    p, n = len(products), len(stores)
    campaign = np.zeros((p, n_all), bool)
    if law.campaigns:
        campaign = draw_spells(rng["campaigns"], law.campaigns, (p, n_all))
    mondays = pd.date_range(FIRST_WEEK, periods=n_all, freq="7D")
    market = {
        "settings": asdict(simulation),
        "products": products,
        "stores": stores,
        "mondays": mondays,
        "closed": _closed(mondays),
        "taste": rng["tastes"].normal(0, law.taste_sd, (p, n)),
        "popularity": draw_autoregressive(rng["popularity"], law.popularity, (p, n_all)),
        "local": draw_autoregressive(rng["local"], law.local, (n, n_all)),
        "luck": rng["luck"].gamma(1 / law.luck_variance, law.luck_variance, (p, n_weeks)),
        "campaign": campaign,
    }
    market["level"] = {"orders": _level(law, market)}
    states = market["popularity"][:, None, :n_weeks] + market["local"][:, :n_weeks]
    mean = usual_orders(law, market, 0, n_weeks) * np.repeat(np.exp(states) * market["luck"][:, None], 7, axis=-1)
    orders, units = laws.draw_units(rng["orders"], law, mean)
    sold = units.reshape(p, n, n_weeks, 7).sum(-1)
    nothing = np.zeros(sold.shape, bool)
    return market | {"orders_by_day": orders, "units_by_day": units, "sold": sold, "wanted": sold, "out": nothing}


def usual_orders(law: Law, market: dict, first: int, n_weeks: int) -> np.ndarray:
    """(P, S, 7 n_weeks) expected orders by day, were all states 0 and luck 1, from week number `first` on."""
    days = all_days(market["mondays"])[7 * first : 7 * (first + n_weeks)]
    campaign = np.repeat(market["campaign"][:, first : first + n_weeks], 7, axis=1)
    mean = np.exp(laws.log_mean(law, market["products"], market["stores"], market["taste"], campaign, days))
    closed = market["closed"][7 * first : 7 * (first + n_weeks)]
    return market["level"]["orders"] * mean * laws.opening(law, days, closed)


def all_days(mondays: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Every day of weeks that follow one another."""
    return pd.date_range(mondays[0], periods=7 * len(mondays), freq="D")


def _closed(mondays: pd.DatetimeIndex) -> np.ndarray:
    """(7 A,) whether a day is a public holiday."""
    free = country_holidays(COUNTRY, years=range(mondays[0].year, mondays[-1].year + 2))
    return np.array([day.date() in free for day in all_days(mondays)])


def _level(law: Law, market: dict) -> float:
    """Orders of a day that make the mean product at the mean place get `law.orders` a week without states and plan."""
    plain = market | {"level": {"orders": 1.0}, "campaign": np.zeros_like(market["campaign"])}
    return law.orders / 7 / usual_orders(law, plain, 0, len(market["mondays"])).mean()
