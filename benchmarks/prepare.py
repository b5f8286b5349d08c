"""Seconds and memory of preparing panels: from raw tables to what notebook 1 writes.

    python benchmarks/prepare.py                                     # this code
    python benchmarks/prepare.py --source ../before --name before    # another checkout of the project, same packages

Each task runs in a process of its own, packages and their imports included: the default market's category, all
categories of the base, and the same category of a table with ten times as many rows, of ten times as many households.
benchmarks/results/prepare.csv holds a row for each code and task; rows measured again are replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/prepare.csv"
CATEGORY, N_PRODUCTS = "SOFT DRINKS", 150
TIMES = 10
TASKS = ("category", "base", "ten_times")


# ---------------------------------------------------------------- one task, in a process of its own


def prepare(folder: Path, categories: list[str], n_products: int) -> int:
    """Build the panels of some categories; the number of their rows."""
    from shelfcast.data.tables import load_each
    from shelfcast.panel.build import build
    from shelfcast.settings import Prepare

    each = load_each("complete_journey", folder, categories)
    return sum(len(build(tables, Prepare(n_products=n_products)).frame) for tables in each)


def prepare_before(folder: Path, categories: list[str], n_products: int) -> int:
    """The same with the modules that the project had before DuckDB read its tables."""
    from shelfcast.panel import build
    from shelfcast.tables import load_each

    each = load_each("complete_journey", folder, categories)
    return sum(len(build(tables, n_products=n_products).frame) for tables in each)


def one(task: dict) -> None:
    """Run a task here; print what it took as JSON."""
    start = time.perf_counter()
    before = (Path(task["source"]) / "src/shelfcast/tables.py").exists()
    n = (prepare_before if before else prepare)(Path(task["folder"]), task["categories"], task["n_products"])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = {"seconds": round(seconds, 2), "cpu_seconds": round(time.process_time(), 2), "peak_mib": round(peak)}
    print(json.dumps({"panel_rows": n} | took))


# ---------------------------------------------------------------- all tasks


def replicate(folder: Path, target: Path) -> None:
    """The default data with ten times as many rows, in order of time; each copy has its own households and baskets."""
    import duckdb

    for name in ("products", "promotions"):
        shutil.copy(folder / f"{name}.parquet", target / f"{name}.parquet")
    duckdb.execute(f"""
        SET memory_limit = '1GB';
        SET temp_directory = '{target}/spilled';
        COPY (
            SELECT * REPLACE (
                household_id + 1000000 * copy AS household_id, basket_id + 1000000000000 * copy AS basket_id)
            FROM '{folder}/transactions.parquet' CROSS JOIN (SELECT range AS copy FROM range({TIMES}))
            ORDER BY transaction_timestamp
        ) TO '{target}/transactions.parquet'""")


def measure(name: str, source: Path, tasks: list[str], data: Path, scratch: Path) -> list[dict]:
    """A row for each task."""
    import yaml

    base = yaml.safe_load((ROOT / "params.yaml").read_text())["base"]["categories"]
    rows = []
    for task in tasks:
        folder = data
        if task == "ten_times":
            folder = scratch
            replicate(data, scratch)
        categories = base if task == "base" else [CATEGORY]
        what = {
            "source": str(source),
            "folder": str(folder),
            "categories": categories,
            "n_products": 100 if task == "base" else N_PRODUCTS,
        }
        done = subprocess.run(
            [sys.executable, __file__, "--task", json.dumps(what)],
            env=os.environ | {"PYTHONPATH": str(source / "src")},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        row = {"code": name, "task": task, "panels": len(categories)} | json.loads(done.stdout.splitlines()[-1])
        rows.append(row | {"cores": os.cpu_count(), "measured": datetime.now(UTC).date().isoformat()})
        print(rows[-1], flush=True)
    return rows


def write(rows: list[dict]) -> None:
    """Replace the rows of the same code and task."""
    import pandas as pd

    table = pd.DataFrame(rows)
    if RESULTS.exists():
        table = pd.concat([pd.read_csv(RESULTS), table])
    table = table.drop_duplicates(["code", "task"], keep="last")
    order = {task: i for i, task in enumerate(TASKS)}
    table = table.sort_values(
        ["task", "code"], key=lambda column: column.map(order) if column.name == "task" else column
    )
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}; all where none is given")
    parser.add_argument("--source", type=Path, default=ROOT, help="a checkout of the project")
    parser.add_argument("--name", default="now", help="of the code, in the results")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of the default data")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        one(json.loads(options.task))
        return
    with tempfile.TemporaryDirectory() as scratch:
        write(measure(options.name, options.source, options.tasks or list(TASKS), options.data, Path(scratch)))


if __name__ == "__main__":
    main()
