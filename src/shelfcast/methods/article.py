"""The article's baseline: sales records written as text, read by BERT with a regression head (MSE, AdamW).

The head forecasts log(1 + units) of all horizons at once.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from shelfcast.judge.frame import KEYS, is_chain
from shelfcast.methods.dispersion import MIN_MEAN, Predict, with_dispersion
from shelfcast.model.tensors import backbone_path, load_tokenizer
from shelfcast.panel.frame import Panel, examples

BACKBONE, LAYERS = "minilm", 3
MAX_TOKENS = 64
BATCH = 128  # records read at once


def article_bert(panel: Panel, seed: int, n_train: int = 6000, n_dispersion: int = 2, epochs: int = 1) -> Predict:
    """Fine-tune BERT on sales records as text, and forecast with its means.

    Two factors, one for the chain and one for the regions, are fitted with the dispersions on validation weeks: they
    remove the bias of going back from logs.

    Parameters
    ----------
    n_train : records drawn from the training cutoffs.
    n_dispersion : validation cutoffs read for factors and dispersions, the last ones.
    """
    tokenizer = load_tokenizer(BACKBONE)
    records = as_text(panel, panel.cutoffs["train"][: -panel.meta["horizon"]]).dropna()
    records = records.sample(frac=1, random_state=seed).head(n_train)
    model = _fine_tune(records, panel.meta["horizon"], tokenizer, seed, epochs)

    validation = _means(model, tokenizer, panel, panel.cutoffs["validation"][-n_dispersion:])
    total = validation.groupby(is_chain(validation))[["y", "mean"]].sum()
    factor = total["y"] / total["mean"]

    def predict_means(cutoffs: list[pd.Timestamp], plan_known: bool = True) -> pd.DataFrame:
        is_validation = plan_known and cutoffs == panel.cutoffs["validation"]
        rows = validation if is_validation else _means(model, tokenizer, panel, cutoffs, plan_known)
        return rows.assign(mean=rows["mean"] * is_chain(rows).map(factor))

    return with_dispersion(panel, predict_means)


def as_text(panel: Panel, cutoffs: list[pd.Timestamp], plan_known: bool = True) -> pd.DataFrame:
    """Sales records as sentences, one per series and cutoff: columns unique_id, cutoff, text, and y of each horizon."""
    rows = examples(panel, cutoffs, plan_known=plan_known)
    wide = rows.pivot(index=["unique_id", "cutoff"], columns="horizon", values=["y", "promotion_target"])
    first = rows[rows["horizon"] == 1].set_index(["unique_id", "cutoff"]).loc[wide.index].reset_index()
    sales = first[[f"lag_{k}" for k in (3, 2, 1, 0)]].fillna(0).astype(int).astype(str).agg(" ".join, axis=1)
    level = first["level"].round(1).astype(str)
    promotions = wide["promotion_target"].gt(0.5).replace({True: "yes", False: "no"}).agg(" ".join, axis=1).to_numpy()
    location = first["location"].str.replace("_", " ")
    attributes = first["product_id"].map(panel.products["text"].str.split("; ").str[-2:].str.join(", "))
    text = "sold " + sales + ", usually " + level + "; promotion next " + promotions
    text = text + "; " + location + "; " + attributes
    return pd.concat([first[["unique_id", "cutoff"]].assign(text=text), wide["y"].reset_index(drop=True)], axis=1)


def _tokens(tokenizer: PreTrainedTokenizerBase, text: pd.Series) -> dict:
    return tokenizer(list(text), truncation=True, max_length=MAX_TOKENS)


def _fine_tune(
    records: pd.DataFrame, horizon: int, tokenizer: PreTrainedTokenizerBase, seed: int, epochs: int
) -> PreTrainedModel:
    """Train a regression head and the backbone below it on records of `as_text`."""
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        backbone_path(BACKBONE), num_labels=horizon, problem_type="regression", num_hidden_layers=LAYERS
    )
    labels = np.log1p(records[list(range(1, horizon + 1))].to_numpy(np.float32))
    tokens = _tokens(tokenizer, records["text"])
    items = [{name: x[i] for name, x in tokens.items()} | {"labels": labels[i]} for i in range(len(records))]
    arguments = TrainingArguments(
        output_dir=f"{os.environ.get('TMPDIR', '/tmp')}/shelfcast_article",
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        learning_rate=2e-4,
        warmup_steps=0.1,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(model, arguments, train_dataset=items, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return model.eval()


@torch.no_grad()
def _means(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    panel: Panel,
    cutoffs: list[pd.Timestamp],
    plan_known: bool = True,
) -> pd.DataFrame:
    """`KEYS` and mean, before any factor."""
    records = as_text(panel, cutoffs, plan_known)
    horizon = panel.meta["horizon"]
    log_units = np.empty((len(records), horizon))
    by_length = np.argsort(records["text"].str.len().to_numpy(), kind="stable")  # like lengths together: less padding
    for batch in np.array_split(by_length, max(1, len(by_length) // BATCH)):
        padded = tokenizer.pad(_tokens(tokenizer, records["text"].iloc[batch]), return_tensors="pt")
        log_units[batch] = model(**padded).logits.double().numpy()
    units = pd.DataFrame(np.expm1(log_units).clip(MIN_MEAN), columns=range(1, horizon + 1))
    long = records[["unique_id", "cutoff"]].join(units)
    long = long.melt(["unique_id", "cutoff"], var_name="horizon", value_name="mean").astype({"horizon": int})
    return examples(panel, cutoffs)[KEYS].merge(long, on=["unique_id", "cutoff", "horizon"])
