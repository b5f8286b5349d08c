"""Alarms in plain sentences for the report, with numbers computed from their frame."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.language import _, day, ngettext
from shelfcast.language import sentences as one_after_the_other
from shelfcast.report.names import location_label


def sentences(alarms: pd.DataFrame, n_weeks: int) -> list[str]:
    """One sentence an alarm, the latest first; one that says so where there was none.

    Parameters
    ----------
    alarms : of `watch`. n_weeks : that were watched; 0 in a daily market, which is not.
    """
    if n_weeks == 0:
        return [_("Drift is not watched in a daily market: its limits were tried on weeks alone.")]
    if alarms.empty:
        return [
            ngettext(
                "In the last {n} week sales stayed as near to their forecasts as usual.",
                "In the last {n} weeks sales stayed as near to their forecasts as usual.",
                n_weeks,
                n=n_weeks,
            )
        ]
    cure = _("Look for a cause before you trust its forecasts.")
    latest_first = alarms.sort_values("week", ascending=False)
    return [one_after_the_other([_what(alarm), cure]) for _row, alarm in latest_first.iterrows()]


def _what(alarm: pd.Series) -> str:
    week, more, size = day(alarm["week"].date()), alarm["direction"] == "more", abs(alarm["size"])
    if alarm["about"] == "price":
        size = f"{size:.1f}"
        if more:
            return _(
                "From about the week of {week} on sales followed prices more than forecast (by {size}).",
                week=week,
                size=size,
            )
        return _(
            "From about the week of {week} on sales followed prices less than forecast (by {size}).",
            week=week,
            size=size,
        )
    share, place = f"{abs(np.expm1(alarm['size'])):.0%}", location_label(alarm["location"])
    if more:
        return _(
            "{place}: from about the week of {week} on {share} more units sold than forecast.",
            place=place,
            week=week,
            share=share,
        )
    return _(
        "{place}: from about the week of {week} on {share} fewer units sold than forecast.",
        place=place,
        week=week,
        share=share,
    )
