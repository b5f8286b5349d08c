"""Effects in words for a category manager: each with its interval, and no causal word without what it assumes."""

from __future__ import annotations

import numpy as np

from shelfcast.why.causes.checks import AHEAD, Hidden
from shelfcast.why.causes.data import PRICE, PROMOTION
from shelfcast.why.causes.effects import WEAK, Effect

CUT = 0.1  # of the price, in sentences
PRICES = (PRICE, "other_prices")
MANY = 10  # clusters, below which an interval is only roughly right

SHARED = (
    "a product's price and promotion do not change what the same product would have sold at another time, as when "
    "shoppers fill their cupboards or wait for the next promotion",
    "the effect is about the same for all products and weeks that are put together here; else it is a mean of them",
)
ASSUMPTIONS = {
    "dml": (
        "whatever moved both the {treatment} and the sales of a week is taken into account: the product's own level, "
        "trend and season, its sales, price and promotions of the weeks before, holidays, and the plan of other products",
        *SHARED,
    ),
    "instrument": (
        "the retailer's cost moves the price, and has nothing to do with what shoppers want in that week",
        "the cost changes sales through the price alone",
        *SHARED,
    ),
    "two_way": (
        "nothing moved both the {treatment} and the sales of a product but what all products share in a week",
        *SHARED,
    ),
}
NOT_CAUSAL = "This says what came together, not what follows from what: season, promotions and whatever else moves both are in it."


def assumptions(effect: Effect) -> tuple[str, ...]:
    """What must hold for the effect to be one, in plain words; nothing for the naive regression, which is none."""
    name = treatment_name(effect.treatment)
    return tuple(text.format(treatment=name) for text in ASSUMPTIONS.get(effect.method, ()))


def treatment_name(treatment: str) -> str:
    """'price', 'mailer' … for a column of `Rows.treatments`."""
    known = {PRICE: "price", PROMOTION: "promotion", "next_price": "price", "other_prices": "prices of other products"}
    return known.get(treatment, treatment.removeprefix(f"{PROMOTION}: ").replace("_", " "))


def percent(log_change: float) -> str:
    """A change of log units as a change of units, '+22 %'."""
    change = round(100 * float(np.expm1(log_change)))
    return f"{'−' if change < 0 else '+' if change > 0 else ''}{abs(change)} %"


def log_changes(effect: Effect) -> tuple[float, float, float]:
    """Change of log units, and the ends of its interval: of a price `CUT` lower, or of a promotion in all stores."""
    step = np.log(1 - CUT) if effect.treatment in PRICES else 1.0
    low, high = sorted((effect.low * step, effect.high * step))
    return effect.estimate * step, low, high


def condition(treatment: str) -> str:
    """'price 10 % lower', 'mailer in all stores, at the same price,'."""
    name = treatment_name(treatment)
    return f"{name} {100 * CUT:.0f} % lower" if treatment in PRICES else f"{name} in all stores, at the same price,"


def group_name(group: str) -> str:
    """'all products', or 'price tier high' for 'price_tier=high'."""
    return "all products" if group == "all" else group.replace("=", " ").replace("_", " ")


def sentence(effect: Effect) -> str:
    """The effect with its interval, and what it assumes.

    Examples
    --------
    An elasticity of -2.1 (-2.5 to -1.7) reads 'Price 10 % lower changes units by +25 % (95 % interval +20 % to +30 %; …)'.
    """
    middle, low, high = log_changes(effect)
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    said = condition(effect.treatment)
    where = "" if effect.group == "all" else f" for {group_name(effect.group)}"
    if effect.method == "naive":
        return f"Weeks with {said} sold {percent(middle)} units{where} ({interval}). {NOT_CAUSAL}"
    return (
        f"{_capital(said)} changes units by {percent(middle)}{where} ({interval}; {effect.n:,} product-weeks). "
        f"This holds only if {_listed(assumptions(effect))}.{_caution(effect)}"
    )


def placebo_sentence(effect: Effect) -> str:
    """What the price of the coming month says of the effect of this week's price."""
    alarm = (
        ", which cannot be its effect: something moves both prices and sales that is not taken into account. Do not read "
        "the estimates as effects."
    )
    return _checked(effect, f"the price of {AHEAD} weeks later", alarm)


def control_sentence(effect: Effect) -> str:
    """What promotions of another category say of the effect of a product's own."""
    alarm = (
        ": promotions come in weeks that differ from others, or the categories compete. Take their estimates with care."
    )
    return _checked(effect, "the promotions of another category", alarm)


def _checked(effect: Effect, what: str, alarm: str) -> str:
    """Whether sales follow what they should not follow; `alarm` ends the sentence where they do."""
    interval = f"({effect.estimate:+.2f}, 95 % interval {effect.low:+.2f} to {effect.high:+.2f})"
    if effect.low <= 0 <= effect.high:
        return f"Sales do not follow {what} {interval}, as it should be."
    return f"Sales follow {what} {interval}{alarm}"


def hidden_sentence(hidden: Hidden, treatment: str = PRICE) -> str:
    """How strong a hidden cause would have to be."""
    name = treatment_name(treatment)
    return (
        f"A hidden cause would have to explain {hidden.robustness:.0%} of what is left unexplained of both {name} and sales "
        f"to bring the effect to zero, and {hidden.significant:.0%} to make it no longer clear. The strongest known cause, "
        f"{hidden.cause}, is as strong as one that explains {hidden.known:.0%}: "
        f"{'the sign is safe from another one like it.' if hidden.robust else 'another one like it could explain it away.'}"
    )


def _caution(effect: Effect) -> str:
    cautions = []
    if few := {name: n for name, n in effect.clusters.items() if n < MANY}:
        counts = " and ".join(f"{n} {name.replace('product_id', 'product')}s" for name, n in few.items())
        cautions.append(f" There are only {counts}, so that the interval is rough.")
    if effect.method == "instrument" and not effect.first_stage >= WEAK:
        cautions.append(" The cost hardly moves the price, so that this estimate is not reliable.")
    return "".join(cautions)


def _listed(parts: tuple[str, ...]) -> str:
    return "; ".join(f"({i}) {part}" for i, part in enumerate(parts, 1))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
