"""Boosted trees by LightGBM (Ke et al. 2017), for one category or many jointly: means, with the level as offset.

Columns in units of sales become logs relative to the level, as for SalesBert.

Three fits, so that no forecast is by trees that have seen its weeks or were chosen by them:
- inner: without the last training weeks (`held_out_weeks`), which rank the settings and stop the boosting;
- select: the training weeks, by the best settings and their rounds, for the validation weeks;
- refit: the validation weeks too, which have a say in the rounds. The few best settings are averaged in each.

Where the retailer has a plan, all three are fitted again with the plan hidden, for weeks whose plan is not known. (One
fit that reads every row twice, with the plan and without, lost three to five per cent on test weeks with a plan.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from shelfcast.judge.distribution import sales_unit
from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import Predict, PredictMeans, held_out_weeks, min_mean, phase, with_dispersion
from shelfcast.methods.trees import boosting
from shelfcast.methods.trees.boosting import Data
from shelfcast.panel.frame import LEVEL_FLOOR, Panel, examples

DESCRIPTION = "trees.json"
PHASES = ("inner", "select", "refit")
NO_PLAN = "_no_plan"  # ends the phases of boosters that were fitted with the plan hidden
DISPERSION_BINS = 4  # dispersions by size of the mean
MAX_ROWS = 150_000  # labelled rows of a category; of more, every second cutoff is read, or every third, …


@dataclass(frozen=True)
class Trees:
    """Fitted boosters, whose means are averaged.

    Attributes
    ----------
    boosters : phase -> boosters, see the top of the module; those for weeks without a plan end in `NO_PLAN`.
    columns : the features, in the boosters' order. LightGBM knows them by position, since it refuses some names.
    categories : what they were fitted to jointly; empty where it was one category.
    price_plan : whether realised prices are read as if they had been planned (an upper bound).
    ranking : settings by WQL on the held-out weeks, with their rounds; None after `load`.
    """

    boosters: dict[str, list[lightgbm.Booster]]
    columns: list[str]
    categories: list[str]
    price_plan: bool = False
    ranking: pd.DataFrame | None = None

    def predict(self, panel: Panel) -> PredictMeans:
        """Return a function of cutoffs that gives means for a market, each by the boosters of the cutoff's phase.

        Weeks of which no planned column is known are forecast by the boosters that were fitted without a plan, whether
        the plan is hidden or the retailer has none for them.

        Raises
        ------
        ValueError : the market's columns are others, see `mismatch`.
        """
        if why := self.mismatch(panel):
            raise ValueError(f"these trees cannot forecast the market: {why}. Fit them to its tables.")

        def predict_means(cutoffs: list[pd.Timestamp], plan_known: bool = True) -> pd.DataFrame:
            rows = examples(panel, cutoffs, self.price_plan, plan_known)
            features = _features(rows, panel, self.categories)[self.columns].to_numpy()
            phases = rows["cutoff"].map({cutoff: phase(cutoff, panel) for cutoff in cutoffs})
            if PHASES[0] + NO_PLAN in self.boosters:
                phases = phases.where(_plan_is_known(rows, panel), phases + NO_PLAN)
            means, least = np.zeros(len(rows)), min_mean(panel)
            for name in phases.unique():
                own = (phases == name).to_numpy()
                level = _level(rows, panel)[own]
                each = [_means(booster, features[own], level, least) for booster in self.boosters[name]]
                means[own] = np.mean(each, axis=0)
            return rows[KEYS].assign(mean=means)

        return predict_means

    def mismatch(self, panel: Panel) -> str:
        """Why these trees cannot read a market; empty where they can."""
        rows = examples(panel, panel.cutoffs["train"][:1], self.price_plan).head(1)
        differ = sorted(set(_features(rows, panel, self.categories)) ^ set(self.columns))
        return f"its columns and those of the trees differ in {', '.join(differ[:5])}" if differ else ""

    def save(self, folder: Path) -> None:
        """Write the boosters as text, and their columns and categories as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, boosters in self.boosters.items():
            for i, booster in enumerate(boosters):
                booster.save_model(folder / f"{name}_{i}.txt")
        description = {"columns": self.columns, "categories": self.categories, "price_plan": self.price_plan}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> Trees | None:
        """Read what `save` wrote; None where the folder holds no trees."""
        folder = Path(folder)
        if not (folder / DESCRIPTION).exists():
            return None
        boosters = {
            name: [lightgbm.Booster(model_file=path) for path in sorted(folder.glob(f"{name}_[0-9]*.txt"))]
            for name in [*PHASES, *(name + NO_PLAN for name in PHASES)]
        }
        boosters = {name: own for name, own in boosters.items() if own}
        return cls(boosters, **json.loads((folder / DESCRIPTION).read_text()))


def fit(panels: list[Panel], seed: int, price_plan: bool = False) -> Trees:
    """Fit to one category, or jointly to several of one retailer, whose name is then a feature too.

    No phase sees a label after `meta["validation_end"]`. Joint settings are ranked by the mean WQL of the categories.
    """
    categories = [panel.meta["category"] for panel in panels] if len(panels) > 1 else []
    grid, n_averaged = boosting.grid_of(joint=bool(categories))
    boosters, columns, candidates = _fit(panels, categories, grid, seed, n_averaged, price_plan=price_plan)
    ranking = pd.DataFrame([{**c.settings, "rounds": c.rounds, "wql": c.wql} for c in candidates])
    if any(panel.planned for panel in panels):
        best = [c.settings for c in candidates[:n_averaged]]
        hidden = _fit(panels, categories, best, seed, n_averaged, price_plan=price_plan, plan_known=False)[0]
        boosters |= {name + NO_PLAN: own for name, own in hidden.items()}
    return Trees(boosters, columns, categories, price_plan, ranking)


def _fit(
    panels: list[Panel], categories: list[str], grid: list[dict], seed: int, n_averaged: int, **how: bool
) -> tuple[dict[str, list[lightgbm.Booster]], list[str], list[boosting.Candidate]]:
    """Boosters of the three phases, their columns, and the settings of `grid`, best first.

    how : price_plan and plan_known, as `examples` reads them.
    """
    labelled = [_labelled(panel, categories, **how) for panel in panels]

    def data(first: str | None, last: str) -> Data:
        """Rows whose cutoff is not before one bound, and whose target week is not after the other."""
        parts = []
        for (rows, features), bounds in zip(labelled, map(_bounds, panels), strict=True):
            use = (rows["ds"] <= bounds[last]) & (True if first is None else rows["cutoff"] >= bounds[first])
            parts.append((rows[use], features[use]))
        return Data.of(parts)

    common = boosting.common_settings(seed, bool(categories), len(labelled[0][0]))
    units = [sales_unit(panel.meta) for panel in panels]
    candidates = boosting.rank(data(None, "inner"), data("inner", "train"), grid, common, units, DISPERSION_BINS)
    best = candidates[:n_averaged]
    select, rounds = boosting.fit_select(data(None, "train"), data("train", "validation"), best, common)
    everything = data(None, "validation").dataset(common)

    def fit_again(pair: tuple[boosting.Candidate, int]) -> lightgbm.Booster:
        candidate, n_rounds = pair
        return lightgbm.train(candidate.settings | common, everything, n_rounds)

    refit = list(boosting.side_by_side(fit_again, list(zip(best, rounds, strict=True))))
    boosters = dict(zip(PHASES, ([c.booster for c in best], select, refit), strict=True))
    return boosters, list(labelled[0][1]), candidates


def lightgbm_counts(panel: Panel, seed: int, price_plan: bool = False) -> Predict:
    """Boosted trees of this category alone, and a distribution around their mean."""
    return with_dispersion(panel, fit([panel], seed, price_plan).predict(panel), DISPERSION_BINS)


def _bounds(panel: Panel) -> dict[str, pd.Timestamp]:
    """Last weeks that are read until the held-out, the validation and the test weeks."""
    inner = held_out_weeks(panel)[0] - panel.frequency.step
    ends = {name: pd.Timestamp(panel.meta[f"{name}_end"]) for name in ("train", "validation")}
    return {"inner": inner} | ends


def _labelled(
    panel: Panel, categories: list[str], price_plan: bool = False, plan_known: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All examples with a label, up to the end of the validation weeks, and their features.

    In a long history only every second cutoff, or every third, … before the held-out weeks is read: those of
    neighbouring weeks say nearly the same.
    """
    bounds = _bounds(panel)
    weeks = panel.weeks
    weeks = weeks[(weeks >= panel.cutoffs["train"][0]) & (weeks < bounds["validation"])]
    n_rows = len(weeks) * panel.frame["unique_id"].nunique() * panel.meta["horizon"]
    early, late = weeks[weeks < bounds["inner"]], weeks[weeks >= bounds["inner"]]
    late = late[:: -max(1, panel.frequency.per_week - 1)][::-1]  # every sixth day, so that all weekdays are among them
    cutoffs = [*early[:: -_stride(n_rows, panel)][::-1], *late]
    rows = examples(panel, cutoffs, price_plan, plan_known)
    rows = rows[(rows["ds"] <= bounds["validation"]) & rows["y"].notna()]
    return rows[KEYS].assign(y_level=_level(rows, panel)), _features(rows, panel, categories)


def _stride(n_rows: int, panel: Panel) -> int:
    """Cutoffs of the early weeks from one that is read to the next; no whole weeks of a daily market."""
    stride = max(1, round(n_rows / MAX_ROWS))
    return stride + int(panel.frequency.daily and stride % panel.frequency.per_week == 0)


def _level(rows: pd.DataFrame, panel: Panel) -> np.ndarray:
    """The level that means are relative to: at least a tenth of a sale, also where nothing was observed yet."""
    return np.fmax(rows["y_level"].to_numpy(), LEVEL_FLOOR * max(sales_unit(panel.meta), 1.0))


def _plan_is_known(rows: pd.DataFrame, panel: Panel) -> pd.Series:
    """Whether any planned column of the target week is known."""
    planned = [f"{name}_target" for name in panel.planned if not name.endswith("_known")]
    return rows[[name for name in planned if name in rows]].notna().any(axis=1)


def _features(rows: pd.DataFrame, panel: Panel, categories: list[str]) -> pd.DataFrame:
    """Features of `examples` rows, float32. A product's own id stays out, which was better on the validation weeks.

    Of known-future columns the target week's are read; of those that a plan may not tell, the cutoff's week too.
    """
    location = pd.Categorical(rows["location"], categories=sorted(panel.locations.index)).codes
    columns = {"horizon": rows["horizon"], "location": location}
    twice = {name.removesuffix("_target") for name in rows if name.endswith("_target")} - set(panel.planned)
    level = rows["y_level"] + LEVEL_FLOOR
    for name in rows.columns.difference([*KEYS, "y_level", "product_id", "location", *twice]):
        values = rows[name]
        if name == "level":
            values = np.log(values)
        elif name in panel.in_units:
            values = np.log((values + LEVEL_FLOOR) / level)
        columns[name] = values
    if categories:
        category = panel.meta["category"]
        # a missing value for a category that the trees were not fitted to
        columns["category"] = float(categories.index(category)) if category in categories else np.nan
    return pd.DataFrame(columns, rows.index).astype(np.float32)


def _means(booster: lightgbm.Booster, features: np.ndarray, level: np.ndarray, least: float) -> np.ndarray:
    """Units a week, at least `least`."""
    return boosting.means(booster, features, level).clip(least)
