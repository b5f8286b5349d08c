"""The limit of what can be forecast on the simulated market: its true state, continued with its true laws.

With some information withheld, the oracle shows what that information can improve at best.
Axes: P products, S stores, L locations, H horizons.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg

from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.market import laws
from shelfcast.market.laws import EFFECTS, LAW, PICTURE_EFFECTS, TEXT_EFFECTS
from shelfcast.market.scenes.oracle import oracle as scene_oracle

INFORMATION = ("text", "picture", "behavior", "space", "plan", "history")


def oracle(
    market: dict,
    cutoffs: Collection[pd.Timestamp],
    stores_by_location: dict[str, list[str]],
    withheld: Collection[str] = (),
    draws: int = 400,
    seed: int = 0,
    frequency: Frequency = WEEKLY,
) -> pd.DataFrame:
    """Forecast by drawing futures from the true state at each cutoff. A change of regime is not foreseen.

    Parameters
    ----------
    market : the truth, see `truth.draw` and `tables.load_truth`.
    withheld : information of `INFORMATION` that the oracle does not have:
        'behavior': the interest of the coming week, which views show;
        'space': other stores' local shocks;
        'plan': promotions and prices to come; they are drawn from the product's own past;
        'history': a product's own appeal, tastes and popularity, as for a new one; they are drawn from their laws;
        'text', 'picture': their effects; they are drawn from other products. A long history shows these effects
        anyway, so withhold them together with 'history'.
    draws : futures per cutoff. frequency : of what is forecast: weeks, or days for a scene of another trade.

    Returns
    -------
    Forecast frame of all products. The mean is that of the futures' conditional means, quantiles are those of their
    counts, and the dispersion gives the counts' variance. `y` is NaN beyond the data and before a launch.

    Raises
    ------
    ValueError : unknown information; nothing is withheld of a scene of another trade.
    """
    if unknown := sorted(set(withheld) - set(INFORMATION)):
        raise ValueError(f"cannot withhold {', '.join(unknown)}. Choose of {', '.join(INFORMATION)}.")
    if market["settings"].get("scene", "shop") != "shop":
        if withheld:
            raise ValueError("nothing can be withheld from the oracle of a scene. Leave `withheld` empty.")
        return scene_oracle(market, cutoffs, stores_by_location, draws, seed, frequency)
    if frequency != WEEKLY:
        raise ValueError(f"this market's laws are of weeks from Monday, not of {frequency.alias}. Set prepare.freq: W.")
    rng = np.random.default_rng(seed)
    world = _World.of(market)
    stores = market["stores"]["store_id"]
    members = np.stack([stores.isin(names) for names in stores_by_location.values()]).astype(float)  # L, S

    def by_location(x: np.ndarray) -> np.ndarray:
        return np.einsum("psh,ls->plh", x, members).ravel()

    frames = []
    for cutoff in cutoffs:
        start = _Start.of(world, market["mondays"].get_loc(cutoff), frozenset(withheld))
        futures = (start.draw_future(rng) for _ in range(draws))
        totals = [(by_location(mean), by_location(sold)) for mean, sold in futures]
        means, counts = (np.stack(part) for part in zip(*totals, strict=True))  # draws, P * L * H
        mean = means.mean(0)
        dispersion = np.maximum((counts.var(0) - mean) / np.maximum(mean, 1e-9) ** 2, 0)
        quantiles = np.quantile(counts, QUANTILES, axis=0, method="inverted_cdf").T
        keys = _keys(market, cutoff, list(stores_by_location), members)
        frames.append(forecast_frame(keys, mean, dispersion, quantiles))
    return pd.concat(frames, ignore_index=True)


def _keys(market: dict, cutoff: pd.Timestamp, locations: list[str], members: np.ndarray) -> pd.DataFrame:
    """`KEYS` with the actuals, for one cutoff."""
    horizon, n_weeks = market["settings"]["horizon"], market["sold"].shape[-1]
    weeks = market["mondays"].get_loc(cutoff) + np.arange(1, horizon + 1)
    observed = weeks < n_weeks
    y = np.full((len(market["products"]), len(locations), 1, horizon), np.nan)
    y[:, :, 0, observed] = np.einsum("psh,ls->plh", market["sold"][..., weeks[observed]], members)
    before_launch = weeks < market["products"]["launch"].to_numpy()[:, None]  # P, H
    y = np.where(before_launch[:, None, None], np.nan, y)
    return grid_keys(market["products"]["product_id"].tolist(), locations, [cutoff], y)


@dataclass(frozen=True)
class _World:
    """A true market with what its laws make of it, the same for all cutoffs."""

    market: dict
    plan: dict[str, np.ndarray]
    effects: pd.DataFrame
    size: np.ndarray  # (S,) of the stores
    city: np.ndarray  # (P, S) taste for a claim in the city
    travel: np.ndarray  # (S, S) see `laws.shock_law`
    shock_root: np.ndarray  # (S, S) Cholesky factor of the covariance of a week's new shocks
    shock_covariance: np.ndarray  # (S, S) of the shocks in the long run

    @classmethod
    def of(cls, market: dict) -> _World:
        stores, effects = market["stores"], market["products"][EFFECTS]
        travel, new = laws.shock_law(stores)
        return cls(
            market=market,
            plan={name.removeprefix("plan_"): x for name, x in market.items() if name.startswith("plan_")},
            effects=effects,
            size=stores["size"].to_numpy(),
            city=laws.city_taste(effects, stores),
            travel=travel,
            shock_root=np.linalg.cholesky(new),
            shock_covariance=linalg.solve_discrete_lyapunov(travel, new),
        )


@dataclass(frozen=True)
class _Start:
    """The market at a cutoff, from which futures are drawn."""

    world: _World
    now: int  # number of the last observed week
    withheld: frozenset[str]
    weeks: np.ndarray  # (H,) numbers of the weeks to come
    elasticity_factor: np.ndarray  # (H,) that of now
    rival: np.ndarray  # (S,) log effect of now
    utility: np.ndarray | None  # (P, S, H); None where what is withheld makes it differ from draw to draw

    @classmethod
    def of(cls, world: _World, now: int, withheld: frozenset[str]) -> _Start:
        market = world.market
        weeks = np.arange(now + 1, now + 1 + market["settings"]["horizon"])
        factor = np.full(len(weeks), market["regime"][now])
        utility = None
        if not withheld & {"text", "picture", "history", "plan"}:
            utility = laws.utility(world.effects, market["taste"] + world.city, world.plan, weeks, factor)
        return cls(world, now, withheld, weeks, factor, market["rival"] * (factor[0] > 1), utility)

    def draw_future(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Conditional means and units sold of one future, each (P, S, H)."""
        world, market = self.world, self.world.market
        utility = self.draw_utility(rng) if self.utility is None else self.utility
        n_products, n_stores, horizon = utility.shape
        interest, popularity = self._draw_states(rng)
        shock, out = market["field"][:, self.now], market["out"][:, :, self.now]
        own_shocks = self._draw_shocks_of_own_store(rng) if "space" in self.withheld else None
        mean, sold = np.empty(utility.shape), np.empty(utility.shape, np.int64)
        spells, sells = (
            laws.stock_out_law(market["settings"].get("stock_outs")),
            not market["settings"].get("stockouts_table", False),
        )
        for h in range(horizon):
            if h > 0:
                interest = _step(rng, LAW.interest, interest)
            popularity = _step(rng, LAW.popularity, popularity)
            if own_shocks is None:
                shock = world.travel @ shock + world.shock_root @ rng.normal(size=n_stores)
            else:
                shock = own_shocks[h]
            log_demand = utility[..., h] + (interest + popularity)[:, None]
            means = laws.mean_units(
                log_demand[..., None],
                (shock + self.rival)[:, None],
                world.size,
                market["level"],
                market["settings"]["mechanism"],
            )[..., 0]
            lucky_mean = means * _gamma(rng, LAW.luck_variance, (n_products, 1))
            wanted = rng.poisson(lucky_mean * _gamma(rng, LAW.store_dispersion, means.shape))
            out = rng.random(means.shape) < np.where(out, spells.continues, spells.starts)
            out = out & sells  # where a table tells of stock-outs, demand is forecast
            sold[..., h] = np.where(out, rng.binomial(wanted, rng.random(means.shape)), wanted)
            mean[..., h] = means * np.where(out, 0.5, 1.0)  # a stock-out leaves half on average
        return mean, sold

    def draw_utility(self, rng: np.random.Generator) -> np.ndarray:
        """(P, S, H) a utility in which what is withheld is drawn from other products, or the product's own past."""
        market, effects, plan = self.world.market, self.world.effects.copy(), self.world.plan
        n = len(effects)
        for kind, names in (("text", TEXT_EFFECTS), ("picture", PICTURE_EFFECTS)):
            if kind in self.withheld:
                donor = rng.integers(0, n, n)
                effects[names] = effects[names].to_numpy()[donor]
        taste = market["taste"]
        if "history" in self.withheld:
            effects["own_appeal"] = rng.normal(0, LAW.own_appeal_sd, n)
            taste = laws.draw_tastes(rng, market["stores"], n)
        if "plan" in self.withheld:
            plan = self._draw_plan(rng)
        taste = taste + laws.city_taste(effects, market["stores"])
        return laws.utility(effects, taste, plan, self.weeks, self.elasticity_factor)

    def _draw_plan(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A plan in which the weeks to come repeat a stretch of each product's own past."""
        n = len(self.world.effects)
        first = rng.integers(0, self.now - len(self.weeks), n)
        plan = {name: values.copy() for name, values in self.world.plan.items()}
        for name in ("log_price", "mailer", "rivals", "display"):
            for h, week in enumerate(self.weeks):
                plan[name][..., week] = self.world.plan[name][np.arange(n), ..., first + h]
        return plan

    def _draw_states(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Interest of the coming week and popularity of now, (P,) each; drawn where they are withheld."""
        market = self.world.market
        interest, popularity = market["interest"][:, self.now + 1], market["popularity"][:, self.now]
        if "behavior" in self.withheld:
            interest = _step(rng, LAW.interest, market["interest"][:, self.now])
        if "history" in self.withheld:
            popularity = LAW.popularity.sd * rng.normal(size=len(popularity))
        return interest, popularity

    def _draw_shocks_of_own_store(self, rng: np.random.Generator) -> list[np.ndarray]:
        """(S,) shocks of each week to come, as far as each store's own present one predicts them.

        Each week's law is exact; the weeks are drawn independently.
        """
        shock, longrun = self.world.market["field"][:, self.now], self.world.shock_covariance
        shocks, power = [], np.eye(len(shock))
        for _ in self.weeks:
            power = self.world.travel @ power
            shared = power @ longrun  # covariance of the week's shocks with those of now
            slope = np.diag(np.diag(shared) / np.diag(longrun))
            rest = longrun - shared @ slope - slope @ shared.T + slope @ longrun @ slope
            shocks.append(slope @ shock + rng.multivariate_normal(np.zeros(len(shock)), rest, method="eigh"))
        return shocks


def _step(rng: np.random.Generator, law: laws.Autoregressive, x: np.ndarray) -> np.ndarray:
    """The next week of an autoregressive series."""
    return law.persistence * x + law.sd * np.sqrt(1 - law.persistence**2) * rng.normal(size=len(x))


def _gamma(rng: np.random.Generator, variance: float, shape: tuple[int, ...]) -> np.ndarray:
    """Factors of mean 1."""
    return rng.gamma(1 / variance, variance, shape)
