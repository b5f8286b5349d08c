"""What a person asked on the what-if page, and the answer: a fan, a sentence, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from shelfcast.data.labels import product_labels
from shelfcast.data.schema import CHAIN
from shelfcast.report import plots
from shelfcast.report.names import day, location_label
from shelfcast.report.theme import HALF, MUTED, legend, show, units
from shelfcast.why.whatif.changes import CHANNEL, PROMOTION, Change, channels
from shelfcast.why.whatif.forecast import Ready, ahead, totals

HISTORY = 26  # weeks before the forecast that the fan shows
PROMOTED = 0.5  # share of stores from which on a week is marked
ROUNDS_TO_NOTHING = 0.05  # units


@dataclass(frozen=True)
class Form:
    """What the page's fields hold; texts are as typed, and empty where the present plan stays.

    price : shelf price. channel, share : of promotion, in percent of the location's stores.
    """

    product: str
    location: str
    weeks: tuple[pd.Timestamp, ...]
    price: str = ""
    channel: str = PROMOTION
    share: str = ""


@dataclass(frozen=True)
class Answer:
    """frame : see `forecast.what_if`. picture, sentence : HTML."""

    frame: pd.DataFrame
    picture: str
    sentence: str


def answer(ready: Ready, form: Form, anchor=None) -> Answer:
    """Forecast the plan of a form.

    Raises
    ------
    ValueError : a field that holds no number, or a plan that cannot be forecast, in a sentence for people.
    """
    changes = changes_of(form)
    frame = ready.ask(changes, anchor) if changes else ready.as_planned(form.product)
    own = frame[(frame["product_id"] == form.product) & (frame["location"] == form.location)]
    return Answer(frame, show(_fan(ready, form, own, changes)).data, _sentence(ready, form, frame, bool(changes)))


def changes_of(form: Form) -> list[Change]:
    """The change that a form states, or none."""
    price, share = number("the price", form.price), number("the promotion", form.share)
    if price is None and share is None:
        return []
    promotion = None if share is None else {form.channel: share / 100}
    return [Change(form.product, form.location, form.weeks, price=price, promotion=promotion)]


def number(name: str, text: str) -> float | None:
    """A number as people write it, None for an empty field.

    Worked example: ' 1,99 ' and '1.99' are 1.99, '80 %' is 80.
    """
    text = text.replace("%", "").replace("\u00a0", "").strip()
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}, which is no number. Write one such as 1.99, or leave the field empty."
        ) from None


def present_plan(ready: Ready, form: Form) -> str:
    """The present prices and promotions of a form's product and location, as a sentence."""
    plan, parts = ready.plan, []
    at = (plan.products.get_loc(form.product), plan.locations.index(form.location))
    weeks = plan.weeks.get_indexer(form.weeks)
    if "price" in plan.values:
        parts.append("price " + _listed(f"{value:.2f}" for value in np.exp(plan.log_price[at])[weeks]))
    if PROMOTION in plan.values:
        shares = plan.values[PROMOTION][at][weeks]
        parts.append("promoted in " + _listed(plots.percent(share) for share in shares) + " of the stores")
    return "Planned now: " + ", ".join(parts) + "." if parts else ""


def product_names(ready: Ready) -> dict[str, str]:
    """Human name with the id -> product_id, most units first."""
    products = ready.panel.products.sort_values("units", ascending=False)
    labels = product_labels(products, ids=False)
    return {f"{label} ({product})": product for product, label in labels.items()}


def location_names(ready: Ready) -> dict[str, str]:
    """Human name -> location, the chain first."""
    return {"Whole chain" if name == CHAIN else location_label(name): name for name in ready.plan.locations}


def week_names(ready: Ready) -> dict[str, tuple[pd.Timestamp, ...]]:
    """Human name -> weeks: all of them, or one."""
    weeks = tuple(ready.plan.weeks)
    noun, of = ready.panel.frequency.noun, "" if ready.panel.frequency.daily else "Week of "
    return {f"All {len(weeks)} {noun}s": weeks} | {f"{of}{day(week)}": (week,) for week in weeks}


def channel_names(ready: Ready) -> dict[str, str]:
    """Human name -> column; none where the retailer has no table of promotions."""
    if PROMOTION not in ready.plan.values:
        return {}
    return {"any channel": PROMOTION} | {name.removeprefix(CHANNEL): name for name in channels(ready.panel)}


def _fan(ready: Ready, form: Form, own: pd.DataFrame, changes: list[Change]) -> Figure:
    sold = ready.panel.frame.loc[ready.panel.frame["unique_id"] == f"{form.product}|{form.location}", ["ds", "y"]]
    sold = sold.set_index("ds")["y"][: ready.cutoff].iloc[-ready.panel.frequency.periods(HISTORY) :]
    other = ready.plan.changed(changes)
    promoted = ()
    if PROMOTION in other.values:
        shares = other.values[PROMOTION][other.products.get_loc(form.product), other.locations.index(form.location)]
        promoted = other.weeks[np.nan_to_num(shares) >= PROMOTED]
    label = product_labels(ready.panel.products)[form.product]
    title = f"{label}, {_place(form.location)}: " + _total(own, ready.panel.frequency.noun)
    figure = plots.fan(sold, ahead(own, "other"), title, promoted=promoted, size=HALF, key=False)
    if changes:
        present = ahead(own, "present")
        look = {"color": MUTED, "ls": ":", "lw": 1.4, "label": "as planned now"}
        figure.axes[0].plot(present["ds"], present["mean"], **look)
    legend(figure, figure.axes[0], 3)
    return figure


def _total(own: pd.DataFrame, noun: str) -> str:
    return f"{units(own['mean_other'].sum())} units in {len(own)} {noun}s"


def _sentence(ready: Ready, form: Form, frame: pd.DataFrame, changed: bool) -> str:
    """The difference with its range, and what the category's other products lose or gain."""
    if not changed:
        return escape(present_plan(ready, form))
    sums = totals(frame)
    own = sums.loc[f"{form.product}|{form.location}"]
    text = f"<b>{_signed(own['difference'])} units</b> against the present plan, four chances in five between "
    text += f"{_signed(own['low'])} and {_signed(own['high'])}. "
    others = sums[(sums["location"] == form.location) & ~sums["stated"]]["difference"].sum()
    if abs(others) >= ROUNDS_TO_NOTHING:
        text += f"The category's other products there: {_signed(others)} units. "
    return text + escape(present_plan(ready, form))


def _signed(value: float) -> str:
    """'+12', '−3.4', '0'."""
    if abs(value) < ROUNDS_TO_NOTHING:
        return "0"
    return ("−" if value < 0 else "+") + units(abs(value))


def _place(location: str) -> str:
    return "whole chain" if location == CHAIN else location_label(location)


def _listed(values) -> str:
    """One value where all are the same, else all of them."""
    values = list(values)
    return values[0] if len(set(values)) == 1 else " / ".join(values)
