"""What the language model reads of the products' texts, kept from week to week: it changes only where a text does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from shelfcast.model.adapters import encoder_md5
from shelfcast.model.forecast import load_models
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MAX_TEXT, MarketTensors, load_tokenizer
from shelfcast.panel.build import product_texts
from shelfcast.scale.common import part_name
from shelfcast.scale.engine.parts import Job
from shelfcast.scale.market import load_market, stamp
from shelfcast.scale.panels import MARKET, tasks_of

TEXTS = "texts"


def texts_job(folder: Path, models: Path) -> Job | None:
    """The job that reads the texts of all products of a prepared market, by the encoder that all seeds have.

    None where forecasts do not read texts so: seeds have encoders of their own, or none, or weeks go through it, too.
    """
    trained = load_models(models)
    if not all(model.config.use_text and model.config.body == "compact" for model in trained):
        return None
    encoders = {encoder_md5(model.state_dict()) for model in trained}
    if len(encoders) > 1:
        return None
    market = load_market(str(folder / MARKET))
    texts = product_texts(market.grid.products).fillna("")
    tasks = tasks_of(market.starts, {"folder": str(folder), "models": str(models)})
    for start, task in zip(market.starts, tasks.values(), strict=True):
        own = texts.iloc[start : start + market.size]
        task["texts"] = hashlib.md5(json.dumps([*own.index, *own]).encode()).hexdigest()
    return Job(folder / TEXTS, read_texts, tasks, {"encoder": encoders.pop()})


def read_texts(folder: str, models: str, start: int, texts: str) -> pa.Table:
    """The encoder's reading of one partition's texts: product_id, read (as many numbers as it is wide).

    texts : their hash, by which a part is known to be of these texts.
    """
    products = load_market(str(Path(folder) / MARKET)).part(start).products
    facts = json.loads((Path(models) / "variant.json").read_text())
    sentences = product_texts(products).fillna("").tolist()
    tokenizer = load_tokenizer(facts["backbone"])
    tokens = tokenizer(sentences, padding=True, truncation=True, max_length=MAX_TEXT, return_tensors="pt")
    with torch.inference_mode():
        read = trained(models, 1)[0].read_text(tokens["input_ids"], tokens["attention_mask"].bool()).numpy()
    values = pa.FixedSizeListArray.from_arrays(pa.array(read.ravel()), read.shape[1])
    return pa.table({"product_id": pa.array(products.index.astype(str)), "read": values})


def trained(folder: str, most: int | None = None) -> list[SalesBert]:
    """The models of a variant's seeds, loaded once in a process."""
    return _load(folder, most, stamp(Path(folder) / "variant.json"))


@lru_cache(maxsize=1)
def _load(folder: str, most: int | None, stamp: tuple[int, int]) -> list[SalesBert]:
    return load_models(folder, most=most)


def with_texts(market: MarketTensors, folder: str | Path, start: int) -> MarketTensors:
    """The market with its texts as `read_texts` read them; as it is where they were not."""
    path = Path(folder) / TEXTS / part_name(start)
    if not path.is_file():
        return market
    table = pq.read_table(path, partitioning=None)
    known = pd.Index(table["product_id"].to_pylist())
    flat = table["read"].combine_chunks().flatten().to_numpy()
    rows = flat.reshape(len(known), -1)[known.get_indexer(market.products)]
    return replace(market, tensors=market.tensors | {"read": torch.from_numpy(rows.copy())})
