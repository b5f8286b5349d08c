"""The trainings of the study: bases of many markets, and the ways to forecast one market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

from shelfcast.data.files import atomic
from shelfcast.methods import forecast_test_weeks
from shelfcast.methods.dispersion import held_out_weeks
from shelfcast.model.forecast import forecast
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import backbone_path, load_tokenizer, market_tensors, network_shape
from shelfcast.model_options import Finetune, WarmStart
from shelfcast.panel.frame import Panel
from shelfcast.settings import Settings
from shelfcast.training.base.any_market import market_facts, save_any_base
from shelfcast.training.base.many import pretrain_any, shared_scale
from shelfcast.training.fit import fit
from shelfcast.training.setup import training_setup
from studies.any_retailer.markets import Study

LIGHTGBM, PART = "lightgbm", "lightgbm_part"
LEAST = 4  # cutoffs


def train_base(panels: dict[str, Panel], study: Study, s: Settings, folder: Path, work: Path) -> None:
    """Train a base on the training weeks of all panels, by name, and write it; checkpoints lie in `work`.

    One model serves both phases of `fit`: it has seen no validation week.
    """
    settings = replace(s.base, columns="by_meaning", steps=study.steps, learning_rate=study.learning_rate)
    settings = replace(settings, warmup=min(settings.warmup, study.steps // 10 + 1))
    tokenizer = load_tokenizer(settings.backbone)
    scale = shared_scale([market_tensors(panel, tokenizer, by_meaning=True) for panel in panels.values()])
    markets = [
        market_tensors(panel, tokenizer, scale=scale, by_meaning=True).splits(panel)[0] for panel in panels.values()
    ]
    options = network_shape(settings, markets[0])

    def make_model(sizes: dict[str, int]) -> SalesBert:
        return SalesBert.from_backbone(backbone_path(settings.backbone), **options | sizes)

    model, _, history = pretrain_any(make_model, markets, tokenizer, settings, study.drop_columns, study.seed, work)
    facts = {"backbone": settings.backbone, "scale": scale, "drop_columns": study.drop_columns}
    facts["markets"] = [market_facts(name, panel, panel.meta.get("data_md5")) for name, panel in panels.items()]
    with atomic(folder) as part:
        save_any_base(part, {"select": model, "refit": model}, facts, history)


class Way(NamedTuple):
    """make : returns the forecast frame of the test weeks, with `steps` that were chosen and their `validation` WQL,
    NaN where there are none. key : its settings."""

    make: Callable[[], pd.DataFrame]
    key: list


def ways(panel: Panel, study: Study, s: Settings, base: Path, same_tables: bool) -> dict[str, Way]:
    """Name -> a way to forecast one market.

    same_tables : the project's own base, of this retailer's tables, is one way more.
    """
    own = replace(s.finetune, seeds=study.seeds)
    by_meaning, alone = replace(own, columns="by_meaning"), {"from_base": False}

    def training(finetune: Finetune, start: Path | None) -> Way:
        return Way(partial(trained, panel, finetune, start), [asdict(finetune), start and start.name])

    found = {"zero_shot": Way(partial(zero_shot, panel, by_meaning, base), [base.name])}
    for name, values in study.tries.items():
        warm = WarmStart(**asdict(own.warm_start) | values)
        found[name] = training(replace(by_meaning, warm_start=warm), base)
    found["from_nothing"] = training(replace(own, **alone), None)
    found["by_meaning_from_nothing"] = training(replace(by_meaning, **alone), None)
    if same_tables:
        found["own_base"] = training(own, None)
    found[LIGHTGBM] = Way(partial(lightgbm, panel, study.seed), [study.seed])
    part = with_history(panel, study.history)
    found[PART] = Way(partial(lightgbm, part, study.seed), [study.seed, study.history])
    return found


def zero_shot(panel: Panel, finetune: Finetune, base: Path) -> pd.DataFrame:
    """The base as it is, which has never seen this market."""
    setup = _from_base(panel, finetune, base)
    frame = forecast([setup.make_model("refit").eval()], setup.market, panel.cutoffs["test"])
    return frame.assign(steps=0.0, validation=np.nan)


def trained(panel: Panel, finetune: Finetune, base: Path | None) -> pd.DataFrame:
    """As notebook 3 trains; from a base where one is given, which has to fit."""
    setup = training_setup(panel, finetune) if base is None else _from_base(panel, finetune, base)
    with TemporaryDirectory() as work:
        fitted = fit(
            setup.make_model,
            *setup.splits,
            setup.training,
            finetune.seeds,
            work,
            "any_retailer",
            warm_start=setup.warm_start,
        )
    best = fitted.history[fitted.history["best"]]
    frame = forecast(fitted.models, setup.market, panel.cutoffs["test"])
    return frame.assign(steps=float(best["step"].iloc[0]), validation=best["wql"].mean())


def _from_base(panel: Panel, finetune: Finetune, base: Path):
    setup = training_setup(panel, finetune, base)
    if not setup.warm_start:
        raise ValueError(setup.start_sentence)
    return setup


def with_history(panel: Panel, share: float) -> Panel:
    """The panel with the latest share of its training cutoffs; what forecasts are made from stays whole.

    LightGBM needs some cutoffs before the weeks that choose its settings: `LEAST` of them are there at least.
    """
    train, first_held_out = panel.cutoffs["train"], held_out_weeks(panel)[0]
    early = [cutoff for cutoff in train if cutoff < first_held_out - pd.Timedelta(weeks=1)]
    n = max(round(share * len(train)), len(train) - len(early) + LEAST)
    return replace(panel, cutoffs=panel.cutoffs | {"train": train[-n:]})


def lightgbm(panel: Panel, seed: int) -> pd.DataFrame:
    return forecast_test_weeks(panel, [LIGHTGBM], seed)[0].assign(steps=np.nan, validation=np.nan)
