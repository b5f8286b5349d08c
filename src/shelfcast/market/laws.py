"""The laws of demand on the simulated market: what foretells it, and how it moves from week to week.

Constants are in `LAW`, equations in docs/simulated_market.md. Axes: P products, S stores, T weeks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

FIRST_WEEK = pd.Timestamp("2022-01-03")
EFFECTS = ["tidy_appeal", "text_appeal", "text_season", "text_peak", "text_promotion", "text_city", "picture_appeal",
           "picture_display", "own_appeal", "elasticity", "launch"]  # fmt: skip
LAW = dict(  # calibrated to SOFT DRINKS of the Complete Journey where it shows them (docs/simulated_market.md)
    units=0.225,  # mean units of a product in a medium store and week
    own=0.2,  # sd of the appeal that nothing tells
    taste=(1.1, 0.25),  # sd of a product's appeal from place to place, and how far it reaches
    luck=0.12,  # variance of a product's week, the same in all stores, that nothing foretells
    till=0.4,  # dispersion of a store's count
    interest=(0.6, 0.35),  # a product's weekly interest, seen in views a week ahead: persistence, sd
    popularity=(0.99, 0.2),  # slow, seen in nothing but sales
    field=(0.3, 0.2),  # travelling shocks of the stores: sd of what is new in a week, and how far it reaches
    wind=(0.25, 0.05),  # share of the map a shock travels in a week, east and north
    smear=0.1,  # how far it spreads on the way
    display=0.4,
    mailer=0.3,
    promoted=(0.16, 0.3),  # a promotion begins, goes on
    joins=0.7,  # a store joins a display
    rivals=-0.5,  # log-linear: all other products of the kind promoted
    holiday=0.15,
    newness=(-1.0, 4.0),  # log sales at launch, weeks until that is down to a third
    stock_out=(0.012, 0.4),  # begins, goes on
    eye=0.25,  # observed confounding: log price per log demand of season and holiday
    instinct=0.4,  # hidden confounding: log price per popularity four weeks earlier
    regime=(12, 1.25, -0.35, 0.3),  # weeks before the end; elasticities times; log sales near a new rival; its reach
)  # fmt: skip


def tastes(rng: np.random.Generator, stores: pd.DataFrame, n: int) -> np.ndarray:
    """(n, S) how much more or less products appeal at each store, alike at stores that are near."""
    sd, reach = LAW["taste"]
    return sd * rng.multivariate_normal(np.zeros(len(stores)), _alike(stores, reach), n, method="cholesky")


def _alike(stores: pd.DataFrame, reach: float) -> np.ndarray:
    place = stores[["x", "y"]].to_numpy()
    return np.exp(-((place[:, None] - place[None]) ** 2).sum(-1) / (2 * reach**2)) + 1e-6 * np.eye(len(place))


def city_taste(e: pd.DataFrame, stores: pd.DataFrame) -> np.ndarray:
    """(P, S) what a claim in the text is worth in the city."""
    return e["text_city"].to_numpy()[:, None] * stores["area"].eq("city").to_numpy(float)


def field_law(stores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) how a week's shocks travel, and the covariance of what is new: d[t+1] = travel d[t] + new."""
    place, (sd, reach) = stores[["x", "y"]].to_numpy(), LAW["field"]
    upwind = place - np.array(LAW["wind"])
    near = np.exp(-((upwind[:, None] - place[None]) ** 2).sum(-1) / (2 * LAW["smear"] ** 2))
    travel = near / (near.sum(1, keepdims=True) + 0.01)  # from beyond the map comes nothing
    shift = np.eye(len(place)) - 1 / len(place)  # shoppers go elsewhere: over the map the shocks add up to nothing
    return shift @ travel, sd**2 * (shift @ _alike(stores, reach) @ shift + 1e-4 * np.eye(len(place)))


def autoregressive(rng, law: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    stay, sd = law
    noise = rng.normal(0, 1, shape)
    out = np.empty(shape)
    out[:, 0] = sd * noise[:, 0]
    for t in range(1, shape[1]):
        out[:, t] = stay * out[:, t - 1] + sd * np.sqrt(1 - stay**2) * noise[:, t]
    return out


def spells(rng, law: tuple[float, float], shape: tuple[int, ...]) -> np.ndarray:
    """True while a spell lasts, along the last axis."""
    begins, goes_on = law
    chance = rng.random(shape)
    out = np.zeros(shape, bool)
    for t in range(shape[-1]):
        before = out[..., t - 1] if t else np.zeros(shape[:-1], bool)
        out[..., t] = chance[..., t] < np.where(before, goes_on, begins)
    return out


def season(e, weeks: np.ndarray) -> np.ndarray:
    """(P, T) log demand that comes and goes with the year."""
    height, peak = (e[name].to_numpy()[:, None] for name in ("text_season", "text_peak"))
    return height * np.cos(2 * np.pi * (weeks + 1 - peak) / 52)


def utility(e, taste, plan: dict, weeks: np.ndarray, regime: np.ndarray) -> np.ndarray:
    """(P, S, T) log demand that effects `e`, plan and calendar foretell; -inf before a product's launch.

    e : the products' effects. taste : (P, S) from place to place. plan : `log_price` (P, T) against the list, `display`
    (P, S, T), `mailer`, `rivals` (P, T), `holiday` (T,), of all weeks; `weeks` are those wanted.
    regime : (T,) what elasticities are times in each wanted week.
    """
    column = {k: np.asarray(v, float)[:, None] for k, v in e.items()}
    age = weeks - column["launch"]
    common = (
        column["tidy_appeal"] + column["text_appeal"] + column["picture_appeal"] + column["own_appeal"]
        + season(e, weeks)
        + LAW["holiday"] * plan["holiday"][weeks]
        + column["elasticity"] * regime * plan["log_price"][:, weeks]
        + LAW["mailer"] * column["text_promotion"] * plan["mailer"][:, weeks]
        + LAW["rivals"] * plan["rivals"][:, weeks]
        + LAW["newness"][0] * np.exp(-np.maximum(age, 0) / LAW["newness"][1])
    )  # fmt: skip
    common = np.where(age >= 0, common, -np.inf)
    shown = LAW["display"] * column["picture_display"][:, None] * plan["display"][:, :, weeks]
    return common[:, None] + taste[..., None] + shown


def expected(v: np.ndarray, field: np.ndarray, size: np.ndarray, level: dict, mechanism: str) -> np.ndarray:
    """(P, S, T) mean units from utility v (P, S, T) and shocks (S, T): v drives sales, or shoppers' choice."""
    shoppers = level["shoppers"] * size[:, None] * np.exp(field)
    if mechanism == "log_linear":
        return shoppers * np.exp(v)
    worth = np.exp(v)
    return shoppers * worth / (level["nothing"] + worth.sum(0))


def level(e, taste, plan, s) -> dict[str, float]:
    """What makes the mean product sell as calibrated; prices at their list, so that twins share it."""
    usual = plan | {"log_price": np.zeros_like(plan["log_price"])}
    worth = np.exp(utility(e, taste, usual, np.arange(s.n_weeks), np.ones(s.n_weeks)))
    if s.mechanism == "log_linear":
        return {"shoppers": LAW["units"] / worth.mean(), "nothing": 0.0}
    bought = 0.3  # share of shopping occasions
    return {"shoppers": LAW["units"] * s.n_products / bought, "nothing": worth.sum(0).mean() * (1 - bought) / bought}
