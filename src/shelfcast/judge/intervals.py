"""Differences between two methods on the same rows, with block-bootstrap confidence intervals.

Products and blocks of target weeks are resampled, each with replacement: a product's errors are alike in all its weeks
and locations, and a week's errors in all its products.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.metrics import losses

INTERVAL = (0.05, 0.95)  # quantiles of the draws that bound the 90 % interval


def with_blocks(frame: pd.DataFrame, block_weeks: int = 2) -> pd.DataFrame:
    """The frame with what a draw takes as a whole: `product` (with all its locations) and `block` of target weeks."""
    return frame.assign(
        product=frame["unique_id"].str.rsplit("|", n=1).str[0],
        block=(frame["ds"] - frame["ds"].min()).dt.days // (7 * block_weeks),
    )


def paired_bootstrap(
    frame: pd.DataFrame,
    method: str,
    against: str,
    metric: str = "wql",
    block_weeks: int = 2,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Estimate ``metric(method) / metric(against) - 1`` with its 90 % interval.

    Losses are summed per product (all its locations) and block of `block_weeks` target weeks. Sales cancel, so `metric`
    is `wape` or `wql`.

    Worked example: two products, one block, losses 1, 3 against 2, 2. The estimate is (1 + 3) / (2 + 2) - 1 = 0; a
    draw that takes the first product twice gives 2 / 4 - 1 = -50 %, the second twice +50 %, both 0 %.

    Returns
    -------
    estimate, low, high : relative; below 0 where `method` is better.

    Raises
    ------
    ValueError : another metric, or methods that do not forecast the same products and weeks.
    """
    sums = _sums(frame, method, against, metric, block_weeks)
    ours, theirs = (part["loss"].to_numpy() for part in _both_methods(sums, method, against))  # products, blocks
    return relative_difference(ours, theirs, draws, seed)


def relative_difference(
    ours: np.ndarray, theirs: np.ndarray, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Relative difference of two totals with its 90 % interval; products and blocks are resampled in pairs.

    Parameters
    ----------
    ours, theirs : (products, blocks) sums of what is compared, such as losses or costs.

    Returns
    -------
    estimate, low, high : relative; below 0 where `ours` is smaller.
    """
    generator = np.random.default_rng(seed)
    product_counts, block_counts = (_resample(generator, n, draws) for n in ours.shape)

    def resampled(loss: np.ndarray) -> np.ndarray:
        return ((product_counts @ loss) * block_counts).sum(1)  # draws

    with np.errstate(invalid="ignore", divide="ignore"):
        relative = resampled(ours) / resampled(theirs) - 1
    low, high = np.nanquantile(relative, INTERVAL)
    return float(ours.sum() / theirs.sum() - 1), float(low), float(high)


def mean_difference(
    frame: pd.DataFrame,
    method: str,
    against: str,
    metric: str = "wql",
    by: str = "category",
    block_weeks: int = 2,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """`paired_bootstrap` for the mean of a score over groups: every group counts alike, whatever it sells.

    A draw resamples products within each group, and blocks of target weeks for all groups together: a week that was
    odd was odd in all of them.

    Returns
    -------
    estimate : mean over groups of ``metric(method)``, over that of ``metric(against)``, less 1.
    low, high : its 90 % interval.
    better, of : number of groups in which `method` scores lower, and of all groups.

    Raises
    ------
    ValueError : as for `paired_bootstrap`.
    """
    sums = _sums(frame, method, against, metric, block_weeks, by)
    generator = np.random.default_rng(seed)
    n_blocks = sums.columns.get_level_values("block").nunique()
    block_counts = _resample(generator, n_blocks, draws)
    scores, resampled_scores = [], []  # groups, methods; groups, methods, draws
    for _, group in sums.groupby(level=by):
        both = _both_methods(group, method, against)
        product_counts = _resample(generator, len(both[0]), draws)
        for part in both:
            loss, units = part["loss"].to_numpy(), part["units"].to_numpy()  # products, blocks
            resampled_loss, resampled_units = (((product_counts @ x) * block_counts).sum(1) for x in (loss, units))
            scores.append(loss.sum() / units.sum())
            resampled_scores.append(resampled_loss / np.maximum(resampled_units, 1e-9))
    ours, theirs = np.reshape(scores, (-1, 2)).T  # groups
    our_draws, their_draws = np.reshape(resampled_scores, (-1, 2, draws)).mean(0)
    low, high = np.quantile(our_draws / their_draws - 1, INTERVAL)
    difference = {"estimate": float(ours.mean() / theirs.mean() - 1), "low": float(low), "high": float(high)}
    return difference | {"better": int((ours < theirs).sum()), "of": len(ours)}


def _sums(frame: pd.DataFrame, method: str, against: str, metric: str, block_weeks: int, *by: str) -> pd.DataFrame:
    """Sums over what a draw takes as a whole: index (*by, method, product), columns (loss | units | rows, block)."""
    if metric not in ("wape", "wql"):
        raise ValueError(f"metric is {metric!r}, which is no sum of losses to resample. Choose 'wape' or 'wql'.")
    frame = frame.loc[frame["method"].isin([method, against]) & frame["y"].notna()].reset_index(drop=True)
    rows = with_blocks(frame, block_weeks)[[*by, "method", "product", "block"]].join(losses(frame)[["y", metric]])
    groups = rows.groupby([*by, "method", "product", "block"])
    sums = groups.agg(loss=(metric, "sum"), units=("y", "sum"), rows=("y", "size"))
    return sums.unstack("block", fill_value=0)


def _both_methods(sums: pd.DataFrame, method: str, against: str) -> list[pd.DataFrame]:
    """The sums of each method, with a row per product."""
    absent = {method, against} - set(sums.index.get_level_values("method"))
    both = [] if absent else [sums.xs(name, level="method") for name in (method, against)]
    if not both or not both[0]["rows"].equals(both[1]["rows"]):
        raise ValueError(
            f"{method!r} and {against!r} do not forecast the same products and weeks. Compare them on rows of both."
        )
    return both


def _resample(generator: np.random.Generator, n: int, draws: int) -> np.ndarray:
    """How often each of `n` is drawn when `n` are drawn with replacement: (draws, n)."""
    return generator.multinomial(n, np.full(n, 1 / n), size=draws)
