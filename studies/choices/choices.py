"""Settings of the training, judged over markets of different kinds: each one's validation WQL over LightGBM's.

    python -m studies.choices.choices FOLDER [--only MARKET …] [--choices NAME …]

Markets are those of `studies.retailers` with this study's own params.yaml. One market is noisy, so a setting is chosen
by its mean over all of them, on validation weeks; the test weeks are cut away before anything else. A run that was
stopped continues.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast import settings
from shelfcast.judge.distribution import sales_unit
from shelfcast.methods import forecast_all
from shelfcast.methods.dispersion import frame_wql
from shelfcast.model_options import Finetune
from shelfcast.panel.frame import OUTLOOK_COLUMNS, Panel
from shelfcast.training.fit import best_step, select
from shelfcast.training.setup import training_setup
from studies import parameters
from studies.choices.tables import means
from studies.kept import save_origin, save_rows
from studies.resume import resumed
from studies.retailers import retailers
from studies.tune.search import until_validation

WORK, RESULTS = Path("build/studies/choices"), Path("studies/choices/results")
PEER = "lightgbm"


@dataclass(frozen=True, config=parameters.STRICT)
class Study(retailers.Study):
    """`studies/choices/params.yaml`."""

    seeds: list[int] = Field(default_factory=lambda: [0, 1])
    choices: dict[str, dict[str, float | bool]] = Field(default_factory=dict)


def with_choice(panel: Panel, finetune: Finetune, choice: dict[str, float | bool]) -> tuple[Panel, Finetune]:
    """The panel and the settings as a choice has them.

    Raises
    ------
    ValueError : a name that is neither a setting of `finetune` nor prepare.outlook.
    """
    for key, value in choice.items():
        section, _, name = key.partition(".")
        if key == "prepare.outlook":
            panel = panel if value else replace(panel, outlook=pd.DataFrame(columns=OUTLOOK_COLUMNS))
        elif section == "finetune" and hasattr(finetune, name):
            if hasattr(finetune.warm_start, name):
                finetune = replace(finetune, warm_start=replace(finetune.warm_start, **{name: value}))
            finetune = replace(finetune, **{name: value})
        else:
            raise ValueError(
                f"studies/choices/params.yaml: {key!r} cannot be judged. Name a setting as finetune.dropout."
            )
    return panel, finetune


def train(panel: Panel, finetune: Finetune, seeds: list[int], work: Path) -> pd.DataFrame:
    """Train the first phase of `fit`: a row with validation WQL at the best step, that step, seconds and the start."""
    began = time.perf_counter()
    setup = training_setup(panel, finetune)
    parts, fingerprint = setup.splits[:2], json.dumps(setup.fingerprint)
    history = select(setup.make_model, *parts, setup.training, seeds, work, fingerprint, warm_start=setup.warm_start)
    shutil.rmtree(work, ignore_errors=True)
    step = best_step(history)
    wql = history.loc[history["step"] == step, "wql"].mean()
    facts = {"wql": wql, "step": step, "seconds": time.perf_counter() - began, "warm_start": setup.warm_start}
    return pd.DataFrame([facts])


def peer_wql(panel: Panel) -> pd.DataFrame:
    """LightGBM's WQL over all rows of the validation weeks, as a frame of one row."""
    rows = forecast_all(panel, [PEER], situations=["plan_known"]).validation
    rows = rows[rows["ds"] <= panel.meta["validation_end"]].dropna(subset="y")
    return pd.DataFrame({"wql": [frame_wql(rows, sales_unit(panel.meta))]})


def judge(name: str, study: Study, work: Path, choices: list[str]) -> pd.DataFrame:
    """A market's row for each choice: market, choice, ratio to the peer, wql, step, seconds, warm_start."""
    retailers.run_market(name, work, notebooks=["1_prepare"])
    s = settings.load(name, path=work / "params.yaml")
    whole, cache, rows = Panel.load(work / "build" / name / "panel"), work / "trained", []
    panel, key = until_validation(whole), [name, asdict(s.market), asdict(s.prepare), asdict(s.finetune)]
    peer = resumed(cache, [*key, PEER], partial(peer_wql, whole))["wql"].iat[0]
    for choice in choices:
        own, finetune = with_choice(panel, s.finetune, study.choices[choice])
        make = partial(train, own, finetune, study.seeds, cache / "work")
        row = resumed(cache, [*key, study.choices[choice], study.seeds], make).iloc[0].to_dict()
        rows.append({"market": name, "choice": choice, "ratio": row["wql"] / peer} | row)
        print(f"{name}, {choice}: {row['wql']:.4f}, {row['wql'] / peer:.4f} of {PEER}", flush=True)
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, to: Path = RESULTS) -> None:
    """`scores.csv` and `made.json`; rows of markets and choices that were not trained this time stay."""
    save_rows(to / "scores.csv", table, ["market", "choice"])
    save_origin(to)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="whose subfolders are retailers")
    parser.add_argument("--only", nargs="*", help="names of markets; all where none are given")
    parser.add_argument("--choices", nargs="*", help="names of choices; all where none are given")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "choices")
    lines = retailers.markets(study, options.folder)
    retailers.prepare_work(study, lines, options.work)
    for choice in options.choices or study.choices:
        for name in options.only or lines:
            write(judge(name, study, options.work, [choice]), options.results)
    print(means(pd.read_csv(options.results / "scores.csv")).to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
