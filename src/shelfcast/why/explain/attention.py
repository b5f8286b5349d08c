"""The model's own attention: what the week of the cutoff attends to, in the last layer (raw) and through all (rollout).

Attention says where a model looks, not what it concludes, and it cannot see the plan of coming weeks, which the head
reads beside it. studies/explanations measures how far it explains a forecast; show it with that score.

Rollout (Abnar & Zuidema 2020) follows attention back through the layers, half of each layer's output being its own input.

Axes: B products, L locations, S words, T weeks, N = 1 + T product and week tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from shelfcast.model.layers.attention import additive
from shelfcast.model.salesbert import SalesBert
from shelfcast.why.explain.groups import PICTURE, WEEKS, WORDS
from shelfcast.why.explain.usual import Inputs
from shelfcast.why.explain.value import with_words


@dataclass(frozen=True)
class Attention:
    """Shares of attention for each product, which add up to 1 over `weeks`, `product` and `words`.

    weeks : (B, L, T), to each week at each location. product : (B,), to the tokens of what the product is, its text and
    picture in body 'compact'. words : (B, S), to words in body 'backbone'; (B, 0) in the other.
    """

    weeks: np.ndarray
    product: np.ndarray
    words: np.ndarray


@dataclass
class _Layers:
    """What the layers attended to: tokens (B·L, N, S + N) or (B·L, N, N), locations (B, N, L, L), from the bottom."""

    tokens: list[torch.Tensor] = field(default_factory=list)
    locations: list[torch.Tensor] = field(default_factory=list)


def attention(models: list[SalesBert], inputs: Inputs, location: int = 0, rollout: bool = True) -> Attention:
    """Attention of the cutoff's week at a location, the mean over models; `rollout` False is that of the last layer."""
    own, parts = 0.5 if rollout else 0.0, []
    for model in models:
        layers = _read(model, with_words(inputs, model))
        gates = [float(space.gate.detach().tanh().abs()) for space in model.space]
        if not rollout:
            layers, gates = _Layers(layers.tokens[-1:], layers.locations[-1:]), [1.0] * bool(gates)
        parts.append(_follow(layers, gates, len(inputs.context["static"]), location, own))
    tokens, words = (sum(x).numpy() / len(models) for x in zip(*parts, strict=True))
    return Attention(tokens[..., 1:], tokens[..., 0].sum(1), words)


@torch.no_grad()
def _read(model: SalesBert, inputs: Inputs) -> _Layers:
    """One pass that keeps what every layer attends to."""
    fields, context = inputs.actual, inputs.context
    layers, mask, read = _Layers(), context["text_mask"], None
    tokens = fields.get(WORDS, context["input_ids"])
    if model.config.use_text and model.body is not None:
        read = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    if model.body is None:
        watch = _watch_backbone(model, layers, mask, context["has_text"])
    else:
        watch = _watch_compact(model, layers)
    with watch, _watch_space(model, layers):
        model.encode(
            context["static"], fields[WEEKS], context["graph"], tokens, mask, context["has_text"], read,
            fields[PICTURE], context["has_picture"], None,
        )  # fmt: skip
    return layers


@contextmanager
def _hooks(handles: list) -> Iterator[None]:
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


def _watch_space(model: SalesBert, layers: _Layers):
    def keep(space, given):
        layers.locations.append(space.weights(*given))

    return _hooks([space.register_forward_pre_hook(keep) for space in model.space])


def _watch_compact(model: SalesBert, layers: _Layers):
    """Behind each layer's first norm, whose output is what it attends to; see `layers.attention.compact_pass`."""

    def keeper(attend: nn.Module):
        def keep(norm, given, keys):
            n = keys.shape[-2]
            causal = additive(torch.ones(n, n, dtype=torch.bool, device=keys.device).tril())
            layers.tokens.append(attend(keys, keys, keys, attn_mask=causal)[1])

        return keep

    return _hooks([layer.norm1.register_forward_hook(keeper(layer.self_attn)) for layer in model.body])


@contextmanager
def _watch_backbone(
    model: SalesBert, layers: _Layers, text_mask: torch.Tensor, has_text: torch.Tensor
) -> Iterator[None]:
    """Queries of weeks come first, and keys of weeks before those of the text; see `layers.attention.bert_pass`."""
    seen: dict[tuple[int, str], list[torch.Tensor]] = {}
    handles = []
    for i, layer in enumerate(model.layers):
        for name in ("query", "key"):
            kept = seen.setdefault((i, name), [])
            module: nn.Linear = getattr(layer.attention.self, name)
            handles.append(module.register_forward_hook(lambda _, given, out, kept=kept: kept.append(out)))
    with _hooks(handles):
        yield
    first = torch.arange(text_mask.shape[1]) == 0  # an absent text is one token
    allowed = torch.where(has_text[:, None], text_mask, first)
    for i, layer in enumerate(model.layers):
        queries, (keys, words) = seen[i, "query"][0], seen[i, "key"][:2]
        times, n = len(keys) // len(words), keys.shape[1]
        causal = additive(torch.ones(n, n, dtype=torch.bool).tril()).expand(len(keys), -1, -1)
        text = additive(allowed)[:, None].expand(-1, n, -1).repeat_interleave(times, 0)
        keys = torch.cat([words.repeat_interleave(times, 0), keys], 1)
        heads = layer.attention.self.num_attention_heads
        q, k = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (queries, keys))
        scores = q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5 + torch.cat([text, causal], -1)[:, None]
        layers.tokens.append(scores.softmax(-1).mean(1))


def _follow(
    layers: _Layers, gates: list[float], n_products: int, location: int, own: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of attention from the last token of a location, back through the layers: of tokens (B, L, N), words (B, S).

    own : share of a layer's output that is its own input. Words are read by every layer as they are.
    """
    rows, n, n_keys = layers.tokens[0].shape
    n_words = n_keys - n
    share = torch.zeros(n_products, rows // n_products, n)
    share[:, location, -1] = 1.0
    words = torch.zeros(n_products, n_words)
    for i in reversed(range(len(layers.tokens))):
        if gates:
            away = (1 - own) * gates[i]
            share = (1 - away) * share + away * torch.einsum("bln,bnlk->bkn", share, layers.locations[i])
        attended = torch.einsum("bln,blnk->blk", share, layers.tokens[i].unflatten(0, (n_products, -1)))
        words = words + (1 - own) * attended[..., :n_words].sum(1)
        share = (1 - own) * attended[..., n_words:] + own * share
    return share, words
