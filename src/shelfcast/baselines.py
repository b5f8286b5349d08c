"""What a user would pick instead: averages, classical methods, boosted trees, a zero-shot model, the article's BERT.

Each method is a function `(panel, seed) -> predict`, where `predict(cutoffs)` returns one row per series, cutoff and
horizon with `mean` and `dispersion` (or quantile columns). Fitting, tuning and dispersions see no label after
`meta["validation_end"]`.

References: Syntetos & Boylan (2005) for Croston-SBA; statsforecast for it and AutoETS; Ke et al. (2017) for LightGBM.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import lightgbm
import numpy as np
import pandas as pd
import torch
from fracast import FracastModel
from scipy import interpolate, stats
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, CrostonSBA
from transformers import AutoModelForSequenceClassification, PrinterCallback, Trainer, TrainingArguments, set_seed

from shelfcast.dataset import IN_UNITS, backbone_path, load_tokenizer
from shelfcast.metrics import (
    QUANTILES,
    WQL_QUANTILES,
    fit_dispersion,
    negative_binomial_quantiles,
    quantile_column,
)
from shelfcast.panel import Panel, examples
from shelfcast.regions import CHAIN

KEYS = ["unique_id", "ds", "cutoff", "horizon", "y"]
SHORTEST = 8  # weeks of history that a classical method needs; a newer product is forecast at its level
FLOOR = 0.02  # units a week; a mean of zero would call any sale impossible
Predict = Callable[[list[pd.Timestamp]], pd.DataFrame]


def run(panel: Panel, methods: list[str], seed: int = 0) -> tuple[pd.DataFrame, dict]:
    """Fit every method, forecast from the test cutoffs.

    Returns
    -------
    The forecast frame of all methods, and {method: {fit_seconds, predict_seconds}}.
    """
    if unknown := sorted(set(methods) - set(METHODS)):
        raise ValueError(
            f"unknown baselines {', '.join(unknown)}; known: {', '.join(METHODS)}. Set evaluate.baselines."
        )
    frames, timings = [], {}
    if not panel.roles["price_plan"]:  # there is a real plan, which every method reads
        methods = [m for m in methods if not m.endswith("_price_plan")]
    for method in methods:
        start = time.perf_counter()
        predict = METHODS[method](panel, seed)
        fitted = time.perf_counter()
        frame = predict(panel.cutoffs["test"])
        timings[method] = {"fit_seconds": fitted - start, "predict_seconds": time.perf_counter() - fitted}
        print(
            f"{method}: fitted in {fitted - start:.0f} s, forecast in {time.perf_counter() - fitted:.0f} s", flush=True
        )
        frames.append(_with_quantiles(frame).assign(method=method))
    return pd.concat(frames, ignore_index=True), timings


def _with_quantiles(frame: pd.DataFrame) -> pd.DataFrame:
    names = [quantile_column(q) for q in QUANTILES]
    if names[0] not in frame:
        frame = frame.assign(
            **dict(zip(names, negative_binomial_quantiles(frame["mean"], frame["dispersion"]).T, strict=True))
        )
    return frame[[*KEYS, "mean", "dispersion", *names]]


def _is_chain(frame: pd.DataFrame) -> pd.Series:
    return frame["unique_id"].str.endswith(f"|{CHAIN}")


def _as_counts(panel: Panel, mean: Callable[[list[pd.Timestamp]], pd.DataFrame], bins: int = 1) -> Predict:
    """A count distribution around a method's means.

    Dispersion is fitted to the validation weeks, for the chain and the regions apart and, with `bins`, for groups of
    equally many rows by mean.
    """
    known = mean(panel.cutoffs["validation"]).dropna(subset="y")
    table = {}
    for chain, rows in known.groupby(_is_chain(known)):
        edges = rows["mean"].quantile(np.linspace(0, 1, bins + 1)[1:-1]).to_numpy()
        group = np.searchsorted(edges, rows["mean"])
        fits = [fit_dispersion(rows["y"][group == i], rows["mean"][group == i]) for i in range(bins)]
        table[chain] = edges, np.array(fits)

    def predict(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        frame = mean(cutoffs)
        parts = [
            pd.Series(table[chain][1][np.searchsorted(table[chain][0], rows["mean"])], rows.index)
            for chain, rows in frame.groupby(_is_chain(frame))
        ]
        return frame.assign(dispersion=pd.concat(parts))

    return predict


def moving_average_8(panel: Panel, seed: int) -> Predict:
    """Mean of the last eight weeks."""

    def mean(cutoffs):
        rows = examples(panel, cutoffs)
        return rows[KEYS].assign(mean=rows["level_8"].fillna(rows["y_level"]).clip(lower=FLOOR))

    return _as_counts(panel, mean)


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

        return _as_counts(panel, mean)

    return fit


# ---------------------------------------------------------------- LightGBM

GRID = [
    dict(objective=objective, num_leaves=leaves, feature_fraction=fraction)
    for objective in ("poisson", "tweedie")
    for leaves in (15, 31)
    for fraction in (0.3, 0.6)
]
COMMON = dict(
    learning_rate=0.05,
    tweedie_variance_power=1.3,
    min_data_in_leaf=100,
    bagging_fraction=0.8,
    bagging_freq=1,
    lambda_l2=1.0,
    deterministic=True,
    force_row_wise=True,
    verbosity=-1,
)
KEPT = 3  # settings that are averaged


def lightgbm_counts(panel: Panel, seed: int, price_plan: bool = False) -> Predict:
    """Boosted trees for the mean, with the level as offset, and a negative binomial around it.

    Columns in units become logs relative to the level, as for SalesBert. The settings of the grid are ranked by
    validation WQL with early stopping; the best few are fitted again with the validation weeks and averaged.
    """
    train_end, validation_end = (pd.Timestamp(panel.meta[k]) for k in ("train_end", "validation_end"))
    weeks = panel.weeks[(panel.weeks >= panel.cutoffs["train"][0]) & (panel.weeks < validation_end)]
    rows = examples(panel, list(weeks), price_plan)
    rows = rows[(rows["ds"] <= validation_end) & rows["y"].notna()]
    train = rows[rows["ds"] <= train_end]
    validation = rows[rows["cutoff"].isin(panel.cutoffs["validation"])]

    def dataset(frame: pd.DataFrame, reference=None) -> lightgbm.Dataset:
        return lightgbm.Dataset(_matrix(frame), frame["y"], init_score=np.log(frame["y_level"]), reference=reference)

    def apply(booster: lightgbm.Booster, frame: pd.DataFrame) -> np.ndarray:
        return (frame["y_level"] * np.exp(booster.predict(_matrix(frame), raw_score=True))).clip(FLOOR)

    ranking = []
    for settings in (choice | COMMON | {"seed": seed} for choice in GRID):
        fitted = dataset(train)
        stop = lightgbm.early_stopping(30, verbose=False)
        booster = lightgbm.train(settings, fitted, 600, valid_sets=[dataset(validation, fitted)], callbacks=[stop])
        mean = apply(booster, validation)
        known = validation[KEYS].assign(mean=mean)
        score = _wql(_as_counts(panel, lambda _, known=known: known, bins=4)([]))
        ranking.append((score, len(ranking), settings, booster.best_iteration, mean))
    best = sorted(ranking)[:KEPT]
    whole = dataset(rows)
    boosters = [lightgbm.train(settings, whole, rounds) for _, _, settings, rounds, _ in best]

    def mean(cutoffs):
        if cutoffs == panel.cutoffs["validation"]:  # from the fits that had not seen these weeks
            return validation[KEYS].assign(mean=np.mean([known for *_, known in best], axis=0))
        frame = examples(panel, cutoffs, price_plan)
        return frame[KEYS].assign(mean=np.mean([apply(booster, frame) for booster in boosters], axis=0))

    return _as_counts(panel, mean, bins=4)


def _matrix(frame: pd.DataFrame) -> pd.DataFrame:
    """Features of `examples` rows; a product's own id stays out, which was better on the validation weeks."""
    columns = {"horizon": frame["horizon"], "location": frame["location"].astype("category").cat.codes}
    planned = {c.removesuffix("_target") for c in frame if c.endswith("_target")}
    for name in frame.columns.difference([*KEYS, "y_level", "product_id", "location", *planned]):
        x = frame[name]
        if IN_UNITS.match(name):
            x = np.log(x) if name == "level" else np.log((x + 0.1) / (frame["y_level"] + 0.1))
        columns[name] = x
    return pd.DataFrame(columns)


def _wql(frame: pd.DataFrame) -> float:
    q = np.array(WQL_QUANTILES)
    gap = frame["y"].to_numpy()[:, None] - negative_binomial_quantiles(frame["mean"], frame["dispersion"], q)
    return float(2 * np.maximum(q * gap, (q - 1) * gap).mean(1).sum() / frame["y"].sum())


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
    chain = _is_chain(known)
    factor = known.groupby(chain)["y"].sum() / known.groupby(chain)["mean"].sum()

    def mean(cutoffs):
        frame = known if cutoffs == panel.cutoffs["validation"] else raw(cutoffs)
        return frame.assign(mean=frame["mean"] * _is_chain(frame).map(factor))

    return _as_counts(panel, mean)


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
