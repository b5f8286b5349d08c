"""The limit of what can be forecast of a scene: its true state at a cutoff, continued with its true laws.

Axes: P products, S places, L locations, W weeks ahead, H periods ahead: weeks, or days.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.market.laws import Autoregressive
from shelfcast.market.scenes import laws
from shelfcast.market.scenes.truth import usual_orders


def oracle(
    market: dict,
    cutoffs: Collection[pd.Timestamp],
    stores_by_location: dict[str, list[str]],
    draws: int,
    seed: int,
    frequency: Frequency = WEEKLY,
) -> pd.DataFrame:
    """Forecast by drawing futures of popularity, local states, luck and orders from each cutoff, with the plan known.

    Parameters and returns are those of `market.oracle.oracle`. Of a week that a cutoff divides, the states are known and
    the luck of its other days is drawn anew.
    """
    rng, law = np.random.default_rng(seed), laws.SCENES[market["settings"]["scene"]]
    stores, products = market["stores"]["store_id"], market["products"]["product_id"].tolist()
    members = np.stack([stores.isin(names) for names in stores_by_location.values()]).astype(float)  # L, S

    def by_location(x: np.ndarray) -> np.ndarray:
        return np.einsum("psh,ls->plh", x, members)

    days, frames = frequency.days, []
    for cutoff in cutoffs:
        first = (pd.Timestamp(cutoff) - market["mondays"][0]).days + days  # number of the first day ahead
        futures = [_future(rng, law, market, first, days) for _ in range(draws)]
        means, counts = (np.stack([by_location(x).ravel() for x in part]) for part in zip(*futures, strict=True))
        mean = means.mean(0)
        dispersion = np.maximum((counts.var(0) - mean) / np.maximum(mean, 1e-9) ** 2, 0)
        quantiles = np.quantile(counts, QUANTILES, axis=0, method="inverted_cdf").T
        y = by_location(_observed(market, first, days))[:, :, None]
        keys = grid_keys(products, list(stores_by_location), [cutoff], y, frequency)
        frames.append(forecast_frame(keys, mean, dispersion, quantiles))
    return pd.concat(frames, ignore_index=True)


def _future(
    rng: np.random.Generator, law: laws.Law, market: dict, first: int, days: int
) -> tuple[np.ndarray, np.ndarray]:
    """(P, S, H) expected units of the periods from day `first` on, in one future of the states; and units in it."""
    n_weeks, now = market["settings"]["horizon"], (first - 1) // 7  # the week of the last day that is known
    ahead = slice(first - 7 * now, first - 7 * now + 7 * n_weeks)  # days ahead, among those from week `now` on
    popularity = _from_now(rng, law.popularity, market["popularity"][:, now], n_weeks)
    local = _from_now(rng, law.local, market["local"][:, now], n_weeks)
    luck = rng.gamma(1 / law.luck_variance, law.luck_variance, (len(popularity), 1, n_weeks + 1))
    states = np.exp(popularity[:, None] + local)  # P, S, W + 1
    usual = usual_orders(law, market, now, n_weeks + 1)[..., ahead]
    mean = usual * np.repeat(states, 7, axis=-1)[..., ahead]
    lucky = mean * np.repeat(luck, 7, axis=-1)[..., ahead]
    mean, lucky = (x.reshape(*x.shape[:2], -1, days).sum(-1) for x in (mean, lucky))
    return (1 + law.more_units) * mean, laws.draw_units(rng, law, lucky)[1]


def _observed(market: dict, first: int, days: int) -> np.ndarray:
    """(P, S, H) units of the periods from day `first` on; NaN where they are not observed whole."""
    n_days = 7 * market["settings"]["horizon"]
    seen = market["units_by_day"][..., first : first + n_days].astype(float)
    seen = np.pad(seen, ((0, 0), (0, 0), (0, n_days - seen.shape[-1])), constant_values=np.nan)
    return seen.reshape(*seen.shape[:2], -1, days).sum(-1)


def _from_now(rng: np.random.Generator, law: Autoregressive, now: np.ndarray, n_weeks: int) -> np.ndarray:
    """(N, 1 + W) autoregressive states: those that are `now`, (N,), and a future of them."""
    states, state = np.empty((len(now), 1 + n_weeks)), now
    states[:, 0] = now
    for h in range(1, 1 + n_weeks):
        noise = rng.normal(0, law.sd * np.sqrt(1 - law.persistence**2), len(now))
        state = states[:, h] = law.persistence * state + noise
    return states
