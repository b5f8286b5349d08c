"""A market's panel by partitions of its products, and the panels of many markets, one market a partition."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from shelfcast.data import tables
from shelfcast.data.files import atomic, folder_md5
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.panel.build import assemble, build
from shelfcast.panel.frame import Panel
from shelfcast.reading_options import Reading
from shelfcast.scale.common import first_sums, part_name, read_common, read_facts, second_sums
from shelfcast.scale.engine.parts import MANIFEST, Job, code_md5
from shelfcast.scale.engine.run import run
from shelfcast.scale.facts import weekly_facts
from shelfcast.scale.market import Market, load_market, read_market, split
from shelfcast.scale_options import Scale
from shelfcast.settings import Prepare, Settings

MARKET, ROWS, NOTE = "market.pkl", "rows", "market.json"
FACTS, FIRST, SECOND, PANEL = "facts", "first", "second", "panel"


def prepare(options: Settings, folder: Path) -> Path:
    """Raw tables to weekly facts by partitions, and what all products have in common.

    Returns
    -------
    The folder, from which `part_panel` builds any partition's panel.

    Raises
    ------
    ValueError : see `market.read_market` and `engine.run`.
    """
    folder = Path(folder).absolute()
    line = options.market
    belongs = {"tables": folder_md5(line.tables), "prepare": asdict(options.prepare), "category": line.category}
    belongs |= {
        "rename": line.rename,
        "read": asdict(line.read),
        "products": options.scale.products,
        "code": code_md5(),
    }
    note = json.dumps(belongs, sort_keys=True, default=str)
    if not (folder / NOTE).is_file() or (folder / NOTE).read_text() != note:
        (folder / NOTE).unlink(missing_ok=True)
        raw = tables.load(line.source, line.tables, line.category, line.rename, line.read)
        meta = {"market": options.name, "source": line.source, "category": line.category}
        market = read_market(raw, options.prepare, options.scale.products, meta | {"data_md5": belongs["tables"]})
        market.save(folder / MARKET)
        split(raw, market, folder / ROWS)
        with atomic(folder / NOTE) as part:  # the last one: it says that the others are whole
            part.write_text(note)
    collect(folder, {"market": hashlib.md5(note.encode()).hexdigest()}, options.scale)
    return folder


def collect(folder: Path, belongs: dict[str, Any], scale: Scale) -> None:
    """Weekly facts of all partitions, then what all products have in common: three jobs."""
    paths = {"market": str(folder / MARKET)}
    starts = load_market(paths["market"]).starts
    run(Job(folder / FACTS, weekly_facts, tasks_of(starts, paths | {"rows": str(folder / ROWS)}), belongs), scale)
    sum_up(folder, starts, scale)


def sum_up(folder: Path, starts: range, scale: Scale) -> None:
    """What all products have in common, from the facts of all partitions: two jobs."""
    paths = {"market": str(folder / MARKET), "facts": str(folder / FACTS)}
    facts = {"facts": file_md5(folder / FACTS / MANIFEST)}
    run(Job(folder / FIRST, first_sums, tasks_of(starts, paths), facts), scale)
    facts["first"] = file_md5(folder / FIRST / MANIFEST)
    run(Job(folder / SECOND, second_sums, tasks_of(starts, paths | {"first": str(folder / FIRST)}), facts), scale)


def tasks_of(starts: range, arguments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The partitions that begin with these products, each with the same arguments besides."""
    return {
        part_name(start).removeprefix("part-").removesuffix(".parquet"): arguments | {"start": start}
        for start in starts
    }


def part_panel(folder: str | Path, start: int) -> Panel:
    """The panel of one partition's products, without outlook and pictures."""
    folder = Path(folder)
    path = str(folder / MARKET)
    market: Market = load_market(path)
    common = read_common(path, str(folder / FIRST), str(folder / SECOND))
    facts = read_facts(path, str(folder / FACTS), start, common)
    return assemble(facts, facts.grid, market.graph, market.quality, market.meta)


def panel_rows(folder: str, start: int) -> pd.DataFrame:
    """The long frame of one partition's panel."""
    return part_panel(folder, start).frame


def panel_job(folder: Path) -> Job:
    """The job that writes the long frame of a prepared market, a part for each partition."""
    starts = load_market(str(folder / MARKET)).starts
    return Job(folder / PANEL, panel_rows, tasks_of(starts, {"folder": str(folder)}), belongs_to(folder))


def belongs_to(folder: Path) -> dict[str, str]:
    """Hashes of what panels of a prepared market are made of."""
    return {name: file_md5(folder / name / MANIFEST) for name in (FACTS, FIRST, SECOND)}


def file_md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def market_panels(markets: dict[str, Settings], folder: Path) -> Job:
    """The job that builds the panels of many markets, each in one task: <folder>/<market>/panel, as notebook 1 does.

    A part holds one row: the market, its sizes, and the hash of its panel. Pictures are left to notebook 1.
    """
    folder = Path(folder).absolute()
    tasks, hashes = {}, {}
    for name, options in markets.items():
        line = options.market
        hashes[line.tables] = hashes.get(line.tables) or folder_md5(line.tables)
        tasks[name] = {
            "name": name,
            "line": {key: getattr(line, key) for key in ("source", "category", "rename")} | {"read": asdict(line.read)},
            "tables_folder": str(Path(line.tables).absolute()),
            "md5": hashes[line.tables],
            "prepare": asdict(options.prepare),
            "target": str(folder / name / "panel"),
        }
    return Job(folder / "panels", market_panel, tasks)


def market_panel(name: str, line: dict, tables_folder: str, md5: str, prepare: dict, target: str) -> pd.DataFrame:
    """Build one market's panel and write its folder; returns the row that tells of it."""
    options = Prepare(**prepare)
    raw = tables.load(line["source"], tables_folder, line["category"], line["rename"], Reading(**line["read"]))
    meta = {"market": name, "source": line["source"], "category": line["category"], "data_md5": md5}
    panel = build(raw, options, meta)
    panel = with_outlook(panel) if options.outlook else panel
    with atomic(target) as part:
        panel.save(part)
    sizes = {key: panel.meta[key] for key in ("n_products", "n_regions", "n_weeks")}
    return pd.DataFrame([{"market": name, **sizes, "rows": len(panel.frame), "md5": folder_md5(target)}])
