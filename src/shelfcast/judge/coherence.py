"""One rule for all methods: the chain is forecast directly, and its regions are scaled to add up to it.

Scaling regions to the chain was better than summing them up, because the chain is the less noisy of the two.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import QUANTILE_COLUMNS, law_quantiles
from shelfcast.judge.frame import forecast_frame, is_chain

SMALLEST = 1e-6  # units a week; regions that forecast less are as good as silent


def coherent_means(mean: np.ndarray) -> np.ndarray:
    """`coherent` of means alone, as arrays (P, L, …) with the chain first: regions are scaled to add up to it."""
    chain, regions = mean[:, :1], mean[:, 1:]
    own = regions.sum(1, keepdims=True)
    equal = np.broadcast_to(chain / max(regions.shape[1], 1), regions.shape)
    scaled = np.where(own < SMALLEST, equal, regions * chain / np.maximum(own, SMALLEST))
    return np.concatenate([chain, scaled], 1)


def coherent(frame: pd.DataFrame) -> pd.DataFrame:
    """Scale the means of a product's regions to add up to its chain's, and their quantiles with them.

    Where a method has a distribution, its quantiles are read again with the scaled mean, so that counts stay counts;
    where it gives quantiles alone, these are scaled by the same factor. Regions that are all zero get equal shares of
    the chain's mean and quantiles. Products without a chain or without regions stay as they are.

    Worked example: chain 6, regions 1 and 2: the regions become 2 and 4.

    Parameters
    ----------
    frame : forecast frame of one method; further columns are kept.
    """
    frame = frame.reset_index(drop=True)
    chain = is_chain(frame).to_numpy()
    product = frame["unique_id"].str.rsplit("|", n=1).str[0]
    keys = pd.DataFrame({"product": product, "cutoff": frame["cutoff"], "horizon": frame["horizon"]})
    group = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
    n_groups = group.max(initial=-1) + 1
    own = np.bincount(group[~chain], frame["mean"].to_numpy()[~chain], n_groups)
    n_regions = np.bincount(group[~chain], minlength=n_groups)
    row_of_chain = np.full(n_groups, -1)
    row_of_chain[group[chain]] = np.flatnonzero(chain)

    regions = ~chain & (row_of_chain[group] >= 0)
    silent = regions & (own[group] < SMALLEST)
    scaled = regions & ~silent
    above = row_of_chain[group]  # the chain's row of each row
    mean, quantiles = frame["mean"].to_numpy(copy=True), frame[QUANTILE_COLUMNS].to_numpy(copy=True)
    dispersion, unit = frame["dispersion"].to_numpy(copy=True), np.broadcast_to(frame.get("unit", 0.0), len(frame))
    chain_mean, chain_quantiles = mean.copy(), quantiles.copy()

    factor = chain_mean[above[scaled]] / own[group[scaled]]
    mean[scaled] *= factor
    quantiles[scaled] *= factor[:, None]
    share = 1 / np.maximum(n_regions[group[silent]], 1)
    mean[silent] = chain_mean[above[silent]] * share
    quantiles[silent] = chain_quantiles[above[silent]] * share[:, None]
    law = regions & ~np.isnan(dispersion)
    quantiles[law] = law_quantiles(mean[law], dispersion[law], unit=unit[law])

    out = forecast_frame(frame, mean, dispersion, quantiles, unit)
    return out.join(frame.drop(columns=out.columns, errors="ignore"))
