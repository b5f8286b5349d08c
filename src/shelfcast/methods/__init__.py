"""What a user would pick instead of our model, each by one protocol.

A method is a function ``fit(panel, seed) -> predict``; ``predict(cutoffs, plan_known=True)`` returns a forecast frame
(`judge.frame`) from any observed weeks. Fitting, tuning and dispersions see no label after `meta["validation_end"]`,
and what forecasts from validation cutoffs, or from earlier ones, has not seen a label after `meta["train_end"]`.
Weeks that were not observed are skipped or filled; see each method.

`forecast_all` and `forecast_test_weeks` make their forecasts coherent (`judge.coherence`), so that one rule holds for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import pandas as pd

from shelfcast.judge.coherence import coherent
from shelfcast.methods.dispersion import Predict
from shelfcast.panel.frame import Panel

Method = Callable[[Panel, int], Predict]


def _of(module: str, name: str) -> Method:
    """A method whose module is imported when it is fitted: libraries of some take seconds, and most readers fit none."""

    def method(panel: Panel, seed: int) -> Predict:
        return getattr(import_module(f"shelfcast.methods.{module}"), name)(panel, seed)

    return method


METHODS: dict[str, Method] = {  # simple ones first: `ensemble` prefers them where scores are equal
    "moving_average_8": _of("averages", "moving_average_8"),
    "seasonal_average": _of("averages", "seasonal_average"),
    "croston_sba": _of("statistical", "croston_sba"),
    "auto_ets": _of("statistical", "auto_ets"),
    "lightgbm": _of("trees", "lightgbm_counts"),
    "fracast": _of("zero_shot", "fracast"),
}
READ_NO_PLAN = frozenset(METHODS) - {"lightgbm"}  # these forecast the same whether a plan is known or not
SITUATIONS = {"plan_known": True, "no_plan": False}


@dataclass(frozen=True)
class Forecasts:
    """Forecast frames of several methods, with columns `method` and `situation`.

    validation : from the validation cutoffs, by fits that have not seen the validation weeks.
    ahead : from the test cutoffs and the latest one.
    timings : method -> fit_seconds, predict_seconds (of `ahead`, all situations), validation_seconds.
    """

    validation: pd.DataFrame
    ahead: pd.DataFrame
    timings: dict[str, dict[str, float]]


def forecast_all(
    panel: Panel,
    names: Sequence[str],
    seed: int = 0,
    methods: dict[str, Method] | None = None,
    situations: Sequence[str] = tuple(SITUATIONS),
) -> Forecasts:
    """Fit each method once and forecast from the validation, test and latest cutoffs, in each situation.

    Parameters
    ----------
    methods : name -> method; `METHODS` where none are given.
    situations : of `SITUATIONS`: whether the retailer's plan of the coming weeks is known.

    Raises
    ------
    ValueError : an unknown name.
    """
    fitted, timings = _fit(panel, names, seed, methods)
    ahead, predict_seconds = _forecast(fitted, panel.cutoffs["test"] + panel.cutoffs["latest"], situations)
    validation, validation_seconds = _forecast(fitted, panel.cutoffs["validation"], situations)
    for name, seconds in timings.items():
        seconds |= {"predict_seconds": predict_seconds[name], "validation_seconds": validation_seconds[name]}
        print(f"{name}: {seconds['fit_seconds']:.0f} s to fit, {seconds['predict_seconds']:.0f} s to forecast")
    return Forecasts(validation, ahead, timings)


def forecast_test_weeks(
    panel: Panel, names: Sequence[str], seed: int = 0, methods: dict[str, Method] | None = None
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Fit each method and forecast from the test cutoffs with the plan as the panel has it; see `forecast_all`.

    Returns
    -------
    The forecast frame with a column `method`, and {name: {fit_seconds, predict_seconds}}.
    """
    fitted, timings = _fit(panel, names, seed, methods)
    frame, predict_seconds = _forecast(fitted, panel.cutoffs["test"], ["plan_known"])
    timings = {name: seconds | {"predict_seconds": predict_seconds[name]} for name, seconds in timings.items()}
    return frame.drop(columns="situation"), timings


def _fit(
    panel: Panel, names: Sequence[str], seed: int, methods: dict[str, Method] | None
) -> tuple[dict[str, Predict], dict[str, dict[str, float]]]:
    """Name -> fitted method, and {name: {fit_seconds}}."""
    methods = METHODS if methods is None else methods
    if unknown := sorted(set(names) - set(methods)):
        raise ValueError(
            f"evaluate.methods names {', '.join(unknown)}, which no method is called. Choose of {', '.join(methods)}."
        )
    fitted, timings = {}, {}
    for name in names:
        began = time.perf_counter()
        fitted[name] = methods[name](panel, seed)
        timings[name] = {"fit_seconds": time.perf_counter() - began}
    return fitted, timings


def _forecast(
    fitted: dict[str, Predict], cutoffs: list[pd.Timestamp], situations: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Coherent forecasts of all methods in each situation, and the seconds of each method in all of them."""
    frames, seconds = [], {}
    for name, predict in fitted.items():
        began = time.perf_counter()
        if name in READ_NO_PLAN:
            frame = coherent(predict(cutoffs))
            own = dict.fromkeys(situations, frame)
        else:
            own = {situation: coherent(predict(cutoffs, SITUATIONS[situation])) for situation in situations}
        frames += [frame.assign(method=name, situation=situation) for situation, frame in own.items()]
        seconds[name] = time.perf_counter() - began
    return pd.concat(frames, ignore_index=True), seconds
