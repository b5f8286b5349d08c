"""The best promotion plan under slots a week and a budget, as a mixed-integer program solved by HiGHS (scipy's milp).

    maximise   Σ gain[i, h] x[i, h]                           x[i, h] = 1: product i is promoted in week h
    subject to Σ_i x[i, h] <= slots                           in each week
               Σ_h x[i, h] <= max_weeks                       of each product
               x[i, h] + x[i, h + 1] <= 1                     where promotions have to be apart
               Σ spending[i, h] x[i, h] <= budget

Gains are those of each promotion alone, added. Two promotions of a category weaken each other; in pairs that is the
product of two small shares, and it is left out. `studies/promotions` measures what that costs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from shelfcast.decision_options import Promotions
from shelfcast.language import _, joined

SECONDS = 10.0  # for the solver
GAP = 1e-6  # relative, below which a plan counts as the best
OPTIMAL = 0  # of scipy's status


@dataclass(frozen=True)
class Chosen:
    """A plan: (P, H) bool, its summed gain, and how far from the best it can be at most, as a share of that gain."""

    plan: np.ndarray
    gain: float
    gap: float


def best_plan(gain: np.ndarray, spending: np.ndarray, options: Promotions) -> Chosen:
    """Choose promotions.

    A promotion that gains nothing is not chosen, so that slots may stay free.

    Parameters
    ----------
    gain, spending : (P, H), of each promotion alone.

    Raises
    ------
    ValueError : gains that are no numbers, spending below zero, or a solver that found no plan.
    """
    gain, spending = np.asarray(gain, float), np.asarray(spending, float)
    _check(gain, spending)
    free = gain > 0
    if options.budget is not None:
        free &= spending <= options.budget
    if not free.any() or options.slots == 0:
        return Chosen(np.zeros(gain.shape, bool), 0.0, 0.0)
    limits = constraints(gain.shape, spending, options)
    # HiGHS works with absolute tolerances, so that gains are scaled to about one
    scale = np.abs(gain[free]).max()
    with _quiet():
        result = milp(
            -(gain / scale).ravel(),
            integrality=np.ones(gain.size),
            bounds=Bounds(0, free.ravel().astype(float)),
            constraints=limits,
            options={"time_limit": SECONDS, "mip_rel_gap": GAP},
        )
    if result.x is None:
        raise ValueError(
            f"no promotion plan was found: {result.message} The limits are {said(options)}. Loosen promotions.budget or "
            "promotions.slots in params.yaml."
        )
    chosen = np.round(result.x).astype(bool).reshape(gain.shape)
    broken = violated(chosen, spending, options)
    assert not broken, broken
    gap = 0.0 if result.status == OPTIMAL else float(result.mip_gap)
    return Chosen(chosen, float(gain[chosen].sum()), gap)


def constraints(shape: tuple[int, int], spending: np.ndarray, options: Promotions) -> list[LinearConstraint]:
    """The rows of the program, over x raveled by product and then week."""
    n_products, n_weeks = shape
    products, weeks = sparse.eye_array(n_products), sparse.eye_array(n_weeks)
    parts = [
        (sparse.kron(np.ones((1, n_products)), weeks), options.slots),
        (sparse.kron(products, np.ones((1, n_weeks))), options.max_weeks),
    ]
    if options.apart and n_weeks > 1:
        neighbours = sparse.eye_array(n_weeks - 1, n_weeks) + sparse.eye_array(n_weeks - 1, n_weeks, k=1)
        parts.append((sparse.kron(products, neighbours), 1))
    if options.budget is not None:
        unit = max(options.budget, 1e-9)
        parts.append((sparse.csr_array(spending.reshape(1, -1) / unit), options.budget / unit))
    return [LinearConstraint(sparse.csr_array(rows), -np.inf, most) for rows, most in parts]


def violated(plan: np.ndarray, spending: np.ndarray, options: Promotions) -> list[str]:
    """Sentences on the limits that a plan breaks; none for one that holds them all."""
    broken = []
    if (most := int(plan.sum(0).max(initial=0))) > options.slots:
        broken.append(f"{most} products are promoted in one week, with {options.slots} slots.")
    if (most := int(plan.sum(1).max(initial=0))) > options.max_weeks:
        broken.append(f"a product is promoted in {most} weeks, with at most {options.max_weeks}.")
    if options.apart and (plan[:, 1:] & plan[:, :-1]).any():
        broken.append("a product is promoted in weeks that follow one another.")
    if options.budget is not None and spending[plan].sum() > options.budget * (1 + 1e-6) + 1e-9:
        broken.append(f"the plan spends {spending[plan].sum():.2f}, with a budget of {options.budget:.2f}.")
    return broken


def said(options: Promotions) -> str:
    """The limits in words."""
    parts = [
        _("{n} slots a week", n=options.slots),
        _("at most {n} weeks a product", n=options.max_weeks),
    ]
    if options.apart:
        parts.append(_("a week between promotions of a product"))
    if options.budget is not None:
        parts.append(_("a budget of {money:g}", money=options.budget))
    return joined(parts)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the standard output: some versions of HiGHS leave lines of their debugging there."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _check(gain: np.ndarray, spending: np.ndarray) -> None:
    if gain.ndim != 2 or gain.shape != spending.shape:
        raise ValueError(f"gains are {gain.shape} and spending {spending.shape}. Both are products x weeks.")
    if not np.isfinite(gain).all() or not np.isfinite(spending).all():
        raise ValueError("some gains or spendings are no numbers. Check prices and costs of the products.")
    if (spending < 0).any():
        raise ValueError("some spending is below zero. A fixed cost and a price cut are zero or more.")
