"""Cheaper training and forecasting: what of the encoder is trained, adapters kept apart from it, int8 weights."""

from __future__ import annotations

import hashlib
import inspect
import json
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from shelfcast.model.salesbert import SalesBert, SalesBertConfig
from shelfcast.model.tensors import backbone_path
from shelfcast.settings import Training

ENCODER = ("layers.", "embeddings.")  # how the names of its weights begin
WEIGHTS, FACTS = "adapter.safetensors", "adapter.json"


def adapt(model: SalesBert, training: Training) -> SalesBert:
    """Make the model's encoder trainable as the training says; returns the model to train."""
    if not model.config.use_text:
        return model
    # The words of a market are few: their vectors would only be learned by heart.
    model.embeddings.requires_grad_(False)
    if training.mode == "full":
        return model
    for name, p in model.named_parameters():
        if name.startswith(ENCODER):
            p.requires_grad_(False)
    return model if training.mode == "frozen" else _with_adapters(model, training.lora_rank)


def _with_adapters(model: SalesBert, rank: int) -> SalesBert:
    lora = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=r"layers\.\d+\.(attention\.self\.(query|value)|intermediate\.dense)",
    )
    wrapped = get_peft_model(model, lora).base_model.model
    for name, p in wrapped.named_parameters():
        p.requires_grad_("lora_" in name or not name.startswith(ENCODER))
    return wrapped


def merged(model: SalesBert) -> SalesBert:
    """Fold LoRA adapters into the weights they adapt, so that what is left is a plain SalesBert."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if hasattr(child, "merge") and hasattr(child, "base_layer"):
                child.merge()
                setattr(module, name, child.base_layer)
    return model


def save(model: SalesBert, folder: str | Path, backbone: str) -> None:
    """Write a model: whole, or, where it has adapters, what the backbone's own weights lack (a few MB).

    Where the adapted encoder is not the backbone's (random, or trained before), the whole model is written, merged.
    """
    folder = Path(folder)
    state, rank = model.state_dict(), _rank(model)
    if not rank or encoder_md5(state) != encoder_md5(_plain(model.config, backbone).state_dict()):
        merged(model).save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: x.contiguous() for name, x in state.items() if "lora_" in name or not name.startswith(ENCODER)}
    save_file(kept, folder / WEIGHTS)
    model.config.save_pretrained(folder)
    (folder / FACTS).write_text(json.dumps({"backbone": backbone, "encoder": encoder_md5(state), "lora_rank": rank}))


def load(folder: str | Path, int8: bool = False) -> SalesBert:
    """The model that `save` wrote, in eval mode, adapters merged. int8 : see `quantised`.

    Raises
    ------
    ValueError : the backbone's weights are not those that the adapters were trained on.
    """
    folder = Path(folder)
    if (folder / FACTS).exists():
        facts = json.loads((folder / FACTS).read_text())
        model = _plain(SalesBertConfig.from_pretrained(folder), facts["backbone"])
        if encoder_md5(model.state_dict()) != facts["encoder"]:
            raise ValueError(
                f"{folder}/ adapts another backbone than {facts['backbone']!r} is now; restore it, or train anew."
            )
        model = _with_adapters(model, facts["lora_rank"])
        model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        model = merged(model)
    else:
        model = SalesBert.from_pretrained(folder)
    return quantised(model.eval()) if int8 else model.eval()


def quantised(model: SalesBert) -> SalesBert:
    """Encoder layers with int8 weights, whose inputs are quantised as they come; for forecasts, on the CPU only.

    A quarter of their size. The head keeps its precision: it needs no time, and means lean on it.
    """
    if model.config.use_text:
        with warnings.catch_warnings():  # its successor, torchao, was slower than float32 without a compiler
            warnings.simplefilter("ignore")
            model.layers = torch.ao.quantization.quantize_dynamic(model.layers, {nn.Linear}, dtype=torch.qint8)
    return model


def _plain(config: SalesBertConfig, backbone: str) -> SalesBert:
    """A model of this shape with the backbone's own encoder."""
    names = set(inspect.signature(SalesBertConfig).parameters) - {"backbone", "kwargs"}
    return SalesBert.from_backbone(backbone_path(backbone), **{name: getattr(config, name) for name in names})


def _rank(model: SalesBert) -> int:
    """Of its adapters; 0 where there are none."""
    return next((len(p) for name, p in model.named_parameters() if "lora_A" in name), 0)


def encoder_md5(state: dict[str, torch.Tensor]) -> str:
    """Of the encoder's own weights, adapted or not."""
    digest = hashlib.md5()
    own = {n.replace(".base_layer", ""): x for n, x in state.items() if n.startswith(ENCODER) and "lora_" not in n}
    for name in sorted(own):
        digest.update(name.encode() + own[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
