"""The distribution of a forecast by its mean and dispersion: of counts, or of amounts such as kilograms and litres.

Counts are negative binomial (NB2): variance ``mean + dispersion * mean**2``; as `dispersion` vanishes, a Poisson.

Amounts have variance ``unit * mean + dispersion * mean**2``, where `unit` is what a single sale typically amounts to.
They are zero in as many weeks as a negative binomial of sales is; what is sold in the other weeks is a gamma. `unit`
is 0 where sales are counts, here and in the forecast frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

QUANTILES = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)
WQL_QUANTILES = tuple(round(q / 10, 1) for q in range(1, 10))
POISSON_LIMIT = 1e-6  # below this dispersion a negative binomial and a Poisson give the same quantiles
MAX_LOG_DISPERSION = 4
TINY = 1e-9


def quantile_column(q: float) -> str:
    """The column of a quantile: 0.025 is in 'q025'."""
    return f"q{round(q * 1000):03d}"


QUANTILE_COLUMNS = [quantile_column(q) for q in QUANTILES]


def sales_unit(meta: dict) -> float:
    """The `unit` of a panel's forecasts, from its `meta`: 0 where sales are counts.

    Worked example: a market in kilograms, whose rows are mostly of 1.5 kg, has 1.5.
    """
    return float(meta.get("unit", 1.0)) if meta.get("amounts", False) else 0.0


def variance(mean, dispersion, unit=0.0):
    """Units² a week."""
    return np.where(np.asarray(unit) > 0, unit, 1.0) * mean + dispersion * mean**2


def dispersion_of(mean, variance, unit=0.0):
    """The dispersion >= 0 whose distribution of this mean comes nearest to a variance; the inverse of `variance`."""
    poisson = np.where(np.asarray(unit) > 0, unit, 1.0) * mean
    return np.maximum((variance - poisson) / np.maximum(mean, TINY) ** 2, 0.0)


def _size_and_probability(mean, dispersion):
    """The two parameters of scipy's negative binomial."""
    size = 1 / np.maximum(dispersion, POISSON_LIMIT)
    return size, size / (size + np.maximum(mean, TINY))


def count_distribution(mean, dispersion):
    """scipy's negative binomial of these means and dispersions, which broadcast.

    Making one takes longer than evaluating it a few thousand times (scipy writes its documentation), so that loops, as
    in `fit_dispersion`, call `scipy.stats.nbinom` with the parameters.
    """
    return stats.nbinom(*_size_and_probability(mean, dispersion))


@dataclass(frozen=True)
class Amounts:
    """Zero with probability `no_sale`, else a gamma; fields broadcast.

    A week has a negative binomial number of sales, each an exponential amount of mean unit / 2: such a sum has the
    variance above. Its probability of zero is kept exactly, the rest of it is a gamma of the same mean and variance.

    Worked example: mean 2, dispersion 0, unit 1: four sales are expected, so exp(-4) = 2 % of weeks have none.
    """

    no_sale: np.ndarray
    shape: np.ndarray  # of the gamma
    scale: np.ndarray

    @classmethod
    def of(cls, mean, dispersion, unit) -> Amounts:
        """By means in units of sales, dispersions, and the typical amount of a sale (> 0)."""
        mean = np.maximum(mean, TINY)
        no_sale = stats.nbinom.pmf(0, *_size_and_probability(2 * mean / unit, dispersion))
        sold = 1 - np.minimum(no_sale, 1 - TINY)  # probability of a week with a sale
        mean_sold = mean / sold
        spread = np.maximum((variance(mean, dispersion, unit) + mean**2) / sold - mean_sold**2, TINY * mean_sold**2)
        return cls(no_sale, mean_sold**2 / spread, spread / mean_sold)

    def cdf(self, y):
        """Probability of at most `y`."""
        return np.where(
            np.asarray(y) >= 0,
            self.no_sale + (1 - self.no_sale) * stats.gamma.cdf(y, self.shape, scale=self.scale),
            0.0,
        )

    def ppf(self, q):
        """Amounts below which lie the shares `q`."""
        above = (q - self.no_sale) / np.maximum(1 - self.no_sale, TINY)
        return np.where(above > 0, stats.gamma.ppf(np.clip(above, 0, 1), self.shape, scale=self.scale), 0.0)

    def loglikelihood(self, y):
        """Log of the probability of no sale, or of the density of an amount."""
        with np.errstate(divide="ignore"):
            density = stats.gamma.logpdf(np.maximum(y, TINY), self.shape, scale=self.scale)
            sold = np.log1p(-np.minimum(self.no_sale, 1 - TINY)) + density
            return np.where(np.asarray(y) > 0, sold, np.log(np.maximum(self.no_sale, 1e-300)))


def law_quantiles(mean, dispersion, quantiles=QUANTILES, unit=0.0) -> np.ndarray:
    """Quantiles, shape (rows, quantiles).

    Parameters
    ----------
    mean : (rows,) units a week.
    dispersion, unit : one number, or one a row.
    quantiles : (quantiles,), or one set a row.
    """
    mean = np.asarray(mean, float)[:, None]
    dispersion, unit = (np.broadcast_to(np.reshape(x, (-1, 1)).astype(float), mean.shape) for x in (dispersion, unit))
    quantiles = np.broadcast_to(np.asarray(quantiles, float), (len(mean), np.shape(quantiles)[-1]))
    amounts = unit[:, 0] > 0
    if not amounts.any():
        return count_distribution(mean, dispersion).ppf(quantiles)
    out = np.empty(quantiles.shape)
    out[~amounts] = count_distribution(mean[~amounts], dispersion[~amounts]).ppf(quantiles[~amounts])
    out[amounts] = Amounts.of(mean[amounts], dispersion[amounts], unit[amounts]).ppf(quantiles[amounts])
    return out


def fit_dispersion(y, mean, unit: float = 0.0) -> float:
    """Maximum-likelihood dispersion of actuals `y` around given means; counts are rounded, amounts are not."""
    y, mean = np.asarray(y, float), np.asarray(mean, float)
    y = y if unit > 0 else np.round(y)

    def loss(log_dispersion):
        dispersion = np.exp(log_dispersion)
        if unit > 0:
            return -Amounts.of(mean, dispersion, unit).loglikelihood(y).mean()
        return -stats.nbinom.logpmf(y, *_size_and_probability(mean, dispersion)).mean()

    best = optimize.minimize_scalar(loss, bounds=(np.log(POISSON_LIMIT), MAX_LOG_DISPERSION), method="bounded")
    return float(np.exp(best.x))


def pinball(y: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Twice the mean pinball loss of each row over `WQL_QUANTILES`, in units of sales: (rows, 9) -> (rows,)."""
    q = np.array(WQL_QUANTILES)
    gap = y[:, None] - quantiles
    return 2 * np.maximum(q * gap, (q - 1) * gap).mean(1)


def count_wql(y, mean, dispersion, unit: float = 0.0) -> float:
    """Weighted quantile loss of the distributions over all of `y`; see `metrics.scores`."""
    return float(pinball(y, law_quantiles(mean, dispersion, WQL_QUANTILES, unit)).sum() / y.sum())
