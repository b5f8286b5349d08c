"""Small simulated markets as rows for regressions, without files, and their true effects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.market.tables import raw_tables
from shelfcast.panel.frame import Panel
from shelfcast.panel.grid import mean, shift
from shelfcast.why.causes import data
from shelfcast.why.causes.data import PRICE, PROMOTION, Rows
from studies.causes import truth

PROMOTIONS = {"mailer": f"{PROMOTION}: mailer", "display": f"{PROMOTION}: display"}  # a plan's channel -> a treatment


def rows_of(market: dict) -> Rows:
    """The chain's rows of a market, with its cost; `market` as `shelfcast.market.truth.draw` returns it."""
    return data.with_cost(data.rows(panel_of(market)), raw_tables(market)["prices"])


def panel_of(market: dict) -> Panel:
    """What `data.rows` reads of a panel, as `panel.build` would make it of the market's tables, in a tenth of the time.

    There are no new products, and only the features that `data.rows` uses. Holidays are counted as the market's law does,
    with free days in place of those on a weekend.
    """
    sold, n_weeks = market["sold"], market["settings"]["n_weeks"]
    units, category = sold.sum(1).astype(float), sold.sum((0, 1)).astype(float)  # P, T; T
    weight = sold.sum((0, 2)) / sold.sum()  # S
    display = np.einsum("pst,s->pt", market["plan_display"][..., :n_weeks], weight)
    mailer = market["plan_mailer"][:, :n_weeks]
    shown = np.maximum(market["plan_display"], market["plan_mailer"][:, None])[..., :n_weeks]
    views = market["views"].astype(float)
    columns = {
        "y": units,
        "price": np.log(market["price"][:, :n_weeks]),
        "price_level": np.zeros_like(units),
        "price_known": np.ones_like(units),
        PROMOTION: np.einsum("pst,s->pt", shown, weight),
        PROMOTIONS["display"]: display,
        PROMOTIONS["mailer"]: mailer,
        "lag_0": units,
        "level_4": mean(units, 4),
        "level_13": mean(units, 13),
        "category_now": _all(np.log((category + 1) / (mean(category) + 1)), units),
        "category_level": _all((mean(category, 4) + 1) / (mean(category) + 1), units),
        "event_now: view": np.log((views + 1) / (mean(views) + 1)),
        "holiday": _all(market["plan_holiday"][:n_weeks], units),
        "holiday_next": _all(shift(market["plan_holiday"][::-1], 1)[::-1][:n_weeks], units),
    }
    products = market["products"].set_index("product_id").rename(columns={"kind": "category"})
    ids = pd.MultiIndex.from_product([products.index, market["mondays"][:n_weeks]], names=["product_id", "ds"])
    frame = ids.to_frame(index=False).assign(location=CHAIN, **{name: x.ravel() for name, x in columns.items()})
    frame.insert(0, "unique_id", frame["product_id"] + "|" + CHAIN)
    future = ["price", "price_known", PROMOTION, *PROMOTIONS.values(), "holiday", "holiday_next"]
    past = [name for name in columns if name not in [*future, "y", "price_level"]]
    empty = {name: pd.DataFrame() for name in ("locations", "graph", "pictures", "typical", "quality")}
    return Panel(
        frame=frame.sort_values(["unique_id", "ds"], ignore_index=True),
        products=products[["category", "brand"]],
        roles={"static": ["price_level"], "past": past, "known_future": future, "price_plan": []},
        in_units=[],
        cutoffs={},
        meta={"unit": 1.0},
        planned=["price", "price_known", PROMOTION, *PROMOTIONS.values()],
        **empty,
    )


def _all(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(T,) for all products."""
    return np.broadcast_to(values, like.shape)


def true_effects(market: dict, rows: Rows, channels: tuple[str, ...] = ("mailer",)) -> dict[str, float]:
    """Treatment -> its true effect, the mean over the rows; of promotions over those that have one, by share of stores."""
    true = {PRICE: float(truth.at_rows(market, truth.elasticities(market), rows.frame).mean())}
    for channel in channels:
        lift = truth.at_rows(market, truth.lifts(market, channel), rows.frame)
        treatment = PROMOTIONS[channel]
        promoted = rows.frame[treatment].to_numpy() > 0
        true[treatment] = float(lift[promoted].sum() / rows.frame[treatment].sum())
    return true
