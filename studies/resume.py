"""Save the intermediate frames of a long study, so that a run that was stopped continues where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from shelfcast.data.files import atomic

SOURCES = ("src/**/*.py", "studies/**/*.py")


def resumed(folder: str | Path, key: list, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the frame that `make` makes, or the one that an earlier run with the same key and code saved.

    Parameters
    ----------
    folder : where frames are saved; remove it once the study's results are written.
    key : JSON of everything that the frame depends on besides the code. The frame's `attrs` are saved with it.
    """
    code = [path for pattern in SOURCES for path in sorted(Path(".").glob(pattern))]
    text = json.dumps([key, *(hashlib.md5(path.read_bytes()).hexdigest() for path in code)])
    path = Path(folder) / f"{hashlib.md5(text.encode()).hexdigest()}.parquet"
    if path.exists():
        return pd.read_parquet(path)
    frame = make()
    with atomic(path) as part:
        frame.to_parquet(part)
    return frame
