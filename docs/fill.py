"""Publish the latest run's results to docs/results, fill the documents' tables from them, and draw the report.

    python docs/fill.py            # `make docs`, after `make run`
    python docs/fill.py --only     # fill alone, from the results that git holds

A block `<!-- fill:NAME -->…<!-- /fill -->` is replaced by what the function NAME of blocks.py (or of
studies/answers.py) returns; a test compares.
A user's own run changes nothing here, since results differ in the third digit from one kind of CPU to another.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT)]
import blocks  # noqa: E402

from studies import answers  # noqa: E402

MARKETS = ("soft_drinks", "simulated")
PUBLISHED = (
    "decisions.json",
    "facts.json",
    "metrics.json",
    "timings.json",
    "weights.json",
    "plots/differences.csv",
    "plots/orders.csv",
    "plots/quality.csv",
    "plots/seeds.csv",
)


def documents() -> list[Path]:
    """Every Markdown file with a block."""
    paths = [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("studies/*/*.md"),
    ]
    return sorted(path for path in paths if "<!-- fill:" in path.read_text())


def fill(text: str) -> str:
    """The text with its blocks computed anew."""

    def block(match: re.Match) -> str:
        gap = "" if match[1] == "minutes" else "\n"
        source = answers if match[1].startswith("answer_") else blocks
        return f"<!-- fill:{match[1]} -->{gap}{getattr(source, match[1])()}{gap}<!-- /fill -->"

    return re.sub(r"<!-- fill:(\w+) -->.*?<!-- /fill -->", block, text, flags=re.S)


def publish() -> None:
    """Copy what documents quote from build/ to docs/results/, and where it comes from."""
    from shelfcast.data.files import revision

    seconds, times = {}, []
    for market in MARKETS:
        folder, to = ROOT / "build" / market, ROOT / "docs/results" / market
        to.mkdir(parents=True, exist_ok=True)
        for name in PUBLISHED:
            shutil.copyfile(folder / name, to / Path(name).name)
        for path in sorted(folder.glob("notebooks/*.ipynb")):
            ran = json.loads(path.read_text())["metadata"]["papermill"]
            seconds[f"{market}, {path.stem}"] = round(ran["duration"], 1)
            times += [datetime.fromisoformat(ran["start_time"]), datetime.fromisoformat(ran["end_time"])]
    minutes = round((max(times) - min(times)).total_seconds() / 60, 1)  # markets run side by side
    origin = {"revision": revision(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    origin |= {"minutes": minutes, "seconds": seconds}
    own = ROOT / "build/own.lock"
    if own.exists():
        shutil.copyfile(own, ROOT / "dvc.lock")
    (ROOT / "docs/results/run.json").write_text(json.dumps(origin, indent=1) + "\n")


def picture() -> None:
    """The report's first screen, where a Chromium is at hand to draw it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("docs/report.png stays as it is: no Chromium was found")
        return
    options = "--headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,880"
    page, out = ROOT / "reports/soft_drinks/index.html", ROOT / "docs/report.png"
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *options.split(), f"--user-data-dir={profile}", f"--screenshot={out}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    if "--only" not in sys.argv:
        publish()
        picture()
    for path in documents():
        path.write_text(fill(path.read_text()))
