"""How good a forecast is: one long frame of forecasts in, scores by any grouping out.

A forecast frame has one row per series, cutoff, horizon and method: `unique_id` (product|location), `ds`,
`cutoff`, `horizon`, `method`, `mean`, `dispersion` (alpha of a negative binomial with variance m + alpha m²;
NaN where the method has no count distribution), quantile columns (`q025` … `q975`) and the realised `y`.

References: RMSSE, M5 competition (Makridakis et al. 2022); WQL, GluonTS (Alexandrov et al. 2020); randomised
PIT, Czado, Gneiting & Held (2009), "Predictive model assessment for count data".
"""

import numpy as np
import pandas as pd

from shelfcast.judge.calibration import mass_between, pit_bounds
from shelfcast.judge.distribution import WQL_QUANTILES, quantile_column
from shelfcast.judge.frame import add_level

COVERAGES = (50, 80, 95)


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
        share = mass_between(bounds, low, high)
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


def metrics_dict(frame: pd.DataFrame, history: pd.DataFrame) -> dict:
    """The content of metrics.json: ``{level: {method: {wape, wql, rmsse, bias, coverage_50, …}}}``."""
    table = scores(add_level(frame), history, by=("level", "method")).drop(columns=["n", "without_scale"])
    return {
        level: {method: row.round(6).to_dict() for (_, method), row in rows.iterrows()}
        for level, rows in table.groupby(level="level")
    }
