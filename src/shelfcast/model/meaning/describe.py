"""Descriptions of a market's columns, and how a model of meaning takes those of its market."""

from __future__ import annotations

import torch

from shelfcast.model.meaning.layers import FLAGS, ColumnLayer
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

FIELD = {  # of the layers whose columns are described
    "static_in": "static",
    "location.static": "static",
    "week_in": "weeks",
    "head_week": "weeks",
    "head_product": "static",
    "head_plan": "plan",
}


@torch.no_grad()
def descriptions(model: SalesBert, names: dict[str, list[str]], in_units, planned, tokenizer) -> dict:
    """Field -> (F, D) descriptions of its columns: name as the encoder reads it, of mean square 1; then flags.

    Parameters
    ----------
    names : field ('static', 'weeks', 'plan') -> columns. in_units, planned : names of such columns.
    """
    every = sorted({name for field in set(FIELD.values()) for name in names[field]})
    words = tokenizer([name.replace("_", " ") for name in every], padding=True, truncation=True, return_tensors="pt")
    was_training = model.training
    read = model.eval().read_text(words["input_ids"], words["attention_mask"].bool())
    model.train(was_training)
    read = read / read.pow(2).mean(1, keepdim=True).sqrt().clamp(min=1e-6)
    of_name = dict(zip(every, read, strict=True))
    return {field: _rows(field, names, of_name, in_units, planned) for field in set(FIELD.values())}


def _rows(field: str, names: dict[str, list[str]], of_name: dict, in_units, planned) -> torch.Tensor:
    rows = []
    for name in names[field]:
        known_future = field == "plan" or name in names["plan"]
        roles = (field == "static", field == "weeks" and not known_future, known_future)
        flags = torch.tensor([*roles, name in in_units, name in planned], dtype=torch.float32)
        rows.append(torch.cat([of_name[name], flags]))
    return torch.stack(rows) if rows else torch.zeros(0, len(next(iter(of_name.values()))) + FLAGS)


@torch.no_grad()
def describe(model: SalesBert, market: MarketTensors, tokenizer) -> SalesBert:
    """Give a model of `columns: by_meaning` the columns of a market; returns the model.

    Names resemble each other, so the mean of the first market's descriptions is taken off, and stays with the model.
    """
    of_field = descriptions(model, market.names, set(market.in_units), set(market.planned), tokenizer)
    for path, field in FIELD.items():
        layer: ColumnLayer = model.get_submodule(path)
        if not layer.centre.any() and len(of_field[field]):
            layer.centre.copy_(of_field[field].mean(0))
        layer.columns.copy_(of_field[field] - layer.centre)
    return model
