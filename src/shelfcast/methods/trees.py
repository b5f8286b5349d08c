"""Boosted trees by LightGBM (Ke et al. 2017), for one category or many jointly: means, with the level as offset.

Columns in units of sales become logs relative to the level, as for SalesBert. Settings are ranked by validation WQL
with early stopping; the best few are fitted again with the validation weeks, and their means are averaged.
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
from shelfcast.panel.frame import LEVEL_FLOOR, Panel, examples

DESCRIPTION = "trees.json"

SETTINGS_ONE_CATEGORY = [
    dict(objective=objective, num_leaves=leaves, feature_fraction=fraction)
    for objective in ("poisson", "tweedie")
    for leaves in (15, 31)
    for fraction in (0.3, 0.6)
]
SETTINGS_JOINT = [  # many categories have more rows, so larger trees pay
    dict(objective=objective, num_leaves=leaves, feature_fraction=0.3)
    for objective in ("poisson", "tweedie")
    for leaves in (31, 63)
]
COMMON_SETTINGS = dict(
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
JOINT_LEARNING_RATE = 0.1  # as good as the common one, in half the time
MAX_ROUNDS = 1000
PATIENCE = 30  # rounds without a better validation loss before fitting stops
N_AVERAGED_ONE_CATEGORY, N_AVERAGED_JOINT = 3, 2  # boosters, the best by validation WQL
DISPERSION_BINS = 4  # dispersions by size of the mean


@dataclass(frozen=True)
class Trees:
    """Fitted boosters, whose means are averaged.

    Attributes
    ----------
    boosters : phase -> boosters; those for 'select' have not seen the validation weeks, those for 'refit' have.
    columns : the features, in the boosters' order.
    categories : what they were fitted to jointly; empty where it was one category.
    price_plan : whether realised prices are read as if they had been planned (an upper bound).
    ranking : settings by validation WQL, with their rounds; None after `load`.
    """

    boosters: dict[str, list[lightgbm.Booster]]
    columns: list[str]
    categories: list[str]
    price_plan: bool = False
    ranking: pd.DataFrame | None = None

    def predict(self, panel: Panel) -> PredictMeans:
        """Return a function of cutoffs that gives means for a market.

        At its validation cutoffs they are by the boosters that have not seen these weeks, for rows with an actual.

        Raises
        ------
        ValueError : the market's columns are others, see `mismatch`.
        """
        if why := self.mismatch(panel):
            raise ValueError(f"these trees cannot forecast the market: {why}. Fit them to its tables.")

        def predict_means(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
            rows, phase = examples(panel, cutoffs, self.price_plan), "refit"
            if cutoffs == panel.cutoffs["validation"]:
                rows, phase = _until(rows, panel.meta["validation_end"]), "select"
            features = _features(rows, panel, self.categories)[self.columns]
            means = [_means(booster, features, rows["y_level"]) for booster in self.boosters[phase]]
            return rows[KEYS].assign(mean=np.mean(means, axis=0))

        return predict_means

    def mismatch(self, panel: Panel) -> str:
        """Why these trees cannot read a market; empty where they can."""
        rows = examples(panel, panel.cutoffs["train"][:1], self.price_plan).head(1)
        differ = sorted(set(_features(rows, panel, self.categories)) ^ set(self.columns))
        return f"its columns and those of the trees differ in {', '.join(differ[:5])}" if differ else ""

    def save(self, folder: Path) -> None:
        """Write the boosters as text, and their columns and categories as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        for phase, boosters in self.boosters.items():
            for i, booster in enumerate(boosters):
                booster.save_model(folder / f"{phase}_{i}.txt")
        description = {"columns": self.columns, "categories": self.categories, "price_plan": self.price_plan}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> Trees | None:
        """Read what `save` wrote; None where the folder holds no trees."""
        folder = Path(folder)
        if not (folder / DESCRIPTION).exists():
            return None
        boosters = {
            phase: [lightgbm.Booster(model_file=path) for path in sorted(folder.glob(f"{phase}_*.txt"))]
            for phase in ("select", "refit")
        }
        return cls(boosters, **json.loads((folder / DESCRIPTION).read_text()))


def fit(panels: list[Panel], seed: int, price_plan: bool = False) -> Trees:
    """Fit to one category, or jointly to several of one retailer, whose name is then a feature too.

    No phase sees a label after `meta["validation_end"]`. Joint settings are ranked by the mean WQL of the categories.
    """
    categories = [panel.meta["category"] for panel in panels] if len(panels) > 1 else []
    labelled = [_labelled(panel, price_plan) for panel in panels]
    train = [_until(rows, panel.meta["train_end"]) for rows, panel in zip(labelled, panels, strict=True)]
    validation = [
        rows[rows["cutoff"].isin(panel.cutoffs["validation"])] for rows, panel in zip(labelled, panels, strict=True)
    ]
    common = COMMON_SETTINGS | {"seed": seed}
    n_averaged = N_AVERAGED_ONE_CATEGORY
    if categories:
        common |= {"learning_rate": JOINT_LEARNING_RATE}
        n_averaged = N_AVERAGED_JOINT

    data = _Data.of(train, panels, categories), _Data.of(validation, panels, categories)
    candidates = _rank_settings(*data, validation, common)
    best = candidates[:n_averaged]
    everything = _Data.of(labelled, panels, categories).dataset()
    boosters = {
        "select": [c.booster for c in best],
        "refit": [lightgbm.train(c.settings | common, everything, c.booster.best_iteration) for c in best],
    }
    ranking = pd.DataFrame([{**c.settings, "rounds": c.booster.best_iteration, "wql": c.wql} for c in candidates])
    return Trees(boosters, list(data[0].features), categories, price_plan, ranking)


def lightgbm_counts(panel: Panel, seed: int, price_plan: bool = False) -> Predict:
    """Boosted trees of this category alone, and a negative binomial around their mean."""
    return with_dispersion(panel, fit([panel], seed, price_plan).predict(panel), DISPERSION_BINS)


@dataclass(frozen=True)
class _Data:
    """Labelled rows of one or several panels, one after the other, as LightGBM reads them."""

    features: pd.DataFrame
    labels: pd.DataFrame  # y and y_level

    @classmethod
    def of(cls, rows: list[pd.DataFrame], panels: list[Panel], categories: list[str]) -> _Data:
        features = [_features(part, panel, categories) for part, panel in zip(rows, panels, strict=True)]
        labels = [part[["y", "y_level"]] for part in rows]
        return cls(pd.concat(features, ignore_index=True), pd.concat(labels, ignore_index=True))

    def dataset(self, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            self.features,
            self.labels["y"],
            init_score=np.log(self.labels["y_level"]),
            reference=reference,
            categorical_feature=["category"] if "category" in self.features else "auto",
            free_raw_data=False,
        )


@dataclass(frozen=True)
class _Candidate:
    wql: float
    settings: dict
    booster: lightgbm.Booster


def _rank_settings(train: _Data, validation: _Data, actuals: list[pd.DataFrame], common: dict) -> list[_Candidate]:
    """Fit each of the settings to the training weeks; best first.

    actuals : the rows of `validation` by category, with `KEYS`.
    """
    joint = len(actuals) > 1
    train_set = train.dataset()
    validation_set = validation.dataset(train_set)
    ends = np.cumsum([len(rows) for rows in actuals])[:-1]
    grid = SETTINGS_JOINT if joint else SETTINGS_ONE_CATEGORY
    candidates = []
    for settings in tqdm(grid, "settings of the trees", disable=not joint or "SHELFCAST_PIPELINE" in os.environ):
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(
            settings | common, train_set, MAX_ROUNDS, valid_sets=[validation_set], callbacks=[stop]
        )
        means = np.split(_means(booster, validation.features, validation.labels["y_level"]), ends)
        wql = np.mean([_wql(rows, mean) for rows, mean in zip(actuals, means, strict=True)])
        candidates.append(_Candidate(wql, settings, booster))
    return sorted(candidates, key=lambda candidate: candidate.wql)


def _wql(rows: pd.DataFrame, mean: np.ndarray) -> float:
    """Weighted quantile loss of means with the dispersions that fit these very rows best."""
    rows = rows[KEYS].assign(mean=mean)
    return frame_wql(dispersion_by_mean(rows, DISPERSION_BINS)(rows))


def _labelled(panel: Panel, price_plan: bool) -> pd.DataFrame:
    """All examples with a label, up to the end of the validation weeks."""
    end = pd.Timestamp(panel.meta["validation_end"])
    cutoffs = panel.weeks[(panel.weeks >= panel.cutoffs["train"][0]) & (panel.weeks < end)]
    return _until(examples(panel, list(cutoffs), price_plan), end)


def _until(rows: pd.DataFrame, end: str | pd.Timestamp) -> pd.DataFrame:
    """Examples with an actual, whose target week is not after `end`."""
    return rows[(rows["ds"] <= pd.Timestamp(end)) & rows["y"].notna()]


def _features(rows: pd.DataFrame, panel: Panel, categories: list[str]) -> pd.DataFrame:
    """Features of `examples` rows, float32. A product's own id stays out, which was better on the validation weeks."""
    columns = {"horizon": rows["horizon"], "location": rows["location"].astype("category").cat.codes}
    planned = {name.removesuffix("_target") for name in rows if name.endswith("_target")}  # the target week's will do
    level = rows["y_level"] + LEVEL_FLOOR
    for name in rows.columns.difference([*KEYS, "y_level", "product_id", "location", *planned]):
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


def _means(booster: lightgbm.Booster, features: pd.DataFrame, level: pd.Series) -> np.ndarray:
    """Units a week: the level times what the booster adds to its log."""
    return (level.to_numpy() * np.exp(booster.predict(features, raw_score=True))).clip(MIN_MEAN)
