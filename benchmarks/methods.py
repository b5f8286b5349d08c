"""What `peers.py` runs: each peer is a function (panel, folder of the market, clock) -> forecast frame of the test weeks.

The clock holds seconds by what they were spent on: `prepare` (columns and tensors), `fit`, and `forecast`, from a
cutoff's columns to thirteen quantiles. All import what they need themselves, so that none pays for another's packages.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.processes import ROOT
from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.frame import KEYS, forecast_frame, is_chain
from shelfcast.methods.dispersion import MIN_MEAN, frame_wql, with_dispersion
from shelfcast.panel.frame import Panel, examples

ROUNDS = (50, 100, 200, 400)  # numbers of trees that mlforecast's LightGBM chooses from
WINDOW, STEPS, CHECK_STEPS = 13, 400, 50  # of neuralforecast: weeks read, training steps at most and between checks


class Clock(dict):
    """Seconds by what they were spent on: ``with clock("fit"): …``."""

    @contextmanager
    def __call__(self, what: str):
        start = time.perf_counter()
        yield
        self[what] = time.perf_counter() - start


Peer = Callable[[Panel, Path, Clock], pd.DataFrame]


# ---------------------------------------------------------------- what peers read


def frames(panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, list[str]]]:
    """The panel as Nixtla's libraries read it: rows of all weeks without gaps, static rows, column names by role.

    A column in units becomes log(1 + units), and missing values become 0: these libraries accept none.
    """
    past, future = panel.roles["past"], panel.roles["known_future"]
    rows = panel.frame.sort_values(["unique_id", "ds"], ignore_index=True)[["unique_id", "ds", "y", *past, *future]]
    in_units = [name for name in past if name in panel.in_units]
    rows[in_units] = np.log1p(rows[in_units])
    rows[[*past, *future]] = rows[[*past, *future]].fillna(0.0)
    static = panel.frame.drop_duplicates("unique_id").set_index("unique_id")
    static = static[panel.roles["static"]].join(pd.get_dummies(static["location"], dtype=float)).fillna(0.0)
    static = (static - static.mean()) / static.std().replace(0, 1)
    return rows, static.reset_index(), {"past": past, "known_future": future, "static": list(static)}


def history(rows: pd.DataFrame, until: str | pd.Timestamp) -> pd.DataFrame:
    """Rows up to a week; weeks before a product's launch are left out."""
    return rows[rows["ds"] <= pd.Timestamp(until)].dropna(subset="y")


def future(rows: pd.DataFrame, cutoff: pd.Timestamp, panel: Panel) -> pd.DataFrame:
    """unique_id, ds and the known-future columns of the `horizon` weeks after a cutoff."""
    ahead = rows[(rows["ds"] > cutoff) & (rows["ds"] <= cutoff + pd.Timedelta(weeks=panel.meta["horizon"]))]
    return ahead[["unique_id", "ds", *panel.roles["known_future"]]]


# ---------------------------------------------------------------- the project's own


def own_method(name: str, panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """A peer of notebook 4, with the dispersions that it has there."""
    from shelfcast.methods import METHODS

    with clock("fit"):
        predict = METHODS[name](panel, 0)
    with clock("forecast"):
        return predict(panel.cutoffs["test"])


def shelfcast(overrides: dict, panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """The model of notebook 3, trained by that notebook in a copy of the project, so that the pipeline's models stay."""
    from shelfcast.model.forecast import forecast, load_models, read_text_once
    from shelfcast.model.tensors import load_tokenizer, market_tensors

    with tempfile.TemporaryDirectory() as work:
        own = _finetune(Path(work), folder, overrides)
        clock["fit"] = json.loads((own / "seconds/shelfcast.json").read_text())["fit_seconds"]
        facts = json.loads((own / "models/shelfcast/variant.json").read_text())
        if facts["from_base"]:  # what all markets share is trained once for all of them, if at all
            base = json.loads((ROOT / "models/base/base.json").read_text())
            clock["base"] = base.get("seconds", np.nan)
        with clock("prepare"):
            market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
            models = load_models(own / "models/shelfcast")
            market = read_text_once(models, market)  # a product's text stays the same from forecast to forecast
        with clock("forecast"):
            return forecast(models, market, panel.cutoffs["test"])


def _finetune(copy: Path, folder: Path, overrides: dict) -> Path:
    """Run notebook 3 in `copy`; returns the market's folder there."""
    own = copy / "build" / folder.name
    own.mkdir(parents=True)
    (own / "panel").symlink_to(folder / "panel")
    for name in ("params.yaml", "notebooks", "models"):
        (copy / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "papermill", "notebooks/3_finetune.ipynb", "out.ipynb", "--engine", "shelfcast"]
    command += ["-k", "python3", "-p", "market", folder.name, "-y", json.dumps({"overrides": overrides})]
    subprocess.run(command, cwd=copy, check=True)
    return own


# ---------------------------------------------------------------- mlforecast


def mlforecast(panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """LightGBM as mlforecast runs it: its own lags and rolling means, known-future columns, one model a horizon.

    Past columns are left out: it would need them for the coming weeks. WQL on the validation weeks chooses the number
    of trees, and dispersions are fitted there, as for every method of means; then it is fitted again with these weeks.
    """
    validation = panel.cutoffs["validation"]
    with clock("prepare"):
        rows, static, columns = frames(panel)
        rows = rows.drop(columns=columns["past"]).merge(static, on="unique_id")

    def fit(end: str, n_trees: int):
        model = _mlforecast_model(n_trees)
        history_rows = history(rows, panel.meta[end])
        model.fit(history_rows, static_features=columns["static"], max_horizon=panel.meta["horizon"])
        return model

    def means(model, cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        parts = []
        for cutoff in cutoffs:
            inputs = {"new_df": history(rows, cutoff), "X_df": future(rows, cutoff, panel)}
            parts.append(model.predict(panel.meta["horizon"], **inputs).assign(cutoff=cutoff))
        frame = examples(panel, cutoffs)[KEYS].merge(pd.concat(parts), on=["unique_id", "ds", "cutoff"])
        return frame.assign(mean=frame["mean"].clip(lower=MIN_MEAN))

    with clock("fit"):
        tried = {n_trees: means(fit("train_end", n_trees), validation) for n_trees in ROUNDS}
        n_trees = min(tried, key=lambda n: _validation_wql(panel, tried[n]))
        model = fit("validation_end", n_trees)

        def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
            return tried[n_trees] if cutoffs == validation else means(model, cutoffs)

        predict = with_dispersion(panel, predict_means, _dispersion_bins())
    with clock("forecast"):
        return predict(panel.cutoffs["test"])


def _mlforecast_model(n_trees: int):
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean

    options = dict(min_child_samples=100, feature_fraction=0.6, random_state=0, verbosity=-1)
    regressor = LGBMRegressor(objective="tweedie", n_estimators=n_trees, learning_rate=0.05, **options)
    means = [*(RollingMean(weeks, 1) for weeks in (4, 8, 13, 26)), ExpandingMean()]
    return MLForecast({"mean": regressor}, "W-MON", lags=[1, 2, 3, 4], lag_transforms={1: means})


def _validation_wql(panel: Panel, means: pd.DataFrame) -> float:
    """The mean of chain and regions, with dispersions fitted to the same weeks."""
    predict = with_dispersion(panel, lambda _: means, _dispersion_bins())
    frame = predict(panel.cutoffs["validation"]).dropna(subset="y")
    return float(np.mean([frame_wql(rows) for _, rows in frame.groupby(is_chain(frame))]))


def _dispersion_bins() -> int:
    from shelfcast.methods.trees import DISPERSION_BINS

    return DISPERSION_BINS


# ---------------------------------------------------------------- neuralforecast


def neural(name: str, options: dict, panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """A model of neuralforecast: early stopping on the validation weeks chooses the number of steps by their loss; then
    it is trained again with these weeks for that many steps, as our models are."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    train_end, end = (pd.Timestamp(panel.meta[k]) for k in ("train_end", "validation_end"))
    with clock("prepare"):
        rows, static, columns = frames(panel)

    def fit(steps: int, validation_weeks: int, **stop):
        forecaster = _neural_forecaster(name, options, columns, panel.meta["horizon"], steps, **stop)
        forecaster.fit(history(rows, end), static_df=static, val_size=validation_weeks)
        return forecaster

    with clock("fit"):
        validation_weeks = (end - train_end).days // 7
        curve = fit(STEPS, validation_weeks, early_stop_patience_steps=2).models[0].valid_trajectories
        steps = min((loss, step) for step, loss in curve if step)[1]  # there is a point before the first step, too
        forecaster = fit(steps, 0)
    with clock("forecast"):
        parts = []
        for cutoff in panel.cutoffs["test"]:
            ahead = forecaster.predict(history(rows, cutoff), static, future(rows, cutoff, panel))
            parts.append(ahead.assign(cutoff=cutoff))
        frame = examples(panel, panel.cutoffs["test"])[KEYS].merge(pd.concat(parts), on=["unique_id", "ds", "cutoff"])
        quantiles = frame[[column for column in frame if column.startswith(f"{name}-")]].to_numpy(float)  # low to high
        rising = np.maximum.accumulate(quantiles.clip(min=0), axis=1)
        return forecast_frame(frame, frame[name].clip(lower=0), quantiles=rising)


def _neural_forecaster(name: str, options: dict, columns: dict, horizon: int, steps: int, **stop):
    """A model with a negative binomial, scaled by the range of what the series sold lately.

    neuralforecast adds the scaler's centre to the mean, which by mean or median could forecast no less than usual.
    """
    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import DistributionLoss

    # the samples are for quantiles alone; torch's check of arguments fails where a window sold nothing
    loss = DistributionLoss("NegativeBinomial", quantiles=list(QUANTILES), num_samples=500, validate_args=False)
    exogenous = {
        "hist_exog_list": columns["past"],
        "futr_exog_list": columns["known_future"],
        "stat_exog_list": columns["static"],
    }
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    training = {"max_steps": steps, "val_check_steps": CHECK_STEPS, "windows_batch_size": 256, "random_seed": 0}
    size = {"h": horizon, "input_size": WINDOW, "scaler_type": "minmax"}
    model = getattr(models, name)(loss=loss, **size, **training, **exogenous, **quiet, **stop, **options)
    return NeuralForecast([model], freq="W-MON")


# ---------------------------------------------------------------- all: what runs it, and the package whose version counts

PEERS: dict[str, tuple[Peer, str]] = {
    "moving_average_8": (partial(own_method, "moving_average_8"), "shelfcast"),
    "croston_sba": (partial(own_method, "croston_sba"), "statsforecast"),
    "auto_ets": (partial(own_method, "auto_ets"), "statsforecast"),
    "lightgbm": (partial(own_method, "lightgbm"), "lightgbm"),
    "lightgbm_mlforecast": (mlforecast, "mlforecast"),
    "fracast": (partial(own_method, "fracast"), "fracast"),
    "nhits": (partial(neural, "NHITS", {}), "neuralforecast"),
    "tft": (partial(neural, "TFT", {"hidden_size": 64}), "neuralforecast"),
    "shelfcast_alone": (partial(shelfcast, {"finetune": {"from_base": False}}), "shelfcast"),
    "shelfcast": (partial(shelfcast, {}), "shelfcast"),
}
