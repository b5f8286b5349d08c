"""What notebook 7 writes of its decisions: frames for the report and for systems, and the few numbers that runs are compared by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from shelfcast.act.orders.decide import KEYS
from shelfcast.act.recommend.groups import Groups
from shelfcast.data.files import atomic
from shelfcast.decision_options import Orders

GAINS = ("units", "others", "money")
PROMOTIONS = [
    *("product_id", "ds", "horizon", "price", "price_promoted", "unit_cost", "units_without"),
    *(f"{name}{end}" for name in GAINS for end in ("", "_low", "_high")),
    *("units_model", "units_cause", "spending", "chosen", "planned_now"),
]
GROUPS = ["group", "shoppers", "products", "bought", "product_id", "share", "low", "high", "repeat"]
REPLAYED = ["cost", "fill_rate", "mean_stock", "stock_outs"]


def replay_frame(summary: pd.DataFrame, differences: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per situation, level, rule, lead time and policy: what its orders would have cost.

    Parameters
    ----------
    summary : of `replay.summary` by `KEYS`. differences : policy -> `contest.cost_differences` against it.

    Returns
    -------
    `KEYS`, cost, demand, sold, lost, wasted, fill_rate, mean_stock, stock_outs; for each policy of `differences`
    against_<policy>, against_<policy>_low and _high: relative cost and its 90 % interval, NaN for this policy itself.
    """
    frame = summary.reset_index()
    for policy, own in differences.items():
        name = f"against_{policy}"
        own = own.rename(columns={"estimate": name, "low": f"{name}_low", "high": f"{name}_high"})
        frame = frame.merge(own, on=KEYS, how="left")
    return frame


def order_numbers(replayed: pd.DataFrame, options: Orders, situation: str) -> dict:
    """Level -> lead time -> what orders by `options.method` and `options.rule` would have cost.

    Against LightGBM and the oracle: cost over theirs less one; absent where a market has no such policy.
    """
    rows = replayed[(replayed["situation"] == situation) & (replayed["rule"] == options.rule)]
    out: dict = {}
    for (level, lead), own in rows.groupby(["level", "lead_time"]):
        own = own.set_index("policy")
        mine = own.loc[options.method]
        numbers = {name: mine[name] for name in REPLAYED}
        for other in ("lightgbm", "textbook", "oracle"):
            if other in own.index and own.loc[other, "cost"] > 0:
                numbers[f"cost_against_{other}"] = mine["cost"] / own.loc[other, "cost"] - 1
        out.setdefault(level, {})[f"lead_{lead}"] = {name: round(float(x), 4) for name, x in numbers.items()}
    return out


def promotion_frame(plan: pd.DataFrame | None) -> pd.DataFrame:
    """The plan's frame; the same columns without a row where there is no plan."""
    empty = pd.DataFrame(columns=PROMOTIONS).astype({"chosen": bool, "planned_now": bool, "ds": "datetime64[ns]"})
    return empty if plan is None else plan[PROMOTIONS]


def group_frame(groups: Groups | None) -> pd.DataFrame:
    """A row per group of shoppers and product that it is likely to buy; no row without groups.

    Returns
    -------
    group, shoppers, products and bought (what sets the group apart, see `Groups.sizes`); product_id, share, low, high,
    repeat (see `Groups.likely`).
    """
    if groups is None:
        return pd.DataFrame(columns=GROUPS)
    return groups.likely.merge(groups.sizes, on="group")[GROUPS]


def write(
    folder: Path, frames: Mapping[str, pd.DataFrame], texts: Mapping[str, dict], tables: Mapping[str, pd.DataFrame]
):
    """Write frames as Parquet, texts as JSON and tables for `dvc plots` as CSV, each whole or not at all.

    Parameters
    ----------
    folder : of the market. frames, texts, tables : by name without ending; tables go to `plots/`.
    """
    for name, frame in frames.items():
        with atomic(folder / f"{name}.parquet") as path:
            frame.to_parquet(path, index=False)
    for name, text in texts.items():
        with atomic(folder / f"{name}.json") as path:
            path.write_text(json.dumps(text, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    for name, table in tables.items():
        with atomic(folder / "plots" / f"{name}.csv") as path:
            table.round(6).to_csv(path, index=False)
