"""What a promotion plan truly gains on the simulated market, by its laws.

Axes: P products of the market, S stores, H weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.market import laws
from shelfcast.market.laws import LAW
from shelfcast.market.tables import raw_tables
from studies.worlds import log_demand, own_plan

STATES = ("true", "expected")


@dataclass(frozen=True)
class World:
    """The weeks after a cutoff, at stated regular prices and terms of promotions.

    weight : (P, S, H) exp of utility without any promotion. lift : (P, S, H) utility that a promotion adds.
    shoppers : (S, H). kind : (P,) number of the product's kind. regular, promoted : (P,) prices. cost : (P, H).
    nothing : weight of buying nothing, where shoppers choose; None in a log-linear market.
    """

    products: pd.Index
    weight: np.ndarray
    lift: np.ndarray
    shoppers: np.ndarray
    kind: np.ndarray
    regular: np.ndarray
    promoted: np.ndarray
    cost: np.ndarray
    fixed_cost: float
    nothing: float | None

    @classmethod
    def of(
        cls,
        market: dict,
        cutoff: pd.Timestamp,
        regular: pd.Series,
        cut: float,
        channels: dict[str, float],
        fixed_cost: float = 0.0,
        states: str = "true",
    ) -> World:
        """
        Parameters
        ----------
        market : the truth, see `market.truth.draw`.
        regular : product_id -> regular price; a product of the market that is not in it keeps its own plan's price.
        channels : 'mailer', 'display' -> share of stores that take part in a promotion.
        states : 'true', the interest, popularity and shocks that came; 'expected', the mean of their effects as the
            laws continue them from the cutoff, which is all that a plan can know.

        Raises
        ------
        ValueError : other states or channels, or a cutoff that is none of the market's weeks.
        """
        if states not in STATES:
            raise ValueError(f"states are {states!r}. Choose of {', '.join(STATES)}.")
        if unknown := sorted(set(channels) - {"mailer", "display"}):
            raise ValueError(f"the simulated market has no channel {unknown[0]!r}. Choose of mailer, display.")
        if cutoff not in market["mondays"]:
            raise ValueError(f"cutoff {cutoff.date()} is none of the market's weeks. Choose of its `mondays`.")
        now = market["mondays"].get_loc(cutoff)
        at = now + np.arange(1, market["settings"]["horizon"] + 1)
        products = pd.Index(market["products"]["product_id"])
        price = np.where(products.isin(regular.index), regular.reindex(products), market["price"][:, at[0]])

        own, shock = true_states(market, at) if states == "true" else expected_states(market, now, len(at))
        without = _utility(market, at, price, {})
        with_one = _utility(market, at, price * (1 - cut), channels)
        launched = np.isfinite(without)
        rival = market["rival"][:, None] * (market["regime"][at] > 1)
        size = market["stores"]["size"].to_numpy()[:, None]
        table = raw_tables(market)["prices"].pivot(index="product_id", columns="week", values="cost")
        return cls(
            products=products,
            weight=np.exp(without) * own[:, None],
            lift=np.where(launched, with_one, 0) - np.where(launched, without, 0),
            shoppers=market["level"]["shoppers"] * size * shock * np.exp(rival),
            kind=pd.factorize(market["products"]["kind"])[0],
            regular=price,
            promoted=price * (1 - cut),
            cost=table.reindex(products)[market["mondays"][at]].fillna(0).to_numpy(),
            fixed_cost=fixed_cost,
            nothing=market["level"]["nothing"] if market["settings"]["mechanism"] == "choice" else None,
        )

    def units(self, plan: np.ndarray) -> np.ndarray:
        """(P, H) expected units demanded in the chain under a plan (P, H) of promotions, with all that they do to others."""
        x = np.asarray(plan, float)
        weight = self.weight * np.exp(self.lift * x[:, None])
        if self.nothing is not None:
            return np.einsum("sh,psh->ph", self.shoppers, weight / (self.nothing + weight.sum(0)))
        same = (self.kind[:, None] == self.kind) & ~np.eye(len(self.kind), dtype=bool)
        rivals = same @ x / np.maximum(same.sum(1, keepdims=True), 1)
        return np.einsum("sh,psh->ph", self.shoppers, weight) * np.exp(LAW.rivals * rivals)

    def money(self, plan: np.ndarray) -> np.ndarray:
        """(H,) margin of all products under a plan, less fixed costs."""
        price = np.where(plan, self.promoted[:, None], self.regular[:, None])
        return ((price - self.cost) * self.units(plan)).sum(0) - self.fixed_cost * np.asarray(plan, bool).sum(0)

    def gain(self, plan: np.ndarray) -> float:
        """Margin of a plan over that of no promotion at all."""
        return float((self.money(plan) - self.money(np.zeros_like(plan))).sum())

    def spending(self) -> np.ndarray:
        """(P, H) fixed cost and price cut of each promotion alone."""
        units = np.einsum("sh,psh->ph", self.shoppers, self.weight * np.exp(self.lift))
        if self.nothing is not None:
            others = self.nothing + self.weight.sum(0) - self.weight
            share = self.weight * np.exp(self.lift) / (others + self.weight * np.exp(self.lift))
            units = np.einsum("sh,psh->ph", self.shoppers, share)
        return self.fixed_cost + (self.regular - self.promoted)[:, None] * units

    def alone(self) -> np.ndarray:
        """(P, H) gain of each promotion alone."""
        nothing = self.money(np.zeros(self.cost.shape, bool))
        gains = np.empty(self.cost.shape)
        for i in range(len(gains)):
            plan = np.zeros(self.cost.shape, bool)
            plan[i] = True  # weeks do not touch each other
            gains[i] = self.money(plan) - nothing
        return gains


def _utility(market: dict, at: np.ndarray, price: np.ndarray, channels: dict[str, float]) -> np.ndarray:
    """(P, S, H) log demand at prices (P,) with a promotion of every product in these channels, rivals left out."""
    plan = own_plan(market)
    plan["log_price"][:, at] = np.log(price / market["products"]["list_price"].to_numpy())[:, None]
    plan["rivals"][:, at] = 0.0
    for name in ("mailer", "display"):
        plan[name][..., at] = channels.get(name, 0.0)
    return log_demand(market, plan, at)


def true_states(market: dict, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, H) and (S, H) factors on demand: of products by interest and popularity, of stores by shocks."""
    return np.exp(market["interest"][:, at] + market["popularity"][:, at]), np.exp(market["field"][:, at])


def expected_states(market: dict, now: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The means of `true_states` as the laws continue the states of week number `now`.

    The logs are normal, so that a mean is exp(mean + variance / 2). Interest of the coming week is known, as views show it.
    """
    h = np.arange(horizon)
    own = np.zeros((len(market["products"]), horizon))
    for law, state, steps in (
        (LAW.interest, market["interest"][:, now + 1], h),
        (LAW.popularity, market["popularity"][:, now], h + 1),
    ):
        kept = law.persistence**steps
        own += state[:, None] * kept + law.sd**2 * (1 - kept**2) / 2
    travel, new = laws.shock_law(market["stores"])
    mean, covariance = market["field"][:, now], np.zeros_like(new)
    shocks = []
    for _ in h:
        mean, covariance = travel @ mean, travel @ covariance @ travel.T + new
        shocks.append(mean + np.diag(covariance) / 2)
    return np.exp(own), np.exp(np.stack(shocks, 1))
