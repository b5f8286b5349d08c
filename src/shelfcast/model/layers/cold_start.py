"""The head for products without a history."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from shelfcast.model.config import SalesBertConfig


class ColdStartHead(nn.Module):
    """Forecasts a product without a history from its appeal, its static columns and the plan.

    It is trained apart (`training.new_products`): with weights shared with the rest, the model learned how well each
    product of the training weeks sold, and its forecasts from a history leaned on that instead of on the history.
    """

    def __init__(self, config: SalesBertConfig, width: int = 32):
        super().__init__()
        self.product, self.plan = nn.Linear(config.n_static, width), nn.Linear(config.n_plan, width)
        self.dropout, self.out = nn.Dropout(config.dropout), nn.Linear(width, 2)
        self.trust = nn.Parameter(torch.ones(1))  # in the appeal

    def forward(self, typical, appeal, static, plan) -> tuple[torch.Tensor, torch.Tensor]:
        """typical and appeal (…), static (…, F) and plan (…, F_plan) -> mean and dispersion (…); all broadcast."""
        out = self.out(self.dropout(F.gelu(self.product(static) + self.plan(plan))))
        log_factor = (self.trust * appeal + out[..., 0]).clamp(-6, 4)
        return typical * torch.exp(log_factor), F.softplus(out[..., 1]) + 1e-4
