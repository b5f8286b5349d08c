"""How good recommendations are: the mix against popularity, one's own habits, and factorisations alone.

What a shopper bought within the horizon after a cutoff is relevant: `repeat` ranks the products she had bought before,
`explore` the others, `all` both together. Shoppers without a relevant product are in no mean of theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfcast.act.recommend.learn.columns import KINDS, Snapshot
from shelfcast.act.recommend.learn.mix import Ahead
from shelfcast.act.recommend.purchases import Purchases, bought_next
from shelfcast.act.recommend.ranking import ndcg_and_recall, relative_difference

MIX, PEERS = "mix", ("popularity", "personal", "als", "bpr")
ASKED = ("all", *KINDS)
Scorer = Callable[[Snapshot, slice], dict[str, np.ndarray]]  # method -> (shoppers of the block, P)


def popularity_scores(view: Snapshot, block: slice) -> dict[str, np.ndarray]:
    """By all shoppers' purchases so far (`popularity`), and by her own, of equals by all (`personal`)."""
    of_all = np.broadcast_to(view.known.popularity, (block.stop - block.start, view.known.shape[1]))
    own = view.known.had(block.start, block.stop)
    return {"popularity": of_all, "personal": own + of_all / (of_all.max() + 1.0)}


def factor_scores(view: Snapshot, block: slice) -> dict[str, np.ndarray]:
    """By each factorisation alone."""
    return {name: view.affinity(name, block) for name in view.factors}


def mix_scores(ahead: Ahead) -> Scorer:
    """By the mix."""
    return lambda view, block: {MIX: ahead[view.cutoff, block.start][0]}


def measure(
    purchases: Purchases, views: list[Snapshot], horizon: int, scorers: list[Scorer], seed: int = 0
) -> pd.DataFrame:
    """Scores of every shopper with a relevant product: cutoff, shopper, asked, method, ndcg, recall.

    Parameters
    ----------
    scorers : each gives one or more methods' scores.
    """
    labels, values = [], []  # of each part: cutoff, asked, method; shopper, ndcg, recall
    for view in views:
        bought = bought_next(purchases, view.cutoff, horizon, view.known.shoppers)
        for block in view.drawn_blocks(seed):
            had = view.known.had(block.start, block.stop) > 0
            places = {"all": np.ones_like(had), "repeat": had, "explore": ~had}
            for method, scores in _all_scores(scorers, view, block).items():
                for asked, among in places.items():
                    relevant = bought[block] & among
                    some = relevant.any(1)
                    judged = ndcg_and_recall(np.where(among, scores, -np.inf)[some], relevant[some])
                    labels.append((view.cutoff, asked, method))
                    values.append(np.stack([view.known.shoppers[block][some], *judged]))
    names = pd.DataFrame(labels, columns=["cutoff", "asked", "method"])
    frame = names.loc[np.repeat(names.index, [part.shape[1] for part in values])].reset_index(drop=True)
    shopper, ndcg, recall = np.concatenate(values, axis=1)
    return frame.assign(shopper=shopper.astype(int), ndcg=ndcg, recall=recall)


def _all_scores(scorers: list[Scorer], view: Snapshot, block: slice) -> dict[str, np.ndarray]:
    scores = {}
    for scorer in scorers:
        scores |= scorer(view, block)
    return scores


def choose_factors(scores: pd.DataFrame) -> dict[str, dict[str, str]]:
    """The factorisation of each kind that ranks best: asked -> 'als' and 'bpr' -> its name.

    Parameters
    ----------
    scores : of `measure` on validation weeks.
    """
    means = scores.groupby(["asked", "method"])["ndcg"].mean()
    chosen = {}
    for asked in ASKED:
        of_asked = means.xs(asked) if asked in means.index.get_level_values("asked") else pd.Series(dtype=float)
        families = {family: of_asked[of_asked.index.str.startswith(f"{family}_")] for family in ("als", "bpr")}
        chosen[asked] = {family: str(own.idxmax()) for family, own in families.items() if len(own)}
    return chosen


def with_chosen(scores: pd.DataFrame, chosen: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Scores of the chosen factorisations alone, under the names 'als' and 'bpr', beside all other methods."""
    parts = [scores[~scores["method"].str.contains(r"^(?:als|bpr)_")]]
    for asked, families in chosen.items():
        for family, name in families.items():
            own = scores[(scores["asked"] == asked) & (scores["method"] == name)]
            parts.append(own.assign(method=family))
    return pd.concat(parts, ignore_index=True)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over shoppers and cutoffs: asked, method, ndcg, recall, n_shoppers, n (shoppers and cutoffs)."""
    groups = scores.groupby(["asked", "method"], sort=False)
    return groups.agg(
        ndcg=("ndcg", "mean"), recall=("recall", "mean"), n_shoppers=("shopper", "nunique"), n=("ndcg", "size")
    ).reset_index()


def differences(scores: pd.DataFrame, metric: str = "ndcg", seed: int = 0) -> pd.DataFrame:
    """Relative difference of the mix to each other method, with 90 % intervals of a bootstrap over shoppers.

    Returns
    -------
    asked, against, estimate, low, high, best: True for the method that is best without the mix.
    """
    keys, rows = ["cutoff", "shopper"], []
    for asked, part in scores.groupby("asked", sort=False):
        wide = part.pivot(index=keys, columns="method", values=metric)
        shopper = wide.index.get_level_values("shopper").to_numpy()
        means = wide[[method for method in PEERS if method in wide]].mean()
        for against in means.index:
            difference = relative_difference(wide[MIX].to_numpy(), wide[against].to_numpy(), shopper, seed=seed)
            rows.append((asked, against, *difference, against == means.idxmax()))
    return pd.DataFrame(rows, columns=["asked", "against", "estimate", "low", "high", "best"])


def best_other(differences: pd.DataFrame, asked: str) -> tuple[str, float, float, float]:
    """The method that is best without the mix, and the mix's relative difference to it: against, estimate, low, high."""
    row = differences[(differences["asked"] == asked) & differences["best"]].iloc[0]
    return row["against"], float(row["estimate"]), float(row["low"]), float(row["high"])
