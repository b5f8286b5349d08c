"""Attention of SalesBert: over earlier weeks and text, and over the locations of a product within a week.

Axes: B products, L locations, S text tokens, T weeks, N = 1 + T static and week tokens, C weeks forecast from, D width,
A heads, d width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class TokenDropout(nn.Module):
    """Dropout with one mask for all tokens of a sequence (Gal & Ghahramani 2016), for x (…, N, D).

    Drawing a mask for every token took an eighth of a training step.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p:
            return x
        keep = torch.empty(*x.shape[:-2], 1, x.shape[-1], device=x.device, dtype=x.dtype).bernoulli_(1 - self.p)
        return x * keep.div_(1 - self.p)


class SpaceAttention(nn.Module):
    """Locations of one product attend to each other within a week; the graph is a prior of learned strength.

    Factorised space-time attention (Arnab et al. 2021, ViViT), gated to zero at the start.
    """

    def __init__(self, width: int, heads: int = 4, head_width: int = 16):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * heads * head_width)
        self.out = nn.Linear(heads * head_width, width)
        self.strength = nn.Parameter(torch.ones(heads))
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        """x: (B, L, N, D), graph: (B, L, L) -> (B, L, N, D)."""
        q, k, v, bias = self._parts(x, graph)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # B N A L d
        return x + torch.tanh(self.gate) * self.out(y.transpose(2, 3).flatten(-2)).transpose(1, 2)

    def weights(self, x: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        """(B, N, L, L): how much each location (row) attends to each (column), the mean over heads."""
        q, k, _, bias = self._parts(x, graph)
        return (q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5 + bias).softmax(-1).mean(2)

    def _parts(self, x: torch.Tensor, graph: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values (B, N, A, L, d), and the bias (B, N, A, L, L) that the graph gives."""
        b, _, n, _ = x.shape
        y = self.query_key_value(self.norm(x)).transpose(1, 2)  # B N L 3·A·d
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(2, 3) for z in y.chunk(3, -1))  # B N A L d
        prior = self.strength[:, None, None] * torch.log(graph + 1e-2)[:, None]  # B A L L
        return q, k, v, prior[:, None].expand(b, n, -1, -1, -1)


def compact_layer(width: int, dropout: float) -> nn.TransformerEncoderLayer:
    """One layer of the compact body; attention's own weights are not dropped, which cost more time than all else."""
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
    layer.self_attn.dropout = 0.0
    layer.dropout, layer.dropout1, layer.dropout2 = (TokenDropout(dropout) for _ in range(3))
    return layer


def additive(allowed: torch.Tensor) -> torch.Tensor:
    """A mask to add to attention scores: 0 where attention is allowed, else minus infinity."""
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, -torch.inf)


def compact_pass(layer: nn.TransformerEncoderLayer, x: torch.Tensor, at: torch.Tensor | None = None) -> torch.Tensor:
    """One layer of the compact body over x (·, N, D), causal; of the C tokens `at` alone, (·, C, D), where they are given.

    It gives what the layer's own forward gives under a causal mask, whose attention takes twice as long.
    """
    keys = layer.norm1(x)
    attended = _attend_causal(layer.self_attn, keys) if at is None else _attend_some(layer.self_attn, keys, at)
    x = (x if at is None else x[:, at]) + layer.dropout1(attended)
    inner = layer.dropout(layer.activation(layer.linear1(layer.norm2(x))))
    return x + layer.dropout2(layer.linear2(inner))


def _attend_causal(attention: nn.MultiheadAttention, x: torch.Tensor) -> torch.Tensor:
    """Causal self-attention over x (·, N, D)."""
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (z.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for z in projected.chunk(3, -1))  # · A N d
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return attention.out_proj(y.transpose(1, 2).flatten(-2))


def _attend_some(attention: nn.MultiheadAttention, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Causal self-attention of the C tokens `at` to those of x (·, N, D), (·, C, D).

    Few queries: each is carried through the keys' weights, and what it attends to through the values' weights, instead
    of all N tokens through both. The keys' bias adds the same to all scores of a query, which softmax takes out again.
    """
    heads = attention.num_heads
    of_query, of_key, of_value = attention.in_proj_weight.unflatten(0, (3, heads, -1))  # A d D
    query_bias, _, value_bias = attention.in_proj_bias.unflatten(0, (3, heads, -1))  # A d
    q = torch.einsum("bcD,adD->bacd", x[:, at], of_query) + query_bias[:, None]
    q = torch.einsum("bacd,adD->bacD", q, of_key) / q.shape[-1] ** 0.5  # · A C D
    scores = q.flatten(1, 2) @ x.transpose(1, 2)  # · A·C N
    later = torch.arange(x.shape[1], device=x.device) > at.to(x.device)[:, None]  # C N
    share = scores.masked_fill(later.repeat(heads, 1), -torch.inf).softmax(-1)
    seen = (share @ x).unflatten(1, (heads, -1))  # · A C D
    y = torch.einsum("bacD,adD->bcad", seen, of_value) + value_bias
    return attention.out_proj(y.flatten(-2))


def bert_pass(layer: nn.Module, x: torch.Tensor, mask: torch.Tensor, memory=None, at=None) -> torch.Tensor:
    """One BERT layer over x (B·L, N, D) that also attends to `memory` (B, S, D); mask (·, 1, N, S + N) is additive.

    The layer's own modules are called in its own order, so that its pretrained weights keep their meaning (equal to the
    layer's forward without memory: tested), while text that all locations share is not computed again for each.
    at : (C,) tokens to compute, all where none are given.
    """
    own = layer.attention.self
    heads, dropout = own.num_attention_heads, own.dropout.p if layer.training else 0.0
    queries, mask = (x, mask) if at is None else (x[:, at], mask[:, :, at])
    projected = [(own.query, queries), (own.key, x), (own.value, x)]
    q, k, v = (project(z).unflatten(-1, (heads, -1)).transpose(1, 2) for project, z in projected)  # · A N d
    if memory is not None:
        past = (
            project(memory).unflatten(-1, (heads, -1)).transpose(1, 2) for project in (own.key, own.value)
        )  # B A S d
        times = len(x) // len(memory)
        k, v = (torch.cat([m.repeat_interleave(times, 0), z], 2) for m, z in zip(past, (k, v), strict=True))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)  # · A N d
    y = layer.attention.output(y.transpose(1, 2).flatten(-2), queries)
    return layer.output(layer.intermediate(y), y)
