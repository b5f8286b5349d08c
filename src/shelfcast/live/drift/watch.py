"""Watch a market: from its models' forecasts of weeks that have passed to alarms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.live.drift.detect import COLUMNS, DEFAULT, Detector, alarms
from shelfcast.live.drift.residuals import (
    MIN_HISTORY,
    log_ratios,
    price_slopes,
    ratios_of,
    root_mean_square,
    scaled,
    slopes_of,
    with_scale,
)
from shelfcast.live.online.replay import Start
from shelfcast.model.forecast import predict_each
from shelfcast.panel.frame import Panel

HISTORY = 39  # weeks that say what is usual, at most
PRICES = {"known_future": "price", "price_plan": "price_ratio_plan"}  # role -> log of the week's price
WEEK = pd.Timedelta(weeks=1)


def watch(panel: Panel, start: Start, forecasts: pd.DataFrame, detector: Detector = DEFAULT) -> pd.DataFrame:
    """Alarms of the weeks that `forecasts` are of, as `detect.alarms` gives them; none of a daily market.

    Thresholds are those of weeks (studies/drift); of days nobody has tried them, so that these are not watched.

    What is usual comes from weeks before the models' last one: residuals of the weeks that they learned from, widened
    to those of the validation weeks (which `start.past` did not learn from), and these themselves.

    Parameters
    ----------
    forecasts : forecast frame of the models as trained, from weekly cutoffs after those of `start.past`.
    """
    if panel.frequency.daily:
        return pd.DataFrame(columns=COLUMNS).astype({"size": float, "week": "datetime64[ns]"})
    prices = prices_of(panel)
    now, unseen = (_residuals(frame, prices) for frame in (forecasts, start.past))
    learned = _learned(panel, start, prices, pd.Timestamp(panel.meta["train_end"]))
    history = pd.concat([widened(learned, unseen), unseen]).drop_duplicates(["week", "location", "about"], keep="last")
    history = history[history["week"] < now["week"].min()]
    n_priced = (history["about"] == "price").sum()
    if n_priced < MIN_HISTORY:  # prices that hardly ever differed say nothing of what is usual
        now, history = (frame[frame["about"] != "price"] for frame in (now, history))
    return alarms(scaled(now, history), with_scale(history), detector)


def prices_of(panel: Panel) -> pd.DataFrame:
    """unique_id, ds, price of the chain; without rows where the market has no prices."""
    for role, name in PRICES.items():
        if name in panel.roles[role]:
            rows = panel.frame[panel.frame["location"] == CHAIN]
            return rows[["unique_id", "ds", name]].rename(columns={name: "price"})
    return pd.DataFrame({"unique_id": pd.Series(dtype=str), "ds": pd.Series(dtype="datetime64[ns]"), "price": []})


def _residuals(frame: pd.DataFrame, prices: pd.DataFrame) -> pd.DataFrame:
    parts = [log_ratios(frame)] + ([price_slopes(frame, prices)] if len(prices) else [])
    return pd.concat(parts, ignore_index=True)


def _learned(panel: Panel, start: Start, prices: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Residuals of the last training weeks, by the means of one-week forecasts; regions add up to the chain."""
    market = start.market
    at = market.weeks_index[market.weeks_index < end][-HISTORY:]
    mean = np.mean([mean for mean, _ in predict_each(start.models, market, list(at))], 0)[..., 0]  # P, L, C
    y = market.tensors["labels"][:, :, market.weeks_index.get_indexer(at), 0].double().numpy()
    if mean.shape[1] > 1:
        mean[:, 1:] *= mean[:, :1] / np.maximum(mean[:, 1:].sum(1, keepdims=True), 1e-9)
    y, mean, weeks = market.size * y, market.size * mean, at + WEEK
    flat = (-1, len(weeks))
    parts = [ratios_of(pd.Index(market.locations * len(y)), weeks, y.reshape(flat), mean.reshape(flat))]
    if len(prices):
        wide = prices.pivot(index="unique_id", columns="ds", values="price")
        own = wide.reindex(index=[f"{product}|{CHAIN}" for product in market.products], columns=weeks)
        parts.append(slopes_of(weeks, y[:, 0], mean[:, 0], own.to_numpy(float)))
    return pd.concat(parts, ignore_index=True)


def widened(learned: pd.DataFrame, unseen: pd.DataFrame) -> pd.DataFrame:
    """Residuals of learned weeks times how much larger those of unseen weeks are, by kind; never made smaller.

    Worked example: learned weeks miss by .1 (root mean square), unseen ones by .15: learned residuals are taken 1.5
    times as large, so that what is usual is what is usual for coming weeks.
    """
    own, theirs = (frame.groupby("about")["ratio"].agg(root_mean_square) for frame in (learned, unseen))
    times = (theirs / own).clip(lower=1.0)
    return learned.assign(ratio=learned["ratio"] * learned["about"].map(times).fillna(1.0))
