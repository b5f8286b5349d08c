"""Alarms in plain sentences for the report, with numbers computed from their frame."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN


def place(location: str) -> str:
    return "the whole chain" if location == CHAIN else location.replace("_", " ")


def sentences(alarms: pd.DataFrame, n_weeks: int) -> list[str]:
    """One sentence an alarm, the latest first; one that says so where there was none.

    Parameters
    ----------
    alarms : of `detect.alarms`. n_weeks : that were watched.
    """
    if alarms.empty:
        return [f"In the last {n_weeks} weeks sales did not leave what forecasts usually miss them by."]
    said = []
    for _, alarm in alarms.sort_values("week", ascending=False).iterrows():
        share = abs(np.expm1(alarm["size"]))
        said.append(
            f"In the week of {alarm['week']:%d %B %Y} {place(alarm['location'])} began to sell otherwise than forecast: in "
            f"the weeks up to it {share:.0%} {alarm['direction']} units. Look for a cause before you trust its forecasts."
        )
    return said
