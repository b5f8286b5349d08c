"""Scores of forecasts: a forecast frame of one or more methods in, scores by any grouping out.

References: RMSSE, M5 competition (Makridakis et al. 2022); weighted quantile loss, GluonTS (Alexandrov et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shelfcast.judge.calibration import mass_between, pit_bounds
from shelfcast.judge.distribution import WQL_QUANTILES, pinball, quantile_column
from shelfcast.judge.frame import add_level

COVERAGES = (50, 80, 95)  # central intervals, in per cent


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute each row's losses before any averaging.

    Returns
    -------
    Columns y, error, wape and wql in units of sales, squared in units², coverage_50/80/95 between 0 and 1.
    """
    y = frame["y"].to_numpy(float)
    error = frame["mean"].to_numpy(float) - y
    quantiles = frame[[quantile_column(q) for q in WQL_QUANTILES]].to_numpy(float)
    columns = {
        "y": y,
        "error": error,
        "wape": np.abs(y - frame[quantile_column(0.5)].to_numpy(float)),
        "wql": pinball(y, quantiles),
        "squared": error**2,
    }
    return pd.DataFrame(columns, index=frame.index).join(_coverage(frame))


def _coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """How much of each actual lies inside the central intervals: a share of its PIT range."""
    bounds = pit_bounds(frame)
    columns = {}
    for coverage in COVERAGES:
        low, high = 0.5 - coverage / 200, 0.5 + coverage / 200
        columns[f"coverage_{coverage}"] = mass_between(bounds, low, high)
    return pd.DataFrame(columns, index=frame.index)


def naive_scale(history: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """Mean squared week-to-week change of each series up to `until`: the denominator of RMSSE, in units²."""
    past = history.loc[history["ds"] <= until].sort_values(["unique_id", "ds"])
    change = past.groupby("unique_id", sort=False)["y"].diff() ** 2
    return change.groupby(past["unique_id"]).mean()


def scores(frame: pd.DataFrame, history: pd.DataFrame, by: Sequence[str] = ("method",)) -> pd.DataFrame:
    """Score each group of rows; rows without an actual are left out.

    Parameters
    ----------
    frame : forecast frame, with any further columns to group by.
    history : unique_id, ds, y of all weeks; RMSSE reads those up to the first cutoff.

    Returns
    -------
    One row per group:
    `wape` = Σ|y - median| / Σy (the median is what minimises absolute error);
    `wql` = mean over .1 … .9 of 2 Σ pinball / Σy;
    `rmsse` = mean over series of √(MSE of the mean / naive scale);
    `bias` = Σ(mean - y) / Σy;
    `coverage_50/80/95` = expected coverage of central intervals under the randomised PIT;
    `n` rows; `without_scale` series that never changed before the first cutoff, which RMSSE leaves out.
    """
    frame = frame.loc[frame["y"].notna()].reset_index(drop=True)
    by = list(by)
    series_keys = list(dict.fromkeys([*by, "unique_id"]))
    rows = pd.concat([losses(frame), frame[series_keys]], axis=1)
    groups = rows.groupby(by, observed=True)
    total = groups[["y", "error", "wape", "wql"]].sum()
    units = total["y"].where(total["y"] > 0)

    series = rows.groupby(series_keys, observed=True)["squared"].mean().reset_index()
    scale = series["unique_id"].map(naive_scale(history, frame["cutoff"].min()))
    series["rmsse"] = np.sqrt(series["squared"] / scale.where(scale > 0))
    rmsse = series.groupby(by, observed=True)["rmsse"]

    table = pd.DataFrame({"wape": total["wape"] / units, "wql": total["wql"] / units, "rmsse": rmsse.mean()})
    table["bias"] = total["error"] / units
    for coverage in COVERAGES:
        table[f"coverage_{coverage}"] = groups[f"coverage_{coverage}"].mean()
    return table.assign(n=groups.size(), without_scale=rmsse.size() - rmsse.count())


def metrics_dict(frame: pd.DataFrame, history: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Scores as metrics.json holds them: level -> method -> wape, wql, rmsse, bias, coverage_50, …"""
    table = scores(add_level(frame), history, by=("level", "method")).drop(columns=["n", "without_scale"])
    return {
        level: {method: row.round(6).to_dict() for (_, method), row in rows.iterrows()}
        for level, rows in table.groupby(level="level")
    }
