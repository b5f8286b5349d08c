"""The ensemble as it is delivered: averaged by its weights, coherent over locations, with calibrated ranges.

Notebook 4 measures it and the service (`live.service`) answers with it, both by these functions.
"""

from __future__ import annotations

import pandas as pd

from shelfcast.judge.calibration import Stretches, fit_stretches, recalibrate
from shelfcast.judge.coherence import coherent
from shelfcast.judge.frame import add_level
from shelfcast.methods.ensemble import Weights, combine


def average(members: pd.DataFrame, weights: Weights) -> pd.DataFrame:
    """The weighted average of the members' forecast frames, whose regions add up to the chain.

    Parameters
    ----------
    members : with columns `method` and `level`; see `ensemble.combine` for its errors.
    """
    return coherent(combine(members, weights))


def calibration(validation: pd.DataFrame, weights: dict[str, Weights]) -> dict[str, Stretches]:
    """Situation -> stretches of the ensemble's ranges, by the validation weeks alone.

    Parameters
    ----------
    validation : forecast frames of the members with `method` and `situation`, as notebook 4 writes them.
    """
    stretches = {}
    for situation, own in weights.items():
        past = add_level(validation[validation["situation"] == situation])
        stretches[situation] = fit_stretches(average(past, own))
    return stretches


def delivered(members: pd.DataFrame, weights: dict[str, Weights], stretches: dict[str, Stretches]) -> pd.DataFrame:
    """Forecast frame of the ensemble with the column `situation`, by weights and stretches that stand already."""
    frames = []
    for situation, own in weights.items():
        coming = add_level(members[members["situation"] == situation])
        frame = recalibrate(average(coming, own), stretches[situation])
        frames.append(frame.assign(situation=situation))
    return pd.concat(frames, ignore_index=True)
