"""True expected sales on the simulated market under another plan: the same shoppers, shocks and states of the weeks.

Axes: P products, S stores, L locations (chain first), H weeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies.worlds import log_demand, own_plan


@dataclass(frozen=True)
class Alone:
    """Another plan of each product, as if no other product changed: the whole chain, all weeks.

    price_factor : times the planned price. mailer, display : shares of stores, None for the present ones.
    """

    price_factor: float = 1.0
    mailer: float | None = None
    display: float | None = None


PRESENT = Alone()


def expected(
    market: dict, weeks: pd.DatetimeIndex, stores_by_location: dict[str, list[str]], plan: Alone
) -> np.ndarray:
    """(P, L, H) mean units demanded of each product by the laws of the market, under a plan of its own.

    Other products keep their plans, so what rivals lose is in no number; where shoppers choose, a product wins its
    sales from the others and from buying nothing.

    Parameters
    ----------
    market : the truth, see `market.truth.draw`. weeks : any of its weeks, also those without sales yet.
    """
    at = market["mondays"].get_indexer(weeks)
    if (at < 0).any():
        raise ValueError(f"weeks {weeks[at < 0].date.tolist()} are none of the market's. Choose of its `mondays`.")
    present = _utility(market, at, PRESENT)
    own = _utility(market, at, plan)
    shock = market["field"][:, at] + market["rival"][:, None] * (market["regime"][at] > 1)
    shoppers = market["level"]["shoppers"] * market["stores"]["size"].to_numpy()[:, None] * np.exp(shock)  # S, H
    units = shoppers * np.exp(own)
    if market["settings"]["mechanism"] == "choice":
        weight = np.exp(present)
        units = units / (market["level"]["nothing"] + weight.sum(0) - weight + np.exp(own))
    stores = market["stores"]["store_id"]
    members = np.stack([stores.isin(names) for names in stores_by_location.values()]).astype(float)
    return np.einsum("psh,ls->plh", units, members)


def _utility(market: dict, at: np.ndarray, change: Alone) -> np.ndarray:
    """(P, S, H) log demand of the weeks with all states, under a plan."""
    plan = own_plan(market)
    plan["log_price"][:, at] += np.log(change.price_factor)
    for name in ("mailer", "display"):
        share = getattr(change, name)
        if share is not None:
            plan[name][..., at] = share
    return log_demand(market, plan, at) + (market["interest"][:, at] + market["popularity"][:, at])[:, None]
