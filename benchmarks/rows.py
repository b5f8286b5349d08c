"""Results of benchmarks as CSV, of which a row that is measured again replaces the earlier one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shelfcast.data.files import atomic


def keep(rows: list[dict], path: Path, key: list[str]) -> pd.DataFrame:
    """Write rows beside the file's earlier ones, in the order of `key`; returns the new rows as a table."""
    table = new = pd.DataFrame(rows)
    if path.exists():
        table = pd.concat([pd.read_csv(path), new]).drop_duplicates(key, keep="last")
    with atomic(path) as part:
        table.sort_values(key).to_csv(part, index=False)
    return new
