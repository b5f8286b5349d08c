"""What price and promotion truly do on a simulated market: differences of expected demand by its own laws.

Axes: P products, S stores, T weeks with sales.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.market import laws
from shelfcast.market.laws import EFFECTS

STEP = 0.01  # of a log price, to both sides


def elasticities(market: dict) -> np.ndarray:
    """(P, T) own-price elasticity of the chain's expected units at the prices met, all other prices as they are.

    In the log-linear market it is the brand's constant, times the factor of the last weeks; where shoppers choose it is
    smaller, since a product that is cheaper takes sales from itself, too.
    """

    def moved(step: float) -> Callable[[dict], dict]:
        return lambda plan: plan | {"log_price": plan["log_price"] + step}

    up, down = (log_units(market, moved(step)) for step in (STEP, -STEP))
    return (up - down) / (2 * STEP)


def lifts(market: dict, channel: str) -> np.ndarray:
    """(P, T) what a product's own mailer or display adds to the log of the chain's expected units, at the same price."""
    without = log_units(market, lambda plan: plan | {channel: np.zeros_like(plan[channel])})
    return log_units(market, lambda plan: plan) - without


def log_units(market: dict, change: Callable[[dict], dict]) -> np.ndarray:
    """(P, T) log of the chain's expected units of each product when its own plan alone is changed.

    Parameters
    ----------
    market : as `shelfcast.market.truth.draw` returns it.
    change : of the plan of one product, as `laws.utility` reads it.
    """
    effects, mechanism = market["products"][EFFECTS], market["settings"]["mechanism"]
    n_weeks = market["settings"]["n_weeks"]
    taste = market["taste"] + laws.city_taste(effects, market["stores"])
    states = (market["interest"][:, :n_weeks] + market["popularity"][:, :n_weeks])[:, None]
    regime = market["regime"][:n_weeks]
    shock = market["field"][:, :n_weeks] + market["rival"][:, None] * (regime > 1)
    plan = {name: market[f"plan_{name}"] for name in ("holiday", "display", "mailer", "rivals", "log_price")}
    size = market["stores"]["size"].to_numpy()

    def utility(chosen: slice, plan: dict) -> np.ndarray:
        weeks = np.arange(n_weeks)
        return laws.utility(effects.iloc[chosen], taste[chosen], plan, weeks, regime) + states[chosen]

    weight = np.exp(utility(slice(None), plan))  # P, S, T
    every = weight.sum(0)
    logs = np.empty((len(effects), n_weeks))
    for i in range(len(effects)):
        own = {name: values if name == "holiday" else values[i : i + 1] for name, values in plan.items()}
        changed = utility(slice(i, i + 1), change(own))
        # to its buyers, the other products and buying nothing are alternatives alike
        level = market["level"] | {"nothing": market["level"]["nothing"] + every - weight[i]}
        units = laws.mean_units(changed, shock, size, level, mechanism)[0]
        with np.errstate(divide="ignore"):  # before its launch a product sells nothing
            logs[i] = np.log(units.sum(0))
    return logs


def at_rows(market: dict, values: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """The values (P, T) of the products and weeks of rows with product_id and ds."""
    product = pd.Index(market["products"]["product_id"]).get_indexer(rows["product_id"])
    week = pd.Index(market["mondays"]).get_indexer(rows["ds"])
    return values[product, week]
