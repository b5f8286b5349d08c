"""Titles and captions of the evidence: what its pictures show, with the numbers of the frames that they draw."""

from __future__ import annotations

import pandas as pd

from shelfcast.language import N_, _, ngettext, sentences
from shelfcast.report.theme import percent


def accuracy_title(rows: pd.DataFrame, level: str, rival: str) -> str:
    """The verdict of a comparison's own row; `rows` as `accuracy.comparison` gives them."""
    own = rows[rows["group"] == "ours"].iloc[0]
    verdict = N_("{level}: better than {rival} ({change})")
    if own["estimate"] >= 0:
        verdict = N_("{level}: worse than {rival} ({change})")
    if own["low"] <= 0 <= own["high"]:
        verdict = N_("{level}: no clear difference to {rival} ({change})")
    return _(verdict, level=level.capitalize(), rival=rival, change=percent(own["estimate"], 1, sign=True))


def control_title(rows: pd.DataFrame, level: str) -> str:
    """How many controls have a clearly higher error than Shelfcast; `rows` as `studies.control_comparison` gives them."""
    controls = rows[rows["group"] == "control"]
    if controls.empty:
        return level.capitalize()
    clear = (controls["low"] > 0).sum()
    worse = N_("{level}: {clear} of {n} simpler versions clearly worse")
    if not clear:
        worse = N_("{level}: none of {n} simpler versions clearly worse")
    return _(worse, level=level.capitalize(), clear=clear, n=len(controls))


def ablation_title(rows: pd.DataFrame, level: str) -> str:
    """The data source whose absence costs most; `rows` as `studies.ablation_costs` gives them."""
    most = rows.loc[rows.loc[rows["group"] == "left out", "estimate"].idxmax()]
    return _(
        "{level}: most is lost with {source} ({change})",
        level=level.capitalize(),
        source=most["label"],
        change=percent(most["estimate"], 1, sign=True),
    )


def marks(*comparisons: pd.DataFrame, advantage: str) -> str:
    """What the colours and marks of comparisons mean; `advantage` is what upper bounds use and no real forecast has."""
    rows = pd.concat(comparisons)
    groups, own = set(rows["group"]), rows.loc[rows["group"] == "ours", "label"].iloc[0]
    black = {
        "alternative": _("other methods"),
        "combination": _("a blend of {own} and trees", own=own),
        "control": _("simpler versions of {own}", own=own),
    }
    shown = _(", then ").join(words for group, words in black.items() if group in groups)
    text = _("Blue: {own}. Black: {shown}.", own=own, shown=shown)
    if "upper bound" not in groups:
        return text
    hollow = N_("Hollow squares use {advantage}, which no real forecast has: an upper bound, not a fair comparison.")
    return sentences([text, _(hollow, advantage=advantage)])


def coverage_title(coverage: float) -> str:
    """How the measured coverage of the 80 % range compares with its promise."""
    verdict = N_("{share} of the weeks fell inside the 80 % range: wider than needed")
    if coverage < 0.8:
        verdict = N_("{share} of the weeks fell inside the 80 % range: narrower than promised")
    if abs(coverage - 0.8) < 0.03:
        verdict = N_("{share} of the weeks fell inside the 80 % range: as promised")
    return _(verdict, share=percent(coverage))


def training_title(history: pd.DataFrame) -> str:
    """After how many steps the runs were best; step 0 is the base as it came."""
    best = history.loc[history["best"], "step"].iloc[0]
    if not best:
        return _("Averaged over the runs, the validation error was lowest before any training on this category")
    return ngettext(
        "Averaged over the runs, the validation error was lowest after {n} step",
        "Averaged over the runs, the validation error was lowest after {n} steps",
        best,
    )


def study_origin(made: dict, panel_md5: str) -> str:
    """Seeds and revision of a study's results, and whether the panel has changed since."""
    origin = N_("{n} runs each, trained at revision {revision}")
    if made["panel_md5"] != panel_md5:
        origin = N_("{n} runs each, trained at revision {revision}; the panel has changed since")
    return _(origin, n=len(made["seeds"]), revision=made["revision"])
