"""Every parameter once: its name, type, default and meaning. `params.yaml` holds the values a project changes.

    python -m shelfcast.settings        # print all parameters with their values and meanings

A value comes from, in rising order: the default here, the section of `params.yaml`, the same section on the market's
own line, the variant's line (for `finetune`), and the `overrides` that a notebook was given. An unknown or mistyped key
is an error that names the nearest known one, before anything runs.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from shelfcast.decision_options import Orders, Promotions, Recommend
from shelfcast.frequency import Frequency, Grain, WeekStart
from shelfcast.live_options import Service, Stream
from shelfcast.model_options import Base, Finetune
from shelfcast.reading_options import Reading
from shelfcast.scale_options import Scale
from shelfcast.validate import STRICT, Day, SettingsError, build, check_path_name, nearest, param, read_yaml
from shelfcast.word_options import Words

PARAMS = Path("params.yaml")
BASE_FOLDER, ANY_BASE_FOLDER = Path("models/base"), Path("models/any_base")  # of the same tables; of any market


@dataclass(frozen=True, config=STRICT)
class Market:
    """One line under `markets`: which tables, which category, and what differs for it from the other sections."""

    source: Literal["complete_journey", "tables", "simulated"] = param("tables", "how the folder's files are read")
    tables: str = param("data", "folder of the raw tables")
    category: str | None = param(None, "value of products.category; null for all products")
    rename: str = param("", "columns to rename, 'theirs=ours' or 'table.theirs=ours', comma separated")
    read: Reading = param(Reading(), "how files write text, numbers, dates and weeks; see reading_options.py")
    words: Words = param(Words(), "what its page calls units, products and places; see word_options.py")
    prepare: dict[str, Any] = param({}, "values of `prepare` for this market alone")
    finetune: dict[str, Any] = param({}, "values of `finetune` for this market alone")
    evaluate: dict[str, Any] = param({}, "values of `evaluate` for this market alone")
    orders: dict[str, Any] = param({}, "values of `orders` for this market alone")
    promotions: dict[str, Any] = param({}, "values of `promotions` for this market alone")
    recommend: dict[str, Any] = param({}, "values of `recommend` for this market alone")
    stream: dict[str, Any] = param({}, "values of `stream` for this market alone")
    report: dict[str, Any] = param({}, "values of `report` for this market alone")


@dataclass(frozen=True, config=STRICT)
class Simulation:
    """A simulated market, whose true demand is known. See docs/simulated_market.md."""

    scene: Literal["shop", "spare_parts", "parcels", "accounts"] = param(
        "shop", "what is traded: groceries of a chain of shops, or a small scene of another trade (docs/scenes.md)"
    )
    seed: int = param(0, "of everything random; a twin with the same seed meets the same shoppers and shocks")
    mechanism: Literal["log_linear", "choice"] = param("log_linear", "how utility becomes sales")
    confounding: Literal["observed", "hidden", "none"] = param("observed", "what prices react to")
    n_products: int = param(160, "products", ge=2, le=500)
    n_new: int = param(24, "of these, launched within the weeks of sales: at most half", ge=0)
    n_stores: int = param(24, "stores", ge=2, le=100)
    n_weeks: int = param(104, "weeks of sales", ge=43, le=520)
    horizon: int = param(4, "weeks planned beyond the last week of sales", ge=1, le=52)
    stock_outs: float | None = param(
        None, "chance a week that a product runs out in a store; null for that of the laws", ge=0, lt=1
    )
    stockouts_table: bool = param(False, "also write the table stockouts, so that demand is learned and not sales")
    regime_weeks: int = param(12, "last weeks, in which elasticities are larger and a rival is open", ge=0)
    regime_strength: float = param(1.0, "how much of that: 0 is no change, 2 twice the effect in logs", ge=0, le=5)


@dataclass(frozen=True, config=STRICT)
class Prepare:
    """Raw tables to a panel (notebook 1); the base's panels are built the same way."""

    freq: Grain = param("W", "W: sales are forecast by the week; D: by the day")
    week_start: WeekStart = param("MON", "first day of a week, which `ds` holds, where freq is W")
    n_products: int = param(150, "products kept at most, the largest of the last year of training", ge=5)
    n_regions: int = param(6, "regions the stores are grouped into, where the tables name none", ge=1)
    horizon: int | None = param(None, "weeks or days a forecast looks ahead; null for 4 weeks or 28 days", ge=1)
    validation_weeks: int = param(8, "weeks that choose steps, weights and settings, before the test weeks", ge=1)
    test_weeks: int = param(8, "last weeks, which choose nothing", ge=1)
    closed_weeks: list[Day] = param([], "weeks without trade, by any day of them; they are missing, not zero demand")
    country: str = param("US", "whose public holidays count: US, or US-CA for a part of a country")
    stockouts: Literal["part_of_week", "sold_out", "ignore"] = param(
        "part_of_week",
        "how stock-outs of the table stockouts cut sales, where it has no share; ignore: learn from sales",
    )
    outlook: bool = param(True, "forecast products by a zero-shot model from every week, for the model to read")
    image_encoder: str = param("efficientnet_lite0", "packaged EfficientNet, or path or hub id of an image model")
    seed: int = param(0, "of the clustering of stores")

    def __post_init__(self) -> None:
        if self.horizon is None:
            object.__setattr__(self, "horizon", self.frequency.horizon)

    @property
    def frequency(self) -> Frequency:
        """Weeks that start on `week_start`, or days."""
        return Frequency.of(self.freq, self.week_start)


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """The model and its peers on the test weeks (notebook 4)."""

    methods: list[str] = param(
        ["moving_average_8", "auto_ets", "croston_sba", "lightgbm", "fracast"], "peers, by their names in methods/"
    )
    seed: int = param(0, "of the peers and the bootstrap")


@dataclass(frozen=True, config=STRICT)
class Report:
    """The page a category manager reads (notebook 8)."""

    method: str = param("ensemble", "the forecast that the page is about: the ensemble, a variant or a peer")
    n_fans: int = param(9, "products with a picture of their own", ge=0)
    notice: str = param("", "a sentence of your own at the head of the page, such as what it does not promise")
    n_rows: int = param(12, "rows of the tables of orders, promotions and doubts; downloads hold all", ge=1)
    language: Literal["en", "zh"] = param("en", "of the page: en, or zh for Chinese; docs/language.md adds another")


@dataclass(frozen=True, config=STRICT)
class Project:
    """The whole of `params.yaml`."""

    markets: dict[str, Market] = param({}, "one line a market; its name becomes a path")
    simulations: dict[str, Simulation] = param({}, "one line a simulated market, written as raw tables")
    variants: dict[str, dict[str, Any]] = param({"shelfcast": {}}, "one line a model, with its values of `finetune`")
    prepare: dict[str, Any] = param({}, "see Prepare")
    base: dict[str, Any] = param({}, "see Base")
    finetune: dict[str, Any] = param({}, "see Finetune")
    evaluate: dict[str, Any] = param({}, "see Evaluate")
    orders: dict[str, Any] = param({}, "see Orders")
    promotions: dict[str, Any] = param({}, "see Promotions")
    recommend: dict[str, Any] = param({}, "see Recommend")
    stream: dict[str, Any] = param({}, "see Stream")
    service: dict[str, Any] = param({}, "see Service")
    report: dict[str, Any] = param({}, "see Report")
    scale: dict[str, Any] = param({}, "see Scale")


SECTIONS = {
    "prepare": Prepare,
    "base": Base,
    "finetune": Finetune,
    "evaluate": Evaluate,
    "orders": Orders,
    "promotions": Promotions,
    "recommend": Recommend,
    "stream": Stream,
    "service": Service,
    "report": Report,
    "scale": Scale,
}


@dataclass(frozen=True)
class Settings:
    """All that a notebook reads: one market (or none), one variant, every section with its overrides applied."""

    name: str | None
    variant: str
    market: Market | None
    prepare: Prepare
    base: Base
    finetune: Finetune
    evaluate: Evaluate
    orders: Orders
    promotions: Promotions
    recommend: Recommend
    stream: Stream
    service: Service
    report: Report
    scale: Scale

    @property
    def folder(self) -> Path:
        """Where everything generated for the market is written."""
        return Path("build") / str(self.name)


def load(
    market: str | None = None,
    variant: str = "shelfcast",
    overrides: dict[str, dict] | None = None,
    path: str | Path = PARAMS,
) -> Settings:
    """Read `params.yaml` for one market and one variant.

    Parameters
    ----------
    market : a line under `markets`; None for what belongs to no market, as the base.
    overrides : section -> name -> value, which go before all others.

    Raises
    ------
    SettingsError : see the module's text.
    """
    project = check(path)
    for kind, name, lines in (("market", market, project.markets), ("variant", variant, project.variants)):
        if name is not None and name not in lines:
            raise SettingsError(f"{path} has no {kind} {name!r}{nearest(name, lines)}. Add a line for it.")
    return _resolve(project, market, variant, overrides or {}, str(path))


def check(path: str | Path = PARAMS) -> Project:
    """Check every section, market and variant of `params.yaml`; see `load` for the errors."""
    project = build(Project, read_yaml(path), str(path))
    for kind in ("markets", "simulations", "variants"):
        for name in getattr(project, kind):
            check_path_name(str(name), f"{path}: {kind}")
    for market in project.markets:
        for variant in project.variants:
            _resolve(project, market, variant, {}, str(path))
    return project


def _resolve(project: Project, market: str | None, variant: str, overrides: dict[str, dict], path: str) -> Settings:
    line = project.markets[market] if market is not None else None
    if unknown := sorted(set(overrides) - set(SECTIONS)):
        raise SettingsError(f"overrides: no section {unknown[0]!r}{nearest(unknown[0], SECTIONS)}.")
    sections = {}
    for name, kind in SECTIONS.items():
        parts = {f"{path}: {name}": getattr(project, name), f"{path}: markets.{market}.{name}": getattr(line, name, {})}
        if name == "finetune":
            parts[f"{path}: variants.{variant}"] = project.variants[variant]
        parts[f"overrides: {name}"] = overrides.get(name, {})
        values: dict[str, Any] = {}
        for where, part in parts.items():
            build(kind, part, where)  # so that an error names the place where a value is written
            values = merge(values, part)
        sections[name] = build(kind, values, f"{path}: {name}")
    return Settings(name=market, variant=variant, market=line, **sections)


def merge(values: dict, part: dict) -> dict:
    """The later part's values go first; a nested section is merged, not replaced."""
    merged = dict(values)
    for name, value in part.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def table(path: str | Path = PARAMS) -> str:
    """All parameters of the sections, one a line: value (a * where `params.yaml` sets it), then meaning."""
    project, lines = check(path), []
    for name, kind in SECTIONS.items():
        given = getattr(project, name)
        section = build(kind, given, name)
        for field in fields(kind):
            value = getattr(section, field.name)
            mark = "*" if field.name in given else " "
            lines.append(f"{mark} {name}.{field.name} = {str(value)[:40]:<40}  {field.default.description}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(table())
        for done in sys.argv[1:]:
            Path(done).parent.mkdir(parents=True, exist_ok=True)
            Path(done).write_text("params.yaml was checked\n")
    except SettingsError as error:
        sys.exit(f"error: nothing was run\n{error}")
