"""Peers side by side on one panel, in one run: accuracy on the test weeks, seconds to fit and to forecast, memory.

    python -m benchmarks.peers soft_drinks            # all of them
    python -m benchmarks.peers soft_drinks tft nhits  # some: their rows are replaced, the others stay

Each peer runs in a process of its own, on two cores. All read the same panel, and of its columns what they can use.
Nothing after the validation weeks is learned from or chosen by; then each forecasts from every test cutoff with the
known-future columns of the weeks after it. build/<market> is read and stays as it is; benchmarks/results/<market>.csv
is written after each peer, and <market>.png at the end.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.methods import PEERS, Clock
from benchmarks.processes import ROOT, run_watched
from shelfcast.data.files import atomic
from shelfcast.judge import metrics
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import KEYS
from shelfcast.panel.frame import Panel, examples
from shelfcast.report import theme

CORES = 2
LEVELS = {"product": "chain", "product_region": "regions"}
FIELDS = [
    "peer", "package", "version", "wql_chain", "wape_chain", "wql_regions", "wape_regions",
    "fit_seconds", "base_seconds", "prepare_seconds", "forecast_seconds",
    "forecasts", "seconds_per_1000", "forecasts_per_second", "peak_mib", "cores", "measured", "error",
]  # fmt: skip


# ---------------------------------------------------------------- one peer, in a process of its own


def run_one(peer: str, folder: Path, out: Path) -> None:
    """Run a peer here, and write as JSON how well it forecast and what it took."""
    warnings.filterwarnings("ignore")
    panel, clock = Panel.load(folder / "panel"), Clock()
    row = score(PEERS[peer][0](panel, folder, clock), panel)
    row |= {f"{what}_seconds": seconds for what, seconds in clock.items()}
    row["seconds_per_1000"] = 1000 * row["forecast_seconds"] / row["forecasts"]
    row["forecasts_per_second"] = row["forecasts"] / row["forecast_seconds"]
    out.write_text(json.dumps(row))


def score(frame: pd.DataFrame, panel: Panel) -> dict[str, float]:
    """Scores on the test weeks, and the number of forecasts (a series from a cutoff, all horizons).

    Raises
    ------
    ValueError : forecasts are missing.
    """
    keys = ["unique_id", "ds", "cutoff"]
    actuals = examples(panel, panel.cutoffs["test"])[KEYS]
    frame = actuals.merge(frame[[*keys, "mean", *QUANTILE_COLUMNS]], on=keys, how="left", validate="one_to_one")
    n_missing = int(frame[QUANTILE_COLUMNS].isna().any(axis=1).sum())
    if n_missing:
        raise ValueError(
            f"{n_missing:,} of {len(frame):,} forecasts are missing. A peer must forecast every test week."
        )
    # by their quantiles alone: not every peer has a count distribution
    scores = metrics.metrics_dict(frame.assign(method="peer", dispersion=np.nan), panel.frame)
    row = {}
    for level, name in LEVELS.items():
        for metric in ("wql", "wape"):
            row[f"{metric}_{name}"] = scores[level]["peer"][metric]
    return row | {"forecasts": len(frame) // panel.meta["horizon"]}


# ---------------------------------------------------------------- all of them


def check(market: str, peers: list[str], build: Path) -> None:
    """Leave with a sentence where something is missing, before anything runs."""
    if unknown := sorted(set(peers) - set(PEERS)):
        raise SystemExit(f"error: there are no peers {', '.join(unknown)}. Choose of {', '.join(PEERS)}.")
    if not (build / market / "panel/panel.json").exists():
        raise SystemExit(
            f"error: {build / market} holds no panel. Run `dvc repro prepare@{market}` (or `make run`) first."
        )
    packages = {PEERS[peer][1] for peer in peers}
    if missing := sorted(name for name in packages if importlib.util.find_spec(name) is None):
        how = "pip install -c requirements.lock -e '.[bench]'"
        raise SystemExit(f"error: {', '.join(missing)} cannot be imported. Run {how}, or name the peers to run.")


def run(market: str, peers: list[str], build: Path, results: Path) -> pd.DataFrame:
    """Run the peers one after the other; each has a row in results/<market>.csv, also one that fails."""
    path, cores = results / f"{market}.csv", os.cpu_count()
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=FIELDS)
    if hasattr(os, "sched_setaffinity"):  # processes started from here inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        cores = len(os.sched_getaffinity(0))
    for peer in peers:
        package = PEERS[peer][1]
        row = measure(peer, build / market) | {"package": package, "version": version(package), "cores": cores}
        rows = [*table[table["peer"] != peer].to_dict("records"), row]
        table = pd.DataFrame(rows, columns=FIELDS).sort_values("wql_chain", ignore_index=True)
        with atomic(path) as part:
            table.round(4).to_csv(part, index=False)
        print(sentence(row), flush=True)
    return table


def measure(peer: str, folder: Path) -> dict:
    """The row of a peer that runs in a process of its own: its figures, or the last line of its output as `error`."""
    with tempfile.TemporaryDirectory() as work:
        out, log = Path(work) / "row.json", Path(work) / "log"
        command = [sys.executable, "-m", "benchmarks.peers", "--one", peer, str(folder), str(out)]
        status, peak = run_watched(command, log)
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit status {status}"]
        row = {"error": lines[-1]} if status else json.loads(out.read_text())
    return {"peer": peer, "peak_mib": peak, "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M")} | row


def sentence(row: dict) -> str:
    if "error" in row:
        return f"{row['peer']}: FAILED: {row['error']}"
    return (
        f"{row['peer']}: WQL {row['wql_chain']:.3f} chain, {row['wql_regions']:.3f} regions; fitted in "
        f"{row['fit_seconds']:.1f} s, {row['forecasts_per_second']:,.0f} forecasts a second, {row['peak_mib']:,.0f} MiB"
    )


# ---------------------------------------------------------------- the picture

LABELS = {  # position of a name beside its mark -> offset in points, alignment
    "above": ((0, 7), "center", "bottom"),
    "below": ((0, -7), "center", "top"),
    "left": ((-8, 0), "right", "center"),
    "right": ((8, 0), "left", "center"),
}


def picture(table: pd.DataFrame, market: str) -> Figure:
    """WQL of the chain over the seconds to fit; an open mark includes the training of the base, which all share."""
    figure, axes = theme.canvas(f"{market}: error over seconds to fit (left and low is better)", (6.4, 4.2))
    done = table.dropna(subset=["wql_chain"]).reset_index(drop=True)
    for row, neighbour_wql in zip(done.itertuples(), _wql_of_nearest(done), strict=True):
        ours = row.peer.startswith("shelfcast")
        color, mark = (theme.ORANGE, "D") if ours else (theme.BLUE, "o")
        axes.scatter(row.fit_seconds, row.wql_chain, s=36, color=color, marker=mark)
        has_base = row.base_seconds > 0
        if has_base:
            whole = row.fit_seconds + row.base_seconds
            axes.scatter(whole, row.wql_chain, s=36, facecolor="none", edgecolor=color, marker=mark)
        position = "above" if row.wql_chain > neighbour_wql else "below"  # so that names of neighbours stay apart
        if ours:
            position = "left" if has_base else "right"
        offset, ha, va = LABELS[position]
        look = {"xytext": offset, "textcoords": "offset points", "ha": ha, "va": va, "fontsize": 8}
        axes.annotate(row.peer, (row.fit_seconds, row.wql_chain), **look)
    axes.set(xscale="log", xlabel="seconds (open: with the shared base)", ylabel="error (WQL), whole chain")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.12)
    return figure


def _wql_of_nearest(done: pd.DataFrame) -> np.ndarray:
    """WQL of the row that is nearest by seconds to fit, on a log scale."""
    seconds = np.log(done["fit_seconds"].to_numpy())
    distance = np.abs(np.subtract.outer(seconds, seconds))
    np.fill_diagonal(distance, np.inf)
    return done["wql_chain"].to_numpy()[distance.argmin(axis=1)]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("market", help="build/<market>/panel is read")
    parser.add_argument("peers", nargs="*", help=f"some of {', '.join(PEERS)}; all where none is named")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    given = parser.parse_args(arguments)
    peers = given.peers or list(PEERS)
    check(given.market, peers, given.build)
    table = run(given.market, peers, given.build.resolve(), given.results)
    with atomic(given.results / f"{given.market}.png") as part:
        picture(table, given.market).savefig(part, format="png", dpi=110)
    if failed := sorted(set(table.loc[table["error"].notna(), "peer"]) & set(peers)):
        raise SystemExit(f"error: {', '.join(failed)} failed. Results of the others are in {given.results}.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run_one(sys.argv[2], *map(Path, sys.argv[3:]))
    else:
        main(sys.argv[1:])
