"""Exact Shapley values over groups of inputs.

The Shapley value of a group is what it changes when it is added to a set of others, averaged over all orders (Shapley
1953; Lundberg & Lee 2017). With nine groups there are 512 sets, so the sum is exact; captum's ShapleyValues goes through
all orders, 362,880 of them, and is not used for that reason.
"""

from __future__ import annotations

from math import factorial

import numpy as np

from shelfcast.why.explain.value import coalitions


def shapley(units: np.ndarray) -> np.ndarray:
    """The contribution of each group.

    Parameters
    ----------
    units : (2^G, …) of every set of groups in the order of `value.coalitions`: the first of none, the last of all.

    Returns
    -------
    (G, …), which add up to ``units[-1] - units[0]``.
    """
    sets = coalitions(n_groups(units))
    n = sets.shape[1]
    size = sets.sum(1)
    contributions = []
    for i in range(n):
        without = np.flatnonzero(~sets[:, i])
        weight = np.array([factorial(k) * factorial(n - k - 1) / factorial(n) for k in size[without]])
        contributions.append(np.tensordot(weight, units[without | (1 << i)] - units[without], axes=1))
    return np.stack(contributions)


def n_groups(units: np.ndarray) -> int:
    """G of the (2^G, …) units of all sets."""
    n = len(units).bit_length() - 1
    if len(units) != 2**n or n < 1:
        raise ValueError(f"{len(units)} sets are not all sets of some groups. Give the units of all 2^G.")
    return n


def completeness_error(contributions: np.ndarray, usual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """How far contributions (G, …) are from adding up to forecast - usual (…), as a share of what they move in all."""
    moved = np.maximum(np.abs(contributions).sum(0), 1e-9)
    return np.abs(contributions.sum(0) - (forecast - usual)) / moved
