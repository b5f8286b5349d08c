"""The forecasts that a service answers with: one frame of the latest cutoff, what it was made of, and its panel."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from shelfcast.data.files import atomic
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.panel.frame import Panel

FRAME, FACTS, PANEL = "forecast.parquet", "facts.json", "panel"
ENSEMBLE = "ensemble"  # the method of forecasts.parquet that is delivered
SORTED = ["situation", "unique_id", "horizon"]


@dataclass(frozen=True)
class Facts:
    """What a forecast was made of.

    cutoff : Monday of the last week that it has seen. situation : that of the retailer's plan, see `Panel.situation`.
    version : see `run.version_of`. events : kind -> number of events that were stored when it was computed.
    closed : last closed week, which is the run's last one where none was closed since. computed : UTC, ISO 8601.
    note : of closed weeks that the forecasts could not see, see `gaps.note`.
    """

    cutoff: str
    situation: str
    version: str
    events: dict[str, int]
    closed: str
    computed: str
    note: str = ""

    @classmethod
    def now(cls, panel: Panel, version: str, events: dict[str, int], closed: str, note: str = "") -> Facts:
        cutoff = panel.weeks[-1]
        computed = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(str(cutoff.date()), panel.situation(cutoff), version, events, closed, computed, note)


class Snapshot:
    """Forecasts to read from, which never change: a newer snapshot takes the place of the whole.

    Parameters
    ----------
    frame : forecast frame of one cutoff, with the column `situation`.
    """

    def __init__(self, facts: Facts, frame: pd.DataFrame, panel: Panel):
        self.facts, self.panel = facts, panel
        frame = frame.sort_values(SORTED, ignore_index=True)
        keys = frame["situation"] + "|" + frame["unique_id"]
        starts = np.flatnonzero(~keys.duplicated())
        ends = [*starts[1:], len(frame)]
        self._rows = {key: slice(i, j) for key, i, j in zip(keys.iloc[starts], starts, ends, strict=True)}
        self._weeks = [str(week.date()) for week in frame["ds"]]
        self._horizon = frame["horizon"].tolist()
        self._values = frame[["mean", *QUANTILE_COLUMNS]].to_numpy(float)
        self.frame = frame

    @cached_property
    def series(self) -> list[str]:
        """Names of all series, product|location, in order."""
        return sorted(set(self.frame["unique_id"]))

    def weeks(self, unique_id: str, situation: str, horizon: int | None = None) -> list[dict]:
        """horizon, week, mean and quantiles of each week ahead of one series, or of one week.

        Raises
        ------
        KeyError : there is no such series.
        """
        rows = self._rows[f"{situation}|{unique_id}"]
        out = []
        for i in range(rows.start, rows.stop):
            if horizon is None or self._horizon[i] == horizon:
                mean, *values = self._values[i].tolist()
                names = (name.replace("q", "0.").rstrip("0") for name in QUANTILE_COLUMNS)
                quantiles = dict(zip(names, values, strict=True))
                out.append({"horizon": self._horizon[i], "week": self._weeks[i], "mean": mean, "quantiles": quantiles})
        return out

    def save(self, folder: Path) -> None:
        """Write the folder whole, or not at all."""
        with atomic(folder) as part:
            self.panel.save(part / PANEL)
            self.frame.to_parquet(part / FRAME, index=False)
            (part / FACTS).write_text(json.dumps(asdict(self.facts), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Snapshot | None:
        """What `save` wrote; None where the folder holds none."""
        if not (folder / FACTS).is_file():
            return None
        facts = Facts(**json.loads((folder / FACTS).read_text()))
        return cls(facts, pd.read_parquet(folder / FRAME), Panel.load(folder / PANEL))

    @classmethod
    def of_run(cls, folder: Path, version: str) -> Snapshot:
        """What the market's run delivered for its latest cutoff; `folder` is build/<market>/."""
        panel = Panel.load(folder / "panel")
        frame = pd.read_parquet(folder / "forecasts.parquet")
        latest = (frame["method"] == ENSEMBLE) & (frame["cutoff"] == panel.weeks[-1])
        facts = Facts.now(panel, version, {}, str(panel.weeks[-1].date()))
        return cls(facts, frame[latest].drop(columns="method"), panel)
