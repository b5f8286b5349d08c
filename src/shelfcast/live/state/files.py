"""A state on disk: one safetensors file whose header says what it belongs to.

It is a cache: what is refused here is built again from the panel.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from shelfcast.data.files import atomic
from shelfcast.frequency import WEEKLY, Frequency
from shelfcast.live.state.belongs import check_market, check_models
from shelfcast.live.state.market_state import MarketState
from shelfcast.live.state.model_state import ModelState
from shelfcast.model.config import shape_of
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

FORMAT = 1  # rises when older files cannot be read any more
FACTS = ("products", "locations", "names", "in_units", "scale", "planned", "unit")


def save(state: MarketState, path: str | Path, settings: Mapping[str, Any]) -> None:
    """Write a state; the file takes its place in one step.

    settings : what else forecasts depend on, as a mapping that JSON can hold; `load` asks for the same.

    Raises
    ------
    ValueError : models were trained after the state had read the weeks.
    """
    if state.stale():
        raise ValueError("the models were trained since the state read its weeks. Append the market, then save.")
    tensors = {name: x.contiguous() for name, x in _tensors(state)}
    header = {
        "format": FORMAT,
        "models": [model_digest(model) for model in state.models],
        "settings": _digest(settings),
        "market": {name: getattr(state.market, name) for name in FACTS},
        "freq": state.market.frequency.alias,
        "weeks": [str(week.date()) for week in state.market.weeks_index[[0, -1]]],
        "checksums": {name: _checksum(x) for name, x in tensors.items()},
    }
    with atomic(path) as part:
        save_file(tensors, part, {"state": json.dumps(header)})


def load(
    path: str | Path, models: Sequence[SalesBert], market: MarketTensors, settings: Mapping[str, Any]
) -> MarketState:
    """Read a state that `save` wrote; `append` then reads the weeks that closed since.

    Parameters
    ----------
    models, market, settings : as they are now; the market may have grown, and its products may stand in another order.

    Raises
    ------
    ValueError : no such file, it is damaged, or it belongs to other models, another panel or other settings.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} holds no state. Build one of the models and the panel, and save it.")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("state", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}). Delete it, and build the state again.") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is no state that this version can read. Delete it, and build the state again.")
    if {name: _checksum(x) for name, x in tensors.items()} != header["checksums"]:
        raise ValueError(f"{path} is damaged: its content is not what was written. Delete it, and build it again.")
    check_models(models, market)
    if [model_digest(model) for model in models] != header["models"]:
        raise ValueError(f"{path} belongs to other models than these {len(models)}. Build a new state for them.")
    if _digest(settings) != header["settings"]:
        raise ValueError(f"{path} belongs to other settings. Build a new state, or give those that it was saved with.")
    own = _own_market(header)
    check_market(own, market)
    return _restored(models, own, tensors)


def _own_market(header: dict) -> MarketTensors:
    """The market's facts, without its tensors."""
    frequency = Frequency(header.get("freq", WEEKLY.alias))
    weeks = frequency.between(*header["weeks"], name="ds")
    return MarketTensors(weeks_index=weeks, tensors={}, frequency=frequency, **header["market"])


def _restored(models: Sequence[SalesBert], own: MarketTensors, tensors: dict[str, torch.Tensor]) -> MarketState:
    """The state that these tensors are of."""
    state = object.__new__(MarketState)
    state.models, state.products, state.market = list(models), own.products, own
    state.weeks, state.known = tensors["weeks"], tensors["known"]
    state.fixed = {name.removeprefix("fixed."): x for name, x in tensors.items() if name.startswith("fixed.")}
    state.kept = []
    for i, model in enumerate(models):
        kept, start = ModelState(model, len(own.products), len(own.locations)), f"models.{i}."
        kept.put({name.removeprefix(start): x for name, x in tensors.items() if name.startswith(start)})
        state.kept.append(kept)
    return state


def _tensors(state: MarketState) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and tensor of all that is kept."""
    yield "weeks", state.weeks
    yield "known", state.known
    for name, x in state.fixed.items():
        yield f"fixed.{name}", x
    for i, kept in enumerate(state.kept):
        for name, x in kept.tensors(1 + state.weeks.shape[2]):
            yield f"models.{i}.{name}", x


def model_digest(model: SalesBert) -> str:
    """Hash of a model's shape and weights, int8 ones too."""
    shape = shape_of(model.config) | {"backbone": model.config.backbone}
    digest = hashlib.blake2b(json.dumps(shape, sort_keys=True).encode(), digest_size=16)
    for name, x in sorted(model.state_dict().items()):
        digest.update(name.encode())
        for part in x if isinstance(x, tuple) else (x,):  # packed weights and their bias
            if isinstance(part, torch.Tensor):
                plain = part.detach().dequantize() if part.is_quantized else part.detach()
                digest.update(plain.contiguous().numpy().reshape(-1).view("u1"))
    return digest.hexdigest()


def _digest(settings: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(settings, sort_keys=True)
    except TypeError as error:
        raise ValueError(f"settings cannot be written as JSON: {error}. Give plain values.") from error
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _checksum(x: torch.Tensor) -> int:
    return zlib.crc32(x.contiguous().numpy().reshape(-1).view("u1"))
