"""What reads columns and locations: by their position in one market's tables ('own'), or by what they mean."""

from __future__ import annotations

import torch
from torch import nn

from shelfcast.model.config import SalesBertConfig
from shelfcast.model.layers.space import Spillover
from shelfcast.model.meaning.layers import ColumnLayer, PlaceLayer, SharedSpillover


class OwnPlaces(nn.Embedding):
    """A learned vector for each location of a market."""

    def forward(self, static: torch.Tensor) -> torch.Tensor:
        """static (B, L, F) -> (L, D)."""
        return super().forward(torch.arange(static.shape[1], device=static.device))


def column_layer(config: SalesBertConfig, n_fixed: int, n_columns: int, width: int) -> nn.Module:
    """A linear layer over `n_fixed` inputs and the columns behind them."""
    if config.columns == "own":
        return nn.Linear(n_fixed + n_columns, width)
    return ColumnLayer(n_fixed, n_columns, width, config.backbone["hidden_size"])


def place_layer(config: SalesBertConfig, width: int) -> nn.Module:
    """From static columns (B, L, F) to what locations are, (L, width) or (B, L, width)."""
    if config.columns == "own":
        return OwnPlaces(config.n_locations, width)
    return PlaceLayer(config.n_static, width, config.backbone["hidden_size"])


def spillover_layer(config: SalesBertConfig) -> nn.Module:
    """From shocks of locations (B, L, T) to logs of factors (B, L, T, H)."""
    if config.columns == "own":
        return Spillover(config.n_locations, config.horizon)
    return SharedSpillover(config.horizon)
