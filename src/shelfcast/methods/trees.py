"""Boosted trees by LightGBM (Ke et al. 2017) for one category or many at once: means, with the level as offset.

Columns in units become logs relative to the level, as for SalesBert. Settings are ranked by validation WQL with early
stopping; the best few are fitted again with the validation weeks, and averaged.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import MIN_MEAN, Predict, PredictMeans, dispersion_by_mean, frame_wql, with_dispersion
from shelfcast.model.tensors import IN_UNITS
from shelfcast.panel.features import LEVEL_FLOOR
from shelfcast.panel.frame import Panel, examples

FACTS = "trees.json"

ALONE = [
    dict(objective=objective, num_leaves=leaves, feature_fraction=fraction)
    for objective in ("poisson", "tweedie")
    for leaves in (15, 31)
    for fraction in (0.3, 0.6)
]
TOGETHER = [  # many categories have more to tell apart
    dict(objective=objective, num_leaves=leaves, feature_fraction=0.3)
    for objective in ("poisson", "tweedie")
    for leaves in (31, 63)
]
COMMON = dict(
    learning_rate=0.05,
    tweedie_variance_power=1.3,
    min_data_in_leaf=100,
    bagging_fraction=0.8,
    bagging_freq=1,
    lambda_l2=1.0,
    deterministic=True,
    force_row_wise=True,
    verbosity=-1,
)
FASTER = 0.1  # learning rate where many categories are fitted together: as good in half the time
ROUNDS = 1000  # at most
KEPT = {False: 3, True: 2}  # settings that are averaged, for one category and for many
SPREADS = 4  # dispersions by size of the mean


@dataclass(frozen=True)
class Trees:
    """Boosters whose means are averaged, by phase: those for 'select' have not seen the validation weeks.

    columns : what they read, in order. categories : those they were fitted to, where these are more than one.
    ranking : the settings by validation WQL, and their rounds.
    """

    boosters: dict[str, list[lightgbm.Booster]]
    columns: list[str]
    categories: list[str]
    price_plan: bool = False
    ranking: pd.DataFrame | None = None

    def predict(self, panel: Panel) -> PredictMeans:
        """Means for a market: at its validation cutoffs by boosters that have not seen these weeks.

        Raises
        ------
        ValueError : `mismatch`.
        """
        if why := self.mismatch(panel):
            raise ValueError(f"these trees cannot forecast it: {why}. Fit them to these tables.")

        def mean(cutoffs):
            phase = "select" if cutoffs == panel.cutoffs["validation"] else "refit"
            frame = examples(panel, cutoffs, self.price_plan)
            if phase == "select":
                frame = frame[frame["ds"] <= pd.Timestamp(panel.meta["validation_end"])].dropna(subset="y")
            x = _matrix(frame, panel, self.categories)
            if odd := sorted(set(x) ^ set(self.columns)):
                raise ValueError(
                    f"these trees were told other columns: {', '.join(odd[:5])}. Fit them to these tables."
                )
            found = [_apply(booster, x[self.columns], frame) for booster in self.boosters[phase]]
            return frame[KEYS].assign(mean=np.mean(found, axis=0))

        return mean

    def mismatch(self, panel: Panel) -> str:
        """Why they cannot read a market; empty where they can."""
        rows = examples(panel, panel.cutoffs["train"][:1], self.price_plan).head(1)
        odd = sorted(set(_matrix(rows, panel, self.categories)) ^ set(self.columns))
        return f"they were told other columns: {', '.join(odd[:5])}" if odd else ""

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for phase, boosters in self.boosters.items():
            for i, booster in enumerate(boosters):
                booster.save_model(folder / f"{phase}_{i}.txt")
        facts = {"columns": self.columns, "categories": self.categories, "price_plan": self.price_plan}
        (folder / FACTS).write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> Trees | None:
        """None where there are none."""
        folder = Path(folder)
        if not (folder / FACTS).exists():
            return None
        boosters = {
            phase: [lightgbm.Booster(model_file=path) for path in sorted(folder.glob(f"{phase}_*.txt"))]
            for phase in ("select", "refit")
        }
        return cls(boosters, **json.loads((folder / FACTS).read_text()))


def fit(panels: list[Panel], seed: int, price_plan: bool = False) -> Trees:
    """Fit to one category, or to several of one retailer together, whose name is then a column too.

    Neither phase sees a label after `meta["validation_end"]`; several are ranked by the mean of their WQLs.
    """
    categories = [panel.meta["category"] for panel in panels] if len(panels) > 1 else []
    parts = [_labelled(panel, price_plan) for panel in panels]
    whole = _Rows.of([rows for rows, _ in parts], panels, categories)
    ends = [pd.Timestamp(panel.meta["train_end"]) for panel in panels]
    train = _Rows.of([rows[rows["ds"] <= end] for (rows, _), end in zip(parts, ends, strict=True)], panels, categories)
    judged = [known for _, known in parts]
    validation = _Rows.of(judged, panels, categories)

    fitted = train.dataset(categories)
    known = validation.dataset(categories, fitted)
    ranking = []
    grid, common = TOGETHER if categories else ALONE, COMMON | {"seed": seed}
    if categories:
        common |= {"learning_rate": FASTER}
    for choice in tqdm(grid, "settings of the trees", disable=not categories or "SHELFCAST_PIPELINE" in os.environ):
        stop = lightgbm.early_stopping(30, verbose=False)
        booster = lightgbm.train(choice | common, fitted, ROUNDS, valid_sets=[known], callbacks=[stop])
        mean = _apply(booster, validation.x, validation.keys)
        borders = np.cumsum([len(rows) for rows in judged])[:-1]
        found = [rows[KEYS].assign(mean=part) for rows, part in zip(judged, np.split(mean, borders), strict=True)]
        score = np.mean([frame_wql(dispersion_by_mean(rows, SPREADS)(rows)) for rows in found])
        ranking.append((score, len(ranking), choice, booster))
    ranking.sort()
    best = ranking[: KEPT[bool(categories)]]
    again = whole.dataset(categories)
    boosters = {
        "select": [booster for *_, booster in best],
        "refit": [lightgbm.train(choice | common, again, booster.best_iteration) for *_, choice, booster in best],
    }
    table = pd.DataFrame([{**c, "rounds": booster.best_iteration, "wql": score} for score, _, c, booster in ranking])
    return Trees(boosters, list(train.x), categories, price_plan, table)


@dataclass(frozen=True)
class _Rows:
    x: pd.DataFrame
    keys: pd.DataFrame  # y and y_level

    @classmethod
    def of(cls, parts: list[pd.DataFrame], panels: list[Panel], categories: list[str]) -> _Rows:
        x = [_matrix(rows, panel, categories) for rows, panel in zip(parts, panels, strict=True)]
        keys = [rows[["y", "y_level"]] for rows in parts]
        return cls(pd.concat(x, ignore_index=True), pd.concat(keys, ignore_index=True))

    def dataset(self, categories: list[str], reference=None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            self.x,
            self.keys["y"],
            init_score=np.log(self.keys["y_level"]),
            reference=reference,
            categorical_feature=["category"] if categories else "auto",
            free_raw_data=False,
        )


def _labelled(panel: Panel, price_plan: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows with a label up to the end of the validation weeks, and those of the validation cutoffs."""
    end = pd.Timestamp(panel.meta["validation_end"])
    weeks = panel.weeks[(panel.weeks >= panel.cutoffs["train"][0]) & (panel.weeks < end)]
    rows = examples(panel, list(weeks), price_plan)
    rows = rows[(rows["ds"] <= end) & rows["y"].notna()]
    return rows, rows[rows["cutoff"].isin(panel.cutoffs["validation"])]


def _matrix(frame: pd.DataFrame, panel: Panel, categories: list[str]) -> pd.DataFrame:
    """Features of `examples` rows; a product's own id stays out, which was better on the validation weeks."""
    columns = {"horizon": frame["horizon"], "location": frame["location"].astype("category").cat.codes}
    planned = {c.removesuffix("_target") for c in frame if c.endswith("_target")}
    for name in frame.columns.difference([*KEYS, "y_level", "product_id", "location", *planned]):
        x = frame[name]
        if IN_UNITS.match(name):
            x = np.log(x) if name == "level" else np.log((x + LEVEL_FLOOR) / (frame["y_level"] + LEVEL_FLOOR))
        columns[name] = x
    if categories:  # one that was not learned from is a missing value
        own = panel.meta["category"]
        columns["category"] = float(categories.index(own)) if own in categories else np.nan
    return pd.DataFrame(columns, frame.index).astype(np.float32)


def _apply(booster: lightgbm.Booster, x: pd.DataFrame, frame: pd.DataFrame) -> np.ndarray:
    return (frame["y_level"].to_numpy() * np.exp(booster.predict(x, raw_score=True))).clip(MIN_MEAN)


def lightgbm_counts(panel: Panel, seed: int, price_plan: bool = False) -> Predict:
    """Boosted trees of this category alone, and a negative binomial around their mean."""
    return with_dispersion(panel, fit([panel], seed, price_plan).predict(panel), SPREADS)
