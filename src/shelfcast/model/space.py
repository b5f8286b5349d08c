"""What locations tell of each other: attention within a week, and what travels from one to another.

Axes: B products, L locations, T weeks, N = 1 + T static and week tokens, H horizons, D width, A heads.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import TimeSeriesSplit
from torch import nn

PENALTIES = np.logspace(-2, 4, 25)  # that ridge regressions choose from
FOLDS = 4  # stretches of weeks that choose it
FEWEST = 8  # pairs of weeks, under which nothing is learned of what travels


class SpaceAttention(nn.Module):
    """Locations of one product attend to each other within a week; the graph is a prior of learned strength."""

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
        b, _, n, _ = x.shape
        y = self.query_key_value(self.norm(x)).transpose(1, 2)  # B N L 3·A·d
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(2, 3) for z in y.chunk(3, -1))  # B N A L d
        prior = self.strength[:, None, None] * torch.log(graph + 1e-2)[:, None]  # B A L L
        bias = prior[:, None].expand(b, n, -1, -1, -1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # B N A L d
        return x + torch.tanh(self.gate) * self.out(y.transpose(2, 3).flatten(-2)).transpose(1, 2)


class Spillover(nn.Module):
    """What locations sell beyond their typical share now foretells what all will: one matrix a horizon, for all products.

    A product sells a few units a week at a location, the category hundreds: what it shares with the others there, of
    now and of next door, is told by all of them together and not by its own history.
    """

    def __init__(self, n_locations: int, horizon: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(horizon, n_locations, n_locations))

    def forward(self, location_shock: torch.Tensor) -> torch.Tensor:
        """location_shock: (B, L, T) -> (B, L, T, H) log of what the mean is to be multiplied by."""
        return torch.einsum("hlk,bkt->blth", self.weight, location_shock).clamp(-3, 3)

    @torch.no_grad()
    def fit(self, location_shock: torch.Tensor) -> None:
        """Start from ridge regression of later weeks on earlier ones; training goes on from there.

        location_shock: (G, L, T), of one category or of several that are to spillover alike. From nothing, a matrix that all
        products share is learned slower than what each of them learns by heart. Later weeks choose the penalty: where
        nothing travels, it starts from hardly anything.
        """
        x = location_shock.permute(2, 0, 1).double().cpu().numpy()  # T G L, so that weeks stay in order
        told = np.flatnonzero(x.any((1, 2)))  # not before shares are known
        x = x[told.min() :] if len(told) else x[:0]
        ridge = RidgeCV(PENALTIES, cv=TimeSeriesSplit(FOLDS))
        for h, weight in enumerate(self.weight, start=1):
            if len(x) - h >= FEWEST:
                before, after = (part.reshape(-1, x.shape[2]) for part in (x[:-h], x[h:]))
                weight.copy_(torch.as_tensor(ridge.fit(before, after).coef_))
