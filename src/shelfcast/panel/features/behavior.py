"""Features of shoppers' behaviour: views, clicks, carts and whatever else a retailer counts."""

from __future__ import annotations

import numpy as np

from shelfcast.panel.facts import Facts
from shelfcast.panel.grid import Column, Grid, mean

LEVEL = 13  # weeks that tell how much is typical


def behavior(facts: Facts, grid: Grid) -> list[Column]:
    """Two past columns for each kind of event: this week against typical, and how much is typical.

    Where no event has a store, every location has the chain's. Weeks of which the table tells nothing are unknown.
    """
    if facts.events is None:
        return []
    columns, known = [], facts.known["behavior"][: len(grid.weeks)]
    span, noun = grid.frequency.periods(LEVEL), grid.frequency.noun
    last = np.cumsum(known) - 1
    for kind, events in facts.events.groupby("event"):
        count = grid.spread(events, "n")
        if not (events["location"] > 0).any():
            count = count[:, :1]
        count = count[..., known]
        n = np.maximum.accumulate(count > 0, -1).cumsum(-1)  # weeks since the first one
        now, level = np.log((count + 1) / (mean(count, None, n) + 1)), np.log1p(mean(count, span, n))
        now = np.where(known, now[..., np.maximum(last, 0)], np.nan)
        level = np.where(last >= 0, level[..., np.maximum(last, 0)], np.nan)
        meaning = f"events of kind {kind}: log"
        columns += [
            Column(f"event_now: {kind}", "past", now, f"{meaning}, this {noun} over the mean so far"),
            Column(f"event_level: {kind}", "past", level, f"{meaning} of one plus the mean of the last {span} {noun}s"),
        ]
    return columns
