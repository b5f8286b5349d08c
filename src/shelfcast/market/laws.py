"""The laws of demand on the simulated market: its constants, and how demand moves from week to week.

Constants are in `LAW`, equations in docs/simulated_market.md. Axes: P products, S stores, T weeks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

FIRST_WEEK = pd.Timestamp("2022-01-03")
# columns of the products' table that decide demand
TEXT_EFFECTS = ["text_appeal", "text_season", "text_peak", "text_promotion", "text_city"]
PICTURE_EFFECTS = ["picture_appeal", "picture_display"]
EFFECTS = ["tidy_appeal", *TEXT_EFFECTS, *PICTURE_EFFECTS, "own_appeal", "elasticity", "launch"]
BOUGHT = 0.3  # share of shopping occasions on which something is bought, where shoppers choose


class Smooth(NamedTuple):
    """Gaussian over the map: standard deviation, and the distance over which stores are alike."""

    sd: float
    reach: float


class Autoregressive(NamedTuple):
    """x[t + 1] = persistence * x[t] + noise, with the standard deviation that x has in the long run."""

    persistence: float
    sd: float


class Spells(NamedTuple):
    """Chances that a spell starts in a week without one, and that it continues."""

    starts: float
    continues: float


class Law(NamedTuple):
    """Constants, calibrated to SOFT DRINKS of the Complete Journey where it shows them.

    Distances are shares of the map's side; effects are on log sales.
    """

    mean_units: float = 0.225  # of a product in a medium store and week
    own_appeal_sd: float = 0.2  # of the appeal that no attribute, text or picture explains
    taste: Smooth = Smooth(1.1, 0.25)  # a product's appeal from store to store
    luck_variance: float = 0.12  # of a product's week, the same in all stores; nothing predicts it
    store_dispersion: float = 0.4  # of a store's count
    interest: Autoregressive = Autoregressive(0.6, 0.35)  # a product's, seen in views a week ahead
    popularity: Autoregressive = Autoregressive(0.99, 0.2)  # a product's, slow, seen in nothing but sales
    local_shock: Smooth = Smooth(0.3, 0.2)  # of the stores: what is new in a week
    shock_travel: tuple[float, float] = (0.25, 0.05)  # a week's way of a shock, east and north
    shock_spread: float = 0.1  # on that way
    display: float = 0.4
    mailer: float = 0.3
    rivals: float = -0.5  # log-linear only: all other products of the kind are promoted
    holiday: float = 0.15
    promotion: Spells = Spells(0.16, 0.3)
    display_share: float = 0.7  # chance that a store takes part in a display
    newness: float = -1.0  # at the launch
    newness_weeks: float = 4.0  # until that is down to a third
    stock_out: Spells = Spells(0.012, 0.4)
    price_on_season: float = 0.25  # observed confounding: log price per log demand of season and holiday
    price_on_popularity: float = 0.4  # hidden confounding: log price per popularity four weeks earlier
    regime_elasticity: float = 1.25  # in the last weeks, times those before
    rival: float = -0.35  # at its position; it opens in the same weeks
    rival_position: tuple[float, float] = (0.75, 0.35)
    rival_reach: float = 0.3


LAW = Law()


def draw_tastes(rng: np.random.Generator, stores: pd.DataFrame, n: int) -> np.ndarray:
    """(n, S) how much more or less products appeal at each store, alike at stores that are near."""
    covariance = _likeness(stores, LAW.taste.reach)
    return LAW.taste.sd * rng.multivariate_normal(np.zeros(len(stores)), covariance, n, method="cholesky")


def _likeness(stores: pd.DataFrame, reach: float) -> np.ndarray:
    position = stores[["x", "y"]].to_numpy()
    squared_distance = ((position[:, None] - position[None]) ** 2).sum(-1)  # S, S
    return np.exp(-squared_distance / (2 * reach**2)) + 1e-6 * np.eye(len(position))


def city_taste(effects: pd.DataFrame, stores: pd.DataFrame) -> np.ndarray:
    """(P, S) what a claim in a product's name adds to its appeal in the city."""
    return effects["text_city"].to_numpy()[:, None] * stores["area"].eq("city").to_numpy(float)


def shock_law(stores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How local shocks move: shock[t + 1] = travel @ shock[t] + noise.

    Returns
    -------
    travel : (S, S). covariance : (S, S), of the noise. Both leave the sum over the map at zero.
    """
    position = stores[["x", "y"]].to_numpy()
    origin = position - np.array(LAW.shock_travel)  # a shock that is here now was there a week ago
    squared_distance = ((origin[:, None] - position[None]) ** 2).sum(-1)
    near = np.exp(-squared_distance / (2 * LAW.shock_spread**2))
    travel = near / (near.sum(1, keepdims=True) + 0.01)  # nothing arrives from beyond the map
    balance = np.eye(len(position)) - 1 / len(position)  # shoppers who come here stay away elsewhere
    noise = balance @ _likeness(stores, LAW.local_shock.reach) @ balance + 1e-4 * np.eye(len(position))
    return balance @ travel, LAW.local_shock.sd**2 * noise


def draw_autoregressive(rng: np.random.Generator, law: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """Independent series of `Autoregressive` along the last axis, from its long-run law on."""
    persistence, sd = law
    noise = rng.normal(0, 1, shape)
    x = np.empty(shape)
    x[:, 0] = sd * noise[:, 0]
    for t in range(1, shape[1]):
        x[:, t] = persistence * x[:, t - 1] + sd * np.sqrt(1 - persistence**2) * noise[:, t]
    return x


def draw_spells(rng: np.random.Generator, law: tuple[float, float], shape: tuple[int, ...]) -> np.ndarray:
    """True while one of `Spells` lasts, along the last axis."""
    starts, continues = law
    chance = rng.random(shape)
    active = np.zeros(shape, bool)
    for t in range(shape[-1]):
        before = active[..., t - 1] if t else np.zeros(shape[:-1], bool)
        active[..., t] = chance[..., t] < np.where(before, continues, starts)
    return active


def stock_out_law(starts: float | None) -> Spells:
    """How often shelves are empty: by the laws, or as often as a market's settings say."""
    return LAW.stock_out if starts is None else LAW.stock_out._replace(starts=starts)


def season(effects: pd.DataFrame, weeks: np.ndarray) -> np.ndarray:
    """(P, T) log demand that follows the time of the year."""
    height, peak = (effects[name].to_numpy()[:, None] for name in ("text_season", "text_peak"))
    return height * np.cos(2 * np.pi * (weeks + 1 - peak) / 52)


def utility(
    effects: pd.DataFrame, taste: np.ndarray, plan: dict, weeks: np.ndarray, elasticity_factor: np.ndarray
) -> np.ndarray:
    """(P, S, T) log demand by products, plan and calendar; -inf before a product's launch.

    Parameters
    ----------
    effects : columns `EFFECTS`, one row per product.
    taste : (P, S), log.
    plan : of all weeks: `log_price` (P, all), log of price over list price; `display` (P, S, all); `mailer`,
        `rivals` (P, all); `holiday` (all,).
    weeks : (T,) numbers of the weeks wanted.
    elasticity_factor : (T,) by which elasticities are multiplied in these weeks.
    """
    column = {name: np.asarray(values, float)[:, None] for name, values in effects.items()}  # P, 1
    age = weeks - column["launch"]  # P, T
    common = (
        column["tidy_appeal"] + column["text_appeal"] + column["picture_appeal"] + column["own_appeal"]
        + season(effects, weeks)
        + LAW.holiday * plan["holiday"][weeks]
        + column["elasticity"] * elasticity_factor * plan["log_price"][:, weeks]
        + LAW.mailer * column["text_promotion"] * plan["mailer"][:, weeks]
        + LAW.rivals * plan["rivals"][:, weeks]
        + LAW.newness * np.exp(-np.maximum(age, 0) / LAW.newness_weeks)
    )  # fmt: skip
    common = np.where(age >= 0, common, -np.inf)
    display = LAW.display * column["picture_display"][:, None] * plan["display"][:, :, weeks]  # P, S, T
    return common[:, None] + taste[..., None] + display


def mean_units(utility: np.ndarray, shock: np.ndarray, size: np.ndarray, level: dict, mechanism: str) -> np.ndarray:
    """(P, S, T) mean units from utility (P, S, T), shocks (S, T) and store sizes (S,).

    log_linear: sales grow with a product's utility. choice: shoppers choose among products and buying nothing.
    """
    shoppers = level["shoppers"] * size[:, None] * np.exp(shock)
    weight = np.exp(utility)
    if mechanism == "log_linear":
        return shoppers * weight
    return shoppers * weight / (level["nothing"] + weight.sum(0))


def demand_level(effects: pd.DataFrame, taste: np.ndarray, plan: dict, n_weeks: int, mechanism: str) -> dict:
    """Shoppers per week and the weight of buying nothing that make the mean product sell `LAW.mean_units`.

    Computed at list prices, so that twins with other prices share it.
    """
    at_list_price = plan | {"log_price": np.zeros_like(plan["log_price"])}
    weight = np.exp(utility(effects, taste, at_list_price, np.arange(n_weeks), np.ones(n_weeks)))
    if mechanism == "log_linear":
        return {"shoppers": LAW.mean_units / weight.mean(), "nothing": 0.0}
    return {
        "shoppers": LAW.mean_units * len(effects) / BOUGHT,
        "nothing": weight.sum(0).mean() * (1 - BOUGHT) / BOUGHT,
    }
