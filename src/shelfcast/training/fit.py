"""Training by transformers' Trainer: choose the number of epochs on validation weeks, then refit up to the test weeks.

A run is two phases in one work folder, `select` and `refit`, each with checkpoints. Killed at any point, the same
call goes on from the last checkpoint and ends with the same weights as an uninterrupted run; a work folder that
belongs to other data or settings is thrown away. The finished model never depends on the work folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

from shelfcast.model.adapters import adapt, merged
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.settings import Training
from shelfcast.training.new_products import fit_new_product_head
from shelfcast.training.parallel import in_parallel
from shelfcast.training.trainer import (
    CompleteMark,
    SalesTrainer,
    StopAfter,
    judged,
    last_whole_checkpoint,
    validation_wql,
)

COLUMNS = ["phase", "seed", "epoch", "loss", "wql", "best"]  # of a history


def fit(
    make_model: Callable[[str], SalesBert],
    train: MarketTensors,
    validation: MarketTensors,
    refit: MarketTensors,
    training: Training,
    seeds: list[int],
    work: str | Path,
    fingerprint: str,
    callbacks=(),
    warm_start: bool = False,
    new_products: bool = False,
) -> tuple[list[SalesBert], pd.DataFrame, list[tuple[np.ndarray, np.ndarray]]]:
    """Train one model a seed: all seeds together choose the number of epochs, then each is trained again with more weeks.

    One seed's validation curve is too noisy to choose by (a lucky second epoch would end a training that has hardly
    begun), so the epoch is the best of the mean curve, among the epochs that every seed reached.

    Parameters
    ----------
    make_model : returns a fresh model for a phase, 'select' or 'refit'; called under the seed.
    train, validation, refit : labels of the training weeks, of the validation weeks, of both together.
    seeds : one model each, trained side by side (`parallel`); none trains nothing.
    work : folder of checkpoints and TensorBoard logs. fingerprint : names data and settings; see the module's text.
    warm_start : the models know something already, and none at all may be the best number of epochs.

    Returns
    -------
    The models of the second phase in eval mode (of mode 'lora' with their adapters apart: see `efficient.save`), taught
    to forecast products without a history too; one row per phase, seed and epoch: loss, wql (validation; NaN in the
    refit) and best (the chosen epoch); and, a seed, the mean and the dispersion (P, L, C, H) that the first phase's
    model of the chosen epoch forecast at the C validation cutoffs.
    """
    if not seeds:
        return [], pd.DataFrame(columns=COLUMNS), []
    runs = _runs(seeds, work, fingerprint, training)
    batch = _products_a_step(training, train)
    chosen = select(make_model, train, validation, training, seeds, work, fingerprint, callbacks, warm_start)
    best = best_epoch(chosen)

    def fitted(seed, folder):
        return _phase("refit", make_model, refit, None, training, batch, seed, folder, best, callbacks)

    again = in_parallel(fitted, runs, "refit")
    log = pd.concat(
        [chosen.assign(best=chosen["epoch"] == best)]
        + [history.assign(phase="refit", best=False) for _, history in again if len(history)],
        ignore_index=True,
    )
    models = [model.eval() for model, _ in again]
    if new_products:
        models = [fit_new_product_head(model, refit, seed) for seed, model in zip(seeds, models, strict=True)]
    known = [np.load(judged(folder / "select", best)) for folder in runs.values()]
    return models, log[COLUMNS], [(x["mean"].astype(float), x["dispersion"].astype(float)) for x in known]


def select(
    make_model: Callable[[str], SalesBert],
    train: MarketTensors,
    validation: MarketTensors,
    training: Training,
    seeds: list[int],
    work: str | Path,
    fingerprint: str,
    callbacks=(),
    warm_start: bool = False,
) -> pd.DataFrame:
    """The first phase of `fit`, whose parameters these are, alone: its history, in which no epoch is marked as best."""
    batch = _products_a_step(training, train)

    def selected(seed, folder):
        what = make_model, train, validation, training, batch, seed
        return _phase("select", *what, folder, None, callbacks, warm_start)[1]

    found = in_parallel(selected, _runs(seeds, work, fingerprint, training), "select")
    return pd.concat(found).assign(phase="select", best=False)[COLUMNS]


def best_epoch(history: pd.DataFrame) -> int:
    """The best of the seeds' mean curve, among the epochs that every seed reached; `history` as `select` gives it."""
    return int(history.pivot(index="epoch", columns="seed", values="wql").dropna().mean(axis=1).idxmin())


def pretrain(
    make_model: Callable[[str], SalesBert],
    train: MarketTensors,
    validation: MarketTensors,
    refit: MarketTensors | None,
    training: Training,
    seed: int,
    work: str | Path,
    fingerprint: str,
    callbacks=(),
    phases: tuple[str, ...] = ("select", "refit"),
) -> tuple[dict[str, SalesBert], pd.DataFrame]:
    """Train on many categories what markets go on from: one model for each phase of `fit`, whose parameters these are.

    That for 'select' has seen the training weeks alone, that for 'refit' the validation weeks too. All epochs of the
    training are run: the validation weeks draw the first one's curve, and choose nothing.

    Returns
    -------
    The model of each of the `phases`, and their history as `fit` gives it.
    """
    training = replace(training, patience=training.epochs)
    folder = _runs([seed], work, fingerprint, training)[seed]
    batch = _products_a_step(training, train)

    def trained(phase, data):
        last = None if phase == "select" else training.epochs
        return _phase(phase, make_model, *data, training, batch, seed, folder, last, callbacks)

    if (reader := make_model("select").eval()).config.use_text:
        with torch.no_grad():  # once for both, by all cores
            read = reader.read_text(train.tensors["input_ids"], train.tensors["text_mask"])
        train, validation, refit = (
            market and replace(market, tensors=market.tensors | {"read": read}) for market in (train, validation, refit)
        )
    runs = {"select": (train, validation), "refit": (refit, None)}
    runs = {phase: runs[phase] for phase in phases}
    found = dict(zip(runs, in_parallel(trained, runs, "pretrain"), strict=True))
    log = pd.concat([history.assign(phase=phase, best=False) for phase, (_, history) in found.items()])
    return {phase: merged(model).eval() for phase, (model, _) in found.items()}, log[COLUMNS].reset_index(drop=True)


def fit_new_products(
    make_model: Callable[[str], SalesBert], market: MarketTensors, seeds: list[int]
) -> list[SalesBert]:
    """One model a seed for products without a history alone: the rest of it stays as it was made."""
    models = []
    for seed in seeds:
        set_seed(seed)
        models.append(fit_new_product_head(make_model("refit"), market, seed))
    return models


def _products_a_step(training: Training, train: MarketTensors) -> int:
    """The same in both phases, whose epochs are to be alike."""
    return max(1, round(training.batch_weeks / len(train.weeks_index)))


def _runs(seeds: list[int], work: str | Path, fingerprint: str, training: Training) -> dict[int, Path]:
    """The work folder of each seed."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {seeds}; each trains a model of its own, so name none of them twice.")
    return {seed: _claim(Path(work) / f"seed_{seed}", [fingerprint, asdict(training), seed, seeds]) for seed in seeds}


def _claim(folder: Path, facts: list) -> Path:
    """Empty a work folder that belongs to other data or settings, and sign it."""
    key = hashlib.md5(json.dumps(facts).encode()).hexdigest()
    if folder.exists() and (not (folder / "key").exists() or (folder / "key").read_text() != key):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").write_text(key)
    return folder


def _phase(phase, make_model, train, validation, training, batch, seed, folder, stop_after, callbacks, warm_start=False):
    set_seed(seed)
    model, judging, folder = make_model(phase), validation is not None, folder / phase
    if stop_after == 0:
        return model, pd.DataFrame(columns=["epoch", "loss", "wql", "seed"])
    model = adapt(model, training)
    if model.config.use_text:
        train, validation = _read(model, train, training), validation and _read(model, validation, training)
    if model.config.use_space and not model.spillover.weight.any():  # a base knows what travels
        model.spillover.fit(train.tensors["location_shock"].unique(dim=0))  # once a category
    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=4 * batch,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=training.warmup,
        max_grad_norm=1.0,
        bf16=training.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="epoch" if judging else "no",
        eval_on_start=warm_start and judging,
        save_strategy="epoch",
        logging_strategy="epoch",
        metric_for_best_model="wql",
        greater_is_better=False,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,  # how long it has been without a better score
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=["tensorboard"],
        disable_tqdm=True,  # `in_parallel` has a bar for all
        seed=seed,
        data_seed=seed,
        dataloader_pin_memory=False,
    )
    watch = [EarlyStoppingCallback(training.patience)] if judging else [StopAfter(stop_after)]
    trainer = SalesTrainer(
        training,
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        compute_metrics=validation_wql,
        callbacks=[*watch, CompleteMark(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(folder))
    log = pd.DataFrame(trainer.state.log_history).assign(epoch=lambda x: x["epoch"].round().astype(int))
    found = log.groupby("epoch").last()  # of what is logged twice (a training that went on), the last
    epochs = pd.DataFrame({"loss": found["loss"], "wql": found.get("eval_wql", np.nan)})
    epochs = epochs.dropna(subset="wql" if judging else "loss")
    trainer.take(trainer.average.module)
    model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it would go on forecasting in bf16
    return model.cpu(), epochs.reset_index().assign(seed=seed)  # an accelerator has done its part


@torch.no_grad()
def _read(model: SalesBert, market: MarketTensors, training: Training) -> MarketTensors:
    """Tell the model where the market's texts lie; those that a frozen encoder has read need not be read again.

    A body that is the encoder itself reads them again at each step.
    """
    fields = dict(market.tensors)
    read = fields.pop("read", None)
    if read is None:
        read = model.eval().read_text(fields["input_ids"], fields["text_mask"])
    if not model.text_centre.any():  # a base has learned by its own axes
        model.fit_text(read[fields["has_text"]] if fields["has_text"].any() else read)
    model.train()
    if training.mode != "frozen" or model.config.body != "compact":
        return replace(market, tensors=fields)
    kept = {k: v for k, v in fields.items() if k not in ("input_ids", "text_mask")}
    return replace(market, tensors=kept | {"read": read})


def finish(work: str | Path) -> None:
    """Remove the checkpoints under `work`, once what they led to is written; the TensorBoard logs stay."""
    for checkpoint in Path(work).glob("**/checkpoint-*"):
        shutil.rmtree(checkpoint)
    for known in Path(work).glob("**/judged_*.npz"):
        known.unlink()
