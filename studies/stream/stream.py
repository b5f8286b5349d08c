"""Keeping up, judged: what online learning reaches of a full refit's gain, and what it costs where nothing changes.

    python -m studies.stream.stream     # a training and three refits a world: minutes each; stopped, it goes on

A world that stands in the results is not measured again; remove its rows to do so.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from shelfcast.data import tables
from shelfcast.live.online import refit, scores
from shelfcast.live.online.level import choose
from shelfcast.live.online.market import distinct
from shelfcast.live.online.replay import Start, replay, weekly_cutoffs
from shelfcast.live_options import Stream
from shelfcast.market import tables as market_tables
from shelfcast.model.forecast import forecast
from shelfcast.model_options import Finetune
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import Prepare, Simulation
from shelfcast.settings import build as checked
from shelfcast.training import fit
from shelfcast.training.setup import training_setup
from studies import parameters
from studies.kept import save_origin, save_rows

RESULTS = Path("studies/stream/results")
KEYS = ["seed", "strength", "level", "way"]


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    seeds: list[int]
    strengths: list[float]
    simulation: dict[str, Any] = Field(default_factory=dict)
    prepare: dict[str, Any] = Field(default_factory=dict)
    finetune: dict[str, Any] = Field(default_factory=dict)
    stream: dict[str, Any] = Field(default_factory=dict)

    def options(self) -> tuple[Prepare, Finetune, Stream]:
        """Of the product's own kinds."""
        parts = ((Prepare, self.prepare), (Finetune, self.finetune), (Stream, self.stream))
        return tuple(checked(kind, values, f"studies/stream: {kind.__name__.lower()}") for kind, values in parts)

    def world(self, seed: int, strength: float) -> Simulation:
        own = {"seed": seed, "regime_weeks": self.prepare["test_weeks"], "regime_strength": strength}
        return checked(Simulation, self.simulation | own, "studies/stream: simulation")


def panel_of(simulation: Simulation, prepare: Prepare, folder: Path) -> Panel:
    """The panel of a world, as notebook 1 builds it."""
    market_tables.write(folder, simulation)
    return build(tables.load("simulated", folder / "tables", None), prepare)


def measure(panel: Panel, finetune: Finetune, stream: Stream, work: Path) -> pd.DataFrame:
    """Train, then replay the test weeks in every way: `scores.summary`, with gain and compute against the refit."""
    setup = training_setup(panel, finetune)
    key = json.dumps([setup.fingerprint, panel.meta], default=str)
    fitted = fit.fit(
        setup.make_model, *setup.splits, setup.training, finetune.seeds, work, key, warm_start=setup.warm_start
    )
    past = forecast(fitted.selected, setup.splits[1], panel.cutoffs["validation"])
    again = refit.refit_by(setup, finetune.seeds, refit.chosen_steps(fitted.history))
    until, rates = pd.Timestamp(panel.meta["validation_end"]), choose(past)[0]
    start = Start(distinct(fitted.models), setup.market, until, rates, past, refit=again)
    replayed = replay(start, weekly_cutoffs(panel), stream)
    table = scores.summary(replayed, stream.seed)
    return table.merge(scores.share_of_refit(table), on=["level", "way"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "stream")
    prepare, finetune, stream = study.options()
    path = options.results / "worlds.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=KEYS)
    have = set(zip(done["seed"], done["strength"].astype(float), strict=True))
    for seed, strength in tqdm(list(product(study.seeds, study.strengths)), "worlds"):
        if (seed, float(strength)) in have:
            continue
        with TemporaryDirectory() as folder:
            simulation = study.world(seed, strength)
            panel = panel_of(simulation, prepare, Path(folder) / "world")
            table = measure(panel, finetune, stream, Path(folder) / "work")
        facts = {name: asdict(simulation)[name] for name in ("n_products", "n_stores", "n_weeks")}
        options.results.mkdir(parents=True, exist_ok=True)
        save_rows(path, table.assign(seed=seed, strength=float(strength), **facts), KEYS)
        save_origin(options.results)
    print("default way by these worlds:", default_way(pd.read_csv(path)))


def default_way(worlds: pd.DataFrame) -> str:
    """The way that `scores.default_way` chooses by all worlds measured so far."""
    named = worlds.assign(world="seed " + worlds["seed"].astype(str) + ", strength " + worlds["strength"].astype(str))
    changed = set(named.loc[named["strength"] > 0, "world"])
    return scores.default_way(dict(iter(named.groupby("world"))), changed)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
