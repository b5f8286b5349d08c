"""Methods on several retailers of different kinds, by the product's own notebooks.

    python -m studies.retailers.retailers FOLDER [--only NAME …]

Every subfolder of FOLDER with a table `transactions` is a retailer; so is each category and each simulation that
params.yaml of this study names. Notebooks 1, 3 and 4 run for each as in the pipeline, in a folder of their own under
build/studies/retailers, so that what is measured is what is delivered. A run that was stopped continues with the first
notebook that is not done.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast import settings
from shelfcast.data.files import atomic, folder_md5
from shelfcast.report.names import method
from studies import parameters
from studies.kept import save_origin, save_rows
from studies.retailers.ranges import coverage_intervals

WORK, RESULTS = Path("build/studies/retailers"), Path("studies/retailers/results")
NOTEBOOKS = ("1_prepare", "3_finetune", "4_evaluate")
LINKED = ("data", "models", "notebooks", "studies")  # folders of the project that notebooks read
OURS = ("ensemble", "shelfcast")
COLUMNS = ["retailer", "situation", "level", "method", "wql", "wape", "coverage_80", "seconds"]


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """`studies/retailers/params.yaml`."""

    lines: dict[str, dict[str, Any]] = Field(default_factory=dict)
    categories: list[str] = Field(default_factory=list)
    simulations: list[str] = Field(default_factory=list)
    sections: dict[str, dict[str, Any]] = Field(default_factory=dict)


def markets(study: Study, folder: Path | None) -> dict[str, dict[str, Any]]:
    """Name -> a market's line, with absolute paths of tables.

    Raises
    ------
    ValueError : the folder has no subfolder with transactions, or a simulation was not run.
    """
    lines = {}
    folders = [] if folder is None else sorted(path.parent for path in folder.glob("*/transactions.*"))
    if folder is not None and not folders:
        raise ValueError(f"{folder}/ has no subfolder with transactions.parquet or transactions.csv. Name another one.")
    for path in dict.fromkeys(folders):
        lines[path.name] = {"source": "tables", "tables": str(path.resolve())} | study.lines.get(path.name, {})
    for category in study.categories:
        name = "".join(c if c.isalnum() else "_" for c in category.lower()).strip("_")
        lines[name] = {"source": "complete_journey", "tables": "data", "category": category}
    for name in study.simulations:
        tables = Path("build", name, "tables").resolve()
        if not tables.is_dir():
            raise ValueError(f"{tables}/ is missing. Run `dvc repro simulate@{name}` first.")
        lines[name] = {"source": "simulated", "tables": str(tables)}
    return lines


def prepare_work(study: Study, lines: dict[str, dict], work: Path) -> None:
    """A folder in which the notebooks find a project: links to this one, and params.yaml with these markets."""
    work.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if not (work / name).is_symlink():
            (work / name).symlink_to(Path(name).resolve())
    params = settings.read_yaml(settings.PARAMS)
    for section, values in study.sections.items():
        params[section] = params.get(section, {}) | values
    params |= {"markets": lines, "simulations": {}, "variants": {"shelfcast": {}}}
    (work / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True, sort_keys=False))
    settings.check(work / "params.yaml")


def run_market(name: str, work: Path, notebooks: Sequence[str] = NOTEBOOKS) -> None:
    """Run those of a market's notebooks that are not done; a ClickException of the engine says what failed."""
    import papermill

    s = settings.load(name, path=work / "params.yaml")
    key = [folder_md5(work / s.market.tables), asdict(s.market), code_md5()]
    for notebook in notebooks:
        key.append([notebook, asdict(s.prepare), asdict(s.finetune), asdict(s.evaluate)])
        mark = work / "build" / name / f"{notebook}.done"
        digest = hashlib.md5(json.dumps(key).encode()).hexdigest()
        if mark.exists() and mark.read_text() == digest:
            continue
        out = mark.parent.absolute() / "notebooks" / f"{notebook}.ipynb"
        out.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            f"notebooks/{notebook}.ipynb",
            str(out),
            {"market": name},
            engine_name="shelfcast",
            kernel_name="python3",
            cwd=str(work),
        )
        mark.write_text(digest)


def code_md5() -> str:
    """Of everything that results depend on besides tables and settings."""
    paths = [*Path("src").glob("**/*.py"), *Path("notebooks").glob("*.ipynb"), *Path("models/base").glob("**/*.*")]
    return hashlib.md5(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


def scores(name: str, work: Path) -> pd.DataFrame:
    """A market's scores on the test weeks: COLUMNS; seconds are those of the fit.

    Our own methods have coverage_low and coverage_high, too: the 90 % interval of coverage_80.
    """
    folder = work / "build" / name
    measured, timings = (json.loads((folder / f"{part}.json").read_text()) for part in ("metrics", "timings"))
    rows = []
    for situation, levels in measured.items():
        for level, methods in levels.items():
            for key, score in methods.items():
                seconds = timings.get(key, {}).get("fit_seconds", float("nan"))
                figures = [score[column] for column in ("wql", "wape", "coverage_80")]
                rows.append((name, situation, level, key, *figures, seconds))
    intervals = coverage_intervals(folder / "forecasts.parquet", OURS)
    return pd.DataFrame(rows, columns=COLUMNS).merge(intervals, "left", ["situation", "level", "method"])


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """WQL of our own methods over that of the best single peer: retailer, situation, level, peer, and a column a method."""
    rows = []
    for keys, part in table.groupby(["retailer", "situation", "level"], sort=False):
        wql = part.set_index("method")["wql"]
        peers = wql[[key for key in wql.index if method(key).group == "alternative"]]
        own = {key: wql[key] / peers.min() for key in OURS if key in wql}
        rows.append(dict(zip(["retailer", "situation", "level"], keys, strict=True)) | {"peer": peers.idxmin()} | own)
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, to: Path = RESULTS) -> None:
    """`scores.csv`, `ratios.csv` and `made.json`; the rows of retailers that were not run this time stay."""
    table = save_rows(to / "scores.csv", table, ["retailer"])
    with atomic(to / "ratios.csv") as part:
        ratios(table).round(4).to_csv(part, index=False)
    save_origin(to)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="whose subfolders are retailers")
    parser.add_argument("--only", nargs="*", help="names of retailers; all where none are given")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "retailers")
    lines = markets(study, options.folder)
    if unknown := sorted(set(options.only or []) - set(lines)):
        raise ValueError(f"there is no retailer {unknown[0]!r}. Choose of {', '.join(lines)}.")
    prepare_work(study, lines, options.work)
    for name in options.only or lines:
        began = time.perf_counter()
        run_market(name, options.work)
        table = scores(name, options.work)
        write(table, options.results)
        print(f"{name}: {time.perf_counter() - began:.0f} s")
        print(ratios(table).to_string(index=False, float_format="{:.3f}".format), flush=True)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
