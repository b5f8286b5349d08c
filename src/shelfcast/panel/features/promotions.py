"""Features of promotions: shares of a location's stores that promote a product, and what it sells when they do.

The promotions of a store without any record are unknown, so shares are over the recorded stores, weighted by their
units. Weeks of which the table tells nothing (before its first record, after its last one, in a hole) are unknown, too,
and so are the shares of a location without recorded stores: NaN, and `promotion_known` is 0.
"""

from __future__ import annotations

import numpy as np

from shelfcast.panel.facts import SMALLEST, Facts
from shelfcast.panel.features.history import level_and_typical
from shelfcast.panel.features.stores import units_of_locations
from shelfcast.panel.grid import Column, Grid, mean

PROMOTED = 0.5  # share of stores from which on a product counts as promoted
LONGEST, LATELY = 26, 8  # weeks since the last promotion, at most; weeks that tell how often a product was promoted
ROUNDING = 1e-9  # of a product's units; what is left of a difference below it is rounding
MEANING = {
    "promotion": "share of the location's recorded stores that promote it in any channel",
    "category_promotion": "mean promotion of the category's other products at the location",
}


def promotions(facts: Facts, grid: Grid) -> list[Column]:
    """Static, known-future and past columns; without a table of promotions, nothing is promoted."""
    if facts.promotions is None:
        nothing = np.zeros((*grid.shape[:2], len(grid.weeks_ahead)))
        columns = [
            Column("promo_known", "static", np.zeros(len(grid.locations)), "0: there are no records of promotions"),
            Column("promotion", "known_future", nothing, "0: there are no records of promotions"),
        ]
        return columns + _means(facts, grid, nothing)
    recorded = units_of_locations(facts, grid, facts.recorded_stores.set_index("store_id")["weight"])
    known = (recorded > 0)[:, None] & facts.known["promotions"]  # L, T + H
    plan = promotion_plan(facts, grid, recorded, known)
    share = np.minimum(recorded / np.maximum(units_of_locations(facts, grid), SMALLEST), 1.0)
    columns = [
        Column("promo_known", "static", share, "share of the location's units sold in stores with promotion records")
    ]
    for name, values in plan.items():
        meaning = MEANING.get(name, "share of the location's recorded stores that promote it in this channel")
        columns.append(Column(name, "known_future", values, meaning, planned=True))
    meaning = f"1 where the plan of promotions reaches the location and {grid.frequency.noun}"
    columns.append(Column("promotion_known", "known_future", known.astype(float), meaning, planned=True))
    promotion = plan["promotion"][..., : len(grid.weeks)]
    return columns + _means(facts, grid, promotion) + _habits(grid, promotion)


def plan_assumed(facts: Facts, grid: Grid) -> bool:
    """Whether a table of promotions does not reach all of the coming weeks."""
    return facts.promotions is not None and not facts.known["promotions"][len(grid.weeks) :].all()


def promotion_plan(facts: Facts, grid: Grid, recorded: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
    """Shares in any channel, by channel, and of the category's other products, each (P, L, T + H), NaN where unknown.

    Parameters
    ----------
    recorded : (L,) weight of the recorded stores. known : (L, T + H) bool.
    """
    total, plan = np.maximum(recorded, 1e-9)[:, None], {}
    for name in facts.promotions.columns.drop(["item", "location", "week"]):
        plan[name] = grid.spread(facts.promotions, name, len(grid.weeks_ahead)) / total
    train = facts.units[:, 0, : grid.train_end].sum(-1)
    category = grid.products["category"].fillna("").to_numpy()
    if facts.common is None:
        others = np.equal.outer(category, category) & ~np.eye(len(grid.products), dtype=bool)
        weight = others * train
        total = np.maximum(weight.sum(1), 1e-9)[:, None, None]
        plan["category_promotion"] = np.einsum("pq,qlt->plt", weight, plan["promotion"]) / total
    else:  # all of the category, less the product's own
        weight = np.array([facts.common.promoted_weight[name] for name in category]) - train
        promoted = np.stack([facts.common.promoted[name] for name in category])
        promoted = promoted - train[:, None, None] * plan["promotion"]
        weight[weight <= ROUNDING * train] = np.inf  # no other product has sold
        plan["category_promotion"] = np.maximum(promoted / np.maximum(weight, 1e-9)[:, None, None], 0)
    return {name: np.where(known, values, np.nan) for name, values in plan.items()}


def promoted_sums(facts: Facts, grid: Grid) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Category -> promotion of its products, each weighted by its training units, (L, T + H); and sum of the weights."""
    recorded = units_of_locations(facts, grid, facts.recorded_stores.set_index("store_id")["weight"])
    share = grid.spread(facts.promotions, "promotion", len(grid.weeks_ahead)) / np.maximum(recorded, 1e-9)[:, None]
    train = facts.units[:, 0, : grid.train_end].sum(-1)
    category = grid.products["category"].fillna("").to_numpy()
    names = np.unique(category)
    promoted = {name: np.einsum("p,plt->lt", train[category == name], share[category == name]) for name in names}
    return promoted, {name: float(train[category == name].sum()) for name in names}


def _means(facts: Facts, grid: Grid, promotion: np.ndarray) -> list[Column]:
    """What a product sells in weeks when most stores promote it, and in the others; `promotion` is (P, L, T)."""
    level, _ = level_and_typical(facts, grid)
    promotion = promotion[..., : len(grid.weeks)]
    columns, noun = [], grid.frequency.noun
    for name, on, weeks in (
        ("mean_promoted", promotion >= PROMOTED, f"{noun}s when most stores promoted it"),
        ("mean_unpromoted", promotion < PROMOTED, f"the other {noun}s"),
    ):
        on = on & (grid.n_sold > 0) & grid.observed
        mean_units = (np.cumsum(facts.units * on, -1) + level) / (np.cumsum(on, -1) + 1)
        meaning = f"mean units so far in {weeks}, shrunk to the level"
        columns.append(Column(name, "past", grid.since_launch(mean_units), meaning, True))
    return columns


def _habits(grid: Grid, promotion: np.ndarray) -> list[Column]:
    """How a product was promoted lately, which is all that is known where the plan ends; unknown weeks do not count.

    Parameters
    ----------
    promotion : (P, L, T), NaN where unknown, in whole weeks of a location.
    """
    known = ~np.isnan(promotion[0])  # L, T
    noun, lately, longest = grid.frequency.noun, *map(grid.frequency.periods, (LATELY, LONGEST))

    def over_known(function) -> np.ndarray:
        """As `Grid.over_observed`; NaN before the first known week."""
        parts = []
        for i, inside in enumerate(known):
            last = np.cumsum(inside) - 1
            if not inside.any():
                parts.append(np.full((len(promotion), 1, len(last)), np.nan))
                continue
            values = function(promotion[:, i : i + 1, inside])
            parts.append(np.where(last >= 0, values[..., np.maximum(last, 0)], np.nan))
        return np.concatenate(parts, 1)

    def weeks_since(x: np.ndarray) -> np.ndarray:
        week = np.arange(x.shape[-1])
        last = np.maximum.accumulate(np.where(x >= PROMOTED, week, -longest), -1)
        return np.minimum(week - last, longest).astype(float)

    columns = {
        f"promotion_{lately}": (lambda x: mean(x, lately), f"mean promotion of the last {lately} known {noun}s"),
        f"{noun}s_since_promotion": (weeks_since, f"known {noun}s since most stores promoted it, at most {longest}"),
        f"share_{noun}s_promoted": (
            lambda x: mean(x >= PROMOTED),
            f"share of known {noun}s so far when most stores did",
        ),
    }
    return [Column(name, "past", over_known(function), meaning) for name, (function, meaning) in columns.items()]
