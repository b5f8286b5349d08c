"""Which stores, and so which locations, lack their rows in a week in which they usually sell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.quality.table import Count, week_text
from shelfcast.panel.axes.weeks import Weeks

ENOUGH = 8  # usual rows of a store and week, from which on hardly any cannot be chance
GAPS = 0.1  # of a store's weeks; with more gaps than that it just does not sell every week
MOST_SILENT = 0.2  # of a location's usual units; from here on its week is missing
CLOSED = 8  # last training weeks; a store without rows in all of them has closed


def store_array(store_weeks: pd.DataFrame, fact: str, n_weeks: int) -> pd.DataFrame:
    """A fact of `weekly.store_weeks` as a frame of stores x numbers of weeks, 0 where there is no row."""
    wide = store_weeks.pivot(index="store_id", columns="week", values=fact)
    return wide.reindex(columns=range(n_weeks)).fillna(0.0)


def silent_stores(rows: np.ndarray) -> np.ndarray:
    """(S, T) bool: a store has no rows in a week, though it usually has many, every week, and has some later on.

    A store that never sells again has closed, and its weeks are not missing.

    Parameters
    ----------
    rows : (S, T), weeks that the whole chain misses left out.
    """
    sells, inside = rows > 0, _lives(rows)
    silent = inside & ~sells
    n_gaps = (silent[:, 1:] & ~silent[:, :-1]).sum(1)
    usual = _median_week(rows)
    often = (usual >= ENOUGH) & (n_gaps <= GAPS * inside.sum(1))
    return silent & often[:, None]


def _lives(rows: np.ndarray) -> np.ndarray:
    """(S, T) bool: from a store's first week with rows to its last one."""
    sells = rows > 0
    return np.maximum.accumulate(sells, 1) & np.maximum.accumulate(sells[:, ::-1], 1)[:, ::-1]


def _median_week(x: np.ndarray) -> np.ndarray:
    """(S,) median over a store's weeks above zero; 0 without any."""
    n, largest, store = (x > 0).sum(1), -np.sort(-x, 1), np.arange(len(x))
    return np.where(n > 0, (largest[store, (n - 1) // 2] + largest[store, n // 2]) / 2, 0.0)


def observed_weeks(
    rows: pd.DataFrame,
    units: pd.DataFrame,
    location: pd.Series,
    n_locations: int,
    missing: np.ndarray,
    holiday: np.ndarray,
) -> tuple[np.ndarray, pd.DataFrame]:
    """(L, T) whether a location's week was observed, and (S, T) which stores are silent, see `silent_stores`.

    It was not where its silent stores usually sell a large part of its units, but for weeks with a holiday, when many
    stores may well be closed.

    Parameters
    ----------
    rows, units : S stores x T weeks, of all categories. location : store -> number of its location, 1 or higher.
    missing : (T,) weeks that the whole chain misses. holiday : (T,) weeks with a public holiday.
    """
    kept = ~missing
    silent, usual = np.zeros(rows.shape, bool), np.zeros(rows.shape)
    silent[:, kept] = silent_stores(rows.to_numpy()[:, kept])
    usual[:, kept] = _lives(rows.to_numpy()[:, kept])
    usual *= _median_week(units.to_numpy())[:, None]
    inside = np.equal.outer(np.arange(n_locations), location.reindex(rows.index).to_numpy()).astype(float)
    inside[0] = 1.0
    share = inside @ (usual * silent) / np.maximum(inside @ usual, 1e-9)
    return kept & ((share < MOST_SILENT) | holiday), pd.DataFrame(silent, rows.index, rows.columns)


def missing_counts(
    observed: np.ndarray, silent: pd.DataFrame, rows: pd.DataFrame, locations: list[str], weeks: Weeks
) -> list[Count]:
    """Lines of the quality table: stores without rows, in between and at the end, and locations whose weeks are missing.

    Parameters
    ----------
    observed, silent : see `observed_weeks`. rows : S stores x T weeks.
    """
    counts, index, noun = [], weeks.index, weeks.frequency.noun
    if silent.to_numpy().any():
        check = f"{noun}s without rows of stores that otherwise sell every {noun} ({_some(silent.index[silent.any(axis=1)])})"
        action = f"kept; missing where they are {MOST_SILENT:.0%} of a location's usual units or more"
        n, when = int(silent.to_numpy().sum()), week_text(index[silent.any()])
        counts.append(Count(check, n, silent.size, action, weeks=when))
    ended = _ended(rows.loc[:, ~weeks.missing], weeks.frequency.per_week)
    if len(ended):
        check, when = f"stores whose rows end ({_some(ended.index)})", week_text(index[sorted(set(ended))])
        action = f"taken as closed after these {noun}s: zero, not missing"
        counts.append(Count(check, len(ended), len(rows), action, weeks=when))
    for name, own in zip(locations, observed, strict=True):
        found = ~own & ~weeks.missing
        if found.any():
            check = f"{noun}s of {name} in which many of its stores have no rows"
            action = "missing there, not zero demand"
            counts.append(Count(check, int(found.sum()), len(index), action, weeks=week_text(index[found])))
    return counts


def _ended(rows: pd.DataFrame, per_week: int) -> pd.Series:
    """Store -> number of its last week with rows, of stores that sold much every week and sell no longer.

    per_week : columns of `rows` that make a week.
    """
    lives = _lives(rows.to_numpy())
    often = (rows > 0).sum(axis=1) >= (1 - GAPS) * lives.sum(1)
    much = _median_week(rows.to_numpy()) >= ENOUGH
    last = rows.gt(0).iloc[:, ::-1].idxmax(axis=1)
    return last[often & much & (lives.sum(1) > ENOUGH * per_week) & ~lives[:, -2 * per_week :].any(1)]


def _some(stores: pd.Index) -> str:
    return f"store {', '.join(map(str, stores[:3]))}{' …' if len(stores) > 3 else ''}"


def open_stores(rows: pd.DataFrame, missing: np.ndarray, train_end: int, per_week: int = 1) -> pd.Index:
    """Stores that sold anything in the last observed training weeks, of which each is `per_week` columns of `rows`."""
    last = np.flatnonzero(~missing[:train_end])[-CLOSED * per_week :]
    return rows.index[(rows.iloc[:, last] > 0).any(axis=1)]
