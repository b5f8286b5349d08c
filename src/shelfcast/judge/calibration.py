"""Calibration of count forecasts by the randomised probability integral transform (PIT).

Reference: Czado, Gneiting & Held (2009), "Predictive model assessment for count data".
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import count_distribution


def pit_bounds(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """F(y-1) and F(y) of each row's count distribution; NaN where a method has none.

    A calibrated forecast spreads each actual evenly between the two, and all rows together over [0, 1]: a Poisson of
    mean 1 that meets y = 0 owns the range [0, .37], so a quarter of its mass lies below .0925.
    """
    y = np.round(frame["y"].to_numpy(float))
    distribution = count_distribution(frame["mean"].to_numpy(float), frame["dispersion"].to_numpy(float))
    return distribution.cdf(y - 1), distribution.cdf(y)


def mass_between(bounds: tuple[np.ndarray, np.ndarray], low: float, high: float) -> np.ndarray:
    """Share of each row's PIT range [F(y-1), F(y)] that lies between two probabilities; NaN where there is no range."""
    below, upto = bounds
    overlap = np.clip(np.minimum(upto, high) - np.maximum(below, low), 0, None)
    inside = (below >= low) & (upto <= high)  # a range without length: far in a tail, F(y-1) = F(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(upto > below, overlap / (upto - below), inside.astype(float))
    return np.where(np.isnan(below), np.nan, share)


def pit(frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Randomised PIT of each row: uniform on [0, 1] where the distributions are calibrated."""
    below, upto = pit_bounds(frame)
    return below + (upto - below) * np.random.default_rng(seed).random(len(frame))


def pit_histogram(frame: pd.DataFrame, bins: int = 10) -> np.ndarray:
    """Expected share of PIT values in each of `bins` bins, without randomness: 1 / bins where calibrated."""
    bounds, edges = pit_bounds(frame), np.linspace(0, 1, bins + 1)
    return np.array([np.nanmean(mass_between(bounds, low, high)) for low, high in pairwise(edges)])
