"""What prices and promotions do, as estimated: rows for pictures, a table and sentences of the frame `effects.parquet`.

No sentence here says what causes what; those of the frame do, each with what it assumes.
"""

from __future__ import annotations

import json
from html import escape

import pandas as pd

from shelfcast.language import N_, _, pgettext
from shelfcast.report.theme import percent

MAIN = ("log_price", "promotion")
ASIDE = N_("plain regression")
CHECKS = ("placebo", "negative_control", "hidden_cause")


def of(frame: pd.DataFrame, treatment: str) -> pd.DataFrame:
    """Rows of one treatment for `plots.intervals`: all products, by group, and the plain regression beside them.

    Returns
    -------
    label, estimate, low, high (shares of units) and group; empty where it was not estimated.
    """
    rows = frame[(frame["treatment"] == treatment) & frame["kind"].isin(["effect", "naive"])]
    naive, whole = rows["kind"] == "naive", rows["group"] == "all"
    label = rows["group_label"].mask(naive, _(ASIDE))
    group = pd.Series("by group", rows.index).mask(whole, "ours").mask(naive, "upper bound")
    columns = {"estimate": rows["change"], "low": rows["change_low"], "high": rows["change_high"]}
    table = pd.DataFrame({"label": label.map(capital), **columns, "group": group})
    order = {"ours": 0, "by group": 1, "upper bound": 2}
    return table.sort_values("group", key=lambda name: name.map(order), kind="stable", ignore_index=True)


def title(rows: pd.DataFrame, treatment: str) -> str:
    """The finding of `of`'s first row, with its interval and its condition."""
    own = rows.iloc[0]
    when = N_("At a price 10\u00a0% lower: {change} units ({low} to {high}), if what is assumed below holds")
    if treatment != "log_price":
        when = N_(
            "Promoted in all stores, at the same price: {change} units ({low} to {high}), if what is assumed below holds"
        )
    ends = {end: percent(own[end], sign=True) for end in ("low", "high")}
    return _(when, change=percent(own["estimate"], sign=True), **ends)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """All effects and the plain regressions beside them, as text."""
    rows = []
    for row in frame[frame["kind"].isin(["effect", "naive"])].itertuples():
        cells = {
            pgettext("effect", "Of"): capital(row.label),
            _("Products"): capital(escape(row.group_label)),
            _("How"): _("effect") if row.kind == "effect" else _(ASIDE),
            _("On log units"): f"{row.estimate:.2f}".replace("-", "−"),
            _("95 % interval"): _("{low} to {high}", low=f"{row.low:.2f}", high=f"{row.high:.2f}").replace("-", "−"),
            _("Change of units"): percent(row.change, sign=True),
            _("Product-weeks"): f"{row.n:,.0f}",
        }
        rows.append(cells)
    return pd.DataFrame(rows)


def checks(frame: pd.DataFrame) -> list[str]:
    """What the checks found and what was left out, as sentences."""
    texts = [*frame.loc[frame["kind"].isin(CHECKS), "words"], *frame.loc[frame["kind"] == "note", "words"]]
    return [escape(text) for text in texts]


def assumed(frame: pd.DataFrame) -> list[str]:
    """What must hold for the estimates of price and promotion to be effects, each once."""
    main = frame[(frame["kind"] == "effect") & frame["treatment"].isin(MAIN) & (frame["group"] == "all")]
    texts = [text for row in main["assumptions"] for text in json.loads(row)]
    return [_("{text}.", text=capital(text)) for text in dict.fromkeys(texts)]


def judged(summary: pd.DataFrame) -> str:
    """How often such intervals hold the truth where it is known.

    Parameters
    ----------
    summary : of the study of causes: mechanism, confounding, treatment, method, worlds, covered, truth, estimate.
    """
    price = summary[summary["treatment"] == "log_price"]
    fine, hidden = price[price["confounding"] != "hidden"], price[price["confounding"] == "hidden"]

    def covered(part: pd.DataFrame, method: str) -> str:
        rows = part[part["method"] == method]
        return percent((rows["covered"] * rows["worlds"]).sum() / rows["worlds"].sum())

    n = fine.loc[fine["method"] == "dml", "worlds"].sum()
    return _(
        "On {n} simulated worlds whose truth is known, {ours} of such 95\u00a0% intervals held the true "
        "price elasticity, and {naive} of those of the plain regression; where prices followed what no "
        "table shows, {hidden}.",
        n=n,
        ours=covered(fine, "dml"),
        naive=covered(fine, "naive"),
        hidden=covered(hidden, "dml"),
    )


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
