"""What the laws of the simulated market say of plans that it did not have; see `market.truth.draw` for a market.

Axes: P products, S stores, H weeks.
"""

from __future__ import annotations

import numpy as np

from shelfcast.market import laws
from shelfcast.market.laws import EFFECTS


def own_plan(market: dict) -> dict[str, np.ndarray]:
    """A copy of the market's own plan, to be changed: part -> values of all its weeks."""
    return {name.removeprefix("plan_"): np.array(x, float) for name, x in market.items() if name.startswith("plan_")}


def log_demand(market: dict, plan: dict[str, np.ndarray], at: np.ndarray) -> np.ndarray:
    """(P, S, H) utility of the weeks number `at` under a plan, without states and shocks."""
    effects = market["products"][EFFECTS]
    taste = market["taste"] + laws.city_taste(effects, market["stores"])
    return laws.utility(effects, taste, plan, at, market["regime"][at])
