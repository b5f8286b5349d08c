"""Standard errors of an effect from cross-fitted residuals, clustered, and within strata of products where asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEAST = 2  # products of a stratum; those of smaller ones are put together


def strata_of(frame: pd.DataFrame, column: str) -> np.ndarray:
    """The stratum of each row: the column's value, and one stratum for all values of a single product or of none.

    Raises
    ------
    ValueError : so many strata that products hardly share them.
    """
    n_products = frame.groupby(column)["product_id"].nunique()
    values = frame[column].where(frame[column].isin(n_products.index[n_products >= LEAST]), "")
    if frame["product_id"].nunique() < LEAST * values.nunique():
        raise ValueError(
            f"{values.nunique()} values of {column!r} are too many for {frame['product_id'].nunique()} products. "
            "Choose a column that more products share, or none."
        )
    return values.to_numpy()


def clustered_se(residuals: pd.DataFrame, clusters: tuple[str, ...], strata: np.ndarray | None = None) -> float:
    """Clustered standard error of an effect: of y on d, with z as the instrument where there is a column z.

    With two ways of clustering their variances are added and that of their intersections is taken away (Cameron, Gelbach
    & Miller 2011). Where clusters are so few that nothing above zero is left, the larger way alone counts.

    With `strata` (a value a row) residuals are those of an effect of its own in each stratum, which takes the differences
    between strata out, as in a stratified sample (Cochran 1977; Abadie et al. 2023): clusters in a stratum that is always
    there are no draw from all strata. Each way's variance grows by (n - 1) / (n - strata), n its clusters, where strata
    are not spread over its clusters.
    """
    sales, treatment = residuals["y"].to_numpy(), residuals["d"].to_numpy()
    mover = residuals["z"].to_numpy() if "z" in residuals else treatment
    effect = (mover @ sales) / (mover @ treatment)
    own = np.full(len(sales), effect) if strata is None else _by_stratum(mover, sales, treatment, strata)
    scores = mover * (sales - own * treatment)

    def variance(names: list[str]) -> float:
        sums = np.bincount(residuals.groupby(names).ngroup(), scores)
        nested = strata is not None and residuals.groupby(names).ngroup().groupby(strata).nunique().sum() == len(sums)
        lost = len(pd.unique(strata)) if nested else 1
        return float((sums**2).sum() * len(sums) / (len(sums) - lost))

    alone = [variance([name]) for name in clusters]
    together = sum(alone) - variance(list(clusters)) if len(clusters) > 1 else alone[0]
    return float(np.sqrt(together if together > 0 else max(alone)) / abs(mover @ treatment))


def _by_stratum(mover: np.ndarray, sales: np.ndarray, treatment: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """A row each: the effect within its stratum."""
    code = pd.factorize(strata)[0]
    return (np.bincount(code, mover * sales) / np.bincount(code, mover * treatment))[code]
