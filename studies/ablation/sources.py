"""A market's tensors without one data source, or with the source replaced by something without information.

The scores of models trained so, compared with those of the whole model, show what each source contributes; a
replaced source shows what chance contributes.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from shelfcast.data.schema import CHAIN
from shelfcast.model.tensors import MarketTensors

SOURCES = ("text", "picture", "behavior", "space", "plan")
SHUFFLED = ("text", "picture", "space")
SHOPPERS = {"buyers", "baskets", "repeat_share", "coupons"}  # shoppers' behaviour in the transactions
PRICES = {"price_level", "price_ratio", "discount", "mean_promoted", "mean_unpromoted", "promo_known"}
PRICES |= {"promotion_8", "weeks_since_promotion", "share_weeks_promoted"}
CALENDAR = {  # known-future columns that are no plan
    "holiday",
    "holiday_next",
    "month_start",
    "season_sin",
    "season_cos",
    "year_ago",
    "year_ago_category",
    "season_own",
    "season_chain",
    "season_category",
    "on_sale",
    "age",
}


def remove(market: MarketTensors, source: str) -> MarketTensors:
    """Take one of `SOURCES` away: its columns are at their mean, its texts or pictures absent.

    'behavior' : events, and what baskets and customers show. 'plan' : promotions and prices, planned and past.
    'space' : attributes of stores; attention between locations is left out by the model's configuration.
    """
    _check(source, SOURCES, "take away")
    tensors = dict(market.tensors)
    if source in ("text", "picture"):
        tensors[f"has_{source}"] = torch.zeros_like(tensors[f"has_{source}"])
        return replace(market, tensors=tensors)
    columns = {name for names in market.names.values() for name in names if _belongs(name, source, market)}
    for field in ("static", "weeks", "plan"):
        removed = torch.tensor([name in columns for name in market.names[field]], dtype=torch.bool)
        tensors[field] = tensors[field].masked_fill(removed, 0.0)
    # Without a scale too: else the noise of the levels in training could be read from such a column.
    scale = {name: [mean, 0.0 if name in columns else deviation] for name, (mean, deviation) in market.scale.items()}
    return replace(market, tensors=tensors, scale=scale)


def _belongs(column: str, source: str, market: MarketTensors) -> bool:
    """Whether a column comes from 'space', 'behavior' or 'plan'."""
    if source == "space":
        return column.startswith("store_")
    if source == "behavior":
        return column.startswith("event_") or column in SHOPPERS
    of_calendar = column in CALENDAR or column.startswith("holiday: ")
    return column in PRICES or (column in market.names["plan"] and not of_calendar)


def shuffle(market: MarketTensors, source: str, seed: int) -> MarketTensors:
    """Replace one of `SHUFFLED`: another product's text, noise for a picture, or regions exchanged on the map.

    Exchanged regions have each other's edges of the graph and each other's attributes of stores.
    """
    _check(source, SHUFFLED, "shuffle")
    tensors, generator = dict(market.tensors), torch.Generator().manual_seed(seed)
    if source == "text":
        order = torch.randperm(len(market), generator=generator)
        for field in ("input_ids", "text_mask", "has_text"):
            tensors[field] = tensors[field][order]
    elif source == "picture":
        tensors["picture"] = torch.randn(tensors["picture"].shape, generator=generator)
    else:
        order = _exchanged_regions(market, generator)
        tensors["graph"] = tensors["graph"][:, order][:, :, order]
        of_stores = torch.tensor([name.startswith("store_") for name in market.names["static"]], dtype=torch.bool)
        tensors["static"] = torch.where(of_stores, tensors["static"][:, order], tensors["static"])
    return replace(market, tensors=tensors)


def _exchanged_regions(market: MarketTensors, generator: torch.Generator) -> torch.Tensor:
    """An order of the locations that permutes the regions; the chain stays where it is."""
    regions = torch.tensor([i for i, name in enumerate(market.locations) if name != CHAIN])
    order = torch.arange(len(market.locations))
    order[regions] = regions[torch.randperm(len(regions), generator=generator)]
    return order


def _check(source: str, sources: tuple[str, ...], verb: str) -> None:
    if source not in sources:
        raise ValueError(f"cannot {verb} {source!r}. Choose one of {', '.join(sources)}.")
