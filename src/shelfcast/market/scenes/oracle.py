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

    Parameters and returns are those of `market.oracle.oracle`. Forecasts begin with a Monday.

    Raises
    ------
    ValueError : a cutoff in the middle of a week, whose luck is known in part.
    """
    rng, law = np.random.default_rng(seed), laws.SCENES[market["settings"]["scene"]]
    stores, products = market["stores"]["store_id"], market["products"]["product_id"].tolist()
    members = np.stack([stores.isin(names) for names in stores_by_location.values()]).astype(float)  # L, S

    def by_location(x: np.ndarray) -> np.ndarray:
        return np.einsum("psh,ls->plh", x, members)

    days, frames = frequency.days, []
    for cutoff in cutoffs:
        monday = pd.Timestamp(cutoff) + pd.Timedelta(days=days)
        if monday.dayofweek != 0:
            raise ValueError(f"the cutoff {cutoff:%Y-%m-%d} is no end of a week. Let weeks start on Monday.")
        first = (monday - market["mondays"][0]).days // 7
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
    """(P, S, H) expected units of the periods from week `first` on, in one future of the states; and units in it."""
    n_weeks = market["settings"]["horizon"]
    popularity = _continued(rng, law.popularity, market["popularity"][:, first - 1], n_weeks)
    local = _continued(rng, law.local, market["local"][:, first - 1], n_weeks)
    luck = rng.gamma(1 / law.luck_variance, law.luck_variance, (len(popularity), 1, n_weeks))
    states = np.exp(popularity[:, None] + local)  # P, S, W
    usual = usual_orders(law, market, first, n_weeks)
    usual = usual.reshape(*usual.shape[:2], -1, days).sum(
        -1
    )  # states last a week, so that orders of it are Poisson too
    per_week = 7 // days
    mean = usual * np.repeat(states, per_week, axis=-1)
    units = laws.draw_units(rng, law, mean * np.repeat(luck, per_week, axis=-1))[1]
    return (1 + law.more_units) * mean, units


def _observed(market: dict, first: int, days: int) -> np.ndarray:
    """(P, S, H) units of the periods from week `first` on; NaN beyond the data."""
    n_periods = market["settings"]["horizon"] * 7 // days
    seen = market["units_by_day"][..., 7 * first :]
    seen = seen.reshape(*seen.shape[:2], -1, days).sum(-1)[..., :n_periods].astype(float)
    return np.pad(seen, ((0, 0), (0, 0), (0, n_periods - seen.shape[-1])), constant_values=np.nan)


def _continued(rng: np.random.Generator, law: Autoregressive, now: np.ndarray, horizon: int) -> np.ndarray:
    """(N, H) futures of autoregressive states that are `now`, (N,)."""
    states, state = np.empty((len(now), horizon)), now
    for h in range(horizon):
        noise = rng.normal(0, law.sd * np.sqrt(1 - law.persistence**2), len(now))
        state = states[:, h] = law.persistence * state + noise
    return states
