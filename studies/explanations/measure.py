"""Explain the same forecasts by every method: one row per forecast and method, with contributions and curves.

Columns of a frame of explanations: product_id, location, cutoff; method ('shapley', 'gradients', 'attention', 'rollout',
on a simulated market 'truth', and 'random', which has curves alone); usual, forecast; a column per group of inputs;
`deletion_<k>` and `insertion_<k>`: distance to the forecast in units after k groups.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.why.explain.attention import Attention, attention
from shelfcast.why.explain.frames import Variant
from shelfcast.why.explain.gradients import attributions
from shelfcast.why.explain.groups import Group, group_of_past, group_of_plan, groups_of
from shelfcast.why.explain.shapley import shapley
from shelfcast.why.explain.usual import read_inputs
from shelfcast.why.explain.value import coalition_units, coalitions
from studies.explanations import truth

METHODS = ("shapley", "gradients", "attention", "rollout")
KEYS = ["product_id", "location", "cutoff"]
HISTORY = 26  # weeks that a product must have been on sale
BATCH = 8  # products at a time


def choose_products(variant: Variant, cutoff: pd.Timestamp, n: int) -> list[int]:
    """Numbers of n products with a history at the cutoff, spread evenly over their ranks by units."""
    frame = variant.panel.frame
    sold = frame[(frame["location"] == variant.market.locations[0]) & (frame["ds"] <= cutoff)]
    weeks = sold.groupby("product_id")["y"].count().reindex(variant.market.products)
    settled = np.flatnonzero(weeks >= HISTORY)
    by_units = settled[np.argsort(-variant.panel.products["units"].to_numpy()[settled], kind="stable")]
    return sorted(by_units[np.linspace(0, len(by_units) - 1, min(n, len(by_units))).round().astype(int)].tolist())


def choose_cutoffs(variant: Variant, n: int) -> list[pd.Timestamp]:
    test = variant.panel.cutoffs["test"]
    return [test[i] for i in np.linspace(0, len(test) - 1, min(n, len(test))).round().astype(int)]


def shuffled(model: SalesBert, seed: int = 0) -> SalesBert:
    """The model with the values of each weight in another order: as large, and meaningless."""
    generator, model = torch.Generator().manual_seed(seed), copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.flatten()[torch.randperm(p.numel(), generator=generator)].view_as(p))
    return model


def explain_all(
    variant: Variant,
    cutoffs: list[pd.Timestamp],
    n_products: int,
    locations: list[str],
    market_truth: dict | None = None,
) -> pd.DataFrame:
    """The explanations by every method of the units that the variant's models forecast, all horizons together."""
    frames = []
    for cutoff in cutoffs:
        rows = choose_products(variant, cutoff, n_products)
        batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        for batch in tqdm(batches, desc=f"{cutoff:%Y-%m-%d}"):
            frames += _explain(variant, batch, cutoff, locations, market_truth)
    return pd.concat(frames, ignore_index=True)


def _explain(
    variant: Variant, rows: list[int], cutoff: pd.Timestamp, locations: list[str], market_truth: dict | None
) -> list[pd.DataFrame]:
    market, models = variant.market, variant.models
    inputs, groups = read_inputs(market, rows, cutoff), groups_of(market)
    names, products = [g.name for g in groups], [market.products[i] for i in rows]
    units = coalition_units(models, inputs, groups).sum(-1)  # 2^G B L
    if market_truth is not None:
        level = market.size * inputs.context["level"].numpy()
        true = truth.true_units(market_truth, products, cutoff, variant.panel.stores_by_location, level).sum(-1)
    frames = []
    for location in locations:
        where = market.locations.index(location)
        own = units[:, :, where]
        scores = {"shapley": shapley(own), "gradients": attributions(models, inputs, groups, where).groups}
        for name, rollout in (("attention", False), ("rollout", True)):
            scores[name] = attention_by_group(attention(models, inputs, where, rollout), market, groups, where)
        keys = {"product_id": products, "location": location, "cutoff": cutoff}
        for name, contributions in scores.items():
            values = dict(zip(names, contributions, strict=True)) | {"usual": own[0], "forecast": own[-1]}
            frames.append(
                pd.DataFrame(keys | {"method": name} | values | _curves(own, np.argsort(-np.abs(contributions), 0)))
            )
        frames.append(pd.DataFrame(keys | {"method": "random"} | _curves(own)))
        if market_truth is not None:
            values = dict(zip(truth.GROUPS, shapley(true[:, :, where]), strict=True))
            values |= {"usual": true[0, :, where], "forecast": true[-1, :, where]}
            frames.append(pd.DataFrame(keys | {"method": "truth"} | values))
    return frames


def attention_by_group(
    attended: Attention, market: MarketTensors, groups: list[Group], location: int = 0
) -> np.ndarray:
    """(G, B): attention read as if it explained groups of inputs.

    Attention to weeks at the location is shared among groups by how many of the weeks' columns are theirs by name (past
    promotions count for promotion), that at other locations counts for the regions, and the product's token for its text
    and picture. This is the kindest reading: attention has no entry for the plan of the coming weeks.
    """
    names = [group.name for group in groups]
    owners = [
        group_of_plan(c, market.planned) if c in market.names["plan"] else group_of_past(c, False)
        for c in market.names["weeks"]
    ]
    here = attended.weeks[:, location].sum(1)
    scores = {name: owners.count(name) / len(owners) * here for name in names}
    if "regions" in scores:
        scores["regions"] = attended.weeks.sum((1, 2)) - here
    of_product = [name for name in ("text", "picture") if name in scores]
    for name in of_product:
        scores[name] = attended.product / len(of_product)
    if "text" in scores:
        scores["text"] = scores["text"] + attended.words.sum(1)
    return np.stack([scores[name] for name in names])


def _curves(units: np.ndarray, order: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Columns of both curves for B products; units (2^G, B), order (G, B), the mean over all orders where none is given."""
    if order is None:
        curves = [random_curves(units[:, i]) for i in range(units.shape[1])]
    else:
        curves = [order_curves(units[:, i], order[:, i]) for i in range(units.shape[1])]
    columns = {}
    for name, rows in zip(("deletion", "insertion"), zip(*curves, strict=True), strict=True):
        columns |= {f"{name}_{k}": x for k, x in enumerate(np.stack(rows, 1))}
    return columns


def order_curves(units: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the forecast is from the whole one while groups are taken away, and while they are added, in an order.

    Parameters
    ----------
    units : (2^G,) of every set of groups, in the order of `value.coalitions`. order : (G,), the most important first.

    Returns
    -------
    Deletion and insertion, each (G + 1,): distance to ``units[-1]`` after 0, 1, …, G groups. A good order has a large
    area below the first and a small one below the second.
    """
    bits = np.concatenate([[0], np.cumsum(1 << np.asarray(order))])
    return np.abs(units[len(units) - 1 - bits] - units[-1]), np.abs(units[bits] - units[-1])


def random_curves(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of `order_curves` over all orders, exactly: over all sets of a size."""
    size = coalitions(len(units).bit_length() - 1).sum(1)
    by_size = np.bincount(size, np.abs(units - units[-1])) / np.bincount(size)
    return by_size[::-1], by_size


def with_models(variant: Variant, models: list[SalesBert]) -> Variant:
    return replace(variant, models=models)
