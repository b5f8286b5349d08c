"""What columns weigh: two logistic regressions, of purchases in validation weeks, one for repeats, one for new products.

Both give the probability that a shopper buys a product within the horizon, so that their products can be ranked
together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from shelfcast.act.recommend.learn.columns import KINDS, TABLES, Snapshot
from shelfcast.act.recommend.purchases import Purchases, bought_next

STRENGTH = 0.1  # C of the regressions
MOST_ROWS = 400_000  # of a regression; of more, rows without a purchase are drawn by chance, and weighed for the others

Ahead = dict[tuple[pd.Timestamp, int], tuple[np.ndarray, np.ndarray]]  # cutoff, start of block -> `Mix.probabilities`


class TooFew(ValueError):
    """Shoppers bought too little for anything to be learned of them."""


@dataclass(frozen=True)
class Mix:
    """kind -> its regression."""

    models: dict[str, Pipeline]

    def probabilities(self, view: Snapshot, block: slice) -> tuple[np.ndarray, np.ndarray]:
        """Probability that each shopper of a block buys each product, and whether she had bought it: (B, P) both."""
        shape = (block.stop - block.start, view.known.shape[1])
        values, had = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
        for kind, model in self.models.items():
            rows, items, columns = TABLES[kind](view, block)
            if len(rows):
                values[rows, items] = model.predict_proba(columns)[:, 1]
                had[rows, items] = kind == "repeat"
        return values, had


def look_ahead(mix: Mix, view: Snapshot, blocks: list[slice]) -> Ahead:
    """What the mix expects of the shoppers of some blocks."""
    return {(view.cutoff, block.start): mix.probabilities(view, block) for block in blocks}


def fit_mix(purchases: Purchases, views: list[Snapshot], horizon: int, last: int, seed: int = 0) -> Mix:
    """Learn what columns weigh.

    Parameters
    ----------
    views : of the validation cutoffs.
    last : number of the last week that may be learned from: the last validation week.

    Raises
    ------
    ValueError : the weeks after a cutoff reach beyond `last`; `TooFew` where nobody, or everybody, bought in them.
    """
    generator = np.random.default_rng(seed)
    models = {}
    for kind in KINDS:
        columns, bought = _examples(purchases, views, horizon, last, kind, seed)
        if not 0 < bought.sum() < len(bought):
            raise TooFew(
                f"recommendations cannot be learned: of {len(bought)} {kind} pairs of shopper and product in the "
                f"validation weeks {int(bought.sum())} were bought. Set prepare.validation_weeks to more weeks."
            )
        weight = np.ones(len(bought))
        if len(bought) > MOST_ROWS:
            share = max(MOST_ROWS - bought.sum(), MOST_ROWS / 4) / (~bought).sum()
            drawn = bought | (generator.random(len(bought)) < share)
            weight = np.where(bought, 1.0, 1 / share)[drawn]
            columns, bought = columns[drawn], bought[drawn]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=500))
        models[kind] = model.fit(columns, bought, logisticregression__sample_weight=weight)
    return Mix(models)


def _examples(
    purchases: Purchases, views: list[Snapshot], horizon: int, last: int, kind: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Columns (rows, columns) of all views, and whether each was bought in the `horizon` weeks after its cutoff."""
    parts, labels = [], []
    for view in views:
        if purchases.number(view.cutoff) + horizon > last:
            raise ValueError(
                f"the {horizon} weeks after cutoff {view.cutoff:%Y-%m-%d} reach beyond the last validation week, "
                f"{purchases.weeks[last]:%Y-%m-%d}. Learn from earlier cutoffs: test weeks choose nothing."
            )
        bought = bought_next(purchases, view.cutoff, horizon, view.known.shoppers)
        for block in view.drawn_blocks(seed):
            rows, items, columns = TABLES[kind](view, block)
            parts.append(columns.astype(np.float32))
            labels.append(bought[block][rows, items])
    return np.concatenate(parts), np.concatenate(labels)
