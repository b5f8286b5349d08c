"""What notebooks 3 and 4 left of a market, as the beginning of a replay."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import torch

from shelfcast.live.online.level import choose
from shelfcast.live.online.replay import Start
from shelfcast.model.forecast import load_models
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel


def load(folder: Path, variant: str, panel: Panel, situation: str) -> tuple[Start, pd.DataFrame]:
    """The trained models of a variant with what a replay of the test weeks needs besides a refit.

    Parameters
    ----------
    folder : of the market, as build/<market>/ is. situation : 'plan_known' or 'no_plan', in which to forecast.

    Returns
    -------
    The start, and the table by which validation weeks chose the rates of level correction (see `level.choose`).

    Raises
    ------
    ValueError : the variant was not trained.
    """
    own = folder / "models" / variant
    for name in ("variant.json", "validation.parquet"):
        if not (own / name).exists():
            raise ValueError(f"{own / name} is missing. Run notebook 3_finetune (or `dvc repro`) first.")
    facts = json.loads((own / "variant.json").read_text())
    market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
    past = pd.read_parquet(own / "validation.parquet", filters=[("situation", "==", situation)])
    past = past.drop(columns="situation")
    rates, table = choose(past)
    until = pd.Timestamp(panel.meta["validation_end"])
    start = Start(distinct(load_models(own)), market, until, rates, past, situation == "plan_known")
    return start, table


def distinct(models: list[SalesBert]) -> list[SalesBert]:
    """One model where all are the same, as seeds are that stayed with their base; their average is that one."""
    first, *others = (model.state_dict() for model in models)
    same = all(torch.equal(first[name], other[name]) for other in others for name in first)
    return models[:1] if same else models
