"""Other trades through the same pipeline: spare parts, parcels by route, accounts by branch.

    python -m studies.scenes.scenes [NAME …]

A scene is a market with words of its own, of tables that a simulation writes (docs/scenes.md). All scenes are one
project under build/studies/scenes: links to this one's code, its dvc.yaml, and params.yaml with the scenes for markets.
DVC runs the stages there, so that a run that was stopped goes on from the stage it was in. Pages are written to
build/studies/scenes/reports, scores to studies/scenes/results.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast import settings
from shelfcast.data.files import revision
from shelfcast.panel.frame import Panel
from shelfcast.pipeline import side_by_side
from shelfcast.validate import SettingsError, nearest
from studies import parameters
from studies.kept import save_rows

WORK, RESULTS = Path("build/studies/scenes"), Path("studies/scenes/results")
LINKED = ("models", "notebooks", "reports/template", "src", "studies")
COLUMNS = ["scene", "situation", "level", "method", "wql", "wape", "coverage_80", "bias"]


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """`studies/scenes/params.yaml`; `sections` is what differs from the project's params.yaml for all scenes."""

    simulations: dict[str, dict[str, Any]] = Field(default_factory=dict)
    markets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = Field(default_factory=dict)


def prepare_work(study: Study, work: Path) -> None:
    """A project in which DVC runs the stages of the scenes.

    Raises
    ------
    SettingsError : a parameter of a scene is unknown, mistyped or out of range.
    """
    for name in LINKED:
        link = work / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(name).resolve())
    shutil.copyfile("dvc.yaml", work / "dvc.yaml")
    params = settings.read_yaml(settings.PARAMS)
    for section, values in study.sections.items():
        params[section] = settings.merge(params.get(section, {}), values)
    params |= {"markets": study.markets, "simulations": study.simulations, "variants": {"shelfcast": {}}}
    (work / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True, sort_keys=False))
    settings.check(work / "params.yaml")
    if not (work / ".dvc").is_dir():
        subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=work, check=True)
    shutil.copyfile(".dvcignore", work / ".dvcignore")  # else caches of compiled code would count as changes


def run(names: list[str], work: Path) -> list[str]:
    """Run all stages of these scenes, one scene after the other; the names of those that failed."""
    here = Path.cwd()
    os.chdir(work)  # where the pipeline's own commands find params.yaml and dvc.yaml
    try:
        if not side_by_side.repro(["check", *(f"simulate@{name}" for name in names)]):
            return names
        listed = subprocess.run([*side_by_side.DVC, "stage", "list", "--name-only"], stdout=subprocess.PIPE, text=True)
        stages = listed.stdout.split()
        failed = [name for name in names if not side_by_side.run_market(name, side_by_side.stages_of(name, stages))]
        side_by_side.repro(["index"])
        return failed
    finally:
        os.chdir(here)


def scores(name: str, folder: Path) -> pd.DataFrame:
    """Scores on the test weeks of every method of a scene: `COLUMNS`; in both situations where it has a plan."""
    planned = bool(Panel.load(folder / "panel").planned)
    measured = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    rows = [
        {"scene": name, "situation": situation, "level": level, "method": method} | row
        for situation, levels in measured.items()
        if planned or situation == "no_plan"
        for level, methods in levels.items()
        for method, row in methods.items()
    ]
    return pd.DataFrame(rows)[COLUMNS]


def main(names: list[str]) -> None:
    """Run scenes and keep their scores.

    Raises
    ------
    ValueError : an unknown scene or parameter, or a scene that failed.
    """
    study = parameters.load(Study, "scenes")
    if unknown := [name for name in names if name not in study.markets]:
        raise SettingsError(f"there is no scene {unknown[0]!r}{nearest(unknown[0], study.markets)}.")
    prepare_work(study, WORK)
    names = names or list(study.markets)
    if failed := run(names, WORK):
        raise ValueError(f"{', '.join(failed)} failed, see above. What is done is kept: run again to go on from there.")
    for name in names:
        measured = scores(name, WORK / "build" / name).assign(revision=revision())
        save_rows(RESULTS / "scores.csv", measured, ["scene"])
    for page in ["", *names]:
        print(f"report: file://{(WORK / 'reports' / page / 'index.html').resolve()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scenes; all of them without")
    try:
        main(parser.parse_args().names)
    except ValueError as error:
        sys.exit(f"error: {error}")
