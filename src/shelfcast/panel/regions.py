"""Where the stores lie: stores grouped to regions, and the graph of regions.

A `region` column or coordinates of `stores` decide where there are any; else shared shoppers do: two stores are near
when the same households shop in both. Only training weeks are seen.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.linalg

from shelfcast.data import weekly
from shelfcast.data.schema import CHAIN
from shelfcast.data.tables import Tables
from shelfcast.settings import Prepare

SETTLED = 0.5  # a store open in this share of training weeks may found a region


def find_regions(tables: Tables, weeks: pd.DatetimeIndex, prepare: Prepare) -> tuple[dict[str, str], pd.DataFrame]:
    """Store -> region, and the graph between regions, of the stores that sell in `weeks`; see `group_stores`."""
    store_weeks = weekly.store_weeks(tables, weeks)
    shopped = weekly.shopped_stores(tables, weeks) if "customer_id" in tables.columns["transactions"] else None
    return group_stores(store_weeks, shopped, tables.stores, prepare.n_regions, prepare.seed)


def group_stores(
    store_weeks: pd.DataFrame, shopped: pd.DataFrame | None, stores: pd.DataFrame | None, n_regions: int, seed: int
) -> tuple[dict[str, str], pd.DataFrame]:
    """Store -> region, and the graph between regions: weights of 0 to 1.

    The graph is exp(-distance / median distance) of the regions' centres where there are coordinates, else the cosine
    of their log baskets by customer, else 1 everywhere. `region_1` is the largest region.

    Parameters
    ----------
    store_weeks : see `weekly.store_weeks`. shopped : see `weekly.shopped_stores`; None without customers.
    """
    volume = store_weeks.groupby("store_id")["units"].sum().sort_index()
    visits = None if shopped is None else _log_visits(shopped, volume.index)
    coordinates = None
    if stores is not None and {"latitude", "longitude"} <= set(stores):
        coordinates = stores.set_index("store_id")[["latitude", "longitude"]].reindex(volume.index)
    if stores is not None and "region" in stores:
        label = stores.set_index("store_id")["region"].reindex(volume.index)
        codes = label.rank(method="dense").astype(int) - 1
    elif coordinates is not None:
        codes = _by_coordinates(coordinates, n_regions, seed)
    elif visits is not None and len(volume) > n_regions:
        codes = _by_shoppers(visits, _settled(store_weeks, volume.index, n_regions), n_regions)
    else:  # neither geography nor shoppers: every store its own region, or one region for all
        codes = pd.Series(range(len(volume)) if len(volume) <= n_regions else 0, index=volume.index)
    by_size = volume.groupby(codes).sum().sort_values(ascending=False, kind="stable").index
    names = {code: f"region_{i + 1}" for i, code in enumerate(by_size)}
    regions, order = codes.map(names), list(names.values())
    if coordinates is not None and len(order) > 1:
        graph = _graph_of_distances(coordinates, regions, volume, order)
    elif visits is not None:
        graph = _cosine(np.stack([visits[regions.index[regions == name]].sum(axis=1) for name in order]))
    else:
        graph = np.ones((len(order), len(order)))
    return regions.to_dict(), pd.DataFrame(graph, index=order, columns=order)


def with_chain(graph: pd.DataFrame) -> pd.DataFrame:
    """The graph with the chain as its first location, whose weights are 1."""
    names = [CHAIN, *graph.index]
    return graph.reindex(index=names, columns=names, fill_value=1.0)


def _log_visits(shopped: pd.DataFrame, stores: pd.Index) -> pd.DataFrame:
    """Customer x store: log of one plus rows."""
    visits = shopped.pivot(index="customer_id", columns="store_id", values="rows").reindex(columns=stores)
    return np.log1p(visits.fillna(0))


def _settled(store_weeks: pd.DataFrame, stores: pd.Index, n_regions: int) -> pd.Index:
    """Stores that may found a region; all where those are too few."""
    n_open = store_weeks.groupby("store_id")["week"].nunique().reindex(stores)
    settled = n_open[n_open >= SETTLED * store_weeks["week"].nunique()].index
    return settled if len(settled) > n_regions else stores


def _by_coordinates(coordinates: pd.DataFrame, n_regions: int, seed: int) -> pd.Series:
    from sklearn.cluster import KMeans  # here, as it takes a second

    n = min(n_regions, len(coordinates.drop_duplicates()))
    return pd.Series(KMeans(n, n_init=10, random_state=seed).fit_predict(coordinates), index=coordinates.index)


def _by_shoppers(visits: pd.DataFrame, settled: pd.Index, n_regions: int) -> pd.Series:
    """Spectral clustering of the settled stores by the cosine of log baskets; a small store joins the region where its
    shoppers mostly shop."""
    near = _cosine(visits[settled].to_numpy().T)
    np.fill_diagonal(near, 0)
    near += 1e-6  # keeps a store with no shared shopper in one graph with the rest
    codes = pd.Series(spectral_clusters(near, n_regions), index=settled)
    of_region = np.stack([visits[settled[codes == k]].sum(axis=1) for k in range(n_regions)], 1)
    mostly = pd.Series((visits.T.to_numpy() @ of_region).argmax(1), index=visits.columns)
    return codes.reindex(visits.columns).fillna(mostly).astype(int)


def spectral_clusters(affinity: np.ndarray, n: int) -> np.ndarray:
    """A number of 0 to n - 1 for each node: spectral clustering with labels by pivoted QR (Damle, Minden, Ying 2019).

    It gives what scikit-learn's SpectralClustering gives with `assign_labels="cluster_qr"`, without its import, which
    takes a second.
    """
    affinity = affinity * (1 - np.eye(len(affinity)))
    root = np.sqrt(affinity.sum(0))
    last = (len(affinity) - n, len(affinity) - 1)
    _, vectors = scipy.linalg.eigh(affinity / np.outer(root, root), subset_by_index=last)
    nodes = vectors / root[:, None]  # each node as a point, of which n are chosen as far apart as possible
    _, _, order = scipy.linalg.qr(nodes.T, pivoting=True)
    left, _, right = scipy.linalg.svd(nodes[order[:n]].T)
    return np.abs(nodes @ (left @ right)).argmax(1)


def _graph_of_distances(
    coordinates: pd.DataFrame, regions: pd.Series, volume: pd.Series, order: list[str]
) -> np.ndarray:
    even = coordinates * [
        1,
        np.cos(np.radians(coordinates["latitude"].mean())),
    ]  # a degree east is shorter than one north
    centres = [np.average(even[regions == name], axis=0, weights=volume[regions == name]) for name in order]
    distance = np.linalg.norm(np.stack(centres)[:, None] - np.stack(centres)[None], axis=-1)
    return np.exp(-distance / (np.median(distance[distance > 0]) if distance.any() else 1))


def _cosine(x: np.ndarray) -> np.ndarray:
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return x @ x.T
