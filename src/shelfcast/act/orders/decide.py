"""The orders to place now, and what notebook 7 reads for them and writes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from shelfcast.act.orders.contest import TEXTBOOK_METHOD
from shelfcast.act.orders.inputs import Stock
from shelfcast.act.orders.paths import Paths
from shelfcast.act.orders.policy import Timing, order_up_to, orders, sells_before_expiry
from shelfcast.decision_options import Orders

REPLAYED = ("ensemble", "shelfcast", "lightgbm", TEXTBOOK_METHOD, "oracle")
RESULTS = ["cost", "fill_rate", "mean_stock", "stock_outs"]


class Delivered(NamedTuple):
    """What notebook 4 left, in one situation.

    test, latest : forecast frames with `method`, from the test cutoffs and from the latest one. validation : of the
    methods that the ensemble weighs. weights : level -> method -> weight.
    """

    test: pd.DataFrame
    latest: pd.DataFrame
    validation: pd.DataFrame
    weights: dict[str, dict[str, float]]


def read_delivered(folder: Path, situation: str, cutoffs: dict[str, list[pd.Timestamp]], method: str) -> Delivered:
    """Read the forecasts of `REPLAYED` and of `method`.

    Raises
    ------
    ValueError : notebook 4 has not run, or no forecast is by `method`.
    """
    files = [folder / name for name in ("forecasts.parquet", "validation.parquet", "weights.json")]
    for path in files:
        if not path.exists():
            raise ValueError(f"{path} is missing. Run notebook 4_evaluate (or `dvc repro`) first.")
    of_situation = ("situation", "==", situation)
    names = list(dict.fromkeys((*REPLAYED, method)))
    frame = pd.read_parquet(files[0], filters=[of_situation, ("method", "in", names)])
    if method not in set(frame["method"]):
        raise ValueError(
            f"orders.method is {method!r}, which {files[0]} does not hold. Choose of "
            f"{', '.join(frame['method'].unique())}, or add it to evaluate.methods."
        )
    test, latest = (frame[frame["cutoff"].isin(cutoffs[name])] for name in ("test", "latest"))
    validation = pd.read_parquet(files[1], filters=[of_situation])
    return Delivered(test, latest, validation, json.loads(files[2].read_text())[situation])


def lead_times(options: Orders, horizon: int) -> tuple[list[int], list[int]]:
    """The lead times to replay, and those that with the review period are longer than forecasts reach."""
    fits = [lead for lead in options.replay_lead_times if lead + options.review_period <= horizon]
    return fits, [lead for lead in options.replay_lead_times if lead not in fits]


def order_frame(paths: Paths, terms: pd.DataFrame, stock: Stock, options: Orders) -> pd.DataFrame:
    """What to order now, one row a product and location.

    Returns
    -------
    product_id, location; cutoff, the last observed week; arrives, the Monday from which an order can be sold;
    expected_demand until the next order arrives; order_up_to; on_hand and on_order, NaN where no stock was given;
    quantity to order, NaN there too; expected_fill, share of the demand after arrival that is sold from stock; note, what
    kept the order from its level; unit_cost and value, what the order costs.

    Raises
    ------
    SettingsError : lead time and review period are longer than the forecast.
    """
    timing = Timing(options.lead_time, options.review_period)
    position = stock.table.reindex(paths.series).sum(axis=1, min_count=1).to_numpy()
    levels = order_up_to(paths, terms, timing, options.rule, options.service_level, position)
    quantity, notes = orders(
        levels.level, np.nan_to_num(position), terms, sells_before_expiry(paths, terms, timing.lead)
    )
    known = ~np.isnan(position)
    keys = pd.Series(paths.series).str.rsplit("|", n=1, expand=True)
    frame = pd.DataFrame(
        {
            "product_id": keys[0],
            "location": keys[1],
            "cutoff": paths.cutoff,
            "arrives": paths.cutoff + pd.Timedelta(weeks=1 + timing.lead),
            "expected_demand": levels.demand,
            "order_up_to": levels.level,
            "on_hand": stock.table["on_hand"].reindex(paths.series).to_numpy(),
            "on_order": stock.table["on_order"].reindex(paths.series).to_numpy(),
            "quantity": np.where(known, quantity, np.nan),
            "expected_fill": levels.fill,
            "note": np.where(known, notes, "no stock was given"),
            "unit_cost": terms["unit_cost"].to_numpy(),
        }
    )
    return frame.assign(value=frame["quantity"] * frame["unit_cost"])


def as_metrics(summary: pd.DataFrame, differences: pd.DataFrame) -> dict:
    """Level -> rule -> lead time -> policy -> `RESULTS` and the cost against the policy that others are compared with.

    Parameters
    ----------
    summary : of `replay.summary` by level, rule, lead_time, policy. differences : of `contest.cost_differences`.
    """
    against = differences.set_index(["level", "rule", "lead_time", "policy"])["estimate"].to_dict()
    out: dict = {}
    for key, row in summary.iterrows():
        level, rule, lead_time, policy = key
        own = {name: round(float(row[name]), 6) for name in RESULTS}
        if key in against:
            own["cost_against_lightgbm"] = round(against[key], 6)
        out.setdefault(level, {}).setdefault(rule, {}).setdefault(f"lead_{lead_time}", {})[policy] = own
    return out
