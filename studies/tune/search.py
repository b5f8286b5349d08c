"""A search (Optuna) for better settings of a variant, in a file that it resumes from, and what it proposes.

A `train` below is `training.fit.select` with everything fixed but the values that are searched: train(values, seeds,
work, callbacks) returns the history of the first phase. See `trainer`.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import torch
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from transformers import TrainerCallback

from shelfcast.data.files import folder_md5
from shelfcast.model.tensors import MarketTensors
from shelfcast.model_options import Finetune
from shelfcast.panel.frame import Panel
from shelfcast.settings import BASE_FOLDER
from shelfcast.training.fit import best_step, select
from shelfcast.training.setup import Setup, training_setup
from studies.tune.parameters import Range, with_values

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MIN_COMPLETE = 4  # complete trials before one may be pruned
CODE = ("src/shelfcast/model", "src/shelfcast/training")  # a change of which makes another search
Train = Callable[[dict[str, float], list[int], Path, list], pd.DataFrame]


# ---------------------------------------------------------------- what a trial reads and does


def until_validation(panel: Panel) -> Panel:
    """The panel as if it ended with the validation weeks: actuals, prices and plans alike."""
    end = pd.Timestamp(panel.meta["validation_end"])
    cutoffs = {name: panel.cutoffs[name] for name in ("train", "validation")}
    frame = panel.frame[panel.frame["ds"] <= end]
    meta = panel.meta | {"last_week": str(end.date())}
    return replace(panel, frame=frame, typical=panel.typical[:end], cutoffs=cutoffs, meta=meta)


def trainer(panel: Panel, finetune: Finetune) -> Train:
    """Make the function that trains with other values in place of the present ones, as notebook 3 would."""

    def train(values: dict[str, float], seeds: list[int], work: Path, callbacks: list) -> pd.DataFrame:
        setup = training_setup(panel, with_values(finetune, values))
        fingerprint = json.dumps(setup.fingerprint)
        parts = setup.splits[:2]
        return select(
            setup.make_model, *parts, setup.training, seeds, work, fingerprint, callbacks, warm_start=setup.warm_start
        )

    return train


def tensors_md5(*markets: MarketTensors) -> str:
    """Hash of everything that a training reads."""
    digest = hashlib.md5()
    for market in markets:
        for name, tensor in sorted(market.tensors.items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def search_facts(setup: Setup, finetune: Finetune, ranges: dict[str, Range], sampler_seed: int) -> dict:
    """What makes one search: data, base, settings, ranges and code. Another of these is another search."""
    return {
        "tensors_md5": tensors_md5(*setup.splits[:2]),
        "base_md5": folder_md5(BASE_FOLDER) if setup.warm_start else None,
        "finetune": asdict(finetune),
        "ranges": ranges,
        "sampler_seed": sampler_seed,
        "torch": torch.__version__,
        "code_md5": [folder_md5(folder) for folder in CODE],
    }


# ---------------------------------------------------------------- the search


def open_study(path: Path, facts: dict, warmup: int) -> optuna.Study:
    """Open the study of a file, or start it.

    Parameters
    ----------
    facts : JSON; see `search_facts`.
    warmup : steps before a trial may be pruned. Trials that a killed process left are marked as failed.

    Raises
    ------
    ValueError : the file is the study of other facts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=MIN_COMPLETE, n_warmup_steps=warmup)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="tune", pruner=pruner, load_if_exists=True)
    facts = json.loads(json.dumps(facts))
    earlier = study.user_attrs.get("facts", {} if study.trials else facts)
    if different := [name for name in earlier | facts if earlier.get(name) != facts.get(name)]:
        raise ValueError(
            f"{path} is the study of another search: {', '.join(different)} differ. Move it away and run again."
        )
    study.set_user_attr("facts", facts)
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


class Report(TrainerCallback):
    """Reports the validation WQL of each judgement to a trial; ends it where it is worse than the median, or no number."""

    def __init__(self, trial: Trial):
        self.trial = trial

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if state.global_step == 0:  # before the first step all trials are alike
            return
        self.trial.report(metrics["eval_wql"], state.global_step)
        if not np.isfinite(metrics["eval_wql"]) or self.trial.should_prune():
            raise optuna.TrialPruned


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Complete and pruned trials in order; the first one has the present values."""
    return study.get_trials(states=FINISHED)


def tables(study: optuna.Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The finished trials as two frames.

    Returns
    -------
    A row a trial: wql (of a pruned one the last it reported), pruned, its values; and step x trial: validation WQL of
    the first seed.
    """
    rows, curves = {}, {}
    for trial in finished(study):
        pruned = trial.state == TrialState.PRUNED
        rows[trial.number] = {"wql": trial.value, "pruned": pruned, **trial.user_attrs["values"]}
        curves[trial.number] = pd.Series(trial.intermediate_values)
    trials = pd.DataFrame.from_dict(rows, orient="index").rename_axis("trial")
    return trials, pd.DataFrame(curves).sort_index().rename_axis("step")


def search(
    study: optuna.Study,
    space: dict[str, BaseDistribution],
    present: dict[str, float],
    train: Train,
    seeds: list[int],
    work: Path,
    trials: int,
    minutes: float,
    sampler_seed: int,
) -> None:
    """Continue until `trials` are finished; none starts after so many minutes. The first has the present values.

    A trial's value is what chooses steps in `fit`: the mean validation WQL of the seeds at their best step. The first
    seed is trained alone and may be pruned, then the others side by side. The sampler starts anew for every trial from
    a seed of its own, so that a search that was killed continues as if it had not been.
    """
    end = time.monotonic() + 60 * minutes
    while (n_finished := len(finished(study))) < trials and time.monotonic() < end:
        study.sampler = optuna.samplers.TPESampler(seed=sampler_seed + n_finished)
        if n_finished == 0 and not study.get_trials(states=[TrialState.WAITING]):
            study.enqueue_trial(present)
        trial = study.ask(space)
        values = present
        if n_finished:
            values = {name: _two_digits(value) for name, value in trial.params.items()}
        trial.set_user_attr("values", values)
        shutil.rmtree(work, ignore_errors=True)  # of a trial that was killed: it is repeated, with all its reports
        try:
            history = train(values, seeds[:1], work, [Report(trial)])
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        if seeds[1:]:
            history = pd.concat([history, train(values, seeds[1:], work, [])])
        scores = _at_best_step(history)
        trial.set_user_attr("scores", scores)
        study.tell(trial, float(np.mean(list(scores.values()))))
    shutil.rmtree(work, ignore_errors=True)


def compare(study: optuna.Study, train: Train, seeds: list[int], work: Path, candidates: int) -> pd.DataFrame:
    """Train the present values and the best trials that beat them again, with fresh seeds.

    A search's best trial is flattered by its seeds: of many alike, it is the one that was lucky with them.

    Returns
    -------
    Trial x seed: validation WQL, the present values first; no rows where no trial beat them. Saved in the study.
    """
    first, *others = finished(study)
    better = [trial for trial in others if trial.state == TrialState.COMPLETE and trial.value < first.value]
    best = sorted(better, key=lambda trial: trial.value)[:candidates]
    rows = {}
    for trial in [first, *best] if best else []:
        key = f"fresh {trial.number} {seeds}"
        if key not in study.user_attrs:
            history = train(trial.user_attrs["values"], seeds, work / str(trial.number), [])
            study.set_user_attr(key, _at_best_step(history))
        rows[trial.number] = study.user_attrs[key]
    shutil.rmtree(work, ignore_errors=True)
    return pd.DataFrame.from_dict(rows, orient="index", columns=[str(seed) for seed in seeds])


def winner(table: pd.DataFrame) -> int | None:
    """The trial with the best mean among those that beat the first row with every seed; None where there is none."""
    better = table[table.lt(table.iloc[0]).all(axis=1)] if len(table) else table
    return int(better.mean(axis=1).idxmin()) if len(better) else None


def _two_digits(value: float) -> float:
    """Rounded to two digits, which is more than a search can resolve."""
    return float(f"{value:.2g}") if isinstance(value, float) else value


def _at_best_step(history: pd.DataFrame) -> dict[str, float]:
    """Seed -> validation WQL."""
    best = history[history["step"] == best_step(history)]
    return {str(seed): float(wql) for seed, wql in zip(best["seed"], best["wql"], strict=True)}


# ---------------------------------------------------------------- the proposal


def proposal(text: str, variant: str, changes: dict[str, float]) -> str:
    """The change of params.yaml as `git apply` reads it: the variant's line, and no comment. `text` is the file's."""
    if not changes:
        return ""
    yaml = YAML()
    yaml.representer.add_representer(  # as people write it; the library would leave the place empty
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    params, new = yaml.load(text), io.StringIO()
    line = params["variants"][variant]
    if not line:
        line.fa.set_flow_style()
    for name, value in changes.items():
        section, _, own_name = name.rpartition(".")
        target = line.setdefault(section, CommentedMap()) if section else line
        # as a person writes it: PyYAML takes 3e-05 for a word
        target[own_name] = yaml.load(np.format_float_positional(value, trim="0")) if isinstance(value, float) else value
    yaml.dump(params, new)
    before, after = (part.splitlines(keepends=True) for part in (text, new.getvalue()))
    return "".join(difflib.unified_diff(before, after, "a/params.yaml", "b/params.yaml"))
