"""What a user would pick instead of our model, each by one protocol.

A method is a function ``fit(panel, seed) -> predict``; ``predict(cutoffs)`` returns a forecast frame (`judge.frame`).
Fitting, tuning and dispersions see no label after `meta["validation_end"]`, and at the validation cutoffs `predict`
gives what was fitted without these weeks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd

from shelfcast.methods import averages, statistical, trees, zero_shot
from shelfcast.methods.dispersion import Predict
from shelfcast.panel.frame import Panel

Method = Callable[[Panel, int], Predict]
METHODS: dict[str, Method] = {
    "moving_average_8": averages.moving_average_8,
    "auto_ets": statistical.auto_ets,
    "croston_sba": statistical.croston_sba,
    "lightgbm": trees.lightgbm_counts,
    "fracast": zero_shot.fracast,
}


def forecast_test_weeks(
    panel: Panel, names: list[str], seed: int = 0, methods: dict[str, Method] | None = None
) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Fit each method and forecast from the test cutoffs.

    Parameters
    ----------
    methods : name -> method; `METHODS` where none are given.

    Returns
    -------
    The forecast frame with a column `method`, and {name: {fit_seconds, predict_seconds}}.

    Raises
    ------
    ValueError : an unknown name.
    """
    methods = METHODS if methods is None else methods
    if unknown := sorted(set(names) - set(methods)):
        raise ValueError(
            f"evaluate.methods names {', '.join(unknown)}, which no method is called. Choose of {', '.join(methods)}."
        )
    frames, timings = [], {}
    for name in names:
        start = time.perf_counter()
        predict = methods[name](panel, seed)
        fitted = time.perf_counter()
        frames.append(predict(panel.cutoffs["test"]).assign(method=name))
        timings[name] = {"fit_seconds": fitted - start, "predict_seconds": time.perf_counter() - fitted}
        print(
            f"{name}: {timings[name]['fit_seconds']:.0f} s to fit, {timings[name]['predict_seconds']:.0f} s to forecast"
        )
    return pd.concat(frames, ignore_index=True), timings
