"""Order-up-to levels from demand paths, and the orders that follow from them.

Stock is reviewed every R weeks; an order arrives L weeks later. What is ordered now has to last until the next order
arrives, for L + R weeks: the order-up-to level is read from the paths' sums over these weeks. Stock on hand and on
order counts towards it.

- `cost`: the smallest level that sums do not exceed with probability underage / (underage + overage), the newsvendor's
  ratio: underage is the margin that a lost sale costs, overage what a unit costs in stock for R weeks.
- `fill_rate`: the smallest ratio, one for all products of a location, with which they together sell the wanted share
  of their demand. A common ratio does this with the least stock (Thonemann, Brown & Hausman 2002, "Easy quantification
  of improved spare parts inventory policies"), and whole units of slow products do not add up to more than is wanted.

References: Silver, Pyke & Thomas (2017), "Inventory and production management in supply chains", chapter 7.

Axes: N series, D draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.act.orders.paths import Paths
from shelfcast.validate import SettingsError

RULES = ("fill_rate", "cost")


class Timing(NamedTuple):
    """Weeks from an order to its arrival, and from one order to the next."""

    lead: int
    review: int = 1

    @property
    def protected(self) -> int:
        """Weeks that an order has to last for."""
        return self.lead + self.review


class Levels(NamedTuple):
    """Per series (N,): order-up-to level, expected share of demand that it sells, expected units to the next arrival."""

    level: np.ndarray
    fill: np.ndarray
    demand: np.ndarray


def check_horizon(timing: Timing, horizon: int) -> None:
    """Refuse a lead time and review period that the forecast does not reach over."""
    if timing.protected > horizon:
        raise SettingsError(
            f"orders: lead_time ({timing.lead}) and review_period ({timing.review}) are {timing.protected} weeks together, "
            f"but forecasts reach {horizon} weeks ahead. Shorten them, or raise prepare.horizon to {timing.protected} "
            "and run again."
        )


def critical_ratio(terms: pd.DataFrame, timing: Timing) -> np.ndarray:
    """Underage over underage and overage of each series (N,), by `lost_sale_cost` and `holding_cost` of `terms`."""
    underage = terms["lost_sale_cost"].to_numpy(float)
    return underage / (underage + timing.review * terms["holding_cost"].to_numpy(float))


def order_up_to(
    paths: Paths,
    terms: pd.DataFrame,
    timing: Timing,
    rule: str,
    service_level: float,
    position: np.ndarray | None = None,
) -> Levels:
    """Order-up-to levels by demand paths.

    Worked example: sums over the protected weeks are 0, 1, 2 and 9 with the same probability. A ratio of 3 / 4 gives
    the level 2, one above it 9.

    Parameters
    ----------
    terms : a row for each of the paths' series, with `lost_sale_cost`, `holding_cost` and `whole`, whether units are
        (see `inputs.terms_by_series`).
    rule : of `RULES`.
    service_level : share of demand to be sold from stock, for `fill_rate`.
    position : (N,) units on hand and on order, which sell too where they are more than the level. Where it is None or
        NaN, stock is taken to be no more than the level.

    Raises
    ------
    SettingsError : weeks beyond the paths, or an unknown rule.
    """
    check_horizon(timing, paths.demand.shape[-1])
    if rule not in RULES:
        raise SettingsError(f"orders: rule is {rule!r}. Choose of {', '.join(RULES)}.")
    sums, before = paths.sums(timing.protected), paths.sums(timing.lead)
    whole = terms["whole"].to_numpy(bool)
    at_least = np.zeros(len(sums)) if position is None else np.nan_to_num(position)
    if rule == "cost":
        rank = np.ceil(critical_ratio(terms, timing) * sums.shape[1] - 1e-9).astype(int) - 1
        level = _up(sums[np.arange(len(sums)), np.maximum(rank, 0)], whole)
    else:
        location = pd.Series(paths.series).str.rsplit("|", n=1).str[1].to_numpy()
        level = np.empty(len(sums))
        for name in np.unique(location):
            own = location == name
            parts = (x[own] for x in (sums, before, at_least, whole))
            level[own] = _level_for_fill(*parts, service_level)
    demand = sums.mean(1) - before.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fill = np.where(demand > 0, 1 - _lost(sums, before, np.maximum(level, at_least)) / demand, 1.0)
    return Levels(level, fill, sums.mean(1))


def _up(level: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole, np.ceil(level - 1e-9), level)


def _lost(sums: np.ndarray, before: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Expected units lost in the review period (N,): what exceeds the level then, less what exceeded it before.

    Sales that the lead time lost already are not lost again (Silver, Pyke & Thomas 2017, section 7.9).
    """
    excess = [np.maximum(part - level[:, None], 0).mean(1) for part in (sums, before)]
    return excess[0] - excess[1]


def _level_for_fill(
    sums: np.ndarray, before: np.ndarray, at_least: np.ndarray, whole: np.ndarray, service_level: float
) -> np.ndarray:
    """The smallest probability whose quantiles of all sums sell the wanted share of their demand; these quantiles (N,)."""
    demand = (sums.mean(1) - before.mean(1)).sum()
    low, high = 0, sums.shape[1] - 1
    while low < high:
        middle = (low + high) // 2
        lost = _lost(sums, before, np.maximum(_up(sums[:, middle], whole), at_least)).sum()
        low, high = (low, middle) if lost <= (1 - service_level) * demand else (middle + 1, high)
    return _up(sums[:, low], whole)


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
        factor = stats.norm.ppf(critical_ratio(terms, timing))
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
    notes[(quantity > missing) & (minimum > missing)] = "raised to the minimum order"
    notes[quantity > most] = "cut to what sells before it expires"
    notes[(quantity > 0) & (most == 0)] = "the smallest order is more than sells before it expires"
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
