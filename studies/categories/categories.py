"""The model and boosted trees on the test weeks of many categories, each counting alike.

On one category, by luck alone, one of two good methods is ahead by more than they differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast.data.files import folder_md5
from shelfcast.judge import intervals, metrics
from shelfcast.methods import averages
from shelfcast.methods.trees import Trees
from shelfcast.model.forecast import forecast
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, load_tokenizer, market_tensors
from shelfcast.model_options import Finetune
from shelfcast.panel.frame import Panel
from shelfcast.settings import Settings
from shelfcast.training.base import Base
from shelfcast.training.fit import fit
from shelfcast.training.parallel import in_parallel
from shelfcast.training.setup import warm_start_settings
from studies import parameters
from studies.categories import blends
from studies.panels import category_panels
from studies.resume import resumed

TREES = "build/studies/categories/trees"
AGAINST = ("lightgbm", "lightgbm_joint", "lightgbm_pair")
SCORES = ["wql", "wape", "bias", *(f"coverage_{coverage}" for coverage in metrics.COVERAGES)]


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    unseen: list[str]
    bases: list[str] = Field(min_length=1)
    single_bases: list[str] = Field(default_factory=list)
    base_seeds: list[int] = Field(default_factory=list)
    n_joint: int = Field(default=24, ge=2)
    min_points: int = Field(default=500, ge=1)
    seed: int = 0


class Models(NamedTuple):
    """What was trained on many categories.

    bases : folder -> base. averaged : folders of those that differ in their seed alone. joint : the trees.
    """

    bases: dict[str, Base]
    averaged: list[str]
    joint: Trees

    @property
    def groups(self) -> dict[str, list[str]]:
        """Name of a row -> folders of its bases: all averaged, each of them alone, and single bases."""
        groups = {"shelfcast": self.averaged}
        if len(self.averaged) > 1:
            groups |= {f"seed_{i}": [folder] for i, folder in enumerate(self.averaged)}
        return groups | {Path(folder).name: [folder] for folder in self.bases if folder not in self.averaged}


def load_models(study: Study, trees: str = TREES) -> Models:
    """Load bases and trees.

    Raises
    ------
    ValueError : one is missing, bases were trained on different categories, or on one that should be unseen.
    """
    loaded = {folder: Base.load(folder) for folder in [*study.bases, *study.single_bases]}
    joint = Trees.load(trees)
    missing = [folder for folder, base in loaded.items() if base is None] + ([] if joint else [trees])
    if missing:
        raise ValueError(f"there is nothing in {', '.join(missing)}. Run `make categories`, which trains it.")
    learned = loaded[study.bases[0]].facts["categories"]
    if different := [folder for folder, base in loaded.items() if base.facts["categories"] != learned]:
        raise ValueError(f"{', '.join(different)} learned from other categories than {study.bases[0]}. Train it again.")
    if seen := sorted(set(study.unseen) & set(learned)):
        raise ValueError(
            f"the base has learned from {', '.join(seen)}. Remove it from unseen in the study's params.yaml."
        )
    return Models(loaded, study.bases, joint)


# ---------------------------------------------------------------- forecasts


class Tuned(NamedTuple):
    """A base fine-tuned to one category: its model, its steps, and the model for the validation weeks."""

    model: SalesBert
    steps: int
    selected: SalesBert


def fine_tune(
    bases: dict[str, Base], market: MarketTensors, panel: Panel, finetune: Finetune, seed: int
) -> dict[str, Tuned]:
    """Fine-tune each base to a category with the product's settings of a warm start."""
    training, splits = warm_start_settings(finetune), market.splits(panel)

    def tuned(folder: str, base: Base) -> Tuned:
        def make_model(phase: str) -> SalesBert:
            return base.model(phase, dropout=training.dropout)

        with TemporaryDirectory() as work:
            fitted = fit(make_model, *splits, training, [seed], work, folder, warm_start=True)
        history = fitted.history
        return Tuned(fitted.models[0], int(history.loc[history["best"], "step"].item()), fitted.selected[0])

    return dict(zip(bases, in_parallel(tuned, bases, panel.meta["category"]), strict=True))


def category_forecasts(panel: Panel, models: Models, finetune: Finetune, seed: int) -> pd.DataFrame:
    """Forecast frame of one category's test weeks with `method` and `category`; `attrs` holds steps by base."""
    first, test = models.bases[models.averaged[0]], panel.cutoffs["test"]
    market = market_tensors(panel, load_tokenizer(first.facts["backbone"]), scale=first.facts["scale"])
    for folder, base in models.bases.items():
        if why := base.mismatch(panel, first.facts["backbone"]):
            raise ValueError(f"the base in {folder} does not fit {panel.meta['category']}: {why}. Train it again.")
    tuned, validation_split = fine_tune(models.bases, market, panel, finetune, seed), market.splits(panel)[1]

    def shelfcast(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        if cutoffs == panel.cutoffs["validation"]:  # by the models that have not seen these weeks
            return forecast([tuned[folder].selected for folder in models.averaged], validation_split, cutoffs)
        return forecast([tuned[folder].model for folder in models.averaged], market, cutoffs)

    frames = [
        forecast([tuned[folder].model for folder in folders], market, test).assign(method=name)
        for name, folders in models.groups.items()
    ]
    as_it_is = [models.bases[folder].model("refit").eval() for folder in models.averaged]
    frames.append(forecast(as_it_is, market, test).assign(method="base"))
    peers = {"moving_average_8": averages.moving_average_8(panel, seed)}
    peers |= blends.trees_and_blends(panel, models.joint.predict(panel), shelfcast, seed)
    frames += [predict(test).assign(method=name) for name, predict in peers.items()]
    frame = pd.concat(frames, ignore_index=True).assign(category=panel.meta["category"])
    frame.attrs["steps"] = {folder: part.steps for folder, part in tuned.items()}
    return frame


def with_cells(frame: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Add what calibration is split by: `decile` of the product's units, and whether most stores promote it."""
    product = frame["unique_id"].str.rsplit("|", n=1).str[0]
    decile = np.ceil(10 * product.map(panel.products["units"].rank(pct=True))).astype(int)
    promotion = panel.frame.set_index(["unique_id", "ds"])["promotion"]
    share = promotion.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])).to_numpy()
    return frame.assign(decile=decile, promoted=share >= 0.5)


def all_forecasts(
    s: Settings, models: Models, categories: Iterable[str], seed: int, work: Path
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Forecast all categories; finished ones are saved in `work`, for a run that is stopped.

    Returns
    -------
    Forecast frame with method, category, decile and promoted; actuals (unique_id, ds, y); steps (category x base).
    """
    key = [asdict(s.prepare), asdict(s.finetune), s.base.n_products, seed, folder_md5(s.base.tables)]
    key += [models.averaged, folder_md5(TREES), *(folder_md5(folder) for folder in models.bases)]
    frames, actuals, steps = [], [], {}
    for panel in category_panels(s.base, s.prepare, list(categories)):
        category = panel.meta["category"]

        def make(panel: Panel = panel) -> pd.DataFrame:
            return category_forecasts(panel, models, s.finetune, seed)

        frame = resumed(work, [*key, category], make)
        steps[category] = frame.attrs["steps"]
        frames.append(with_cells(frame, panel))
        actuals.append(panel.frame[["unique_id", "ds", "y"]])
    table = pd.DataFrame(steps).T.rename(columns=lambda folder: Path(folder).name)
    return pd.concat(frames, ignore_index=True), pd.concat(actuals, ignore_index=True), table


# ---------------------------------------------------------------- what comes of them


def differences(frame: pd.DataFrame, methods: list[str], seed: int) -> pd.DataFrame:
    """Relative differences of mean scores to each of `AGAINST`: seen, level, method, against, metric, estimate, …

    Parameters
    ----------
    frame : forecast frame with seen, level, category and method.
    """
    rows = []
    for (seen, level), part in frame.groupby(["seen", "level"]):
        for method in methods:
            for against in AGAINST:
                for metric in ("wql", "wape"):
                    row = {"seen": seen, "level": level, "method": method, "against": against, "metric": metric}
                    rows.append(row | intervals.mean_difference(part, method, against, metric, seed=seed))
    return pd.DataFrame(rows)


def by_category(frame: pd.DataFrame, method: str, against: str, seed: int) -> pd.DataFrame:
    """WQL of `method` relative to `against` in each category, as `plots.intervals` draws it: label, estimate, …, group."""
    rows = []
    for category, part in frame.groupby("category"):
        estimate, low, high = intervals.paired_bootstrap(part, method, against, seed=seed)
        group = "ours" if estimate < 0 else "higher"
        rows.append({"label": category, "estimate": estimate, "low": low, "high": high, "group": group})
    return pd.DataFrame(rows).sort_values("group", ascending=False, kind="stable")


def calibration(frame: pd.DataFrame, actuals: pd.DataFrame, min_points: int) -> pd.DataFrame:
    """Coverage by seen, method, level and cell: all, volume decile, promotion and horizon (column `by`).

    min_points : cells of fewer points are left out.
    """
    tables = []
    for by in ("all", "decile", "promoted", "horizon"):
        cells = frame.assign(cell="all" if by == "all" else frame[by])
        table = metrics.scores(cells, actuals, by=("seen", "method", "level", "cell"))
        tables.append(table[[*SCORES[3:], "n"]].assign(by=by))
    table = pd.concat(tables)
    return table[table["n"] >= min_points].reset_index()


def calibration_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """The largest gap between measured and promised coverage, by kind of cell."""
    promised = np.array(metrics.COVERAGES) / 100
    gap = (table[SCORES[3:]] - promised).abs().max(axis=1)
    groups = table.assign(gap=gap).groupby(["seen", "method", "level", "by"], sort=False)["gap"]
    return groups.max().unstack("by")
