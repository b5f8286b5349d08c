"""Training: choose the number of epochs on validation weeks, then refit up to the test weeks.

A run is two phases in one work folder, `select` and `refit`, each with checkpoints. Killed at any point, the same
call continues from the last checkpoint and ends with the same weights as an uninterrupted run; a work folder that
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
from transformers import set_seed

from shelfcast.model.adapters import merged
from shelfcast.model.forecast import read_text_once
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.settings import Training
from shelfcast.training.new_products import fit_new_product_head
from shelfcast.training.parallel import in_parallel
from shelfcast.training.phase import Phase
from shelfcast.training.trainer import validation_file

COLUMNS = ["phase", "seed", "epoch", "loss", "wql", "best"]  # of a history
MakeModel = Callable[[str], SalesBert]


def fit(
    make_model: MakeModel,
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
    """Train one model a seed: all choose the number of epochs together, then each is trained again with more weeks.

    One seed's validation curve is too noisy to choose by, so the epoch is the best of the mean curve, among the epochs
    that every seed reached.

    Parameters
    ----------
    make_model : phase ('select' or 'refit') -> a fresh model; called under the seed.
    train, validation, refit : labels of the training weeks, of the validation weeks, of both together.
    seeds : one model each, trained side by side.
    work : folder of checkpoints and TensorBoard logs. fingerprint : names data and settings; see the module's text.
    warm_start : the models are pretrained, and 0 may be the best number of epochs.
    new_products : also train the head for products without a history.

    Returns
    -------
    The models of the second phase in eval mode (of mode 'lora' with their adapters apart: see `adapters.save`); one row
    per phase, seed and epoch: loss, wql (validation; NaN in the refit) and best (the chosen epoch); and, a seed, mean
    and dispersion (P, L, C, H) that the first phase's model of the chosen epoch forecast from the C validation cutoffs.
    """
    runs = _work_folders(seeds, work, fingerprint, training)
    if training.mode == "frozen":
        train, validation, refit = _with_texts_read(make_model, seeds, train, validation, refit)
    chosen = select(make_model, train, validation, training, seeds, work, fingerprint, callbacks, warm_start)
    n_epochs = best_epoch(chosen)
    batch = products_a_step(training, train)
    phase = Phase("refit", make_model, refit, None, training, batch, n_epochs, callbacks=tuple(callbacks))
    refitted = in_parallel(phase.run, runs, "refit")
    histories = [history.assign(phase="refit", best=False) for _, history in refitted if len(history)]
    history = pd.concat([chosen.assign(best=chosen["epoch"] == n_epochs), *histories], ignore_index=True)
    models = [model.eval() for model, _ in refitted]
    if new_products:
        models = [fit_new_product_head(model, refit, seed) for seed, model in zip(seeds, models, strict=True)]
    files = [np.load(validation_file(folder / "select", n_epochs)) for folder in runs.values()]
    return models, history[COLUMNS], [(x["mean"].astype(float), x["dispersion"].astype(float)) for x in files]


def select(
    make_model: MakeModel,
    train: MarketTensors,
    validation: MarketTensors,
    training: Training,
    seeds: list[int],
    work: str | Path,
    fingerprint: str,
    callbacks=(),
    warm_start: bool = False,
) -> pd.DataFrame:
    """The first phase of `fit`, whose parameters these are: its history, in which no epoch is marked as best."""
    runs, batch = _work_folders(seeds, work, fingerprint, training), products_a_step(training, train)
    if training.mode == "frozen":
        train, validation = _with_texts_read(make_model, seeds, train, validation)
    phase = Phase("select", make_model, train, validation, training, batch, None, warm_start, tuple(callbacks))
    histories = [history for _, history in in_parallel(phase.run, runs, "select")]
    return pd.concat(histories).assign(phase="select", best=False)[COLUMNS]


def best_epoch(history: pd.DataFrame) -> int:
    """The best of the seeds' mean curve, among the epochs that every seed reached; `history` as `select` gives it."""
    return int(history.pivot(index="epoch", columns="seed", values="wql").dropna().mean(axis=1).idxmin())


def pretrain(
    make_model: MakeModel,
    train: MarketTensors,
    validation: MarketTensors,
    refit: MarketTensors,
    training: Training,
    seed: int,
    work: str | Path,
    fingerprint: str,
    callbacks=(),
    phases: tuple[str, ...] = ("select", "refit"),
) -> tuple[dict[str, SalesBert], pd.DataFrame]:
    """Train on many categories what markets start from: one model for each phase of `fit`, whose parameters these are.

    That for 'select' is trained on the training weeks alone, that for 'refit' on the validation weeks too. All epochs
    are run: the validation weeks draw the first one's curve, and choose nothing.

    Returns
    -------
    The model of each of the `phases`, and their history as `fit` gives it.
    """
    training = replace(training, patience=training.epochs)
    folder = _work_folders([seed], work, fingerprint, training)[seed]
    batch = products_a_step(training, train)
    if training.mode == "frozen":
        train, validation, refit = _with_texts_read(make_model, [seed], train, validation, refit)
    data = {"select": (train, validation, None), "refit": (refit, None, training.epochs)}

    def trained(name: str, parts: tuple) -> tuple[SalesBert, pd.DataFrame]:
        own_train, own_validation, n_epochs = parts
        phase = Phase(
            name, make_model, own_train, own_validation, training, batch, n_epochs, callbacks=tuple(callbacks)
        )
        return phase.run(seed, folder)

    runs = {name: data[name] for name in phases}
    results = dict(zip(runs, in_parallel(trained, runs, "pretrain"), strict=True))
    history = pd.concat([rows.assign(phase=name, best=False) for name, (_, rows) in results.items()])
    models = {name: merged(model).eval() for name, (model, _) in results.items()}
    return models, history[COLUMNS].reset_index(drop=True)


def _with_texts_read(make_model: MakeModel, seeds: list[int], *splits: MarketTensors) -> list[MarketTensors]:
    """Read the texts, which all splits share, once for all seeds and phases: it took half of a warm-started training.

    For encoders that are not trained. Where seeds or phases have different ones, each phase reads the texts itself.
    """
    if "read" in splits[0].tensors:
        return list(splits)
    models = []
    for phase, seed in (("select", seeds[0]), ("refit", seeds[-1])):
        set_seed(seed)
        models.append(make_model(phase).eval())
    fields = read_text_once(models, splits[0]).tensors
    read = {"read": fields["read"]} if "read" in fields else {}
    return [replace(split, tensors=split.tensors | read) for split in splits]


def fit_new_products(make_model: MakeModel, market: MarketTensors, seeds: list[int]) -> list[SalesBert]:
    """One model a seed that forecasts products without a history; the rest of it stays as it was made."""
    (market,), models = _with_texts_read(make_model, seeds, market), []
    for seed in seeds:
        set_seed(seed)
        models.append(fit_new_product_head(make_model("refit"), market, seed))
    return models


def products_a_step(training: Training, train: MarketTensors) -> int:
    """Products in a step, so that it sees `batch_weeks` weeks; the same in both phases, whose epochs are to be alike."""
    return max(1, round(training.batch_weeks / len(train.weeks_index)))


def _work_folders(seeds: list[int], work: str | Path, fingerprint: str, training: Training) -> dict[int, Path]:
    """The work folder of each seed, emptied where it belongs to other data or settings."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {seeds}. Each trains a model of its own, so name none of them twice.")
    folders = {}
    for seed in seeds:
        folder = Path(work) / f"seed_{seed}"
        key = hashlib.md5(json.dumps([fingerprint, asdict(training), seed, seeds]).encode()).hexdigest()
        if folder.exists() and (not (folder / "key").exists() or (folder / "key").read_text() != key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "key").write_text(key)
        folders[seed] = folder
    return folders


def finish(work: str | Path) -> None:
    """Remove the checkpoints under `work`, once what they led to is written; the TensorBoard logs stay."""
    for checkpoint in Path(work).glob("**/checkpoint-*"):
        shutil.rmtree(checkpoint)
    for path in Path(work).glob("**/validation_*.npz"):
        path.unlink()
