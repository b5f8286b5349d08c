"""Checked tables to a market's panel, step by step.

Products, regions, reference shares and anything else that is chosen see the training weeks only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.quality.table import Count, quality_table
from shelfcast.data.schema import CHAIN
from shelfcast.data.tables import Tables
from shelfcast.panel.axes.missing import missing_counts, observed_weeks, open_stores, store_array
from shelfcast.panel.axes.products import Choice, choose_products, launch_weeks, without_false_launches
from shelfcast.panel.axes.regions import find_regions, with_chain
from shelfcast.panel.axes.weeks import Weeks, find_weeks, rows_in_missing_weeks, thin_weeks, training_weeks
from shelfcast.panel.calendar import check_country, holiday_counts
from shelfcast.panel.facts import Facts, collect, known_counts
from shelfcast.panel.features import FAMILIES
from shelfcast.panel.features.history import level_and_typical
from shelfcast.panel.features.prices import prices_assumed
from shelfcast.panel.features.promotions import plan_assumed
from shelfcast.panel.features.stores import shares
from shelfcast.panel.frame import Panel
from shelfcast.panel.grid import ROLES, Column, Grid, merge, weeks_ahead
from shelfcast.settings import Prepare

FIRST_CUTOFF = 4  # weeks (of seven days) observed at the first cutoff that is learned from
FRACTIONAL = 0.01  # share of rows whose quantity is not whole; above it quantities are amounts, such as kilograms


def build(tables: Tables, prepare: Prepare, meta: dict | None = None) -> Panel:
    """Build a market's panel.

    Parameters
    ----------
    meta : further facts that the panel should carry.

    Raises
    ------
    ValueError : an unknown country, too few products or weeks, gaps in most weeks, test or validation shorter than the
        horizon, two features of one name.
    """
    check_country(prepare.country)
    tables = tables.at(prepare.frequency)
    grid, graph, sold, counts = find_axes(tables, prepare)
    amounts, units = find_unit(tables, grid)
    facts = collect(tables, grid, amounts["unit"])
    quality = quality_table([*counts, *known_counts(tables, facts), units])
    quality = pd.concat([tables.quality, quality], ignore_index=True)
    return assemble(facts, grid, graph, quality, market_meta(tables, facts, grid, sold) | amounts | (meta or {}))


def assemble(facts: Facts, grid: Grid, graph: pd.DataFrame, quality: pd.DataFrame, meta: dict) -> Panel:
    """The panel of a grid's products, from their facts."""
    columns = merge({family.__name__: family(facts, grid) for family in FAMILIES})
    _, typical = level_and_typical(facts, grid)
    return Panel(
        frame=_long(grid, facts, columns),
        products=_describe_products(facts, grid),
        locations=_describe_locations(facts, grid),
        graph=with_chain(graph),
        pictures=pd.DataFrame(index=grid.products.index),
        typical=pd.DataFrame(typical.T, grid.weeks.rename("ds"), grid.locations),
        roles={role: [column.name for column in columns if column.role == role] for role in ROLES},
        in_units=[column.name for column in columns if column.in_units],
        cutoffs=_cutoffs(grid),
        quality=quality,
        meta=meta,
        meanings={column.name: column.meaning for column in columns},
        planned=[column.name for column in columns if column.planned],
    )


def find_axes(tables: Tables, prepare: Prepare) -> tuple[Grid, pd.DataFrame, pd.DataFrame, list[Count]]:
    """Weeks, products and locations; the graph of regions, what every product sold by week, and lines of quality."""
    weeks, store_weeks = _weeks(tables, prepare)
    training, missing = training_weeks(weeks, prepare), weeks.missing
    n_train, n_all = len(training), len(weeks.index)
    sold = weekly.product_weeks(tables, weeks.observed)
    frequency = prepare.frequency
    launched = launch_weeks(tables.products, weeks_ahead(weeks.index, prepare.horizon, frequency), frequency)
    launched, counts = without_false_launches(launched, sold, weeks.index, n_train, frequency)
    sold["early"] = sold["week"] < sold["product_id"].map(launched).fillna(-1)
    choice = choose_products(sold[~sold["early"]], ~missing[:n_train], prepare.n_products, launched, frequency)
    regions, graph, later = find_regions(tables, store_weeks, weeks.observed, training[-1], prepare)

    locations = [CHAIN, *graph.index]
    rows, units = (store_array(store_weeks, fact, n_all) for fact in ("rows", "units"))
    number = pd.Series(regions).map({name: i for i, name in enumerate(locations)})
    holiday = holiday_counts(weeks.index, prepare.country, n_days=frequency.days) > 0
    observed, silent = observed_weeks(rows, units, number, len(locations), missing, holiday)
    products = tables.products.set_index("product_id").loc[choice.products]
    launch = choice.launch.reindex(choice.products).fillna(-1).astype(int).to_numpy()
    still_open = frozenset(open_stores(rows, missing, n_train, frequency.per_week))
    grid = Grid(products, launch, locations, regions, weeks.index, prepare, observed, still_open, frozenset(later))
    counts = [
        *weeks.counts,
        *missing_counts(observed, silent, rows, locations, weeks),
        *counts,
        *choice.counts,
        *_left_out(tables, grid, sold, choice),
    ]
    return grid, graph, sold, counts


def _weeks(tables: Tables, prepare: Prepare) -> tuple[Weeks, pd.DataFrame]:
    """The weeks of the panel, and what stores sold in them."""
    days = weekly.trading_days(tables)
    weeks = find_weeks(days, prepare)
    store_weeks = weekly.store_weeks(tables, weeks.index)
    rows = store_array(store_weeks, "rows", len(weeks.index)).to_numpy()
    kept = thin_weeks(weeks, rows, days, prepare.country)
    if len(kept.observed) < len(weeks.index):
        store_weeks = weekly.store_weeks(tables, kept.observed)
    dropped = rows_in_missing_weeks(kept, days, weeks.index[0], weeks.index[-1])
    return replace(kept, counts=[*kept.counts, *dropped]), store_weeks


def _cutoffs(grid: Grid) -> dict[str, list[pd.Timestamp]]:
    """The last observed week of every forecast that is learned from or judged, and of the latest one.

    Daily forecasts are judged from one cutoff a week: those of neighbouring days say nearly the same.
    """
    step = grid.frequency.per_week

    def judged(first: int, end: int) -> range:
        """Cutoffs a week apart, up to the last one whose forecast ends before `end`."""
        last = end - grid.horizon
        return range(first + (last - first) % step, last + 1, step)

    n_observed = {
        "train": range(grid.frequency.periods(FIRST_CUTOFF), grid.train_end),
        "validation": judged(grid.train_end, grid.validation_end),
        "test": judged(grid.validation_end, len(grid.weeks)),
        "latest": [len(grid.weeks)],
    }
    return {split: [grid.weeks[n - 1] for n in numbers] for split, numbers in n_observed.items()}


def _describe_products(facts: Facts, grid: Grid) -> pd.DataFrame:
    """Attributes, training units and one sentence a product, as a language model reads it."""
    units = facts.units[:, 0, : grid.train_end].sum(-1)
    return grid.products.assign(text=product_texts(grid.products), units=units)


def product_texts(products: pd.DataFrame) -> pd.Series:
    """One sentence of each product's attributes."""
    attributes = products.drop(columns="launch", errors="ignore").dropna(axis=1, how="all")

    def sentence(row: pd.Series) -> str:
        return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in row.dropna().items()).lower()

    return attributes.apply(sentence, axis=1)


def _describe_locations(facts: Facts, grid: Grid) -> pd.DataFrame:
    """Stores open in the training weeks, and share of the units of the last training year, of each location."""
    location = grid.stores.loc[~grid.stores["store_id"].isin(grid.later_stores), "location"]
    n_stores = np.bincount(location, minlength=len(grid.locations))
    n_stores[0] = n_stores.sum()
    index = pd.Index(grid.locations, name="location")
    return pd.DataFrame({"stores": n_stores, "share": shares(facts, grid)}, index)


def _left_out(tables: Tables, grid: Grid, sold: pd.DataFrame, choice: Choice) -> list[Count]:
    """Rows of the category that the panel leaves out or places by a rule: what, how many, of how many, what was done."""
    by_store = weekly.category_stores(tables, grid.weeks_seen())
    new, n = by_store[by_store["store_id"].isin(grid.later_stores)], sold["rows"].sum()
    others = sold[~sold["product_id"].isin(grid.products.index)]
    parts = [("rows of products that were not chosen", others, "in category totals only")]
    where = ", ".join(sorted({grid.regions[store] for store in grid.later_stores}))
    parts.append(("rows in stores first seen after training", new, f"counted in {where or 'their regions'}"))
    if len(choice.launch):
        parts.append(("rows sold before the product's launch", sold[sold["early"]], "in category totals only"))
    return [
        Count(check, int(part["rows"].sum()), int(n), action, float(part["units"].sum()))
        for check, part, action in parts
    ]


def find_unit(tables: Tables, grid: Grid) -> tuple[dict, Count]:
    """Whether quantities are amounts or counts, by the training weeks, for the panel's meta; and a line of quality.

    `unit` is 1 for counts, and for amounts the median quantity of a row.
    """
    seen = weekly.quantities(tables, grid.weeks_seen(stop=grid.train_end))
    amounts = bool(seen["fractional"] > FRACTIONAL * seen["rows"])
    action = "quantities are amounts, not counts" if amounts else "kept; quantities are counts"
    count = Count("rows with a quantity that is not whole", int(seen["fractional"]), int(seen["rows"]), action)
    return {"amounts": amounts, "unit": float(seen["median"]) if amounts else 1.0}, count


def market_meta(tables: Tables, facts: Facts, grid: Grid, sold: pd.DataFrame) -> dict:
    """What readers of a panel want to know of it, ready for JSON."""
    recent = sold[sold["week"].between(grid.recent.start, grid.recent.stop - 1) & grid.observed[0, sold["week"]]]
    return {
        "first_week": str(grid.weeks[0].date()),
        "last_week": str(grid.weeks[-1].date()),
        "train_end": str(grid.weeks[grid.train_end - 1].date()),
        "validation_end": str(grid.weeks[grid.validation_end - 1].date()),
        "freq": grid.frequency.alias,
        "n_weeks": len(grid.weeks),
        "missing_weeks": [str(week.date()) for week in grid.weeks[~grid.observed[0]]],
        "n_products": len(grid.products),
        "n_regions": len(grid.locations) - 1,
        "n_stores": weekly.n_different(tables, grid.weeks_seen(), "store_id"),
        "n_customers": weekly.n_different(tables, grid.weeks_seen(), "customer_id") or None,
        "share_of_category": float(facts.of("units")[:, 0, grid.recent].sum() / max(recent["units"].sum(), 1e-9)),
        "horizon": grid.horizon,
        "n_launched": int((grid.launch >= 0).sum()),
        "plan_assumed": plan_assumed(facts, grid),
        "prices_assumed": prices_assumed(facts, grid),
        "ignored": list(tables.ignored),
        "regions": grid.regions,
    }


def _long(grid: Grid, facts: Facts, columns: list[Column]) -> pd.DataFrame:
    """Arrays to the long frame; what is not known is NaN, and so is `y` before a product's launch and in missing weeks.

    Where stock-outs are known, `y` is demand, and a column `sold` holds what they left of it.
    """
    axes = [grid.products.index, grid.locations, grid.weeks_ahead]
    keys = pd.MultiIndex.from_product(axes, names=["product_id", "location", "ds"]).to_frame(index=False)
    keys.insert(0, "unique_id", keys["product_id"] + "|" + keys["location"])

    def flat(values: np.ndarray, static: bool = False) -> np.ndarray:
        """(P, L) or (P, L, weeks), or what broadcasts to it, as one value for each row."""
        values = values[..., None] if static else values
        full = np.full((*grid.shape[:2], len(grid.weeks_ahead)), np.nan)
        full[..., : len(grid.weeks_ahead) if static else values.shape[-1]] = values
        return full.ravel()

    begun = np.arange(len(grid.weeks)) >= grid.launch[:, None, None]
    targets = {"y": facts.units} | ({"sold": facts.of("units")} if facts.lost else {})
    values = {name: flat(np.where(begun & grid.observed, units, np.nan)) for name, units in targets.items()}
    values |= {column.name: flat(column.values, column.role == "static") for column in columns}
    frame = pd.DataFrame(dict(keys.items()) | values)
    return frame.sort_values(["unique_id", "ds"], ignore_index=True)
