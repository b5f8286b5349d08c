"""What many categories of a retailer taught a model, and which markets may go on from there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.frame import Panel

FACTS = "base.json"


def input_columns(market: MarketTensors) -> dict:
    """What a model's weights hang on: columns of each tensor in order, locations, horizon."""
    return market.names | {"locations": market.locations, "horizon": market.sizes()["horizon"]}


@dataclass(frozen=True)
class Base:
    """A folder with a pretrained model for each phase of `training.fit`, and what they were trained on.

    facts : what `input_columns` says of its market; scale (column -> mean, standard deviation), backbone, data_md5, train_end
        and validation_end (the last weeks that the model for 'select', and that for 'refit', has seen) and categories.
    """

    folder: Path
    facts: dict

    @classmethod
    def load(cls, folder: str | Path) -> Base | None:
        """None where there is none, or one of no category."""
        path = Path(folder) / FACTS
        facts = json.loads(path.read_text()) if path.exists() else {}
        return cls(Path(folder), facts) if facts.get("categories") else None

    def data_mismatch(self, panel: Panel) -> str:
        """Why nothing that was learned from these categories may forecast a market; empty where it may.

        What has seen later weeks than the market learns from would know what is to be forecast.
        """
        facts, meta = self.facts, panel.meta
        if meta.get("data_md5") != facts["data_md5"]:
            return "it is of other tables"
        for end in ("train_end", "validation_end"):
            if pd.Timestamp(facts[end]) > pd.Timestamp(meta[end]):
                return f"its {end.replace('_', ' ')} is {facts[end]}, and this market's is {meta[end]}"
        return ""

    def mismatch(self, panel: Panel, market: MarketTensors, backbone: str) -> str:
        """Why a market cannot go on from here; empty where it can."""
        facts = self.facts
        if why := self.data_mismatch(panel):
            return why
        if backbone != facts["backbone"]:
            return f"it reads text with backbone {facts['backbone']!r}"
        told, known = input_columns(market), {name: facts[name] for name in input_columns(market)}
        odd = [name for name in told if told[name] != known[name]]
        return f"it was told other {', '.join(odd)}" if odd else ""

    def model(self, phase: str, **shape) -> SalesBert:
        """The pretrained model for a phase of `training.fit`; a ValueError where `shape` asks for another than it has.

        Dropout has no weights: a market may train with another.
        """
        own = {"dropout": shape.pop("dropout")} if "dropout" in shape else {}
        model = SalesBert.from_pretrained(self.folder / phase, **own)
        odd = {k: (v, getattr(model.config, k)) for k, v in shape.items() if v != getattr(model.config, k)}
        if odd:
            said = "; ".join(f"{k} is {v!r}, the base has {own!r}" for k, (v, own) in odd.items())
            raise ValueError(
                f"{said}. Change finetune or pretrain so that they agree, or set finetune.from_base: false."
            )
        return model
