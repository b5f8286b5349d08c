"""Forecasts of a trained model, by partitions of products.

A forecast of a product depends on its own rows, on the columns that its locations share, and on the scale that the model
was trained with; products never attend to each other. So partitions may be cut anywhere.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch

from shelfcast.data.files import folder_md5
from shelfcast.model.forecast import forecast, load_models
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import PARTS, Panel
from shelfcast.scale.parts import Job

OF_PRODUCTS = ("frame", "outlook")  # parts of a panel with a row for each product and week


def score_market(market: Path, variant: str, products: int, folder: Path | None = None) -> Job:
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
    panel, models = market / "panel", market / "models" / variant
    if not (panel / "panel.json").is_file():
        raise ValueError(f"{panel}/ holds no panel. Run `dvc repro prepare@{market.name}` first.")
    if not (models / "variant.json").is_file():
        raise ValueError(f"{models}/ holds no model. Run `dvc repro finetune@{market.name}-{variant}` first.")
    n = len(pd.read_parquet(panel / "products.parquet", columns=["text"]))
    starts = range(0, n, products)
    tasks = {
        f"{start:07d}": {"panel": str(panel), "models": str(models), "start": start, "stop": min(start + products, n)}
        for start in starts
    }
    belongs = {"panel": folder_md5(panel), "models": folder_md5(models)}
    return Job(Path(folder or market / "scale/forecasts").absolute(), score, tasks, belongs)


def score(panel: str, models: str, start: int, stop: int) -> pd.DataFrame:
    """The forecast frame of the products `start` to `stop` - 1 of a panel, from its latest week."""
    part = read_products(panel, start, stop)
    facts = json.loads((Path(models) / "variant.json").read_text())
    market = market_tensors(part, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
    with torch.inference_mode():
        return forecast(_models(models), market, part.cutoffs["latest"])


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
def _models(folder: str) -> list[SalesBert]:
    return load_models(folder)
