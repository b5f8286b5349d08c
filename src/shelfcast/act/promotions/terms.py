"""What a promotion is in money: regular price, price cut, unit cost; each known, measured or assumed, and said so.

Axes: P products, H weeks ahead; the whole chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.decision_options import Promotions
from shelfcast.language import _, sentences
from shelfcast.panel.frame import Panel
from shelfcast.why.causes.data import realised_log_price
from shelfcast.why.whatif.changes import PROMOTION, coming_weeks

PROMOTED = 0.5  # share of stores from which on a week counts as promoted
REGULAR_WEEKS = 8  # latest weeks without promotion, whose median price is the regular one
LEAST_PROMOTED = 10  # product-weeks with a promotion, from which on their usual cut is measured
FALLBACK_CUT = 0.15  # where fewer were observed


@dataclass(frozen=True)
class Terms:
    """Prices and costs of the coming weeks, in money.

    regular, cost : (P,) of a unit without promotion. cut : share of the price that a promotion takes off.
    funded : share of the cut that suppliers pay. fixed_cost : of a promotion of one product in one week.
    notes : where each comes from, in sentences.
    """

    products: pd.Index
    regular: np.ndarray
    cost: np.ndarray
    cut: float
    notes: tuple[str, ...] = ()
    funded: float = 0.0
    fixed_cost: float = 0.0

    @property
    def promoted(self) -> np.ndarray:
        """(P,) the price in a promotion."""
        return self.regular * (1 - self.cut)

    @property
    def given_away(self) -> np.ndarray:
        """(P,) what the retailer pays of the cut of a promoted unit."""
        return self.regular * self.cut * (1 - self.funded)

    @property
    def margin(self) -> np.ndarray:
        """(P,) of a unit at the regular price."""
        return self.regular - self.cost

    @property
    def margin_promoted(self) -> np.ndarray:
        """(P,) of a promoted unit, what suppliers pay included."""
        return self.margin - self.given_away

    def money(self, base: np.ndarray, promoted: np.ndarray) -> np.ndarray:
        """(…, P, H) margin more, before fixed costs, where `promoted` units are sold in place of `base`.

        Worked example: 10 units at 2.00 that cost 1.20 become 30 at 1.60: 30 · .40 - 10 · .80 = 4.
        """
        return promoted * self.margin_promoted[:, None] - base * self.margin[:, None]

    @classmethod
    def of(
        cls, panel: Panel, options: Promotions, costs: pd.DataFrame | None = None, cutoff: pd.Timestamp | None = None
    ) -> Terms:
        """The terms at a cutoff; see `coming_weeks` for it.

        Planned prices of coming weeks count, costs after the cutoff do not.

        Parameters
        ----------
        costs : product_id, week, cost of a unit in money; None where they are not known.

        Raises
        ------
        ValueError : costs that `known_costs` refuses.
        """
        weeks = coming_weeks(panel, cutoff)
        prices, promotion = _log_prices(
            panel, weeks[-1] if "price" in panel.planned else weeks[0] - panel.frequency.step
        )
        is_promoted = promotion >= PROMOTED
        regular_log = _regular(prices, is_promoted)
        planned = "price" in panel.planned
        cut = options.cut
        cut_note = _("A promotion takes {cut:.0%} off the price, as the parameter says.", cut=options.cut or 0)
        if cut is None:
            cut, cut_note = _usual_cut(prices, is_promoted)
        regular = np.exp(regular_log)
        cost, cost_note = _cost(panel, regular, options.margin, costs, weeks[0] - panel.frequency.step)
        price_note = _(
            "The regular price is the median of the latest {n} paid prices without a promotion.", n=REGULAR_WEEKS
        )
        if planned:
            price_note = _(
                "The regular price is the median of the latest {n} planned prices without a promotion.", n=REGULAR_WEEKS
            )
        notes = [price_note, cut_note, cost_note]
        if options.funded:
            paid = _("Suppliers are assumed to pay {share:.0%} of the cut (promotions.funded).", share=options.funded)
            notes.append(paid)
        return cls(panel.products.index, regular, cost, float(cut), tuple(notes), options.funded, options.fixed_cost)


def _log_prices(panel: Panel, last: pd.Timestamp) -> tuple[np.ndarray, np.ndarray]:
    """(P, weeks up to `last`) logs of the chain's prices in money, NaN where there is none, and shares promoted.

    Planned prices where there is a table of them, else the prices paid.
    """
    frame = panel.frame[(panel.frame["location"] == CHAIN) & (panel.frame["ds"] <= last)]
    frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    if "price" in panel.planned:
        price = (frame["price"] + frame["price_level"]).where(frame["price_known"] > 0)
    else:
        relative = realised_log_price(frame)
        train = frame["ds"] <= pd.Timestamp(panel.meta["train_end"])
        mean = relative.where(train).groupby(frame["product_id"]).transform("mean").fillna(0)
        price = relative - mean + frame["price_level"]  # the level is the mean of the training weeks

    def wide(column: pd.Series) -> np.ndarray:
        table = frame.assign(value=column).pivot(index="product_id", columns="ds", values="value")
        return table.reindex(panel.products.index).to_numpy(float)

    level = wide(frame["price_level"])
    prices = wide(price)
    unpriced = np.isnan(prices).all(1)
    prices[unpriced, -1] = level[unpriced, -1]
    return prices, np.nan_to_num(wide(frame[PROMOTION]))


def _regular(prices: np.ndarray, is_promoted: np.ndarray) -> np.ndarray:
    """(P,) log of the regular price: the median of the latest weeks without promotion, of all where there is none."""
    regular = np.empty(len(prices))
    for i, row in enumerate(prices):
        seen = ~np.isnan(row)
        free = row[seen & ~is_promoted[i]]
        regular[i] = np.median(free[-REGULAR_WEEKS:] if len(free) else row[seen])
    return regular


def _usual_cut(prices: np.ndarray, is_promoted: np.ndarray) -> tuple[float, str]:
    """The median share that promoted weeks were below the median of the same product's other weeks."""
    free = np.where(is_promoted, np.nan, prices)
    has_both = (~np.isnan(free)).any(1)
    below = np.exp(prices[has_both] - np.nanmedian(free[has_both], 1, keepdims=True))[is_promoted[has_both]]
    below = below[~np.isnan(below)]
    if len(below) < LEAST_PROMOTED:
        return FALLBACK_CUT, _(
            "Fewer than {n} promoted weeks with a price were seen, so a cut of {cut:.0%} is assumed.",
            n=LEAST_PROMOTED,
            cut=FALLBACK_CUT,
        )
    cut = float(np.clip(1 - np.median(below), 0, 0.9))
    return cut, _(
        "A promotion takes {cut:.0%} off the price: the median of {n:,} promoted product-weeks so far.",
        cut=cut,
        n=len(below),
    )


def _cost(
    panel: Panel, regular: np.ndarray, margin: float, costs: pd.DataFrame | None, until: pd.Timestamp
) -> tuple[np.ndarray, str]:
    assumed = regular * (1 - margin)
    if costs is None:
        return assumed, _(
            "No unit cost is known: {margin:.0%} of the regular price is assumed to be margin. "
            "Money follows from this assumption, so set promotions.margin to your own.",
            margin=margin,
        )
    known = known_costs(costs, until).reindex(panel.products.index).to_numpy(float)
    lacking = np.isnan(known)
    notes = [_("A unit costs what the latest week of the retailer's table of costs says.")]
    if lacking.any():
        notes.append(
            _(
                "{n} products are not in it; {margin:.0%} of their price is assumed to be margin.",
                n=lacking.sum(),
                margin=margin,
            )
        )
    return np.where(lacking, assumed, known), sentences(notes)


def known_costs(costs: pd.DataFrame, until: pd.Timestamp) -> pd.Series:
    """product_id -> cost of a unit in the latest week up to `until`.

    Raises
    ------
    ValueError : a missing column, or costs that are below zero or no number.
    """
    if missing := sorted({"product_id", "week", "cost"} - set(costs.columns)):
        raise ValueError(f"the table of costs has no column {missing[0]!r}. Give product_id, week and cost.")
    wrong = ~(pd.to_numeric(costs["cost"], errors="coerce") >= 0)
    if wrong.any():
        first = costs.loc[wrong, "product_id"].iloc[0]
        raise ValueError(
            f"{int(wrong.sum())} unit costs are below zero or no number, such as one of product {first!r}. "
            "Mend or leave out these rows."
        )
    rows = costs.assign(week=pd.to_datetime(costs["week"]), product_id=costs["product_id"].astype(str))
    rows = rows[rows["week"] <= until].sort_values("week")
    return rows.groupby("product_id")["cost"].last()


def read_costs(folder: str | Path) -> pd.DataFrame | None:
    """product_id, week, cost from a `prices.parquet` that has a column `cost`; None where there is none."""
    path = Path(folder) / "prices.parquet"
    if not path.exists():
        return None
    table = pd.read_parquet(path)
    return table[["product_id", "week", "cost"]] if {"product_id", "week", "cost"} <= set(table) else None
