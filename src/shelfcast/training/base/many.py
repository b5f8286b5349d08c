"""Markets of different tables as one source of training steps: each step reads products of one market.

The columns of all markets together are those of the model. A column that a market lacks is 0 there, its mean, which
adds nothing (see `model.meaning`); a market's own weeks and locations stay as many as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import set_seed

from shelfcast.model.forecast import read_text_once
from shelfcast.model.meaning.describe import describe
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.model_options import Training
from shelfcast.training.initial import fit_text_axes
from shelfcast.training.phase import Phase

FIELDS = ("static", "weeks", "plan")  # whose columns differ from market to market
UNREAD = ("input_ids", "text_mask")  # once texts were read
SAVE_EVERY = 200  # steps
OWN_SCALE = ("level", "price_level")  # pieces or litres, dollars or yen: what is large is told within a market alone
STORES = "store_"  # columns that begin so, such as coordinates, have an origin or a unit of their own at each retailer


def all_columns(markets: list[MarketTensors]) -> dict[str, list[str]]:
    """Field -> the columns of all markets, in the order in which they are first met; the outlook stays the plan's last."""
    names = {field: list(dict.fromkeys(name for m in markets for name in m.names[field])) for field in FIELDS}
    outlook = markets[0].names["plan"][-1]
    names["plan"] = [name for name in names["plan"] if name != outlook] + [outlook]
    return names


def family(column: str) -> str:
    """Columns that a retailer has together: the first word of the name, 'promotion' of 'promotion: radio'."""
    return re.split(r"[_: ]", column)[0]


def shared_scale(markets: list[MarketTensors]) -> dict[str, list[float]]:
    """Mean and standard deviation of each column over all markets that have it, each counting alike.

    Left out are those of `OWN_SCALE` and of stores, which each market scales by its own training weeks.
    """
    scale = {}
    for column in dict.fromkeys(name for market in markets for name in market.scale):
        own = np.array([market.scale[column] for market in markets if column in market.scale])
        if column not in OWN_SCALE and not column.startswith(STORES):
            mean = own[:, 0].mean()
            scale[column] = [float(mean), float(((own[:, 1] ** 2 + (own[:, 0] - mean) ** 2).mean()) ** 0.5)]
    return scale


@dataclass(frozen=True)
class ManyMarkets(torch.utils.data.Dataset):
    """Item i is the batch of step i: products of one market, drawn by the seed and i alone, so that training resumes.

    markets : with texts read, each drawn by the root of its weeks of products, so that a few large ones do not decide.
    names : the model's columns. batch_weeks : weeks of products in a step.
    hide_plan : share of forecasts that do not know the plan. drop_columns : chance that a step lacks a family of
        columns (see `family`), so that the model does without those that another market lacks.
    """

    markets: list[MarketTensors]
    names: dict[str, list[str]]
    n_steps: int
    batch_weeks: int
    hide_plan: float
    drop_columns: float
    seed: int

    planned = ()  # plans are hidden here, market by market

    def __len__(self) -> int:
        return self.n_steps

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        draw = np.random.default_rng([self.seed, i])
        sizes = np.sqrt([len(m) * len(m.weeks_index) for m in self.markets])
        market = self.markets[draw.choice(len(sizes), p=sizes / sizes.sum())]
        n = min(len(market), max(1, round(self.batch_weeks / len(market.weeks_index))))
        products = torch.as_tensor(np.sort(draw.choice(len(market), n, replace=False)))
        batch = {name: x[products] for name, x in market.tensors.items()}
        if market.planned:
            hidden = draw.random((n, 1, len(market.weeks_index), 1, 1)) < self.hide_plan
            batch["plan"] = market.with_plan_hidden(batch["plan"], torch.as_tensor(hidden))
        every = [name for field in FIELDS for name in self.names[field]]
        families = [name for name in dict.fromkeys(map(family, every)) if draw.random() < self.drop_columns]
        dropped = {name for name in every if family(name) in families}
        return batch | {field: self.aligned(batch[field], market, field, dropped) for field in FIELDS}

    def aligned(self, x: torch.Tensor, market: MarketTensors, field: str, dropped: set[str]) -> torch.Tensor:
        """x (…, F of the market) -> (…, F of the model), 0 where the market lacks a column or it is dropped."""
        at = {name: i for i, name in enumerate(self.names[field])}
        out = x.new_zeros(*x.shape[:-1], len(at))
        kept = [name not in dropped for name in market.names[field]]
        where = [at[name] for name in market.names[field] if name not in dropped]
        out[..., where] = x[..., torch.tensor(kept)]
        return out

    def with_levels(self, batch: dict, times: torch.Tensor) -> dict:
        """The batch itself: levels of many markets are not varied (see `pretrain_any`)."""
        return batch

    def as_market(self) -> MarketTensors:
        """A market of one product with all columns: what a model's shape and descriptions are made of."""
        first = self.markets[0]
        in_units = list(dict.fromkeys(name for market in self.markets for name in market.in_units))
        planned = list(dict.fromkeys(name for market in self.markets for name in market.planned))
        return replace(first, names=first.names | self.names | {"picture": []}, in_units=in_units, planned=planned)


@dataclass(frozen=True)
class ManyPhase(Phase):
    """`Phase` over many markets, without a validation score."""

    def _prepared(self, model: SalesBert) -> tuple[ManyMarkets, None]:
        if not model.text_centre.any():
            given = [m.tensors["read"][m.tensors["has_text"]] for m in self.train.markets]
            fit_text_axes(model, torch.cat(given))
        model.train()
        return self.train, None

    def _arguments(self, seed: int, folder: Path):
        arguments = super()._arguments(seed, folder)
        arguments.save_steps = arguments.logging_steps = min(SAVE_EVERY, self.n_steps)
        return arguments


def first_item(items: list[dict]) -> dict:
    """A step's batch is one item."""
    (item,) = items
    return item


def pretrain_any(
    make_model, markets: list[MarketTensors], tokenizer, training: Training, drop_columns: float, seed: int, work: Path
) -> tuple[SalesBert, dict[str, list[str]], pd.DataFrame]:
    """Train one model on markets of different tables; killed at any point, the same call continues.

    Parameters
    ----------
    make_model : sizes of a market (see `SalesBertConfig`) -> a fresh model of `columns: by_meaning`.
    markets : with the labels that may be learned from, on one scale (`shared_scale`). work : folder of checkpoints.

    Returns
    -------
    The model in eval mode, its columns, and its history (step, loss).

    Raises
    ------
    ValueError : settings that only a training of one market has.
    """
    if training.mode != "frozen" or training.level_noise or training.processes > 1:
        raise ValueError(
            "many markets are learned with mode 'frozen', level_noise 0, processes 1. Change these of base."
        )
    set_seed(seed)
    names, fields = all_columns(markets), {"hide_plan": training.hide_plan, "drop_columns": drop_columns}
    data = ManyMarkets(markets, names, training.steps, training.batch_weeks, seed=seed, **fields)
    shape = data.as_market()

    def fresh(_: str) -> SalesBert:
        return describe(make_model(shape.sizes()), shape, tokenizer)

    reader = fresh("select").eval()
    read = [read_text_once([reader], market) for market in markets]
    read = [replace(m, tensors={name: x for name, x in m.tensors.items() if name not in UNREAD}) for m in read]
    data = replace(data, markets=[without_pictures(market) for market in read])
    phase = ManyPhase("select", fresh, data, None, training, 1, training.steps, collator=first_item)
    model, history = phase.run(seed, work)
    return model.eval(), names, history


def without_pictures(market: MarketTensors) -> MarketTensors:
    """Components of pictures are those of one market."""
    none = {"picture": market.tensors["picture"][:, :0], "has_picture": torch.zeros(len(market), dtype=torch.bool)}
    return replace(market, names=market.names | {"picture": []}, tensors=market.tensors | none)
