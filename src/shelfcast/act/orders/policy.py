"""How much to order, by demand paths: what will be missing when an order arrives.

Stock is reviewed every R weeks; an order arrives L weeks later and has to last until the next one arrives. On each path
the stock on hand and on order meets the demand of the lead time, and what it does not hold is lost. What the R weeks
after that need beyond the stock that is left is the order's need, X units. One unit more is sold where X is larger, and
otherwise lies in stock: for R weeks, and longer where even the next order would not want it (a promotion has ended).

- `cost`: units are added as long as the margin they are expected to earn exceeds what they cost in stock. In the first R
  weeks alone this is the newsvendor's ratio.
- `fill_rate`: the same, with the one ratio of margin and cost, common to all products of a location, at which they
  together sell the wanted share of their demand. A common ratio does this with the least stock (Thonemann, Brown &
  Hausman 2002), and whole units of slow products do not add up to more than is wanted.

The order-up-to level is the stock on hand and on order with the order. Where stock is not known, levels are read from
the paths' sums over L + R weeks, as if stock was never above the level.

References: Silver, Pyke & Thomas (2017), "Inventory and production management in supply chains", chapter 7; Thonemann,
Brown & Hausman (2002), "Easy quantification of improved spare parts inventory policies".

Axes: N series, D draws, J candidates of a level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.act.orders.paths import Paths
from shelfcast.language import N_
from shelfcast.validate import SettingsError

RULES = ("fill_rate", "cost")
# probabilities of the need that are candidates of a level: dense where levels usually lie
CANDIDATES = np.r_[0.05:0.8:0.15, 0.8:0.9:0.025, 0.9:1.0:0.0125, 0.995, 1.0]


class Timing(NamedTuple):
    """Weeks from an order to its arrival, and from one order to the next."""

    lead: int
    review: int = 1

    @property
    def protected(self) -> int:
        """Weeks that an order has to last for."""
        return self.lead + self.review


class Stock(NamedTuple):
    """on_hand : (N,) units now. arriving : (N, L) units that arrive at the start of each week of the lead time."""

    on_hand: np.ndarray
    arriving: np.ndarray

    @property
    def position(self) -> np.ndarray:
        """(N,) units on hand and on order."""
        return self.on_hand + self.arriving.sum(1)


class Levels(NamedTuple):
    """Per series (N,): order-up-to level, share of demand after arrival that is then sold, expected units until then."""

    level: np.ndarray
    fill: np.ndarray
    demand: np.ndarray


class _Needs(NamedTuple):
    """What an order is needed for, on each path.

    need : (N, D) units beyond `base`. lost_before : (N, D) units of the need that the lead time loses already; zero where
    stock is known. base : (N,) units on hand and on order, zero where stock is not known. after : (N,) expected demand of
    the review period. later : (N, D, W) weeks after it, as far as forecasts reach.
    """

    need: np.ndarray
    lost_before: np.ndarray
    base: np.ndarray
    after: np.ndarray
    later: np.ndarray


def check_horizon(timing: Timing, horizon: int, noun: str = "week") -> None:
    """Refuse a lead time and review period that the forecast does not reach over; `noun` : what periods are called."""
    if timing.protected > horizon:
        raise SettingsError(
            f"orders: lead_time ({timing.lead}) and review_period ({timing.review}) are {timing.protected} {noun}s together, "
            f"but forecasts reach {horizon} {noun}s ahead. Shorten them, or raise prepare.horizon to {timing.protected} "
            "and run again."
        )


def cost_ratio(terms: pd.DataFrame, timing: Timing) -> np.ndarray:
    """Underage over overage of each series (N,): the margin of a unit over its cost in stock between two reviews."""
    return (terms["lost_sale_cost"] / (timing.review * terms["holding_cost"])).to_numpy(float)


def order_up_to(
    paths: Paths, terms: pd.DataFrame, timing: Timing, rule: str, service_level: float, stock: Stock | None = None
) -> Levels:
    """Order-up-to levels by demand paths; see the module's text.

    Worked example: no stock, no lead time, and a need of 0, 1, 2 or 9 with the same probability. At a ratio of 3 : 1
    the level is 2, at a higher one 9.

    Parameters
    ----------
    terms : a row for each of the paths' series, with `lost_sale_cost`, `holding_cost` and `whole`, whether units are
        (see `inputs.terms_by_series`).
    rule : of `RULES`.
    service_level : share of demand to be sold from stock, for `fill_rate`.
    stock : None where it is not known.

    Raises
    ------
    SettingsError : weeks beyond the paths, or an unknown rule.
    """
    check_horizon(timing, paths.demand.shape[-1])
    if rule not in RULES:
        raise SettingsError(f"orders: rule is {rule!r}. Choose of {', '.join(RULES)}.")
    needs = _needs(paths, timing, stock)
    ranks = np.unique(np.ceil(CANDIDATES * paths.demand.shape[1] - 1e-9).astype(int) - 1)
    candidates = np.sort(needs.need, axis=1)[:, ranks]  # N, J
    candidates = np.where(terms["whole"].to_numpy(bool)[:, None], np.ceil(candidates - 1e-4), candidates)
    ratios = cost_ratio(terms, timing)
    wanted = ratios / (1 + ratios) if rule == "cost" else np.full(len(ratios), service_level)
    enough = _ratio_at(needs, candidates, wanted)
    if rule == "fill_rate":
        lost = np.stack([_lost(needs, column) for column in candidates.T], axis=1)  # N, J
        location = pd.Series(paths.series).str.rsplit("|", n=1).str[1].to_numpy()
        for name in np.unique(location):
            own = location == name
            ratios[own] = _ratio_for_fill(enough[own], lost[own], (1 - service_level) * needs.after[own].sum())
    chosen = (enough < ratios[:, None]).sum(1).clip(max=len(ranks) - 1)
    row = np.arange(len(chosen))
    with np.errstate(divide="ignore", invalid="ignore"):
        fill = np.where(needs.after > 0, 1 - _lost(needs, candidates[row, chosen]) / needs.after, 1.0)
    return Levels(needs.base + candidates[row, chosen], fill, paths.sums(timing.protected).mean(1))


def _needs(paths: Paths, timing: Timing, stock: Stock | None) -> _Needs:
    demand, lead, until = paths.demand, timing.lead, timing.protected
    after, later = demand[..., lead:until].sum(-1), demand[..., until:]
    if stock is None:
        before = demand[..., :lead].sum(-1)
        return _Needs(before + after, before, np.zeros(len(demand)), after.mean(1), later)
    left = np.repeat(stock.on_hand[:, None], demand.shape[1], axis=1).astype(np.float32)
    for week in range(lead):
        left = np.maximum(left + stock.arriving[:, [week]] - demand[..., week], 0)
    return _Needs(
        (after - left).astype(np.float32), np.zeros((len(demand), 1), np.float32), stock.position, after.mean(1), later
    )


def _lost(needs: _Needs, quantity: np.ndarray) -> np.ndarray:
    """Expected units (N,) that the review period loses: what its need exceeds the order by, less what was lost before."""
    order = np.maximum(quantity, 0).astype(np.float32)[:, None]
    in_all, before = (np.maximum(part - order, 0).mean(1) for part in (needs.need, needs.lost_before))
    return in_all - before


def _ratio_at(needs: _Needs, candidates: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The ratio of margin and cost up to which each candidate is enough (N, J); it rises with the candidates.

    One unit more lies in stock where the need is met, and for each later week in which the stock that is left is at
    least what that week wants, which is its quantile at `wanted` (N,), and is not sold.
    """
    n_paths = needs.need.shape[1]
    rank = np.ceil(wanted * n_paths - 1e-9).astype(int).clip(1, n_paths) - 1
    row = np.arange(len(rank))
    later = [needs.later[..., w] for w in range(needs.later.shape[-1])]
    limits = [np.maximum(np.sort(week, axis=1)[row, rank][:, None], week) for week in later]
    ratios = np.empty(candidates.shape)
    for j, quantity in enumerate(candidates.astype(np.float32).T):
        left = quantity[:, None] - needs.need
        lies = left >= 0
        weeks = lies.mean(1)
        sold = 1 - weeks
        for week, limit in zip(later, limits, strict=True):
            lies &= left >= limit
            weeks += lies.mean(1)
            left -= week
        ratios[:, j] = weeks / np.maximum(sold, 1e-9)
    return np.maximum.accumulate(ratios, axis=1)


def _ratio_for_fill(enough: np.ndarray, lost: np.ndarray, allowed: float) -> float:
    """The smallest common ratio at which no more than `allowed` units of all series are expected to be lost."""
    low, high = np.log(1e-3), np.log(1e6)
    row = np.arange(len(lost))
    for _ in range(30):
        middle = (low + high) / 2
        chosen = (enough < np.exp(middle)).sum(1).clip(max=lost.shape[1] - 1)
        low, high = (low, middle) if lost[row, chosen].sum() <= allowed else (middle, high)
    return float(np.exp(high))


def textbook_level(
    mean: np.ndarray, deviation: np.ndarray, terms: pd.DataFrame, timing: Timing, rule: str, service_level: float
) -> np.ndarray:
    """Order-up-to levels (N,) by mean and normal safety stock, as planners are taught: the peer of `order_up_to`.

    Parameters
    ----------
    mean : (N,) units of all protected weeks together. deviation : (N,) standard deviation of a week's forecast error;
        weeks are taken as independent, so that of the sum is by sqrt(L + R) larger.
    """
    spread = np.maximum(deviation, 1e-9) * np.sqrt(timing.protected)
    if rule == "cost":
        ratio = cost_ratio(terms, timing)
        factor = stats.norm.ppf(ratio / (1 + ratio))
    else:  # the factor whose normal loss leaves the wanted share of the review period's demand
        grid = np.linspace(-4, 4, 801)
        loss = stats.norm.pdf(grid) - grid * stats.norm.sf(grid)  # falls
        wanted = (1 - service_level) * mean * timing.review / timing.protected / spread
        factor = np.interp(-wanted, -loss, grid)
    return np.ceil(np.maximum(mean + factor * spread, 0) - 1e-9)


def orders(
    level: np.ndarray, position: np.ndarray, terms: pd.DataFrame, sells: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """Units to order (N,), and what kept an order from its level.

    What is missing is raised to the minimum order and to whole packs. Where goods expire, an order and the stock before
    it are no more than what sells until then, in whole packs: possibly nothing.

    Worked example: level 20, 9 in stock, packs of 4: 11 are missing, 12 are ordered; if 15 sell before goods expire,
    6 may be added, and 4 are ordered.

    Parameters
    ----------
    level, position : (N,) order-up-to level; units on hand and on order.
    terms : with `pack_size` (> 0) and `min_order` (>= 0).
    sells : (N,) expected units until an order now expires, inf where it does not; None where nothing does.
    """
    pack, minimum = terms["pack_size"].to_numpy(float), terms["min_order"].to_numpy(float)
    missing = np.maximum(level - position, 0)
    quantity = np.where(missing > 0, np.maximum(missing, minimum), 0)
    quantity = np.ceil(quantity / pack - 1e-9) * pack
    limit = np.full(len(level), np.inf) if sells is None else np.maximum(sells - position, 0)
    most = np.where(np.isfinite(limit), np.floor(np.where(np.isfinite(limit), limit, 0) / pack + 1e-9) * pack, np.inf)
    most = np.where(most < minimum, 0, most)
    notes = np.full(len(level), "", dtype=object)
    notes[(quantity > missing) & (minimum > missing)] = N_("raised to the minimum order")
    notes[quantity > most] = N_("cut to what sells before it expires")
    notes[(quantity > 0) & (most == 0)] = N_("the smallest order is more than sells before it expires")
    return np.minimum(quantity, most), notes.tolist()


def sells_before_expiry(paths: Paths, terms: pd.DataFrame, lead: int) -> np.ndarray:
    """Expected units (N,) from now until an order that is placed now expires; inf where `shelf_life` (weeks) is NaN.

    Weeks beyond the forecast sell what its mean week does.
    """
    weeks = paths.demand.mean(1)  # N, H
    horizon = weeks.shape[1]
    until = lead + terms["shelf_life"].to_numpy(float)
    whole = np.minimum(np.nan_to_num(until), horizon).astype(int)
    inside = np.where(np.arange(horizon) < whole[:, None], weeks, 0).sum(1)
    beyond = np.maximum(until - horizon, 0) * weeks.mean(1)
    return np.where(np.isnan(until), np.inf, inside + beyond)
