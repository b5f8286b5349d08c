"""Training: train until the validation curve is flat, then refit up to the test weeks.

A run is two phases in one work folder, `select` and `refit`, each with checkpoints. Killed at any point, the same
call continues from the last checkpoint and ends with the same weights as an uninterrupted run; a work folder that
belongs to other data or settings is thrown away. The finished model never depends on the work folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file
from transformers import set_seed

from shelfcast.model.adapters import adapt, merged
from shelfcast.model.forecast import read_text_once
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.model_options import Training
from shelfcast.training.new_products import fit_new_product_head
from shelfcast.training.parallel import in_parallel
from shelfcast.training.phase import Phase
from shelfcast.training.trainer import judged_file, label_weeks

COLUMNS = ["phase", "seed", "step", "loss", "wql", "best"]  # of a history
MakeModel = Callable[[str], SalesBert]


@dataclass(frozen=True)
class Fitted:
    """What `fit` returns, one model a seed, all in eval mode (of mode 'lora' with adapters apart: see `adapters.save`).

    models : of the second phase, which learned from all weeks before the test weeks.
    selected : of the first phase, at the chosen step: for forecasts of the validation weeks, which they did not learn.
    history : a row per phase, seed and judgement: step, loss, wql (validation; NaN in the refit), best (chosen step).
    """

    models: list[SalesBert]
    selected: list[SalesBert]
    history: pd.DataFrame


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
) -> Fitted:
    """Train one model a seed: all choose the number of steps together, then each is trained again with more weeks.

    One seed's validation curve is too noisy to choose by, so the step is the best of the mean curve, among those that
    every seed reached. The refit takes as many steps more as it has labels more.

    Parameters
    ----------
    make_model : phase ('select' or 'refit') -> a fresh model; called under the seed.
    train, validation, refit : labels of the training weeks, of the validation weeks, of both together.
    seeds : one model each, trained side by side.
    work : folder of checkpoints and TensorBoard logs. fingerprint : names data and settings; see the module's text.
    warm_start : the models are pretrained, and 0 may be the best number of steps.
    new_products : also train the head for products without a history.
    """
    runs = _work_folders(seeds, work, fingerprint, training)
    if training.mode == "frozen":
        train, validation, refit = _with_texts_read(make_model, seeds, train, validation, refit)
    chosen = select(make_model, train, validation, training, seeds, work, fingerprint, callbacks, warm_start)
    n_steps = best_step(chosen)
    batch = products_a_step(training, train)
    n_refit = round(n_steps * _n_cutoffs(refit) / _n_cutoffs(train))
    phase = Phase("refit", make_model, refit, None, training, batch, n_refit, callbacks=tuple(callbacks))
    refitted = in_parallel(phase.run, runs, "refit", training.processes)
    histories = [history.assign(phase="refit", best=False) for _, history in refitted if len(history)]
    history = pd.concat([chosen.assign(best=chosen["step"] == n_steps), *histories], ignore_index=True)
    models = [model.eval() for model, _ in refitted]
    if new_products:
        models = [fit_new_product_head(model, refit, seed) for seed, model in zip(seeds, models, strict=True)]
    selected = [_judged_model(make_model, training, seed, folder, n_steps) for seed, folder in runs.items()]
    return Fitted(models, selected, history[COLUMNS])


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
    """The first phase of `fit`, whose parameters these are: its history, in which no step is marked as best."""
    runs, batch = _work_folders(seeds, work, fingerprint, training), products_a_step(training, train)
    if training.mode == "frozen":
        train, validation = _with_texts_read(make_model, seeds, train, validation)
    phase = Phase(
        "select", make_model, train, validation, training, batch, training.steps, warm_start, tuple(callbacks)
    )
    histories = [history for _, history in in_parallel(phase.run, runs, "select", training.processes)]
    return pd.concat(histories).assign(phase="select", best=False)[COLUMNS]


def _mean_curve(history: pd.DataFrame) -> pd.Series:
    """Validation WQL by step, mean over the seeds, at the steps that every seed reached; `history` as `select` gives it."""
    return history.pivot(index="step", columns="seed", values="wql").dropna().mean(axis=1)


def best_step(history: pd.DataFrame) -> int:
    """The best of the seeds' mean curve."""
    return int(_mean_curve(history).idxmin())


def still_falling(history: pd.DataFrame, training: Training) -> bool:
    """Whether the validation score was best at the last of all allowed steps, so that more would have been better."""
    curve = _mean_curve(history[history["phase"] == "select"])
    return bool(curve.idxmin() == curve.index[-1] and curve.index[-1] >= training.steps)


def _n_cutoffs(market: MarketTensors) -> int:
    return len(label_weeks(market.tensors["labels"]))


def _judged_model(make_model: MakeModel, training: Training, seed: int, folder: Path, step: int) -> SalesBert:
    """The first phase's model of a seed, as it was judged after a step."""
    set_seed(seed)
    model = adapt(make_model("select"), training)
    model.load_state_dict(load_file(judged_file(folder / "select", step)), strict=False)
    return model.eval()


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

    That for 'select' is trained on the training weeks alone, that for 'refit' on the validation weeks too. All steps
    are run: the validation weeks draw the first one's curve, and choose nothing.

    Returns
    -------
    The model of each of the `phases`, and their history as `fit` gives it.
    """
    training = replace(training, patience=training.steps)
    folder = _work_folders([seed], work, fingerprint, training)[seed]
    batch = products_a_step(training, train)
    if training.mode == "frozen":
        train, validation, refit = _with_texts_read(make_model, [seed], train, validation, refit)
    data = {"select": (train, validation), "refit": (refit, None)}

    def trained(name: str, parts: tuple) -> tuple[SalesBert, pd.DataFrame]:
        phase = Phase(name, make_model, *parts, training, batch, training.steps, callbacks=tuple(callbacks))
        return phase.run(seed, folder)

    runs = {name: data[name] for name in phases}
    results = dict(zip(runs, in_parallel(trained, runs, "pretrain", training.processes), strict=True))
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
    """Products in a step, so that it sees `batch_weeks` weeks; the same in both phases, whose steps are to be alike."""
    return max(1, round(train.frequency.periods(training.batch_weeks) / len(train.weeks_index)))


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
    for path in Path(work).glob("**/judged_*.safetensors"):
        path.unlink()
