"""Features of shoppers' behaviour: views, clicks, carts and whatever else a retailer counts."""

from __future__ import annotations

import re

import numpy as np

from shelfcast.panel.facts import Facts
from shelfcast.panel.grid import Column, Grid, mean


def behavior(facts: Facts, grid: Grid) -> list[Column]:
    """Two past columns for each kind of event: this week against typical, and how much is typical.

    Where no event has a store, every location has the chain's.
    """
    columns = []
    kinds = [] if facts.events is None else facts.events.groupby("event")
    for kind, events in kinds:
        count = grid.spread(events, "n")
        if not (events["location"] > 0).any():
            count = count[:, :1]
        n = np.maximum.accumulate(count > 0, -1).cumsum(-1)  # weeks since the first one
        name, text = f"event_{slug(kind)}", f"events of kind {slug(kind).replace('_', ' ')}"
        now, level = np.log((count + 1) / (mean(count, None, n) + 1)), np.log1p(mean(count, 13, n))
        columns += [
            Column(name, "past", now, f"{text}: log, this week over the mean so far"),
            Column(f"{name}_level", "past", level, f"{text}: log of one plus the mean of the last 13 weeks"),
        ]
    return columns


def slug(text: object) -> str:
    """Small letters, digits and _ alone, as a column's name."""
    return re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_")
