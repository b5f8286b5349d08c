"""Which products the page explains, and which of their groups of inputs are worth a bar of their own."""

from __future__ import annotations

import pandas as pd

from shelfcast.language import N_

SHOWN = 6  # products
SMALL = 0.03  # of what all groups of a product move, below which groups are put together
REST = N_("Everything else")


def standing_out(frame: pd.DataFrame, n: int = SHOWN) -> list[str]:
    """Products of an explanation's frame whose forecast differs most from the usual one, the largest difference first."""
    ends = frame.groupby("product_id", sort=False)[["usual", "forecast"]].first()
    return list((ends["forecast"] - ends["usual"]).abs().sort_values(ascending=False, kind="stable").index[:n])


def bars(rows: pd.DataFrame, column: str = "units") -> pd.DataFrame:
    """The rows of one product with small groups put together, so that bars still add up.

    Worked example: units of 50, -30, 1 and -2 move 83; 1 and -2 are below 3 % of it and become one row of -1.

    Parameters
    ----------
    rows : of one product, location, cutoff and horizon of an explanation's frame. column : whose values are shown.

    Returns
    -------
    label, units, usual, forecast.
    """
    rows = rows[["label", column, "usual", "forecast"]].rename(columns={column: "units"})
    small = rows["units"].abs() < SMALL * rows["units"].abs().sum()
    if small.sum() < 2:
        return rows.reset_index(drop=True)
    rest = rows[small].iloc[[0]].assign(label=REST, units=rows.loc[small, "units"].sum())
    return pd.concat([rows[~small], rest], ignore_index=True)
