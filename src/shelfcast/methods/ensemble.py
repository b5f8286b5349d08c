"""A weighted average of forecasts, which is what people get.

Members are chosen by greedy forward selection with replacement on validation forecasts (Caruana et al. 2004, as
AutoGluon does), for the chain and for the regions each; their quantiles are averaged at equal probabilities (Vincent).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import QUANTILE_COLUMNS, WQL_QUANTILES, pinball, quantile_column
from shelfcast.judge.frame import KEYS, forecast_frame
from shelfcast.language import N_, _, joined, listed

SIZE = 20  # draws of a selection: weights are multiples of a twentieth
BAGS = 8  # selections on other products each, whose weights are averaged
BAG_SHARE = 0.6  # of the products in each
MIN_WEIGHT = 0.04  # a member that weighs less is left out
TIE = 1e-4  # relative difference in WQL below which the simpler member is taken
LEVELS = {"product": N_("{members} at the chain"), "product_region": N_("{members} in regions")}
Weights = dict[str, dict[str, float]]  # level -> method -> weight


def select_weights(validation: pd.DataFrame, size: int = SIZE, seed: int = 0) -> Weights:
    """Weigh methods by their weighted quantile loss on validation forecasts.

    Each selection starts with the best single method and adds, `size` times in all, the method that lowers the loss of
    the average most; the best average on the way counts. Several selections, each on other products, are averaged, so
    that one product does not decide. Losses are those of rows that all methods forecast and that have an actual.

    Worked example: a forecast of 0 and one of 2, actuals of 1, both equally wrong: the average is right, and the
    weights are one half each.

    Parameters
    ----------
    validation : forecast frames of all methods with columns `method` and `level`, simple methods first: where two
        score alike, the earlier one is taken.

    Returns
    -------
    level -> method -> weight > 0, in the order of the methods; each level's add up to 1.

    Raises
    ------
    ValueError : a level has no row with an actual that all methods forecast.
    """
    generator = np.random.default_rng(seed)
    return {level: _select(rows, size, generator) for level, rows in validation.groupby("level") if len(rows)}


def _select(rows: pd.DataFrame, size: int, generator: np.random.Generator) -> dict[str, float]:
    """Weights at one level."""
    y, quantiles, product, methods = _aligned(rows)
    n_products = product.max() + 1
    counts = np.zeros(len(methods))
    for _bag in range(BAGS):
        chosen = generator.permutation(n_products)[: max(1, round(BAG_SHARE * n_products))]
        inside = np.isin(product, chosen)
        counts += _greedy(y[inside], quantiles[:, inside], size) / BAGS
    counts[counts < MIN_WEIGHT] = 0
    weights = counts / counts.sum()
    return {method: float(weight) for method, weight in zip(methods, weights, strict=True) if weight > 0}


def _aligned(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Actuals (N,), quantiles (methods, N, 9), number of each row's product (N,), and the methods."""
    methods = list(rows["method"].unique())
    rows = rows[rows["y"].notna()]
    columns = [quantile_column(q) for q in WQL_QUANTILES]
    keys = ["unique_id", "cutoff", "horizon"]
    parts = [part.set_index(keys) for part in (rows[rows["method"] == method] for method in methods)]
    shared = parts[0].index
    for part in parts[1:]:
        shared = shared.intersection(part.index)
    if not len(shared):
        raise ValueError(
            f"{', '.join(methods)} have no validation week with an actual in common at level {rows['level'].iat[0]}, "
            "so the ensemble cannot weigh them. Leave out a method of evaluate.methods, or forecast with one of them."
            if len(rows)
            else f"no validation forecast of {', '.join(methods)} has an actual, so the ensemble cannot weigh them. "
            "Choose prepare.validation_weeks that were observed."
        )
    quantiles = np.stack([part.loc[shared, columns].to_numpy() for part in parts])
    product = pd.factorize(shared.get_level_values("unique_id").str.rsplit("|", n=1).str[0])[0]
    return parts[0].loc[shared, "y"].to_numpy(float), quantiles, product, methods


def _greedy(y: np.ndarray, quantiles: np.ndarray, size: int) -> np.ndarray:
    """Share of each method among the members of the best average that a greedy selection meets: (methods,)."""
    counts, total = np.zeros(len(quantiles)), np.zeros(quantiles.shape[1:])
    best, best_loss = counts, np.inf
    for n in range(1, size + 1):
        losses = np.array([pinball(y, (total + own) / n).sum() for own in quantiles])
        added = int(np.flatnonzero(losses <= losses.min() * (1 + TIE))[0])
        counts, total = counts + np.eye(len(quantiles))[added], total + quantiles[added]
        if losses[added] < best_loss * (1 - TIE):
            best, best_loss = counts / n, losses[added]
    return best


def combine(frame: pd.DataFrame, weights: Weights) -> pd.DataFrame:
    """Average the members' means and their quantiles at equal probabilities.

    Parameters
    ----------
    frame : forecast frames of the members, with columns `method` and `level`; all must forecast the same rows.

    Returns
    -------
    Forecast frame without dispersions, in the order of the first member's rows.

    Raises
    ------
    ValueError : a member is not in the frame, or lacks rows that another one forecasts.
    """
    parts = []
    for level, of_level in weights.items():
        rows = frame[frame["level"] == level]
        parts.append(_average(rows, of_level))
    return pd.concat(parts, ignore_index=True)


def _average(rows: pd.DataFrame, weights: dict[str, float]) -> pd.DataFrame:
    """The weighted average of one level's members."""
    keys, values = ["unique_id", "cutoff", "horizon"], ["mean", *QUANTILE_COLUMNS]
    first, total = None, 0.0
    for method, weight in weights.items():
        own = rows[rows["method"] == method]
        index = pd.MultiIndex.from_frame(own[keys])
        first = (own, index) if first is None else first
        if len(index) != len(first[1]) or not index.isin(first[1]).all():
            raise ValueError(
                f"{method!r} forecasts {len(index)} rows and another member of the ensemble {len(first[1])}, not all of "
                "them the same. Forecast with all members from the same cutoffs."
            )
        total = total + weight * own.set_axis(index)[values].loc[first[1]].to_numpy()
    own = first[0]
    quantiles = np.maximum.accumulate(total[:, 1:], axis=1)  # rounding of sums may let them fall by a hair
    return forecast_frame(own[KEYS], total[:, 0], quantiles=quantiles, unit=own.get("unit", 0.0))


def in_words(weights: Weights, names: dict[str, str] | None = None) -> str:
    """One sentence of what is averaged: '60 % Shelfcast and 40 % LightGBM at the chain; LightGBM alone in regions'.

    Parameters
    ----------
    names : method -> what people call it; a method without a name is called as it is.
    """
    names = names or {}
    parts = []
    for level, of_level in weights.items():
        ordered = sorted(of_level.items(), key=lambda item: -item[1])
        called = [names.get(method, method) for method, _weight in ordered]
        text = _("{method} alone", method=called[0])
        if len(ordered) > 1:
            share = N_("{share} % {method}")
            shares = [
                _(share, share=round(100 * own[1]), method=name) for name, own in zip(called, ordered, strict=True)
            ]
            text = listed(shares)
        parts.append(_(LEVELS.get(level, f"{{members}} {level}"), members=text))
    return joined(parts, ";")
