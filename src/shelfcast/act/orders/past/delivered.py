"""What notebook 4 leaves for orders: forecasts at test cutoffs, the latest ones, and those of validation weeks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

TEXTBOOK_METHOD = "moving_average_8"  # feeds the textbook's rule
REPLAYED = ("ensemble", "shelfcast", "lightgbm", TEXTBOOK_METHOD, "oracle")


class Delivered(NamedTuple):
    """What notebook 4 left, in one situation.

    test, latest : forecast frames with `method`, from the test cutoffs and from the latest one. validation : of the
    methods that the ensemble weighs. weights : level -> method -> weight.
    """

    test: pd.DataFrame
    latest: pd.DataFrame
    validation: pd.DataFrame
    weights: dict[str, dict[str, float]]


def read_delivered(folder: Path, situation: str, cutoffs: dict[str, list[pd.Timestamp]], method: str) -> Delivered:
    """Read the forecasts of `REPLAYED` and of `method`.

    Raises
    ------
    ValueError : notebook 4 has not run, or no forecast is by `method`.
    """
    files = [folder / name for name in ("forecasts.parquet", "validation.parquet", "weights.json")]
    for path in files:
        if not path.exists():
            raise ValueError(f"{path} is missing. Run notebook 4_evaluate (or `dvc repro`) first.")
    of_situation = ("situation", "==", situation)
    names = list(dict.fromkeys((*REPLAYED, method)))
    frame = pd.read_parquet(files[0], filters=[of_situation, ("method", "in", names)])
    test, latest = (frame[frame["cutoff"].isin(cutoffs[name])] for name in ("test", "latest"))
    if method not in set(latest["method"]):
        raise ValueError(
            f"orders.method is {method!r}, by which {files[0]} holds no forecast of the coming weeks. Choose of "
            f"{', '.join(latest['method'].unique())}, or add it to evaluate.methods."
        )
    validation = pd.read_parquet(files[1], filters=[of_situation])
    return Delivered(test, latest, validation, json.loads(files[2].read_text())[situation])
