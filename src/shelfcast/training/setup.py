"""From a panel and its settings to what `fit` needs: tensors, splits, fresh models, and where training starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shelfcast.data.files import folder_md5
from shelfcast.model.meaning.describe import describe
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path, load_tokenizer, market_tensors, network_shape
from shelfcast.model_options import Finetune, Training
from shelfcast.panel.frame import Panel
from shelfcast.settings import ANY_BASE_FOLDER, BASE_FOLDER
from shelfcast.training.base import Base
from shelfcast.training.base.any_market import AnyBase


@dataclass(frozen=True)
class Setup:
    """What a training of one market needs.

    splits : labels of the training weeks, of the validation weeks, of both together.
    training : the settings to train with; those of `warm_start` where training starts from the base.
    make_model : phase ('select' or 'refit') -> a fresh model.
    warm_start : whether it starts from the base; `start_sentence` says so, and why where it does not.
    fingerprint : JSON of everything besides the panel and `training` that the weights depend on.
    """

    market: MarketTensors
    splits: tuple[MarketTensors, MarketTensors, MarketTensors]
    training: Training
    make_model: Callable[[str], SalesBert]
    warm_start: bool
    start_sentence: str
    fingerprint: list[Any]


def training_setup(panel: Panel, finetune: Finetune, base_folder: str | Path | None = None) -> Setup:
    """Decide where training starts, and prepare it.

    base_folder : of a base for `finetune.columns`; the project's own where none is given.

    Raises
    ------
    ValueError : the backbone cannot be loaded, or `finetune` asks for a shape that the base does not have.
    """
    tokenizer = load_tokenizer(finetune.backbone)
    by_meaning = finetune.columns == "by_meaning"
    base, sentence = _fitting_base(panel, finetune, base_folder or (ANY_BASE_FOLDER if by_meaning else BASE_FOLDER))
    scale = None
    if base is not None:
        scale, finetune = base.facts["scale"], warm_start_settings(finetune)
    market = market_tensors(panel, tokenizer, finetune.price_plan, scale, by_meaning)
    shape = network_shape(finetune, market)

    def make_model(phase: str) -> SalesBert:
        if base is not None:
            return base.model(phase, market, tokenizer, **shape) if by_meaning else base.model(phase, **shape)
        model = SalesBert.from_backbone(backbone_path(finetune.backbone), finetune.pretrained, **shape)
        return describe(model, market, tokenizer) if by_meaning else model

    fingerprint = [finetune.backbone, finetune.pretrained, finetune.price_plan, shape, torch.__version__]
    fingerprint += [folder_md5(base_folder)] if base is not None else []
    return Setup(market, market.splits(panel), finetune, make_model, base is not None, sentence, fingerprint)


def _fitting_base(panel: Panel, finetune: Finetune, folder: str | Path) -> tuple[Base | AnyBase | None, str]:
    """The base where the market can start from it, and a sentence about that."""
    if not finetune.from_base:
        return None, "Training starts from the backbone alone, as finetune.from_base says."
    base = (AnyBase if finetune.columns == "by_meaning" else Base).load(folder)
    if base is None:
        return None, f"Training starts from the backbone alone: {folder}/ holds no base."
    if why := base.mismatch(panel, finetune.backbone, finetune.price_plan):
        return None, f"Training starts from the backbone alone. The base does not fit this market: {why}."
    return base, f"Training starts from the base of {base.n_sources}, on its scale."


def warm_start_settings(finetune: Finetune) -> Finetune:
    """The settings with those of `warm_start` in their place."""
    warm = finetune.warm_start
    return replace(
        finetune,
        steps=warm.steps,
        learning_rate=warm.learning_rate,
        batch_weeks=warm.batch_weeks,
        dropout=warm.dropout,
    )
