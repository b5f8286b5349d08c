"""Features of promotions: shares of a location's stores that promote a product, and what it sells when they do.

The promotions of a store without any record are unknown, so shares are over the recorded stores, weighted by their
training units. Weeks after the last recorded one repeat the mean of the last few: a plan that is assumed.
"""

from __future__ import annotations

import numpy as np

from shelfcast.panel.facts import SMALLEST, Facts
from shelfcast.panel.features.history import level_and_typical
from shelfcast.panel.grid import Column, Grid

PROMOTED = 0.5  # share of stores from which on a product counts as promoted
MEANING = {
    "promotion": "share of the location's recorded stores that promote it in any channel",
    "category_promotion": "mean promotion of the category's other products at the location",
}


def promotions(facts: Facts, grid: Grid) -> list[Column]:
    """Static, known-future and past columns; without a table of promotions, nothing is promoted."""
    plan = {"promotion": np.zeros((*grid.shape[:2], len(grid.weeks_ahead)))}
    recorded_share = np.zeros(len(grid.locations))
    if facts.promotions is not None:
        recorded_share, plan = _recorded_share(facts, grid), promotion_plan(facts, grid)
    meaning = "share of the location's units sold in stores with promotion records"
    columns = [Column("promo_known", "static", recorded_share, meaning)]
    for name, values in plan.items():
        columns.append(Column(name, "known_future", values, MEANING.get(name, "share of stores, this channel")))
    return columns + _means(facts, grid, plan["promotion"][..., : len(grid.weeks)])


def plan_end(facts: Facts, grid: Grid) -> int:
    """Number of the first week after the plan of promotions; that after the grid where there is no plan at all."""
    n_weeks = len(grid.weeks_ahead)
    if facts.promotions is None or facts.promotions.empty:
        return n_weeks
    return int(facts.promotions["week"].max()) + 1


def promotion_plan(facts: Facts, grid: Grid) -> dict[str, np.ndarray]:
    """Shares by channel, in any channel, and of the category's other products, each (P, L, T + H)."""
    end, n_weeks = plan_end(facts, grid), len(grid.weeks_ahead)
    total = np.maximum(_recorded_weight(facts, grid), 1e-9)[:, None]
    plan = {}
    for name in facts.promotions.columns.drop(["item", "location", "week"]):
        share = grid.spread(facts.promotions, name, n_weeks) / total
        if end < n_weeks:
            share[..., end:] = share[..., max(end - grid.horizon, 0) : end].mean(-1, keepdims=True)
        plan[name] = share
    train = facts.units[:, 0, : grid.train_end].sum(-1)
    category = grid.products["category"].fillna("").to_numpy()
    others = np.equal.outer(category, category) & ~np.eye(len(grid.products), dtype=bool)
    weight = others * np.maximum(train, SMALLEST)
    total = np.maximum(weight.sum(1), 1e-9)[:, None, None]
    plan["category_promotion"] = np.einsum("pq,qlt->plt", weight, plan["promotion"]) / total
    return plan


def _recorded_weight(facts: Facts, grid: Grid) -> np.ndarray:
    """Weight of the recorded stores of each location, (L,)."""
    stores = facts.recorded_stores
    weight = np.bincount(stores["location"], stores["weight"], len(grid.locations))
    weight[0] = stores["weight"].sum()
    return weight


def _recorded_share(facts: Facts, grid: Grid) -> np.ndarray:
    """Share of each location's training units that was sold in recorded stores, (L,), at most 1."""
    units = facts.units[..., : grid.train_end].sum((0, 2))
    return np.minimum(_recorded_weight(facts, grid) / np.maximum(units, SMALLEST), 1.0)


def _means(facts: Facts, grid: Grid, promotion: np.ndarray) -> list[Column]:
    """What a product sells in weeks when most stores promote it, and in the others; `promotion` is (P, L, T)."""
    level, _ = level_and_typical(facts, grid)
    columns = []
    for name, on, weeks in (
        ("mean_promoted", promotion >= PROMOTED, "weeks when most stores promoted it"),
        ("mean_unpromoted", promotion < PROMOTED, "the other weeks"),
    ):
        on = on & (grid.n_sold > 0)
        mean_units = (np.cumsum(facts.units * on, -1) + level) / (np.cumsum(on, -1) + 1)
        meaning = f"mean units so far in {weeks}, shrunk to the level"
        columns.append(Column(name, "past", grid.since_launch(mean_units), meaning, True))
    return columns
