"""The zero-shot model's forecasts of each product from every week, as an input of other models."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pandas as pd
from fracast import FracastModel

from shelfcast.judge.frame import is_chain
from shelfcast.methods.history import sales
from shelfcast.methods.zero_shot.forecasts import quantile_forecasts
from shelfcast.methods.zero_shot.short_context import MIN_OBSERVED, ShortContext
from shelfcast.panel.frame import OUTLOOK_COLUMNS, Panel

DAILY_CONTEXT = 182  # days before the first cutoff of a daily market that are read
AT_ONCE = 13  # cutoffs whose contexts are read at one length
KEPT = 200  # sets of periods whose padding is kept from one panel to the next


def with_outlook(panel: Panel, earlier: Panel | None = None) -> Panel:
    """The panel with `outlook`: the chain's units of each product as forecast from every observed week.

    A forecast reads the weeks up to its cutoff alone, and the model was pretrained by others on other data. Regions
    have no forecasts of their own, which would take several times as long and follow the chain's anyway. Products with
    fewer than `MIN_OBSERVED` observed weeks at a cutoff have none there.

    earlier : the same market's panel with fewer weeks, whose forecasts are taken where all that they read is the same.
    """
    history, horizon = _chain(panel), panel.meta["horizon"]
    model, parts, kept = FracastModel.from_pretrained(weights="fp32"), [], []
    weeks = history.columns[MIN_OBSERVED - 1 :]
    if panel.frequency.daily:  # years of days would take very long, and models do not read the earlier ones
        weeks = weeks[weeks >= panel.window[0]]
        history = history.loc[:, history.columns >= weeks[0] - panel.frequency.steps(DAILY_CONTEXT)]
    for start in range(0, len(weeks), AT_ONCE):
        cutoffs = list(weeks[start : start + AT_ONCE])
        if earlier is not None and _same(history, _chain(earlier), cutoffs):
            kept.append(earlier.outlook[earlier.outlook["cutoff"].isin(cutoffs)])
            continue
        parts.append(quantile_forecasts(model, history, cutoffs, horizon))
    if not parts:
        return panel if earlier is None else replace(panel, outlook=earlier.outlook)
    both = [part for part in (*kept, _outlook(pd.concat(parts), history)) if len(part)]
    return replace(panel, outlook=pd.concat(both, ignore_index=True)) if both else panel


def with_outlook_at(panel: Panel, cutoffs: list[pd.Timestamp]) -> Panel:
    """The panel with `outlook` from some cutoffs alone, one after the other.

    No product's outlook depends on what other products the panel holds, so that a market may be cut anywhere.
    """
    history, model = _chain(panel), _model()
    parts = [quantile_forecasts(model, history, [cutoff], panel.meta["horizon"], _reader) for cutoff in cutoffs]
    return replace(panel, outlook=_outlook(pd.concat(parts), history))


@lru_cache
def _model() -> FracastModel:
    return FracastModel.from_pretrained(weights="fp32")


@lru_cache(maxsize=2)
def _reader(model: FracastModel, length: int, horizon: int) -> ShortContext:
    """Kept from one panel to the next, with the paddings that it has read."""
    return ShortContext(model, length, horizon, most_periods=None, kept=KEPT)


def _outlook(quantiles: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """The rows of `Panel.outlook`, of products with enough observed weeks at the cutoff."""
    outlook = quantiles.mean(axis=1).clip(lower=0).rename("units").reset_index()
    n_observed = history.notna().cumsum(axis=1).stack().rename_axis(["unique_id", "cutoff"]).rename("n")
    outlook = outlook.join(n_observed, on=["unique_id", "cutoff"])
    outlook = outlook[outlook["n"] >= MIN_OBSERVED]
    outlook["product_id"] = outlook["unique_id"].str.rsplit("|", n=1).str[0]
    return outlook[OUTLOOK_COLUMNS].reset_index(drop=True)


def _chain(panel: Panel) -> pd.DataFrame:
    """Units of each product in the chain, a column a week."""
    history = sales(panel)
    return history[is_chain(history.index.to_frame(name="unique_id"))]


def _same(history: pd.DataFrame, before: pd.DataFrame, cutoffs: list[pd.Timestamp]) -> bool:
    """Whether these cutoffs were forecast from before, all at once, having read the same weeks."""
    weeks = before.columns[MIN_OBSERVED - 1 :]
    start = weeks.get_indexer(cutoffs[:1])[0]
    together = start >= 0 and start % AT_ONCE == 0 and list(weeks[start : start + AT_ONCE]) == cutoffs
    return together and history.loc[:, : cutoffs[-1]].equals(before.loc[:, : cutoffs[-1]])
