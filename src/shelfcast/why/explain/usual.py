"""What a model reads of products at a cutoff, and what it would read if all were as usual.

Usual is what the level is made of, so that the usual forecast is about as much as lately:

| group | as usual |
|---|---|
| promotion | none in the coming weeks |
| price | the median of the last 26 weeks |
| weekday | as it is |
| season, category | the mean of the weeks that the level is made of: half the last 13 weeks, half all so far |
| own sales, behaviour | every week is a mean week in the same sense: sales that stay at their level, without news |
| zero-shot outlook | as far from the level as it was in the mean |
| regions | every region sells its usual share |
| text, picture | the mean over the market's products |

Weeks count from a product's launch on. What is not known stays unknown. Nothing after the cutoff is read but
known-future columns.

Axes: B products, L locations, T weeks up to the cutoff, H horizons, S words, D width, F columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from shelfcast.model.columns import CLIP, CONSTANT
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.why.explain.groups import PICTURE, PLAN, SHOCK, WEEKS, Group

RECENT = 13  # weeks that make half of the level; see `panel.features.history`
USUAL_PRICE_WEEKS = 26
WEEKDAY = "weekday"  # begins the columns of weekdays in a daily market
Fields = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Inputs:
    """What is read of B products at a cutoff: fields that groups change, as they are and as usual, and the context.

    actual, usual : weeks (B, L, T, F), plan (B, L, H, F), shock (B, L), picture (B, F). Words depend on the model, see
        `words_of`. context : static (B, L, F), level (B, L), graph (B, L, L), input_ids and text_mask (B, S), has_text and
        has_picture (B,).
    names : field -> its columns. size : units of a usual sale. texts : tokens of all the market's products (P, S), and
        which of them are words.
    """

    actual: Fields
    usual: Fields
    context: Fields
    names: dict[str, list[str]]
    size: float
    texts: tuple[torch.Tensor, torch.Tensor]

    def mixed(self, group_is_actual: dict[str, bool], groups: list[Group]) -> Fields:
        """The fields with some groups as they are and the others as usual."""
        fields = dict(self.actual)
        for field in fields:
            usual = [g for g in groups if field in g.columns and not group_is_actual[g.name]]
            if any(g.columns[field] is None for g in usual):
                fields[field] = self.usual[field]
            elif usual:
                columns = {name for g in usual for name in g.columns[field]}
                swapped = torch.tensor([name in columns for name in self.names[field]])
                fields[field] = torch.where(swapped, self.usual[field], self.actual[field])
        return fields

    def some(self, rows: np.ndarray) -> Inputs:
        """Those products alone."""
        actual, usual, context = (
            {name: x[rows] for name, x in fields.items()} for fields in (self.actual, self.usual, self.context)
        )
        return replace(self, actual=actual, usual=usual, context=context)


def read_inputs(market: MarketTensors, products: list[int], cutoff: pd.Timestamp) -> Inputs:
    """What a model reads of products (their numbers in the market) at a cutoff, and the usual.

    Raises
    ------
    ValueError : the cutoff is not an observed week.
    """
    n = market.weeks_index.get_indexer([cutoff])[0] + 1
    if n == 0:
        first, last = (f"{week:%Y-%m-%d}" for week in market.weeks_index[[0, -1]])
        day = "day" if market.frequency.daily else f"{market.weeks_index[0]:%A}"
        raise ValueError(
            f"cutoff {cutoff:%Y-%m-%d} is no observed {market.frequency.noun}. Choose a {day} from {first} to {last}."
        )
    rows = {name: x[products] for name, x in market.tensors.items()}
    weeks, plan = rows["weeks"][:, :, :n], rows["plan"][:, :, :n]
    actual = {WEEKS: weeks, PLAN: plan[:, :, -1], SHOCK: rows["location_shock"][:, :, n - 1], PICTURE: rows["picture"]}
    on_sale = _on_sale(market, weeks)
    weights = torch.tensor(
        weights_of_level(on_sale.sum(1).numpy(), n, market.frequency.periods(RECENT)), dtype=weeks.dtype
    )
    mean = torch.einsum("blt...,bt->bl...", weeks, weights)
    usual = {
        WEEKS: torch.where(on_sale[:, None, :, None], mean[:, :, None], weeks),
        PLAN: _usual_plan(market, weeks, plan, on_sale, weights),
        SHOCK: torch.zeros_like(actual[SHOCK]),
        PICTURE: _mean_picture(market).expand_as(actual[PICTURE]),
    }
    context = {name: rows[name] for name in ("static", "graph", "input_ids", "text_mask", "has_text", "has_picture")}
    names = {WEEKS: market.names["weeks"], PLAN: market.names["plan"]}
    context["level"] = rows["level"][:, :, n - 1]
    texts = market.tensors["input_ids"], market.tensors["text_mask"] & market.tensors["has_text"][:, None]
    return Inputs(actual, usual, context, names, market.size, texts)


def weights_of_level(n_on_sale: np.ndarray, n_weeks: int, quarter: int = RECENT) -> np.ndarray:
    """(B, T) weights of past weeks as the level is made: half the last 13, half all since the launch; they add up to 1.

    n_on_sale : (B,) weeks since the launch, the last of n_weeks; a product before its launch has weights of all weeks.
    quarter : periods of 13 weeks.
    """
    n = np.where(n_on_sale > 0, n_on_sale, n_weeks)[:, None]
    ago = np.arange(n_weeks)[::-1]
    recent = np.minimum(n, quarter)
    return 0.5 * (ago < recent) / recent + 0.5 * (ago < n) / n


def _on_sale(market: MarketTensors, weeks: torch.Tensor) -> torch.Tensor:
    """(B, T) bool, from the launch on."""
    if "on_sale" not in market.names["weeks"]:
        return torch.ones(weeks.shape[0], weeks.shape[2], dtype=torch.bool)
    mean, deviation = market.scale["on_sale"]
    return weeks[:, 0, :, market.names["weeks"].index("on_sale")] * deviation + mean > 0.5


def _usual_plan(
    market: MarketTensors, weeks: torch.Tensor, plan: torch.Tensor, on_sale: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """(B, L, H, F): the plan's columns as in past weeks, the outlook as in the past at the same horizon.

    Promotions are none; what the plan does not reach stays as it is.
    """
    names, horizon = market.names["plan"], plan.shape[3]
    usual, now = plan[:, :, -1].clone(), plan[:, :, -1]
    for i, name in enumerate(names):
        if name not in market.names["weeks"]:  # the outlook
            usual[..., i] = torch.einsum("blth,bt->blh", plan[..., i], weights)
            continue
        past = weeks[..., market.names["weeks"].index(name)]  # B L T
        if name.startswith("price"):
            seen = (
                past.masked_fill(~on_sale[:, None], torch.nan)[:, :, -market.frequency.periods(USUAL_PRICE_WEEKS) :]
                .nanmedian(2)
                .values
            )
            value = torch.where(seen.isnan(), now[:, :, 0, i], seen)
        elif name.startswith("promotion"):
            value = torch.full_like(past[:, :, 0], _nothing(market, name))
        elif name.startswith(WEEKDAY):
            continue  # a Saturday is no news: what is usual is usual for its weekday
        else:
            value = torch.einsum("blt,bt->bl", past, weights)
        usual[..., i] = value[..., None].expand(-1, -1, horizon)
    for known, kind in (("promotion_known", ("promotion", "category_promotion")), ("price_known", ("price",))):
        if known in names:
            unknown = now[..., [names.index(known)]] <= -0.5  # centred at 1: see `tensors.with_plan_hidden`
            own = torch.tensor([name.startswith(kind) and name in market.planned for name in names])
            usual = torch.where(unknown & own, now, usual)
    return usual


def _nothing(market: MarketTensors, column: str) -> float:
    """What a standardised column holds where its value is 0."""
    mean, deviation = market.scale[column]
    return max(-mean / deviation, -CLIP) if deviation > CONSTANT else 0.0


def _mean_picture(market: MarketTensors) -> torch.Tensor:
    """(F,) mean over the products that have a picture."""
    has = market.tensors["has_picture"]
    return market.tensors["picture"][has].mean(0) if has.any() else market.tensors["picture"][0]


@torch.no_grad()
def words_of(model: SalesBert, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The words of the products' texts and what they are as usual, each (B, S, D); None of a model without text.

    Body 'compact' reads a text as the mean of its encoder's last states: these, and their mean over the texts that the
    model was fitted to. Body 'backbone' reads word vectors: these, and the mean of the market's words.
    """
    if not model.config.use_text:
        return None
    tokens, mask = inputs.context["input_ids"], inputs.context["text_mask"]
    if model.body is not None:
        words = model.word_states(tokens, mask)
        return words, model.text_centre.expand_as(words)
    texts, known = inputs.texts
    words = model.embed_text(tokens)
    return words, model.embed_text(texts)[known].mean(0).expand_as(words)
