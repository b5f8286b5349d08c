"""The promotion plan of a market: from trained models to the plan, its gains and its money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from shelfcast.act.promotions.causes import Causes, causes
from shelfcast.act.promotions.gains import Gains, gains
from shelfcast.act.promotions.plan import Chosen, best_plan
from shelfcast.act.promotions.terms import PROMOTED, Terms
from shelfcast.decision_options import Promotions
from shelfcast.why.whatif.changes import PROMOTION
from shelfcast.why.whatif.forecast import Ready


@dataclass(frozen=True)
class Decided:
    """A plan with all that it was made from. planned_now : (P, H) bool, the retailer's present plan; None if unknown."""

    options: Promotions
    causes: Causes
    gains: Gains
    chosen: Chosen
    planned_now: np.ndarray | None

    @property
    def frame(self) -> pd.DataFrame:
        """See `Gains.frame`; with `planned_now`."""
        now = np.zeros(self.chosen.plan.shape, bool) if self.planned_now is None else self.planned_now
        return self.gains.frame(self.chosen.plan).assign(planned_now=now.ravel()[self.gains.on_sale.ravel()])

    @property
    def money(self) -> dict[str, float]:
        """The plan in a few numbers, for `decisions.json`: money and units more than without any promotion."""
        totals = self.gains.total(self.chosen.plan)
        out = {"promotions": int(self.chosen.plan.sum())}
        for name, (mean, low, high) in totals.items():
            out |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        return out | {"spending": float(self.gains.spending[self.chosen.plan].sum()), "gap": self.chosen.gap}


def decide(ready: Ready, options: Promotions, costs: pd.DataFrame | None = None, seed: int = 0) -> Decided:
    """Seconds.

    Effects are estimated from the weeks up to the validation's end, and never from weeks after the cutoff.

    Parameters
    ----------
    costs : product_id, week, cost of a unit; None where they are not known.

    Raises
    ------
    ValueError : a retailer without a table of promotions, unknown channels, costs that are none, no plan found.
    """
    until = min(pd.Timestamp(ready.panel.meta["validation_end"]), ready.cutoff)
    terms = Terms.of(ready.panel, options, costs, ready.cutoff)
    estimated = causes(ready.panel, bool(options.channels), until)
    found = gains(ready, terms, options.channels, estimated, seed)
    chosen = best_plan(found.of_goal(options.goal), found.spending, options)
    return Decided(options, estimated, found, chosen, planned(ready))


def planned(ready: Ready) -> np.ndarray | None:
    """(P, H) which promotions the retailer has planned; None where its plan does not reach the coming weeks."""
    shares = ready.plan.values[PROMOTION][:, 0]
    return None if np.isnan(shares).all() else np.nan_to_num(shares) >= PROMOTED
