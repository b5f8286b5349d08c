"""The forecast of a product as a function of its groups of inputs: what explanations explain.

It is the forecast that `model.forecast` makes: the mean over the seeds' models, its regions scaled to add up to the chain.

Axes: B products, L locations (chain first), H horizons, G groups, S words, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from shelfcast.judge.coherence import SMALLEST
from shelfcast.model.salesbert import SalesBert
from shelfcast.why.explain.groups import PICTURE, PLAN, SHOCK, WEEKS, WORDS, Group
from shelfcast.why.explain.usual import Fields, Inputs, words_of

ROWS = 512  # sets and products at a time
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
    return units_of_sets(models, [encoded_sets(model, inputs, groups) for model in models], inputs, groups)


@dataclass(frozen=True)
class EncodedSets:
    """What one model made of the past with each set of the groups that weeks are read with, a few of all sets.

    products, weeks : states that `SalesBert.encode` returns, (K, B, L, D) and (K, B, L, 1, D). which : (2^G,) the
    number of its states for each set.
    """

    products: torch.Tensor
    weeks: torch.Tensor
    which: np.ndarray


@torch.no_grad()
def encoded_sets(model: SalesBert, inputs: Inputs, groups: list[Group]) -> EncodedSets:
    """The weeks are read once for each set of the groups that they are read with."""
    own = with_words(inputs, model)
    encoded = [bool(set(ENCODED) & set(group.columns) & set(own.actual)) for group in groups]
    sets = coalitions(len(groups))
    members, which = np.unique(sets & encoded, axis=0, return_inverse=True)
    states = []
    for row in members:
        fields = own.mixed(dict(zip([group.name for group in groups], row, strict=True)), groups)
        states.append(encode(model, fields, own.context))
    products, weeks = (torch.stack(x) for x in zip(*states, strict=True))
    return EncodedSets(products, weeks, which.ravel())


@torch.no_grad()
def units_of_sets(
    models: list[SalesBert], encoded: list[EncodedSets], inputs: Inputs, groups: list[Group]
) -> np.ndarray:
    """`coalition_units` where the past has been read; the plan of `inputs` may be another than it was read with."""
    fields = _fields_of_sets(inputs, groups)
    n_sets, n_products = fields[PLAN].shape[:2]
    total = torch.zeros(0)
    for model, own in zip(models, encoded, strict=True):
        parts = []
        for chosen in torch.arange(n_sets).split(max(1, ROWS // n_products)):
            which = own.which[chosen.numpy()]
            states = own.products[which].flatten(0, 1), own.weeks[which].flatten(0, 1)
            context = {name: x.repeat(len(chosen), *[1] * (x.dim() - 1)) for name, x in inputs.context.items()}
            units = decode(model, states, {name: x[chosen].flatten(0, 1) for name, x in fields.items()}, context)
            parts.append(units.double().unflatten(0, (len(chosen), n_products)))
        total = torch.cat(parts) if not len(total) else total + torch.cat(parts)
    return inputs.size * coherent_units(total / len(models)).numpy()


def _fields_of_sets(inputs: Inputs, groups: list[Group]) -> Fields:
    """Field that enters after the weeks were read -> (2^G, B, …) with each set; of past weeks the last one alone."""
    last = replace(inputs, **{
        name: {WEEKS: fields[WEEKS][:, :, -1:], PLAN: fields[PLAN], SHOCK: fields[SHOCK]}
        for name, fields in (("actual", inputs.actual), ("usual", inputs.usual))
    })  # fmt: skip
    names = [group.name for group in groups]
    mixed = [last.mixed(dict(zip(names, row, strict=True)), groups) for row in coalitions(len(groups))]
    return {name: torch.stack([fields[name] for fields in mixed]) for name in (WEEKS, PLAN, SHOCK)}
