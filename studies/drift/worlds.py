"""Simulated worlds with and without a change of their laws, and the residuals of a forecast that does not know of it.

No model is trained. What stands for one is the laws of before the change: expected units by product, plan, price and
season, times the level of the last eight weeks, as a trained model reads it. It errs by what no table shows (popularity,
local shocks, luck), and after a change by what the laws have become.

Axes: P products, S stores, L locations, T weeks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.live.drift.residuals import ratios_of, slopes_of
from shelfcast.market import laws, truth
from shelfcast.market.laws import EFFECTS
from shelfcast.settings import Simulation
from studies.worlds import own_plan

RECENT = 8  # weeks of the level
QUARTERS = ("south west", "north west", "south east", "north east")  # of the map, as regions


def ratios(seed: int, strength: float, n_weeks: int, changed_weeks: int, n_products: int, n_stores: int):
    """Residuals of one world, of all weeks after the first eight; all else but the change is its twin's."""
    market = truth.draw(
        Simulation(
            seed=seed,
            n_products=n_products,
            n_new=0,
            n_stores=n_stores,
            n_weeks=n_weeks,
            regime_weeks=changed_weeks,
            regime_strength=float(strength),
        )
    )
    sold, expected = (by_location(market, x) for x in (market["sold"], before_change(market)))  # P, L, T
    level = recent_sum(sold) / np.maximum(recent_sum(expected), 1e-9)
    forecast = (level * expected)[..., RECENT:]
    names = pd.Index(locations(market) * len(sold))
    weeks = market["mondays"][RECENT:n_weeks]
    y, price = sold[..., RECENT:].astype(float), market["plan_log_price"][:, RECENT:n_weeks]
    by_sales = ratios_of(names, weeks, y.reshape(-1, len(weeks)), forecast.reshape(-1, len(weeks)))
    return pd.concat([by_sales, slopes_of(weeks, y[:, 0], forecast[:, 0], price)], ignore_index=True)


def recent_sum(x: np.ndarray) -> np.ndarray:
    """Of the `RECENT` weeks before each, along the last axis; NaN where there are fewer."""
    total = np.cumsum(x, -1, dtype=float)
    total = np.concatenate([np.zeros((*x.shape[:-1], 1)), total], -1)
    out = np.full(x.shape, np.nan)
    out[..., RECENT:] = total[..., RECENT:-1] - total[..., : -RECENT - 1]
    return out


def before_change(market: dict) -> np.ndarray:
    """(P, S, T) expected units by the laws of before the change, without states and shocks."""
    n_weeks = market["sold"].shape[-1]
    at, effects = np.arange(n_weeks), market["products"][EFFECTS]
    taste = market["taste"] + laws.city_taste(effects, market["stores"])
    utility = laws.utility(effects, taste, own_plan(market), at, np.ones(n_weeks))
    shock, size = np.zeros((len(market["stores"]), n_weeks)), market["stores"]["size"].to_numpy()
    return laws.mean_units(utility, shock, size, market["level"], market["settings"]["mechanism"])


def locations(market: dict) -> list[str]:
    """The chain, then the quarters of the map that have stores."""
    own = quarter(market)
    return [CHAIN, *(name for i, name in enumerate(QUARTERS) if (own == i).any())]


def quarter(market: dict) -> np.ndarray:
    """(S,) number of the quarter that each store lies in."""
    east, north = (market["stores"][axis].to_numpy() > 0.5 for axis in ("x", "y"))
    return 2 * east.astype(int) + north


def by_location(market: dict, x: np.ndarray) -> np.ndarray:
    """(P, S, T) -> (P, L, T)."""
    own = quarter(market)
    parts = [x.sum(1)] + [x[:, own == i].sum(1) for i in range(len(QUARTERS)) if (own == i).any()]
    return np.stack(parts, 1)
