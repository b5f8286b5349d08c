"""Halo and cannibalisation: what a promotion does to the sales of the category's other products.

Axes: D draws, S models, P products, H weeks ahead; the chain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shelfcast.act.promotions.causes import OTHERS, Causes
from shelfcast.why.whatif.anchor import weight_by_error
from shelfcast.why.whatif.forecast import Parts, Ready
from shelfcast.why.whatif.plan import Plan

SHARE = 0.1  # of the category promoted, up to which the models' response is measured
LEAST = 1e-9


def slopes(ready: Ready, empty: Plan, before: Parts, causes: Causes) -> tuple[np.ndarray, float]:
    """(S, P, H) log units of a product per share of its category's others that is promoted, and their standard error.

    The models' secant from no promotion to a usual share of promotions; its mean is moved towards the estimate of
    causes, as `why.whatif.anchor` does. Zero for a retailer whose panel has no such column.

    Parameters
    ----------
    empty : the plan without any promotion. before : what the models forecast of it.
    """
    shape = (len(ready.pasts), len(ready.plan.products), len(ready.plan.weeks))
    if OTHERS not in empty.values:
        return np.zeros(shape), 0.0
    crowded = replace(empty, values=empty.values | {OTHERS: np.full_like(empty.values[OTHERS], SHARE)})
    everything = np.arange(shape[1])
    # differences within the models: an anchor moves both plans alike
    means = [np.stack([mean[:, 0, 0] for mean, _ in ready.forecast(plan, everything)[0]]) for plan in (empty, crowded)]
    slope = np.log(means[1] / means[0]) / SHARE
    if causes.others is None:
        return slope, 0.0
    estimate, se = causes.others
    lean = weight_by_error(float(slope.mean()), estimate, se)
    return slope + lean * (estimate - slope.mean()), lean * se


def weights(plan: Plan, share: np.ndarray) -> np.ndarray:
    """(P, P) by how much a promotion of the row's product raises `category_promotion` of the column's product.

    A product weighs by its units of the training weeks, as in `features.promotions`: the promotion of one that was
    launched later moves no other product.

    Parameters
    ----------
    share : (P,) of stores in which a promotion of the product takes place.
    """
    same = plan.category[:, None] == plan.category
    of_others = same @ plan.units - plan.units
    weight = np.where(same, (share * plan.units)[:, None] / np.maximum(of_others, LEAST), 0.0)
    np.fill_diagonal(weight, 0.0)
    return weight


def spillover(
    slope: np.ndarray, base: np.ndarray, weight: np.ndarray, margin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(D, P, H) units and margin that the other products gain by a promotion of each product.

    To first order, base · slope · weight, since one promotion moves the share of a category by little.

    Worked example: two products of equal size; one is promoted, so that the share of the other one's others is 1. It
    sells 10 at a margin of .5 with a slope of -.2: 2 units and a margin of 1 less.

    Parameters
    ----------
    slope : (D, P, H). base : (P, H) units. weight : (P, P). margin : (P,) of a unit.
    """
    moved = slope * base  # units per share, of the others
    return np.matmul(weight, moved), np.matmul(weight, moved * margin[:, None])
