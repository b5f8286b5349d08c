"""What a base for any market brings to retailers that it has never seen, and to untouched categories.

    python -m studies.any_retailer.any_retailer FOLDER [--only MARKET …] [--toy]

Every subfolder of FOLDER with a table `transactions` is a retailer. One base is trained for each of them, on all markets
but that retailer, and one on all, for the categories that no base learns from. Then methods are scored on the test weeks
of each market: the base as it is, fine-tuned, trained from nothing, and LightGBM on all and on a part of the history.

A base, and each method on a market, is a unit of work with a file of its own under build/studies/any_retailer; a base
resumes at its last checkpoint. Files are named by the settings that they depend on, and not by the code: remove the
folder to measure with other code.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from shelfcast import settings
from shelfcast.data.files import atomic
from shelfcast.judge import intervals, metrics
from shelfcast.judge.frame import add_level
from shelfcast.panel.frame import Panel
from shelfcast.settings import Settings
from shelfcast.training.parallel import in_parallel
from studies import parameters
from studies.any_retailer import trainings
from studies.any_retailer.markets import DEFAULT, Entry, Study, digest, entries, panel_folder, prepare_panels
from studies.kept import save_origin, save_rows

WORK, RESULTS = Path("build/studies/any_retailer"), Path("studies/any_retailer/results")
ALL = "all"  # the base that holds nothing out
AGAINST = {"zero_shot": ["lightgbm_part", "lightgbm", "from_nothing"], "": ["from_nothing", "lightgbm"]}
SCORES = ["wql", "wape", "coverage_80"]


def toy(study: Study, s: Settings) -> tuple[Study, Settings]:
    """Everything small, to see that it runs."""
    study = replace(study, learned=study.learned[:2], untouched=study.untouched[:1], worlds=study.worlds[:1])
    tries = {name: {"steps": 4} for name in study.tries}
    study = replace(study, n_products=8, steps=6, seeds=study.seeds[:1], tries=tries)
    return study, replace(s, prepare=replace(s.prepare, n_products=8), finetune=replace(s.finetune, steps=4))


def bases_of(every: list[Entry]) -> dict[str, list[Entry]]:
    """Name of the group that a base holds out (or ALL) -> the markets that it learns from."""
    held_out = dict.fromkeys(e.group for e in every if e.scored and e.group != DEFAULT)
    folds = {group: [e for e in every if e.learned and e.group != group] for group in held_out}
    if any(e.scored and e.group == DEFAULT for e in every):
        folds[ALL] = [e for e in every if e.learned]
    return folds


def base_folder(name: str, learned: list[Entry], study: Study, s: Settings, work: Path) -> Path:
    """Where the base that holds `name` out lies."""
    panels = [panel_folder(entry, study, s, work).name for entry in learned]
    key = digest(panels, asdict(s.base), study.steps, study.learning_rate, study.drop_columns, study.seed)
    return work / "bases" / f"{name}_{key}"


def train_bases(study: Study, s: Settings, folds: dict[str, list[Entry]], work: Path) -> None:
    """Train the bases that are missing, side by side."""
    folders = {name: base_folder(name, learned, study, s, work) for name, learned in folds.items()}
    missing = {name: learned for name, learned in folds.items() if not folders[name].exists()}

    def one(name: str, learned: list[Entry]) -> str:
        began = time.perf_counter()
        panels = {entry.name: Panel.load(panel_folder(entry, study, s, work)) for entry in learned}
        trainings.train_base(panels, study, s, folders[name], work / "trainings" / folders[name].name)
        return f"base without {name}: {len(learned)} markets, {time.perf_counter() - began:.0f} s"

    if missing:
        print(*in_parallel(one, missing, "bases"), sep="\n", flush=True)


def forecasts(entry: Entry, way: str, unit: trainings.Way, panel: Path, work: Path) -> pd.DataFrame:
    """The forecast frame of one way, with method, market and seconds, or that of an earlier run."""
    path = work / "forecasts" / panel.name / f"{way}_{digest(unit.key)}.parquet"
    if not path.exists():
        began = time.perf_counter()
        frame = unit.make()
        frame = frame.assign(method=way, market=entry.name, seconds=time.perf_counter() - began)
        with atomic(path) as part:
            frame.to_parquet(part)
    return pd.read_parquet(path)


def score_market(entry: Entry, study: Study, s: Settings, base: Path, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All methods on one market: the forecast frame with level, and a row of scores a level and method."""
    folder = panel_folder(entry, study, s, work)
    panel = Panel.load(folder)
    ways = trainings.ways(panel, study, s, base, same_tables=entry.group == DEFAULT)
    bar = tqdm(ways.items(), desc=entry.name)
    frames = [forecasts(entry, way, unit, folder, work) for way, unit in bar]
    frame = add_level(pd.concat(frames, ignore_index=True))
    table = metrics.scores(frame, panel.frame[["unique_id", "ds", "y"]], by=("level", "method"))[SCORES].reset_index()
    facts = frame.groupby("method")[["seconds", "steps", "validation"]].first()
    kind = "untouched category" if entry.group == DEFAULT else "held-out retailer"
    return frame.assign(kind=kind), table.join(facts, on="method").assign(market=entry.name, kind=kind)


def differences(frame: pd.DataFrame, ways: list[str], seed: int) -> pd.DataFrame:
    """Relative differences of mean WQL over markets, by kind of market and level: kind, level, method, against, estimate, …"""
    rows = []
    for (kind, level), part in frame.groupby(["kind", "level"]):
        for method in ways:
            for against in AGAINST.get(method, AGAINST[""]):
                if method != against and against in set(part["method"]):
                    row = {"kind": kind, "level": level, "method": method, "against": against}
                    rows.append(row | intervals.mean_difference(part, method, against, by="market", seed=seed))
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, compared: pd.DataFrame, to: Path) -> None:
    """`scores.csv` (rows of markets that were not scored this time stay), `differences.csv`, `made.json`."""
    save_rows(to / "scores.csv", table, ["market"])
    with atomic(to / "differences.csv") as part:
        compared.round(5).to_csv(part, index=False)
    save_origin(to)


def run(study: Study, s: Settings, folder: Path | None, work: Path, results: Path, only: list[str] | None) -> None:
    """Panels, bases, scores; results are written after each market."""
    every = entries(study, folder)
    scored = [entry for entry in every if entry.scored]
    if unknown := sorted(set(only or []) - {entry.name for entry in scored}):
        raise ValueError(f"there is no market {unknown[0]!r}. Choose of {', '.join(e.name for e in scored)}.")
    prepare_panels(study, s, every, work)
    wanted = [entry for entry in scored if not only or entry.name in only]
    groups = {ALL if entry.group == DEFAULT else entry.group for entry in wanted}
    folds = {name: learned for name, learned in bases_of(every).items() if name in groups}
    train_bases(study, s, folds, work)
    frames, tables = [], []
    for entry in wanted:
        fold = ALL if entry.group == DEFAULT else entry.group
        base = base_folder(fold, folds[fold], study, s, work)
        frame, table = score_market(entry, study, s, base, work)
        frames.append(frame)
        tables.append(table)
        ways = ["zero_shot", *study.tries, "by_meaning_from_nothing"]
        both = pd.concat(frames, ignore_index=True)
        write(pd.concat(tables, ignore_index=True), differences(both, ways, study.seed), results)
        print(table.pivot(index="method", columns="level", values="wql").to_string(float_format="{:.4f}".format))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="whose subfolders are retailers")
    parser.add_argument("--only", nargs="*", help="names of markets to score; all where none are given")
    parser.add_argument("--toy", action="store_true", help="everything small, to see that it runs; writes no results")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--steps", type=int, help="of the training of a base, in place of those of params.yaml")
    options = parser.parse_args(arguments)
    study, s = parameters.load(Study, "any_retailer"), settings.load()
    study = replace(study, steps=options.steps or study.steps)
    if options.toy:
        study, s = toy(study, s)
    results = options.results or (options.work / "toy_results" if options.toy else RESULTS)
    run(study, s, options.folder, options.work, results, options.only)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
