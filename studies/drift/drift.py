"""Drift, judged: how soon a change of a market's laws is seen, and how often one is seen that is none.

python -m studies.drift.drift     # about 360 worlds, a few seconds each; stopped, it goes on where it was
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from shelfcast.live.drift.detect import Detector, alarms
from shelfcast.live.drift.residuals import scaled, with_scale
from shelfcast.validate import SettingsError
from studies import parameters
from studies.drift.worlds import RECENT, ratios
from studies.kept import save_origin
from studies.resume import resumed

BUILD, RESULTS = Path("build/studies/drift"), Path("studies/drift/results")
YEAR = 52.0  # weeks


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    set_on: list[int]
    judged_on: list[int]
    strengths: list[float]
    n_products: int
    n_stores: int
    earlier_weeks: int
    watched_weeks: int
    changed_weeks: int
    max_false_alarms: float
    max_delay: int
    thresholds: dict[str, list[float]]
    slacks: dict[str, list[float]]

    def check(self) -> Study:
        if both := sorted(set(self.set_on) & set(self.judged_on)):
            raise SettingsError(
                f"seed {both[0]} is in set_on and judged_on: a threshold would be judged by its own world."
            )
        if 0 not in self.strengths or self.changed_weeks >= self.watched_weeks:
            raise SettingsError("false alarms need strength 0 and watched weeks before the change. Add them.")
        return self

    def detectors(self) -> list[Detector]:
        every = []
        for kind, thresholds in self.thresholds.items():
            every += [Detector(kind, *values) for values in product(thresholds, self.slacks.get(kind, [0.0]))]
        return every


def world_residuals(study: Study, seeds: list[int], build: Path) -> pd.DataFrame:
    """`ratios` of every seed and strength, with columns seed and strength."""
    n_weeks, frames = study.earlier_weeks + study.watched_weeks, []
    sizes = (n_weeks, study.changed_weeks, study.n_products, study.n_stores)
    every = list(product(seeds, study.strengths))
    for seed, strength in tqdm(every, "worlds", disable="SHELFCAST_PIPELINE" in os.environ):
        key = ["ratios", seed, strength, *sizes]
        frame = resumed(build, key, lambda seed=seed, strength=strength: ratios(seed, strength, *sizes))
        frames.append(frame.assign(seed=seed, strength=strength))
    return pd.concat(frames, ignore_index=True)


@plain_dataclass(frozen=True)
class Watched:
    """One world: scaled residuals of its watched weeks, of the weeks before, and the weeks whose laws are changed."""

    now: pd.DataFrame
    history: pd.DataFrame
    changed: np.ndarray

    @classmethod
    def of(cls, world: pd.DataFrame, study: Study) -> Watched:
        weeks = np.sort(world["week"].unique())
        earlier = study.earlier_weeks - RECENT
        history, now = (world[world["week"].isin(part)] for part in (weeks[:earlier], weeks[earlier:]))
        changed = weeks[-study.changed_weeks :] if world["strength"].iat[0] > 0 else weeks[:0]
        return cls(scaled(now, history), with_scale(history), changed)


def judge(world: Watched, detector: Detector) -> dict:
    """False alarms and delay in one world.

    Returns
    -------
    false : alarms in a world without a change, of all locations; several in one week are one. weeks : of that world.
    Weeks before a change are those of its twin without one, and count once. delay : changed weeks seen until the first
    alarm, NaN where there is none.
    """
    found = alarms(world.now, world.history, detector)
    if not len(world.changed):
        n_weeks = world.now["week"].nunique()
        return {"false": found["week"].nunique(), "weeks": n_weeks, "delay": np.nan, "changed": False}
    after = np.sort(found.loc[found["week"].isin(world.changed), "week"].unique())
    delay = (np.searchsorted(world.changed, after[0]) + 1.0) if len(after) else np.nan
    return {"false": 0, "weeks": 0, "delay": delay, "changed": True}


def measure(worlds: pd.DataFrame, study: Study, detectors: list[Detector]) -> pd.DataFrame:
    """A row per detector, seed and strength."""
    rows, groups = [], worlds.groupby(["seed", "strength"])
    for (seed, strength), world in tqdm(groups, "judged", disable="SHELFCAST_PIPELINE" in os.environ):
        own, watched = {"seed": seed, "strength": strength}, Watched.of(world, study)
        rows += [asdict(detector) | own | judge(watched, detector) for detector in detectors]
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Per detector and strength: false alarms a market and year, found within `max_delay` weeks, at all, median delay."""
    keys = ["kind", "threshold", "slack"]
    rates = table.groupby(keys)[["false", "weeks"]].sum()
    false = YEAR * rates["false"] / rates["weeks"]
    rows = table[table["changed"]].assign(
        soon=lambda t: t["delay"] <= study.max_delay, ever=lambda t: t["delay"].notna()
    )
    groups = rows.groupby([*keys, "strength"])
    found = groups.agg(soon=("soon", "mean"), ever=("ever", "mean"), worlds=("seed", "nunique"))
    found["delay"] = groups["delay"].apply(lambda x: x.fillna(np.inf).median())
    return found.reset_index().merge(false.rename("false_a_year").reset_index(), on=keys)


def choose(table: pd.DataFrame, study: Study) -> list[Detector]:
    """Of each kind the detector that finds most changes soon, of those with few enough false alarms.

    Raises
    ------
    ValueError : all of a kind give more.
    """
    chosen = []
    for kind, own in summary(table, study).groupby("kind"):
        means = own.groupby(["threshold", "slack"]).agg(soon=("soon", "mean"), false=("false_a_year", "first"))
        allowed = means[means["false"] <= study.max_false_alarms]
        if allowed.empty:
            raise ValueError(f"every threshold of {kind} gives more false alarms than wanted. Add stricter ones.")
        threshold, slack = allowed.sort_values(["soon", "false"], ascending=[False, True]).index[0]
        chosen.append(Detector(kind, threshold, slack))
    return chosen


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--build", type=Path, default=BUILD)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "drift").check()
    tried = measure(world_residuals(study, study.set_on, options.build), study, study.detectors())
    chosen = choose(tried, study)
    judged = measure(world_residuals(study, study.judged_on, options.build), study, chosen)
    options.results.mkdir(parents=True, exist_ok=True)
    for name, table in (("set", summary(tried, study)), ("judged", summary(judged, study)), ("worlds", judged)):
        table.round(5).to_csv(options.results / f"{name}.csv", index=False)
    save_origin(options.results)
    shutil.rmtree(options.build, ignore_errors=True)
    print(summary(judged, study).to_string())


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
