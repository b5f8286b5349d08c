"""Keep the intermediate frames of a long study, so that a killed run goes on with the next one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from shelfcast.data.files import atomic



def resumed(folder: str | Path, key: list, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """What `make` returns, kept in `folder`; where an interrupted run kept it for the same key and code, that.

    key : JSON, whatever the frame depends on but the package and the notebooks. A frame's attrs are kept with it.
    """
    code = [p for part in ("src/**/*.py", "notebooks/*.ipynb") for p in sorted(Path(".").glob(part))]
    said = json.dumps([key, *(hashlib.md5(p.read_bytes()).hexdigest() for p in code)])
    path = Path(folder) / f"{hashlib.md5(said.encode()).hexdigest()}.parquet"
    if path.exists():
        return pd.read_parquet(path)
    made = make()
    with atomic(path) as part:
        made.to_parquet(part)
    return made

