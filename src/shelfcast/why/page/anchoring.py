"""Whether the page leans on the estimate of causes: the response that notebook 5 estimated, and what was measured better."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shelfcast.why.causes.data import PRICE, PROMOTION
from shelfcast.why.whatif.anchor import Anchor, Response
from shelfcast.why.whatif.forecast import Ready


def response_of(effects: pd.DataFrame) -> Response | None:
    """The response of all products in a frame as `market.effects.effects_of` makes it; None where there is none.

    Promotions by channel count where there are such, else those of any channel.
    """
    if effects.empty:
        return None
    rows = effects[(effects["kind"] == "effect") & (effects["group"] == "all")].set_index("treatment")
    channels = [name for name in rows.index if name.startswith(f"{PROMOTION}: ")]
    lifts = {name: rows.loc[name] for name in channels or rows.index.intersection([PROMOTION])}
    price = rows.loc[PRICE] if PRICE in rows.index else None
    return Response.of(price, lifts) if lifts or price is not None else None


def anchor_of(ready: Ready, path: str | Path) -> Anchor | None:
    """The anchor of a market's `effects.parquet`; None without the file, or where it holds no effect the plan could use."""
    response = response_of(pd.read_parquet(path)) if Path(path).is_file() else None
    anchor = None if response is None else ready.anchored_to(response)
    return anchor if anchor is not None and anchor.weights else None


def load_scores(path: str | Path) -> pd.DataFrame:
    """The scores of studies/whatif; without rows where the study was not run."""
    columns = ["market", "method", "level", "plan", "response"]
    return pd.read_csv(path) if Path(path).is_file() else pd.DataFrame(columns=columns)


def measured_better(scores: pd.DataFrame, market: str) -> bool:
    """Whether the anchored answer was nearer to the truth than the models' own; False where it was not measured.

    Parameters
    ----------
    scores : of studies/whatif: market, method, level, plan, response (the error of the answer, lower is better).
    """
    own = scores[(scores["market"] == market) & (scores["level"] == "product") & (scores["plan"] == "all")]
    response = own.set_index("method")["response"]
    return {"model", "anchored"} <= set(response.index) and bool(response["anchored"] < response["model"])
