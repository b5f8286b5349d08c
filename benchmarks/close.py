"""A week's close from the call to new forecasts: with what the service keeps, and with everything read again.

    python -m benchmarks.close [market] [--root .]

Takes a market that was run, in a temporary folder that holds links to its files. Sales of its last week come
again as events of two later weeks. After the first one is closed the tables and states are kept; the close of the
second one is measured twice, each time in a process of its own as the service starts it: with them, and without. The
forecasts of both are compared. Processor seconds depend least on what else the machine does. Writes
benchmarks/results/close.csv, a row for each market and way.
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

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter

from benchmarks.rows import keep
from shelfcast import settings
from shelfcast.live.engine.compute import OWN, STATES
from shelfcast.live.engine.run import CURRENT, STORE, live_folder
from shelfcast.live.engine.snapshot import Snapshot
from shelfcast.live.store.events import Event
from shelfcast.live.store.own import kept_own
from shelfcast.live.store.store import Store

RESULTS = Path(__file__).parent / "results" / "close.csv"
KEY = ["market", "way"]
AT_ONCE = 5000  # events of a batch
WEEK = pd.Timedelta(weeks=1)
INDEX = ["situation", "unique_id", "horizon"]
READ = TypeAdapter(list[Event])


def copied(market: str, root: Path, folder: Path) -> settings.Settings:
    """Links to a market's run and its tables in `folder`, as a project of its own; returns its settings."""
    options = settings.load(market, path=root / settings.PARAMS)
    own = folder / options.folder
    own.mkdir(parents=True)
    for path in (root / options.folder).iterdir():
        if path.name != "live":
            (own / path.name).symlink_to(path.absolute())
    trees = live_folder(root / options.folder) / "lightgbm"
    if trees.is_dir():
        shutil.copytree(trees, live_folder(own) / trees.name)
    params = yaml.safe_load((root / settings.PARAMS).read_text())
    params["markets"][market]["tables"] = str((root / options.market.tables).absolute())
    (folder / settings.PARAMS).write_text(yaml.safe_dump(params))
    return settings.load(market, path=folder / settings.PARAMS)


def events_of(rows: pd.DataFrame, week: pd.Timestamp, later: pd.Timedelta) -> list[dict]:
    """Sales of a week as events of a later one."""
    own = rows[(rows["timestamp"] >= week) & (rows["timestamp"] < week + WEEK)]
    events = []
    for i, row in enumerate(own.to_dict("records")):
        event = {name: value for name, value in row.items() if not pd.isna(value)}
        event |= {"kind": "sale", "id": f"{later.days}-{i}", "timestamp": (row["timestamp"] + later).isoformat()}
        events.append(event)
    return events


def close(store: Store, rows: pd.DataFrame, week: pd.Timestamp, later: pd.Timedelta) -> None:
    """Store a week's events, and close it."""
    events = events_of(rows, week, later)
    for start in range(0, len(events), AT_ONCE):
        store.add(READ.validate_python(events[start : start + AT_ONCE]))
    store.close_week((week + later).date())


def compute(market: str, root: Path, url: str) -> tuple[float, float, str]:
    """Seconds of the clock and of the processor until new forecasts are there, and what the log tells."""
    command = [sys.executable, "-m", "shelfcast.live.engine.compute", str(root), market]
    environment = os.environ | {STORE: url, "SHELFCAST_PIPELINE": "1", "OMP_NUM_THREADS": "1"}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor, done.stdout.strip().replace("\n", "; ")


def measure(market: str, root: Path, folder: Path) -> list[dict]:
    """A row for each way."""
    options = copied(market, root, folder)
    live = live_folder(folder / options.folder)
    facts = json.loads((folder / options.folder / "panel/panel.json").read_text())
    last = pd.Timestamp(facts["meta"]["last_week"])
    own = kept_own(options.market, folder, live / OWN)
    columns = ("timestamp", "store_id", "product_id", "quantity", "sales_value", "customer_id", "basket_id", "discount")
    names = ", ".join(name for name in columns if name in own.columns["transactions"])
    rows = own.database.frame(f"SELECT {names} FROM transactions WHERE timestamp >= TIMESTAMP '{last}'")
    url = f"sqlite:///{folder}/events.sqlite"
    store, frames, table = Store(url), [], []
    store.close_week(last.date())
    close(store, rows, last, WEEK)
    print("first week:", *compute(market, folder, url), flush=True)
    close(store, rows, last, 2 * WEEK)
    for way in ("kept", "read again"):
        if way == "read again":
            for name in (OWN, STATES):
                shutil.rmtree(live / name)
        seconds, processor, told = compute(market, folder, url)
        print(f"{way}: {seconds:.1f} s, {processor:.1f} s of the processor; {told}", flush=True)
        frames.append(Snapshot.load(live / CURRENT).frame.set_index(INDEX)["mean"].sort_index())
        table.append({"market": market, "way": way, "seconds": round(seconds, 1), "cpu_seconds": round(processor, 1)})
    difference = float(np.abs(frames[0] / frames[1] - 1).max())
    mib = [sum(path.stat().st_size for path in (live / name).rglob("*")) / 2**20 for name in (OWN, STATES)]
    common = {"largest_difference": float(f"{difference:.1e}"), "events": store.count()["sale"]}
    common |= {"own_tables_mib": round(mib[0], 1), "states_mib": round(mib[1], 1), "cores": os.cpu_count()}
    return [row | common | {"measured": datetime.now(UTC).date().isoformat()} for row in table]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("market", nargs="?", default="soft_drinks")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given.market, given.root, Path(folder))
    print(keep(rows, given.results, KEY).to_string(index=False))


if __name__ == "__main__":
    main()
