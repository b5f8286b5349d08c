"""The quality table: what was counted, left out, mended or doubtful while tables were read and a panel was built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd


class Count(NamedTuple):
    """One line of the quality table.

    check : what was looked for. found : rows (or products, pictures, weeks …) that show it, `of` how many.
    action : what was done. units : the sales in these rows, None where that has no meaning.
    weeks : the weeks they lie in, as text; empty where they are all over.
    """

    check: str
    found: int
    of: int
    action: str
    units: float | None = None
    weeks: str = ""


def quality_table(counts: Sequence[Count]) -> pd.DataFrame:
    """Counts as a frame: check, found, of, share (of `of`), units, weeks, action."""
    frame = pd.DataFrame(counts, columns=Count._fields).astype({"units": float})
    frame["share"] = frame["found"] / frame["of"].clip(lower=1)
    return frame[["check", "found", "of", "share", "units", "weeks", "action"]]


def week_text(weeks: Sequence[pd.Timestamp], most: int = 4) -> str:
    """Mondays as text: all where there are at most `most`, else the first ones and how many more."""
    days = [str(pd.Timestamp(week).date()) for week in sorted(weeks)]
    more = f" and {len(days) - most} more" if len(days) > most else ""
    return ", ".join(days[:most]) + more
