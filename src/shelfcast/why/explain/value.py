"""The forecast of a product as a function of its groups of inputs: what explanations explain.

It is the forecast that `model.forecast` makes: the mean over the seeds' models, its regions scaled to add up to the chain.

Axes: B products, L locations (chain first), H horizons, G groups, S words, D width.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from shelfcast.judge.coherence import SMALLEST
from shelfcast.model.salesbert import SalesBert
from shelfcast.why.explain.groups import PICTURE, PLAN, SHOCK, WEEKS, WORDS, Group
from shelfcast.why.explain.usual import Fields, Inputs, words_of

ENCODED = (WEEKS, WORDS, PICTURE)  # fields that the weeks are read with; the others enter after it


def with_words(inputs: Inputs, model: SalesBert) -> Inputs:
    """The inputs with the field of words, as the model reads them; as they are for a model without text."""
    words = words_of(model, inputs)
    if words is None:
        return inputs
    actual, usual = ({**fields, WORDS: x} for fields, x in zip((inputs.actual, inputs.usual), words, strict=True))
    return replace(inputs, actual=actual, usual=usual)


def encode(model: SalesBert, fields: Fields, context: Fields) -> tuple[torch.Tensor, torch.Tensor]:
    """The product token (B, L, D) and the state at the cutoff (B, L, 1, D)."""
    read, tokens, mask = None, context["input_ids"], context["text_mask"]
    if model.config.use_text:
        tokens = fields[WORDS]
        if model.body is not None:
            read = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    last = torch.tensor([fields[WEEKS].shape[2] - 1])
    return model.encode(
        context["static"], fields[WEEKS], context["graph"], tokens, mask, context["has_text"], read,
        fields[PICTURE], context["has_picture"], last,
    )  # fmt: skip


def decode(model: SalesBert, states, fields: Fields, context: Fields) -> torch.Tensor:
    """Mean units (B, L, H), in sales of the usual size, of one model."""
    by_week = (fields[WEEKS][:, :, -1:], fields[PLAN][:, :, None], context["level"][..., None])
    mean, _ = model.decode(*states, context["static"], *by_week, fields[SHOCK][..., None])
    return mean[:, :, 0]


def expected_units(model: SalesBert, fields: Fields, context: Fields) -> torch.Tensor:
    """`encode` and `decode` at once."""
    return decode(model, encode(model, fields, context), fields, context)


def coherent_units(mean: torch.Tensor) -> torch.Tensor:
    """Regions (…, 1:, H) scaled to add up to the chain (…, 0, H); see `judge.coherence`."""
    if mean.shape[-2] == 1:
        return mean
    chain, regions = mean[..., :1, :], mean[..., 1:, :]
    return torch.cat([chain, regions * chain / regions.sum(-2, keepdim=True).clamp(min=SMALLEST)], -2)


def coalitions(n: int) -> np.ndarray:
    """(2^n, n) bool: every set of n groups; row k has group i where bit i of k is set."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def coalition_units(models: list[SalesBert], inputs: Inputs, groups: list[Group]) -> np.ndarray:
    """(2^G, B, L, H) units forecast with each set of groups as it is and the others as usual; the last row is the forecast."""
    total = sum(_each_set(model, inputs, groups) for model in models)
    return inputs.size * coherent_units(total / len(models)).numpy()


@torch.no_grad()
def _each_set(model: SalesBert, inputs: Inputs, groups: list[Group]) -> torch.Tensor:
    """(2^G, B, L, H) of one model. Weeks are read once for each set of the groups that they are read with, a few of all."""
    own, states, units = with_words(inputs, model), {}, []
    encoded = [bool(set(ENCODED) & set(g.columns) & set(own.actual)) for g in groups]
    for members in coalitions(len(groups)):
        key = tuple(members[encoded])
        fields = own.mixed(dict(zip([g.name for g in groups], members, strict=True)), groups)
        if key not in states:
            states[key] = encode(model, fields, own.context)
        units.append(decode(model, states[key], fields, own.context).double())
    return torch.stack(units)
