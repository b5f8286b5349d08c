"""Factorisations of purchases by `implicit`: ALS (Hu, Koren & Volinsky 2008) and BPR (Rendle et al. 2009).

What is factorised are the weeks in which a shopper had bought a product, as confidence for ALS and as clicks for BPR.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from shelfcast.act.recommend.purchases import History


@dataclass(frozen=True)
class Factorisation:
    """Settings of one factorisation; `factors` is the width, more follow single habits, fewer what many have in common."""

    kind: Literal["als", "bpr"]
    factors: int
    regularization: float
    iterations: int

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.factors}"


ALS = tuple(Factorisation("als", width, regularization=1.0, iterations=8) for width in (8, 16, 32, 64))
# Few steps stay near what is popular, which is better for products that are new to a shopper; many know her habits.
BPR = (
    Factorisation("bpr", 16, regularization=0.01, iterations=60),
    Factorisation("bpr", 32, regularization=0.01, iterations=150),
)


def fit_factors(known: History, settings: Factorisation, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Factors of shoppers and of products, whose dot product ranks products for a shopper.

    Returns
    -------
    (S, F), (P, F) : of float32; one thread and a seed make them the same at every run.
    """
    logging.getLogger("implicit").setLevel(logging.ERROR)
    from implicit.cpu.als import AlternatingLeastSquares  # slow to import, and only where there are shoppers
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    pairs = known.pairs
    counts = csr_matrix((pairs["n"].to_numpy(np.float32), (pairs["row"], pairs["item"])), shape=known.shape)
    shared = {
        "factors": settings.factors,
        "regularization": settings.regularization,
        "iterations": settings.iterations,
        "random_state": seed,
        "num_threads": 1,
    }
    kind = AlternatingLeastSquares if settings.kind == "als" else BayesianPersonalizedRanking
    with threadpool_limits(1, "blas"):  # the library runs threads of its own, and warns of those of BLAS
        model = kind(**shared)
        model.fit(counts, show_progress=False)
    return np.asarray(model.user_factors), np.asarray(model.item_factors)
