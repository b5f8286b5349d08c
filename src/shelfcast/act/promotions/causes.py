"""What promotions cause, as estimated from the past: of the product itself, and of the category's other products."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from shelfcast.language import _
from shelfcast.panel.frame import Panel
from shelfcast.why.causes.data import PRICE, PROMOTION, rows
from shelfcast.why.causes.effects import Effect, estimate
from shelfcast.why.whatif.anchor import Response
from shelfcast.why.whatif.changes import CHANNEL

OTHERS = "category_promotion"  # mean promotion of the category's other products


@dataclass(frozen=True)
class Causes:
    """Estimates by double machine learning, with standard errors.

    own : of price and promotions of the product itself; None where nothing could be estimated.
    others : log units per share of the category's other products that are promoted; None where not estimated.
    notes : what could not be estimated and why, in sentences.
    """

    own: Response | None
    others: tuple[float, float] | None
    notes: tuple[str, ...] = ()


def causes(panel: Panel, by_channel: bool, until: pd.Timestamp) -> Causes:
    """Estimate from the weeks up to `until`.

    A retailer with a plan of prices gets the price's effect and, at the same price, that of promotions. Without one a
    promotion means what it was so far, with the price cut that went with it: prices are then no control.

    Parameters
    ----------
    by_channel : an effect for each channel of promotion in place of one for any.
    """
    try:
        known = rows(panel, until=until)
    except ValueError as error:
        return Causes(None, None, (_("No effect could be estimated: {error}", error=error),))
    planned = "price" in panel.planned
    if not planned:
        known = replace(known, treatments=[name for name in known.treatments if name != PRICE])
    names = [name for name in known.treatments if name.startswith(CHANNEL)] if by_channel else []
    notes: list[str] = []

    def effect(name: str) -> Effect | None:
        try:
            return estimate(known, name)
        except ValueError as error:
            notes.append(_("The effect of {name!r} could not be estimated: {error}", name=name, error=error))
            return None

    lifts = {name: effect(name) for name in names or [PROMOTION]}
    lifts = {name: found for name, found in lifts.items() if found is not None}
    price = effect(PRICE) if planned else None
    others = effect(OTHERS) if OTHERS in known.frame else None
    response = Response.of(price, lifts)
    own = response if response.effects else None
    return Causes(own, others and (others.estimate, float(others.se)), tuple(notes))
