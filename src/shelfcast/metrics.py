"""How good a forecast is: one long frame of forecasts in, scores by any grouping out.

A forecast frame has one row per series, cutoff, horizon and method: `unique_id` (product|location), `ds`,
`cutoff`, `horizon`, `method`, `mean`, `dispersion` (alpha of a negative binomial with variance m + alpha m²;
NaN where the method has no count distribution), quantile columns (`q025` … `q975`) and the realised `y`.

References: RMSSE, M5 competition (Makridakis et al. 2022); WQL, GluonTS (Alexandrov et al. 2020); randomised
PIT, Czado, Gneiting & Held (2009), "Predictive model assessment for count data".
"""

from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import optimize, stats

QUANTILES = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)
WQL_QUANTILES = tuple(round(q / 10, 1) for q in range(1, 10))
COVERAGES = (50, 80, 95)
POISSON = 1e-6  # below this dispersion a negative binomial and a Poisson give the same quantiles


def quantile_column(q: float) -> str:
    return f"q{round(q * 1000):03d}"


def count_distribution(mean, dispersion):
    """Negative binomial with variance ``mean + dispersion * mean**2``; a Poisson as `dispersion` vanishes."""
    size = 1 / np.maximum(dispersion, POISSON)
    mean = np.maximum(mean, 1e-9)
    return stats.nbinom(size, size / (size + mean))


def negative_binomial_quantiles(mean, dispersion, quantiles=QUANTILES) -> np.ndarray:
    """Integer quantiles, shape (rows, quantiles); `dispersion` is one number or one per row."""
    mean = np.asarray(mean, float)[:, None]
    dispersion = np.broadcast_to(np.asarray(dispersion, float).reshape(-1, 1), mean.shape)
    return count_distribution(mean, dispersion).ppf(np.asarray(quantiles)[None, :])


def fit_dispersion(y, mean) -> float:
    """Maximum-likelihood dispersion of counts ``y`` around given means (the Poisson limit is `POISSON`)."""
    y, mean = np.round(np.asarray(y, float)), np.asarray(mean, float)

    def loss(log_dispersion):
        return -count_distribution(mean, np.exp(log_dispersion)).logpmf(y).mean()

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(np.log(POISSON), 4), method="bounded").x))


def wql(y, mean, dispersion) -> float:
    """WQL of negative binomials over all of y; see `scores`."""
    q = np.array(WQL_QUANTILES)
    gap = y[:, None] - negative_binomial_quantiles(mean, dispersion, q)
    return float(2 * np.maximum(q * gap, (q - 1) * gap).mean(1).sum() / y.sum())


def pit_bounds(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """F(y-1) and F(y) of each row's count distribution; NaN where a method has none.

    A calibrated forecast spreads each observation evenly between the two, and all rows together over [0, 1]:
    a Poisson of mean 1 that meets y = 0 owns the range [0, .37], so a quarter of its mass lies below .0925.
    """
    y = np.round(frame["y"].to_numpy(float))
    law = count_distribution(frame["mean"].to_numpy(float), frame["dispersion"].to_numpy(float))
    return law.cdf(y - 1), law.cdf(y)


def _mass_between(bounds, low, high) -> np.ndarray:
    """Share of each row's PIT range [F(y-1), F(y)] that lies between two probabilities."""
    below, upto = bounds
    overlap = np.clip(np.minimum(upto, high) - np.maximum(below, low), 0, None)
    inside = (below >= low) & (upto <= high)  # a range without length: far in a tail, F(y-1) = F(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(upto > below, overlap / (upto - below), inside.astype(float))
    return np.where(np.isnan(below), np.nan, share)


def pit(frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Randomised probability integral transform: uniform on [0, 1] if the distributions are calibrated."""
    below, upto = pit_bounds(frame)
    return below + (upto - below) * np.random.default_rng(seed).random(len(frame))


def pit_histogram(frame: pd.DataFrame, bins: int = 10) -> np.ndarray:
    """Expected share of PIT values per bin (no randomness left); 1 / bins everywhere when calibrated."""
    bounds, edges = pit_bounds(frame), np.linspace(0, 1, bins + 1)
    return np.array([np.nanmean(_mass_between(bounds, *edge)) for edge in pairwise(edges)])


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """Losses of each row, before any averaging, in units of sales (`squared`: units²; coverages: 0 … 1)."""
    y = frame["y"].to_numpy(float)
    quantiles = frame[[quantile_column(q) for q in WQL_QUANTILES]].to_numpy(float)
    gap = y[:, None] - quantiles
    levels = np.array(WQL_QUANTILES)
    out = {
        "y": y,
        "error": frame["mean"].to_numpy(float) - y,
        "wape": np.abs(y - frame[quantile_column(0.5)].to_numpy(float)),
        "wql": 2 * np.maximum(levels * gap, (levels - 1) * gap).mean(1),
    }
    out["squared"] = out["error"] ** 2
    bounds = pit_bounds(frame)
    for coverage in COVERAGES:
        low, high = 0.5 - coverage / 200, 0.5 + coverage / 200
        low_q, high_q = frame[quantile_column(low)], frame[quantile_column(high)]
        between = ((y >= low_q) & (y <= high_q)).to_numpy(float)
        share = _mass_between(bounds, low, high)
        out[f"coverage_{coverage}"] = np.where(np.isnan(share), between, share)
    return pd.DataFrame(out, index=frame.index)


def naive_scale(history: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """Mean squared week-to-week change of each series up to `until`: RMSSE's denominator."""
    past = history.loc[history["ds"] <= until].sort_values(["unique_id", "ds"])
    change = past.groupby("unique_id", sort=False)["y"].diff() ** 2
    return change.groupby(past["unique_id"]).mean()


def scores(frame: pd.DataFrame, history: pd.DataFrame, by=("method",)) -> pd.DataFrame:
    """Scores of each group of rows; rows whose `y` is not known yet are left out.

    Parameters
    ----------
    frame : forecast frame, with any further columns to group by.
    history : unique_id, ds, y of all weeks; only weeks up to the first cutoff are read (for RMSSE).

    Returns
    -------
    One row per group:
    `wape` = Σ|y - median| / Σy (the median is what minimises absolute error);
    `wql` = mean over .1 … .9 of 2 Σ pinball / Σy;
    `rmsse` = mean over series of √(MSE of the mean / naive scale);
    `bias` = Σ(mean - y) / Σy;
    `coverage_50/80/95` = expected coverage of central intervals under the randomised PIT, or the share of y
    inside the quantile interval where a method has no count distribution;
    `n` rows; `without_scale` series that never changed before the first cutoff and are left out of RMSSE.
    """
    frame = frame.loc[frame["y"].notna()].reset_index(drop=True)
    by, columns = list(by), list(dict.fromkeys([*by, "unique_id"]))
    rows = pd.concat([losses(frame), frame[columns]], axis=1)
    groups = rows.groupby(by, observed=True)
    total = groups[["y", "error", "wape", "wql"]].sum()
    units = total["y"].where(total["y"] > 0)
    series = rows.groupby(columns, observed=True)["squared"].mean().reset_index()
    scale = series["unique_id"].map(naive_scale(history, frame["cutoff"].min()))
    series["rmsse"] = np.sqrt(series["squared"] / scale.where(scale > 0))
    per_group = series.groupby(by, observed=True)["rmsse"]
    out = pd.DataFrame({"wape": total["wape"] / units, "wql": total["wql"] / units, "rmsse": per_group.mean()})
    out["bias"] = total["error"] / units
    for coverage in COVERAGES:
        out[f"coverage_{coverage}"] = groups[f"coverage_{coverage}"].mean()
    return out.assign(n=groups.size(), without_scale=per_group.size() - per_group.count())


def add_level(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the column `level`: `product` for the whole chain, `product_region` for its regions."""
    location = frame["unique_id"].str.rsplit("|", n=1).str[-1]
    return frame.assign(level=np.where(location == "chain", "product", "product_region"))


def metrics_dict(frame: pd.DataFrame, history: pd.DataFrame) -> dict:
    """The content of metrics.json: ``{level: {method: {wape, wql, rmsse, bias, coverage_50, …}}}``."""
    table = scores(add_level(frame), history, by=("level", "method")).drop(columns=["n", "without_scale"])
    return {
        level: {method: row.round(6).to_dict() for (_, method), row in rows.iterrows()}
        for level, rows in table.groupby(level="level")
    }


def _paired_losses(
    frame: pd.DataFrame, method: str, against: str, metric: str, block_weeks: int, *by: str
) -> pd.DataFrame:
    """Losses of two methods with the product and the block of weeks that a draw takes as a whole, and columns `by`."""
    if metric not in ("wape", "wql"):
        raise ValueError(f"only sums of losses can be compared by resampling, 'wape' or 'wql', not {metric!r}")
    frame = frame.loc[frame["method"].isin([method, against]) & frame["y"].notna()].reset_index(drop=True)
    return losses(frame)[["y", metric]].assign(
        product=frame["unique_id"].str.rsplit("|", n=1).str[0],
        block=(frame["ds"] - frame["ds"].min()).dt.days // (7 * block_weeks),
        **{name: frame[name] for name in ("method", *by)},
    )


def paired_bootstrap(
    frame: pd.DataFrame,
    method: str,
    against: str,
    metric: str = "wql",
    block_weeks: int = 2,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """``metric(method) / metric(against) - 1`` with its 90 % interval: (estimate, low, high).

    Losses are summed per product (all its locations) and block of target weeks; a draw resamples products and
    blocks of weeks independently, with replacement. Sales cancel, so `metric` is `wape` or `wql`.

    Worked example: two products, one block, losses 1, 3 against 2, 2: estimate (1 + 3) / (2 + 2) - 1 = 0; a
    draw that takes the first product twice gives 2 / 4 - 1 = -50 %, the second twice +50 %, both 0 %.
    """
    rows = _paired_losses(frame, method, against, metric, block_weeks)
    cells = rows.groupby(["method", "product", "block"])[metric].agg(["sum", "size"]).unstack("block", fill_value=0)
    both = [cells.loc[name] if name in cells.index else None for name in (method, against)]
    if any(cell is None for cell in both) or not both[0]["size"].equals(both[1]["size"]):
        raise ValueError(f"{method!r} and {against!r} do not forecast the same products and weeks")
    ours, theirs = (cell["sum"].to_numpy() for cell in both)  # products, blocks
    generator = np.random.default_rng(seed)
    products, blocks = (generator.multinomial(n, np.full(n, 1 / n), size=draws) for n in ours.shape)

    def resampled(sums):
        return ((products @ sums) * blocks).sum(1)  # draws

    with np.errstate(invalid="ignore", divide="ignore"):
        relative = resampled(ours) / resampled(theirs) - 1
    low, high = np.nanquantile(relative, [0.05, 0.95])
    return float(ours.sum() / theirs.sum() - 1), float(low), float(high)


def mean_difference(
    frame: pd.DataFrame,
    method: str,
    against: str,
    metric: str = "wql",
    by: str = "category",
    block_weeks: int = 2,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """`paired_bootstrap` for the mean of a score over groups: every group counts alike, whatever it sells.

    A draw resamples products within each group, and blocks of target weeks for all groups together: a week that was
    odd was odd in all of them.

    Returns
    -------
    estimate = mean over groups of ``metric(method)`` / that of ``metric(against)`` - 1, its 90 % interval low, high;
    better = groups in which `method` scores lower, of how many (of).
    """
    rows = _paired_losses(frame, method, against, metric, block_weeks, by)
    cells = rows.groupby([by, "method", "product", "block"])[["y", metric]].sum().unstack("block", fill_value=0)
    generator = np.random.default_rng(seed)
    n_blocks = cells.columns.get_level_values("block").nunique()
    weeks = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=draws)
    exact, drawn = [], []  # a group's scores of both methods; the same of every draw
    for _, group in cells.groupby(level=by):
        both = [group.xs(name, level="method") for name in (method, against)]
        if not both[0]["y"].equals(both[1]["y"]):
            raise ValueError(f"{method!r} and {against!r} do not forecast the same products and weeks")
        n = len(both[0])
        items = generator.multinomial(n, np.full(n, 1 / n), size=draws)
        sums = [[((items @ part[what].to_numpy()) * weeks).sum(1) for what in (metric, "y")] for part in both]
        drawn.append([loss / np.maximum(units, 1e-9) for loss, units in sums])
        exact.append([part[metric].to_numpy().sum() / part["y"].to_numpy().sum() for part in both])
    ours, theirs = np.array(exact).T
    low, high = np.quantile(np.divide(*np.mean(drawn, 0)) - 1, [0.05, 0.95])
    found = {"estimate": ours.mean() / theirs.mean() - 1, "low": low, "high": high}
    return {k: float(x) for k, x in found.items()} | {"better": int((ours < theirs).sum()), "of": len(ours)}
