"""A base for any market: what many markets of different tables taught a model whose columns enter by their meaning.

A folder as that of `store.Base`, without what belongs to one market (its columns, and what is fitted to it alone), and
`base.json` with what each of its markets was, so that no week of a test is among those that it has learned.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from shelfcast.data.files import revision
from shelfcast.model.adapters import encoder_md5
from shelfcast.model.config import SalesBertConfig, shape_of
from shelfcast.model.meaning.describe import describe
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path
from shelfcast.panel.frame import Panel
from shelfcast.training.base.store import FACTS, HISTORY, VERSIONS, WEIGHTS, learned_later, new_parts

OF_ONE_MARKET = ("appeal_", "cold_start.", "from_picture.", "absent_picture")  # how names of such weights begin
SIZES = ("n_static", "n_week", "n_plan", "n_picture", "n_locations")


def shared_parts(model: SalesBert) -> dict[str, torch.Tensor]:
    """The weights that serve every market: without the encoder's and those of one market."""
    parts = new_parts(model)
    return {
        name: x for name, x in parts.items() if not name.startswith(OF_ONE_MARKET) and not name.endswith(".columns")
    }


def product_keys(panel: Panel) -> list[str]:
    """What tells a market's products from those of other retailers: hashes of id and text."""
    rows = zip(panel.products.index.astype(str), panel.products["text"].fillna(""), strict=True)
    return sorted(hashlib.md5(f"{product} {text}".encode()).hexdigest()[:10] for product, text in rows)


def market_facts(name: str, panel: Panel, data_md5: str | None) -> dict[str, Any]:
    """What a base remembers of one of its markets."""
    ends = {end: panel.meta[end] for end in ("train_end", "validation_end")}
    return {"name": name, "data_md5": data_md5, **ends, "products": product_keys(panel)}


@dataclass(frozen=True)
class AnyBase:
    """A model for each phase of `fit` that any market may start from.

    facts : columns ('by_meaning'); markets (see `market_facts`); scale (column -> mean, standard deviation) of the
        columns that mean the same everywhere; backbone, encoder_md5, horizon; learned_until ('train_end' or
        'validation_end', for each phase); provenance.
    """

    folder: Path
    facts: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> AnyBase | None:
        """None where the folder holds no base for any market."""
        path = Path(folder) / FACTS
        facts = json.loads(path.read_text()) if path.exists() else {}
        return cls(Path(folder), facts) if facts.get("markets") else None

    @property
    def n_sources(self) -> str:
        """What it was trained on, in words."""
        return f"{len(self.facts['markets'])} markets, whose tables may differ"

    def data_mismatch(self, panel: Panel) -> str:
        """Why nothing that was learned may forecast a market; empty where it may.

        Weeks that a market is to forecast must not be among those that were learned from tables of the same retailer:
        the same files, or files that have one of the products.
        """
        own = set(product_keys(panel))
        for market in self.facts["markets"]:
            if market["data_md5"] != panel.meta.get("data_md5") and not own & set(market["products"]):
                continue
            if why := learned_later(market, panel):
                return why
        return ""

    def mismatch(self, panel: Panel, backbone: str, price_plan: bool = False) -> str:
        """Why a market cannot start from this base; empty where it can. Columns may be any, so `price_plan` is free."""
        if why := self.data_mismatch(panel):
            return why
        if backbone != self.facts["backbone"]:
            return f"it reads text with backbone {self.facts['backbone']!r}"
        if panel.frequency.daily:
            return "it was taught weeks, and this market has days"
        if (horizon := panel.meta["horizon"]) != self.facts["horizon"]:
            return f"it looks {self.facts['horizon']} weeks ahead, and this market {horizon}"
        return ""

    def model(self, phase: str, market: MarketTensors, tokenizer, **shape) -> SalesBert:
        """The pretrained model for a phase of `fit`, with the columns of a market.

        Pictures, which a market has components of its own for, add nothing before they are trained.

        Raises
        ------
        ValueError : the base has another shape, another encoder, or parts that the code does not have.
        """
        config = SalesBertConfig.from_pretrained(self.folder / phase)
        wanted = {"dropout": config.dropout} | market.sizes() | shape
        for name, value in wanted.items():
            if name not in (*SIZES, "dropout") and value != getattr(config, name):
                raise ValueError(
                    f"finetune.{name} is {value!r}, the base in {self.folder} has {getattr(config, name)!r}. "
                    "Change one of them, or set finetune.from_base to false."
                )
        shape = shape_of(config) | {name: wanted[name] for name in (*SIZES, "dropout")}
        model = SalesBert.from_backbone(backbone_path(self.facts["backbone"]), **shape)
        if encoder_md5(model.state_dict()) != self.facts["encoder_md5"]:
            raise ValueError(
                f"the base in {self.folder} was trained with other weights of backbone {self.facts['backbone']!r}. "
                "Restore that package's version, train the base again, or set finetune.from_base to false."
            )
        self._load_shared_parts(model, phase)
        if model.config.n_picture:
            torch.nn.init.zeros_(model.from_picture.weight)
        return describe(model, market, tokenizer)

    def _load_shared_parts(self, model: SalesBert, phase: str) -> None:
        weights = load_file(self.folder / phase / WEIGHTS)
        wanted = {name: x.shape for name, x in shared_parts(model).items()}
        given = {name: x.shape for name, x in weights.items()}
        different = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
        if different:
            raise ValueError(
                f"the base in {self.folder} was trained by other code: {', '.join(different[:3])} differ. "
                "Train it again, or set finetune.from_base to false."
            )
        model.load_state_dict(weights, strict=False)


def save_any_base(
    folder: Path, models: dict[str, SalesBert], facts: dict[str, Any], history: pd.DataFrame | None = None
) -> None:
    """Write the shared parts of the model of each phase, `base.json` and `history.csv`."""
    for phase, model in models.items():
        (folder / phase).mkdir(parents=True, exist_ok=True)
        model.config.save_pretrained(folder / phase)
        save_file(shared_parts(model), folder / phase / WEIGHTS)
    first = next(iter(models.values()))
    versions = {package: version(package) for package in VERSIONS}
    facts = facts | {"columns": "by_meaning", "horizon": first.config.horizon}
    facts |= {"encoder_md5": encoder_md5(first.state_dict()), "revision": revision(), "versions": versions}
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
    if history is not None:
        history.round(6).to_csv(folder / HISTORY, index=False)
