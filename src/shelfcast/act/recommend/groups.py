"""Groups of shoppers who buy alike, for the report: what each is likely to buy, and how sure that is.

Non-negative matrix factorisation (Lee & Seung 1999) of the shares of each shopper's purchases; she belongs to the part
that weighs most for her. A group holds at least `smallest_group` shoppers, so that no household can be made out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from shelfcast.act.recommend.learn.columns import Snapshot
from shelfcast.act.recommend.learn.mix import Ahead
from shelfcast.act.recommend.purchases import History, Purchases, bought_next
from shelfcast.decision_options import Recommend

N_NAMED, N_LIKELY = 3, 5  # products that name a group, and that it is shown to buy
NORMAL_80 = 1.2816  # half width of the 80 % range of a standard normal


@dataclass(frozen=True)
class Groups:
    """Groups, largest first.

    sizes : group, shoppers, products (ids of those that set the group apart), bought (shares of its shoppers who had
        bought them).
    likely : group, product_id, share (of its shoppers expected to buy it within the horizon), low, high (80 % range),
        repeat (share of the expected buyers who had bought it before).
    inside, n : how many of the shares that were foretold in the test weeks lay in their range, and of how many.
    """

    sizes: pd.DataFrame
    likely: pd.DataFrame
    inside: int = 0
    n: int = 0


def memberships(known: History, n_groups: int, smallest: int, seed: int = 0) -> np.ndarray:
    """The group of each shopper, numbered by size: (S,).

    The smallest group below `smallest` shoppers is dissolved, and each of them goes to the part of those left that
    weighs most for her, until all are large enough.
    """
    n_parts = max(1, min(n_groups, known.shape[0] // smallest, known.shape[1]))
    pairs = known.pairs
    shares = pairs["n"] / pairs.groupby("row")["n"].transform("sum")
    matrix = csr_matrix((np.sqrt(shares), (pairs["row"], pairs["item"])), shape=known.shape)
    model = NMF(n_parts, init="nndsvda", random_state=seed, max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # groups need no more digits
        weights = model.fit_transform(matrix) * np.linalg.norm(model.components_, axis=1)
    left = np.ones(n_parts, dtype=bool)
    while True:
        member = np.where(left, weights, -1.0).argmax(1)
        sizes = np.bincount(member, minlength=n_parts)
        small = np.flatnonzero(left & (sizes < smallest))
        if not len(small) or left.sum() == 1:
            break
        left[small[sizes[small].argmin()]] = False
    order = np.argsort(-np.where(left, sizes, -1), kind="stable")
    return np.argsort(order)[member]


@dataclass(frozen=True)
class Foretold:
    """Buyers expected of each group and product, the variance of their number, and how many of the expected had bought
    the product before: (G, P) each; sizes (G,)."""

    expected: np.ndarray
    variance: np.ndarray
    repeat: np.ndarray
    sizes: np.ndarray

    def likeliest(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of groups and products shown: the products with most expected buyers."""
        items = np.argsort(-self.expected, axis=1, kind="stable")[:, :N_LIKELY]
        return np.repeat(np.arange(len(items)), items.shape[1]), items.ravel()


def foretell(
    view: Snapshot, ahead: Ahead, member: np.ndarray, blocks: list[slice], relative_error: float = 0.0
) -> Foretold:
    """Sum the probabilities of the shoppers of some blocks by group.

    Their number varies because shoppers decide each for herself, and because products sell better or worse than forecast to
    all of them, by `relative_error`.
    """
    n_groups, n_products = member.max() + 1, view.known.shape[1]
    sums = np.zeros((3, n_groups, n_products))
    for block in blocks:
        probability, had = ahead[view.cutoff, block.start]
        group = np.eye(n_groups)[member[block]].T  # G, shoppers of the block
        for i, values in enumerate((probability, probability * (1 - probability), probability * had)):
            sums[i] += group @ values
    shoppers = np.concatenate([member[block] for block in blocks])
    sums[1] += (relative_error * sums[0]) ** 2
    return Foretold(*sums, np.bincount(shoppers, minlength=n_groups))


def standardised_errors(
    purchases: Purchases,
    views: list[Snapshot],
    horizon: int,
    ahead: Ahead,
    relative_error: float,
    settings: Recommend,
) -> np.ndarray:
    """Errors of the buyers that would have been shown for each group, over their standard deviation: (N,)."""
    errors = []
    for view in views:
        member = memberships(view.known, settings.n_groups, settings.smallest_group, settings.seed)
        blocks = view.drawn_blocks(settings.seed)
        foretold = foretell(view, ahead, member, blocks, relative_error)
        bought = bought_next(purchases, view.cutoff, horizon, view.known.shoppers)
        buyers = sum(np.eye(len(foretold.sizes))[member[block]].T @ bought[block] for block in blocks)
        shown = foretold.likeliest()
        errors.append((buyers - foretold.expected)[shown] / np.sqrt(foretold.variance[shown]))
    return np.concatenate(errors)


def find_groups(
    purchases: Purchases,
    latest: Snapshot,
    ahead: Ahead,
    errors: dict[str, np.ndarray],
    relative_error: float,
    settings: Recommend,
) -> Groups:
    """Groups at the latest cutoff, and what each is likely to buy.

    Ranges are as much wider as they would have had to be in the validation weeks, and the test weeks say how often they
    held.

    Parameters
    ----------
    ahead : what the mix expects from the latest cutoff, of all shoppers.
    errors : 'validation' and 'test' -> `standardised_errors`, each by a mix that had not seen what it foretold.
    relative_error : see `expected.relative_error`.
    """
    member = memberships(latest.known, settings.n_groups, settings.smallest_group, settings.seed)
    wider = max(1.0, float(np.sqrt(np.mean(errors["validation"] ** 2))))
    foretold = foretell(latest, ahead, member, latest.blocks(), relative_error)
    group, item = foretold.likeliest()
    size, expected = foretold.sizes[group], foretold.expected[group, item]
    half = NORMAL_80 * wider * np.sqrt(foretold.variance[group, item])
    likely = pd.DataFrame(
        {
            "group": group + 1,
            "product_id": purchases.products[item],
            "share": expected / size,
            "low": np.maximum(expected - half, 0) / size,
            "high": np.minimum(expected + half, size) / size,
            "repeat": foretold.repeat[group, item] / np.maximum(expected, 1e-9),
        }
    )
    inside = np.abs(errors["test"]) <= NORMAL_80 * wider
    return Groups(_sizes(purchases, latest.known, member), likely, int(inside.sum()), len(inside))


def _sizes(purchases: Purchases, known: History, member: np.ndarray) -> pd.DataFrame:
    """Each group's size and the products that set it apart: those that most more of its shoppers than of all had bought."""
    pairs, n_groups = known.pairs, member.max() + 1
    buyers = np.zeros((n_groups, known.shape[1]))
    np.add.at(buyers, (member[pairs["row"]], pairs["item"]), 1)
    sizes = np.bincount(member, minlength=n_groups)
    more = buyers / sizes[:, None] - buyers.sum(0) / len(member)
    rows = []
    for group in range(n_groups):
        items = np.argsort(-more[group], kind="stable")[:N_NAMED]
        items = items[more[group, items] > 0]
        named = [str(product) for product in purchases.products[items]]
        rows.append((group + 1, int(sizes[group]), named, [float(buyers[group, i] / sizes[group]) for i in items]))
    return pd.DataFrame(rows, columns=["group", "shoppers", "products", "bought"])
