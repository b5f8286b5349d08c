"""What all products of a market have in common, for a panel of some of them.

A panel of all products computes these values of itself. Where products are cut into partitions, they are summed up over
all partitions first, and every partition reads the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Common:
    """Values of all products together. L locations (chain first), T weeks, H weeks ahead; categories by name, '' without.

    typical : (L, T) units that a settled product sells in a mean week, without the floor of levels.
    shock : (L, T), see `features.location.location_shock`.
    category_chain : category -> (T,) units in the chain of products that were not launched within the weeks.
    promoted : category -> (L, T + H) promotion of its products, weighted by `promoted_weight`; empty without a table.
    promoted_weight : category -> sum of its products' training units.
    paid_level : median of the price levels of products that were paid for; None where none was.
    launched : whether any product was launched within the weeks.
    """

    typical: np.ndarray
    shock: np.ndarray
    category_chain: dict[str, np.ndarray]
    promoted: dict[str, np.ndarray] = field(default_factory=dict)
    promoted_weight: dict[str, float] = field(default_factory=dict)
    paid_level: float | None = None
    launched: bool = False
