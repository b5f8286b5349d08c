"""What promoting each product in each coming week gains, against a plan without any promotion.

Each product and week is looked at alone: forecasts with and without its promotion, by the same models and with the same
luck (see `why.whatif.forecast`), anchored to estimates of causes. What it does to the category's other products, halo or
cannibalisation, follows from how their forecasts move with the share of their category that is promoted. The gains of
several promotions are added; that they weaken each other a little is left out (`plan`).

Ranges are of joint draws: a model, an error of each estimate, and the luck of each product, which is that of all of its
weeks. Money is margin: (price - cost) · units, less the fixed cost of the promotion.

Axes: D draws, S models, P products, H weeks ahead; the chain, to which regions add up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from shelfcast.act.promotions.causes import OTHERS, Causes
from shelfcast.act.promotions.terms import Terms
from shelfcast.data.schema import CHAIN
from shelfcast.decision_options import Promotions
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES
from shelfcast.model.forecast import as_frame
from shelfcast.why.whatif.anchor import weight_by_error
from shelfcast.why.whatif.changes import PROMOTION, Change, check, recorded_shares
from shelfcast.why.whatif.forecast import Ready, moves
from shelfcast.why.whatif.plan import Plan

DRAWS = 400
RANGE = (0.1, 0.9)
LEAST = 1e-9


@dataclass(frozen=True)
class Gains:
    """Gains of each product and week alone, in the chain.

    base : (P, H) expected units without any promotion. own, others : (D, P, H) units more of the product, and of the
    category's others. money : (D, P, H) margin more of all of them, less the fixed cost. spending : (P, H) fixed cost
    and price cut of the promoted units. expected : 'units', 'others', 'money' -> (P, H) means, which plans are made of.
    model, cause : (P, H) units more of the product by the models alone, and by the estimate alone (NaN without one).
    """

    terms: Terms
    weeks: pd.DatetimeIndex
    base: np.ndarray
    own: np.ndarray
    others: np.ndarray
    money: np.ndarray
    spending: np.ndarray
    expected: dict[str, np.ndarray]
    model: np.ndarray
    cause: np.ndarray
    notes: tuple[str, ...] = ()

    def of_goal(self, goal: str) -> np.ndarray:
        """(P, H) what a plan should gain most of: money, or units of all products."""
        return self.expected["money"] if goal == "margin" else self.expected["units"] + self.expected["others"]

    def frame(self, chosen: np.ndarray | None = None) -> pd.DataFrame:
        """A row per product and week: terms, expected gains and their 80 % ranges; `chosen` (P, H) becomes a column."""
        n_weeks = len(self.weeks)
        terms = {"price": self.terms.regular, "price_promoted": self.terms.promoted, "unit_cost": self.terms.cost}
        columns = {
            "product_id": np.repeat(self.terms.products.to_numpy(), n_weeks),
            "ds": np.tile(self.weeks, len(self.terms.products)),
            "horizon": np.tile(np.arange(1, n_weeks + 1), len(self.terms.products)),
            **{name: np.repeat(x, n_weeks) for name, x in terms.items()},
            "units_without": self.base.ravel(),
        }
        for name, draws in (("units", self.own), ("others", self.others), ("money", self.money)):
            low, high = np.quantile(draws, RANGE, axis=0)
            middle = self.expected[name]
            columns[name] = middle.ravel()
            columns[f"{name}_low"] = np.minimum(low, middle).ravel()
            columns[f"{name}_high"] = np.maximum(high, middle).ravel()
        columns |= {"units_model": self.model.ravel(), "units_cause": self.cause.ravel(), "spending": self.spending.ravel()}
        table = pd.DataFrame(columns)
        return table if chosen is None else table.assign(chosen=np.asarray(chosen, bool).ravel())

    def total(self, chosen: np.ndarray) -> dict[str, tuple[float, float, float]]:
        """Mean and ends of the 80 % range of a whole plan's 'units', 'others' and 'money'."""
        out = {}
        for name, draws in (("units", self.own), ("others", self.others), ("money", self.money)):
            middle = float(self.expected[name][chosen].sum())
            low, high = np.quantile(draws[:, chosen].sum(1), RANGE)
            out[name] = (middle, min(float(low), middle), max(float(high), middle))
        return out


def gains(
    ready: Ready, terms: Terms, options: Promotions, causes: Causes | None = None, seed: int = 0, draws: int = DRAWS
) -> Gains:
    """Compute; about a second.

    Raises
    ------
    ValueError : a retailer without a table of promotions, unknown channels, shares out of 0 to 1.
    """
    causes = causes or Causes(None, None)
    empty, full = plans(ready, terms, options)
    everything = np.arange(len(ready.plan.products))
    anchor = None if causes.own is None else ready.anchored_to(causes.own)
    before = ready.forecast(empty, everything, anchor)[0]
    after = ready.forecast(full, everything, anchor)[0]
    moved = {name: x[:, 0] for name, x in moves(empty, full, everything).items()}
    error = np.zeros(terms_shape(ready)) if anchor is None else anchor.error(moved)
    mean_before, mean_after = (_chain(ready, parts) for parts in (before, after))  # S, P, H
    base = mean_before.mean(0)
    slope, slope_error = _of_others(ready, empty, before, options, causes)
    weight = _weights(ready.plan) * full.values[PROMOTION].max((1, 2))[:, None]

    rng = np.random.default_rng(seed)
    model, luck = rng.integers(0, len(before), draws), rng.random((draws, len(everything)))
    own_error, others_error = rng.normal(size=(2, draws))
    units = _lucky(ready, before, base, luck)  # D, P, H
    factor = (mean_after / mean_before)[model] * np.exp(own_error[:, None, None] * error)
    unit_margin = (terms.regular - terms.cost)[:, None], (terms.promoted - terms.cost)[:, None]
    slopes = slope[model] + others_error[:, None, None] * slope_error
    others_units, others_money = _spillover(slopes, base, weight, unit_margin[0])
    own_money = units * (factor * unit_margin[1] - unit_margin[0])

    mean_factor = mean_after.mean(0) / base
    halo_units, halo_money = (x[0] for x in _spillover(slope.mean(0)[None], base, weight, unit_margin[0]))
    money = base * (mean_factor * unit_margin[1] - unit_margin[0]) + halo_money - options.fixed_cost
    expected = {"units": base * (mean_factor - 1), "others": halo_units, "money": money}
    return Gains(
        terms,
        ready.plan.weeks,
        base,
        units * (factor - 1),
        others_units,
        own_money + others_money - options.fixed_cost,
        options.fixed_cost + base * mean_factor * (terms.regular - terms.promoted)[:, None],
        expected,
        *_alone(ready, empty, full, causes, moved, base),
        causes.notes,
    )


def terms_shape(ready: Ready) -> tuple[int, int]:
    """P, H."""
    return len(ready.plan.products), len(ready.plan.weeks)


def plans(ready: Ready, terms: Terms, options: Promotions) -> tuple[Plan, Plan]:
    """Without any promotion at regular prices; and with one of each product in each week, as if it were the only one."""
    products, weeks = ready.plan.products, ready.plan.weeks
    shares = options.channels or {PROMOTION: 1.0}
    stated = Change(products, CHAIN, weeks, promotion=shares)
    check(ready.panel, [stated], ready.cutoff)
    empty = ready.plan.changed([Change(products, CHAIN, weeks, promotion=dict.fromkeys(ready.plan.promotions, 0.0))])
    if "price" in ready.plan.values:
        empty = empty.changed([_at_price(products[[i]], weeks, price) for i, price in enumerate(terms.regular)])
    full = empty.changed([stated])
    if "price" in ready.plan.values and terms.cut > 0:
        full = full.changed([Change(products, CHAIN, weeks, price_factor=1 - terms.cut)])
    nobody = {OTHERS: np.zeros_like(empty.values[OTHERS])}
    return tuple(replace(plan, values=plan.values | nobody) for plan in (empty, full))


def _at_price(products: pd.Index, weeks: pd.DatetimeIndex, price: float) -> Change:
    return Change(products, CHAIN, weeks, price=float(price))


def _chain(ready: Ready, parts) -> np.ndarray:
    """(S, P, H) units of the chain."""
    return ready.market.size * np.stack([mean[:, 0, 0] for mean, _ in parts])


def _lucky(ready: Ready, parts, base: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """(D, P, H) units without promotion at the luck (D, P) in 0 to 1, scaled so that draws have the mean of forecasts."""
    frame = as_frame(parts, ready.market, [ready.cutoff])
    chain = frame.loc[frame["unique_id"].str.endswith(f"|{CHAIN}"), QUANTILE_COLUMNS].to_numpy()
    quantiles = chain.reshape(*base.shape, len(QUANTILES))
    units = np.empty((len(luck), *base.shape))
    for i, of_weeks in enumerate(quantiles):
        for h, values in enumerate(of_weeks):
            units[:, i, h] = np.interp(luck[:, i], QUANTILES, values)
    return units * (base / np.maximum(units.mean(0), LEAST))


def _of_others(
    ready: Ready, empty: Plan, before, options: Promotions, causes: Causes
) -> tuple[np.ndarray, float]:
    """(S, P, H) log units of a product per share of its category's others that are promoted, and the standard error.

    The models' secant from no promotion to as many as there are slots; its mean is moved to the estimate of causes.
    """
    if OTHERS not in empty.values:
        return np.zeros((len(before), *terms_shape(ready))), 0.0
    products = np.arange(len(ready.plan.products))
    share = min(max(options.slots, 1) / len(products), 1.0)
    crowded = replace(empty, values=empty.values | {OTHERS: np.full_like(empty.values[OTHERS], share)})
    parts = ready.forecast(crowded, products)[0]
    alone = ready.forecast(empty, products)[0]
    slope = np.log(_chain(ready, parts) / _chain(ready, alone)) / share
    if causes.others is None:
        return slope, 0.0
    estimate, se = causes.others
    lean = weight_by_error(float(slope.mean()), estimate, se)
    return slope + lean * (estimate - slope.mean()), lean * se


def _weights(plan: Plan) -> np.ndarray:
    """(P, P) by how much a promotion of the row's product raises `category_promotion` of the column's product."""
    same = plan.category[:, None] == plan.category
    total = same @ plan.units - plan.units
    weight = np.where(same, plan.units[:, None] / np.maximum(total, LEAST), 0.0)
    np.fill_diagonal(weight, 0.0)
    return weight


def _spillover(
    slopes: np.ndarray, base: np.ndarray, weight: np.ndarray, unit_margin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(D, P, H) units and margin that the other products gain by a promotion of each product.

    To first order, base · slope · weight: a single promotion moves the share of a category by little.
    """
    moved = slopes * base  # units per share, of the others
    return np.einsum("ij,djh->dih", weight, moved), np.einsum("ij,djh->dih", weight, moved * unit_margin)


def _alone(
    ready: Ready, empty: Plan, full: Plan, causes: Causes, moved: dict[str, np.ndarray], base: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(P, H) units more of the product by the models alone, and by the estimate of causes alone on the same base."""
    everything = np.arange(len(ready.plan.products))
    before, after = (_chain(ready, ready.forecast(plan, everything)[0]).mean(0) for plan in (empty, full))
    if causes.own is None:
        return after - before, np.full(base.shape, np.nan)
    return after - before, base * np.expm1(causes.own.log_factor(moved))


def can_promote(ready: Ready) -> None:
    """Raise a ValueError where the retailer's tables hold no promotions to learn from."""
    if PROMOTION not in ready.plan.values or not (recorded_shares(ready.panel) > 0).any():
        raise ValueError(
            "this retailer has no table of promotions, so no gain of a promotion was learned. Add the table `promotions`, "
            "prepare and train again; until then there is no promotion plan."
        )

