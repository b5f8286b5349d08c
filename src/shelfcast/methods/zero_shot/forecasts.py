"""A zero-shot time-series model: Fracast-0, pretrained by others, on each series' own history.

Weeks that were not observed are masked. A product with too few weeks has zeros before its launch.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from fracast import FracastModel
from scipy import stats

from shelfcast.judge.calibration import NORMAL, interpolated
from shelfcast.judge.distribution import sales_unit
from shelfcast.judge.frame import KEYS, forecast_frame, is_chain
from shelfcast.methods.dispersion import MIN_MEAN, Predict, with_dispersion
from shelfcast.methods.history import at_cutoffs, mean_of_last, sales
from shelfcast.methods.zero_shot.short_context import MIN_OBSERVED, ShortContext
from shelfcast.panel.frame import Panel, examples

DECODER = 100  # weeks of context that cost as much as decoding
MOST_WEEKS = 3_500_000  # weeks read for a market, about a minute on two cores; with more, regions follow the chain
SHARE_WEEKS, SHARE_WITHIN = 13, 26  # weeks that tell a region's share of its chain


def fracast(panel: Panel, seed: int) -> Predict:
    """Forecast with the model's nine quantiles, interpolated to ours; `seed` is not used.

    Interpolation is on the scale of a normal, so that the outer quantiles continue the line through the model's last two.
    In a market so large that all series would take more than about a minute, the chain alone is forecast by the model;
    a region gets its recent share of the chain's mean, with a dispersion fitted on weeks before.
    """
    model = FracastModel.from_pretrained(weights="fp32")
    history, horizon, unit = sales(panel), panel.meta["horizon"], sales_unit(panel.meta)
    regions_too = len(history) * _weeks_read(panel) <= MOST_WEEKS
    at = stats.norm.ppf(model.quantiles)

    def read(rows: pd.DataFrame) -> pd.DataFrame:
        """Forecast frame of the rows by the model."""
        series = history.loc[rows["unique_id"].unique()]
        ahead = quantile_forecasts(model, series, sorted(rows["cutoff"].unique()), horizon)
        ahead = ahead.loc[pd.MultiIndex.from_frame(rows[["unique_id", "cutoff", "horizon"]])].to_numpy().clip(min=0)
        quantiles = interpolated(ahead, at, np.broadcast_to(NORMAL, (len(rows), len(NORMAL))))
        return forecast_frame(rows, ahead.mean(axis=1), quantiles=quantiles, unit=unit)

    def shares_of_chain(cutoffs: list[pd.Timestamp]) -> pd.DataFrame:
        """Means of regions as their shares of the chain's."""
        rows = examples(panel, cutoffs)[KEYS]
        chain = read(rows[is_chain(rows)])
        return _by_share(rows[~is_chain(rows)], chain, history, horizon, panel.frequency.per_week)

    if regions_too:
        return lambda cutoffs, plan_known=True: read(examples(panel, cutoffs)[KEYS])
    regions = with_dispersion(panel, shares_of_chain)

    def predict(cutoffs: list[pd.Timestamp], plan_known: bool = True) -> pd.DataFrame:
        rows = examples(panel, cutoffs)[KEYS]
        return pd.concat([read(rows[is_chain(rows)]), regions(cutoffs)], ignore_index=True)

    return predict


def _weeks_read(panel: Panel) -> int:
    """Weeks that are read of one series from the validation cutoffs, as many test cutoffs and the latest one.

    The market's own test weeks do not count: a market that runs on would change its method some day.
    """
    end, train_end = (pd.Timestamp(panel.meta[name]) for name in ("validation_end", "train_end"))
    n_weeks = (panel.weeks <= end).sum() + ((train_end < panel.weeks) & (panel.weeks <= end)).sum()
    return (2 * len(panel.cutoffs["validation"]) + 1) * int(n_weeks + DECODER)


def quantile_forecasts(
    model: FracastModel, series: pd.DataFrame, cutoffs: list[pd.Timestamp], horizon: int, read=ShortContext
) -> pd.DataFrame:
    """The model's quantiles; index unique_id, cutoff, horizon.

    read : makes a `ShortContext` of model, length and horizon.
    """
    longest = max(series.columns.get_indexer(cutoffs).max() + 1, MIN_OBSERVED)
    longest = min(longest, model.context_length)
    contexts = np.full((len(cutoffs), len(series), longest), np.nan)
    for context, cutoff in zip(contexts, cutoffs, strict=True):
        past = series.loc[:, :cutoff].to_numpy()[:, -longest:]
        context[:, longest - past.shape[1] :] = past
    contexts = contexts.reshape(-1, longest)
    few = np.isfinite(contexts).sum(1) < MIN_OBSERVED
    contexts[few] = np.nan_to_num(contexts[few])
    quantiles = read(model, longest, horizon).forecast(contexts)
    names = ["cutoff", "unique_id", "horizon"]
    index = pd.MultiIndex.from_product([cutoffs, series.index, range(1, horizon + 1)], names=names)
    ahead = pd.DataFrame(quantiles.reshape(len(index), -1), index, columns=model.quantiles)
    return ahead.reorder_levels(["unique_id", "cutoff", "horizon"])


def _by_share(
    rows: pd.DataFrame, chain: pd.DataFrame, history: pd.DataFrame, horizon: int, per_week: int = 1
) -> pd.DataFrame:
    """Regions' `KEYS` and mean: the chain's mean times the region's recent share of all its regions."""
    keys = ["product", "cutoff", "horizon"]
    last, within, least = SHARE_WEEKS * per_week, SHARE_WITHIN * per_week, MIN_MEAN / per_week
    recent = {
        cutoff: mean_of_last(history.loc[:, :cutoff].to_numpy(), last, within)[:, None]
        for cutoff in rows["cutoff"].unique()
    }
    recent = at_cutoffs(recent, history.index, horizon)
    rows = rows.merge(recent, on=["unique_id", "cutoff", "horizon"], how="left", validate="one_to_one")
    rows["product"] = rows["unique_id"].str.rsplit("|", n=1).str[0]
    rows["mean"] = rows["mean"].fillna(0.0) + least
    share = rows["mean"] / rows.groupby(keys)["mean"].transform("sum")
    of_chain = chain.assign(product=chain["unique_id"].str.rsplit("|", n=1).str[0])[[*keys, "mean"]]
    total = rows[keys].merge(of_chain, on=keys, how="left", validate="many_to_one")["mean"].to_numpy()
    return rows[KEYS].assign(mean=(share * total).clip(lower=least))
