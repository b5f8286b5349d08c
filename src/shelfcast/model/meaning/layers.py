"""Layers whose weights follow from what columns mean, in place of one row of weights for each column by its position.

The weights of a column are a small network of its description (see `describe`): its name as the encoder reads it, its
role, its unit. Weights that another network makes are known as a hypernetwork (Ha et al. 2017). Summed over columns, so
that their number and order are free, and a column that is absent, or at its mean, adds nothing.

Axes: B products, L locations, T weeks, H horizons, F columns, D entries of a description.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

FLAGS = 5  # entries of a description besides the name's: three roles, in units of sales, of the retailer's plan
HIDDEN = 64  # of the network that makes weights
START = 0.02  # standard deviation of a column's weights before any training, as in the model's other layers


class ColumnLayer(nn.Module):
    """A linear layer over `n_fixed` inputs and, behind them, columns whose weights follow from their descriptions.

    Scales are chosen so that a step of Adam moves a column's weights about as far as it would move weights of its own.
    """

    def __init__(self, n_fixed: int, n_columns: int, width: int, name_width: int):
        super().__init__()
        self.n_fixed, self.out_features = n_fixed, width
        n = name_width + FLAGS
        self.register_buffer("columns", torch.zeros(n_columns, n))  # F D, less the centre
        self.register_buffer("centre", torch.zeros(n))
        self.inner = nn.Parameter(torch.randn(n, HIDDEN))
        self.inner_bias = nn.Parameter(torch.zeros(HIDDEN))
        self.outer = nn.Parameter(torch.randn(HIDDEN, width) * (START * HIDDEN**0.5))
        self.fixed = nn.Parameter(torch.randn(n_fixed, width) * START) if n_fixed else None
        self.bias = nn.Parameter(torch.zeros(width))

    def column_weights(self) -> torch.Tensor:
        """(F, width)."""
        hidden = F.gelu(self.columns @ self.inner / len(self.inner) ** 0.5 + self.inner_bias)
        return hidden @ self.outer * (2 / HIDDEN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, n_fixed + F) -> (…, width)."""
        weights = self.column_weights()
        return x @ (weights if self.fixed is None else torch.cat([self.fixed, weights])) + self.bias


class PlaceLayer(nn.Module):
    """What a location is, from its static columns, in place of a vector for each location by its position."""

    def __init__(self, n_static: int, width: int, name_width: int):
        super().__init__()
        self.static = ColumnLayer(0, n_static, HIDDEN, name_width)
        self.out = nn.Linear(HIDDEN, width)

    def forward(self, static: torch.Tensor) -> torch.Tensor:
        """(B, L, F) -> (B, L, width)."""
        return self.out(F.gelu(self.static(static)))


class SharedSpillover(nn.Module):
    """What later weeks sell beyond the usual after a shock now, by what a location has to do with it.

    Three weights a horizon, for all markets: of the location's own shock, of the chain's, and of the mean of all. A matrix of
    locations (`model.layers.space`) knows more of one market, and fits no other.
    """

    def __init__(self, horizon: int):
        super().__init__()
        self.shared = nn.Parameter(torch.zeros(3, horizon))

    def forward(self, shock: torch.Tensor) -> torch.Tensor:
        """shock: (B, L, T), chain first -> (B, L, T, H) log of the factor on the mean."""
        parts = torch.stack(torch.broadcast_tensors(shock, shock[:, :1], shock.mean(1, keepdim=True)), -1)
        return (parts @ self.shared).clamp(-3, 3)
