"""Effects in words for a category manager: each with its interval, and no causal word without what it assumes."""

from __future__ import annotations

import numpy as np

from shelfcast.language import N_, _, joined, listed, periods, sentences
from shelfcast.why.causes.checks import AHEAD, Hidden
from shelfcast.why.causes.data import PRICE, PROMOTION
from shelfcast.why.causes.effects import WEAK, Effect

CUT = 0.1  # of the price, in sentences
PRICES = (PRICE, "other_prices")
MANY = 10  # clusters, below which an interval is only roughly right

SHARED = (
    N_(
        "a product's price and promotion do not change what the same product would have sold at another time, as when "
        "shoppers fill their cupboards or wait for the next promotion"
    ),
    N_("the effect is about the same for all products and weeks that are put together here; else it is a mean of them"),
)
ASSUMPTIONS = {
    "dml": (
        N_(
            "whatever moved both the {treatment} and the sales of a week is taken into account: the product's own level, "
            "trend and season, its sales, price and promotions of the weeks before, holidays, and the plan of other products"
        ),
        *SHARED,
    ),
    "instrument": (
        N_("the retailer's cost moves the price, and has nothing to do with what shoppers want in that week"),
        N_("the cost changes sales through the price alone"),
        *SHARED,
    ),
    "two_way": (
        N_("nothing moved both the {treatment} and the sales of a product but what all products share in a week"),
        *SHARED,
    ),
}
NOT_CAUSAL = N_(
    "This says what came together, not what follows from what: season, promotions and whatever else moves both are in it."
)
TREATMENTS = {
    PRICE: N_("price"),
    PROMOTION: N_("promotion"),
    "next_price": N_("price"),
    "other_prices": N_("prices of other products"),
}
CHANNELS = (  # usual ones, and those of the Complete Journey; others stay as a retailer calls them
    *(N_("display"), N_("mailer"), N_("coupon"), N_("TV"), N_("radio"), N_("mailer cover"), N_("mailer inside")),
    *(N_("display aisle"), N_("display end cap"), N_("display front"), N_("display shelf")),
)
COLUMNS = {"brand": N_("brand"), "category": N_("category"), "price tier": N_("price tier")}
CLUSTERS = {"product_id": N_("{n} products"), "block": N_("{n} blocks")}
VALUES = {"high": N_("high"), "middle": N_("middle"), "low": N_("low")}


def assumptions(effect: Effect) -> tuple[str, ...]:
    """What must hold for the effect to be one, in plain words; nothing for the naive regression, which is none."""
    name = treatment_name(effect.treatment)
    return tuple(_(text, treatment=name) for text in ASSUMPTIONS.get(effect.method, ()))


def treatment_name(treatment: str) -> str:
    """'price', 'mailer' … for a column of `Rows.treatments`."""
    return _(TREATMENTS.get(treatment, treatment.removeprefix(f"{PROMOTION}: ").replace("_", " ")))


def percent(log_change: float) -> str:
    """A change of log units as a change of units, '+22 %'."""
    change = round(100 * float(np.expm1(log_change)))
    return _("{sign}{share} %", sign="−" if change < 0 else "+" if change > 0 else "", share=abs(change))


def log_changes(effect: Effect) -> tuple[float, float, float]:
    """Change of log units, and the ends of its interval: of a price `CUT` lower, or of a promotion in all stores."""
    step = np.log(1 - CUT) if effect.treatment in PRICES else 1.0
    low, high = sorted((effect.low * step, effect.high * step))
    return effect.estimate * step, low, high


def condition(treatment: str) -> str:
    """'price 10 % lower', 'mailer in all stores, at the same price,'."""
    name = treatment_name(treatment)
    if treatment in PRICES:
        return _("{name} {cut:.0f} % lower", name=name, cut=100 * CUT)
    return _("{name} in all stores, at the same price,", name=name)


def group_name(group: str) -> str:
    """'all products', or 'price tier high' for 'price_tier=high'."""
    if group == "all":
        return _("all products")
    column, _equals, value = group.replace("_", " ").partition("=")
    return _("{column} {value}", column=_(COLUMNS.get(column, column)), value=_(VALUES.get(value, value)))


def sentence(effect: Effect) -> str:
    """The effect with its interval, and what it assumes.

    Examples
    --------
    An elasticity of -2.1 (-2.5 to -1.7) reads 'Price 10 % lower changes units by +25 % (95 % interval +20 % to +30 %; …)'.
    """
    middle, low, high = (percent(change) for change in log_changes(effect))
    said, numbers = condition(effect.treatment), {"change": middle, "low": low, "high": high, "n": effect.n}
    where = "" if effect.group == "all" else _(" for {group}", group=group_name(effect.group))
    if effect.method == "naive":
        text = N_("Weeks with {condition} sold {change} units{where} (95 % interval {low} to {high}).")
        return sentences([_(text, condition=said, where=where, **numbers), _(NOT_CAUSAL)])
    text = N_("{condition} changes units by {change}{where} (95 % interval {low} to {high}; {n:,} product-weeks).")
    return sentences(
        [
            _(text, condition=_capital(said), where=where, **numbers),
            _("This holds only if {assumptions}.", assumptions=_listed(assumptions(effect))),
            *_cautions(effect),
        ]
    )


def placebo_sentence(effect: Effect) -> str:
    """What the price of the coming month says of the effect of this week's price."""
    alarm = N_(
        "Sales follow the price of {weeks} weeks later ({estimate}, 95 % interval {low} to {high}), which cannot be its "
        "effect: something moves both prices and sales that is not taken into account. Do not read the estimates as effects."
    )
    calm = N_(
        "Sales do not follow the price of {weeks} weeks later ({estimate}, 95 % interval {low} to {high}), as it should be."
    )
    return _checked(effect, calm, alarm)


def control_sentence(effect: Effect) -> str:
    """What promotions of another category say of the effect of a product's own."""
    alarm = N_(
        "Sales follow the promotions of another category ({estimate}, 95 % interval {low} to {high}): promotions come in "
        "weeks that differ from others, or the categories compete. Take their estimates with care."
    )
    calm = N_(
        "Sales do not follow the promotions of another category ({estimate}, 95 % interval {low} to {high}), as it should be."
    )
    return _checked(effect, calm, alarm)


def _checked(effect: Effect, calm: str, alarm: str) -> str:
    """Whether sales follow what they should not follow."""
    numbers = {name: f"{getattr(effect, name):+.2f}" for name in ("estimate", "low", "high")}
    return _(calm if effect.low <= 0 <= effect.high else alarm, weeks=periods(AHEAD), **numbers)


def hidden_sentence(hidden: Hidden, treatment: str = PRICE) -> str:
    """How strong a hidden cause would have to be."""
    text = N_(
        "A hidden cause would have to explain {zero:.0%} of what is left unexplained of both {name} and sales "
        "to bring the effect to zero, and {unclear:.0%} to make it no longer clear. The strongest known cause, "
        "{cause}, is as strong as one that explains {known:.0%}: {verdict}"
    )
    safe = N_("the sign is safe from another one like it.")
    unsafe = N_("another one like it could explain it away.")
    return _(
        text,
        zero=hidden.robustness,
        name=treatment_name(treatment),
        unclear=hidden.significant,
        cause=_(hidden.cause),
        known=hidden.known,
        verdict=_(safe if hidden.robust else unsafe),
    )


def _cautions(effect: Effect) -> list[str]:
    cautions = []
    if few := {name: n for name, n in effect.clusters.items() if n < MANY}:
        counts = [_(CLUSTERS.get(name, f"{{n}} {name}s"), n=n) for name, n in few.items()]
        cautions.append(_("There are only {counts}, so that the interval is rough.", counts=listed(counts)))
    if effect.method == "instrument" and not effect.first_stage >= WEAK:
        cautions.append(_("The cost hardly moves the price, so that this estimate is not reliable."))
    return cautions


def _listed(parts: tuple[str, ...]) -> str:
    numbered = N_("({i}) {text}")
    return joined([_(numbered, i=i, text=part) for i, part in enumerate(parts, 1)], ";")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
