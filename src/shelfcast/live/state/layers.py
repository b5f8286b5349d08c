"""One layer of SalesBert over new tokens alone: their keys and values join those that earlier tokens left.

What a token was is fixed once its week is closed, and attention over weeks is causal, so keys and values of earlier
tokens never change (key-value caching, Pope et al. 2023, Efficiently Scaling Transformer Inference). Each function gives
what `model.layers.attention.compact_pass` and `bert_pass` give for the same tokens.

Axes: P products, L locations, R = P·L series, S text tokens, N tokens so far, K new tokens, C of these that are computed
to the end, D width, A heads, d width of a head.
"""

from __future__ import annotations

from copy import copy

import torch
import torch.nn.functional as F
from torch import nn

from shelfcast.model.layers.attention import additive

BLOCK = 26  # tokens that a cache grows by, so that half a year of weeks costs one copy

Products = slice | torch.Tensor  # a range of products, or their indices


class LayerCache:
    """Keys and values of one layer, each (P, L, A, capacity, d) float32, of which the first N tokens are filled."""

    def __init__(self, n_products: int, n_locations: int, heads: int, head_width: int):
        empty = torch.empty(n_products, n_locations, heads, 0, head_width)
        self.keys, self.values = empty, empty.clone()

    def select(self, products: torch.Tensor) -> LayerCache:
        """A copy, of these products alone."""
        chosen = copy(self)
        chosen.keys, chosen.values = self.keys[products], self.values[products]
        return chosen

    def reserve(self, n: int) -> None:
        """Make room for `n` tokens, in whole blocks."""
        capacity = self.keys.shape[3]
        if n <= capacity:
            return
        more = -(-(n - capacity) // BLOCK) * BLOCK
        self.keys, self.values = (F.pad(x, (0, 0, 0, more)) for x in (self.keys, self.values))

    def extend(self, products: Products, start: int, keys: torch.Tensor, values: torch.Tensor):
        """Write new keys and values (R, A, K, d) from token `start` on; returns both of all tokens so far (R, A, N, d)."""
        n = start + keys.shape[2]
        self.reserve(n)
        n_locations, together = self.keys.shape[1], []
        for kept, new in ((self.keys, keys), (self.values, values)):
            kept[products, :, :, start:n] = new.unflatten(0, (-1, n_locations))
            together.append(kept[products, :, :, :n].flatten(0, 1))  # a view, where products are a range
        return together


def head_shape(layer: nn.Module) -> tuple[int, int]:
    """Number of heads and width of a head, of a layer of either body."""
    if isinstance(layer, nn.TransformerEncoderLayer):
        return layer.self_attn.num_heads, layer.self_attn.head_dim
    return layer.attention.self.num_attention_heads, layer.attention.self.attention_head_size


def compact_step(layer: nn.TransformerEncoderLayer, x: torch.Tensor, cache: LayerCache, products, start, last: bool):
    """One layer of the compact body over new tokens x (R, K, D); of the last of them alone, (R, 1, D), where `last`."""
    attention = layer.self_attn
    projected = F.linear(layer.norm1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (_heads(z, attention.num_heads) for z in projected.chunk(3, -1))
    q, x = (q[:, :, -1:], x[:, -1:]) if last else (q, x)
    y = attend(q, *cache.extend(products, start, k, v))
    x = x + attention.out_proj(y)
    return x + layer.linear2(layer.activation(layer.linear1(layer.norm2(x))))


def bert_step(layer: nn.Module, x: torch.Tensor, cache: LayerCache, products, start, last: bool, text):
    """One BERT layer over new tokens x (R, K, D) behind the text; of the last of them alone where `last`.

    text : keys and values (P, A, S, d) of the words in this layer, and what to add to their scores (P, 1, 1, S).
    """
    own = layer.attention.self
    queries = x[:, -1:] if last else x
    q, k, v = (
        _heads(project(z), own.num_attention_heads)
        for project, z in ((own.query, queries), (own.key, x), (own.value, x))
    )
    y = attend(q, *cache.extend(products, start, k, v), text)
    y = layer.attention.output(y, queries)
    return layer.output(layer.intermediate(y), y)


def attend(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, text=None) -> torch.Tensor:
    """Attention of the newest C tokens q (R, A, C, d) to the N tokens so far, causal, and to the text -> (R, C, D)."""
    count, n = q.shape[2], keys.shape[2]
    if count == 1:
        return _attend_one(q, keys, values, text).flatten(1)[:, None]
    allowed = torch.ones(count, n, dtype=torch.bool).tril(n - count)
    mask = additive(allowed)
    if text is not None:
        text_keys, text_values, seen = text
        times = len(q) // len(text_keys)
        mask = torch.cat([seen.expand(-1, -1, count, -1), mask.expand(len(seen), 1, -1, -1)], -1)
        mask = mask.repeat_interleave(times, 0)  # R 1 C S+N
        keys = torch.cat([text_keys.repeat_interleave(times, 0), keys], 2)
        values = torch.cat([text_values.repeat_interleave(times, 0), values], 2)
    y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
    return y.transpose(1, 2).flatten(-2)


def _attend_one(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, text) -> torch.Tensor:
    """`attend` of one token (R, A, 1, d), for which the words need not be copied for each location."""
    q = q / q.shape[-1] ** 0.5
    scores = q @ keys.transpose(-1, -2)  # R A 1 N
    if text is None:
        return scores.softmax(-1) @ values
    text_keys, text_values, seen = text
    n_products, n_words = len(text_keys), text_keys.shape[2]
    by_product = q[:, :, 0].unflatten(0, (n_products, -1)).transpose(1, 2)  # P A L d
    to_text = by_product @ text_keys.transpose(-1, -2) + seen  # P A L S
    to_text = to_text.transpose(1, 2).flatten(0, 1)[:, :, None]  # R A 1 S
    share = torch.cat([to_text, scores], -1).softmax(-1)
    of_text = share[:, :, 0, :n_words].unflatten(0, (n_products, -1)).transpose(1, 2) @ text_values  # P A L d
    return of_text.transpose(1, 2).flatten(0, 1)[:, :, None] + share[..., n_words:] @ values


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(R, K, D) -> (R, A, K, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
