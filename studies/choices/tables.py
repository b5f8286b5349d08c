"""What the study's rows say, for its README and its own output."""

from __future__ import annotations

import pandas as pd

PRESENT = "present"  # the choice that changes nothing


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Choice -> mean ratio to the peer, relative to the present settings on the same markets, and on how many markets it is better, of how many."""
    ratios = table.pivot(index="market", columns="choice", values="ratio")
    change = ratios.div(ratios[PRESENT], axis=0) - 1
    columns = {"ratio": ratios.mean(), "change": change.mean(), "better_on": (change < 0).sum(), "of": ratios.count()}
    return pd.DataFrame(columns)
