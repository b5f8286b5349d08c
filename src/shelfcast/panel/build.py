"""Checked tables to a market's panel, step by step.

Products, regions, reference shares and anything else that is chosen see the training weeks only.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.quality import Count, quality_table
from shelfcast.data.schema import CHAIN
from shelfcast.data.tables import Tables
from shelfcast.panel.facts import Facts, collect
from shelfcast.panel.features import FAMILIES
from shelfcast.panel.features.history import level_and_typical
from shelfcast.panel.features.prices import prices_assumed
from shelfcast.panel.features.promotions import plan_end
from shelfcast.panel.features.stores import shares
from shelfcast.panel.frame import Panel
from shelfcast.panel.grid import ROLES, Column, Grid, merge, weeks_ahead
from shelfcast.panel.regions import find_regions, with_chain
from shelfcast.panel.weeks import choose_products, complete_weeks, launch_weeks, training_weeks
from shelfcast.settings import Prepare

FIRST_CUTOFF = 4  # weeks observed at the first cutoff that is learned from


def build(tables: Tables, prepare: Prepare, meta: dict | None = None) -> Panel:
    """Build a market's panel.

    Parameters
    ----------
    meta : further facts that the panel should carry.

    Raises
    ------
    ValueError : too few products or weeks, a gap in the weeks, test or validation shorter than the horizon, two
        features of one name.
    """
    weeks, n_outside = complete_weeks(weekly.trading_days(tables))
    training = training_weeks(weeks, prepare)
    launched = launch_weeks(tables.products, weeks_ahead(weeks, prepare.horizon))
    sold = weekly.product_weeks(tables, weeks)
    sold["early"] = sold["week"] < sold["product_id"].map(launched).fillna(-1)
    chosen = choose_products(sold, len(training), prepare.n_products, launched)
    regions, graph = find_regions(tables, training, prepare)

    products = tables.products.set_index("product_id").loc[chosen]
    launch = launched.reindex(chosen, fill_value=-1).to_numpy()
    grid = Grid(products, launch, [CHAIN, *graph.index], regions, weeks, prepare)
    facts = collect(tables, grid)
    columns = merge({family.__name__: family(facts, grid) for family in FAMILIES})
    _, typical = level_and_typical(facts, grid)
    quality = quality_table(_left_out(tables, grid, sold, n_outside))
    return Panel(
        frame=_long(grid, facts.units, columns),
        products=_describe_products(facts, grid),
        locations=_describe_locations(facts, grid),
        graph=with_chain(graph),
        pictures=pd.DataFrame(index=products.index),
        typical=pd.DataFrame(typical.T, weeks.rename("ds"), grid.locations),
        roles={role: [column.name for column in columns if column.role == role] for role in ROLES},
        in_units=[column.name for column in columns if column.in_units],
        cutoffs=_cutoffs(grid),
        quality=pd.concat([tables.quality, quality], ignore_index=True),
        meta=_meta(tables, facts, grid, sold) | (meta or {}),
        meanings={column.name: column.meaning for column in columns},
    )


def _cutoffs(grid: Grid) -> dict[str, list[pd.Timestamp]]:
    """The last observed week of every forecast that is learned from or judged, and of the latest one."""
    n_observed = {
        "train": range(FIRST_CUTOFF, grid.train_end),
        "validation": range(grid.train_end, grid.validation_end - grid.horizon + 1),
        "test": range(grid.validation_end, len(grid.weeks) - grid.horizon + 1),
        "latest": [len(grid.weeks)],
    }
    return {split: [grid.weeks[n - 1] for n in numbers] for split, numbers in n_observed.items()}


def _describe_products(facts: Facts, grid: Grid) -> pd.DataFrame:
    """Attributes, training units and one sentence a product, as a language model reads it."""
    attributes = grid.products.drop(columns="launch", errors="ignore").dropna(axis=1, how="all")

    def sentence(row: pd.Series) -> str:
        return "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in row.dropna().items()).lower()

    units = facts.units[:, 0, : grid.train_end].sum(-1)
    return grid.products.assign(text=attributes.apply(sentence, axis=1), units=units)


def _describe_locations(facts: Facts, grid: Grid) -> pd.DataFrame:
    """Stores open in the training weeks, and share of training units, of each location."""
    n_stores = np.bincount(grid.stores["location"], minlength=len(grid.locations))
    n_stores[0] = n_stores.sum()
    index = pd.Index(grid.locations, name="location")
    return pd.DataFrame({"stores": n_stores, "share": shares(facts, grid)}, index)


def _left_out(tables: Tables, grid: Grid, sold: pd.DataFrame, n_outside: int) -> list[Count]:
    """Rows of the category that the panel leaves out: what, how many, of how many, what was done."""
    by_store = weekly.store_rows(tables, grid.weeks)
    n, n_new = sold["rows"].sum(), by_store.loc[~by_store["store_id"].isin(grid.regions), "rows"].sum()
    n_not_chosen = sold.loc[~sold["product_id"].isin(grid.products.index), "rows"].sum()
    counts = [
        Count("rows in incomplete weeks", n_outside, n, "dropped"),
        Count("rows in stores first seen after training", n_new, n, "counted in the chain only"),
        Count("rows of products that were not chosen", n_not_chosen, n, "in category totals only"),
    ]
    if (grid.launch >= 0).any():
        n_early = sold.loc[sold["early"], "rows"].sum()
        counts.append(Count("rows sold before the product's launch", n_early, n, "in category totals only"))
    return counts


def _meta(tables: Tables, facts: Facts, grid: Grid, sold: pd.DataFrame) -> dict:
    """What readers of a panel want to know of it, ready for JSON."""
    return {
        "first_week": str(grid.weeks[0].date()),
        "last_week": str(grid.weeks[-1].date()),
        "train_end": str(grid.weeks[grid.train_end - 1].date()),
        "validation_end": str(grid.weeks[grid.validation_end - 1].date()),
        "n_weeks": len(grid.weeks),
        "n_products": len(grid.products),
        "n_regions": len(grid.locations) - 1,
        "n_stores": weekly.n_different(tables, grid.weeks, "store_id"),
        "n_customers": weekly.n_different(tables, grid.weeks, "customer_id") or None,
        "share_of_category": float(facts.units[:, 0].sum() / sold["units"].sum()),
        "horizon": grid.horizon,
        "n_launched": int((grid.launch >= 0).sum()),
        "plan_assumed": plan_end(facts, grid) < len(grid.weeks_ahead),
        "prices_assumed": prices_assumed(facts, grid),
        "ignored": list(tables.ignored),
        "regions": grid.regions,
    }


def _long(grid: Grid, units: np.ndarray, columns: list[Column]) -> pd.DataFrame:
    """Arrays to the long frame; what is not known ahead is NaN there, and so is `y` before a product's launch."""
    axes = [grid.products.index, grid.locations, grid.weeks_ahead]
    frame = pd.MultiIndex.from_product(axes, names=["product_id", "location", "ds"]).to_frame(index=False)
    frame.insert(0, "unique_id", frame["product_id"] + "|" + frame["location"])

    def flat(values: np.ndarray, static: bool = False) -> np.ndarray:
        """(P, L) or (P, L, weeks), or what broadcasts to it, as one value for each row."""
        values = values[..., None] if static else values
        full = np.full((*grid.shape[:2], len(grid.weeks_ahead)), np.nan)
        full[..., : len(grid.weeks_ahead) if static else values.shape[-1]] = values
        return full.ravel()

    y = np.where(np.arange(len(grid.weeks)) >= grid.launch[:, None, None], units, np.nan)
    values = {"y": flat(y)} | {column.name: flat(column.values, column.role == "static") for column in columns}
    frame = pd.concat([frame, pd.DataFrame(values)], axis=1)
    return frame.sort_values(["unique_id", "ds"], ignore_index=True)
