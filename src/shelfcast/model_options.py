"""Options of models: what a SalesBert is made of and how it is trained, for one market and for the base of many."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from shelfcast.reading_options import Reading
from shelfcast.validate import STRICT, param


@dataclass(frozen=True, config=STRICT)
class Network:
    """What a SalesBert is made of."""

    backbone: str = param("minilm", "packaged MiniLM, or path or hub id of a BERT-type checkpoint")
    pretrained: bool = param(True, "false starts the backbone at random (a control)")
    body: Literal["compact", "backbone"] = param(
        "compact", "what carries the weeks: a small transformer or the backbone"
    )
    layers: int = param(6, "backbone layers kept, from the bottom", ge=1)
    width: int = param(128, "of the compact body", ge=4)
    compact_layers: int = param(2, "layers of the compact body", ge=1)
    use_text: bool = param(True, "false leaves text and backbone out (a control)")
    use_pictures: bool = param(True, "false leaves pictures out, where there are any")
    use_space: bool = param(True, "false hides the other locations from each location")
    columns: Literal["own", "by_meaning"] = param(
        "own", "by_meaning: weights follow from what columns and locations are, so that a base fits other tables"
    )
    dropout: float = param(0.1, "higher where few weeks are to be learned from", ge=0, lt=1)


@dataclass(frozen=True, config=STRICT)
class Training:
    """How a model is trained."""

    mode: Literal["full", "lora", "frozen"] = param("frozen", "what of the backbone is trained")
    steps: int = param(1000, "at most; training ends earlier, once its validation curve is flat", ge=1)
    judge_steps: int = param(25, "between two judgements on the validation weeks; an epoch where that is longer", ge=1)
    patience: int = param(8, "judgements without a better validation score before training stops", ge=1)
    batch_weeks: int = param(300, "weeks of products in a step, each with all its locations", ge=1)
    accumulation: int = param(1, "steps whose gradients are added up, to save memory", ge=1)
    processes: int = param(1, "that share a step, one GPU each where there are GPUs", ge=1)
    learning_rate: float = param(0.002, "of the new parts and adapters", gt=0)
    backbone_learning_rate: float = param(0.0001, "of the backbone, where mode is full", gt=0)
    weight_decay: float = param(0.1, "on matrices", ge=0)
    warmup: int = param(30, "steps over which the learning rate rises; then it stays", ge=0)
    average: float = param(
        0.25, "reach of the averaged weights, as a share of the steps so far; 0 takes the last", ge=0, le=1
    )
    lora_rank: int = param(8, "of the adapters, where mode is lora", ge=1)
    precision: Literal["fp32", "bf16"] = param("fp32", "bf16 where the hardware has it")
    level_noise: float = param(0.0, "standard deviation of noise on the log level in training", ge=0)
    hide_plan: float = param(0.3, "share of forecasts in training that do not know the plan", ge=0, le=1)


@dataclass(frozen=True, config=STRICT)
class WarmStart:
    """What differs in a training that starts from the base."""

    steps: int = param(150, "at most; 0 steps is one of the choices", ge=1)
    learning_rate: float = param(0.0001, "of all trained parts", gt=0)
    batch_weeks: int = param(300, "weeks of products in a step", ge=1)
    dropout: float = param(0.1, "in these steps", ge=0, lt=1)


@dataclass(frozen=True, config=STRICT)
class Finetune(Training, Network):
    """One model of one market (notebook 3)."""

    from_base: bool = param(True, "start from the base where it fits the market; false: from the backbone alone")
    warm_start: WarmStart = param(WarmStart(), "settings of a training that starts from the base")
    price_plan: bool = param(False, "true reads realised prices as if planned (an upper bound)")
    new_products: bool = param(False, "true also trains the head for products without a history")
    seeds: list[int] = param([0, 1, 2], "one model each; forecasts average them", min_length=1)


@dataclass(frozen=True, config=STRICT)
class Base(Training, Network):
    """What many categories of one retailer teach (notebook 2); markets of the same tables start from it."""

    source: Literal["complete_journey", "tables", "simulated"] = param("complete_journey", "how the files are read")
    tables: str = param("data", "folder of the raw tables")
    rename: str = param("", "columns to rename, 'theirs=ours' or 'table.theirs=ours', comma separated")
    read: Reading = param(Reading(), "how files write text, numbers, dates and weeks; see reading_options.py")
    categories: list[str] = param([], "values of products.category; none makes no base")
    n_products: int = param(100, "products kept of each, by units in the training weeks", ge=1)
    steps: int = param(8000, "all are run", ge=1)
    judge_steps: int = param(1000, "between two judgements on the validation weeks", ge=1)
    warmup: int = param(500, "steps over which the learning rate rises; then it stays", ge=0)
    seed: int = param(0, "of the training")
