"""One ablation: a model trained without a data source, with the product's settings and seeds, and its scores.

An ablation never starts from the base, which was trained with the source.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast import model_options, settings
from shelfcast.judge import metrics
from shelfcast.judge.frame import add_level
from shelfcast.model.forecast import forecast
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path, network_shape
from shelfcast.panel.frame import Panel
from shelfcast.training import fit
from studies import parameters
from studies.ablation import cold_start, sources

AVERAGED = -1  # the seed of a row that averages all seeds
COLUMNS = ["ablation", "method", "level", "seed", "wql", "wape", "bias"]  # of scores


@dataclass(frozen=True, config=parameters.STRICT)
class Ablation:
    """What differs from the whole model.

    removed : a data source that is taken away. shuffled : one that is replaced by something without information.
    folds : number of groups of products; each group is forecast as new by a model of the others. 0: none is new.
    pretrained : false starts the backbone at random.
    """

    removed: Literal["", "text", "picture", "behavior", "space", "plan"] = ""
    shuffled: Literal["", "text", "picture", "space"] = ""
    folds: int = Field(default=0, ge=0)
    pretrained: bool = True


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml."""

    ablations: dict[str, Ablation]


def load(name: str) -> Ablation:
    """The ablation of a name.

    Raises
    ------
    SettingsError : an unknown name, or a wrong value in params.yaml.
    """
    ablations = parameters.load(Study, "ablation").ablations
    if name not in ablations:
        raise settings.SettingsError(
            f"studies/ablation/params.yaml has no ablation {name!r}{settings.nearest(name, ablations)}. Add a line."
        )
    return ablations[name]


def finetune_settings(finetune: model_options.Finetune, ablation: Ablation) -> model_options.Finetune:
    """The product's settings, as far as the ablation does not change them."""
    return replace(
        finetune,
        from_base=False,
        pretrained=finetune.pretrained and ablation.pretrained,
        use_space=finetune.use_space and ablation.removed != "space",
    )


Part = tuple[MarketTensors, MarketTensors]  # what a model is trained on, what it forecasts


def parts(market: MarketTensors, ablation: Ablation) -> dict[str, Part]:
    """Name -> what one training reads; none where the market lacks the data source of the ablation."""
    if "picture" in (ablation.removed, ablation.shuffled) and not market.names["picture"]:
        return {}
    if ablation.removed:
        market = sources.remove(market, ablation.removed)
    if ablation.shuffled:
        market = sources.shuffle(market, ablation.shuffled, seed=0)
    if not ablation.folds:
        return {"whole": (market, market)}
    fold_of_product = np.random.default_rng(0).permutation(len(market)) % ablation.folds
    products = np.array(market.products)
    return {
        f"fold_{fold}": cold_start.hold_out(market, products[fold_of_product == fold].tolist())
        for fold in range(ablation.folds)
    }


def train(
    market: MarketTensors, panel: Panel, finetune: model_options.Finetune, new: bool, work: Path, fingerprint: str
) -> list[SalesBert]:
    """One model a seed, trained as notebook 3 trains them.

    Parameters
    ----------
    new : train the head for products without a history alone, which takes seconds.
    fingerprint : names data and ablation, for the work folder.
    """
    splits = market.splits(panel)
    shape = network_shape(finetune, market)

    def make_model(_: str) -> SalesBert:
        return SalesBert.from_backbone(backbone_path(finetune.backbone), finetune.pretrained, **shape)

    if new:
        return fit.fit_new_products(make_model, splits[2], finetune.seeds)
    fingerprint = f"{fingerprint} {sorted(shape.items())} {finetune.pretrained} {torch.__version__}"
    return fit.fit(make_model, *splits, finetune, finetune.seeds, work, fingerprint).models


def forecasts(
    part: Part, models: list[SalesBert], seeds: list[int], panel: Panel, with_baselines: bool
) -> pd.DataFrame:
    """Forecast frame of the test weeks with `method` and `seed`: each seed alone, and all averaged (`AVERAGED`).

    with_baselines : also the baselines for products without a history.
    """
    trained_on, target = part
    cutoffs, frames = panel.cutoffs["test"], []
    for seed, model in zip(seeds, models, strict=True):
        frames.append(forecast([model], target, cutoffs).assign(method="shelfcast", seed=seed))
    frames.append(forecast(models, target, cutoffs).assign(method="shelfcast", seed=AVERAGED))
    for name in cold_start.BASELINES if with_baselines else ():
        baseline = cold_start.forecast_baseline(
            name, trained_on, target, panel.products, panel.cutoffs["validation"], cutoffs
        )
        frames.append(baseline.assign(method=name, seed=AVERAGED))
    return pd.concat(frames, ignore_index=True)


def score(frames: list[pd.DataFrame], panel: Panel, name: str) -> pd.DataFrame:
    """Scores by method, level and seed, with `COLUMNS`; no rows where nothing was trained."""
    if not frames:
        return pd.DataFrame(columns=COLUMNS)
    frame = add_level(pd.concat(frames, ignore_index=True).dropna(subset="y"))
    table = metrics.scores(frame, panel.frame, by=["method", "level", "seed"])
    return table.reset_index().assign(ablation=name)[COLUMNS]
