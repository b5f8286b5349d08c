"""Training by transformers' Trainer: choose the number of epochs on validation weeks, then refit up to the test weeks.

A run is two phases in one work folder, `select` and `refit`, each with checkpoints. Killed at any point, the same
call goes on from the last checkpoint and ends with the same weights as an uninterrupted run; a work folder that
belongs to other data or settings is thrown away. The finished model never depends on the work folder.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft import LoraConfig, get_peft_model
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import is_torch_bf16_gpu_available

from shelfcast.appeal import teach
from shelfcast.dataset import MarketTensors
from shelfcast.metrics import WQL_QUANTILES, negative_binomial_quantiles
from shelfcast.model import SalesBert
from shelfcast.parallel import side_by_side

MODES = ("full", "lora", "frozen")
SEAL = "whole"  # the empty file that says so
AVERAGE = "average.pt"


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; an unknown key is an error.

    mode : 'full' trains everything, 'lora' low-rank adapters in the encoder, 'frozen' leaves the encoder as it is.
    learning_rate : of the new parts and adapters; backbone_learning_rate : of the encoder under 'full'.
    batch_weeks : weeks of products that a step sees, each with all locations: the longer the history, the fewer
        products, and the more steps an epoch has. patience : epochs without a better validation WQL.
    average_epochs : how far back the weights' running average reaches; the average is what is judged and what comes out
        (Izmailov et al. 2018, SWA, with an exponential mean). 0 takes the last step's weights.
    level_noise : standard deviation of what is added to the log of each week's level in a training step, while columns
        in units are told relative to it: the level is a reference, and the same sales are to be forecast from any.
    accumulation : steps whose gradients are added up. precision : 'fp32', or 'bf16' where the hardware has it.
    """

    mode: str = "full"
    epochs: int = 10
    batch_weeks: int = 300
    learning_rate: float = 1e-3
    backbone_learning_rate: float = 1e-4
    weight_decay: float = 0.1
    warmup: float = 0.1
    patience: int = 3
    average_epochs: float = 2.5
    level_noise: float = 0.5
    lora_rank: int = 8
    accumulation: int = 1
    precision: str = "fp32"

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"finetune.mode is {self.mode!r}; choose one of {', '.join(MODES)}.")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"finetune.precision is {self.precision!r}; choose 'fp32' or 'bf16'.")
        if self.precision == "bf16" and not is_torch_bf16_gpu_available():
            raise ValueError("finetune.precision is 'bf16', which no accelerator of this machine has; choose 'fp32'.")
        for name in ("average_epochs", "level_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"finetune.{name} is {getattr(self, name)}; choose 0 or more.")
        for name in ("epochs", "batch_weeks", "patience", "accumulation", "lora_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"finetune.{name} is {getattr(self, name)}; it must be at least 1.")


class SalesTrainer(Trainer):
    """A Trainer that averages weights and varies levels; the pretrained encoder has a learning rate of its own."""

    def __init__(self, recipe: Recipe, **kwargs):
        self.recipe = recipe
        super().__init__(**kwargs)
        products_a_step = self.args.per_device_train_batch_size * recipe.accumulation
        reach = recipe.average_epochs * len(self.train_dataset) / products_a_step  # steps
        # of what is trained alone: a frozen encoder is most of the model, and its own average
        self.trained = torch.nn.ParameterList(p for p in self.model.parameters() if p.requires_grad)
        self.average = AveragedModel(self.trained, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / max(reach, 1)))
        self.add_callback(Average(self.average, self.trained))

    def training_step(self, model, inputs, *args):
        level = inputs["level"]  # noise is drawn where it is the same on every device
        noise = self.recipe.level_noise * torch.randn(level.shape, device="cpu").to(level.device)
        return super().training_step(model, self.train_dataset.with_levels(inputs, noise.exp()), *args)

    def evaluate(self, *args, **kwargs):
        own = copy.deepcopy(self.trained)
        self.take(self.average.module)
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.take(own)

    @torch.no_grad()
    def take(self, weights) -> None:
        """Give the model these values of its trained weights."""
        for own, given in zip(self.trained, weights, strict=True):
            own.copy_(given)

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        torch.save(
            self.average.state_dict(), Path(self.args.output_dir, f"checkpoint-{self.state.global_step}", AVERAGE)
        )

    def _load_from_checkpoint(self, checkpoint, model=None):
        super()._load_from_checkpoint(checkpoint, model)
        self.average.load_state_dict(torch.load(Path(checkpoint, AVERAGE), weights_only=True))

    def create_optimizer(self):
        groups = {}
        for name, p in self.model.named_parameters():
            if not p.requires_grad:
                continue
            old = name.startswith(("layers.", "embeddings."))
            rate = (
                self.recipe.backbone_learning_rate if old and self.recipe.mode == "full" else self.recipe.learning_rate
            )
            decay = self.recipe.weight_decay if p.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(p)
        self.optimizer = torch.optim.AdamW(
            [{"params": ps, "lr": lr, "weight_decay": decay} for (lr, decay), ps in groups.items()]
        )
        return self.optimizer


class Average(TrainerCallback):
    """Takes each step's weights into their average."""

    def __init__(self, average: AveragedModel, trained: torch.nn.ParameterList):
        self.average, self.trained = average, trained

    def on_step_end(self, args, state, control, **kwargs):
        self.average.update_parameters(self.trained)


class StopAfter(TrainerCallback):
    """Ends a refit at the epoch that validation chose, on the schedule it was chosen on."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop |= round(state.epoch) >= self.epochs


class Seal(TrainerCallback):
    """Signs a checkpoint once it is whole: a kill while one is being written leaves it without."""

    def on_save(self, args, state, control, **kwargs):
        Path(args.output_dir, f"checkpoint-{state.global_step}", SEAL).touch()


def _last_whole_checkpoint(folder: Path) -> str | None:
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / SEAL).exists():
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(str(folder)) if folder.exists() else None


def validation_wql(outputs) -> dict[str, float]:
    """WQL over every location, from a Trainer's (mean, dispersion) and labels; labels that are NaN are left out."""
    (mean, dispersion), y = outputs.predictions, outputs.label_ids
    wanted = ~np.isnan(y)
    y = y[wanted]
    q = np.array(WQL_QUANTILES)
    gap = y[:, None] - negative_binomial_quantiles(mean[wanted], dispersion[wanted], q)
    return {"wql": float(2 * np.maximum(q * gap, (q - 1) * gap).mean(1).sum() / y.sum())}


def adapt(model: SalesBert, recipe: Recipe):
    """Make the model's encoder trainable as the recipe says; returns the model to train."""
    if not model.config.use_text:
        return model
    # The words of a market are few: their vectors would only be learned by heart.
    model.embeddings.requires_grad_(False)
    if recipe.mode == "full":
        return model
    for name, p in model.named_parameters():
        if name.startswith(("layers.", "embeddings.")):
            p.requires_grad_(False)
    if recipe.mode == "frozen":
        return model
    new = sorted({n.split(".")[0] for n, _ in model.named_parameters()} - {"layers", "embeddings"})
    lora = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        lora_dropout=0.0,
        target_modules=r"layers\.\d+\.(attention\.self\.(query|value)|intermediate\.dense)",
    )
    wrapped = get_peft_model(model, lora).base_model.model
    for name, p in wrapped.named_parameters():
        p.requires_grad_("lora_" in name or name.split(".")[0] in new)
    return wrapped


def merged(model: SalesBert) -> SalesBert:
    """Fold LoRA adapters into the weights they adapt, so that what is saved is a plain SalesBert."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if hasattr(child, "merge") and hasattr(child, "base_layer"):
                child.merge()
                setattr(module, name, child.base_layer)
    return model


def fit(
    make_model: Callable[[], SalesBert],
    train: MarketTensors,
    validation: MarketTensors,
    refit: MarketTensors,
    recipe: Recipe,
    seeds: list[int],
    work: str | Path,
    fingerprint: str,
    callbacks=(),
) -> tuple[list[SalesBert], pd.DataFrame]:
    """Train one model a seed: all seeds together choose the number of epochs, then each is trained again with more weeks.

    One seed's validation curve is too noisy to choose by (a lucky second epoch would end a training that has hardly
    begun), so the epoch is the best of the mean curve, among the epochs that every seed reached.

    Parameters
    ----------
    make_model : returns a fresh model; called under the seed.
    train, validation, refit : labels of the training weeks, of the validation weeks, of both together.
    seeds : one model each, trained side by side (`parallel`); none trains nothing.
    work : folder of checkpoints and TensorBoard logs. fingerprint : names data and settings; see the module's text.

    Returns
    -------
    The models of the second phase in eval mode, taught to forecast products without a history too, and one row per
    phase, seed and epoch: loss, wql (validation; NaN in the refit) and best (the chosen epoch).
    """
    columns = ["phase", "seed", "epoch", "loss", "wql", "best"]
    if not seeds:
        return [], pd.DataFrame(columns=columns)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {seeds}; each trains a model of its own, so name none of them twice.")
    folders = [_claim(Path(work) / f"seed_{seed}", [fingerprint, asdict(recipe), seed, seeds]) for seed in seeds]
    runs = dict(zip(seeds, folders, strict=True))
    batch = max(1, round(recipe.batch_weeks / len(train.weeks_index)))  # in both phases, whose epochs are to be alike

    def selected(seed, folder):
        return _phase(make_model, train, validation, recipe, batch, seed, folder / "select", None, callbacks)[1]

    select = pd.concat(side_by_side(selected, runs, "select"))
    best = int(select.pivot(index="epoch", columns="seed", values="wql").dropna().mean(axis=1).idxmin())

    def fitted(seed, folder):
        return _phase(make_model, refit, None, recipe, batch, seed, folder / "refit", best, callbacks)

    again = side_by_side(fitted, runs, "refit")
    log = pd.concat(
        [select.assign(phase="select", best=select["epoch"] == best)]
        + [history.assign(phase="refit", best=False) for _, history in again],
        ignore_index=True,
    )
    return [teach(merged(model), refit, seed) for seed, (model, _) in zip(seeds, again, strict=True)], log[columns]


def fit_new(make_model: Callable[[], SalesBert], market: MarketTensors, seeds: list[int]) -> list[SalesBert]:
    """One model a seed for products without a history alone: the rest of it stays as it was made."""
    models = []
    for seed in seeds:
        set_seed(seed)
        models.append(teach(make_model(), market, seed))
    return models


def _claim(folder: Path, facts: list) -> Path:
    """Empty a work folder that belongs to other data or settings, and sign it."""
    key = hashlib.md5(json.dumps(facts).encode()).hexdigest()
    if folder.exists() and (not (folder / "key").exists() or (folder / "key").read_text() != key):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").write_text(key)
    return folder


def _phase(make_model, train, validation, recipe, batch, seed, folder, stop_after, callbacks):
    set_seed(seed)
    model = adapt(make_model(), recipe)
    judged = validation is not None
    if model.config.use_text:
        train, validation = _read(model, train, recipe), validation and _read(model, validation, recipe)
    if model.config.use_space:
        model.travel.fit(train.tensors["local"].unique(dim=0))  # once a category
    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=4 * batch,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        max_grad_norm=1.0,
        bf16=recipe.precision == "bf16",
        eval_strategy="epoch" if judged else "no",
        save_strategy="epoch",
        logging_strategy="epoch",
        metric_for_best_model="wql",
        greater_is_better=False,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,  # how long it has been without a better score
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=["tensorboard"],
        disable_tqdm=True,  # `side_by_side` has a bar for all
        seed=seed,
        data_seed=seed,
        dataloader_pin_memory=False,
    )
    watch = [EarlyStoppingCallback(recipe.patience)] if judged else [StopAfter(stop_after)]
    trainer = SalesTrainer(
        recipe,
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=validation_wql,
        callbacks=[*watch, Seal(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder))
    log = pd.DataFrame(trainer.state.log_history)
    epochs = (
        log.dropna(subset=["loss"]).assign(epoch=lambda x: x["epoch"].round().astype(int)).set_index("epoch")[["loss"]]
    )
    if judged:
        seen = log.dropna(subset=["eval_wql"])
        epochs["wql"] = pd.Series(seen["eval_wql"].to_numpy(), seen["epoch"].round().astype(int))
    else:
        epochs["wql"] = np.nan
    trainer.take(trainer.average.module)
    return model.cpu(), epochs.reset_index().assign(seed=seed)  # an accelerator has done its part


@torch.no_grad()
def _read(model: SalesBert, market: MarketTensors, recipe: Recipe) -> MarketTensors:
    """Tell the model where the market's texts lie; those that a frozen encoder has read need not be read again.

    A body that is the encoder itself reads them again at each step.
    """
    fields = dict(market.tensors)
    read = model.eval().read_text(fields["input_ids"], fields["text_mask"])
    model.fit_text(read[fields["has_text"]] if fields["has_text"].any() else read)
    model.train()
    if recipe.mode != "frozen" or model.config.body != "compact":
        return market
    kept = {k: v for k, v in fields.items() if k not in ("input_ids", "text_mask")}
    return replace(market, tensors=kept | {"read": read})


def finish(work: str | Path) -> None:
    """Remove the checkpoints under `work`, once what they led to is written; the TensorBoard logs stay."""
    for checkpoint in Path(work).glob("**/checkpoint-*"):
        shutil.rmtree(checkpoint)
