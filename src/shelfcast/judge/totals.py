"""Distribution of sums of forecasts: over a series' weeks, and over many series.

The range of a sum is not the sum of ranges. Over a series' weeks the errors are correlated as they were at past
cutoffs (`week_correlation`), and the sum has a distribution of that mean and variance. Over series a common error
remains that no single distribution shows; so the range of a total (`total`) is the larger of what independent series
give and of how far the total missed at past cutoffs, by Student's t on the few separate stretches of weeks there are.

`past` is a forecast frame whose weeks have actuals, `ahead` one of the coming weeks; both of one method.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.judge.distribution import dispersion_of, law_quantiles, variance

RANGE_80 = 2 * stats.norm.ppf(0.9)  # width of a normal distribution's 80 % range, in standard deviations


def _deviation(frame: pd.DataFrame) -> pd.Series:
    """Standard deviation of each row; from its 80 % range where a method gives quantiles only."""
    by_law = np.sqrt(variance(frame["mean"], frame["dispersion"], frame.get("unit", 0.0)))
    return by_law.fillna((frame["q900"] - frame["q100"]) / RANGE_80).clip(lower=1e-6)


def week_correlation(past: pd.DataFrame) -> float:
    """Correlation of a series' standardised errors between the weeks of one forecast, pooled over past cutoffs.

    Worked example: two series with errors (1, 1) and (1, -1): the pairs 1 and -1 cancel, correlation 0.
    """
    past = past[past["y"].notna()]
    errors = ((past["y"] - past["mean"]) / _deviation(past)).groupby([past["unique_id"], past["cutoff"]])
    squares = errors.agg(lambda z: (z**2).sum())
    pairs = (errors.sum() ** 2 - squares).sum()  # products of errors, over all pairs of weeks
    scale = (squares * (errors.size() - 1)).sum()
    return float(np.clip(pairs / scale, 0, 1)) if scale > 0 else 0.0


def sums(ahead: pd.DataFrame, correlation: float) -> pd.DataFrame:
    """Per series: mean, sd, low and high (80 %) of its units over all weeks of `ahead`."""
    frame = ahead.assign(sd=_deviation(ahead), unit=ahead.get("unit", 0.0))
    frame["squared"] = frame["sd"] ** 2
    out = frame.groupby("unique_id").agg(
        mean=("mean", "sum"), sd=("sd", "sum"), squared=("squared", "sum"), unit=("unit", "first")
    )
    of_sum = (1 - correlation) * out["squared"] + correlation * out["sd"] ** 2
    dispersion = dispersion_of(out["mean"], of_sum, out["unit"])
    low, high = law_quantiles(out["mean"], dispersion, (0.1, 0.9), out["unit"]).T
    return pd.DataFrame({"mean": out["mean"], "sd": np.sqrt(of_sum), "low": low, "high": high})


def total(past: pd.DataFrame, ahead: pd.DataFrame, correlation: float) -> pd.Series:
    """Units of all series of `ahead` together: mean, q100, q250, q750, q900, and `miss`.

    `past` holds forecasts of the same series; `miss` is the root mean squared relative error of their totals per
    cutoff.
    """
    past = past[past["y"].notna()]
    totals = past.groupby("cutoff")[["y", "mean"]].sum().clip(lower=1e-9)
    miss = float(np.sqrt((np.log(totals["y"] / totals["mean"]).clip(-2, 2) ** 2).mean()))
    series, stretches = sums(ahead, correlation), max(1, past["ds"].nunique() // ahead["ds"].nunique())
    mean = series["mean"].sum()
    scale = max(miss, np.sqrt((series["sd"] ** 2).sum()) / max(mean, 1e-9))
    bands = {f"q{q}": mean * np.exp(stats.t.ppf(q / 1000, stretches) * scale) for q in (100, 250, 750, 900)}
    return pd.Series({"mean": mean, **bands, "miss": miss})
