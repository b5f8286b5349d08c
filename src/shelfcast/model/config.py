"""What a SalesBert is made of, and what it returns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

BODIES = ("backbone", "compact")
COLUMNS = ("own", "by_meaning")


class SalesBertConfig(PretrainedConfig):
    """Shape and parts of a SalesBert; an unknown value is an error when it is built.

    backbone : configuration of the BERT-type encoder (a dict, as transformers writes it).
    body : 'backbone' lets the encoder carry the weeks; 'compact' lets it read the text once and a small transformer
        of `width` and `compact_layers` carry the weeks; choose it for speed.
    layers : encoder layers, from the bottom. use_text : False leaves text and encoder out (with body 'compact').
    use_space : attention over locations and spillover between them.
    columns : 'own' has weights for each column and location by its position; 'by_meaning' makes them of what columns
        and locations are (see model.meaning), so that one model fits markets whose tables differ.
    n_static, n_week, n_plan, n_picture, n_locations, horizon : sizes of the batch (see tensors.Batch); n_picture is 0
        without pictures. new_products : whether the cold-start head was trained.
    """

    model_type = "salesbert"

    def __init__(
        self,
        backbone: dict | None = None,
        body: str = "backbone",
        layers: int = 3,
        width: int = 128,
        compact_layers: int = 2,
        use_text: bool = True,
        use_space: bool = True,
        columns: str = "own",
        dropout: float = 0.1,
        n_static: int = 1,
        n_week: int = 1,
        n_plan: int = 1,
        n_picture: int = 0,
        n_locations: int = 1,
        horizon: int = 4,
        new_products: bool = False,
        **kwargs,
    ):
        self.backbone = backbone or {}
        self.body, self.layers, self.width, self.compact_layers = body, layers, width, compact_layers
        self.use_text, self.use_space, self.dropout = use_text, use_space, dropout
        self.columns = columns
        self.n_static, self.n_week, self.n_plan, self.n_picture = n_static, n_week, n_plan, n_picture
        self.n_locations, self.horizon, self.new_products = n_locations, horizon, new_products
        super().__init__(**kwargs)

    def check(self) -> None:
        """Raise a ValueError for a value that cannot be built."""
        if self.body not in BODIES:
            raise ValueError(f"body is {self.body!r}. Choose one of {', '.join(BODIES)}.")
        if self.columns not in COLUMNS:
            raise ValueError(f"columns is {self.columns!r}. Choose one of {', '.join(COLUMNS)}.")
        if self.columns == "by_meaning" and not self.use_text:
            raise ValueError("columns='by_meaning' reads the names of columns. It needs use_text=True.")
        if self.body == "backbone" and not self.use_text:
            raise ValueError("use_text=False leaves the encoder out. It needs body='compact'.")


def shape_of(config: SalesBertConfig) -> dict[str, Any]:
    """The arguments of a config but the backbone's, to build another model of the same shape."""
    names = set(inspect.signature(SalesBertConfig).parameters) - {"backbone", "kwargs"}
    return {name: getattr(config, name) for name in names}


@dataclass
class SalesBertOutput(ModelOutput):
    """loss: scalar or None; mean: (B, L, T, H) units a week; dispersion: (B, L, T, H), variance = m + dispersion m²."""

    loss: torch.Tensor | None = None
    mean: torch.Tensor | None = None
    dispersion: torch.Tensor | None = None
