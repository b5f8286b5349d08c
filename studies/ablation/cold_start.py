"""Products without a history: held out on purpose, to measure how well they are forecast, and two simple baselines.

Nothing of a held-out product's sales is left: it is in no training, and in no mean of the others.

Axes: P products, L locations, T weeks, C cutoffs, H horizons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors

from shelfcast.data.schema import CHAIN
from shelfcast.judge.distribution import fit_dispersion
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.frame import LEVEL_FLOOR

NEIGHBOURS = 10
RECENT = 4  # weeks whose mean is what the category sells now: all its products together vary little
EARLIER_YEARS = ("year_ago", "season_own", "season_chain", "season_category")
NO_ATTRIBUTES = ["units", "text", "launch"]  # units would give the hidden history away


def hold_out(market: MarketTensors, products: list[str]) -> tuple[MarketTensors, MarketTensors]:
    """Split a market into the other products, to train on, and the held-out ones, to forecast.

    In both parts every product is marked `cold_start`, and `typical` is what the other products sold lately.

    Raises
    ------
    ValueError : an unknown product, or no product left.
    """
    if unknown := sorted(set(products) - set(market.products)):
        raise ValueError(
            f"cannot hold out {', '.join(unknown[:3])}: no products of the market. "
            f"It has {', '.join(market.products[:3])}, …"
        )
    held_out = torch.tensor([product in set(products) for product in market.products])
    if held_out.all():
        raise ValueError("all products are held out. At least one must be left to learn from.")
    typical = _recent_sales(market, ~held_out)
    return _part(market, ~held_out, typical), _part(market, held_out, typical)


def _recent_sales(market: MarketTensors, others: torch.Tensor) -> torch.Tensor:
    """(L, T) what the other products sold in the mean of the last weeks; their level where there are none."""
    # labels of week t are the sales of t + 1, so that the very first week's sales are no label
    sold = F.pad(market.tensors["labels"][others][..., :-1, 0].nanmean(0), (1, 0), value=torch.nan)
    recent = F.pad(sold, (RECENT - 1, 0), value=torch.nan).unfold(-1, RECENT, 1).nanmean(-1) + LEVEL_FLOOR
    return torch.where(recent.isnan(), market.tensors["level"][others].mean(0), recent)


def _part(market: MarketTensors, chosen: torch.Tensor, typical: torch.Tensor) -> MarketTensors:
    tensors = {name: tensor[chosen] for name, tensor in market.tensors.items()}
    tensors["typical"] = typical.expand_as(tensors["typical"])
    # A category's earlier years include the held-out products.
    earlier_years = torch.tensor([name.startswith(EARLIER_YEARS) for name in market.names["plan"]])
    tensors["plan"] = tensors["plan"].masked_fill(earlier_years, 0.0)
    products = [product for product, is_chosen in zip(market.products, chosen, strict=True) if is_chosen]
    tensors["cold_start"] = torch.ones(len(products), dtype=torch.bool)
    return replace(market, products=products, tensors=tensors)


# ---------------------------------------------------------------- baselines: (others, held out, attributes) -> (P, L, T)


def category_mean(others: MarketTensors, held_out: MarketTensors, attributes: pd.DataFrame) -> torch.Tensor:
    """What products of the category typically sell, (P held out, L, T) units a week."""
    return held_out.tensors["typical"]


def nearest_by_attributes(others: MarketTensors, held_out: MarketTensors, attributes: pd.DataFrame) -> torch.Tensor:
    """Geometric mean level of the ten products nearest by attributes and price, (P held out, L, T) units a week.

    Parameters
    ----------
    attributes : index product_id; text columns are compared for equality, numbers by distance in standard deviations.
        Where `held_out` is `others`, each product's neighbours are the other ones.
    """
    x = _coordinates(attributes, _price_levels(others) | _price_levels(held_out))
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(others) - 1)).fit(x.loc[others.products].to_numpy())
    queries = (
        None if held_out is others else x.loc[held_out.products].to_numpy()
    )  # None: no product is its own neighbour
    nearest = neighbours.kneighbors(queries, return_distance=False)
    return others.tensors["level"].log()[torch.tensor(nearest)].mean(1).exp()


def _price_levels(market: MarketTensors) -> dict[str, float]:
    column = market.names["static"].index("price_level")
    return dict(zip(market.products, market.tensors["static"][:, 0, column].tolist(), strict=True))


def _coordinates(attributes: pd.DataFrame, prices: dict[str, float]) -> pd.DataFrame:
    """Points whose distances compare products; two different values of a text column lie one apart."""
    own = attributes.drop(columns=NO_ATTRIBUTES, errors="ignore")
    numbers = own.select_dtypes("number").assign(price_level=pd.Series(prices))
    words = pd.get_dummies(own.select_dtypes(exclude="number").astype(str)).astype(float) / np.sqrt(2)
    return pd.concat([words, (numbers - numbers.mean()) / (numbers.std() + 1e-9)], axis=1).fillna(0.0)


Baseline = Callable[[MarketTensors, MarketTensors, pd.DataFrame], torch.Tensor]
BASELINES: dict[str, Baseline] = {"category_mean": category_mean, "nearest_by_attributes": nearest_by_attributes}


def forecast_baseline(
    name: str,
    others: MarketTensors,
    held_out: MarketTensors,
    attributes: pd.DataFrame,
    validation: list[pd.Timestamp],
    cutoffs: list[pd.Timestamp],
) -> pd.DataFrame:
    """The forecast frame of one of `BASELINES` for the held-out products.

    Parameters
    ----------
    validation : cutoffs whose labels of the other products fit the dispersions, one of the chain and one of regions.
    """
    horizon = held_out.tensors["labels"].shape[-1]
    level = BASELINES[name](others, held_out, attributes)
    dispersion = _dispersions(others, BASELINES[name](others, others, attributes), validation)  # L
    at = held_out.weeks_index.get_indexer(cutoffs)
    shape = (len(held_out), len(held_out.locations), len(cutoffs), horizon)
    mean = np.broadcast_to(level[:, :, at, None].double().numpy(), shape)
    y = held_out.tensors["labels"][:, :, at].double().numpy()
    keys = grid_keys(held_out.products, held_out.locations, cutoffs, y)
    return forecast_frame(keys, mean.ravel(), np.broadcast_to(dispersion[None, :, None, None], shape).ravel())


def _dispersions(market: MarketTensors, level: torch.Tensor, cutoffs: list[pd.Timestamp]) -> np.ndarray:
    """(L,) dispersions around a level (P, L, T), fitted to the labels at the cutoffs."""
    at = market.weeks_index.get_indexer(cutoffs)
    dispersion = np.empty(len(market.locations))
    for chain in (True, False):
        own = np.array([(location == CHAIN) == chain for location in market.locations])
        y = market.tensors["labels"][:, own][:, :, at].numpy()
        mean = np.broadcast_to(level[:, own][:, :, at, None].numpy(), y.shape)
        dispersion[own] = fit_dispersion(y[~np.isnan(y)], mean[~np.isnan(y)])
    return dispersion
