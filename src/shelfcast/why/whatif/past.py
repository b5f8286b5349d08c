"""What a model makes of everything but the coming plan, kept, so that another plan costs the head alone.

Axes: P products, L locations, H weeks ahead; one cutoff.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch

from shelfcast.model.forecast import predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

INPUTS = ("head_week", "head_product")  # layers of a SalesBert whose inputs hold all that the head reads but the plan


@dataclass(frozen=True)
class Past:
    """One model at one cutoff.

    week : (P, L, 1, D + F) state and columns of the last observed week. product : (P, L, ·) what a product is.
    level : (P, L, 1). behind : (P, L, 1, H) factor that follows the head, by the locations' shocks.
    """

    model: SalesBert
    week: torch.Tensor
    product: torch.Tensor
    level: torch.Tensor
    behind: torch.Tensor

    @classmethod
    @torch.no_grad()
    def read(cls, model: SalesBert, market: MarketTensors, at: int) -> Past:
        """Run the model once, from the week of number `at`, and keep what its head was given."""
        seen: dict[str, list[torch.Tensor]] = defaultdict(list)
        hooks = [
            getattr(model, name).register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0]))
            for name in INPUTS
        ]
        try:
            mean, _ = predict(model, market, at=[at])
        finally:
            for hook in hooks:
                hook.remove()
        week, product = (torch.cat(seen[name]) for name in INPUTS)
        level = market.tensors["level"][:, :, [at]]
        past = cls(model, week, product, level, torch.ones(()))
        head, _ = past._head(market.tensors["plan"][:, :, [at]], slice(None))
        return cls(model, week, product, level, torch.as_tensor(mean, dtype=head.dtype) / head)

    @torch.no_grad()
    def predict(self, plan: torch.Tensor, products=slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Mean (in the market's size of a sale) and dispersion, each (P, L, 1, H) float64, of some products.

        plan : (P, L, 1, H, F) of these products, as `tensors.Batch` has it.
        """
        mean, dispersion = self._head(plan, products)
        return (mean * self.behind[products]).double().numpy(), dispersion.double().numpy()

    def _head(self, plan: torch.Tensor, products) -> tuple[torch.Tensor, torch.Tensor]:
        state, columns = self.week[products].split(
            [self.week.shape[-1] - self.model.config.n_week, self.model.config.n_week], -1
        )
        return self.model._head(state, columns, self.product[products], plan, self.level[products])
