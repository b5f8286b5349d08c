"""Checks of an estimated effect: what should be zero is zero, and how strong a hidden cause would have to be.

`placebo` asks whether sales follow a price that has not come yet, `negative_control` whether they follow the promotion
of a product that nobody buys instead; both should not. `hidden_cause` is the sensitivity analysis of Chernozhukov,
Cinelli, Newey, Sharma & Syrgkanis (2022), by the library DoubleML.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from shelfcast.language import N_
from shelfcast.why.causes import effects
from shelfcast.why.causes.data import PRICE, PROMOTION, Rows
from shelfcast.why.causes.effects import Effect

AHEAD = 4  # weeks: next month's price
NEXT_PRICE, OTHER_PROMOTION = "next_price", "other_promotion"
# What a hidden cause is compared with: a name for people, and how its columns begin.
KNOWN_CAUSES = {
    N_("the product's own sales of the weeks before"): ("lag_0_before", "level_"),
    N_("promotions"): (PROMOTION, "category_promotion"),
    N_("prices of other products"): ("other_prices",),
    N_("holidays"): ("holiday",),
}


@dataclass(frozen=True)
class Hidden:
    """How strong a hidden cause of both treatment and sales would have to be.

    robustness : share of what the controls leave unexplained, of sales and of the treatment, that a hidden cause would
        have to explain to bring the effect to zero; significant : to make it no longer different from zero by chance.
    known : the same share for the strongest known cause, see `equal_share`. cause : its name, of `KNOWN_CAUSES`.
    """

    robustness: float
    significant: float
    known: float
    cause: str

    @property
    def robust(self) -> bool:
        """Whether a hidden cause as strong as the known one would leave the effect's sign."""
        return self.robustness > self.known


def placebo(rows: Rows, ahead: int = AHEAD, **options) -> Effect:
    """The effect of the price `ahead` weeks later, at this week's price: zero unless prices follow demand.

    Parameters
    ----------
    options : those of `effects.estimate`.

    Raises
    ------
    ValueError : as `effects.estimate`.
    """
    ahead *= rows.per_week
    later = rows.frame[["unique_id", "week", PRICE]].rename(columns={PRICE: NEXT_PRICE})
    frame = rows.frame.merge(later.assign(week=later["week"] - ahead), on=["unique_id", "week"])
    return effects.estimate(replace(rows, frame=frame), NEXT_PRICE, **options)


def negative_control(rows: Rows, **options) -> Effect:
    """The effect of the promotion of a product of another category, each product paired with one: zero.

    Raises
    ------
    ValueError : products of fewer than two categories, no promotions; as `effects.estimate`.
    """
    if PROMOTION not in rows.treatments:
        raise ValueError("rows have no promotions, so that there is no promotion of another category to look at.")
    pairs = other_products(rows)
    others = rows.frame[["product_id", "location", "week", PROMOTION]]
    others = others.rename(columns={"product_id": "other", PROMOTION: OTHER_PROMOTION})
    frame = rows.frame.assign(other=rows.frame["product_id"].map(pairs))
    return effects.estimate(
        replace(rows, frame=frame.merge(others, on=["other", "location", "week"])), OTHER_PROMOTION, **options
    )


def other_products(rows: Rows) -> pd.Series:
    """product_id -> a product of the next category by name, in turn, so that each of them is used about equally often."""
    if "category" not in rows.frame or rows.frame["category"].nunique() < 2:
        raise ValueError("products are of one category. A negative control needs products of at least two.")
    products = rows.frame.drop_duplicates("product_id").sort_values("product_id").dropna(subset=["category"])
    members = products.groupby("category")["product_id"].agg(list)
    following = dict(zip(members.index, [*members.index[1:], members.index[0]], strict=True))
    pairs = {}
    for category, own in members.items():
        others = members[following[category]]
        pairs |= {product: others[i % len(others)] for i, product in enumerate(own)}
    return pd.Series(pairs)


def hidden_cause(rows: Rows, treatment: str = PRICE, learner: str = "linear", seed: int = 0) -> Hidden:
    """How strong a hidden cause would have to be to explain the effect away.

    Raises
    ------
    ValueError : as `effects.estimate`.
    """
    effects.check(rows, treatment)
    controls = rows.controls_of(treatment)
    model = effects.fit(effects.within(rows, treatment), treatment, controls, learner=learner, seed=seed)
    model.sensitivity_analysis()
    strength = model.sensitivity_params
    known = {}
    for cause, beginnings in KNOWN_CAUSES.items():
        columns = [f"x{i}" for i, name in enumerate(controls) if name.startswith(beginnings)]
        if columns and len(columns) < len(controls):
            with effects.seeded(seed):
                benchmark = model.sensitivity_benchmark(columns).iloc[0]
            known[cause] = equal_share(benchmark["cf_y"], benchmark["cf_d"])
    cause = max(known, key=known.get)
    return Hidden(float(strength["rv"][0]), float(strength["rva"][0]), known[cause], cause)


def equal_share(of_sales: float, gain: float) -> float:
    """The share r which, explained of both sales and the treatment, confounds as much as a cause that explains two shares.

    Confounding grows with sqrt(of_sales · gain), where a cause that explains the share r of the treatment has the gain
    r / (1 - r): with of_sales = .5 and gain = 1 (a share of .5), r is .5.

    Parameters
    ----------
    of_sales : share of the unexplained sales. gain : of the unexplained treatment, as DoubleML's benchmark gives it.
    """
    strength = max(of_sales * gain, 0.0)
    return float((np.sqrt(strength**2 + 4 * strength) - strength) / 2)
