"""Draw a market's truth: latent states, plans, prices and sales.

Every kind of chance has a random stream of its own, so a twin with other prices meets the same shoppers and shocks.
Axes: P products, S stores, T weeks with sales, A all weeks: those with sales, then those of the plan alone.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.market import laws
from shelfcast.market.catalogue import BRANDS, draw_products, draw_stores
from shelfcast.market.laws import EFFECTS, LAW
from shelfcast.panel.calendar import holiday_counts
from shelfcast.settings import Simulation

STREAMS = (
    "products",
    "stores",
    "tastes",
    "interest",
    "popularity",
    "field",
    "stock_outs",
    "luck",
    "till",
    "promotions",
    "costs",
    "prices",
    "behavior",
)
PRICE_LAG = 4  # weeks by which prices follow popularity, where they do
WARM_UP = 60  # weeks after which local shocks have forgotten their start
Streams = dict[str, np.random.Generator]
Arrays = dict[str, np.ndarray]


def draw(simulation: Simulation) -> dict:
    """Draw the whole truth of a market.

    Returns
    -------
    Tables `products` and `stores`; `mondays`; `settings` and demand `level` as dictionaries; and arrays:
    interest (P, A+1), popularity (P, A), field (S, A) and taste (P, S): log effects on demand;
    rival (S,) and regime (A,): the rival's log effect, and the factor of elasticities;
    cost and price (P, A); promoted, depth (P, A): whether and by which share the price is cut;
    mean, wanted, sold, out (P, S, T): mean units, units demanded and sold, whether there is a stock-out;
    luck, views, clicks (P, T); plan_holiday (A,), plan_display (P, S, A), plan_mailer, plan_rivals, plan_log_price (P, A).
    """
    children = np.random.SeedSequence(simulation.seed).spawn(len(STREAMS))
    rng = {name: np.random.default_rng(child) for name, child in zip(STREAMS, children, strict=True)}
    products, stores = draw_products(rng["products"], simulation), draw_stores(rng["stores"], simulation)
    n_all_weeks = simulation.n_weeks + simulation.horizon
    mondays = pd.date_range(laws.FIRST_WEEK, periods=n_all_weeks, freq="7D")

    states = draw_latent_states(rng, products, stores, n_all_weeks)
    rival, elasticity_factor = change_regime(stores, simulation)
    plan = {"holiday": np.asarray(holiday_counts(mondays, "US", observed=True), float)}
    promotions, promotion_plan = draw_promotions(rng["promotions"], products, stores, simulation)
    plan |= promotion_plan
    earlier_popularity = states["popularity"][:, :n_all_weeks]
    prices = draw_prices(rng, products, plan["holiday"], promotions, earlier_popularity, simulation.confounding)
    plan["log_price"] = prices.pop("log_price")
    states["popularity"] = states["popularity"][:, PRICE_LAG:]

    level, sales = simulate_sales(rng, products, stores, states, plan, (rival, elasticity_factor), simulation)
    return {
        "settings": asdict(simulation),
        "products": products,
        "stores": stores,
        "level": level,
        "mondays": mondays,
        **states,
        "rival": rival,
        "regime": elasticity_factor,
        **prices,
        **sales,
        **draw_behavior(rng["behavior"], products, states["interest"], simulation.n_weeks),
        **promotions,
        **{f"plan_{name}": values for name, values in plan.items()},
    }


def draw_latent_states(rng: Streams, products: pd.DataFrame, stores: pd.DataFrame, n_weeks: int) -> Arrays:
    """Log effects on demand that no table shows: interest, popularity (from `PRICE_LAG` weeks earlier on), field, taste."""
    p, n = len(products), len(stores)
    travel, covariance = laws.shock_law(stores)
    noise = rng["field"].multivariate_normal(np.zeros(n), covariance, n_weeks + WARM_UP, method="cholesky")
    shock = np.zeros((n, n_weeks + WARM_UP))
    for week in range(1, n_weeks + WARM_UP):
        shock[:, week] = travel @ shock[:, week - 1] + noise[week]
    return {
        "interest": laws.draw_autoregressive(rng["interest"], LAW.interest, (p, n_weeks + 1)),
        "popularity": laws.draw_autoregressive(rng["popularity"], LAW.popularity, (p, n_weeks + PRICE_LAG)),
        "field": shock[:, WARM_UP:],
        "taste": laws.draw_tastes(rng["tastes"], stores, p),
    }


def change_regime(stores: pd.DataFrame, simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """What the last weeks change: (S,) the rival's log effect once it is open, (A,) the factor of elasticities.

    Of a strength of 0 the factor stays 1, and with it the rival is never open.
    """
    squared_distance = ((stores[["x", "y"]].to_numpy() - LAW.rival_position) ** 2).sum(1)
    rival = simulation.regime_strength * LAW.rival * np.exp(-squared_distance / (2 * LAW.rival_reach**2))
    changed = np.arange(simulation.n_weeks + simulation.horizon) >= simulation.n_weeks - simulation.regime_weeks
    return rival, np.where(changed, LAW.regime_elasticity**simulation.regime_strength, 1.0)


def draw_promotions(
    rng: np.random.Generator, products: pd.DataFrame, stores: pd.DataFrame, simulation: Simulation
) -> tuple[Arrays, Arrays]:
    """Promotions (promoted, depth), and what the plan shows of them (mailer, display, rivals).

    Depth, kind and stores are drawn once for a promotion: those of its first week hold for all of its weeks.
    """
    p, n, n_weeks = len(products), len(stores), simulation.n_weeks + simulation.horizon
    promoted = laws.draw_spells(rng, LAW.promotion, (p, n_weeks))
    starts = promoted & ~np.c_[np.zeros(p, bool), promoted[:, :-1]]
    first_week = np.maximum.accumulate(np.where(starts, np.arange(n_weeks), 0), 1)  # P, A
    product, store = np.arange(p)[:, None], np.arange(n)[:, None]
    depth = rng.choice([0.1, 0.15, 0.2, 0.3], (p, n_weeks))[product, first_week]
    kind = rng.random((p, n_weeks))[product, first_week]
    takes_part = rng.random((p, n, n_weeks)) < LAW.display_share
    takes_part = takes_part[product[..., None], store, first_week[:, None]]  # P, S, A
    mailed = promoted & (kind < 0.6)
    displayed = promoted & (kind > 0.3) & (kind < 0.9)  # so there is a mailer, both, a display, or a price cut alone
    rivals = np.zeros((p, n_weeks))
    if simulation.mechanism == "log_linear":  # elsewhere rivalry follows from choice
        same_kind = products["kind"].to_numpy()[:, None] == products["kind"].to_numpy()
        np.fill_diagonal(same_kind, False)
        rivals = same_kind @ promoted / np.maximum(same_kind.sum(1, keepdims=True), 1)
    plan = {
        "mailer": mailed.astype(float),
        "display": (displayed[:, None] & takes_part).astype(float),
        "rivals": rivals,
    }
    return {"promoted": promoted, "depth": depth}, plan


def draw_prices(
    rng: Streams,
    products: pd.DataFrame,
    holiday: np.ndarray,
    promotions: Arrays,
    earlier_popularity: np.ndarray,
    confounding: str,
) -> Arrays:
    """Cost (log, against the usual one), price and log_price (against the list price) of all weeks, each (P, A)."""
    shape = earlier_popularity.shape
    brand = pd.factorize(products["brand"], sort=True)[0]
    cost = laws.draw_autoregressive(rng["costs"], (0.9, 0.08), (len(BRANDS), shape[1]))[brand]
    seasonal_demand = laws.season(products, np.arange(shape[1])) + LAW.holiday * holiday
    observed = LAW.price_on_season * seasonal_demand * (confounding != "none")
    hidden = LAW.price_on_popularity * earlier_popularity * (confounding == "hidden")
    log_price = 0.6 * cost + observed + hidden + rng["prices"].normal(0, 0.03, shape)
    list_price = products["list_price"].to_numpy()[:, None]
    cut = promotions["depth"] * promotions["promoted"]
    price = np.maximum(np.round(list_price * np.exp(log_price) * (1 - cut), 2), 0.05)
    return {"cost": cost, "price": price, "log_price": np.log(price / list_price)}


def simulate_sales(
    rng: Streams,
    products: pd.DataFrame,
    stores: pd.DataFrame,
    states: Arrays,
    plan: Arrays,
    regime: tuple[np.ndarray, np.ndarray],
    simulation: Simulation,
) -> tuple[dict[str, float], Arrays]:
    """The level of demand, and mean, luck, wanted, sold and out of the weeks with sales; see `draw`."""
    t, effects = simulation.n_weeks, products[EFFECTS]
    rival, elasticity_factor = regime[0], regime[1][:t]
    taste = states["taste"] + laws.city_taste(effects, stores)
    level = laws.demand_level(effects, taste, plan, t, simulation.mechanism)
    utility = laws.utility(effects, taste, plan, np.arange(t), elasticity_factor)
    utility = utility + (states["interest"][:, :t] + states["popularity"][:, :t])[:, None]
    shock = states["field"][:, :t] + rival[:, None] * (elasticity_factor > 1)  # the rival opens as elasticities grow
    mean = laws.mean_units(utility, shock, stores["size"].to_numpy(), level, simulation.mechanism)

    luck = rng["luck"].gamma(1 / LAW.luck_variance, LAW.luck_variance, (len(products), t))
    lucky_mean = np.maximum(mean * luck[:, None], 1e-12)
    size = 1 / LAW.store_dispersion
    wanted = stats.nbinom.ppf(rng["till"].random(mean.shape), size, size / (size + lucky_mean)).astype(int)
    out = laws.draw_spells(rng["stock_outs"], laws.stock_out_law(simulation.stock_outs), mean.shape)
    share_left, chance = rng["stock_outs"].random((2, *mean.shape))
    sold = np.where(out, stats.binom.ppf(chance, wanted, share_left).astype(int), wanted)
    return level, {"mean": mean, "luck": luck, "wanted": wanted, "sold": sold, "out": out}


def draw_behavior(rng: np.random.Generator, products: pd.DataFrame, interest: np.ndarray, n_weeks: int) -> Arrays:
    """Views and clicks (P, T): they follow the interest of the coming week, and start two weeks before a launch."""
    appeal = products["tidy_appeal"] + products["text_appeal"] + products["picture_appeal"] + products["own_appeal"]
    mean = np.exp(4 + 0.5 * appeal.to_numpy())[:, None] * np.exp(interest[:, 1 : n_weeks + 1])
    listed = np.arange(n_weeks) >= products["launch"].to_numpy()[:, None] - 2
    mean = np.where(listed, mean, 0)
    return {"views": rng.poisson(mean), "clicks": rng.poisson(0.15 * mean)}
