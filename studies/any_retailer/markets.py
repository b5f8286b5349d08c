"""The markets of the study, each a panel on disk: categories of the default data, simulated worlds, other retailers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from shelfcast import settings
from shelfcast.data import tables
from shelfcast.data.files import atomic, folder_md5
from shelfcast.market.tables import write
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import Settings, Simulation
from studies import parameters
from studies.panels import category_panels
from studies.retailers import retailers

DEFAULT, WORLDS = "default", "worlds"  # groups besides the retailers of the folder


@checked(frozen=True, config=parameters.STRICT)
class Study:
    """`studies/any_retailer/params.yaml`, where each value is explained."""

    learned: list[str] = Field(min_length=1)
    untouched: list[str] = Field(default_factory=list)
    worlds: list[dict[str, Any]] = Field(default_factory=list)
    lines: dict[str, dict[str, Any]] = Field(default_factory=dict)
    n_products: int = Field(default=60, ge=5)
    steps: int = Field(default=3000, ge=1)
    learning_rate: float = Field(default=0.001, gt=0)
    drop_columns: float = Field(default=0.1, ge=0, lt=1)
    tries: dict[str, dict[str, float | int]] = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    history: float = Field(default=0.25, gt=0, le=1)
    seed: int = 0


@dataclass(frozen=True)
class Entry:
    """A market: its group (one retailer), whether bases learn from it, and whether methods are scored on it."""

    name: str
    group: str
    learned: bool
    scored: bool
    line: dict[str, Any]


def entries(study: Study, folder: Path | None) -> list[Entry]:
    """All markets; each subfolder of `folder` with transactions is a retailer that is learned from, or held out.

    Raises
    ------
    ValueError : the folder has no subfolder with transactions, or a category is both learned from and untouched.
    """
    if both := sorted(set(study.learned) & set(study.untouched)):
        raise ValueError(f"studies/any_retailer/params.yaml: {both[0]} is learned and untouched. Remove it from one.")
    found = [Entry(path_name(name), DEFAULT, True, False, {"category": name}) for name in study.learned]
    found += [Entry(path_name(name), DEFAULT, False, True, {"category": name}) for name in study.untouched]
    found += [Entry(f"world_{i}", WORLDS, True, False, {"world": world}) for i, world in enumerate(study.worlds)]
    own = retailers.Study(lines=study.lines)
    lines = {} if folder is None else retailers.markets(own, folder)
    return found + [Entry(name, name, True, True, line) for name, line in lines.items()]


def path_name(category: str) -> str:
    """A category as the name of a folder."""
    return "".join(c if c.isalnum() else "_" for c in category.lower()).strip("_")


def digest(*values: Any) -> str:
    """A short hash of settings, for the name of what was made with them."""
    return hashlib.md5(json.dumps(values, default=str).encode()).hexdigest()[:8]


def n_products(entry: Entry, study: Study, s: Settings) -> int:
    """Products of a market: those of the product's own panels where it is scored."""
    return s.prepare.n_products if entry.scored else study.n_products


def panel_folder(entry: Entry, study: Study, s: Settings, work: Path) -> Path:
    """Where the panel of a market lies."""
    key = digest(entry.line, asdict(s.prepare), s.base.tables, n_products(entry, study, s))
    return work / "panels" / f"{entry.name}_{key}"


def prepare_panels(study: Study, s: Settings, every: list[Entry], work: Path) -> None:
    """Write the panel of each market that has none yet to its `panel_folder`."""
    missing = [entry for entry in every if not panel_folder(entry, study, s, work).exists()]
    for entry, panel in _panels(study, s, missing, work):
        with atomic(panel_folder(entry, study, s, work)) as part:
            panel.save(part)
        print(f"{entry.name}: {len(panel.products)} products, {len(panel.weeks)} weeks", flush=True)


def _panels(study: Study, s: Settings, missing: list[Entry], work: Path) -> Iterator[tuple[Entry, Panel]]:
    for scored in (True, False):
        own = [entry for entry in missing if entry.group == DEFAULT and entry.scored == scored]
        if own:
            names = [entry.line["category"] for entry in own]
            panels = category_panels(s.base, s.prepare, names, n_products(own[0], study, s))
            yield from zip(own, panels, strict=True)
    for entry in missing:
        if entry.group == WORLDS:
            folder = work / "worlds" / panel_folder(entry, study, s, work).name
            yield entry, _world(study, s, entry, folder)
        elif entry.group != DEFAULT:
            line = settings.build(settings.Market, entry.line, entry.name)
            yield entry, _panel(line, s.prepare)


def _world(study: Study, s: Settings, entry: Entry, folder: Path) -> Panel:
    simulation = settings.build(Simulation, entry.line["world"], f"studies/any_retailer/params.yaml: {entry.name}")
    simulation = replace(simulation, n_products=study.n_products, n_new=study.n_products // 8)
    if not (folder / "truth").exists():  # which is written last
        write(folder, simulation)
    line = settings.Market(source="simulated", tables=str(folder / "tables"))
    return _panel(line, replace(s.prepare, n_products=study.n_products))


def _panel(line: settings.Market, prepare: settings.Prepare) -> Panel:
    """As notebook 1 makes it, without pictures."""
    raw = tables.load(line.source, line.tables, line.category, line.rename, line.read)
    meta = {"category": line.category, "data_md5": folder_md5(line.tables)}
    panel = build(raw, prepare, meta)
    return with_outlook(panel) if prepare.outlook else panel
