"""What the base brings, by how much history a category has: the same small model trained from three starts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast.data.files import folder_md5
from shelfcast.judge import intervals, metrics
from shelfcast.judge.frame import add_level
from shelfcast.model.config import SalesBertConfig
from shelfcast.model.forecast import forecast
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path, load_tokenizer, market_tensors, network_shape
from shelfcast.model_options import Finetune
from shelfcast.panel.frame import Panel
from shelfcast.settings import BASE_FOLDER, Settings
from shelfcast.training.base import Base
from shelfcast.training.fit import fit
from shelfcast.training.setup import warm_start_settings
from studies import parameters
from studies.panels import category_panels
from studies.resume import resumed

STARTS = ("base", "language_model", "random_weights")
AVERAGED = -1  # the seed of a row that averages all seeds
KEYS = ["seen", "level", "start", "history", "seed"]  # of scores
LEVELS = {"product": "whole chain", "product_region": "regions"}


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    seen: list[str]
    unseen: list[str]
    histories: list[float] = Field(min_length=1)
    n_products: int = Field(ge=1)
    seed: int = 0


def load_base(study: Study, folder: str | Path = BASE_FOLDER) -> Base:
    """The base that the study is about.

    Raises
    ------
    ValueError : there is none, or it has learned from other categories than the study says.
    """
    base = Base.load(folder)
    if base is None:
        raise ValueError(f"{folder}/ holds no base. Restore it with git, or run `make base`.")
    learned = set(base.facts["categories"])
    if wrong := sorted((set(study.seen) - learned) | (set(study.unseen) & learned)):
        raise ValueError(
            f"the base has {'not ' if wrong[0] in study.seen else ''}learned from {wrong[0]}. "
            "Correct seen and unseen in studies/transfer/params.yaml."
        )
    return base


def make_model(start: str, phase: str, base: Base, market: MarketTensors, finetune: Finetune) -> SalesBert:
    """A model of the base's shape with the weights of one of `STARTS`."""
    if start == "base":
        return base.model(phase, dropout=finetune.warm_start.dropout)
    config = SalesBertConfig.from_pretrained(base.folder / phase)
    shape = network_shape(finetune, market)
    shape |= {name: getattr(config, name) for name in ("body", "layers", "width", "compact_layers")}
    return SalesBert.from_backbone(backbone_path(base.facts["backbone"]), start == "language_model", **shape)


def start_forecasts(
    start: str, history: float, base: Base, panel: Panel, market: MarketTensors, finetune: Finetune
) -> pd.DataFrame:
    """Train from one start on a share of the cutoffs, and forecast the test weeks.

    Returns
    -------
    Forecast frame with `seed` (each alone, and all averaged) and `steps`, which the validation weeks chose.
    """
    warm = start == "base"
    training = warm_start_settings(finetune) if warm else finetune

    def make(phase: str) -> SalesBert:
        return make_model(start, phase, base, market, finetune)

    with TemporaryDirectory() as work:
        splits = market.splits(panel, history)
        fitted = fit(make, *splits, training, finetune.seeds, work, start, warm_start=warm)
    models, log, test = fitted.models, fitted.history, panel.cutoffs["test"]
    frames = [
        forecast([model], market, test).assign(seed=seed) for seed, model in zip(finetune.seeds, models, strict=True)
    ]
    frames.append(forecast(models, market, test).assign(seed=AVERAGED))
    return pd.concat(frames, ignore_index=True).assign(steps=int(log.loc[log["best"], "step"].iloc[0]))


def all_forecasts(s: Settings, study: Study, base: Base, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecast all categories from all starts; finished trainings are saved in `work`, for a run that is stopped.

    The base as it is, before any training on a category, is a history of 0.

    Returns
    -------
    Forecast frame with level, category, seen, start, history, seed and steps; actuals (unique_id, ds, y).
    """
    key = [asdict(s.prepare), asdict(s.finetune), study.n_products, folder_md5(s.base.tables), folder_md5(base.folder)]
    tokenizer, as_it_is = load_tokenizer(base.facts["backbone"]), base.model("refit").eval()
    frames, actuals = [], []
    for panel in category_panels(s.base, s.prepare, [*study.seen, *study.unseen], study.n_products):
        category = panel.meta["category"]
        markets = dict.fromkeys(STARTS, market_tensors(panel, tokenizer))
        markets["base"] = market_tensors(panel, tokenizer, scale=base.facts["scale"])
        facts = {"category": category, "seen": category in study.seen}
        untrained = forecast([as_it_is], markets["base"], panel.cutoffs["test"])
        frames.append(untrained.assign(**facts, start="base", history=0.0, seed=AVERAGED))
        for history in study.histories:
            for start, market in markets.items():

                def make(start=start, history=history, panel=panel, market=market) -> pd.DataFrame:
                    return start_forecasts(start, history, base, panel, market, s.finetune)

                frame = resumed(work, [*key, category, history, start], make)
                frames.append(frame.assign(**facts, start=start, history=history))
        actuals.append(panel.frame[["unique_id", "ds", "y"]])
    return add_level(pd.concat(frames, ignore_index=True)), pd.concat(actuals, ignore_index=True)


def chosen_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """The number of steps that the validation weeks chose, a row a training."""
    columns = ["category", "seen", "start", "history", "steps"]
    return frame.dropna(subset="steps")[columns].drop_duplicates().astype({"steps": int})


def mean_scores(frame: pd.DataFrame, actuals: pd.DataFrame) -> pd.DataFrame:
    """WQL and WAPE by `KEYS`, means over categories."""
    table = metrics.scores(frame, actuals, by=(*KEYS, "category"))[["wql", "wape"]].reset_index()
    return table.groupby(KEYS, as_index=False)[["wql", "wape"]].mean()


def with_seed_range(mean: pd.DataFrame) -> pd.DataFrame:
    """Scores of the averaged forecasts, and the lowest and highest WQL of a single seed."""
    keys = KEYS[:-1]
    single = mean[mean["seed"] != AVERAGED].groupby(keys)["wql"].agg(["min", "max"])
    averaged = mean[mean["seed"] == AVERAGED].set_index(keys).drop(columns="seed")
    return averaged.join(single.add_prefix("wql_of_a_seed_"))


def differences(frame: pd.DataFrame, histories: list[float], seed: int) -> pd.DataFrame:
    """Relative differences of mean scores: the base against the other starts, by seen, level and history.

    At a history of 0 the base as it is stands against models that have learned from the longest history.
    """
    rows = []
    for (seen, level), part in frame[frame["seed"] == AVERAGED].groupby(["seen", "level"]):
        for history in [0.0, *histories]:
            ours = part[(part["start"] == "base") & (part["history"] == history)]
            for against in STARTS[1:]:
                theirs = part[(part["start"] == against) & (part["history"] == (history or max(histories)))]
                both = pd.concat([ours, theirs]).rename(columns={"start": "method"})
                for metric in ("wql", "wape"):
                    row = {"seen": seen, "level": level, "history": history, "against": against, "metric": metric}
                    rows.append(row | intervals.mean_difference(both, "base", against, metric, seed=seed))
    return pd.DataFrame(rows)


def drawn(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Level -> WQL against the language model, as `plots.intervals` draws it."""
    rows = table.query("metric == 'wql' and against == 'language_model'")
    group = rows["seen"].map({True: "learned from", False: "unseen"})
    share = rows["history"].map(lambda history: f"{history:.0%}" if history else "none against all")
    rows = rows.assign(group=group, label=group + ", " + share)
    return {LEVELS[level]: part for level, part in rows.groupby("level")}
