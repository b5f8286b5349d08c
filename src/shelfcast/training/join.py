"""Several categories of one retailer as one market, for the base to learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import pad

from shelfcast.model.tensors import MarketTensors, market_tensors
from shelfcast.panel.frame import Panel


def join(panels: list[Panel], tokenizer) -> MarketTensors:
    """Product after product, scaled together.

    Raises
    ------
    ValueError : a panel whose columns, locations or weeks are not those of the first.
    """
    for panel in panels[1:]:
        _check_alike(panels[0], panel)
    parts = [market_tensors(panel, tokenizer) for panel in panels]
    scale = _joint_scale(parts)
    parts = [market_tensors(panel, tokenizer, scale=scale) for panel in panels]
    longest = max(part.tensors["input_ids"].shape[1] for part in parts)
    tensors = {}
    for field in parts[0].tensors:
        own = [part.tensors[field] for part in parts]
        if field in ("input_ids", "text_mask"):
            own = [pad(x, (0, longest - x.shape[1])) for x in own]
        tensors[field] = torch.cat(own)
    products = [product for part in parts for product in part.products]
    return replace(parts[0], products=products, tensors=tensors, scale=scale)


def _check_alike(first: Panel, other: Panel) -> None:
    def parts(panel: Panel) -> dict[str, list[str]]:
        weeks = [str(week.date()) for week in panel.weeks]
        return panel.roles | {"locations": list(panel.locations.index), "weeks": weeks}

    for name, values in parts(first).items():
        if different := sorted(set(values) ^ set(parts(other)[name])):
            categories = " and ".join(repr(panel.meta.get("category")) for panel in (first, other))
            raise ValueError(
                f"categories {categories} differ in {name}: {', '.join(different[:5])}. Only categories of one retailer "
                "with the same columns can be learned together; leave one out."
            )


def _joint_scale(parts: list[MarketTensors]) -> dict[str, list[float]]:
    """Mean and standard deviation of each column over all products together."""
    n, scale = [len(part) for part in parts], {}
    for column in parts[0].scale:
        means, deviations = np.array([part.scale[column] for part in parts]).T
        mean = np.average(means, weights=n)
        variance = np.average(deviations**2 + (means - mean) ** 2, weights=n)
        scale[column] = [float(mean), float(variance**0.5)]
    return scale
