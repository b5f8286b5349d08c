"""Controls, upper bounds and further peers of one market, on the test weeks of the pipeline's own evaluation.

They answer what the language model and other categories bring, and what future prices would bring.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic.dataclasses import dataclass

from shelfcast import settings
from shelfcast.data.files import atomic, folder_md5, revision
from shelfcast.judge import intervals, metrics
from shelfcast.judge.frame import add_level
from shelfcast.methods import article, trees
from shelfcast.methods.dispersion import Predict
from shelfcast.model.forecast import forecast
from shelfcast.panel.frame import Panel
from shelfcast.training import fit
from shelfcast.training.base import Base
from shelfcast.training.setup import training_setup
from studies import parameters
from studies.categories import blends

REFERENCE = "shelfcast"
JOINT_TREES = Path("build/studies/categories/trees")


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, which says what each value means."""

    variants: dict[str, dict[str, Any]]


def variants(own: settings.Settings, study: Study) -> dict[str, settings.Finetune]:
    """Name -> settings of each control, on the market's own values of `finetune`."""
    base = asdict(own.finetune)
    return {
        name: settings.build(settings.Finetune, base | values, f"studies/controls/params.yaml: variants.{name}")
        for name, values in study.variants.items()
    }


def needed(panel: Panel, finetune: settings.Finetune) -> bool:
    """Whether a control is a model of its own: with planned prices, every model reads them."""
    return not finetune.price_plan or bool(panel.roles["price_plan"])


def trained_forecasts(panel: Panel, finetune: settings.Finetune, work: Path) -> pd.DataFrame:
    """Train one control, and forecast from the test cutoffs."""
    setup = training_setup(panel, finetune)
    fingerprint = json.dumps([panel.meta["data_md5"], setup.fingerprint])
    models, _, _ = fit.fit(setup.make_model, *setup.splits, setup.training, finetune.seeds, work, fingerprint)
    fit.finish(work)
    return forecast(models, setup.market, panel.cutoffs["test"])


def peer_forecasts(panel: Panel, own: settings.Settings, validation_and_test: pd.DataFrame) -> pd.DataFrame:
    """Further peers: LightGBM with realised prices, the article's BERT, and trees of many categories where they fit.

    Parameters
    ----------
    validation_and_test : forecast frame of `shelfcast` at the validation and the test cutoffs, which a blend needs.
    """
    seed, test = own.evaluate.seed, panel.cutoffs["test"]
    frames = [article.article_bert(panel, seed)(test).assign(method="article_bert")]
    if panel.roles["price_plan"]:
        frame = trees.lightgbm_counts(panel, seed, price_plan=True)(test)
        frames.append(frame.assign(method="lightgbm_price_plan"))
    joint, base = trees.Trees.load(JOINT_TREES), Base.load(settings.BASE_FOLDER)
    if joint is not None and base is not None and not (base.data_mismatch(panel) or joint.mismatch(panel)):

        def shelfcast(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
            return validation_and_test[validation_and_test["cutoff"].isin(cutoffs)]

        methods: dict[str, Predict] = blends.trees_and_blends(panel, joint.predict(panel), shelfcast, seed)
        for name in ("lightgbm_joint", "lightgbm_pair", "blend"):
            frames.append(methods[name](test).assign(method=name))
    return pd.concat(frames, ignore_index=True)


def collect(forecasts: pd.DataFrame, actuals: pd.DataFrame, made: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Scores of each method, and how its WQL differs from that of `shelfcast` of the same run.

    Parameters
    ----------
    forecasts : forecast frame with `method`, at the test cutoffs; `shelfcast` is one of the methods.
    actuals : unique_id, ds, y of all weeks. made : what the forecasts were made with.

    Returns
    -------
    made, scores (level -> method -> score) and differences (level -> method -> estimate, low, high with a 90 %
    interval; negative where the method has a lower error).
    """
    scores = metrics.metrics_dict(forecasts, actuals)
    test = add_level(forecasts[forecasts["y"].notna()])
    differences: dict[str, dict] = {}
    for level, rows in test.groupby("level"):
        differences[level] = {}
        for method in sorted(set(rows["method"]) - {REFERENCE}):
            values = intervals.paired_bootstrap(rows, method, REFERENCE, seed=seed)
            rounded = [round(value, 6) for value in values]
            differences[level][method] = dict(zip(("estimate", "low", "high"), rounded, strict=True))
    return {"made": made, "scores": scores, "differences": differences}


def provenance(folder: Path, seeds: list[int]) -> dict[str, Any]:
    """What results were made with: revision, hash of the panel, seeds."""
    return {"revision": revision(), "panel_md5": folder_md5(folder / "panel"), "seeds": seeds}


def write(results: dict[str, Any], market: str) -> Path:
    path = Path("studies/controls/results") / f"{market}.json"
    with atomic(path) as part:
        part.write_text(json.dumps(results, indent=1) + "\n")
    return path
