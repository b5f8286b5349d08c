"""From a market's models to its promotion plan, with what is known of it: what notebook 7 writes and the page says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from shelfcast.act.promotions.causes import causes
from shelfcast.act.promotions.gains import Gains, can_promote, gains
from shelfcast.act.promotions.plan import Chosen, best_plan, said
from shelfcast.act.promotions.terms import Terms
from shelfcast.decision_options import Promotions
from shelfcast.report.theme import percent, units
from shelfcast.why.whatif.forecast import Ready

VALUES = ("units", "others", "money")
COLUMNS = [
    *("product_id", "ds", "horizon", "price", "price_promoted", "unit_cost", "units_without"),
    *(f"{name}{end}" for name in VALUES for end in ("", "_low", "_high")),
    *("units_model", "units_cause", "spending", "chosen"),
]


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS).astype({"chosen": bool})


@dataclass(frozen=True)
class PromotionPlan:
    """What systems and the report read.

    lack : why there is no plan, in one sentence; empty where there is one.
    frame : a row per product and week in which it can be promoted, in the columns `COLUMNS`; see `Gains.frame`.
    numbers : what runs are compared by, ready for JSON. sentences : what the plan gains, and what it rests on.
    """

    lack: str = ""
    frame: pd.DataFrame = field(default_factory=_empty)
    numbers: dict = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


def promote(ready: Ready, options: Promotions, costs: pd.DataFrame | None = None) -> PromotionPlan:
    """The best plan of the weeks after a cutoff.

    Parameters
    ----------
    costs : of `terms.read_costs`.

    Raises
    ------
    ValueError : costs, channels or limits that cannot be; see `Terms.of`, `gains` and `best_plan`.
    """
    try:
        can_promote(ready)
    except ValueError as error:
        sentence = str(error)[0].upper() + str(error)[1:]
        return PromotionPlan(sentence, numbers={"lack": sentence}, sentences=(sentence,))
    terms = Terms.of(ready.panel, options, costs, ready.cutoff)
    estimated = causes(ready.panel, by_channel=bool(options.channels), until=ready.cutoff)
    found = gains(ready, terms, options, estimated)
    chosen = best_plan(found.of_goal(options.goal), found.spending, options)
    totals = found.total(chosen.plan)
    numbers = {name: dict(zip(("expected", "low", "high"), map(_short, totals[name]), strict=True)) for name in VALUES}
    numbers |= {"n": int(chosen.plan.sum()), "spending": _short(found.spending[chosen.plan].sum()), "gap": chosen.gap}
    return PromotionPlan(
        frame=found.frame(chosen.plan),
        numbers=numbers,
        sentences=(*_says(found, chosen, totals, options), *terms.notes, *found.notes),
    )


def _short(value: float) -> float:
    return round(float(value), 4)


def _says(found: Gains, chosen: Chosen, totals: dict, options: Promotions) -> list[str]:
    n_products = int(chosen.plan.any(1).sum())
    if not n_products:
        return [f"No promotion is expected to gain anything, within {said(options)}."]
    money, own, others = (totals[name] for name in ("money", "units", "others"))
    spilled = "take units from" if others[0] < 0 else "bring units to"
    lines = [
        f"The plan promotes {n_products} products, {int(chosen.plan.sum())} times in all, within {said(options)}. "
        f"It is expected to gain {units(money[0])} in margin against no promotion at all "
        f"(80 % range {units(money[1])} to {units(money[2])}), by {units(own[0])} more units of the promoted products "
        f"({units(own[1])} to {units(own[2])}).",
        f"The same promotions {spilled} the category's other products: {units(others[0])} "
        f"({units(others[1])} to {units(others[2])}), which the gain has counted.",
    ]
    if np.isfinite(found.cause[chosen.plan]).any():
        cause, model = (float(np.nansum(x[chosen.plan])) for x in (found.cause, found.model))
        lines.append(
            f"By the estimate of causes alone these promotions sell {units(cause)} more units, by the forecasts' models "
            f"alone {units(model)}; the plan leans on both."
        )
    if chosen.gap:
        lines.append(f"The search stopped early: a better plan could gain {percent(chosen.gap, 1)} more at most.")
    return lines


LEFT_OUT = (
    "Left out: that several promotions of a category weaken each other, what shoppers stock up and do not buy later, what "
    "rivals do, and shoppers who come for a promotion and buy other things."
)
