"""Controls, upper bounds and further peers of a market, compared with the model that the pipeline trained.

python -m studies.controls.controls soft_drinks    # writes results/<market>.json, after `make controls`
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast import settings
from shelfcast.data.files import atomic, folder_md5, revision
from shelfcast.judge import metrics
from shelfcast.judge.frame import add_level
from shelfcast.judge.intervals import paired_bootstrap
from shelfcast.methods import Method, article, forecast_test_weeks, trees
from shelfcast.methods.dispersion import Predict
from shelfcast.model.forecast import forecast, load_models
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Finetune
from shelfcast.panel.frame import Panel
from shelfcast.settings import BASE_FOLDER
from shelfcast.training.base import Base
from shelfcast.training.fit import finish, fit
from shelfcast.training.setup import training_setup
from studies import parameters
from studies.categories.blends import trees_and_blends
from studies.resume import resumed

SITUATION = "plan_known"  # in which the study compares
OURS, PEER = "shelfcast", "lightgbm"  # of the pipeline, scored beside the controls
PEERS: dict[str, Method] = {
    "lightgbm_price_plan": partial(trees.lightgbm_counts, price_plan=True),
    "article_bert": article.article_bert,
}
BLENDS = ("lightgbm_joint", "lightgbm_pair", "blend")
TREES = "build/studies/categories/trees"
BUILD, RESULTS = Path("build"), Path("studies/controls/results")


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    controls: dict[str, dict[str, Any]]
    peers: list[Literal["lightgbm_price_plan", "article_bert"]] = Field(default_factory=lambda: list(PEERS))
    seed: int = 0


def study_folder(market: str, build: Path = BUILD) -> Path:
    """Where everything generated for a market is written."""
    return build / "studies/controls" / market


# ---------------------------------------------------------------- forecasts


def control_settings(finetune: Finetune, study: Study, panel: Panel) -> dict[str, Finetune]:
    """Control -> settings; without those of a price plan where the market has a real plan, which every method reads.

    Raises
    ------
    SettingsError : a line has an unknown or mistyped value.
    """
    by_name = {}
    for name, values in study.controls.items():
        where = f"studies/controls/params.yaml: controls.{name}"
        by_name[name] = settings.build(Finetune, asdict(finetune) | values, where)
    return {name: own for name, own in by_name.items() if panel.roles["price_plan"] or not own.price_plan}


def train_and_forecast(panel: Panel, finetune: Finetune, work: Path, fingerprint: str) -> pd.DataFrame:
    """Train as notebook 3 does, and forecast the test weeks; `fingerprint` names the panel."""
    setup = training_setup(panel, finetune)
    fingerprint = json.dumps([fingerprint, setup.fingerprint])
    fitted = fit(
        setup.make_model, *setup.splits, setup.training, finetune.seeds, work, fingerprint, warm_start=setup.warm_start
    )
    finish(work)
    return forecast(fitted.models, setup.market, panel.cutoffs["test"])


def control_forecasts(panel: Panel, controls: dict[str, Finetune], folder: Path, panel_md5: str) -> pd.DataFrame:
    """Forecast frame of all controls, with `method`; finished ones are saved in `folder`, for a run that is stopped."""
    frames = []
    for name, finetune in controls.items():

        def make(name=name, finetune=finetune) -> pd.DataFrame:
            return train_and_forecast(panel, finetune, folder / "checkpoints" / name, panel_md5)

        frame = resumed(folder / "finished", [panel_md5, name, asdict(finetune)], make)
        frames.append(frame.assign(method=name))
    return pd.concat(frames, ignore_index=True)


def peer_forecasts(panel: Panel, names: list[str], seed: int) -> pd.DataFrame:
    """Forecast frame of the further peers, with `method`; without upper bounds where the market has a real plan."""
    names = [name for name in names if panel.roles["price_plan"] or not name.endswith("_price_plan")]
    return forecast_test_weeks(panel, names, seed, PEERS)[0]


def pipeline_predict(folder: Path, panel: Panel) -> Predict:
    """The pipeline's own model, before its ranges are calibrated; `folder` is the market's."""
    own = folder / "models" / OURS
    facts = json.loads((own / "variant.json").read_text())
    market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
    validation = pd.read_parquet(own / "validation.parquet")
    return by_cutoff(validation, forecast(load_models(own), market, panel.cutoffs["test"]))


def by_cutoff(validation: pd.DataFrame, test: pd.DataFrame) -> Predict:
    """Finished forecasts as a fitted method; of the validation weeks those that know the plan, as the study's do."""
    validation = validation[validation["situation"] == SITUATION].drop(columns="situation")
    both = pd.concat([validation, test], ignore_index=True)
    return lambda cutoffs: both[both["cutoff"].isin(cutoffs)]


def blend_forecasts(panel: Panel, shelfcast: Predict, seed: int) -> tuple[pd.DataFrame, str]:
    """Trees of many categories and what they are blended to, on markets of the base's tables.

    Returns
    -------
    Forecast frame with `method`, without rows where there are no trees for the market; and a sentence about that.
    """
    base, joint = Base.load(BASE_FOLDER), trees.Trees.load(TREES)
    if base is None or joint is None:
        return pd.DataFrame(), "There are no trees of many categories."
    if why := base.data_mismatch(panel) or joint.mismatch(panel):
        return pd.DataFrame(), f"The trees of many categories do not fit this market: {why}."
    fitted = trees_and_blends(panel, joint.predict(panel), shelfcast, seed)
    frames = [fitted[name](panel.cutoffs["test"]).assign(method=name) for name in BLENDS]
    return pd.concat(frames, ignore_index=True), f"The trees were fitted to {len(joint.categories)} categories."


# ---------------------------------------------------------------- results


def collect(forecasts: pd.DataFrame, panel: Panel, made: dict) -> dict:
    """Scores of all methods on the test weeks, and their differences to the pipeline's model.

    Parameters
    ----------
    forecasts : forecast frame with `method`: the controls, `shelfcast` of the same run, and `lightgbm` where there is one.
    panel : of which `frame` and `cutoffs` are read.
    made : revision, panel_md5, seeds.

    Returns
    -------
    made; scores: level -> method -> score; differences: level -> method -> estimate, low, high: WQL of the method
    relative to that of `shelfcast`, with its 90 % interval.

    Raises
    ------
    ValueError : no forecast by `shelfcast`, or one on other rows than the others.
    """
    test = forecasts[forecasts["cutoff"].isin(panel.cutoffs["test"]) & forecasts["y"].notna()]
    methods = list(dict.fromkeys(test["method"]))
    if OURS not in methods:
        raise ValueError(f"there is no forecast by {OURS}. Run `dvc repro` for the market first.")
    test = add_level(test)
    differences: dict[str, dict] = {}
    for level, rows in test.groupby("level"):
        differences[level] = {method: _difference(rows, method) for method in methods if method not in (OURS, PEER)}
    return {"made": made, "scores": metrics.metrics_dict(test, panel.frame), "differences": differences}


def _difference(rows: pd.DataFrame, method: str) -> dict[str, float]:
    estimate, low, high = paired_bootstrap(rows, method, OURS)
    return {"estimate": round(estimate, 6), "low": round(low, 6), "high": round(high, 6)}


def all_forecasts(market: str, build: Path = BUILD) -> pd.DataFrame:
    """The study's forecasts of a market, and those of the pipeline that they are compared with.

    Raises
    ------
    ValueError : the study or the pipeline was not run for the market.
    """
    paths = [build / market / "forecasts.parquet", study_folder(market, build) / "forecasts.parquet"]
    for path, command in zip(paths, ("dvc repro", "make controls"), strict=True):
        if not path.exists():
            raise ValueError(f"{path} is missing. Run `{command}` first.")
    pipeline, controls = (pd.read_parquet(path) for path in paths)
    compared = pipeline["method"].isin([OURS, PEER]) & (pipeline["situation"] == SITUATION)
    return pd.concat([pipeline[compared].drop(columns="situation"), controls], ignore_index=True)


def write(market: str, build: Path = BUILD, to: Path = RESULTS) -> Path:
    """Write `<to>/<market>.json`; see `collect`."""
    panel_folder = build / market / "panel"
    seeds = settings.load(market).finetune.seeds
    made = {"revision": revision(), "panel_md5": folder_md5(panel_folder), "seeds": seeds}
    results = collect(all_forecasts(market, build), Panel.load(panel_folder), made)
    with atomic(to / f"{market}.json") as path:
        path.write_text(json.dumps(results, indent=1) + "\n")
    return to / f"{market}.json"


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(write(name))
    except ValueError as error:
        sys.exit(f"error: {error}")
