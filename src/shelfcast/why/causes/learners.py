"""What learns how much the controls say of units, prices and costs."""

from __future__ import annotations

from typing import Any

import numpy as np

LEARNERS = ("linear", "trees")


def learner_of(name: str, seed: int) -> Any:
    """Ridge regression of standardised columns for 'linear', a small LightGBM for 'trees'."""
    if name == "linear":
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 5)))
    from lightgbm import LGBMRegressor

    small = {"n_estimators": 150, "learning_rate": 0.05, "num_leaves": 8, "min_child_samples": 20, "subsample": 0.8}
    return LGBMRegressor(**small, subsample_freq=1, reg_lambda=5.0, random_state=seed, n_jobs=1, verbose=-1)
