"""Level correction: forecasts times what recent forecasts of the same horizon missed.

Units and forecasts of weeks that have passed are summed with weights that fall by the week (an EWMA), and their ratio
is the factor: of the market, of each location drawn to the market's, of each series drawn to its location's. Drawing
adds `prior` units that were forecast, and sold at the factor of the group above. For Poisson counts this is the
posterior mean under a gamma prior, discounted as in Harvey & Fernandes (1989), "Time series models for count or
qualitative observations". It needs no logs of zero sales.

Worked example: a week ago a market was forecast 100 and sold 80; with a prior of 100 units its factor is
(80 + 100) / (100 + 100) = .9. A second week of 100 and 110, with a decay of .5: (.5 · 80 + 110 + 100) /
(.5 · 100 + 100 + 100) = 1.

Axes: N series, C cutoffs, H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from shelfcast.judge.coherence import coherent
from shelfcast.judge.distribution import QUANTILE_COLUMNS, WQL_QUANTILES, pinball, quantile_column
from shelfcast.judge.frame import forecast_frame
from shelfcast.live.online.grid import Grid

LIMITS = (0.2, 5.0)  # of a factor
WEEK = pd.Timedelta(weeks=1)


@dataclass(frozen=True)
class Rates:
    """decay : weight of a week against the one after it. prior : units of each group's own weight, see the module's
    text; infinity leaves forecasts as they are. Those of the market are drawn to 1."""

    decay: float
    market: float
    location: float
    series: float


NONE = Rates(0.0, np.inf, np.inf, np.inf)
DECAYS = (0.5, 0.7, 0.85)
ALONE = np.inf  # a group that is not corrected by itself
PRIORS = (  # of market, location and series
    (300.0, 300.0, ALONE),
    (300.0, 300.0, 100.0),
    (3000.0, 1000.0, 100.0),
    (3000.0, 1000.0, 30.0),
    (ALONE, ALONE, 100.0),
    (ALONE, ALONE, 30.0),
    (ALONE, ALONE, 10.0),
)
CANDIDATES = (NONE, *(Rates(decay, *priors) for decay, priors in product(DECAYS, PRIORS)))
LEAST_GAIN = 0.002  # relative weighted quantile loss; a correction that gains less is not worth its risk


def factors(grid: Grid, week: pd.Timestamp, rates: Rates) -> np.ndarray:
    """(N, H) what to multiply forecasts from `week` by; reads no sales after it."""
    elapsed = grid.elapsed(week)
    age = (np.datetime64(week) - grid.targets) / np.timedelta64(1, "W")  # C, H
    weight = np.where(elapsed, np.power(rates.decay, np.maximum(age, 0)), 0.0)  # N, C, H
    sold, forecast = ((weight * np.nan_to_num(x)).sum(1) for x in (grid.y, grid.mean))  # N, H
    place, names = pd.factorize(grid.series.str.rsplit("|", n=1).str[1])
    inside = (place[None] == np.arange(len(names))[:, None]).astype(float)  # L, N
    at_location = inside @ sold, inside @ forecast  # L, H
    market = _drawn(*(x.sum(0) for x in at_location), 1.0, rates.market)  # H
    location = _drawn(*at_location, market, rates.location)  # L, H
    return np.clip(_drawn(sold, forecast, location[place], rates.series), *LIMITS)


def _drawn(sold: np.ndarray, forecast: np.ndarray, above, prior: float) -> np.ndarray:
    """The ratio of units sold and forecast, drawn to the factor of the group above."""
    if np.isinf(prior):
        return np.broadcast_to(above, sold.shape)
    return (sold + prior * above) / (forecast + prior)


def correct(frame: pd.DataFrame, past: pd.DataFrame, rates: Rates) -> pd.DataFrame:
    """The forecasts of `frame`, each times the factor of its series and horizon at its cutoff; coherent again.

    Parameters
    ----------
    frame : forecast frame of one method. past : of the same method, of earlier cutoffs that it had not learned from;
        may be empty. Cutoffs of `frame` count as past for its later ones.
    """
    if rates == NONE:
        return frame
    grid = Grid.of(pd.concat([past, frame]) if len(past) else frame)
    parts = []
    for cutoff, rows in frame.groupby("cutoff"):
        own = factors(grid, cutoff, rates)
        times = own[grid.series.get_indexer(rows["unique_id"]), rows["horizon"].to_numpy() - 1]
        law = rows["dispersion"].notna().all()
        quantiles = None if law else rows[QUANTILE_COLUMNS].to_numpy() * times[:, None]
        parts.append(
            forecast_frame(rows, rows["mean"].to_numpy() * times, rows["dispersion"], quantiles, rows.get("unit", 0.0))
        )
    return coherent(pd.concat(parts, ignore_index=True))


def choose(validation: pd.DataFrame, candidates: tuple[Rates, ...] = CANDIDATES) -> tuple[Rates, pd.DataFrame]:
    """The rates that would have forecast the validation weeks best, had they arrived one by one.

    Losses are those of quantiles times the factor, which spares a distribution for every candidate. Where none gains
    `LEAST_GAIN`, forecasts stay as they are.

    Parameters
    ----------
    validation : forecast frame of one method that has not learned from these weeks.

    Returns
    -------
    The rates, and a row per candidate: decay, market, location, series, wql.
    """
    rows = validation[validation["y"].notna()]
    grid, columns = Grid.of(rows), [quantile_column(q) for q in WQL_QUANTILES]
    y, quantiles = rows["y"].to_numpy(float), rows[columns].to_numpy()
    series, horizon = grid.series.get_indexer(rows["unique_id"]), rows["horizon"].to_numpy() - 1
    cutoff = grid.cutoffs.get_indexer(rows["cutoff"])
    scores = []
    for rates in candidates:
        times = np.ones((len(grid.cutoffs), *grid.y.shape[::2]))  # C, N, H
        for number in np.unique(cutoff):
            times[number] = factors(grid, grid.cutoffs[number], rates)
        wql = pinball(y, quantiles * times[cutoff, series, horizon][:, None]).sum() / max(y.sum(), 1e-9)
        scores.append((rates.decay, rates.market, rates.location, rates.series, wql))
    table = pd.DataFrame(scores, columns=["decay", "market", "location", "series", "wql"])
    plain, best = table["wql"].iloc[0], int(table["wql"].idxmin())
    return (candidates[best] if table["wql"][best] < (1 - LEAST_GAIN) * plain else candidates[0]), table
