"""From trained models to the forecast frame: averaged over seeds, coherent over locations (`judge.coherence`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from shelfcast.judge.coherence import coherent
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.model.adapters import ENCODER, load
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors


def load_models(folder: str | Path, int8: bool = False, most: int | None = None) -> list[SalesBert]:
    """The models of all seeds under `models/<variant>/`, of the first `most` where given, in eval mode; int8 : see
    `adapters.quantised`."""
    paths = sorted(Path(folder).glob("seed_*"), key=lambda path: int(path.name.split("_")[1]))
    if not paths:
        raise ValueError(f"{folder}/ holds no seed_<n>/ with a model. Run notebook 3_finetune (or `dvc repro`) first.")
    return [load(path, int8) for path in paths[:most]]


@torch.no_grad()
def predict(
    model: SalesBert, market: MarketTensors, batch_products: int = 25, cold_start: bool = False, at=None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (in the market's size of a sale) and dispersion from every week of the market, each (P, L, T, H) float64.

    Parameters
    ----------
    cold_start : forecast every product as if it were new; a ValueError where the model was not trained for that.
    at : (C,) indices of the weeks to forecast from, all T where none are given.
    """
    if cold_start and not model.config.new_products:
        raise ValueError(
            "the model's head for products without a history was not trained. Set finetune.new_products and train again."
        )
    parts = []
    market = market.as_new() if cold_start else market
    for start in range(0, len(market), batch_products):
        batch = {k: v[start : start + batch_products] for k, v in market.tensors.items() if k != "labels"}
        out = model(**batch, at=None if at is None else torch.as_tensor(at))
        parts.append((out.mean, out.dispersion))
    return tuple(torch.cat(part).double().numpy() for part in zip(*parts, strict=True))


def forecast(
    models: Iterable[SalesBert], market: MarketTensors, cutoffs: list[pd.Timestamp], cold_start: bool = False
) -> pd.DataFrame:
    """Forecast every series from each cutoff by the mean over the models' distributions, as a forecast frame.

    The average of negative binomials is read as one with their mean mean, and the dispersion that gives their mean
    variance. cold_start : as if all products were new; see `predict`.
    """
    return as_frame(predict_each(models, market, cutoffs, cold_start), market, cutoffs)


def in_situations(models: list[SalesBert], market: MarketTensors, cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
    """`forecast` in each situation (column `situation`): with the plan as the market has it, and with none."""
    return situation_frames(predict_in_situations(models, market, cutoffs), market, cutoffs)


def predict_in_situations(
    models: list[SalesBert], market: MarketTensors, cutoffs: list[pd.Timestamp]
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Situation -> what `predict_each` gives; without a plan in the tables both are the same."""
    known = predict_each(models, market, cutoffs)
    hidden = predict_each(models, market.without_plan(), cutoffs) if market.planned else known
    return {"plan_known": known, "no_plan": hidden}


def situation_frames(
    predictions: dict[str, list[tuple[np.ndarray, np.ndarray]]], market: MarketTensors, cutoffs: list[pd.Timestamp]
) -> pd.DataFrame:
    """The forecast frame with the column `situation`; `predictions` as `predict_in_situations` gives them."""
    frames = [as_frame(parts, market, cutoffs).assign(situation=name) for name, parts in predictions.items()]
    return pd.concat(frames, ignore_index=True)


def predict_each(
    models: Iterable[SalesBert], market: MarketTensors, cutoffs: list[pd.Timestamp], cold_start: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and dispersion (P, L, C, H) of each model from the C cutoffs, for `as_frame`."""
    at = market.weeks_index.get_indexer(cutoffs)
    if (at < 0).any():
        missing = [cutoff for cutoff, i in zip(cutoffs, at, strict=True) if i < 0]
        raise ValueError(f"cutoffs {missing} are not observed weeks. Choose of {market.weeks_index[[0, -1]].tolist()}.")
    models = list(models)
    market = read_text_once(models, market)
    return [predict(model, market, cold_start=cold_start, at=at) for model in models]


@torch.no_grad()
def read_text_once(models: list[SalesBert], market: MarketTensors) -> MarketTensors:
    """The market with its texts read, where all models have the same encoder; as it is where they have not."""
    if "read" in market.tensors or not all(m.config.use_text and m.config.body == "compact" for m in models):
        return market
    first, *others = ({k: v for k, v in m.state_dict().items() if k.startswith(ENCODER)} for m in models)
    if not all(isinstance(x, torch.Tensor) for x in first.values()):  # int8 weights are packed, and no tensors
        return market
    for other in others:
        if other.keys() != first.keys() or not all(map(torch.equal, other.values(), first.values())):
            return market
    read = models[0].read_text(market.tensors["input_ids"], market.tensors["text_mask"])
    return replace(market, tensors=market.tensors | {"read": read})


def as_frame(
    parts: list[tuple[np.ndarray, np.ndarray]], market: MarketTensors, cutoffs: list[pd.Timestamp]
) -> pd.DataFrame:
    """`forecast` from the mean and dispersion, each (P, L, C, H), of each model at the C cutoffs."""
    mean, dispersion = mean_over(parts)
    at = market.weeks_index.get_indexer(cutoffs)
    y = market.tensors["labels"][:, :, at].double().numpy()
    keys = grid_keys(market.products, market.locations, cutoffs, market.size * y, market.frequency)
    return coherent(forecast_frame(keys, market.size * mean.ravel(), dispersion.ravel(), unit=market.unit))


def mean_over(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and dispersion of the average over several models' distributions; see `forecast`."""
    means = np.stack([mean for mean, _ in parts])
    variances = np.stack([mean + dispersion * mean**2 for mean, dispersion in parts])
    mean, variance = means.mean(0), variances.mean(0) + means.var(0)
    return mean, np.maximum((variance - mean) / np.maximum(mean, 1e-9) ** 2, 0)
