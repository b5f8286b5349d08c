"""Several categories of one retailer as one market, for the base to learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch.nn.functional import pad

from shelfcast.model.tensors import MAX_TEXT, MarketTensors, market_tensors
from shelfcast.panel.frame import Panel

TEXT_FIELDS = ("input_ids", "text_mask")


def join(panels: list[Panel], tokenizer) -> MarketTensors:
    """Product after product, scaled together.

    Raises
    ------
    ValueError : a panel whose columns, locations or weeks are not those of the first.
    """
    for panel in panels[1:]:
        _check_alike(panels[0], panel)
    scale = _joint_scale(panels, tokenizer)
    n_products, start, tensors, products = sum(len(panel.products) for panel in panels), 0, {}, []
    for panel in panels:  # into tensors of the final size: all parts together would take as much memory again
        part = market_tensors(panel, tokenizer, scale=scale)
        for field, x in part.tensors.items():
            x = pad(x, (0, MAX_TEXT - x.shape[1])) if field in TEXT_FIELDS else x
            if field not in tensors:
                tensors[field] = x.new_empty(n_products, *x.shape[1:])
            tensors[field][start : start + len(part)] = x
        start += len(part)
        products += part.products
    longest = int(tensors["text_mask"].any(0).sum())
    tensors |= {field: tensors[field][:, :longest].contiguous() for field in TEXT_FIELDS}
    return replace(part, products=products, tensors=tensors, scale=scale)


def _check_alike(first: Panel, other: Panel) -> None:
    def parts(panel: Panel) -> dict[str, list[str]]:
        weeks = [str(week.date()) for week in panel.weeks]
        stores = [f"{store} in {region}" for store, region in panel.meta["regions"].items()]
        return panel.roles | {"locations": list(panel.locations.index), "stores": stores, "weeks": weeks}

    for name, values in parts(first).items():
        if different := sorted(set(values) ^ set(parts(other)[name])):
            categories = " and ".join(repr(panel.meta.get("category")) for panel in (first, other))
            raise ValueError(
                f"categories {categories} differ in {name}: {', '.join(different[:5])}. Only categories of one retailer "
                "with the same columns can be learned together; leave one out."
            )


def _joint_scale(panels: list[Panel], tokenizer) -> dict[str, list[float]]:
    """Mean and standard deviation of each column over all products together."""
    n, scale = [len(panel.products) for panel in panels], {}
    scales = [market_tensors(panel, tokenizer).scale for panel in panels]
    for column in scales[0]:
        means, deviations = np.array([own[column] for own in scales]).T
        mean = np.average(means, weights=n)
        variance = np.average(deviations**2 + (means - mean) ** 2, weights=n)
        scale[column] = [float(mean), float(variance**0.5)]
    return scale
