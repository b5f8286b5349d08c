"""Replay: weeks that the models were not trained on arrive one by one, and several ways of keeping up forecast each.

At a cutoff every way forecasts the coming weeks, having learned from sales of weeks up to the cutoff alone:

| way | what it does |
|---|---|
| `frozen` | the models as trained |
| `level` | `frozen`, times what its own recent forecasts missed (`online.level`) |
| `online` | the head takes a few steps a week, undone where a check finds harm (`online.head`) |
| `refit` | the models are trained again every few weeks (`online.refit`) |
"""

from __future__ import annotations

import copy
import os
import time
from dataclasses import asdict, dataclass, field, replace

import pandas as pd
from tqdm.auto import tqdm

from shelfcast.judge.frame import SCHEMA
from shelfcast.live.online.head import HeadLearner
from shelfcast.live.online.level import Rates, correct
from shelfcast.live.online.refit import Refit
from shelfcast.live_options import Stream
from shelfcast.model.forecast import as_frame, predict_each
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.frame import Panel

DECISIONS = ["seed", "cutoff", "choice", "as_trained", "before", "after", "n_checked"]
NO_PAST = pd.DataFrame(columns=list(SCHEMA.columns))


@dataclass(frozen=True)
class Start:
    """What a replay begins with.

    models : one a seed, trained on sales up to `until` at the latest. market : with which they forecast.
    past : forecast frame of earlier cutoffs by models that had not learned from them; level correction begins by it.
    refit : a function of a week, needed for the way of that name alone.
    """

    models: list[SalesBert]
    market: MarketTensors
    until: pd.Timestamp
    rates: Rates
    past: pd.DataFrame = field(default_factory=lambda: NO_PAST)
    plan_known: bool = True
    hide_plan: float = 0.3
    refit: Refit | None = None


@dataclass(frozen=True)
class Replayed:
    """forecasts : a forecast frame with `way`. seconds : way, cutoff, learn (seconds), forecast (seconds).
    decisions : a row per model and week of online learning, see `head.Decision`."""

    forecasts: pd.DataFrame
    seconds: pd.DataFrame
    decisions: pd.DataFrame


def weekly_cutoffs(panel: Panel, until: str = "validation_end") -> list[pd.Timestamp]:
    """Every week from the last one that models have learned from to the last but one, whose next week has sales; of a daily
    market one day of each week."""
    first = pd.Timestamp(panel.meta[until])
    weeks = panel.weeks[(panel.weeks >= first) & (panel.weeks < pd.Timestamp(panel.meta["last_week"]))]
    return list(weeks[:: panel.frequency.per_week])


def replay(start: Start, cutoffs: list[pd.Timestamp], stream: Stream) -> Replayed:
    """Forecast from each cutoff in turn by each of `stream.ways`.

    Raises
    ------
    ValueError : no cutoff, cutoffs that are not in order or begin before the models' last week, or a missing refit.
    """
    _check(start, cutoffs, stream)
    frames, seconds, decisions = [], [], []
    began = time.perf_counter()
    market = start.market if start.plan_known else start.market.without_plan()
    frozen = as_frame(predict_each(start.models, market, cutoffs), market, cutoffs)
    frozen_seconds = (time.perf_counter() - began) / len(cutoffs)
    for way in dict.fromkeys(stream.ways):
        if way == "online":
            frame, own, decisions = _online(start, cutoffs, stream)
        elif way == "refit":
            frame, own = _refit(start, market, cutoffs, stream)
        else:
            began = time.perf_counter()
            frame = correct(frozen, start.past, start.rates) if way == "level" else frozen
            learn = (time.perf_counter() - began) / len(cutoffs)
            own = [(cutoff, learn, frozen_seconds) for cutoff in cutoffs]
        frames.append(frame.assign(way=way))
        seconds += [(way, *row) for row in own]
    table = pd.DataFrame(seconds, columns=["way", "cutoff", "learn", "forecast"])
    return Replayed(pd.concat(frames, ignore_index=True), table, pd.DataFrame(decisions, columns=DECISIONS))


def _check(start: Start, cutoffs: list[pd.Timestamp], stream: Stream) -> None:
    if not cutoffs:
        raise ValueError("there is no week to replay. Give a panel with test weeks (prepare.test_weeks).")
    if sorted(set(cutoffs)) != list(cutoffs):
        raise ValueError(f"cutoffs must rise week by week, not {[str(c.date()) for c in cutoffs]}. Sort them.")
    if cutoffs[0] < start.until:
        raise ValueError(
            f"the first cutoff, {cutoffs[0]:%Y-%m-%d}, lies before {start.until:%Y-%m-%d}, up to which the models were "
            "trained: they would know what they forecast. Begin there or later."
        )
    if "refit" in stream.ways and start.refit is None:
        raise ValueError("stream.ways names refit, for which no training was prepared. Give one, or leave refit out.")


def _online(start: Start, cutoffs: list[pd.Timestamp], stream: Stream) -> tuple[pd.DataFrame, list, list]:
    """Each model learns on its own; their forecasts are averaged."""
    decisions, parts = [], {cutoff: [] for cutoff in cutoffs}
    spent = {cutoff: [0.0, 0.0] for cutoff in cutoffs}
    bar = {"desc": "online", "disable": "SHELFCAST_PIPELINE" in os.environ}
    for seed, model in enumerate(tqdm(start.models, **bar)):
        began = time.perf_counter()
        own = replace(stream, seed=stream.seed + seed)
        learner = HeadLearner(copy.deepcopy(model), start.market, start.until, own, start.hide_plan)
        share = (time.perf_counter() - began) / len(cutoffs)
        for cutoff in cutoffs:
            began = time.perf_counter()
            decisions.append({"seed": seed} | asdict(learner.learn(cutoff)))
            learned = time.perf_counter()
            parts[cutoff].append(learner.predict(cutoff, start.plan_known))
            spent[cutoff][0] += learned - began
            spent[cutoff][1] += time.perf_counter() - learned + share
    frames, seconds = [], []
    for cutoff in cutoffs:
        began = time.perf_counter()
        frames.append(as_frame(parts[cutoff], start.market, [cutoff]))
        seconds.append((cutoff, spent[cutoff][0], spent[cutoff][1] + time.perf_counter() - began))
    return pd.concat(frames, ignore_index=True), seconds, decisions


def _refit(start: Start, market: MarketTensors, cutoffs: list[pd.Timestamp], stream: Stream):
    """Trained again at every `refit_every`-th cutoff but the first, up to which the models were trained anyway."""
    models, frames, seconds = start.models, [], []
    for i, cutoff in enumerate(cutoffs):
        began = time.perf_counter()
        if cutoff > start.until and i % stream.refit_every == 0:
            models = start.refit(cutoff)
        learned = time.perf_counter()
        frames.append(as_frame(predict_each(models, market, [cutoff]), market, [cutoff]))
        seconds.append((cutoff, learned - began, time.perf_counter() - learned))
    return pd.concat(frames, ignore_index=True), seconds
