"""The panel of product x location by week (or day): features with declared roles, rolling cutoffs.

Axes: P products, L locations (chain first, then regions), T weeks. A *week* is a period of `Panel.frequency`: a day in
a daily market.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.frequency import Frequency

SOLD = "sold"  # beside `y`, where stock-outs are known
LEVEL_FLOOR = 0.1  # units a week; keeps the level of a product that has not sold above zero
PLAN_KNOWN = ("promotion_known", "price_known")  # columns that are 1 where the plan reaches a week, and 0 elsewhere
DAILY_WINDOW = 52  # training weeks that a neural model of a daily market reads
MOSTLY = 0.5  # share of weeks from which on a plan counts as known
PARTS = ("frame", "products", "locations", "graph", "pictures", "typical", "quality", "outlook")
OUTLOOK_COLUMNS = ["product_id", "cutoff", "horizon", "units"]


@dataclass(frozen=True)
class Panel:
    """A market ready for forecasting.

    frame : one row per series and week, sorted by unique_id and ds; `y` in units, features as `roles` declares. `y` is
        NaN before a product's launch and in weeks that were not observed at the location. Where a table tells of
        stock-outs, `y` is demand, partly estimated, and a column `sold` holds what was sold.
    products : index product_id; text, training units and the raw attributes.
    locations : index location; stores that sold in the training weeks, share of the units of its last year.
    graph : location x location, weights >= 0 of how much two regions have in common; the chain's are 1.
    pictures : index product_id; principal components of the pictures' embeddings, NaN without one, no columns where no
        product has one.
    typical : week x location, what a product of the category usually sells (units a week, > 0).
    roles : static, past, known_future, price_plan -> column names.
    in_units : columns that are measured in units of sales.
    planned : columns that come from the retailer's plan of promotions and prices; without a plan they are not known.
    cutoffs : train, validation, test, latest -> last observed weeks, by their first days.
    quality : what was counted, dropped and kept when the tables were read. meta : facts and parameters of the build.
    meanings : column -> what it means.
    outlook : what a zero-shot model forecasts of each product's units in the chain, from every week it can: a row per
        product_id, cutoff and horizon; empty where it was not asked.
    """

    frame: pd.DataFrame
    products: pd.DataFrame
    locations: pd.DataFrame
    graph: pd.DataFrame
    pictures: pd.DataFrame
    typical: pd.DataFrame
    roles: dict[str, list[str]]
    in_units: list[str]
    cutoffs: dict[str, list[pd.Timestamp]]
    quality: pd.DataFrame
    meta: dict
    meanings: dict[str, str] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)
    outlook: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=OUTLOOK_COLUMNS))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in PARTS:
            getattr(self, name).to_parquet(folder / f"{name}.parquet")
        cutoffs = {k: [str(c.date()) for c in v] for k, v in self.cutoffs.items()}
        facts = {
            "roles": self.roles,
            "in_units": self.in_units,
            "planned": self.planned,
            "meanings": self.meanings,
            "cutoffs": cutoffs,
            "meta": self.meta,
        }
        (folder / "panel.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> Panel:
        folder = Path(folder)
        if not (folder / "panel.json").exists():
            raise ValueError(f"{folder}/ holds no panel. Run notebook 1_prepare (or `dvc repro`) first.")
        facts = json.loads((folder / "panel.json").read_text())
        facts["cutoffs"] = {k: [pd.Timestamp(c) for c in v] for k, v in facts["cutoffs"].items()}
        frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in PARTS}
        return cls(**frames, **facts)

    def describe(self) -> pd.DataFrame:
        """What was understood: each column, its role, unit and meaning; then what was ignored."""
        noun = self.frequency.noun
        rows = [
            ("unique_id", "key", "", "product|location"),
            ("ds", "key", "", "the day" if self.frequency.daily else "first day of the week"),
            ("y", "target", "units", f"units sold in the {noun}"),
        ]
        if SOLD in self.frame:
            rows[-1] = (
                "y",
                "target",
                "units",
                f"units demanded in the {noun}: sold, or estimated where a stock-out cut them",
            )
            rows.append((SOLD, "actual", "units", f"units sold in the {noun}, by which forecasts are judged"))
        for role, columns in self.roles.items():
            for column in columns:
                rows.append((column, role, "units" if column in self.in_units else "", self.meanings[column]))
        for text in self.meta["ignored"]:
            name, _, reason = text.partition(": ")
            rows.append((name, "ignored", "", reason))
        return pd.DataFrame(rows, columns=["column", "role", "unit", "meaning"])

    @property
    def frequency(self) -> Frequency:
        """Weeks that start on some day, or days."""
        return Frequency(self.meta.get("freq", Frequency().alias))

    @property
    def weeks(self) -> pd.DatetimeIndex:
        """First days of the weeks with sales; `frame` goes on for `horizon` weeks more, which hold the plan alone."""
        return self.frequency.between(self.meta["first_week"], self.meta["last_week"], name="ds")

    @property
    def window(self) -> pd.DatetimeIndex:
        """The weeks that a neural model reads: all of them; of a daily market the last year of training, and what follows.

        A model's cost grows with the square of the days that it reads, and the plan of all horizons is held in memory for
        each. What earlier years tell stands in columns (`season_…`, `year_ago`).
        """
        weeks = self.weeks
        if not self.frequency.daily:
            return weeks
        first = pd.Timestamp(self.meta["train_end"]) - self.frequency.steps(self.frequency.periods(DAILY_WINDOW) - 1)
        return weeks[weeks >= first]

    def coming(self, cutoff: pd.Timestamp) -> pd.DatetimeIndex:
        """The weeks that are forecast from a cutoff."""
        return self.frequency.coming(cutoff, self.meta["horizon"])

    def situation(self, cutoff: pd.Timestamp) -> str:
        """'plan_known' where the retailer's plan covers most of the weeks ahead of a cutoff, else 'no_plan'."""
        columns = [name for name in PLAN_KNOWN if name in self.planned]
        ahead = self.frame["ds"].between(cutoff, cutoff + self.frequency.steps(self.meta["horizon"]), inclusive="right")
        known = self.frame.loc[ahead & (self.frame["location"] == CHAIN), columns]
        return "plan_known" if columns and bool((known.mean() >= MOSTLY).all()) else "no_plan"

    @property
    def stores_by_location(self) -> dict[str, list[str]]:
        """The stores of each location, by name."""
        stores = pd.Series(self.meta["regions"])
        return {CHAIN: list(stores.index)} | {name: list(own.index) for name, own in stores.groupby(stores)}


def examples(
    panel: Panel, cutoffs: list[pd.Timestamp], price_plan: bool = False, plan_known: bool = True
) -> pd.DataFrame:
    """One row per series, cutoff and horizon: features of the cutoff, known-future features of the target week, y.

    `y` is NaN beyond the data. `y_level` (> 0) is the robust level at the cutoff. The target week's columns end in
    `_target`, so that the same channel at the cutoff and at the target stay apart.

    Parameters
    ----------
    price_plan : read realised prices as if they had been planned (an upper bound).
    plan_known : False hides the plan of the target weeks: `panel.planned` columns are NaN there, and what says whether
        a plan is known is 0.
    """
    future = panel.roles["known_future"] + (panel.roles["price_plan"] if price_plan else [])
    at_cutoff = panel.frame[panel.frame["ds"].isin(cutoffs)].rename(columns={"ds": "cutoff"})
    at_cutoff = (
        at_cutoff.drop(columns=[SOLD], errors="ignore")
        .drop(columns=["y", *panel.roles["price_plan"]])
        .assign(y_level=at_cutoff["level"])
    )
    target = panel.frame[["unique_id", "ds", "y", *future]].rename(columns={c: f"{c}_target" for c in future})
    if not plan_known:
        hidden = {c: 0.0 if c in PLAN_KNOWN else np.nan for c in panel.planned if c in future}
        target = target.assign(**{f"{column}_target": value for column, value in hidden.items()})
    rows = []
    for h in range(1, panel.meta["horizon"] + 1):
        ahead = at_cutoff.assign(ds=at_cutoff["cutoff"] + panel.frequency.steps(h), horizon=h)
        rows.append(ahead.merge(target, on=["unique_id", "ds"], how="left", validate="many_to_one"))
    return pd.concat(rows).sort_values(["unique_id", "cutoff", "horizon"], ignore_index=True)
