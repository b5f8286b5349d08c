"""Forecasts of a trained model, by partitions of products.

A forecast of a product depends on its own rows, on what all products have in common, and on the scale that the model was
trained with; products never attend to each other. So partitions may be cut anywhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from shelfcast.data.files import folder_md5
from shelfcast.judge.coherence import coherent_means
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.methods.zero_shot import with_outlook_at
from shelfcast.model.columns import OUTLOOK
from shelfcast.model.forecast import mean_over, predict, read_text_once
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import SHARED, MarketTensors, load_tokenizer, market_tensors
from shelfcast.panel.frame import PARTS, Panel
from shelfcast.scale.engine.parts import MANIFEST, Job
from shelfcast.scale.engine.steps import Steps
from shelfcast.scale.market import load_market
from shelfcast.scale.panels import MARKET, belongs_to, file_md5, part_panel, tasks_of
from shelfcast.scale.texts import TEXTS, trained, with_texts

OF_PRODUCTS = ("frame", "outlook")  # parts of a panel with a row for each product and week
BATCH = 10  # products; more outgrow the processor's cache
FORECASTS = "forecasts"
MODEL_ROLES = ("static", "past", "known_future")  # of columns that a model reads


def score_panel(market: Path, variant: str, products: int, folder: Path | None = None) -> Job:
    """The job that forecasts all series of a market that was run, from its latest week.

    Parameters
    ----------
    market : build/<market>/. variant : a line under variants. products : in a partition.
    folder : of the parts; build/<market>/scale/forecasts where none is given.

    Raises
    ------
    ValueError : the market was not prepared, or its model was not trained.
    """
    market = Path(market).absolute()
    panel, models = market / "panel", find_models(market, variant)
    if not (panel / "panel.json").is_file():
        raise ValueError(f"{panel}/ holds no panel. Run `dvc repro prepare@{market.name}` first.")
    n = len(pd.read_parquet(panel / "products.parquet", columns=["text"]))
    tasks = tasks_of(range(0, n, products), {"panel": str(panel), "models": str(models), "size": products})
    belongs = {"panel": folder_md5(panel), "models": folder_md5(models)}
    return Job(Path(folder or market / "scale" / FORECASTS).absolute(), forecasts_of_panel, tasks, belongs)


def score_prepared(folder: Path, models: Path, most_models: int | None = None, leave_out: bool = False) -> Job:
    """The job that forecasts all series of a market that `panels.prepare` cut into partitions, from its latest week.

    Where `texts.texts_job` has read the products' texts, it takes them from there.

    Parameters
    ----------
    models : build/<market>/models/<variant>, trained on a market of the same columns and locations.
    most_models : seeds that are averaged at most; all where none is given. leave_out : see `tensors_of`.
    """
    starts = load_market(str(folder / MARKET)).starts
    arguments = {"folder": str(folder), "models": str(models), "most_models": most_models, "leave_out": leave_out}
    belongs = belongs_to(folder) | {"models": folder_md5(models)}
    if (folder / TEXTS / MANIFEST).is_file():
        belongs |= {"texts": file_md5(folder / TEXTS / MANIFEST)}
    return Job(folder / FORECASTS, forecasts_of_part, tasks_of(starts, arguments), belongs)


def find_models(market: Path, variant: str) -> Path:
    """The folder of a trained variant's seeds; a ValueError where there is none."""
    models = market / "models" / variant
    if not (models / "variant.json").is_file():
        raise ValueError(f"{models}/ holds no model. Run `dvc repro finetune@{market.name}-{variant}` first.")
    return models


def forecasts_of_panel(panel: str, models: str, size: int, start: int) -> pd.DataFrame:
    """The forecast frame of `size` products of a panel, from its latest week."""
    part = read_products(panel, start, start + size)
    return forecasts(trained(models), tensors_of(part, models), part.cutoffs["latest"])


def forecasts_of_part(folder: str, models: str, most_models: int | None, leave_out: bool, start: int) -> pa.Table:
    """The forecast frame of one partition of a prepared market, from its latest week; its footer tells the steps."""
    steps, seeds = Steps(), trained(models, most_models)
    with steps("panel"):
        panel = part_panel(folder, start)
    with steps("outlook"):
        panel = with_outlook_at(panel, panel.cutoffs["latest"])
    with steps("tensors"):
        market = with_texts(tensors_of(panel, models, leave_out), folder, start)
    with steps("score"):
        frame = forecasts(seeds, market, panel.cutoffs["latest"])
    return steps.on(frame)


def forecasts(models: list[SalesBert], market: MarketTensors, cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
    """What `model.forecast.forecast` gives, with actuals left empty: quantiles are read once, of coherent means.

    Raises
    ------
    ValueError : the models read pictures, and the market has none.
    """
    if any(model.config.n_picture > len(market.names["picture"]) for model in models):
        raise ValueError(
            "the model was trained with pictures, which a panel in partitions does not have. Forecast from the whole "
            "panel (`python -m shelfcast.scale score`)."
        )
    at = market.weeks_index.get_indexer(cutoffs)
    with torch.inference_mode():
        market = read_text_once(models, market)
        mean, dispersion = mean_over([predict(model, market, BATCH, at=at) for model in models])
    keys = grid_keys(market.products, market.locations, cutoffs, np.full(mean.shape, np.nan))
    mean = market.size * coherent_means(mean)
    return forecast_frame(keys, mean.ravel(), dispersion.ravel(), unit=market.unit)


def tensors_of(panel: Panel, models: str, leave_out: bool = False) -> MarketTensors:
    """A panel's tensors, with columns scaled as a model was trained.

    Parameters
    ----------
    leave_out : leave out columns that the model was not trained with, such as seasons, once a history is long enough.

    Raises
    ------
    ValueError : the model was trained on columns that the panel lacks, or, unless they are left out, on fewer.
    """
    facts = json.loads((Path(models) / "variant.json").read_text())
    learned = set(facts["scale"]) - {OUTLOOK}
    own = {name for role in MODEL_ROLES for name in panel.roles[role]} - set(SHARED)
    if lacking := sorted(learned - own):
        raise ValueError(
            f"{models}/ was trained on columns that this market lacks: {', '.join(lacking)}. Give it the same tables, or "
            "train a model for this market."
        )
    if (unknown := sorted(own - learned)) and not leave_out:
        raise ValueError(
            f"{models}/ was not trained on columns that this market has: {', '.join(unknown)}. Train a model for it, or "
            "leave them out (--leave-out)."
        )
    if unknown:
        roles = {role: [name for name in names if name not in unknown] for role, names in panel.roles.items()}
        panel = replace(panel, roles=roles)
    return market_tensors(panel, _tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])


def read_products(folder: str | Path, start: int, stop: int) -> Panel:
    """A panel with some of its products, of which alone the rows are read."""
    folder = Path(folder)
    facts = json.loads((folder / "panel.json").read_text())
    facts["cutoffs"] = {split: [pd.Timestamp(week) for week in weeks] for split, weeks in facts["cutoffs"].items()}
    ids = list(pd.read_parquet(folder / "products.parquet", columns=["text"]).index[start:stop])
    frames = {}
    for name in PARTS:
        filters = [("product_id", "in", ids)] if name in OF_PRODUCTS else None
        frames[name] = pd.read_parquet(folder / f"{name}.parquet", filters=filters)
    for name in ("products", "pictures"):
        frames[name] = frames[name].loc[ids]
    return Panel(**frames, **facts)


@lru_cache(maxsize=1)
def _tokenizer(backbone: str):
    return load_tokenizer(backbone)
