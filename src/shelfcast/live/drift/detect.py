"""Detectors of drift, week by week: river's ADWIN (Bifet & Gavaldà 2007) and Page-Hinkley (Page 1954).

Each location's sales, and the slope on prices, have a detector of their own. It first sees the scaled residuals of the history, then those of the weeks to
watch, one a week; an alarm stands at the week whose residual gave it, and nothing later is read. What the default
below costs in false alarms and weeks of delay stands in studies/drift, on whose worlds it was set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from river.drift import ADWIN, PageHinkley

from shelfcast.live.drift.residuals import KEYS

COLUMNS = ["week", "location", "about", "direction", "size", "detector"]
DIRECTIONS = {"sales": ("fewer", "more"), "price": ("more", "less")}  # of a size below 0, and above
LATELY = 3  # weeks that say how large a drift is
LIMIT = 4.0  # standard deviations beyond which a residual counts no more: one odd week is no drift


@dataclass(frozen=True)
class Detector:
    """kind : of river. threshold : Page-Hinkley's sum in standard deviations, or ADWIN's delta (a probability).
    slack : standard deviations a week that Page-Hinkley forgives (its delta); ADWIN has none."""

    kind: Literal["page_hinkley", "adwin"]
    threshold: float
    slack: float = 1.0

    def make(self):
        if self.kind == "page_hinkley":
            return PageHinkley(min_instances=3, delta=self.slack, threshold=self.threshold, alpha=1.0)
        return ADWIN(delta=self.threshold, clock=1, min_window_length=2, grace_period=4)


DEFAULT = Detector("adwin", 0.3, 0.0)  # of studies/drift: within one false alarm a market and year


def alarms(scaled: pd.DataFrame, history: pd.DataFrame, detector: Detector = DEFAULT) -> pd.DataFrame:
    """The weeks in which a location's residuals leave what was usual.

    Parameters
    ----------
    scaled, history : of `residuals.scaled`, of the weeks to watch and of those before.

    Returns
    -------
    week, location, about ('sales' or 'price'), direction (sales: 'more' or 'fewer' units than forecast; price: demand
    falls with it 'less' or 'more' than forecast), size (mean ratio or slope of the last `LATELY` weeks), detector; in
    order of week and location. After an alarm the detector begins anew.

    Raises
    ------
    ValueError : a residual that is not finite.
    """
    for name, frame in (("watched", scaled), ("earlier", history)):
        if not np.isfinite(frame["z"]).all():
            raise ValueError(f"residuals of {name} weeks are not finite. Leave out weeks that were not observed.")
    rows = []
    earlier = {key: own.sort_values("week")["z"] for key, own in history.groupby(KEYS)}
    for key, own in scaled.sort_values("week").groupby(KEYS, sort=False):
        watch = detector.make()
        for z in earlier.get(key, ()):
            watch.update(float(np.clip(z, -LIMIT, LIMIT)))
        for i, (week, z) in enumerate(zip(own["week"], own["z"], strict=True)):
            watch.update(float(np.clip(z, -LIMIT, LIMIT)))
            if watch.drift_detected:
                size = own["ratio"].iloc[max(0, i + 1 - LATELY) : i + 1].mean()
                rows.append((week, *key, DIRECTIONS[key[1]][int(size > 0)], size, detector.kind))
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"size": float})
    return table.sort_values(["week", *KEYS], ignore_index=True)
