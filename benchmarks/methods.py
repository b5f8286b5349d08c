"""What `peers.py` runs: each peer is a function (panel, folder of the market, clock) -> forecast frame of the test weeks.

The clock says what seconds were spent on: `prepare` (columns and tensors), `fit`, and `forecast`, from what is known at
a cutoff to thirteen quantiles. All import what they need themselves, so that none pays for another's packages.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from shelfcast.judge import metrics
from shelfcast.methods.dispersion import FLOOR, KEYS, with_dispersion, count_wql, is_chain
from shelfcast.panel.frame import Panel, examples

ROOT = Path(__file__).resolve().parents[1]
WINDOW, STEPS = 13, 400  # of neuralforecast: weeks that a window reads; steps of training at most
QUANTILES = list(metrics.QUANTILES)  # WQL reads nine of the thirteen; every peer gives all
COLUMNS = [metrics.quantile_column(q) for q in QUANTILES]


class Clock(dict):
    """Seconds by what they were spent on: ``with clock("fit"): …``."""

    @contextmanager
    def __call__(self, what: str):
        start = time.perf_counter()
        yield
        self[what] = time.perf_counter() - start


# ---------------------------------------------------------------- what peers are told


def frames(panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, list[str]]]:
    """The panel as Nixtla's libraries want it: rows of all weeks without gaps, static rows, column names by role.

    A column in units becomes log(1 + units), and where one is unknown it is 0: these libraries take no missing value.
    """
    from shelfcast.model.tensors import IN_UNITS

    past, known = panel.roles["past"], panel.roles["known_future"]
    rows = panel.frame.sort_values(["unique_id", "ds"], ignore_index=True)[["unique_id", "ds", "y", *past, *known]]
    in_units = [name for name in past if IN_UNITS.match(name)]
    rows[in_units] = np.log1p(rows[in_units])
    rows[[*past, *known]] = rows[[*past, *known]].fillna(0.0)
    static = panel.frame.drop_duplicates("unique_id").set_index("unique_id")
    static = static[panel.roles["static"]].join(pd.get_dummies(static["location"], dtype=float)).fillna(0.0)
    static = (static - static.mean()) / static.std().replace(0, 1)
    return rows, static.reset_index(), {"past": past, "known": known, "static": list(static)}


def until(rows: pd.DataFrame, week: str | pd.Timestamp) -> pd.DataFrame:
    """What has happened by a week; weeks before a product's launch are not there."""
    return rows[rows["ds"] <= pd.Timestamp(week)].dropna(subset="y")


def plan(rows: pd.DataFrame, cutoff: pd.Timestamp, panel: Panel) -> pd.DataFrame:
    """What is known in advance of the `horizon` weeks after a cutoff: unique_id, ds and the known-future columns."""
    ahead = rows[(rows["ds"] > cutoff) & (rows["ds"] <= cutoff + pd.Timedelta(weeks=panel.meta["horizon"]))]
    return ahead[["unique_id", "ds", *panel.roles["known_future"]]]


def with_quantiles(frame: pd.DataFrame) -> pd.DataFrame:
    """Means and dispersions as thirteen quantiles, where a method does not give them itself."""
    if COLUMNS[0] not in frame:
        frame[COLUMNS] = metrics.negative_binomial_quantiles(frame["mean"], frame["dispersion"])
    return frame


# ---------------------------------------------------------------- peers: (panel, folder of the market, clock) -> forecasts


def ours(method: str, panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """A method of notebook 4, with the dispersion that it is given there."""
    from shelfcast.methods import baselines

    with clock("fit"):
        predict = baselines.METHODS[method](panel, 0)
    with clock("forecast"):
        return with_quantiles(predict(panel.cutoffs["test"]))


def shelfcast(variant: str, panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """A variant of notebook 3, trained by that notebook in a copy of the project, so that the pipeline's models stay."""
    from shelfcast.model.tensors import load_tokenizer, market_tensors
    from shelfcast.model.forecast import forecast, load_models, read_once

    market = folder.name
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work)
        (copy / "build" / market).mkdir(parents=True)
        for name in ("dvc.yaml", "params.yaml", "notebooks"):
            (copy / name).symlink_to(ROOT / name)
        (copy / "build" / market / "panel").symlink_to(folder / "panel")
        (copy / "build/pretrain").symlink_to(folder.parent / "pretrain")
        command = [sys.executable, "-m", "papermill", "notebooks/3_finetune.ipynb", "out.ipynb", "--engine", "strict"]
        command += ["-k", "python3", "-p", "market", market, "-p", "variant", variant]
        command += ["-f", "params.yaml:finetune", "-f", "params.yaml:go_on", "-f", f"params.yaml:variants.{variant}"]
        subprocess.run(command, cwd=copy, check=True)
        clock["fit"] = json.loads((copy / f"build/{market}/seconds/{variant}.json").read_text())["fit_seconds"]
        models = copy / "build" / market / "models" / variant
        facts = json.loads((models / "variant.json").read_text())
        if facts["from_base"]:  # what all markets share: learned once, for all of them
            clock["base"] = json.loads((folder.parent / "pretrain/seconds.json").read_text())["base"]
        with clock("prepare"):
            tensors = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
            seeds = load_models(models)
            tensors = read_once(seeds, tensors)  # a product's text stays as it is from forecast to forecast
        with clock("forecast"):
            return forecast(seeds, tensors, panel.cutoffs["test"])


def mlforecast(panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """LightGBM as mlforecast runs it: its own lags and rolling means, the plan, one model a horizon.

    Past columns are left out: it would want them of the coming weeks. The number of trees is chosen by WQL on the
    validation weeks, which then give the dispersions, as for every method of means; then it is fitted again with them.
    """
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean

    from shelfcast.methods.trees import SPREADS

    validation, horizon = panel.cutoffs["validation"], panel.meta["horizon"]
    with clock("prepare"):
        rows, static, columns = frames(panel)
        rows = rows.drop(columns=columns["past"]).merge(static, on="unique_id")

    def fit(end, trees):
        options = dict(min_child_samples=100, feature_fraction=0.6, random_state=0, verbosity=-1)
        regressor = LGBMRegressor(objective="tweedie", n_estimators=trees, learning_rate=0.05, **options)
        means = [*(RollingMean(weeks, 1) for weeks in (4, 8, 13, 26)), ExpandingMean()]
        model = MLForecast({"mean": regressor}, "W-MON", lags=[1, 2, 3, 4], lag_transforms={1: means})
        model.fit(until(rows, panel.meta[end]), static_features=columns["static"], max_horizon=horizon)
        return model

    def mean(model, cutoffs):
        ahead = [
            model.predict(horizon, new_df=until(rows, cutoff), X_df=plan(rows, cutoff, panel)).assign(cutoff=cutoff)
            for cutoff in cutoffs
        ]
        frame = examples(panel, cutoffs)[KEYS].merge(pd.concat(ahead), on=["unique_id", "ds", "cutoff"])
        return frame.assign(mean=frame["mean"].clip(lower=FLOOR))

    def score(known):
        spread = with_dispersion(panel, lambda _: known, SPREADS)(validation).dropna(subset="y")
        return np.mean([count_wql(group) for _, group in spread.groupby(is_chain(spread))])

    with clock("fit"):
        tried = {trees: mean(fit("train_end", trees), validation) for trees in (50, 100, 200, 400)}
        trees = min(tried, key=lambda n: score(tried[n]))
        model = fit("validation_end", trees)
        predict = with_dispersion(
            panel, lambda cutoffs: tried[trees] if cutoffs == validation else mean(model, cutoffs), SPREADS
        )
    with clock("forecast"):
        return with_quantiles(predict(panel.cutoffs["test"]))


def neural(name: str, options: dict, panel: Panel, folder: Path, clock: Clock) -> pd.DataFrame:
    """A model of neuralforecast. Early stopping on the validation weeks says after how many steps the loss was least;
    then it is trained again with these weeks, that many steps: as our models are.

    Negative binomials come scaled by the range of what the series sold lately: neuralforecast adds the scaler's centre
    to the mean, which by mean or median could then forecast no less than usual.
    """
    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import DistributionLoss

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    horizon, (train_end, end) = panel.meta["horizon"], (panel.meta[k] for k in ("train_end", "validation_end"))
    with clock("prepare"):
        rows, static, columns = frames(panel)

    def fit(steps, val_size, **stop):
        # the samples are for quantiles alone; torch's check of arguments fails where a window sold nothing
        loss = DistributionLoss("NegativeBinomial", quantiles=QUANTILES, num_samples=500, validate_args=False)
        exogenous = dict(
            hist_exog_list=columns["past"], futr_exog_list=columns["known"], stat_exog_list=columns["static"]
        )
        quiet = dict(enable_progress_bar=False, enable_model_summary=False, logger=False, accelerator="cpu")
        model = getattr(models, name)(
            h=horizon, input_size=WINDOW, loss=loss, scaler_type="minmax", max_steps=steps, val_check_steps=50,
            windows_batch_size=256, random_seed=0, **exogenous, **quiet, **stop, **options,
        )  # fmt: skip
        forecaster = NeuralForecast([model], freq="W-MON")
        forecaster.fit(until(rows, end), static_df=static, val_size=val_size)
        return forecaster

    with clock("fit"):
        weeks = (pd.Timestamp(end) - pd.Timestamp(train_end)).days // 7
        curve = fit(STEPS, weeks, early_stop_patience_steps=2).models[0].valid_trajectories
        steps = min((loss, step) for step, loss in curve if step)[1]  # there is a point before the first step, too
        forecaster = fit(steps, 0)
    with clock("forecast"):
        ahead = [
            forecaster.predict(until(rows, cutoff), static, plan(rows, cutoff, panel)).assign(cutoff=cutoff)
            for cutoff in panel.cutoffs["test"]
        ]
        frame = pd.concat(ahead)
        found = frame[[column for column in frame if column.startswith(f"{name}-")]].to_numpy()  # from low to high
        frame[COLUMNS] = np.maximum.accumulate(found.clip(min=0), axis=1)
        return frame.assign(mean=frame[name])


PEERS = {  # -> what runs it, and the package whose version counts
    "moving_average_8": (partial(ours, "moving_average_8"), "shelfcast"),
    "croston_sba": (partial(ours, "croston_sba"), "statsforecast"),
    "auto_ets": (partial(ours, "auto_ets"), "statsforecast"),
    "lightgbm": (partial(ours, "lightgbm"), "lightgbm"),
    "lightgbm_mlforecast": (mlforecast, "mlforecast"),
    "fracast": (partial(ours, "fracast"), "fracast"),
    "nhits": (partial(neural, "NHITS", {}), "neuralforecast"),
    "tft": (partial(neural, "TFT", {"hidden_size": 64}), "neuralforecast"),
    "shelfcast_alone": (partial(shelfcast, "alone"), "shelfcast"),
    "shelfcast": (partial(shelfcast, "shelfcast"), "shelfcast"),
}
