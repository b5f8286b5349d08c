"""What a purchase of the coming weeks is foretold by: columns of shopper and product, made of the past and of forecasts.

Two tables, each learned from apart: products a shopper had bought (repeat), and all others (explore). Columns of one
shopper do not order her products; they say how likely she buys anything, so that the others need not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.act.recommend.learn.factors import ALS, Factorisation, fit_factors
from shelfcast.act.recommend.purchases import HALF_LIVES, History, Purchases, history

BLOCK = 1024  # shoppers whose products are looked at together
MOST_BLOCKS = 8  # that are learned from and judged; of more, some are drawn by chance
PRIOR_WEEKS, PRIOR_PURCHASES = 8.0, 0.3  # of a gamma-Poisson rate: what is assumed before a product was bought twice
KINDS = ("repeat", "explore")


@dataclass(frozen=True)
class Snapshot:
    """All that recommendations of one cutoff are made of.

    cutoff : the last week that is known. known : what shoppers had bought.
    expected : (L, P) units forecast for the coming weeks, chain first.
    factors : name -> factors of shoppers (S, F) and products (P, F).
    similar : (P, P) how much two products have the same buyers, 0 of a product with itself.
    """

    cutoff: pd.Timestamp
    known: History
    expected: np.ndarray
    factors: dict[str, tuple[np.ndarray, np.ndarray]]
    similar: np.ndarray

    def blocks(self) -> list[slice]:
        """Slices of shoppers, each small enough to look at all their products."""
        n = self.known.shape[0]
        return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]

    def drawn_blocks(self, seed: int = 0) -> list[slice]:
        """Those that are learned from and judged: all, or as many as are enough."""
        blocks = self.blocks()
        if len(blocks) <= MOST_BLOCKS:
            return blocks
        drawn = np.random.default_rng(seed).choice(len(blocks), MOST_BLOCKS, replace=False)
        return [blocks[i] for i in np.sort(drawn)]

    def affinity(self, name: str, block: slice) -> np.ndarray:
        """Scores of a factorisation: (shoppers of the block, P)."""
        shoppers, products = self.factors[name]
        return shoppers[block] @ products.T


def snapshot(
    purchases: Purchases,
    cutoff: pd.Timestamp,
    expected: np.ndarray,
    factorisations: tuple[Factorisation, ...] = ALS,
    seed: int = 0,
) -> Snapshot:
    """Look at shoppers from a cutoff.

    Parameters
    ----------
    expected : (L, P) units forecast from this cutoff.

    Raises
    ------
    ValueError : the cutoff is no week of the purchases.
    """
    known = history(purchases, cutoff)
    factors = {settings.name: fit_factors(known, settings, seed) for settings in factorisations}
    return Snapshot(cutoff, known, expected, factors, _similar(known))


def _similar(known: History) -> np.ndarray:
    """Cosine of the products' buyers, drawn towards 0 for products that few had bought."""
    together = np.zeros((known.shape[1],) * 2)
    for start in range(0, known.shape[0], BLOCK):
        had = (known.had(start, start + BLOCK) > 0).astype(np.float32)
        together += had.T @ had
    buyers = np.sqrt(np.diag(together) + 5)
    similar = together / buyers[:, None] / buyers
    np.fill_diagonal(similar, 0)
    return similar


def repeat_table(view: Snapshot, block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products that shoppers of a block had bought: their rows in the block, items, and columns (rows, columns).

    Columns are mostly logs, since what doubles a rate should count alike anywhere. `overdue` compares the weeks since
    the last purchase with her own usual gap; it is 0 where she bought the product once. `rate` is her purchases a week
    since the first, drawn towards a common one.
    """
    pairs = view.known.pairs
    begin, end = np.searchsorted(pairs["row"].to_numpy(), [block.start, block.stop])
    own = pairs.iloc[begin:end]
    rows, items = own["row"].to_numpy() - block.start, own["item"].to_numpy()
    n, first, last = (own[name].to_numpy(float) for name in ("n", "first", "last"))
    gap = (first - last) / np.maximum(n - 1, 1)
    recent = {f"recent_{half}": np.log(own[f"recent_{half}"].to_numpy() + 0.03) for half in HALF_LIVES}
    others = np.exp(recent["recent_13"])
    others = np.bincount(rows, others, minlength=block.stop - block.start)[rows] - others
    columns = {
        "times": np.log1p(n),
        **recent,
        "since": np.log1p(last),
        "overdue": np.where(n > 1, np.log((last + 1) / (gap + 0.5)), 0.0),
        "once": (n == 1).astype(float),
        "rate": np.log((n + PRIOR_PURCHASES) / (first + PRIOR_WEEKS)),
        "others": np.log(others + 0.1),
        **_shared(view, block, rows, items),
    }
    return rows, items, np.stack(list(columns.values()), axis=1)


def explore_table(view: Snapshot, block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products that shoppers of a block had not bought, as `repeat_table`."""
    rows, items = np.nonzero(view.known.had(block.start, block.stop) == 0)
    columns = _shared(view, block, rows, items)
    return rows, items, np.stack(list(columns.values()), axis=1)


def _shared(view: Snapshot, block: slice, rows: np.ndarray, items: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of both tables: how popular products are and are forecast to be, what like-minded shoppers buy, and how
    much the shopper buys at all."""
    known = view.known
    had = known.had(block.start, block.stop)  # shoppers of the block, P
    expected = np.log(view.expected + 0.5)  # L, P
    like_hers = np.log((had > 0).astype(np.float32) @ view.similar + 0.01)
    columns = {
        "forecast_region": expected[known.home[block][rows], items],
        "forecast": expected[0, items],
        "popularity": np.log1p(known.popularity)[items],
        "lately": np.log1p(known.lately)[items],
        "alike": like_hers[rows, items],
        "active": np.log1p(known.active[block])[rows],
        "total": np.log1p(had.sum(1))[rows],
    }
    for name in view.factors:
        if name.startswith("als"):
            columns[name] = view.affinity(name, block).clip(-0.2, 1.5)[rows, items]
    return columns


TABLES = {"repeat": repeat_table, "explore": explore_table}
