"""Alarms in plain sentences for the report, with numbers computed from their frame."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN

CURE = "Look for a cause before you trust its forecasts."


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
        said.append(f"In the week of {alarm['week']:%d %B %Y} {_what(alarm)} {CURE}")
    return said


def _what(alarm: pd.Series) -> str:
    if alarm["about"] == "price":
        return (
            f"prices began to move sales otherwise than forecast: demand falls with the price by {abs(alarm['size']):.1f} "
            f"{alarm['direction']} (elasticity, over the weeks up to it)."
        )
    share = abs(np.expm1(alarm["size"]))
    return (
        f"{place(alarm['location'])} began to sell otherwise than forecast: {share:.0%} {alarm['direction']} units over "
        "the weeks up to it."
    )
