"""Spillover: what locations sell beyond their usual share now, and what follows from it for all of them.

Axes: B products, L locations, T weeks, H horizons, G categories.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import TimeSeriesSplit
from torch import nn

PENALTIES = np.logspace(-2, 4, 25)  # that ridge regressions choose from
FOLDS = 4  # stretches of weeks that choose the penalty
MIN_PAIRS = 8  # pairs of weeks; fewer fit nothing


class Spillover(nn.Module):
    """One matrix a horizon, for all products: from the locations' shocks now to a factor on each location's mean.

    A product sells a few units a week at a location, the category hundreds: a shock that all products share there is
    visible in all of them together, and hardly in one product's own history.
    """

    def __init__(self, n_locations: int, horizon: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(horizon, n_locations, n_locations))

    def forward(self, shock: torch.Tensor) -> torch.Tensor:
        """shock: (B, L, T) -> (B, L, T, H) log of the factor on the mean."""
        return torch.einsum("hlk,bkt->blth", self.weight, shock).clamp(-3, 3)

    @torch.no_grad()
    def fit(self, shock: torch.Tensor) -> None:
        """Start from ridge regression of later weeks on earlier ones; training continues from there.

        shock: (G, L, T), of one category or of several. From zero, a matrix that all products share is learned slower
        than what each of them learns by heart. Later weeks choose the penalty: without spillover it stays near zero.
        """
        x = shock.permute(2, 0, 1).double().cpu().numpy()  # T G L, so that weeks stay in order
        settled = np.flatnonzero(x.any((1, 2)))  # shares are not settled in the first weeks
        x = x[settled.min() :] if len(settled) else x[:0]
        ridge = RidgeCV(PENALTIES, cv=TimeSeriesSplit(FOLDS))
        for h, weight in enumerate(self.weight, start=1):
            if len(x) - h >= MIN_PAIRS:
                before, after = (part.reshape(-1, x.shape[2]) for part in (x[:-h], x[h:]))
                weight.copy_(torch.as_tensor(ridge.fit(before, after).coef_))
