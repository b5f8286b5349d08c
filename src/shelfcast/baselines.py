"""What a user would pick instead: averages, classical methods, boosted trees, a zero-shot model, the article's BERT.

Each method is a function `(panel, seed) -> predict`, where `predict(cutoffs)` returns one row per series, cutoff and
horizon with `mean` and `dispersion` (or quantile columns). Fitting, tuning and dispersions see no label after
`meta["validation_end"]`, and at validation cutoffs `predict` gives what was fitted without these weeks.

References: Syntetos & Boylan (2005) for Croston-SBA; statsforecast for it and AutoETS.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from fracast import FracastModel
from scipy import interpolate, stats
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, CrostonSBA
from transformers import AutoModelForSequenceClassification, PrinterCallback, Trainer, TrainingArguments, set_seed

from shelfcast import trees
from shelfcast.counts import FLOOR, KEYS, Predict, as_counts, count_wql, is_chain
from shelfcast.dataset import backbone_path, load_tokenizer
from shelfcast.metrics import QUANTILES, negative_binomial_quantiles, quantile_column
from shelfcast.panel import Panel, examples

SHORTEST = 8  # weeks of history that a classical method needs; a newer product is forecast at its level


def run(
    panel: Panel, methods: list[str], seed: int = 0, given: dict[str, tuple[Predict, float]] | None = None
) -> tuple[pd.DataFrame, dict]:
    """Fit every method, forecast from the test cutoffs.

    given : what was fitted elsewhere, and the seconds it took: 'shelfcast', and 'trees_joint' of many categories.
        A method that is made of another is left out where that is neither given nor asked for before it.

    Returns
    -------
    The forecast frame of all methods, and {method: {fit_seconds, predict_seconds}}.
    """
    if unknown := sorted(set(methods) - {*METHODS, *MADE_OF}):
        known = ", ".join([*METHODS, *MADE_OF])
        raise ValueError(f"unknown baselines {', '.join(unknown)}; known: {known}. Set evaluate.baselines.")
    frames, timings, fitted = [], {}, dict(given or {})
    if not panel.roles["price_plan"]:  # there is a real plan, which every method reads
        methods = [m for m in methods if not m.endswith("_price_plan")]
    for method in methods:
        make, *parts = MADE_OF.get(method, (METHODS.get(method),))
        if lacking := [part for part in parts if part not in fitted]:
            print(f"{method}: left out, there is no {' and no '.join(lacking)} for this market")
            continue
        start = time.perf_counter()
        predict = make(panel, *(fitted[part][0] for part in parts)) if parts else make(panel, seed)
        seconds = time.perf_counter() - start + sum(fitted[part][1] for part in parts)
        fitted[method] = predict, seconds
        start = time.perf_counter()
        frame = predict(panel.cutoffs["test"])
        timings[method] = {"fit_seconds": seconds, "predict_seconds": time.perf_counter() - start}
        print(f"{method}: fitted in {seconds:.0f} s, forecast in {time.perf_counter() - start:.0f} s", flush=True)
        frames.append(_with_quantiles(frame).assign(method=method))
    return pd.concat(frames, ignore_index=True), timings


def _with_quantiles(frame: pd.DataFrame) -> pd.DataFrame:
    names = [quantile_column(q) for q in QUANTILES]
    if names[0] not in frame:
        frame = frame.assign(
            **dict(zip(names, negative_binomial_quantiles(frame["mean"], frame["dispersion"]).T, strict=True))
        )
    return frame[[*KEYS, "mean", "dispersion", *names]]


def moving_average_8(panel: Panel, seed: int) -> Predict:
    """Mean of the last eight weeks."""

    def mean(cutoffs):
        rows = examples(panel, cutoffs)
        return rows[KEYS].assign(mean=rows["level_8"].fillna(rows["y_level"]).clip(lower=FLOOR))

    return as_counts(panel, mean)


def _classical(model) -> Callable[[Panel, int], Predict]:
    def fit(panel: Panel, seed: int) -> Predict:
        history = panel.frame.loc[panel.frame["y"].notna(), ["unique_id", "ds", "y"]]

        def mean(cutoffs):
            parts = []
            for cutoff in cutoffs:
                engine = StatsForecast(models=[model], freq="W-MON")
                seen = history[history["ds"] <= cutoff]
                seen = seen[seen.groupby("unique_id")["y"].transform("size") >= SHORTEST]
                ahead = engine.forecast(df=seen, h=panel.meta["horizon"])
                parts.append(ahead.rename(columns={repr(model): "mean"}).assign(cutoff=cutoff))
            rows = examples(panel, cutoffs)[[*KEYS, "y_level"]]
            rows = rows.merge(pd.concat(parts), on=["unique_id", "ds", "cutoff"], how="left")
            return rows[KEYS].assign(mean=rows["mean"].fillna(rows["y_level"]).clip(lower=FLOOR))

        return as_counts(panel, mean)

    return fit


# ---------------------------------------------------------------- boosted trees, and two methods as one


def lightgbm_counts(panel: Panel, seed: int, price_plan: bool = False) -> Predict:
    """Boosted trees of this category alone, and a negative binomial around their mean."""
    return as_counts(panel, trees.fit([panel], seed, price_plan).predict(panel), trees.SPREADS)


def pair(panel: Panel, one: Predict, other: Predict) -> Predict:
    """The geometric mean of two methods' means, with a negative binomial of its own."""
    return as_counts(panel, lambda cutoffs: _between(one(cutoffs), other(cutoffs), 0.5), trees.SPREADS)


def blend(panel: Panel, one: Predict, other: Predict) -> Predict:
    """Between two methods, mean and dispersion, in logs; how far is chosen by WQL on the validation weeks."""
    known = [predict(panel.cutoffs["validation"]) for predict in (one, other)]

    def score(weight):
        frame = _between(*known, weight).dropna(subset="y")
        return np.mean([count_wql(rows) for _, rows in frame.groupby(is_chain(frame))])

    weight = min(np.linspace(0, 1, 11), key=score)
    return lambda cutoffs: _between(one(cutoffs), other(cutoffs), weight)


def _between(one: pd.DataFrame, other: pd.DataFrame, weight: float) -> pd.DataFrame:
    """one ** weight * other ** (1 - weight) for mean and, where both have one, dispersion; on the rows that both have."""
    keys, told = ["unique_id", "cutoff", "horizon"], ["mean", "dispersion"]
    told = [name for name in told if name in one and name in other]
    frame = one[[*KEYS, *told]].merge(other[[*keys, *told]], on=keys, suffixes=("", "_other"))
    between = {name: frame[name] ** weight * frame[f"{name}_other"] ** (1 - weight) for name in told}
    return frame[KEYS].assign(**between)


# ---------------------------------------------------------------- pretrained models of others


def fracast(panel: Panel, seed: int) -> Predict:
    """Fracast-0 zero-shot on each series' own history; its nine quantiles are interpolated to ours."""
    model = FracastModel.from_pretrained(weights="fp32")
    history = panel.frame.pivot(index="unique_id", columns="ds", values="y").fillna(0)  # before a launch nothing sold

    def predict(cutoffs):
        rows = examples(panel, cutoffs)[KEYS]
        parts = []
        for cutoff in cutoffs:
            past = history.loc[:, :cutoff].to_numpy()
            blocks = np.array_split(past, -(-len(past) // 8))  # larger blocks outgrow the processor's cache
            ahead = np.concatenate([model.forecast_batch(block, horizon=panel.meta["horizon"]) for block in blocks])
            index = pd.MultiIndex.from_product([history.index, [cutoff], range(1, panel.meta["horizon"] + 1)])
            parts.append(pd.DataFrame(np.sort(ahead, -1).reshape(len(index), -1), index, columns=model.quantiles))
        found = pd.concat(parts).loc[pd.MultiIndex.from_frame(rows[["unique_id", "cutoff", "horizon"]])].clip(lower=0)
        # on the scale of a normal, so that the outer quantiles go on as the last two known ones do
        read = interpolate.interp1d(stats.norm.ppf(model.quantiles), found, fill_value="extrapolate")
        rows[[quantile_column(q) for q in QUANTILES]] = read(stats.norm.ppf(QUANTILES)).clip(min=0)
        return rows.assign(mean=found.mean(axis=1).to_numpy(), dispersion=np.nan)

    return predict


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
            pd.DataFrame(np.expm1(out).clip(FLOOR), columns=range(1, horizon + 1))
        )
        long = long.melt(["unique_id", "cutoff"], var_name="horizon", value_name="mean").astype({"horizon": int})
        return examples(panel, cutoffs)[KEYS].merge(long, on=["unique_id", "cutoff", "horizon"])

    known = raw(panel.cutoffs["validation"][-n_dispersion:])
    chain = is_chain(known)
    factor = known.groupby(chain)["y"].sum() / known.groupby(chain)["mean"].sum()

    def mean(cutoffs):
        frame = known if cutoffs == panel.cutoffs["validation"] else raw(cutoffs)
        return frame.assign(mean=frame["mean"] * is_chain(frame).map(factor))

    return as_counts(panel, mean)


METHODS: dict[str, Callable[[Panel, int], Predict]] = {
    "moving_average_8": moving_average_8,
    # no trend: extrapolated from so few, so noisy weeks it was far worse on the validation weeks
    "auto_ets": _classical(AutoETS(season_length=1, model="ZNN")),
    "croston_sba": _classical(CrostonSBA()),
    "lightgbm": lightgbm_counts,
    "lightgbm_price_plan": lambda panel, seed: lightgbm_counts(panel, seed, price_plan=True),
    "fracast": fracast,
    "article_bert": article_bert,
}
MADE_OF: dict[str, tuple] = {  # (panel, the predict of each part) -> predict; what it is made of
    "lightgbm_joint": (lambda panel, mean: as_counts(panel, mean, trees.SPREADS), "trees_joint"),
    "lightgbm_pair": (pair, "lightgbm", "lightgbm_joint"),
    "blend": (blend, "shelfcast", "lightgbm_pair"),
}
