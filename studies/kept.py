"""Write a study's results while rows that were not measured this time stay, and say what made them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from shelfcast.data.files import atomic, revision


def save_rows(path: Path, table: pd.DataFrame, keys: list[str], digits: int = 5) -> pd.DataFrame:
    """Write the table as CSV, with the file's earlier rows whose `keys` it does not have; all rows are returned."""
    if path.exists():
        earlier = pd.read_csv(path)
        measured = pd.MultiIndex.from_frame(earlier[keys]).isin(pd.MultiIndex.from_frame(table[keys]))
        table = pd.concat([earlier[~measured], table], ignore_index=True)
    with atomic(path) as part:
        table.round(digits).to_csv(part, index=False)
    return table


def save_origin(to: Path) -> None:
    """`made.json`: the revision that the latest rows were measured with."""
    with atomic(to / "made.json") as part:
        part.write_text(json.dumps({"revision": revision()}) + "\n")
