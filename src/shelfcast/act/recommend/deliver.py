"""From purchases and forecasts to recommendations, with what is known of how good they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from shelfcast.act.recommend import compare
from shelfcast.act.recommend.groups import Groups, find_groups, standardised_errors
from shelfcast.act.recommend.learn.columns import KINDS, Snapshot, snapshot
from shelfcast.act.recommend.learn.expected import relative_error
from shelfcast.act.recommend.learn.factors import ALS, BPR, Factorisation
from shelfcast.act.recommend.learn.mix import Ahead, Mix, TooFew, fit_mix, look_ahead
from shelfcast.act.recommend.purchases import Purchases, bought_next
from shelfcast.act.recommend.ranking import top
from shelfcast.decision_options import Recommend
from shelfcast.panel.frame import Panel

TYPES = {
    "cutoff": "datetime64[ns]",
    "customer_id": "object",
    "kind": "object",
    "rank": "int64",
    "product_id": "object",
    "probability": "float64",
}
COLUMNS = list(TYPES)


@dataclass(frozen=True)
class Recommendations:
    """What systems read, and what the report may show.

    lack : why there are none, in one sentence; empty where there are some, and then the rest is filled.
    frame : for systems: cutoff, customer_id, kind ('repeat': bought before, 'explore': not), rank, product_id,
        probability that she buys it within the horizon. The only place in which a shopper is named.
    scores : on the test weeks: asked, method, ndcg, recall, n_shoppers, n. differences : of the mix to each method.
    chosen : asked -> family -> the factorisation that the validation weeks chose.
    promised, bought : purchases of recommended products in the test weeks, as expected and as they came, by kind.
    groups : groups of shoppers, and what each is likely to buy. horizon : weeks.
    """

    lack: str = ""
    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS).astype(TYPES))
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    chosen: dict = field(default_factory=dict)
    promised: dict[str, float] = field(default_factory=dict)
    bought: dict[str, int] = field(default_factory=dict)
    groups: Groups | None = None
    horizon: int = 0

    @property
    def numbers(self) -> dict:
        """The numbers that runs are compared by, ready for JSON; `lack` alone where there are no recommendations."""
        if self.lack:
            return {"lack": self.lack}
        over_best = {}
        for asked in self.scores["asked"].unique():
            against, *estimate = compare.best_other(self.differences, asked)
            low_high = dict(zip(("estimate", "low", "high"), (round(value, 4) for value in estimate), strict=True))
            over_best[asked] = {"against": against} | low_high
        scores = {asked: {} for asked in over_best}
        for row in self.scores.itertuples():
            scores[row.asked][row.method] = {"ndcg": round(row.ndcg, 4), "recall": round(row.recall, 4)}
        ratio = {kind: round(self.bought[kind] / self.promised[kind], 4) for kind in KINDS if self.promised[kind]}
        return {
            "scores": scores,
            "over_best": over_best,
            "bought_to_promised": ratio,
            "ranges_held": round(self.groups.inside / max(self.groups.n, 1), 4),
            "n_shoppers": int(self.frame["customer_id"].nunique()),
        }


def recommend(
    purchases: Purchases, panel: Panel, expected: dict[pd.Timestamp, np.ndarray], settings: Recommend
) -> Recommendations:
    """Learn on the validation weeks, judge on the test weeks, recommend from the latest week.

    Parameters
    ----------
    expected : cutoff -> (L, P) units forecast from it, of the validation, test and latest cutoffs; see `expected_units`.

    Raises
    ------
    ValueError : a cutoff of the panel has no forecast.
    """
    if purchases.lack:
        return Recommendations(purchases.lack)
    cutoffs = _cutoffs(panel, expected)
    horizon, seed = panel.meta["horizon"], settings.seed
    progress = tqdm(total=len(cutoffs), desc="recommendations", unit="cutoff", disable=None)

    def look(split: str, factorisations: tuple[Factorisation, ...]) -> list[Snapshot]:
        views = []
        for cutoff in panel.cutoffs[split]:
            views.append(snapshot(purchases, cutoff, expected[cutoff], factorisations, seed))
            progress.update()
        return views

    with progress:
        validation = look("validation", ALS + BPR)
        last = purchases.number(pd.Timestamp(panel.meta["validation_end"]))
        try:
            mix = fit_mix(purchases, validation, horizon, last, seed)
            unseen = _ends(purchases, validation, horizon, last, seed)
        except TooFew as error:
            return Recommendations(f"There are no recommendations: {error}")
        factor_scores = compare.measure(purchases, validation, horizon, [compare.factor_scores], seed)
        chosen = compare.choose_factors(factor_scores)
        used = {name for families in chosen.values() for name in families.values()}
        test = look("test", ALS + tuple(own for own in BPR if own.name in used))
        latest = look("latest", ALS)[0]
    ahead, coming = _ahead(mix, test, seed), look_ahead(mix, latest, latest.blocks())
    scorers = [compare.mix_scores(ahead), compare.popularity_scores, compare.factor_scores]
    scores = compare.with_chosen(compare.measure(purchases, test, horizon, scorers, seed), chosen)
    promised, bought = kept_promises(purchases, test, horizon, ahead, settings)
    missed, ends = relative_error(panel, expected), [validation[0], validation[-1]]
    errors = {}
    for split, views, own in (("validation", ends, unseen), ("test", test, ahead)):
        errors[split] = standardised_errors(purchases, views, horizon, own, missed, settings)
    return Recommendations(
        frame=best_products(purchases, latest, coming, settings.n_items),
        scores=compare.summary(scores),
        differences=compare.differences(scores, seed=seed),
        chosen=chosen,
        promised=promised,
        bought=bought,
        groups=find_groups(purchases, latest, coming, errors, missed, settings),
        horizon=horizon,
    )


def _cutoffs(panel: Panel, expected: dict[pd.Timestamp, np.ndarray]) -> list[pd.Timestamp]:
    cutoffs = panel.cutoffs["validation"] + panel.cutoffs["test"] + panel.cutoffs["latest"]
    if absent := [cutoff for cutoff in cutoffs if cutoff not in expected]:
        raise ValueError(
            f"there is no forecast from cutoff {absent[0]:%Y-%m-%d}. Run notebook 4_evaluate again on this panel."
        )
    return cutoffs


def _ahead(mix: Mix, views: list[Snapshot], seed: int) -> Ahead:
    ahead = {}
    for view in views:
        ahead |= look_ahead(mix, view, view.drawn_blocks(seed))
    return ahead


def _ends(purchases: Purchases, views: list[Snapshot], horizon: int, last: int, seed: int) -> Ahead:
    """What a mix of the first validation cutoff expects from the last one, and the other way round.

    Their weeks do not overlap where validation is as long as two horizons, so that neither has seen what it foretells.
    """
    ends = [views[0], views[-1]]
    ahead = {}
    for own, other in (ends, ends[::-1]):
        ahead |= _ahead(fit_mix(purchases, [other], horizon, last, seed), [own], seed)
    return ahead


def best_products(purchases: Purchases, view: Snapshot, ahead: Ahead, n_items: int) -> pd.DataFrame:
    """The `n_items` likeliest products of each shopper and kind, in the columns `COLUMNS`."""
    parts = []
    for block in view.blocks():
        for kind, scores, places in _ranked(view, ahead, block, n_items):
            row, rank = np.nonzero(np.isfinite(np.take_along_axis(scores, places, axis=1)))
            item = places[row, rank]
            part = {
                "cutoff": view.cutoff,
                "customer_id": purchases.shoppers[view.known.shoppers[block][row]],
                "kind": kind,
                "rank": rank + 1,
                "product_id": purchases.products[item],
                "probability": scores[row, item],
            }
            parts.append(pd.DataFrame(part))
    frame = pd.concat(parts, ignore_index=True)[COLUMNS].astype(TYPES)
    return frame.sort_values(["customer_id", "kind", "rank"], ascending=[True, False, True], ignore_index=True)


def _ranked(view: Snapshot, ahead: Ahead, block: slice, n_items: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Each kind with its probabilities, -inf for products of the other kind, and its best products: (B, P), (B, n)."""
    probabilities, had = ahead[view.cutoff, block.start]
    kinds = {"repeat": had, "explore": ~had}
    ranked = []
    for kind in KINDS:
        scores = np.where(kinds[kind], probabilities, -np.inf)
        ranked.append((kind, scores, top(scores, n_items)))
    return ranked


def kept_promises(
    purchases: Purchases, views: list[Snapshot], horizon: int, ahead: Ahead, settings: Recommend
) -> tuple[dict[str, float], dict[str, int]]:
    """How many recommended products would be bought by the probabilities, and how many were, by kind."""
    promised, kept = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
    for view in views:
        bought = bought_next(purchases, view.cutoff, horizon, view.known.shoppers)
        for block in view.drawn_blocks(settings.seed):
            for kind, scores, places in _ranked(view, ahead, block, settings.n_items):
                likely = np.take_along_axis(scores, places, axis=1)
                hits = np.take_along_axis(bought[block], places, axis=1)
                promised[kind] += float(likely[np.isfinite(likely)].sum())
                kept[kind] += int(hits[np.isfinite(likely)].sum())
    return promised, kept
