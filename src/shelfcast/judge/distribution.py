"""The count distribution of a forecast: a negative binomial by its mean and dispersion.

Variance is ``mean + dispersion * mean**2`` (NB2); as `dispersion` vanishes it becomes a Poisson.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

QUANTILES = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)
WQL_QUANTILES = tuple(round(q / 10, 1) for q in range(1, 10))
POISSON_LIMIT = 1e-6  # below this dispersion a negative binomial and a Poisson give the same quantiles


def quantile_column(q: float) -> str:
    """The column of a quantile: 0.025 is in 'q025'."""
    return f"q{round(q * 1000):03d}"


QUANTILE_COLUMNS = [quantile_column(q) for q in QUANTILES]


def count_distribution(mean, dispersion):
    """scipy's negative binomial of these means and dispersions, which broadcast."""
    size = 1 / np.maximum(dispersion, POISSON_LIMIT)
    mean = np.maximum(mean, 1e-9)
    return stats.nbinom(size, size / (size + mean))


def negative_binomial_quantiles(mean, dispersion, quantiles=QUANTILES) -> np.ndarray:
    """Integer quantiles, shape (rows, quantiles); `dispersion` is one number or one per row."""
    mean = np.asarray(mean, float)[:, None]
    dispersion = np.broadcast_to(np.asarray(dispersion, float).reshape(-1, 1), mean.shape)
    return count_distribution(mean, dispersion).ppf(np.asarray(quantiles)[None, :])


def fit_dispersion(y, mean) -> float:
    """Maximum-likelihood dispersion of counts `y` around given means."""
    y, mean = np.round(np.asarray(y, float)), np.asarray(mean, float)

    def loss(log_dispersion):
        return -count_distribution(mean, np.exp(log_dispersion)).logpmf(y).mean()

    best = optimize.minimize_scalar(loss, bounds=(np.log(POISSON_LIMIT), 4), method="bounded")
    return float(np.exp(best.x))


def count_wql(y, mean, dispersion) -> float:
    """Weighted quantile loss of negative binomials over all of `y`; see `metrics.scores`."""
    q = np.array(WQL_QUANTILES)
    gap = y[:, None] - negative_binomial_quantiles(mean, dispersion, q)
    return float(2 * np.maximum(q * gap, (q - 1) * gap).mean(1).sum() / y.sum())
