"""The limit of what can be forecast of a scene: its true state at a cutoff, continued with its true laws.

Axes: P products, S places, L locations, H weeks ahead.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.market.laws import Autoregressive
from shelfcast.market.scenes import laws
from shelfcast.market.scenes.truth import usual_orders


def oracle(
    market: dict, cutoffs: Collection[pd.Timestamp], stores_by_location: dict[str, list[str]], draws: int, seed: int
) -> pd.DataFrame:
    """Forecast by drawing futures of popularity, local states, luck and orders from each cutoff, with the plan known.

    Parameters and returns are those of `market.oracle.oracle`.
    """
    rng, law = np.random.default_rng(seed), laws.SCENES[market["settings"]["scene"]]
    horizon, n_weeks = market["settings"]["horizon"], market["settings"]["n_weeks"]
    stores, products = market["stores"]["store_id"], market["products"]["product_id"].tolist()
    members = np.stack([stores.isin(names) for names in stores_by_location.values()]).astype(float)  # L, S
    per_order, frames = 1 + law.more_units, []
    for cutoff in cutoffs:
        now = market["mondays"].get_loc(cutoff)
        usual = usual_orders(law, market, now + 1, horizon)
        usual = usual.reshape(*usual.shape[:2], horizon, 7).sum(
            -1
        )  # states last a week, so a week's orders are Poisson
        means, counts = [], []
        for _ in range(draws):
            mean = usual * np.exp(_continued(rng, law.popularity, market["popularity"][:, now], horizon))[:, None]
            mean *= np.exp(_continued(rng, law.local, market["local"][:, now], horizon))
            means.append(np.einsum("psh,ls->plh", per_order * mean, members).ravel())
            luck = rng.gamma(1 / law.luck_variance, law.luck_variance, (len(products), 1, horizon))
            units = laws.draw_units(rng, law, mean * luck)[1]
            counts.append(np.einsum("psh,ls->plh", units, members).ravel())
        means, counts = np.stack(means), np.stack(counts)  # draws, P * L * H
        mean = means.mean(0)
        dispersion = np.maximum((counts.var(0) - mean) / np.maximum(mean, 1e-9) ** 2, 0)
        quantiles = np.quantile(counts, QUANTILES, axis=0, method="inverted_cdf").T
        weeks = now + np.arange(1, horizon + 1)
        seen = weeks < n_weeks
        y = np.full((len(products), len(members), 1, horizon), np.nan)
        y[:, :, 0, seen] = np.einsum("psh,ls->plh", market["sold"][..., weeks[seen]], members)
        keys = grid_keys(products, list(stores_by_location), [cutoff], y)
        frames.append(forecast_frame(keys, mean, dispersion, quantiles))
    return pd.concat(frames, ignore_index=True)


def _continued(rng: np.random.Generator, law: Autoregressive, now: np.ndarray, horizon: int) -> np.ndarray:
    """(N, H) futures of autoregressive states that are `now`, (N,)."""
    states, state = np.empty((len(now), horizon)), now
    for h in range(horizon):
        noise = rng.normal(0, law.sd * np.sqrt(1 - law.persistence**2), len(now))
        state = states[:, h] = law.persistence * state + noise
    return states
