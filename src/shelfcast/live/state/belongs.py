"""Whether models can be continued week by week, and whether a market is the one that a state belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from shelfcast.model.adapters import ENCODER
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

FIXED = ("input_ids", "text_mask", "has_text", "picture", "has_picture", "static", "graph")  # what no week changes


def check_models(models: Sequence[SalesBert], market: MarketTensors) -> None:
    """Raise a ValueError where a state of these models would not be what a full recomputation is."""
    if not models:
        raise ValueError("there is no model to keep the state of. Give those that `load_models` returns.")
    if "cold_start" in market.tensors:
        raise ValueError("the market is read as if all products were new, which no week changes. Give it as it is.")
    sizes = market.sizes()
    for model in models:
        if model.training:
            raise ValueError("a model is in training mode, in which it drops tokens by chance. Call its eval() first.")
        if model.body is None and _quantised(model):
            raise ValueError(
                "int8 layers that carry the weeks round by all weeks of a batch, so that a week alone gives another "
                "forecast. Load the models with int8=False, or train with body: compact."
            )
        own = {name: getattr(model.config, name) for name in sizes}
        own["n_picture"] = own["n_picture"] or sizes["n_picture"]  # a model need not look at pictures
        wrong = [f"{name} {own[name]} (the market has {sizes[name]})" for name in sizes if own[name] != sizes[name]]
        if wrong:
            raise ValueError(f"a model was made for another market: {', '.join(wrong)}. Give the market's own models.")


def _quantised(model: SalesBert) -> bool:
    """Whether encoder layers hold int8 weights, which are packed and no parameters."""
    return not any(name.startswith(ENCODER[0]) and "query" in name for name, _ in model.named_parameters())


def check_market(own: MarketTensors, market: MarketTensors) -> None:
    """Raise a ValueError where a market is not `own` with more weeks; its products may stand in another order."""
    wrong = differences(own, market)
    if wrong:
        raise ValueError(f"the state belongs to another panel: {'; '.join(wrong)}. Build a new state for this panel.")
    if len(market.weeks_index) < len(own.weeks_index):
        raise ValueError(
            f"the state has read weeks up to {own.weeks_index[-1].date()}, and the panel ends at "
            f"{market.weeks_index[-1].date()}. Give the panel with all closed weeks, or build a new state."
        )


def differences(own: MarketTensors, market: MarketTensors) -> list[str]:
    """What of a market's axes, columns and scale differs, in words."""
    wrong = []
    lacks = sorted(set(own.products) - set(market.products))
    more = sorted(set(market.products) - set(own.products))
    if lacks or more:
        wrong.append(f"products that it lacks: {lacks[:5]}, that the state lacks: {more[:5]}")
    if own.locations != market.locations:
        wrong.append(f"locations are {market.locations}, were {own.locations}")
    if own.weeks_index[0] != market.weeks_index[0]:
        wrong.append(f"its first week is {market.weeks_index[0].date()}, was {own.weeks_index[0].date()}")
    for field in ("names", "in_units", "planned", "unit"):
        if getattr(own, field) != getattr(market, field):
            wrong.append(f"`{field}` of its columns differ")
    if {name: list(x) for name, x in own.scale.items()} != {name: list(x) for name, x in market.scale.items()}:
        wrong.append(
            "its columns are scaled otherwise (give `market_tensors` the scale that the models were trained with)"
        )
    return wrong
