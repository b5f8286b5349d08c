"""How far explanations can be trusted: scores of the frames that `measure` makes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from studies.explanations.measure import KEYS
from studies.explanations.truth import GROUPS

NOTHING = 1e-3  # of the usual units


def contributions(frame: pd.DataFrame, method: str, groups: list[str]) -> pd.DataFrame:
    """Rows of a method by `KEYS`, columns groups, as shares of the usual units (of attention: as they are)."""
    rows = frame[frame["method"] == method].set_index(KEYS).sort_index()
    values = rows[groups].astype(float)
    return values if method in ("attention", "rollout") else values.div(rows["usual"].clip(lower=1e-9), axis=0)


def rank_agreement(one: pd.DataFrame, other: pd.DataFrame, by_size: bool = False) -> float:
    """Spearman's rank correlation over the groups of each forecast, the mean over forecasts where both have ranks.

    by_size : ranks by how much a group moves, in whichever direction.
    """
    one, other = (x.to_numpy(float) for x in (one, other.loc[one.index]))
    if by_size:
        one, other = np.abs(one), np.abs(other)
    one, other = (rankdata(x.round(9), axis=1) for x in (one, other))
    one, other = (x - x.mean(1, keepdims=True) for x in (one, other))
    spread = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    ranked = spread > 0
    return float(((one * other).sum(1)[ranked] / spread[ranked]).mean()) if ranked.any() else float("nan")


def precision_recall(found: pd.DataFrame, true: pd.DataFrame, matters: float) -> tuple[float, float]:
    """Area under precision-recall for the inputs that truly move `matters` of the usual units or more; their share.

    The share is what guessing would reach.
    """
    truly = (true.abs() >= matters).to_numpy().ravel()
    if not truly.any():
        return float("nan"), 0.0
    return float(average_precision_score(truly, found.loc[true.index].abs().to_numpy().ravel())), float(truly.mean())


def by_group(found: pd.DataFrame, true: pd.DataFrame) -> dict[str, float]:
    """Group -> Spearman's rank correlation over forecasts; groups that truly never move anything are left out.

    `season_in_own` is that of own recent sales with the true season, which recent sales show as well.
    """
    true = true.loc[found.index]
    pairs = {group: (group, group) for group in true if true[group].abs().max() > NOTHING}
    if {"own", "season"} <= pairs.keys():
        pairs["season_in_own"] = ("own", "season")
    return {name: float(found[a].corr(true[b], method="spearman")) for name, (a, b) in pairs.items()}


def areas(frame: pd.DataFrame) -> pd.DataFrame:
    """Areas below the curves of each method, relative to those of a random order.

    Returns
    -------
    Index method; deletion (more is better) and insertion (less is better); 1 for a random order.
    """
    curves = mean_curves(frame)
    inner = curves.groupby(level="method")[["deletion", "insertion"]].sum()
    return inner / inner.loc["random"]


def mean_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Index method, k (groups taken away or added); deletion, insertion: mean distance as a share of the mean forecast."""
    rows = frame[frame["method"] != "truth"]
    scale = frame.loc[frame["method"] == "shapley", "forecast"].mean()
    parts = {}
    for kind in ("deletion", "insertion"):
        columns = [name for name in rows if name.startswith(f"{kind}_")]
        mean = rows.groupby("method")[columns].mean() / scale
        parts[kind] = mean.rename(columns=lambda name: int(name.split("_")[1])).stack()
    return pd.DataFrame(parts).rename_axis(["method", "k"])


def table(frames: dict[str, pd.DataFrame], groups: list[str], methods: tuple[str, ...], matters: float) -> pd.DataFrame:
    """All scores of the explanations of one location.

    Parameters
    ----------
    frames : 'all': of all seeds' models together; 'seed_<n>': of each alone; 'shuffled': of a model with shuffled weights.

    Returns
    -------
    Index method; deletion, insertion; seeds, shuffled: rank agreement between seeds (none where all are one model, as
    where a market stays with the base), and with shuffled weights; where the truth is known: size_agreement and agreement, rank agreement with it by size and with sign, and precision_recall.
    """
    whole = frames["all"]
    rows = areas(whole).loc[list(methods)]
    seeds = [frame for name, frame in frames.items() if name.startswith("seed_")]
    for method in methods:
        own = contributions(whole, method, groups)
        pairs = [(a, b) for i, a in enumerate(seeds) for b in seeds[i + 1 :] if not a.equals(b)]
        between = [rank_agreement(*(contributions(x, method, groups) for x in pair)) for pair in pairs]
        rows.loc[method, "seeds"] = np.mean(between) if between else np.nan
        rows.loc[method, "shuffled"] = rank_agreement(own, contributions(frames["shuffled"], method, groups))
        if (whole["method"] == "truth").any():
            true, found = contributions(whole, "truth", GROUPS), contributions(whole, method, GROUPS)
            rows.loc[method, "size_agreement"] = rank_agreement(found, true, by_size=True)
            rows.loc[method, "agreement"] = rank_agreement(found, true)
            rows.loc[method, "precision_recall"], rows.loc[method, "chance"] = precision_recall(found, true, matters)
    return rows
