"""Differences between two methods, with bootstrap confidence intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.metrics import losses


def _paired_losses(
    frame: pd.DataFrame, method: str, against: str, metric: str, block_weeks: int, *by: str
) -> pd.DataFrame:
    """Losses of two methods with the product and the block of weeks that a draw takes as a whole, and columns `by`."""
    if metric not in ("wape", "wql"):
        raise ValueError(f"only sums of losses can be compared by resampling, 'wape' or 'wql', not {metric!r}")
    frame = frame.loc[frame["method"].isin([method, against]) & frame["y"].notna()].reset_index(drop=True)
    return losses(frame)[["y", metric]].assign(
        product=frame["unique_id"].str.rsplit("|", n=1).str[0],
        block=(frame["ds"] - frame["ds"].min()).dt.days // (7 * block_weeks),
        **{name: frame[name] for name in ("method", *by)},
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
    """``metric(method) / metric(against) - 1`` with its 90 % interval: (estimate, low, high).

    Losses are summed per product (all its locations) and block of target weeks; a draw resamples products and
    blocks of weeks independently, with replacement. Sales cancel, so `metric` is `wape` or `wql`.

    Worked example: two products, one block, losses 1, 3 against 2, 2: estimate (1 + 3) / (2 + 2) - 1 = 0; a
    draw that takes the first product twice gives 2 / 4 - 1 = -50 %, the second twice +50 %, both 0 %.
    """
    rows = _paired_losses(frame, method, against, metric, block_weeks)
    cells = rows.groupby(["method", "product", "block"])[metric].agg(["sum", "size"]).unstack("block", fill_value=0)
    both = [cells.loc[name] if name in cells.index else None for name in (method, against)]
    if any(cell is None for cell in both) or not both[0]["size"].equals(both[1]["size"]):
        raise ValueError(f"{method!r} and {against!r} do not forecast the same products and weeks")
    ours, theirs = (cell["sum"].to_numpy() for cell in both)  # products, blocks
    generator = np.random.default_rng(seed)
    products, blocks = (generator.multinomial(n, np.full(n, 1 / n), size=draws) for n in ours.shape)

    def resampled(sums):
        return ((products @ sums) * blocks).sum(1)  # draws

    with np.errstate(invalid="ignore", divide="ignore"):
        relative = resampled(ours) / resampled(theirs) - 1
    low, high = np.nanquantile(relative, [0.05, 0.95])
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
    estimate = mean over groups of ``metric(method)`` / that of ``metric(against)`` - 1, its 90 % interval low, high;
    better = groups in which `method` scores lower, of how many (of).
    """
    rows = _paired_losses(frame, method, against, metric, block_weeks, by)
    cells = rows.groupby([by, "method", "product", "block"])[["y", metric]].sum().unstack("block", fill_value=0)
    generator = np.random.default_rng(seed)
    n_blocks = cells.columns.get_level_values("block").nunique()
    weeks = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=draws)
    exact, drawn = [], []  # a group's scores of both methods; the same of every draw
    for _, group in cells.groupby(level=by):
        both = [group.xs(name, level="method") for name in (method, against)]
        if not both[0]["y"].equals(both[1]["y"]):
            raise ValueError(f"{method!r} and {against!r} do not forecast the same products and weeks")
        n = len(both[0])
        items = generator.multinomial(n, np.full(n, 1 / n), size=draws)
        sums = [[((items @ part[what].to_numpy()) * weeks).sum(1) for what in (metric, "y")] for part in both]
        drawn.append([loss / np.maximum(units, 1e-9) for loss, units in sums])
        exact.append([part[metric].to_numpy().sum() / part["y"].to_numpy().sum() for part in both])
    ours, theirs = np.array(exact).T
    low, high = np.quantile(np.divide(*np.mean(drawn, 0)) - 1, [0.05, 0.95])
    found = {"estimate": ours.mean() / theirs.mean() - 1, "low": low, "high": high}
    return {k: float(x) for k, x in found.items()} | {"better": int((ours < theirs).sum()), "of": len(ours)}
