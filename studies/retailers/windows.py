"""Scores of the retailers' last test window beside those of earlier ones."""

from pathlib import Path

import pandas as pd

from studies.retailers.retailers import OURS


def of_all_windows(results: Path) -> pd.DataFrame:
    """Scores of our own methods where a retailer has several test windows: retailer, weeks_earlier (0: the last), …"""
    earlier, last = pd.read_csv(results / "earlier.csv"), pd.read_csv(results / "scores.csv")
    last = last[last["retailer"].isin(earlier["retailer"])].assign(weeks_earlier=0)
    rows = pd.concat([last, earlier], ignore_index=True)
    return rows[rows["method"].isin(OURS)]
