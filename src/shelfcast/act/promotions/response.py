"""How much more a promoted product sells: by the models, anchored to estimates of causes, and drawn together.

The models say how products differ, the estimate of causes says what a promotion does in the mean, and either errs in
its own way. Models overstate differences between products they have seldom seen promoted, one response for all has
none; so the two are averaged with equal weights, which is hard to beat where errors are not known (Bates & Granger 1969;
Clemen 1989): a product's log factor counts half, and the mean over products half.

Axes: S models, P products, L locations (chain first), H weeks ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from shelfcast.act.promotions.causes import OTHERS, Causes
from shelfcast.act.promotions.terms import Terms
from shelfcast.data.schema import CHAIN
from shelfcast.why.whatif.anchor import PRICE
from shelfcast.why.whatif.changes import PROMOTION, Change, check
from shelfcast.why.whatif.forecast import Parts, Ready, moves
from shelfcast.why.whatif.plan import Plan

OWN = 0.5  # how much a product's own response counts against the mean one


@dataclass(frozen=True)
class Responses:
    """Sales of each product alone, without and with its promotion, in the chain.

    empty : the plan without any promotion. before : what each model forecasts of it.
    base : (S, P, H) units of it. log_factor : (S, P, H) log of promoted units over these. error : (P, H) its standard
    error by that of the estimate. share : (P,) of stores that promote. by_model, by_cause : (P, H) units more by the
    models alone, and by the estimate alone on the same base (NaN without one).
    """

    empty: Plan
    before: Parts
    base: np.ndarray
    log_factor: np.ndarray
    error: np.ndarray
    share: np.ndarray
    by_model: np.ndarray
    by_cause: np.ndarray


def responses(
    ready: Ready, terms: Terms, channels: dict[str, float] | None, causes: Causes, own: float = OWN
) -> Responses:
    """
    Parameters
    ----------
    own : how much a product's own log factor counts against the mean one, 0 to 1.

    Raises
    ------
    ValueError : see `plans`.
    """
    empty, full = plans(ready, terms, channels)
    everything = np.arange(len(ready.plan.products))

    def chain(parts: Parts) -> np.ndarray:
        return ready.market.size * np.stack([mean[:, 0, 0] for mean, _ in parts])

    anchor = None if causes.own is None else ready.anchored_to(causes.own)
    before, after = (ready.forecast(plan, everything, anchor)[0] for plan in (empty, full))
    by_models = [chain(ready.forecast(plan, everything)[0]).mean(0) for plan in (empty, full)]
    base = chain(before)
    log_factor = np.log(chain(after) / base)
    moved = {name: x[:, 0] for name, x in moves(empty, full, everything).items()}
    by_cause = np.full(base.shape[1:], np.nan)
    if causes.own is not None:
        by_cause = base.mean(0) * np.expm1(causes.own.log_factor(moved))
    return Responses(
        empty=empty,
        before=before,
        base=base,
        log_factor=own * log_factor + (1 - own) * log_factor.mean((1, 2), keepdims=True),
        error=np.zeros(base.shape[1:]) if anchor is None else anchor.error(moved),
        share=full.values[PROMOTION][:, 0].max(1),
        by_model=by_models[1] - by_models[0],
        by_cause=by_cause,
    )


def plans(ready: Ready, terms: Terms, channels: dict[str, float] | None = None) -> tuple[Plan, Plan]:
    """Without any promotion at regular prices; and with one of each product in each week, as if it were the only one.

    Raises
    ------
    ValueError : a retailer without a table of promotions, unknown channels, shares out of 0 to 1.
    """
    products, weeks = ready.plan.products, ready.plan.weeks
    stated = Change(products, CHAIN, weeks, promotion=channels or {PROMOTION: 1.0})
    check(ready.panel, [stated], ready.cutoff)
    nothing = dict.fromkeys(ready.plan.promotions, 0.0)
    empty = ready.plan.changed([Change(products, CHAIN, weeks, promotion=nothing)])
    if PRICE in empty.values:
        # one change for all products, each at its own price
        empty = empty.changed([Change(products, CHAIN, weeks, price=terms.regular[:, None, None])])
    full = empty.changed([stated])
    if PRICE in empty.values and terms.cut > 0:
        full = full.changed([Change(products, CHAIN, weeks, price_factor=1 - terms.cut)])
    if OTHERS in empty.values:
        alone = {OTHERS: np.zeros_like(empty.values[OTHERS])}
        empty, full = (replace(plan, values=plan.values | alone) for plan in (empty, full))
    return empty, full
