"""How ways of keeping up compare: WQL and seconds by week, differences with intervals, and which way is the default."""

from __future__ import annotations

import pandas as pd

from shelfcast.judge.frame import add_level
from shelfcast.judge.intervals import paired_bootstrap
from shelfcast.judge.metrics import losses
from shelfcast.live.online.replay import Replayed

FROZEN = "frozen"
LIMIT = 0.005  # relative WQL that keeping up may cost where nothing changed
NAMES = {
    "frozen": "the models as trained",
    "level": "level correction",
    "online": "online learning",
    "refit": "a full refit",
}


def by_week(replayed: Replayed) -> pd.DataFrame:
    """Scores of each way's forecasts from each cutoff, over the horizons whose weeks have sales.

    Returns
    -------
    level, way, cutoff, wql, n, learn and forecast (seconds).
    """
    frame = add_level(replayed.forecasts[replayed.forecasts["y"].notna()].reset_index(drop=True))
    rows = frame[["level", "way", "cutoff"]].join(losses(frame)[["y", "wql"]])
    table = rows.groupby(["level", "way", "cutoff"], sort=False).agg(
        wql=("wql", "sum"), y=("y", "sum"), n=("y", "size")
    )
    table["wql"] /= table["y"].where(table["y"] > 0)
    return table.drop(columns="y").reset_index().merge(replayed.seconds, on=["way", "cutoff"], validate="many_to_one")


def summary(replayed: Replayed, seed: int = 0) -> pd.DataFrame:
    """Each way over all weeks.

    Returns
    -------
    level, way, wql, against_frozen (relative WQL, below 0 where better), low, high (90 % interval of a paired
    bootstrap over products and blocks of two weeks), learn (seconds of learning, all weeks together).
    """
    frame = add_level(replayed.forecasts[replayed.forecasts["y"].notna()].rename(columns={"way": "method"}))
    learn, rows = replayed.seconds.groupby("way")["learn"].sum(), []
    for level, part in frame.groupby("level"):
        for way, own in part.groupby("method", sort=False):
            wql = losses(own)["wql"].sum() / own["y"].sum()
            difference = (0.0, 0.0, 0.0) if way == FROZEN else paired_bootstrap(part, way, FROZEN, seed=seed)
            rows.append((level, way, wql, *difference, learn[way]))
    return pd.DataFrame(rows, columns=["level", "way", "wql", "against_frozen", "low", "high", "learn"])


def share_of_refit(table: pd.DataFrame) -> pd.DataFrame:
    """What share of the refit's gain over the frozen models each way reaches, and of its seconds of learning.

    Parameters
    ----------
    table : of `summary`, with refit.

    Returns
    -------
    level, way, gain, compute; gain is NaN where the refit gains nothing.
    """
    rows = []
    for level, part in table.groupby("level"):
        part = part.set_index("way")
        gained = part.loc[FROZEN, "wql"] - part["wql"]
        share = gained / gained["refit"] if gained["refit"] > 0 else gained * float("nan")
        compute = part["learn"] / part.loc["refit", "learn"]
        rows += [(level, way, share[way], compute[way]) for way in part.index]
    return pd.DataFrame(rows, columns=["level", "way", "gain", "compute"])


def default_way(tables: dict[str, pd.DataFrame], changed: set[str]) -> str:
    """The way that keeps up by default, by what was measured on several markets.

    A way may cost at most `LIMIT` at either level, on the mean over markets whose laws did not change. Of those that
    keep to it, the one that gains most where they changed, on the mean over markets and levels; frozen where none gains.

    Parameters
    ----------
    tables : market -> `summary`. changed : markets whose laws changed within the replayed weeks.

    Raises
    ------
    ValueError : no market with a change, or none without, so that nothing can be weighed.
    """
    if not changed & set(tables) or not set(tables) - changed:
        raise ValueError("a default is weighed by markets with a change and markets without. Measure one of each.")
    rows = pd.concat([table.assign(market=name) for name, table in tables.items()])
    rows = rows[rows["way"] != "refit"]
    is_changed = rows["market"].isin(changed)
    by_level = rows[~is_changed].groupby(["way", "level"], sort=False)["against_frozen"].mean()
    cost = by_level.groupby(level="way", sort=False).max()
    gain = rows[is_changed].groupby("way", sort=False)["against_frozen"].mean()
    allowed = gain[cost[cost <= LIMIT].index]
    best = allowed.idxmin()
    return best if allowed[best] < 0 else FROZEN


def sentences(table: pd.DataFrame, decisions: pd.DataFrame) -> list[str]:
    """What the replay shows, hits and misses alike; `table` as `summary` gives it."""
    called = {"product": "the whole chain", "product_region": "regions"}
    said = []
    for _, row in table[table["way"] != FROZEN].iterrows():
        if row["against_frozen"] == 0:
            said.append(f"For {called[row['level']]} {NAMES[row['way']]} changed nothing.")
            continue
        better = "lower" if row["against_frozen"] < 0 else "higher"
        sure = "" if row["low"] * row["high"] > 0 else ", which may be chance"
        said.append(
            f"For {called[row['level']]} the error (WQL) of {NAMES[row['way']]} is {abs(row['against_frozen']):.1%} {better} than "
            f"that of the models as trained (90 % interval {row['low']:+.1%} to {row['high']:+.1%}){sure}."
        )
    tried = decisions[decisions["choice"] != "waited"]
    if len(tried):
        n = tried["choice"].value_counts()
        said.append(
            f"Of {len(tried)} weekly updates of {decisions['seed'].nunique()} models {n.get('updated', 0)} went on, "
            f"{n.get('kept', 0)} were not taken, and {n.get('rolled back', 0)} times a model went back to its trained weights."
        )
    return said
