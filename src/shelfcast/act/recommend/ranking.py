"""Scores of rankings: NDCG and recall of the first k, and differences with bootstrap intervals over shoppers.

NDCG: Järvelin & Kekäläinen (2002), with gains of 0 and 1.
"""

from __future__ import annotations

import numpy as np

K = 10  # places that are looked at
INTERVAL = (0.05, 0.95)  # quantiles of the draws that bound the 90 % interval


def top(scores: np.ndarray, k: int = K) -> np.ndarray:
    """Items with the highest scores, best first, of equals the earlier one: (S, P) -> (S, min(k, P))."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def ndcg_and_recall(scores: np.ndarray, relevant: np.ndarray, k: int = K) -> tuple[np.ndarray, np.ndarray]:
    """NDCG and recall of the first k places, one each a shopper.

    A relevant item in place i gains 1 / log2(i + 1); NDCG is the sum over the best possible one. Recall is the share of
    relevant items in the first k places.

    Worked example: relevant are a and b of four items, ranked a, c, b, d. NDCG@3 = (1 + 1 / 2) / (1 + 1 / log2(3)) =
    0.92, recall@3 = 1; NDCG@2 = 1 / (1 + 1 / log2(3)) = 0.61, recall@2 = 1 / 2.

    Parameters
    ----------
    scores : (S, P), higher is better; -inf for what is not to be recommended.
    relevant : (S, P) of bool.

    Returns
    -------
    (S,), (S,) : NaN for shoppers without a relevant item.
    """
    places = top(scores, k)
    shown = np.isfinite(np.take_along_axis(scores, places, axis=1))
    hits = np.take_along_axis(relevant, places, axis=1) & shown  # S, k
    gains = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.concatenate([[0.0], np.cumsum(gains)])
    n = relevant.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (hits @ gains) / best[np.minimum(n, len(gains))], hits.sum(1) / n


def relative_difference(
    ours: np.ndarray, theirs: np.ndarray, shopper: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """``mean(ours) / mean(theirs) - 1`` with its 90 % interval; shoppers are resampled with all their cutoffs.

    Parameters
    ----------
    ours, theirs : (N,) scores of the same shoppers and cutoffs. shopper : (N,) whose they are.

    Returns
    -------
    estimate, low, high : above 0 where `ours` is better; NaN without any rows.
    """
    if not len(ours):
        return float("nan"), float("nan"), float("nan")
    number = np.unique(shopper, return_inverse=True)[1]
    sums = np.stack([np.bincount(number, values) for values in (ours, theirs)])  # 2, shoppers
    generator = np.random.default_rng(seed)
    relative = np.empty(draws)
    for i in range(draws):
        drawn = sums[:, generator.integers(0, sums.shape[1], sums.shape[1])].sum(1)
        relative[i] = drawn[0] / drawn[1] - 1 if drawn[1] > 0 else np.nan
    low, high = np.nanquantile(relative, INTERVAL) if np.isfinite(relative).any() else (np.nan, np.nan)
    total = sums.sum(1)
    return float(total[0] / total[1] - 1) if total[1] > 0 else float("nan"), float(low), float(high)
