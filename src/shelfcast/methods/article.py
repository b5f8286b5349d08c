"""The article's baseline: sales records written as text, read by BERT with a regression head."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForSequenceClassification, PrinterCallback, Trainer, TrainingArguments, set_seed

from shelfcast.judge.frame import KEYS, is_chain
from shelfcast.methods.dispersion import MIN_MEAN, Predict, with_dispersion
from shelfcast.model.tensors import backbone_path, load_tokenizer
from shelfcast.panel.frame import Panel, examples


def as_text(panel: Panel, cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
    """Sales records as sentences, one per series and cutoff: columns unique_id, cutoff, text, and y of each horizon."""
    rows = examples(panel, cutoffs)
    wide = rows.pivot(index=["unique_id", "cutoff"], columns="horizon", values=["y", "promotion_target"])
    first = rows[rows["horizon"] == 1].set_index(["unique_id", "cutoff"]).loc[wide.index].reset_index()
    lags = first[[f"lag_{k}" for k in (3, 2, 1, 0)]].fillna(0).astype(int).astype(str).agg(" ".join, axis=1)
    plan = wide["promotion_target"].gt(0.5).replace({True: "yes", False: "no"}).agg(" ".join, axis=1).to_numpy()
    words = first["product_id"].map(panel.products["text"].str.split("; ").str[-2:].str.join(", "))
    place = first["location"].str.replace("_", " ")
    usual = first["level"].round(1).astype(str)
    text = "sold " + lags + ", usually " + usual + "; promotion next " + plan + "; " + place + "; " + words
    return pd.concat([first[["unique_id", "cutoff"]].assign(text=text), wide["y"].reset_index(drop=True)], axis=1)


def article_bert(panel: Panel, seed: int, n_train: int = 6000, n_dispersion: int = 2, epochs: int = 1) -> Predict:
    """Sales records as text, read by BERT with a regression head: MSE, AdamW, the article's own idea.

    The head forecasts log(1 + units) of all horizons at once; one factor, fitted with the dispersion on the validation
    weeks, removes the bias of going back from logs.
    """
    horizon = panel.meta["horizon"]
    tokenizer = load_tokenizer("minilm")
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        backbone_path("minilm"), num_labels=horizon, problem_type="regression", num_hidden_layers=3
    )
    records = as_text(panel, panel.cutoffs["train"][:-horizon]).sample(frac=1, random_state=seed).head(n_train)

    def encode(texts):
        return tokenizer(list(texts), truncation=True, max_length=64)

    labels = np.log1p(records[list(range(1, horizon + 1))].to_numpy(np.float32))
    tokens = encode(records["text"])
    items = [{k: v[i] for k, v in tokens.items()} | {"labels": labels[i]} for i in range(len(records))]
    work = f"{os.environ.get('TMPDIR', '/tmp')}/shelfcast_article"
    arguments = TrainingArguments(
        work, num_train_epochs=epochs, per_device_train_batch_size=32, learning_rate=2e-4, warmup_steps=0.1,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, seed=seed, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=items, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    model.eval()

    @torch.no_grad()
    def raw(cutoffs):
        records = as_text(panel, cutoffs)
        order = np.argsort(records["text"].str.len().to_numpy(), kind="stable")  # like lengths together: less padding
        out = np.empty((len(records), horizon))
        for batch in np.array_split(order, max(1, len(order) // 128)):
            padded = tokenizer.pad(encode(records["text"].iloc[batch]), return_tensors="pt")
            out[batch] = model(**padded).logits.double().numpy()
        long = records[["unique_id", "cutoff"]].join(
            pd.DataFrame(np.expm1(out).clip(MIN_MEAN), columns=range(1, horizon + 1))
        )
        long = long.melt(["unique_id", "cutoff"], var_name="horizon", value_name="mean").astype({"horizon": int})
        return examples(panel, cutoffs)[KEYS].merge(long, on=["unique_id", "cutoff", "horizon"])

    known = raw(panel.cutoffs["validation"][-n_dispersion:])
    chain = is_chain(known)
    factor = known.groupby(chain)["y"].sum() / known.groupby(chain)["mean"].sum()

    def mean(cutoffs):
        frame = known if cutoffs == panel.cutoffs["validation"] else raw(cutoffs)
        return frame.assign(mean=frame["mean"] * is_chain(frame).map(factor))

    return with_dispersion(panel, mean)
