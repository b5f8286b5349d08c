"""Spillover: what locations sell beyond their usual share now, and what follows from it for all of them.

Axes: B products, L locations, T weeks, H horizons.
"""

from __future__ import annotations

import torch
from torch import nn


class Spillover(nn.Module):
    """One matrix a horizon, for all products: from the locations' shocks now to a factor on each location's mean.

    A product sells a few units a week at a location, the category hundreds: a shock that all products share there is
    visible in all of them together, and hardly in one product's own history. It starts from a regression, see
    `training.initial`.
    """

    def __init__(self, n_locations: int, horizon: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(horizon, n_locations, n_locations))

    def forward(self, shock: torch.Tensor) -> torch.Tensor:
        """shock: (B, L, T) -> (B, L, T, H) log of the factor on the mean."""
        return torch.einsum("hlk,bkt->blth", self.weight, shock).clamp(-3, 3)
