"""Where the stores lie: stores grouped to regions, and the graph of regions.

A `region` column or coordinates of `stores` decide where there are any; else shared shoppers do: two stores are near
when the same households shop in both. Only training weeks are seen.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN

SETTLED = 0.5  # a store open in this share of training weeks may found a region


def group_stores(train: pd.DataFrame, stores: pd.DataFrame | None, n_regions: int, seed: int):
    """Store -> region and the graph between regions.

    A `region` column or coordinates of `stores` decide where there are any; else shared shoppers do: two stores are
    near when the same households shop in both (cosine of log baskets), and spectral clustering of the settled stores
    gives the regions. A small store joins the region where its shoppers mostly shop. The graph is
    exp(-distance / median distance) of the regions' centres where there are coordinates, else that of shared shoppers.
    """
    from sklearn.cluster import KMeans, SpectralClustering  # here, as everything that loads a panel imports this module

    volume = train.groupby("store_id")["quantity"].sum().sort_index()
    shared = place = None
    if "customer_id" in train:
        visits = train.groupby(["customer_id", "store_id"]).size().unstack(fill_value=0)
        shared = np.log1p(visits.reindex(columns=volume.index, fill_value=0))
    if stores is not None and {"latitude", "longitude"} <= set(stores):
        place = stores.set_index("store_id")[["latitude", "longitude"]].reindex(volume.index)
    if stores is not None and "region" in stores:
        label = stores.set_index("store_id")["region"].reindex(volume.index)
        codes = label.rank(method="dense").astype(int) - 1
    elif place is not None:
        k = min(n_regions, len(place.drop_duplicates()))
        codes = pd.Series(KMeans(k, n_init=10, random_state=seed).fit_predict(place), index=volume.index)
    elif shared is not None and len(volume) > n_regions:
        weeks_open = train.groupby("store_id")["week"].nunique().reindex(volume.index)
        settled = weeks_open[weeks_open >= SETTLED * train["week"].nunique()].index
        settled = settled if len(settled) > n_regions else volume.index
        near = _cosine(shared[settled].to_numpy().T)
        np.fill_diagonal(near, 0)
        near += 1e-6  # keeps a store with no shared shopper in one graph with the rest
        clusters = SpectralClustering(n_regions, affinity="precomputed", assign_labels="cluster_qr", random_state=seed)
        codes = pd.Series(clusters.fit_predict(near), index=settled)
        joins = shared.T.to_numpy() @ np.stack([shared[settled[codes == k]].sum(axis=1) for k in range(n_regions)], 1)
        codes = codes.reindex(volume.index).fillna(pd.Series(joins.argmax(1), index=volume.index)).astype(int)
    else:  # neither geography nor shoppers: every store its own region, or one region for all
        codes = pd.Series(range(len(volume)) if len(volume) <= n_regions else 0, index=volume.index)
    size = volume.groupby(codes).sum().sort_values(ascending=False, kind="stable").index
    names = {code: f"region_{i + 1}" for i, code in enumerate(size)}  # region_1 is the largest
    regions = codes.map(names)
    order = list(names.values())
    if place is not None and len(order) > 1:
        miles = place * [1, np.cos(np.radians(place["latitude"].mean()))]  # a degree east is shorter than one north
        centre = np.stack([np.average(miles[regions == r], axis=0, weights=volume[regions == r]) for r in order])
        far = np.linalg.norm(centre[:, None] - centre[None], axis=-1)
        graph = np.exp(-far / (np.median(far[far > 0]) if far.any() else 1))
    elif shared is None:
        graph = np.ones((len(order), len(order)))
    else:
        graph = _cosine(np.stack([shared[regions.index[regions == r]].sum(axis=1) for r in order]))
    return regions.to_dict(), pd.DataFrame(graph, index=order, columns=order)


def _cosine(x: np.ndarray) -> np.ndarray:
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return x @ x.T


def with_chain(graph: pd.DataFrame) -> pd.DataFrame:
    names = [CHAIN, *graph.index]
    return graph.reindex(index=names, columns=names, fill_value=1.0)
