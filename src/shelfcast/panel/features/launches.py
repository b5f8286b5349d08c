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
    age = np.arange(len(grid.weeks_ahead)) - np.where(grid.launch < 0, -OLD, grid.launch)[:, None]
    log_age = np.log1p(np.clip(age, 0, OLD))
    return [
        Column("on_sale", "known_future", (age >= 0)[:, None], "1 from the week of the product's launch on"),
        Column("age", "known_future", log_age[:, None], "log of one plus weeks since the launch, at most 52"),
    ]
