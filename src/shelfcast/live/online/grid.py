"""A forecast frame as arrays: what each series was forecast, from every week and for every horizon, and what it sold.

Axes: N series, C cutoffs (weeks in a row), H horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

WEEK = pd.Timedelta(weeks=1)


@dataclass(frozen=True)
class Grid:
    """Forecasts of one method. y, mean : (N, C, H) units a week, NaN where there is no forecast, or nothing was observed.

    step : from one cutoff, and from one horizon, to the next: a week, or a day in a daily market.
    """

    series: pd.Index
    cutoffs: pd.DatetimeIndex
    y: np.ndarray
    mean: np.ndarray
    step: pd.Timedelta = WEEK

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Grid:
        """Of a forecast frame; cutoffs without a row are NaN.

        Raises
        ------
        ValueError : a frame without rows, or with two forecasts of one series, cutoff and horizon.
        """
        if frame.empty:
            raise ValueError("there are no forecasts to learn from. Give forecasts of at least one cutoff.")
        keys = ["unique_id", "cutoff", "horizon"]
        if frame.duplicated(keys).any():
            raise ValueError("a series has two forecasts of one cutoff and horizon. Give the frame of a single method.")
        series = pd.Index(sorted(frame["unique_id"].unique()), name="unique_id")
        step = (frame["ds"].iat[0] - frame["cutoff"].iat[0]) / int(frame["horizon"].iat[0])
        cutoffs = pd.date_range(frame["cutoff"].min(), frame["cutoff"].max(), freq=step)
        at = (
            series.get_indexer(frame["unique_id"]),
            cutoffs.get_indexer(frame["cutoff"]),
            frame["horizon"].to_numpy() - 1,
        )
        shape = len(series), len(cutoffs), int(frame["horizon"].max())
        parts = {}
        for name in ("y", "mean"):
            parts[name] = np.full(shape, np.nan)
            parts[name][at] = frame[name]
        return cls(series, cutoffs, **parts, step=step)

    @property
    def targets(self) -> np.ndarray:
        """(C, H) the week that each forecast is of."""
        ahead = pd.to_timedelta(self.step.days * np.arange(1, self.y.shape[2] + 1), unit="D").to_numpy()
        return self.cutoffs.to_numpy()[:, None] + ahead

    def elapsed(self, week: pd.Timestamp) -> np.ndarray:
        """(N, C, H) which forecasts have an actual by the end of `week`."""
        return (self.targets <= np.datetime64(week)) & ~np.isnan(self.y) & ~np.isnan(self.mean)
