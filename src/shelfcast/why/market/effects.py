"""Effects of a market's own prices and promotions as a frame that holds all that a page needs: a row an estimate.

| column | meaning |
|---|---|
| `kind` | 'effect', 'naive' (the plain regression), 'placebo', 'negative_control', 'hidden_cause', or 'note' |
| `treatment`, `label` | whose effect: a column of `data.Rows.treatments`, and its name for people |
| `group`, `group_label` | of which products |
| `estimate`, `se`, `low`, `high` | on log units, with the 95 % interval; of a hidden cause see `checks.Hidden` |
| `change`, `change_low`, `change_high` | the same as a share of units: of a price 10 % lower, or of a promotion in all stores |
| `n`, `series` | rows and series |
| `words` | the estimate as a sentence, with what it assumes |
| `assumptions` | JSON: what must hold for the estimate to be an effect, in plain words |

Weeks after the validation weeks are not used, so that what is judged on the test weeks may lean on these estimates.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.language import N_, _, items
from shelfcast.panel.frame import Panel
from shelfcast.why.causes import checks, effects, words
from shelfcast.why.causes.data import PRICE, PROMOTION, Rows, rows
from shelfcast.why.causes.effects import Effect

COLUMNS = ["kind", "treatment", "label", "group", "group_label", "estimate", "se", "low", "high", "change"]
COLUMNS += ["change_low", "change_high", "n", "series", "words", "assumptions"]
NUMBERS = ["estimate", "se", "low", "high", "change", "change_low", "change_high", "n", "series"]
GROUPS = ("category", "brand", "price_tier")
MOST_GROUPS = 8  # of a column; the largest by products
REACH, OFTEN = 0.5, 26  # share of stores, and rows that must reach it, for a channel's lift in all stores to be told


def effects_of(panel: Panel) -> pd.DataFrame:
    """All estimates and checks of a market, in the order of a page; seconds.

    What cannot be estimated (no price that varies, too few units) is a row of kind 'note' that says why.

    Returns
    -------
    `COLUMNS`.
    """
    end = pd.Timestamp(panel.meta["validation_end"])
    try:
        known = rows(panel, until=end)
        effects.check(known, PRICE if PRICE in known.treatments else PROMOTION)
    except ValueError as error:
        return _frame([_note(_("No effects of prices and promotions were estimated: {error}", error=error))])
    n_weeks = known.frame["week"].nunique()
    used = _("Estimated from {n} weeks, up to the validation weeks.", n=n_weeks)
    notes = [_note(note) for note in (used, *known.notes)]
    treatments, skipped = treatments_of(known)
    parts = []
    for treatment in treatments:
        parts += _of_treatment(known, treatment)
    parts += _try(lambda: [_row("placebo", e := checks.placebo(known), words.placebo_sentence(e))], _("placebo"))
    if _has_categories(known) and PROMOTION in known.treatments:
        parts += _try(
            lambda: [_row("negative_control", e := checks.negative_control(known), words.control_sentence(e))],
            _("negative control"),
        )
    return _frame([*parts, *notes, *skipped])


def treatments_of(known: Rows) -> tuple[list[str], list[dict]]:
    """Price, promotion by any channel, and the channels that reach half of the stores often enough; notes on the others."""
    channels = [name for name in known.treatments if name.startswith(f"{PROMOTION}: ")]
    reached = [name for name in channels if (known.frame[name] >= REACH).sum() >= OFTEN]
    chosen = [name for name in (PRICE, PROMOTION) if name in known.treatments]
    if len(channels) > 1:
        chosen += reached
    seldom = [words.treatment_name(name) for name in channels if name not in reached]
    if not seldom:
        return chosen, []
    text = N_("Never or seldom in half of the stores, so that an effect in all of them cannot be told: {channels}.")
    return chosen, [_note(_(text, channels=items(seldom)))]


def _of_treatment(known: Rows, treatment: str) -> list[dict]:
    """The effect of all products and, of price and any promotion, by group, beside the plain regression and a hidden cause."""
    name = words.treatment_name(treatment)
    parts = _try(lambda: [_said("effect", effects.estimate(known, treatment))], _("effect of {name}", name=name))
    if not parts or parts[0]["kind"] == "note":
        return parts
    parts += _try(
        lambda: [_said("naive", effects.estimate(known, treatment, "naive"))],
        _("plain regression on {name}", name=name),
    )
    if treatment not in (PRICE, PROMOTION):
        return parts
    for column in GROUPS:
        for group in groups_of(known, column):
            own = known.where(known.frame[column] == group)
            told = f"{column}={group}"
            parts += _try(
                lambda own=own, told=told: [_said("effect", effects.estimate(own, treatment, group=told))],
                _("effect of {name} for {group}", name=name, group=words.group_name(told)),
            )
    return parts + _try(lambda: [_hidden(known, treatment)], _("hidden cause of {name}", name=name))


def groups_of(known: Rows, column: str, least: int = 4) -> list:
    """The values of a column that `least` products or more share, most products first; none where there is one value."""
    if column not in known.frame:
        return []
    products = known.frame.drop_duplicates("product_id")[column].value_counts()
    groups = products.index[products >= least][:MOST_GROUPS]
    return list(groups) if len(products) > 1 else []


def _has_categories(known: Rows) -> bool:
    return "category" in known.frame and known.frame["category"].nunique() > 1


def _try(make: Callable[[], list[dict]], what: str) -> list[dict]:
    """The rows, or a note on why there are none."""
    try:
        return make()
    except ValueError as error:
        return [_note(_("No {what}: {error}", what=what, error=error))]


def _said(kind: str, effect: Effect) -> dict:
    return _row(kind, effect, words.sentence(effect))


def _row(kind: str, effect: Effect, text: str) -> dict:
    change, low, high = np.expm1(words.log_changes(effect))
    return {
        "kind": kind,
        "treatment": effect.treatment,
        "label": words.treatment_name(effect.treatment),
        "group": effect.group,
        "group_label": words.group_name(effect.group),
        **{name: getattr(effect, name) for name in ("estimate", "se", "low", "high", "n", "series")},
        **{"change": change, "change_low": low, "change_high": high},
        "words": text,
        "assumptions": json.dumps(words.assumptions(effect)),
    }


def _hidden(known: Rows, treatment: str) -> dict:
    """`estimate` is the robustness value, `low` that of the interval, `high` the strength of the strongest known cause."""
    hidden = checks.hidden_cause(known, treatment)
    strengths = {"estimate": hidden.robustness, "low": hidden.significant, "high": hidden.known}
    name = words.treatment_name(treatment)
    told = {"treatment": treatment, "label": name, "words": words.hidden_sentence(hidden, treatment)}
    return {"kind": "hidden_cause", "group": "all", "group_label": words.group_name("all"), **told, **strengths}


def _note(text: str) -> dict:
    return {"kind": "note", "words": text}


def _frame(parts: list[dict]) -> pd.DataFrame:
    frame = pd.DataFrame(parts).reindex(columns=COLUMNS)
    frame[NUMBERS] = frame[NUMBERS].astype(float)
    rest = [name for name in COLUMNS if name not in NUMBERS]
    return frame.assign(**{name: frame[name].fillna("").astype(str) for name in rest})
