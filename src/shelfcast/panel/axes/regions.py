"""Where the stores lie: stores grouped to regions, and the graph of regions.

A `region` column or coordinates of `stores` decide where there are any; else shared shoppers do: two stores are near
when the same households shop in both. Only training weeks are seen; a store that opens later joins a region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse

from shelfcast.data import weekly
from shelfcast.data.schema import CHAIN
from shelfcast.data.tables import Tables
from shelfcast.settings import Prepare

PLACED = 0.5  # share of stores with coordinates from which on these group the stores
SETTLED = 0.5  # a store open in this share of training weeks may found a region


@dataclass(frozen=True)
class Stores:
    """What regions are made of.

    weeks : `weekly.store_weeks` of the training weeks.
    rows : of all categories in the training weeks, by store: its size. Not units, which coupons and fuel distort, and
        not the category's, so that a region has one name in all categories of a retailer.
    shared : S x S, by how much the same customers shop in two stores (products of log rows); None without customers.
    labels : region by store as the retailer names it; None where it names none, or one for all.
    coordinates : latitude and longitude by store, NaN where unknown; None where few stores have them.
    """

    weeks: pd.DataFrame
    rows: pd.Series
    shared: pd.DataFrame | None = None
    labels: pd.Series | None = None
    coordinates: pd.DataFrame | None = None


def find_regions(
    tables: Tables, store_weeks: pd.DataFrame, weeks: pd.DatetimeIndex, train_end: pd.Timestamp, prepare: Prepare
) -> tuple[dict[str, str], pd.DataFrame, pd.Index]:
    """Group all stores that sell in the observed `weeks`, of which those until `train_end` are for training.

    Parameters
    ----------
    store_weeks : see `weekly.store_weeks`.

    Returns
    -------
    regions : store -> region. graph : see `group_stores`. later : stores that sold nothing in training weeks.
    """
    training = weeks[weeks <= train_end]
    train = store_weeks[store_weeks["week"] <= tables.frequency.number(training[-1], weeks[0])]
    names = pd.Index(sorted(train["store_id"].unique()), name="store_id")
    later = pd.Index(sorted(set(store_weeks["store_id"]) - set(names)), name="store_id")
    customers = "customer_id" in tables.columns["transactions"]
    shopped = weekly.shopped_stores(tables, training) if customers else None
    stores = Stores(
        weeks=train,
        rows=train.groupby("store_id")["rows"].sum().reindex(names),
        shared=shared_shoppers(shopped, shopped, names, names) if customers and len(shopped) else None,
        labels=_labels(tables.stores, names.append(later)),
        coordinates=_coordinates(tables.stores, names.append(later)),
    )
    regions, graph = group_stores(stores, prepare.n_regions, prepare.seed)
    if len(later):
        joined = None
        if stores.shared is not None:
            joined = shared_shoppers(weekly.shopped_stores(tables, weeks, later), shopped, later, names)
        regions |= join_regions(later, regions, stores, joined)
    return regions, graph, later


def group_stores(stores: Stores, n_regions: int, seed: int) -> tuple[dict[str, str], pd.DataFrame]:
    """Store -> region, and the graph between regions: weights of 0 to 1.

    A retailer's own regions keep their names; others are called `region_1`, the largest by rows, and so
    on. The graph is exp(-distance / median distance) of the regions' centres where all have coordinates, else the cosine
    of their log baskets by customer, else 1 everywhere.
    """
    names = stores.rows.index
    if stores.labels is not None:
        codes = stores.labels.reindex(names)
    elif stores.coordinates is not None and _placed(stores.coordinates.reindex(names)):
        codes = _by_coordinates(stores, n_regions, seed)
    elif stores.shared is not None and len(names) > n_regions:
        codes = _by_shoppers(stores.shared, _settled(stores.weeks, names, n_regions), n_regions)
    else:  # neither geography nor shoppers: every store its own region, or one region for all
        codes = pd.Series(range(len(names)) if len(names) <= n_regions else 0, index=names)
    by_size = stores.rows.groupby(codes).sum().sort_values(ascending=False, kind="stable").index
    given = stores.labels is not None
    called = {code: str(code) if given else f"region_{i + 1}" for i, code in enumerate(by_size)}
    regions, order = codes.map(called), list(called.values())
    graph = _graph_of_distances(stores, regions, order)
    if graph is None and stores.shared is not None:
        inside = np.equal.outer(np.array(order), regions.to_numpy()).astype(float)
        graph = _cosine(inside @ stores.shared.to_numpy() @ inside.T)
    if graph is None:
        graph = np.ones((len(order), len(order)))
    return regions.to_dict(), pd.DataFrame(graph, index=order, columns=order)


def join_regions(
    later: pd.Index, regions: dict[str, str], stores: Stores, joined: pd.DataFrame | None
) -> dict[str, str]:
    """The regions of stores that opened after training: the given one where it exists, else that of the nearest store by
    coordinates, else that where its customers shopped, else the largest, which changes least.

    Parameters
    ----------
    joined : later stores x stores of the training weeks, see `Stores.shared`.
    """
    known = pd.Series(regions)
    largest = stores.rows.groupby(known).sum().idxmax()
    found = pd.Series(largest, later)
    if joined is not None:
        by_region = joined.T.groupby(known).sum().T
        found = by_region.idxmax(axis=1).where(by_region.gt(0).any(axis=1), found)
    if stores.coordinates is not None:
        placed = stores.coordinates.reindex(known.index).dropna()
        latitude = placed["latitude"].mean()
        unknown = stores.coordinates.loc[later].dropna() if len(placed) else placed
        for store, place in _even(unknown, latitude).iterrows():
            found[store] = known[(_even(placed, latitude) - place).pow(2).sum(axis=1).idxmin()]
    if stores.labels is not None:
        given = stores.labels[later]
        found = given.where(given.isin(known), found)
    return found.to_dict()


def with_chain(graph: pd.DataFrame) -> pd.DataFrame:
    """The graph with the chain as its first location, whose weights are 1."""
    names = [CHAIN, *graph.index]
    return graph.reindex(index=names, columns=names, fill_value=1.0)


def shared_shoppers(left: pd.DataFrame, right: pd.DataFrame, rows: pd.Index, columns: pd.Index) -> pd.DataFrame:
    """Sums over customers of the products of log(1 + rows) in two stores, of `rows` and of `columns`.

    Sparse matrices: most customers shop in few of the stores.

    Parameters
    ----------
    left, right : see `weekly.shopped_stores`.
    """
    customers = pd.Index(pd.concat([left["customer_id"], right["customer_id"]]).unique())

    def visits(shopped: pd.DataFrame, stores: pd.Index) -> scipy.sparse.csr_array:
        at = customers.get_indexer(shopped["customer_id"]), stores.get_indexer(shopped["store_id"])
        return scipy.sparse.csr_array((np.log1p(shopped["rows"]), at), (len(customers), len(stores)))

    shared = visits(left, rows).T @ visits(right, columns)
    return pd.DataFrame(shared.toarray(), index=rows, columns=columns)


def _labels(stores: pd.DataFrame | None, names: pd.Index) -> pd.Series | None:
    """The retailer's regions by store; None where it names fewer than two."""
    if stores is None or "region" not in stores:
        return None
    labels = stores.set_index("store_id")["region"].reindex(names)
    labels = labels.convert_dtypes().astype("string").str.strip().replace("", pd.NA)
    if labels.nunique() < 2:
        return None
    empty = labels.index[labels.isna()]
    cure = "or rename the column (markets.<name>.rename), so that coordinates or shoppers decide"
    if len(empty):
        raise ValueError(
            f"stores.region is empty for {len(empty)} of {len(names)} stores that sell, such as {list(empty[:3])}. "
            f"Fill it, {cure}."
        )
    wrong = labels[labels.str.contains("|", regex=False) | (labels == CHAIN)]
    if len(wrong):
        raise ValueError(
            f"stores.region is {wrong.iloc[0]!r} for store {wrong.index[0]!r}: '{CHAIN}' is the name of all stores "
            f"together, and '|' parts product and location in a series' name. Write it otherwise, {cure}."
        )
    return labels.astype(object)


def _coordinates(stores: pd.DataFrame | None, names: pd.Index) -> pd.DataFrame | None:
    if stores is None or not {"latitude", "longitude"} <= set(stores):
        return None
    coordinates = stores.set_index("store_id")[["latitude", "longitude"]].reindex(names).astype(float)
    return coordinates if _placed(coordinates) else None


def _placed(coordinates: pd.DataFrame) -> bool:
    """Whether enough stores have coordinates for these to group them."""
    return bool(coordinates.notna().all(axis=1).mean() >= PLACED)


def _settled(store_weeks: pd.DataFrame, stores: pd.Index, n_regions: int) -> pd.Index:
    """Stores that may found a region; all where those are too few."""
    n_open = store_weeks.groupby("store_id")["week"].nunique().reindex(stores)
    settled = n_open[n_open >= SETTLED * store_weeks["week"].nunique()].index
    return settled if len(settled) > n_regions else stores


def _by_coordinates(stores: Stores, n_regions: int, seed: int) -> pd.Series:
    """K-means; a store without coordinates joins the others as `join_regions` says."""
    from sklearn.cluster import KMeans  # here, as it takes a second

    placed = stores.coordinates.reindex(stores.rows.index).dropna()
    n = min(n_regions, len(placed.drop_duplicates()))
    codes = pd.Series(KMeans(n, n_init=10, random_state=seed).fit_predict(placed), index=placed.index)
    lost = stores.rows.index.difference(placed.index)
    if len(lost):
        others = None if stores.shared is None else stores.shared.loc[lost, placed.index]
        unplaced = Stores(stores.weeks, stores.rows.reindex(placed.index))
        joined = join_regions(lost, codes.to_dict(), unplaced, others)
        codes = pd.concat([codes, pd.Series(joined)])
    return codes.reindex(stores.rows.index)


def _by_shoppers(shared: pd.DataFrame, settled: pd.Index, n_regions: int) -> pd.Series:
    """Spectral clustering of the settled stores by the cosine of log baskets; a small store joins the region where its
    shoppers mostly shop."""
    near = _cosine(shared.loc[settled, settled].to_numpy())
    np.fill_diagonal(near, 0)
    near += 1e-6  # keeps a store with no shared shopper in one graph with the rest
    codes = pd.Series(spectral_clusters(near, n_regions), index=settled)
    of_region = np.equal.outer(codes.to_numpy(), np.arange(n_regions)).astype(float)
    mostly = pd.Series((shared[settled].to_numpy() @ of_region).argmax(1), index=shared.index)
    return codes.reindex(shared.index).fillna(mostly).astype(int)


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


def _even(coordinates: pd.DataFrame, latitude: float) -> pd.DataFrame:
    """Coordinates in degrees of latitude: at a `latitude`, a degree east is shorter than one north."""
    return coordinates * [1, np.cos(np.radians(latitude))]


def _graph_of_distances(stores: Stores, regions: pd.Series, order: list[str]) -> np.ndarray | None:
    """None where a region has no store with coordinates, or there is one region alone."""
    if stores.coordinates is None or len(order) < 2:
        return None
    placed = stores.coordinates.reindex(regions.index).dropna()
    own = regions[placed.index]
    if set(own) != set(order):
        return None
    even, weight = (
        _even(placed, placed["latitude"].mean()),
        stores.weeks.groupby("store_id")["units"].sum()[placed.index],
    )
    centres = np.stack([np.average(even[own == name], axis=0, weights=weight[own == name]) for name in order])
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    return np.exp(-distance / (np.median(distance[distance > 0]) if distance.any() else 1))


def _cosine(products: np.ndarray) -> np.ndarray:
    """Cosines of vectors by their inner products."""
    norm = np.maximum(np.sqrt(np.diag(products)), 1e-9)
    return products / np.outer(norm, norm)
