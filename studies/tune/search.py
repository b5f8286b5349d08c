"""The search for a market's recipe: a study in a file that goes on where it was killed, and what it proposes.

A `train` below is `training.select` with everything fixed but what is searched: train(settings, seeds, work, callbacks)
gives the history of its first phase, where `settings` maps names of `finetune` in params.yaml to values.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from ruamel.yaml import YAML
from transformers import TrainerCallback

from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.frame import Panel
from shelfcast.training.fit import best_epoch

WHOLE = {"batch_weeks": 1, "compact_layers": 1, "width": 32}  # by steps of: heads share the width
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
FEW = 4  # complete trials before one is pruned


def until_validation(panel: Panel) -> Panel:
    """The panel as if nothing were known after the validation weeks, sales, prices and plans alike."""
    end = pd.Timestamp(panel.meta["validation_end"])
    known = {name: panel.cutoffs[name] for name in ("train", "validation")}
    frame, meta = panel.frame[panel.frame["ds"] <= end], panel.meta | {"last_week": str(end.date())}
    return replace(panel, frame=frame, typical=panel.typical[:end], cutoffs=known, meta=meta)


def tensors_md5(*parts: MarketTensors) -> str:
    """Of all that a training is told, and of nothing else."""
    told = hashlib.md5()
    for part in parts:
        for name, tensor in sorted(part.tensors.items()):
            told.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return told.hexdigest()


def space(ranges: dict[str, list[float]], present: dict[str, float]) -> dict[str, BaseDistribution]:
    """Name -> what may be tried, from least to most; in logs where that is a tenfold."""
    found = {}
    for name, (low, high) in ranges.items():
        if not low < high:
            raise ValueError(f"tune.ranges.{name} is [{low}, {high}]; the first must be less than the second.")
        if not low <= present[name] <= high:
            raise ValueError(f"{name} is {present[name]}, outside tune.ranges.{name} [{low}, {high}]; widen the range.")
        log = 0 < 10 * low <= high
        if step := WHOLE.get(name.removeprefix("base_")):
            found[name] = IntDistribution(int(low), int(high), log=log and step == 1, step=step)
        else:
            found[name] = FloatDistribution(low, high, log=log)
    return found


def open_study(path: Path, facts: dict, warmup: int) -> optuna.Study:
    """The study in a file, which is begun where there is none; one of other `facts` (JSON) is a ValueError.

    warmup : epochs before a trial may be pruned. Trials that a killed process left are marked as failed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FEW, n_warmup_steps=warmup)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="tune", pruner=pruner, load_if_exists=True)
    facts = json.loads(json.dumps(facts))
    known = study.user_attrs.get("facts", {} if study.trials else facts)
    if odd := [name for name in known | facts if known.get(name) != facts.get(name)]:
        raise ValueError(f"{path} is the study of another search: {', '.join(odd)} differ. Move it away and run again.")
    study.set_user_attr("facts", facts)
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


class Report(TrainerCallback):
    """Tells a trial the validation WQL of each epoch; ends it where most were better by then, or where there is none."""

    def __init__(self, trial: Trial):
        self.trial = trial

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if (epoch := round(state.epoch or 0)) > 0:  # before the first, all trials are alike
            self.trial.report(metrics["eval_wql"], epoch)
            if not np.isfinite(metrics["eval_wql"]) or self.trial.should_prune():
                raise optuna.TrialPruned


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials in order, the present setting first; what was killed is none."""
    return study.get_trials(states=FINISHED)


def tables(study: optuna.Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a finished trial: wql (of a pruned one, the last it reported), pruned, its settings; and epoch x trial, the
    validation WQL of the first seed."""
    done = {trial.number: trial for trial in finished(study)}
    rows = {
        n: {"wql": t.value, "pruned": t.state == TrialState.PRUNED, **t.user_attrs["settings"]} for n, t in done.items()
    }
    curves = pd.DataFrame({n: pd.Series(t.intermediate_values) for n, t in done.items()}).sort_index()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trial"), curves.rename_axis("epoch")


def search(
    study: optuna.Study,
    among: dict[str, BaseDistribution],
    present: dict[str, float],
    train: Callable[..., pd.DataFrame],
    seeds: list[int],
    work: Path,
    trials: int,
    minutes: float,
    sampler_seed: int,
) -> None:
    """Go on until `trials` are finished; none is begun after so many minutes. The first one is the present setting.

    A trial's value is what `training.fit` would go by: the mean validation WQL of the seeds at their best epoch. The
    first seed is trained alone and may be pruned, then the others side by side. The sampler starts anew for every trial
    from a seed of its own, so that a search that was killed goes on as if it had not been.
    """
    end = time.monotonic() + 60 * minutes
    while (done := len(finished(study))) < trials and time.monotonic() < end:
        study.sampler = optuna.samplers.TPESampler(seed=sampler_seed + done)
        if not done and not study.get_trials(states=[TrialState.WAITING]):
            study.enqueue_trial(present)
        trial = study.ask(among)
        settings = present if not done else {name: _short(value) for name, value in trial.params.items()}
        trial.set_user_attr("settings", settings)
        shutil.rmtree(work, ignore_errors=True)  # a killed trial's: it is repeated, with all its reports
        try:
            history = train(settings, seeds[:1], work, [Report(trial)])
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        if seeds[1:]:
            history = pd.concat([history, train(settings, seeds[1:], work, [])])
        scores = _at_best(history)
        trial.set_user_attr("scores", scores)
        study.tell(trial, float(np.mean(list(scores.values()))))
    shutil.rmtree(work, ignore_errors=True)


def compare(study: optuna.Study, train: Callable, seeds: list[int], work: Path, candidates: int) -> pd.DataFrame:
    """The present setting and the best trials that beat it, trained anew: trial x seed, validation WQL; kept in the study.

    A search's best trial is flattered by its seeds: of many alike, it is the one that was lucky with them.
    """
    first, *others = finished(study)
    best = sorted(
        (t for t in others if t.state == TrialState.COMPLETE and t.value < first.value), key=lambda t: t.value
    )
    rows = {}
    for trial in [first, *best[:candidates]] if best else []:
        key = f"fresh {trial.number} {seeds}"
        if key not in study.user_attrs:
            study.set_user_attr(key, _at_best(train(trial.user_attrs["settings"], seeds, work / str(trial.number), [])))
        rows[trial.number] = study.user_attrs[key]
    shutil.rmtree(work, ignore_errors=True)
    return pd.DataFrame.from_dict(rows, orient="index", columns=[str(seed) for seed in seeds])


def winner(table: pd.DataFrame) -> int | None:
    """The trial of the best mean among those that are better than the first row with every seed; None where none is."""
    better = table[table.lt(table.iloc[0]).all(axis=1)] if len(table) else table
    return int(better.mean(axis=1).idxmin()) if len(better) else None


def proposal(text: str, variant: str, changes: dict[str, float]) -> str:
    """What `git apply` would change in params.yaml, whose `text` is given: the variant's line, and no comment."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    params, new = yaml.load(text), io.StringIO()
    line = params["variants"][variant]
    if not line:
        line.fa.set_flow_style()
    for name, value in changes.items():
        # as one writes it: PyYAML takes 3e-05 for a word
        line[name] = yaml.load(np.format_float_positional(value, trim="0")) if isinstance(value, float) else value
    yaml.dump(params, new)
    lines = (part.splitlines(keepends=True) for part in (text, new.getvalue() if changes else text))
    return "".join(difflib.unified_diff(*lines, "a/params.yaml", "b/params.yaml"))


def _short(value: float) -> float:
    """Two digits, which is more than a search can tell."""
    return float(f"{value:.2g}") if isinstance(value, float) else value


def _at_best(history: pd.DataFrame) -> dict[str, float]:
    best = history[history["epoch"] == best_epoch(history)]
    return {str(seed): float(wql) for seed, wql in zip(best["seed"], best["wql"], strict=True)}
