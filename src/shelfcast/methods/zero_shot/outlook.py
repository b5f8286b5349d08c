"""The zero-shot model's forecasts of each product from every week, as an input of other models."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from fracast import FracastModel

from shelfcast.judge.frame import is_chain
from shelfcast.methods.history import sales
from shelfcast.methods.zero_shot.forecasts import quantile_forecasts
from shelfcast.methods.zero_shot.short_context import MIN_OBSERVED
from shelfcast.panel.frame import OUTLOOK_COLUMNS, Panel

AT_ONCE = 13  # cutoffs whose contexts are read at one length


def with_outlook(panel: Panel) -> Panel:
    """The panel with `outlook`: the chain's units of each product as forecast from every observed week.

    A forecast reads the weeks up to its cutoff alone, and the model was pretrained by others on other data. Regions
    have no forecasts of their own, which would take several times as long and follow the chain's anyway. Products with
    fewer than `MIN_OBSERVED` observed weeks at a cutoff have none there.
    """
    history, horizon = sales(panel), panel.meta["horizon"]
    history = history[is_chain(history.index.to_frame(name="unique_id"))]
    model, parts = FracastModel.from_pretrained(weights="fp32"), []
    weeks = history.columns[MIN_OBSERVED - 1 :]
    for start in range(0, len(weeks), AT_ONCE):
        cutoffs = list(weeks[start : start + AT_ONCE])
        ahead = quantile_forecasts(model, history, cutoffs, horizon).mean(axis=1).clip(lower=0)
        parts.append(ahead.rename("units").reset_index())
    if not parts:
        return panel
    outlook = pd.concat(parts, ignore_index=True)
    n_observed = history.notna().cumsum(axis=1).stack().rename_axis(["unique_id", "cutoff"]).rename("n")
    outlook = outlook.join(n_observed, on=["unique_id", "cutoff"])
    outlook = outlook[outlook["n"] >= MIN_OBSERVED]
    outlook["product_id"] = outlook["unique_id"].str.rsplit("|", n=1).str[0]
    return replace(panel, outlook=outlook[OUTLOOK_COLUMNS].reset_index(drop=True))
