"""How boosted trees are fitted: their settings, which are ranked, and the rounds of each phase; see `trees`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import lightgbm
import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from tqdm.auto import tqdm

from shelfcast.judge.frame import KEYS
from shelfcast.methods.dispersion import MIN_MEAN, dispersion_by_mean, frame_wql

SETTINGS_ONE_CATEGORY = [
    dict(objective=objective, num_leaves=leaves, feature_fraction=0.6)
    for objective in ("poisson", "tweedie")
    for leaves in (15, 31)
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
    max_delta_step=2.0,  # a leaf of series that hardly sold, and then much, would send Poisson trees out of all bounds
    deterministic=True,
    force_col_wise=True,  # the same trees as by rows, a little faster on one thread
    num_threads=1,  # fits run side by side: rounds are too short to gain much by a second thread
    verbosity=-1,
)
JOINT_LEARNING_RATE = 0.1  # as good as the common one, in half the time
SMALLEST_LEAF, LEAVES_OF_ROWS = 10, 200  # where there are few rows, a leaf needs no more than a 200th of them
MAX_ROUNDS = 1000
PATIENCE = 30  # rounds without a better loss on the held-out weeks before fitting stops
LONGER = 1.5  # so many times the rounds that were best on the held-out weeks, plus PATIENCE, are tried for the refit
N_AVERAGED_ONE_CATEGORY, N_AVERAGED_JOINT = 3, 2  # boosters, the best by WQL on the held-out weeks


@dataclass(frozen=True)
class Data:
    """Labelled rows of one or several panels, one after the other, as LightGBM reads them.

    sizes : number of rows of each panel.
    """

    features: pd.DataFrame
    labels: pd.DataFrame  # KEYS and y_level
    sizes: list[int]

    @classmethod
    def of(cls, parts: list[tuple[pd.DataFrame, pd.DataFrame]]) -> Data:
        """From the labels and the features of each panel."""
        labels, features = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
        return cls(features, labels, [len(part) for part, _ in parts])

    def dataset(self, common: dict, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        """Columns go by their position, because LightGBM refuses names with JSON characters.

        It is made for the `common` settings, here and for good: fits side by side share it, and one that needed another
        would make it anew under the others.
        """
        is_category = [i for i, name in enumerate(self.features) if name == "category"]
        return lightgbm.Dataset(
            self.features.to_numpy(),
            self.labels["y"],
            init_score=np.log(self.labels["y_level"]),
            reference=reference,
            categorical_feature=is_category or "auto",
            params=common,
        ).construct()


@dataclass(frozen=True)
class Candidate:
    """Settings, fitted to the weeks before the held-out ones, and their WQL on these."""

    wql: float
    settings: dict
    booster: lightgbm.Booster

    @property
    def rounds(self) -> int:
        """Rounds that were best on the held-out weeks."""
        return self.booster.best_iteration


def grid_of(joint: bool) -> tuple[list[dict], int]:
    """The settings to rank, and how many of them are averaged."""
    return (SETTINGS_JOINT, N_AVERAGED_JOINT) if joint else (SETTINGS_ONE_CATEGORY, N_AVERAGED_ONE_CATEGORY)


def common_settings(seed: int, joint: bool, n_rows: int) -> dict:
    """What all settings share, for a category of so many labelled rows."""
    leaf = min(COMMON_SETTINGS["min_data_in_leaf"], max(SMALLEST_LEAF, n_rows // LEAVES_OF_ROWS))
    rate = JOINT_LEARNING_RATE if joint else COMMON_SETTINGS["learning_rate"]
    return COMMON_SETTINGS | {"seed": seed, "min_data_in_leaf": leaf, "learning_rate": rate}


def rank(inner: Data, held_out: Data, grid: list[dict], common: dict, units: list[float], bins: int) -> list[Candidate]:
    """Fit each of the settings to the inner weeks; best first by WQL on the held-out ones.

    Parameters
    ----------
    grid : the settings that differ. common : those that do not.
    units : of each panel, see `judge.distribution`. bins : of the dispersions around the means.
    """
    inner_set = inner.dataset(common)
    held_out_set = held_out.dataset(common, inner_set)
    ends = np.cumsum(held_out.sizes)
    features, level = held_out.features.to_numpy(), held_out.labels["y_level"].to_numpy()

    def fit(settings: dict) -> Candidate:
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(settings | common, inner_set, MAX_ROUNDS, valid_sets=[held_out_set], callbacks=[stop])
        mean = means(booster, features, level).clip(MIN_MEAN)
        parts = zip(ends - held_out.sizes, ends, units, strict=True)
        wql = [_wql(held_out.labels[i:j], mean[i:j], bins, unit) for i, j, unit in parts]
        return Candidate(float(np.mean(wql)), settings, booster)

    quiet = len(units) == 1 or "SHELFCAST_PIPELINE" in os.environ
    candidates = list(tqdm(side_by_side(fit, grid), "settings of the trees", len(grid), disable=quiet))
    return sorted(candidates, key=lambda candidate: candidate.wql)


def fit_select(
    train: Data, validation: Data, best: list[Candidate], common: dict
) -> tuple[list[lightgbm.Booster], list[int]]:
    """Fit the best settings to all training weeks, with the rounds that were best before.

    Returns
    -------
    boosters : cut to these rounds.
    rounds : for the refit: the geometric mean of these rounds and of those that would have been best on the validation
        weeks, since either of the two short stretches of weeks alone may ask for hardly any, or for far too many.
    """
    train_set = train.dataset(common)
    validation_set = validation.dataset(common, train_set)

    def fit(candidate: Candidate) -> tuple[lightgbm.Booster, int]:
        losses: dict[str, dict[str, list[float]]] = {}
        booster = lightgbm.train(
            candidate.settings | common,
            train_set,
            round(LONGER * candidate.rounds) + PATIENCE,
            valid_sets=[validation_set],
            callbacks=[lightgbm.record_evaluation(losses), _stop_from(candidate.rounds, losses)],
        )
        (curve,) = losses["valid_0"].values()
        rounds = round(np.sqrt(candidate.rounds * (np.argmin(curve) + 1)))
        return lightgbm.Booster(model_str=booster.model_to_string(num_iteration=candidate.rounds)), rounds

    boosters, rounds = zip(*side_by_side(fit, best), strict=True)
    return list(boosters), list(rounds)


def _stop_from(rounds: int, losses: dict[str, dict[str, list[float]]]) -> Callable:
    """A callback that ends fitting from so many rounds on, once the last `PATIENCE` of them were no better.

    losses : what `record_evaluation` writes, before this callback is called.
    """

    def stop(env: lightgbm.callback.CallbackEnv) -> None:
        (curve,) = losses["valid_0"].values()
        if len(curve) >= rounds and len(curve) - np.argmin(curve) > PATIENCE:
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)  # all are kept

    stop.order = 30  # behind record_evaluation, which has 20
    return stop


def side_by_side(fit: Callable, items: list) -> Iterator:
    """What `fit` returns for each item, in order; LightGBM holds no lock of Python's while it works."""
    return Parallel(min(len(items), cpu_count()), prefer="threads", return_as="generator")(map(delayed(fit), items))


def means(booster: lightgbm.Booster, features: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Units a week: the level times what the booster adds to its log."""
    return level * np.exp(booster.predict(features, raw_score=True))


def _wql(rows: pd.DataFrame, mean: np.ndarray, bins: int, unit: float) -> float:
    """Weighted quantile loss of means with the dispersions that fit these very rows best."""
    rows = rows[KEYS].assign(mean=mean)
    return frame_wql(dispersion_by_mean(rows, bins, unit)(rows), unit)
