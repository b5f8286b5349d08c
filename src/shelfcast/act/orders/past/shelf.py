"""Stock by age: batches that are sold first in, first out, and thrown away when they expire.

Axes: A ages in weeks, newest first; N series.
"""

from __future__ import annotations

import numpy as np


class Shelf:
    """What lies in stock of each series, by the weeks since it arrived.

    Worked example: goods last two weeks, and 3 arrive this week. 1 is sold, 2 are left. Next week 4 arrive and 3 are
    sold: the 2 old ones and 1 new one. Nothing expires and 3 are left. If only 1 had been sold, the other old one
    would have expired at the end of that week.

    Parameters
    ----------
    on_hand : (N,) units, all fresh.
    life : (N,) weeks from arrival, the one of arrival included, in which a unit can be sold; NaN for ever. A part of a
        week does not count, but one week at least does.
    """

    def __init__(self, on_hand: np.ndarray, life: np.ndarray):
        whole = np.maximum(np.floor(np.asarray(life, float)), 1)
        self.life = np.where(np.isnan(whole), np.inf, whole)
        finite = self.life[np.isfinite(self.life)]
        self.batches = np.zeros((int(finite.max()) if len(finite) else 1, len(on_hand)))
        self.batches[0] = on_hand

    @property
    def on_hand(self) -> np.ndarray:
        """(N,) units of any age."""
        return self.batches.sum(0)

    def receive(self, units: np.ndarray) -> None:
        """Fresh units (N,) arrive."""
        self.batches[0] += units

    def sell(self, demand: np.ndarray) -> np.ndarray:
        """Meet a week's demand (N,) from the oldest units on; what was sold, (N,)."""
        left = np.array(demand, float)
        for batch in self.batches[::-1]:
            taken = np.minimum(batch, left)
            batch -= taken
            left -= taken
        return demand - left

    def end_week(self) -> np.ndarray:
        """Throw away what can no longer be sold next week, (N,) units, and let the rest grow older by a week."""
        age = np.arange(1, len(self.batches) + 1)[:, None]  # weeks that a batch has been there
        expired = np.where(age >= self.life, self.batches, 0.0)
        self.batches -= expired
        older = np.zeros_like(self.batches)
        older[1:] = self.batches[:-1]
        older[-1] += self.batches[-1]  # of goods that do not expire
        self.batches = older
        return expired.sum(0)
