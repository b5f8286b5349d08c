"""Policies replayed against each other: fed by each method's demand paths, by the textbook's rule, and by the oracle.

Each policy sees the forecast of each cutoff and nothing later; correlations between weeks come from validation
forecasts, and so does the spread of the textbook's errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from shelfcast.act.orders.inputs import terms_by_series, usual_prices
from shelfcast.act.orders.past.delivered import TEXTBOOK_METHOD, Delivered
from shelfcast.act.orders.past.replay import Demand, level_of, observed_demand, replay
from shelfcast.act.orders.paths import Correlations, Paths, draw_paths, week_correlations
from shelfcast.act.orders.policy import (
    RULES,
    Stock,
    Timing,
    check_horizon,
    order_up_to,
    sells_before_expiry,
    textbook_level,
)
from shelfcast.decision_options import Orders
from shelfcast.judge.intervals import relative_difference, with_blocks
from shelfcast.market.oracle import oracle
from shelfcast.panel.frame import SOLD, Panel

TEXTBOOK = "textbook"
AGAINST = "lightgbm"  # the policy that others are compared with
ORACLE_DRAWS = 100


@dataclass(frozen=True)
class Averages:
    """The textbook's forecasts: means (C, N, H) from each cutoff, and the deviation (N,) of a week's error."""

    mean: np.ndarray
    deviation: np.ndarray


def correlations_by_method(
    validation: pd.DataFrame, weights: dict[str, dict[str, float]], horizon: int
) -> dict[str, Correlations]:
    """`week_correlations` of each method; the ensemble's are its members', by their weights.

    Parameters
    ----------
    validation : forecast frames of all methods at validation cutoffs, of one situation, with `method`.
    weights : level -> method -> weight of the ensemble.
    """
    own = {name: week_correlations(rows, horizon) for name, rows in validation.groupby("method")}
    levels = {}
    for level, of_level in weights.items():
        members = [(weight, own[name].get(level, np.eye(horizon))) for name, weight in of_level.items()]
        levels[level] = sum(weight * matrix for weight, matrix in members)
    return own | {"ensemble": levels}


def oracle_correlations(truth: dict, panel: Panel, seed: int) -> Correlations:
    """The oracle's own correlations between weeks, from its forecasts at the validation cutoffs."""
    frame = oracle(
        truth,
        panel.cutoffs["validation"],
        panel.stores_by_location,
        draws=ORACLE_DRAWS,
        seed=seed,
        frequency=panel.frequency,
    )
    return week_correlations(frame[frame["unique_id"].isin(panel.frame["unique_id"])], panel.meta["horizon"])


def true_demand(truth: dict, panel: Panel) -> pd.DataFrame:
    """What shoppers of a simulated market wanted, stock-outs or not: unique_id in rows, weeks in columns."""
    products, stores = truth["products"]["product_id"], truth["stores"]["store_id"]
    parts = []
    for location, names in panel.stores_by_location.items():
        units = truth["wanted"][:, stores.isin(names).to_numpy()].sum(1)
        parts.append(pd.DataFrame(units, products + f"|{location}", truth["mondays"][: units.shape[1]]))
    return pd.concat(parts)


def with_demand(frame: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """A forecast frame whose actuals are demand, where a table tells of stock-outs; elsewhere it stays as it is."""
    if SOLD not in panel.frame:
        return frame
    demand = panel.frame.set_index(["unique_id", "ds"])["y"]
    return frame.assign(y=demand.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])).to_numpy())


def paths_by_cutoff(rows: pd.DataFrame, series: list[str], correlations: Correlations, options: Orders) -> list[Paths]:
    """Demand paths of these series from each cutoff of one method's forecast frame, in their order."""
    rows = rows[rows["unique_id"].isin(series)]
    drawn = [draw_paths(own, correlations, options.n_paths, options.seed) for _, own in rows.groupby("cutoff")]
    for paths in drawn:
        assert paths.series == sorted(series)
    return drawn


def averages(ahead: pd.DataFrame, past: pd.DataFrame, series: list[str]) -> Averages:
    """The textbook's inputs, from forecast frames of the eight-week average at test and at validation cutoffs.

    Series without an actual in the validation weeks have the median deviation.
    """
    rows = ahead[ahead["unique_id"].isin(series)].sort_values(["cutoff", "unique_id", "horizon"])
    mean = rows["mean"].to_numpy().reshape(rows["cutoff"].nunique(), len(series), -1)
    past = past[past["y"].notna()]
    squared = ((past["y"] - past["mean"]) ** 2).groupby(past["unique_id"]).mean()
    deviation = np.sqrt(squared).reindex(series)
    return Averages(mean, deviation.fillna(deviation.median()).fillna(1.0).to_numpy())


@dataclass(frozen=True)
class Replayed:
    """rows : of `replay_policies`. correlations : by method. demand : what was replayed."""

    rows: pd.DataFrame
    correlations: dict[str, Correlations]
    demand: Demand


def replay_delivered(
    delivered: Delivered,
    panel: Panel,
    options: Orders,
    lead_times: list[int],
    terms: pd.DataFrame | None = None,
    truth: dict | None = None,
) -> Replayed:
    """Replay the test weeks by every forecast that was delivered, in one situation.

    Parameters
    ----------
    terms : the retailer's table, see `inputs.read_given`. truth : of a simulated market, whose demand is then met, and
        whose oracle takes part.
    """
    correlations = correlations_by_method(delivered.validation, delivered.weights, panel.meta["horizon"])
    wanted = None
    if truth is not None:
        wanted = true_demand(truth, panel)
        correlations["oracle"] = oracle_correlations(truth, panel, options.seed)
    test = dict(list(delivered.test.groupby("method")))
    average = with_demand(test.get(TEXTBOOK_METHOD, test[options.method]), panel)
    per_week = panel.frequency.per_week  # forecasts are a week apart, of days too
    first = average[average["cutoff"] == average["cutoff"].min()]
    demand = observed_demand(average, first, wanted, per_week)
    own_terms = terms_by_series(demand.series, options, usual_prices(panel), terms, not panel.meta["amounts"], per_week)
    names = [name for name in test if name != TEXTBOOK_METHOD or name == options.method]
    paths = {name: paths_by_cutoff(test[name], demand.series, correlations.get(name, {}), options) for name in names}
    past = delivered.validation[delivered.validation["method"] == TEXTBOOK_METHOD]
    textbook = averages(average, past, demand.series) if len(past) and TEXTBOOK_METHOD in test else None
    rows = replay_policies(paths, textbook, demand, own_terms, options, lead_times, per_week)
    return Replayed(rows, correlations, demand)


def replay_policies(
    paths: dict[str, list[Paths]],
    textbook: Averages | None,
    demand: Demand,
    terms: pd.DataFrame,
    options: Orders,
    lead_times: list[int],
    apart: int = 1,
) -> pd.DataFrame:
    """Replay every policy for both rules and each lead time.

    Parameters
    ----------
    paths : policy -> paths from each cutoff. textbook : None where there is no average to feed it.
    apart : periods from one cutoff to the next. Reviews are at cutoffs, so that a shorter review period is replayed as
        the smallest multiple of it that is as long.

    Returns
    -------
    The rows of `replay.replay` with policy, rule, lead_time and level.

    Raises
    ------
    SettingsError : a lead time and the review period are longer than the forecasts.
    """
    names = [*paths, *([TEXTBOOK] if textbook else [])]
    runs = [(lead, rule, name) for lead in lead_times for rule in RULES for name in names]
    n_cutoffs, parts = len(next(iter(paths.values()))), []
    for lead, rule, name in tqdm(runs, "replay", disable=None):
        timing = Timing(lead, apart * -(-options.review_period // apart))
        check_horizon(timing, next(iter(paths.values()))[0].demand.shape[-1])
        feed = _Feed(paths.get(name), textbook, terms, timing, rule, options.service_level)
        rows = replay(demand, feed.level, timing, terms, n_cutoffs, feed.sells, apart)
        parts.append(rows.assign(policy=name, rule=rule, lead_time=lead))
    replayed = pd.concat(parts, ignore_index=True)
    return replayed.assign(level=level_of(replayed["unique_id"]))


@dataclass(frozen=True)
class _Feed:
    """One policy's levels from each cutoff."""

    paths: list[Paths] | None  # None for the textbook
    textbook: Averages | None
    terms: pd.DataFrame
    timing: Timing
    rule: str
    service_level: float

    def level(self, cutoff: int, stock: Stock) -> np.ndarray:
        if self.paths is not None:
            paths = self.paths[cutoff]
            return order_up_to(paths, self.terms, self.timing, self.rule, self.service_level, stock).level
        mean = self.textbook.mean[cutoff, :, : self.timing.protected].sum(1)
        return textbook_level(mean, self.textbook.deviation, self.terms, self.timing, self.rule, self.service_level)

    def sells(self, cutoff: int) -> np.ndarray:
        if self.paths is not None:
            return sells_before_expiry(self.paths[cutoff], self.terms, self.timing.lead)
        weekly = self.textbook.mean[cutoff].mean(1)
        until = self.timing.lead + self.terms["shelf_life"].to_numpy(float)
        return np.where(np.isnan(until), np.inf, weekly * until)


def cost_differences(
    replayed: pd.DataFrame, against: str = AGAINST, block_weeks: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Relative difference in cost of each policy to one of them, with 90 % intervals of a paired block bootstrap.

    Products (with all their regions) and blocks of weeks are resampled, see `judge.intervals`.

    Parameters
    ----------
    replayed : of `replay_policies`, with `situation`.

    Returns
    -------
    situation, level, rule, lead_time, policy, estimate, low, high; no rows where nobody is `against`.
    """
    found = []
    for keys, own in with_blocks(replayed, block_weeks).groupby(
        ["situation", "level", "rule", "lead_time"], sort=False
    ):
        costs = own.pivot_table(
            index=["policy", "product"], columns="block", values="cost", aggfunc="sum", fill_value=0
        )
        names = costs.index.unique("policy")
        for name in names.drop(against, errors="ignore") if against in names else []:
            ours, theirs = costs.loc[name].to_numpy(), costs.loc[against].to_numpy()
            found.append((*keys, name, *relative_difference(ours, theirs, seed=seed)))
    return pd.DataFrame(found, columns=["situation", "level", "rule", "lead_time", "policy", "estimate", "low", "high"])
