"""Closed weeks that forecasts could not see: nobody sold, or far fewer rows than usual came."""

from __future__ import annotations

from datetime import date

import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.panel.frame import Panel


def unobserved(panel: Panel, since: pd.Timestamp, closed: date) -> list[date]:
    """Mondays after `since`, up to the last `closed` week, that the panel holds as missing, or that it cut off."""
    rows = panel.frame[(panel.frame["location"] == CHAIN) & (panel.frame["ds"] <= panel.weeks[-1])]
    observed = set(rows.loc[rows["y"].notna(), "ds"])
    weeks = pd.date_range(since + pd.Timedelta(weeks=1), pd.Timestamp(closed), freq="7D")
    return [week.date() for week in weeks if week not in observed]


def note(panel: Panel, since: pd.Timestamp, closed: date) -> str:
    """What to tell of such weeks; empty where there are none."""
    weeks = unobserved(panel, since, closed)
    if not weeks:
        return ""
    named = ", ".join(map(str, weeks[:5])) + (f" and {len(weeks) - 5} more" if len(weeks) > 5 else "")
    text = f"closed weeks without sales, or with far fewer than usual, count as missing and not as zero: {named}."
    if panel.weeks[-1].date() < closed:
        text += f" Forecasts begin behind the week of {panel.weeks[-1].date()}."
    return text + " Send what is missing; late events land in their weeks."
