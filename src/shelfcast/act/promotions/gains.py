"""What promoting each product in each coming week gains, against a plan without any promotion.

Each product and week is looked at alone: forecasts with and without its promotion, by the same models and with the same
luck (see `why.whatif.forecast`), anchored to estimates of causes (`response`). What it does to the category's other
products, halo or cannibalisation, follows from how their forecasts move with the share of their category that is
promoted (`others`). Gains of several promotions are added; that they weaken each other is left out, see `plan`.

Ranges are of joint draws: a model, an error of each estimate, and the luck of each product, which all of its weeks share.
Money is margin: (price - cost) · units, less the fixed cost of the promotion.

Axes: D draws, S models, P products, H weeks ahead; the chain, to which regions add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.act.promotions.causes import Causes
from shelfcast.act.promotions.others import slopes, spillover, weights
from shelfcast.act.promotions.response import Responses, responses
from shelfcast.act.promotions.terms import Terms
from shelfcast.data.schema import CHAIN
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES
from shelfcast.language import N_, _
from shelfcast.model.forecast import as_frame
from shelfcast.why.whatif.forecast import Parts, Ready

DRAWS = 400
RANGE = (0.1, 0.9)
LEAST = 1e-9


@dataclass(frozen=True)
class Gains:
    """Gains of each product and week alone, in the chain.

    on_sale : (P, H) False before a product's launch, where nothing is gained and nothing planned.
    base : (P, H) expected units without any promotion. expected : 'units' of the product, 'others' of the category's
    other products, 'money' of all of them, less the fixed cost -> (P, H) means more. drawn : the same -> (D, P, H).
    spending : (P, H) fixed cost and what the retailer pays of the price cut.
    model, cause : (P, H) units more of the product by the models alone, and by the estimate alone (NaN without one).
    """

    terms: Terms
    weeks: pd.DatetimeIndex
    on_sale: np.ndarray
    base: np.ndarray
    expected: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    spending: np.ndarray
    model: np.ndarray
    cause: np.ndarray
    notes: tuple[str, ...] = ()

    def of_goal(self, goal: str) -> np.ndarray:
        """(P, H) what a plan should gain most of: money, or units of all products."""
        return self.expected["money"] if goal == "margin" else self.expected["units"] + self.expected["others"]

    def frame(self, chosen: np.ndarray) -> pd.DataFrame:
        """A row per product and week on sale: terms, expected gains, their 80 % ranges, and whether it is `chosen` (P, H)."""
        n_products, n_weeks = self.base.shape
        columns: dict[str, np.ndarray] = {
            "product_id": np.repeat(self.terms.products.to_numpy(), n_weeks),
            "ds": np.tile(self.weeks.to_numpy(), n_products),
            "horizon": np.tile(np.arange(1, n_weeks + 1), n_products),
            "price": np.repeat(self.terms.regular, n_weeks),
            "price_promoted": np.repeat(self.terms.promoted, n_weeks),
            "unit_cost": np.repeat(self.terms.cost, n_weeks),
            "units_without": self.base.ravel(),
        }
        for name, middle in self.expected.items():
            low, high = np.quantile(self.drawn[name], RANGE, axis=0)
            columns[name] = middle.ravel()
            columns[f"{name}_low"] = np.minimum(low, middle).ravel()
            columns[f"{name}_high"] = np.maximum(high, middle).ravel()
        columns |= {"units_model": self.model.ravel(), "units_cause": self.cause.ravel()}
        columns |= {"spending": self.spending.ravel(), "chosen": np.asarray(chosen, bool).ravel()}
        return pd.DataFrame(columns)[self.on_sale.ravel()].reset_index(drop=True)

    def total(self, chosen: np.ndarray) -> dict[str, tuple[float, float, float]]:
        """Mean and ends of the 80 % range of a whole plan's 'units', 'others' and 'money'."""
        out = {}
        for name, middle in self.expected.items():
            mean = float(middle[chosen].sum())
            low, high = np.quantile(self.drawn[name][:, chosen].sum(1), RANGE)
            out[name] = (mean, min(float(low), mean), max(float(high), mean))
        return out


def gains(
    ready: Ready,
    terms: Terms,
    channels: dict[str, float] | None = None,
    causes: Causes | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    **options: float,
) -> Gains:
    """Compute; about a second.

    Parameters
    ----------
    channels : channel -> share of stores that take part in a promotion; all stores in the usual channels without any.
    options : of `response.responses`.

    Raises
    ------
    ValueError : a retailer without a table of promotions, unknown channels, shares out of 0 to 1.
    """
    causes = causes or Causes(None, None)
    found = responses(ready, terms, channels, causes, **options)
    on_sale = launched(ready)
    base = found.base.mean(0) * on_sale
    slope, slope_error = slopes(ready, found.empty, found.before, causes)
    weight = weights(ready.plan, found.share)
    expected = _expected(found, terms, base, spillover(slope.mean(0)[None], base, weight, terms.margin), on_sale)

    rng = np.random.default_rng(seed)
    model, luck = rng.integers(0, len(found.base), draws), rng.random((draws, len(base)))
    own_error, others_error = rng.normal(size=(2, draws, 1, 1))
    units = _lucky(ready, found.before, base, luck)
    promoted = units * np.exp(found.log_factor[model] + own_error * found.error)
    others_units, others_money = spillover(slope[model] + others_error * slope_error, base, weight, terms.margin)
    money = terms.money(units, promoted) + (others_money - terms.fixed_cost) * on_sale
    drawn = {"units": promoted - units, "others": others_units * on_sale, "money": money}
    notes = causes.notes
    if not on_sale.all():
        late = int((~on_sale).any(1).sum())
        early = N_("{n} products are not on sale in all of the coming weeks, and are not promoted before their launch.")
        notes += (_(early, n=late),)
    return Gains(
        terms=terms,
        weeks=ready.plan.weeks,
        on_sale=on_sale,
        base=base,
        expected=expected,
        drawn=drawn,
        spending=terms.fixed_cost + (base + expected["units"]) * terms.given_away[:, None],
        model=found.by_model * on_sale,
        cause=found.by_cause * on_sale,
        notes=notes,
    )


def _expected(found: Responses, terms: Terms, base: np.ndarray, others, on_sale: np.ndarray) -> dict[str, np.ndarray]:
    """The means of `Gains.expected`; a factor is that of the mean over models, as forecasts are averaged."""
    factor = (found.base * np.exp(found.log_factor)).mean(0) / found.base.mean(0)
    units, money = (x[0] * on_sale for x in others)
    money = terms.money(base, base * factor) + money - terms.fixed_cost * on_sale
    return {"units": base * (factor - 1), "others": units, "money": money}


def launched(ready: Ready) -> np.ndarray:
    """(P, H) whether a product is on sale: from the week of its launch on, where the retailer names one."""
    products = ready.panel.products
    if "launch" not in products:
        return np.ones((len(products), len(ready.plan.weeks)), bool)
    launch = pd.to_datetime(products["launch"]).fillna(pd.Timestamp.min).to_numpy()
    return launch[:, None] <= ready.plan.weeks.to_numpy()


def _lucky(ready: Ready, parts: Parts, base: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """(D, P, H) units without promotion at the luck (D, P) in 0 to 1, scaled so that draws have the mean of forecasts."""
    frame = as_frame(parts, ready.market, [ready.cutoff])
    chain = frame.loc[frame["unique_id"].str.endswith(f"|{CHAIN}"), QUANTILE_COLUMNS].to_numpy()
    quantiles = chain.reshape(*base.shape, len(QUANTILES))
    units = np.empty((len(luck), *base.shape))
    for product, of_weeks in enumerate(quantiles):
        for week, values in enumerate(of_weeks):
            units[:, product, week] = np.interp(luck[:, product], QUANTILES, values)
    return units * (base / np.maximum(units.mean(0), LEAST))
