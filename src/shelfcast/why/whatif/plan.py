"""Another plan for the weeks after a cutoff, with every column that follows from it.

Columns are those of features.prices and features.promotions. Axes: P products, L locations (chain first), H weeks ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.panel.frame import Panel
from shelfcast.why.whatif.changes import (
    CHANNEL,
    PROMOTION,
    Change,
    check,
    coming_weeks,
    recorded_shares,
)

SAME = 1e-9  # difference of logs below which two prices are one
LEAST = 1e-9


@dataclass(frozen=True)
class Plan:
    """The planned columns of the weeks after a cutoff, as arrays.

    values : column of `panel.planned` -> (P, L, H), NaN where the plan does not reach.
    rows : (P, L, H) numbers of the rows of `panel.frame`.
    past_price : (P, L, T) logs of the planned prices up to the cutoff, NaN where there are none; None without a table.
    price_level : (P, L) log of the usual price. share, recorded : (L,) what regions weigh in the chain's price, and in
        its promotions; 0 for the chain.
    mix : channel -> (P,) its share where the product is promoted in all stores, by the weeks so far.
    category : (P,) number of the category. units : (P,) of the training weeks.
    """

    products: pd.Index
    locations: list[str]
    weeks: pd.DatetimeIndex
    values: dict[str, np.ndarray]
    rows: np.ndarray
    past_price: np.ndarray | None
    price_level: np.ndarray | None
    share: np.ndarray
    recorded: np.ndarray
    mix: dict[str, np.ndarray]
    category: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, panel: Panel, cutoff: pd.Timestamp | None = None) -> Plan:
        """The present plan of a panel; see `coming_weeks` for the cutoff."""
        ahead, products, locations = coming_weeks(panel, cutoff), panel.products.index, list(panel.locations.index)
        weeks = panel.frequency.between(panel.weeks[0], ahead[-1])
        keys = pd.MultiIndex.from_frame(panel.frame[["product_id", "location", "ds"]])
        rows = keys.get_indexer(pd.MultiIndex.from_product([products, locations, weeks]))
        rows = rows.reshape(len(products), len(locations), len(weeks))
        past, coming = rows[..., : -len(ahead)], rows[..., -len(ahead) :]

        def read(name: str, at: np.ndarray) -> np.ndarray:
            return panel.frame[name].to_numpy(float)[at]

        price_level = read("price_level", rows[..., 0]) if "price" in panel.planned else None
        category = panel.products.get("category", pd.Series("", products)).fillna("")
        return cls(
            products=products,
            locations=locations,
            weeks=ahead,
            values={name: read(name, coming) for name in panel.planned},
            rows=coming,
            past_price=None if price_level is None else read("price", past) + price_level[..., None],
            price_level=price_level,
            share=_weights(panel.locations["share"]),
            recorded=_weights(panel.locations["share"] * recorded_shares(panel)),
            mix=_mix({name: read(name, past[:, 0]) for name in panel.planned if name.startswith(PROMOTION)}),
            category=pd.factorize(category)[0],
            units=panel.products["units"].to_numpy(float),
        )

    def changed(self, changes: Sequence[Change]) -> Plan:
        """The plan with `changes`, which are applied one after the other; `check` them before.

        Raises
        ------
        ValueError : a stated share of any channel that the channels' shares do not allow.
        """
        plan = replace(self, values={name: x.copy() for name, x in self.values.items()})
        for change in changes:
            at = plan._where(change)
            if change.states_price:
                plan._state_price(change, at)
            if change.promotion:
                plan._state_promotion(change.shares, at)
        if "price_cut" in plan.values:
            plan.values["price_cut"] = self._cuts(plan)
        if "category_promotion" in plan.values:
            plan.values["category_promotion"] += self._of_others(plan)
        return plan

    @property
    def log_price(self) -> np.ndarray:
        """(P, L, H) logs of planned prices; where the plan does not reach, of the last one before, or of the usual one."""
        price = self.values["price"] + self.price_level[..., None]
        every = np.concatenate([self.past_price, price], -1)
        last = np.maximum.accumulate(np.where(np.isnan(every), -1, np.arange(every.shape[-1])), -1)
        filled = np.where(last >= 0, np.take_along_axis(every, np.maximum(last, 0), -1), self.price_level[..., None])
        return filled[..., -price.shape[-1] :]

    @property
    def promotions(self) -> list[str]:
        """The columns of promotions that can be stated: any channel, then each; none without a table."""
        own = [name for name in self.values if name.startswith(CHANNEL)]
        return [PROMOTION, *own] if PROMOTION in self.values else []

    def differs(self, other: Plan) -> np.ndarray:
        """(P, L, H) whether any column differs."""
        pairs = ((x, other.values[name]) for name, x in self.values.items())
        return np.any([~np.isclose(x, y, rtol=0, atol=SAME, equal_nan=True) for x, y in pairs], 0)

    def _where(self, change: Change) -> tuple[np.ndarray, ...]:
        """Rows of products, locations and weeks that a change states, for indexing (P, L, H) arrays."""
        everywhere = CHAIN in change.locations
        locations = range(len(self.locations)) if everywhere else map(self.locations.index, change.locations)
        return np.ix_(self.products.get_indexer(change.products), list(locations), self.weeks.get_indexer(change.weeks))

    def _state_price(self, change: Change, at: tuple[np.ndarray, ...]) -> None:
        before = self.log_price
        after = before.copy()
        after[at] = np.log(change.price) if change.price is not None else before[at] + np.log(change.price_factor)
        after = np.where(np.abs(after - before) < SAME, before, after)
        stated = self._with_chain(at)
        if not self._is_chain(at):
            after[:, 0] += np.einsum("plh,l->ph", after - before, self.share)
        self.values["price"][stated] = (after - self.price_level[..., None])[stated]
        self.values["price_known"][stated] = 1.0

    def _state_promotion(self, stated: dict[str, float], at: tuple[np.ndarray, ...]) -> None:
        names = self.promotions
        before = {name: np.nan_to_num(self.values[name]) for name in names}
        now = {name: x[at] for name, x in before.items()}
        mix = {name: self.mix[name][at[0]] for name in names[1:]}
        new = _shares(now, stated, mix)
        rows = self._with_chain(at)
        for name, shares in new.items():
            after = before[name].copy()
            after[at] = shares
            if not self._is_chain(at):
                moved = np.einsum("plh,l->ph", after - before[name], self.recorded)
                after[:, 0] = np.clip(before[name][:, 0] + moved, 0, 1)
            self.values[name][rows] = after[rows]
        self.values["promotion_known"][rows] = 1.0

    def _is_chain(self, at: tuple[np.ndarray, ...]) -> bool:
        return 0 in at[1]

    def _with_chain(self, at: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """The rows, and those of the chain, which moves with its regions."""
        return np.ix_(at[0].ravel(), np.union1d(at[1].ravel(), [0]), at[2].ravel())

    def _cuts(self, plan: Plan) -> np.ndarray:
        """(P, L, H) logs of the other plan's prices over the regular ones, the medians of those so far."""
        cut = self.values["price_cut"].copy()
        moved = ~np.isclose(self.values["price"], plan.values["price"], rtol=0, atol=SAME, equal_nan=True)
        series = np.nonzero(moved.any(-1))  # products, locations
        past, level = self.past_price[series], self.price_level[series][:, None]
        old, new = (np.concatenate([past, x.values["price"][series] + level], -1) for x in (self, plan))
        for h in range(len(self.weeks)):
            end = past.shape[-1] + h + 1
            stated_first = new[:, end - 1] - _median(new[:, :end])
            step = new[:, end - 1] - old[:, end - 1] - (_median(new[:, :end]) - _median(old[:, :end]))
            cut[(*series, h)] = np.where(np.isnan(old[:, end - 1]), stated_first, cut[(*series, h)] + step)
        return cut

    def _of_others(self, plan: Plan) -> np.ndarray:
        """(P, L, H) what is added to the mean promotion of the category's other products."""
        before, after = (np.nan_to_num(x.values[PROMOTION]) for x in (self, plan))
        moved = self.units[:, None, None] * (after - before)
        n = self.category.max() + 1
        total = np.bincount(self.category, self.units, n)[self.category] - self.units
        by_category = np.zeros((n, *moved.shape[1:]))
        np.add.at(by_category, self.category, moved)
        return (by_category[self.category] - moved) / np.maximum(total, LEAST)[:, None, None]


def planned(panel: Panel, changes: Sequence[Change], cutoff: pd.Timestamp | None = None) -> Panel:
    """The panel with another plan for the weeks after a cutoff; nothing but columns of the plan differs.

    The chain's price and promotions move by the regions' shares. Where one region of a week is stated whose plan was not
    known, the chain counts the others as before: at the last price, without promotion. A stated share of stores in any
    channel keeps the mix of channels.

    Parameters
    ----------
    cutoff : the last observed week; the panel's where none is given.

    Raises
    ------
    ValueError : see `check` and `Plan.changed`.
    """
    check(panel, changes, cutoff)
    plan = Plan.of(panel, cutoff)
    other = plan.changed(changes)
    frame = panel.frame.copy()
    for name, x in other.values.items():
        column = frame[name].to_numpy(float, copy=True)
        column[plan.rows] = x
        frame[name] = column
    return replace(panel, frame=frame)


def _median(x: np.ndarray) -> np.ndarray:
    """Over the last axis without NaN; NaN where there is nothing else."""
    empty = np.isnan(x).all(-1)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[..., None], 0, x), -1))


def _weights(shares: pd.Series) -> np.ndarray:
    """(L,) shares of the regions, which add up to 1; 0 for the chain."""
    weight = np.where(shares.index == CHAIN, 0.0, shares.fillna(0).to_numpy(float))
    return weight / max(weight.sum(), LEAST)


def _mix(past: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Channel -> (P,) its mean share over that of any channel, by the weeks so far; that of all where there is none.

    past : column -> (P, T), of the chain.
    """
    sums = {name: np.nansum(x, -1) for name, x in past.items()}
    promoted = sums.get(PROMOTION)
    return {
        name: np.where(promoted > LEAST, x / np.maximum(promoted, LEAST), x.sum() / max(promoted.sum(), LEAST))
        for name, x in sums.items()
        if name.startswith(CHANNEL)
    }


def _shares(now: dict[str, np.ndarray], stated: dict[str, float], mix: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shares of stores in any channel and by channel, once some are stated.

    Any channel is at least the largest channel (all in the same stores) and at most their sum (all in different ones).

    Parameters
    ----------
    now : column -> present shares. stated : column -> share. mix : channel -> share where all stores promote.
    """
    promotion, names = now[PROMOTION], list(mix)
    new = {name: np.full_like(promotion, stated.get(name, np.nan)) for name in names}
    if not set(stated) & set(names):
        share = stated[PROMOTION]
        scale = share / np.maximum(promotion, LEAST)
        return {PROMOTION: np.full_like(promotion, share)} | {
            name: np.minimum(np.where(promotion > LEAST, now[name] * scale, mix[name] * share), share) for name in names
        }
    new = {name: np.where(np.isnan(x), now[name], x) for name, x in new.items()}
    least = np.max(list(new.values()), 0)
    most = np.minimum(np.sum(list(new.values()), 0), 1.0)
    if PROMOTION in stated and ((stated[PROMOTION] < least - SAME) | (stated[PROMOTION] > most + SAME)).any():
        raise ValueError(
            f"a promotion in {stated[PROMOTION]:g} of the stores does not fit its channels: these take part in at least "
            f"{least.max():g} and at most {most.min():g} of them. Leave `promotion` out, or state fitting channels."
        )
    return {PROMOTION: np.clip(stated.get(PROMOTION, promotion), least, most)} | new
