"""Titles and captions of the evidence: what its pictures show, with the numbers of the frames that they draw."""

from __future__ import annotations

import pandas as pd

from shelfcast.report.theme import percent


def accuracy_title(rows: pd.DataFrame, level: str, rival: str) -> str:
    """The verdict of a comparison's own row; `rows` as `accuracy.comparison` gives them."""
    own = rows[rows["group"] == "ours"].iloc[0]
    verdict = "better than" if own["estimate"] < 0 else "worse than"
    if own["low"] <= 0 <= own["high"]:
        verdict = "no clear difference to"
    return f"{level.capitalize()}: {verdict} {rival} ({percent(own['estimate'], 1, sign=True)})"


def control_title(rows: pd.DataFrame, level: str) -> str:
    """How many controls have a clearly higher error than Shelfcast; `rows` as `studies.control_comparison` gives them."""
    controls = rows[rows["group"] == "control"]
    if controls.empty:
        return level.capitalize()
    clear = (controls["low"] > 0).sum() or "none"
    return f"{level.capitalize()}: {clear} of {len(controls)} simpler versions clearly worse"


def ablation_title(rows: pd.DataFrame, level: str) -> str:
    """The data source whose absence costs most; `rows` as `studies.ablation_costs` gives them."""
    most = rows.loc[rows.loc[rows["group"] == "left out", "estimate"].idxmax()]
    return f"{level.capitalize()}: most is lost with {most['label']} ({percent(most['estimate'], 1, sign=True)})"


def marks(*comparisons: pd.DataFrame, advantage: str) -> str:
    """What the colours and marks of comparisons mean; `advantage` is what upper bounds use and no real forecast has."""
    rows = pd.concat(comparisons)
    groups, own = set(rows["group"]), rows.loc[rows["group"] == "ours", "label"].iloc[0]
    black = {
        "alternative": "other methods",
        "combination": f"a blend of {own} and trees",
        "control": f"simpler versions of {own}",
    }
    text = f"Blue: {own}. Black: {', then '.join(words for group, words in black.items() if group in groups)}."
    if "upper bound" in groups:
        text += f" Hollow squares use {advantage}, which no real forecast has: an upper bound, not a fair comparison."
    return text


def coverage_title(coverage: float) -> str:
    """How the measured coverage of the 80 % range compares with its promise."""
    verdict = "narrower than promised" if coverage < 0.8 else "wider than needed"
    if abs(coverage - 0.8) < 0.03:
        verdict = "as promised"
    return f"{percent(coverage)} of the weeks fell inside the 80 % range: {verdict}"


def training_title(history: pd.DataFrame) -> str:
    """After how many steps the runs were best; step 0 is the base as it came."""
    best = history.loc[history["best"], "step"].iloc[0]
    when = f"after {best} step{'' if best == 1 else 's'}" if best else "before any training on this category"
    return f"Averaged over the runs, the validation error was lowest {when}"


def study_origin(made: dict, panel_md5: str) -> str:
    """Seeds and revision of a study's results, and whether the panel has changed since."""
    changed = "" if made["panel_md5"] == panel_md5 else "; the panel has changed since"
    return f"{len(made['seeds'])} runs each, trained at revision {made['revision']}{changed}"
