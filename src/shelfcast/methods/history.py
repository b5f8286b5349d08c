"""What series have sold, as arrays, with weeks that were not observed left out or filled."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.panel.frame import Panel


def sales(panel: Panel) -> pd.DataFrame:
    """Units by series (rows) and observed week; NaN before a launch and where a week was not observed."""
    wide = panel.frame.pivot(index="unique_id", columns="ds", values="y")
    return wide.loc[:, : pd.Timestamp(panel.meta["last_week"])]


def filled(past: pd.DataFrame) -> pd.DataFrame:
    """Missing weeks on the line between their neighbours; the last value goes on; weeks before the first stay NaN.

    `past` must end with the cutoff, so that no line starts at a later week.
    """
    return past.interpolate(axis=1, limit_area="inside").ffill(axis=1)


def mean_of_last(past: np.ndarray, n: int, within: int) -> np.ndarray:
    """Mean of each series' last `n` observed weeks, of the last `within` alone; NaN where there is none.

    Worked example: of 4, missing, 2, 6 the mean of the last two is 4, that of the last three is 4.
    """
    recent = past[:, -within:]
    observed = ~np.isnan(recent)
    from_the_end = observed[:, ::-1].cumsum(1)[:, ::-1]
    used = observed & (from_the_end <= n)
    count = used.sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(used, recent, 0).sum(1) / np.where(count > 0, count, np.nan)


def at_cutoffs(values: dict[pd.Timestamp, np.ndarray], series: pd.Index, horizon: int) -> pd.DataFrame:
    """Means as unique_id, cutoff, horizon, mean.

    Parameters
    ----------
    values : cutoff -> (series, horizon), or (series, 1) where all horizons are alike.
    """
    parts = []
    for cutoff, means in values.items():
        index = pd.MultiIndex.from_product([series, [cutoff], range(1, horizon + 1)])
        mean = np.broadcast_to(means, (len(series), horizon)).ravel()
        parts.append(index.to_frame(index=False, name=["unique_id", "cutoff", "horizon"]).assign(mean=mean))
    return pd.concat(parts, ignore_index=True)
