"""Integrated gradients: what every input adds on the straight way from the usual inputs to the actual ones.

An input's attribution is its change times the mean of the forecast's derivative along the way (Sundararajan et al. 2017),
by captum, at Gauss–Legendre nodes. Attributions add up to the forecast less the usual one, so that words, weeks and
regions can be read inside of their group.

Axes: B products, L locations, T weeks, H horizons, S words, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients

from shelfcast.model.salesbert import SalesBert
from shelfcast.why.explain.groups import PICTURE, PLAN, SHOCK, WEEKS, WORDS, Group
from shelfcast.why.explain.usual import Inputs
from shelfcast.why.explain.value import coherent_units, expected_units, with_words

NODES, MOST_NODES = 16, 128  # doubled for products whose attributions do not add up
COMPLETE = 0.01  # of what they move in all
BATCH = 32  # nodes and products at a time


@dataclass(frozen=True)
class Attributions:
    """Units that inputs add to a forecast of B products.

    groups : (G, B). weeks : (G, B, T) of past weeks. ahead : (G, B, H) of the plan for coming weeks. locations :
    (G, B, L), 0 for text and picture, which are the same everywhere. words : (B, S). usual, forecast, error : (B,); the
    error is that of adding up, as a share of what the groups move in all.
    """

    groups: np.ndarray
    weeks: np.ndarray
    ahead: np.ndarray
    locations: np.ndarray
    words: np.ndarray
    usual: np.ndarray
    forecast: np.ndarray
    error: np.ndarray


def attributions(
    models: list[SalesBert], inputs: Inputs, groups: list[Group], location: int = 0, horizon: int | None = None
) -> Attributions:
    """Integrated gradients of the units forecast at a location, of one horizon (from 1) or, where none is given, of all.

    Nodes are doubled for those products alone whose attributions do not add up yet.
    """
    nodes, done = NODES, _integrated(models, inputs, groups, location, horizon, NODES)
    while nodes < MOST_NODES and (left := np.flatnonzero(done.error > COMPLETE)).size:
        nodes *= 2
        again = _integrated(models, inputs.some(left), groups, location, horizon, nodes)
        for name, values in vars(done).items():
            axis = 1 if values.ndim > 1 and name != "words" else 0  # groups come before products
            values[(slice(None), left) if axis else left] = getattr(again, name)
    return done


def _integrated(
    models: list[SalesBert], inputs: Inputs, groups: list[Group], location: int, horizon: int | None, nodes: int
) -> Attributions:
    """Attributions by a number of nodes, whether or not they add up."""
    own = [with_words(inputs, model) for model in models]
    shared = [name for name in (WEEKS, PLAN, SHOCK, PICTURE) if inputs.actual[name].shape[-1]]
    reads_text = [WORDS in x.actual for x in own]
    none = dict.fromkeys((group.name for group in groups), False)
    actual, usual = (
        [fields[0][name] for name in shared] + [x[WORDS] for x in fields if WORDS in x]
        for fields in ([x.actual for x in own], [x.mixed(none, groups) for x in own])
    )
    empty = {name: inputs.actual[name] for name in (WEEKS, PLAN, SHOCK, PICTURE) if name not in shared}

    def forecast(*tensors: torch.Tensor) -> torch.Tensor:
        """(rows,) units; the last tensor has the products' numbers, as captum repeats the others for every node."""
        *tensors, rows = tensors
        words, total = iter(tensors[len(shared) :]), 0.0
        fields = dict(zip(shared, tensors, strict=False)) | {name: x[rows] for name, x in empty.items()}
        context = {name: x[rows] for name, x in inputs.context.items()}
        for model, has_words in zip(models, reads_text, strict=True):
            total = total + expected_units(model, fields | ({WORDS: next(words)} if has_words else {}), context)
        units = inputs.size * coherent_units(total / len(models))[:, location]
        return units.sum(-1) if horizon is None else units[:, horizon - 1]

    rows = torch.arange(len(actual[0]))
    with torch.no_grad():
        ends = [forecast(*tensors, rows).double().numpy() for tensors in (usual, actual)]
    parts = IntegratedGradients(forecast).attribute(
        tuple(actual), tuple(usual), additional_forward_args=rows, n_steps=nodes, method="gausslegendre",
        internal_batch_size=max(BATCH, len(rows)),
    )  # fmt: skip
    parts = [x.detach().double().numpy() for x in parts]
    fields = dict(zip(shared, parts, strict=False))
    if any(reads_text):
        fields[WORDS] = sum(parts[len(shared) :])
    return _by_group(fields, inputs, groups, *ends)


def _by_group(
    fields: dict[str, np.ndarray], inputs: Inputs, groups: list[Group], usual: np.ndarray, forecast: np.ndarray
) -> Attributions:
    """Sums of the attributions of each field over the columns of each group."""
    n_products, n_locations, n_weeks = inputs.actual[WEEKS].shape[:3]
    shape = len(groups), n_products
    weeks, ahead = np.zeros((*shape, n_weeks)), np.zeros((*shape, inputs.actual[PLAN].shape[2]))
    locations, total = np.zeros((*shape, n_locations)), np.zeros(shape)
    for i, group in enumerate(groups):
        for field, columns in group.columns.items():
            if field not in fields:
                continue  # the model does not read it
            x = fields[field]
            if columns is not None:
                x = x[..., [inputs.names[field].index(name) for name in columns]].sum(-1)
            total[i] += x.reshape(n_products, -1).sum(1)
            if field == WEEKS:
                weeks[i] += x.sum(1)
            if field == PLAN:
                ahead[i] += x.sum(1)
            if field in (WEEKS, PLAN, SHOCK):
                locations[i] += x.reshape(n_products, n_locations, -1).sum(-1)
    words = fields[WORDS].sum(-1) if WORDS in fields else np.zeros((n_products, inputs.context["input_ids"].shape[1]))
    moved = np.maximum(np.abs(total).sum(0), 1e-6)
    error = np.abs(total.sum(0) - (forecast - usual)) / moved
    return Attributions(total, weeks, ahead, locations, words, usual, forecast, error)
