"""Features of a product's launch."""

from __future__ import annotations

import numpy as np

from shelfcast.panel.facts import Facts
from shelfcast.panel.grid import Column, Grid

OLD = 52  # weeks after its launch when a product no longer counts as new


def launches(facts: Facts, grid: Grid) -> list[Column]:
    """Known-future columns; an empty list where no product was launched within the weeks."""
    if not (grid.launch >= 0).any() and not (facts.common and facts.common.launched):
        return []
    old, noun = grid.frequency.periods(OLD), grid.frequency.noun
    age = np.arange(len(grid.weeks_ahead)) - np.where(grid.launch < 0, -old, grid.launch)[:, None]
    log_age = np.log1p(np.clip(age, 0, old))
    return [
        Column("on_sale", "known_future", (age >= 0)[:, None], f"1 from the {noun} of the product's launch on"),
        Column("age", "known_future", log_age[:, None], f"log of one plus {noun}s since the launch, at most {old}"),
    ]
