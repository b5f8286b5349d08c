"""Cheaper training and forecasting: what of the encoder is trained, adapters as files of their own, int8 weights."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from shelfcast.model.config import SalesBertConfig, shape_of
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import backbone_path
from shelfcast.model_options import Training

ENCODER = ("layers.", "embeddings.")  # how the names of its weights begin
WEIGHTS, FACTS = "adapter.safetensors", "adapter.json"


def adapt(model: SalesBert, training: Training) -> SalesBert:
    """Make the encoder trainable as `training.mode` says; returns the model to train."""
    if not model.config.use_text:
        return model
    model.embeddings.requires_grad_(False)  # a market has few words, whose vectors would be learned by heart
    if training.mode == "full":
        return model
    for name, p in model.named_parameters():
        if name.startswith(ENCODER):
            p.requires_grad_(False)
    return model if training.mode == "frozen" else _with_adapters(model, training.lora_rank)


def _with_adapters(model: SalesBert, rank: int) -> SalesBert:
    modules = r"layers\.\d+\.(attention\.self\.(query|value)|intermediate\.dense)"
    from peft import LoraConfig, get_peft_model  # takes seconds, which those who forecast need not wait

    lora = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=modules)
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
    state = model.state_dict()
    rank = next((len(p) for name, p in model.named_parameters() if "lora_A" in name), 0)
    if not rank or encoder_md5(state) != encoder_md5(_with_backbone(model.config, backbone).state_dict()):
        merged(model).save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    new = {name: x.contiguous() for name, x in state.items() if "lora_" in name or not name.startswith(ENCODER)}
    save_file(new, folder / WEIGHTS)
    model.config.save_pretrained(folder)
    facts = {"backbone": backbone, "encoder": encoder_md5(state), "lora_rank": rank}
    (folder / FACTS).write_text(json.dumps(facts))


def load(folder: str | Path, int8: bool = False) -> SalesBert:
    """The model that `save` wrote, in eval mode, adapters merged. int8 : see `quantised`.

    Raises
    ------
    ValueError : the backbone's weights are not those that the adapters were trained on.
    """
    folder = Path(folder)
    if (folder / FACTS).exists():
        facts = json.loads((folder / FACTS).read_text())
        model = _with_backbone(SalesBertConfig.from_pretrained(folder), facts["backbone"])
        if encoder_md5(model.state_dict()) != facts["encoder"]:
            raise ValueError(
                f"{folder}/ adapts another backbone than {facts['backbone']!r} is now. Restore it, or train anew."
            )
        model = _with_adapters(model, facts["lora_rank"])
        model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        model = merged(model)
    else:
        model = SalesBert.from_pretrained(folder)
    return quantised(model.eval()) if int8 else model.eval()


def quantised(model: SalesBert) -> SalesBert:
    """Encoder layers with int8 weights, a quarter of their size, for forecasts on the CPU; the head stays float32."""
    if model.config.use_text:
        with warnings.catch_warnings():  # its successor, torchao, was slower than float32 without a compiler
            warnings.simplefilter("ignore")
            model.layers = torch.ao.quantization.quantize_dynamic(model.layers, {nn.Linear}, dtype=torch.qint8)
    return model


def _with_backbone(config: SalesBertConfig, backbone: str) -> SalesBert:
    """A model of this shape with the backbone's own encoder."""
    return SalesBert.from_backbone(backbone_path(backbone), **shape_of(config))


def encoder_md5(state: dict[str, torch.Tensor]) -> str:
    """Hash of the encoder's own weights, adapted or not."""
    digest = hashlib.md5()
    own = {n.replace(".base_layer", ""): x for n, x in state.items() if n.startswith(ENCODER) and "lora_" not in n}
    for name in sorted(own):
        digest.update(name.encode() + own[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
