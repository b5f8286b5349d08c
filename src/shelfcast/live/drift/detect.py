"""Detectors of drift, week by week.

The default watches a market's sales and its slope on prices together, by the multivariate CUSUM of Crosier (1988): a
change of laws moves both, and together they are seen sooner than either. No kept library has one for several
series. The other two, river's ADWIN (Bifet & Gavaldà 2007) and Page-Hinkley (Page 1954), watch each series by itself.

A detector first sees the scaled residuals of the history, then those of the weeks to watch, one a week; an alarm stands at
the week whose residual gave it, and nothing later is read. What each costs in false alarms and weeks of delay stands in
studies/drift, on whose worlds the default's threshold was set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from river.drift import ADWIN, PageHinkley

from shelfcast.data.schema import CHAIN
from shelfcast.live.drift.residuals import KEYS

COLUMNS = ["week", "location", "about", "direction", "size", "detector"]
DIRECTIONS = {"sales": ("fewer", "more"), "price": ("more", "less")}  # of a size below 0, and above
LATELY = 3  # weeks that say how large a drift is
LIMIT = 3.0  # standard deviations beyond which a residual counts no more: one odd week is no drift
REGION = 2.0  # times the threshold, of a region: there are many, and each false alarm is one
SHRUNK = 0.9  # of a correlation is believed, since a history has few weeks


@dataclass(frozen=True)
class Detector:
    """kind : `joint` (Crosier's), or one of river's for each series by itself.

    threshold : length of the joint sum, or Page-Hinkley's sum, in standard deviations, or ADWIN's delta (a probability).
    slack : standard deviations a week that joint and Page-Hinkley forgive; ADWIN has none.
    """

    kind: Literal["joint", "page_hinkley", "adwin"]
    threshold: float
    slack: float = 1.0


DEFAULT = Detector("joint", 3.5, 1.25)  # of studies/drift: within one false alarm a market and year


class Joint:
    """Sum of residuals that do not cancel, less the slack of each week (Crosier 1988); begins anew after an alarm."""

    def __init__(self, history: np.ndarray, threshold: float, slack: float) -> None:
        """history : (weeks, series) of scaled residuals, whose correlations are those of usual weeks."""
        among = np.corrcoef(history, rowvar=False).reshape(history.shape[1], -1)
        self.inverse = np.linalg.inv(SHRUNK * np.nan_to_num(among) + (1 - SHRUNK) * np.eye(len(among)))
        self.threshold, self.slack, self.sum = threshold, slack, np.zeros(len(among))

    def update(self, z: np.ndarray) -> int | None:
        """The series that leads an alarm of this week, or none. z : (series,)."""
        total = self.sum + z
        self.sum = total * max(0.0, 1 - self.slack / max(self._length(total), 1e-9))
        if self._length(self.sum) <= self.threshold:
            return None
        leads = int(np.abs(self.sum).argmax())
        self.sum = np.zeros(len(z))
        return leads

    def _length(self, x: np.ndarray) -> float:
        return float(np.sqrt(x @ self.inverse @ x))


class Alone:
    """A detector of river, of one series; it begins anew after an alarm."""

    def __init__(self, history: np.ndarray, detector: Detector) -> None:
        if detector.kind == "adwin":
            self.river = ADWIN(delta=detector.threshold, clock=1, min_window_length=2, grace_period=4)
        else:
            self.river = PageHinkley(min_instances=3, delta=detector.slack, threshold=detector.threshold, alpha=1.0)
        for z in history[:, 0]:
            self.river.update(float(z))

    def update(self, z: np.ndarray) -> int | None:
        self.river.update(float(z[0]))
        return 0 if self.river.drift_detected else None


def alarms(scaled: pd.DataFrame, history: pd.DataFrame, detector: Detector = DEFAULT) -> pd.DataFrame:
    """The weeks in which a location's residuals leave what was usual.

    Parameters
    ----------
    scaled, history : of `residuals.scaled`, of the weeks to watch and of those before.

    Returns
    -------
    week, location, about ('sales' or 'price'; of a joint alarm what moved most), direction (sales: 'more' or 'fewer' units
    than forecast; price: demand falls with it 'less' or 'more' than forecast), size (mean ratio or slope of the last
    `LATELY` weeks, less what was usual), detector; in order of week and location.

    Raises
    ------
    ValueError : a residual that is not finite.
    """
    for name, frame in (("watched", scaled), ("earlier", history)):
        if not np.isfinite(frame["z"]).all():
            raise ValueError(f"residuals of {name} weeks are not finite. Leave out weeks that were not observed.")
    together = KEYS[:1] if detector.kind == "joint" else KEYS
    rows = []
    for key, own in scaled.groupby(together, sort=False):
        about = sorted(own["about"].unique())
        earlier = history[(history[together] == list(key)).all(axis=1)]
        watch = _watch(_wide(earlier, "z", about).to_numpy(), key[0], detector)
        z, ratio = _wide(own, "z", about), _wide(own, "ratio", about)
        for i, week in enumerate(z.index):
            leads = watch.update(z.iloc[i].to_numpy())
            if leads is not None:
                size = ratio.iloc[max(0, i + 1 - LATELY) : i + 1, leads].mean()
                rows.append((week, key[0], about[leads], DIRECTIONS[about[leads]][int(size > 0)], size, detector.kind))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"size": float})
    return table.sort_values(["week", *KEYS], ignore_index=True)


def _wide(frame: pd.DataFrame, values: str, about: list[str]) -> pd.DataFrame:
    """A column for each kind of residual, a row for each week; z within `LIMIT`, and 0 (nothing odd) where one is missing."""
    wide = frame.pivot(index="week", columns="about", values=values).reindex(columns=about)
    return wide.fillna(0.0).clip(-LIMIT, LIMIT) if values == "z" else wide


def _watch(history: np.ndarray, location: str, detector: Detector) -> Joint | Alone:
    if detector.kind != "joint":
        return Alone(history, detector)
    times = 1.0 if location == CHAIN else REGION
    return Joint(history, times * detector.threshold, detector.slack)
