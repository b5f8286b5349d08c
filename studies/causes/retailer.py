"""Effects on a retailer's tables: own price, promotions, groups, checks, and the prices of substitutes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shelfcast.data import tables
from shelfcast.panel.build import build
from shelfcast.settings import Prepare
from shelfcast.why.causes import checks, data, effects
from shelfcast.why.causes.data import COST, PRICE, Rows
from shelfcast.why.causes.substitutes import MOST, cross_price
from shelfcast.why.causes.words import control_sentence, hidden_sentence, placebo_sentence, sentence

CROSS = "_cross_prices"
GROUPS = ("brand", "price_tier", "category")


def retailer(folder: Path, rename: str = "", category: str | None = None) -> dict[str, pd.DataFrame]:
    """Every estimate on the rows of a retailer's regions, printed as sentences.

    Returns
    -------
    <folder's name> : rows of `effects.table`, the checks and the words among them. <name>_cross_prices : see
    `cross_price`, and `name`, what people call product_id; only where there are few enough products.

    Raises
    ------
    ValueError : as the tables' reading, `data.rows` and `effects.estimate`.
    """
    rows = rows_of(folder, rename, category)
    for note in rows.notes:
        print(note)
    estimates = [effects.estimate(rows, method=method) for method in ("naive", "two_way", "dml")]
    if COST in rows.frame:
        estimates.append(effects.estimate(rows, method="instrument"))
    estimates += [effects.estimate(rows, treatment) for treatment in rows.treatments if treatment != PRICE]
    if "other_prices" in rows.controls:
        estimates.append(effects.estimate(rows, "other_prices"))
    for column in GROUPS:
        if column in rows.frame and rows.frame[column].nunique() > 1:
            estimates += effects.by_group(rows, column, least=3)
    words = [sentence(effect) for effect in estimates]
    placebo = checks.placebo(rows)
    estimates, words = [*estimates, placebo], [*words, placebo_sentence(placebo)]
    if "category" in rows.frame and rows.frame["category"].nunique() > 1 and data.PROMOTION in rows.treatments:
        control = checks.negative_control(rows)
        estimates, words = [*estimates, control], [*words, control_sentence(control)]
    hidden = checks.hidden_cause(rows)
    print(*words, hidden_sentence(hidden), sep="\n")
    table = effects.table(estimates).assign(words=words)
    strength = pd.DataFrame([{"treatment": PRICE, "method": "hidden_cause", "estimate": hidden.robustness,
                              "low": hidden.significant, "high": hidden.known, "words": hidden_sentence(hidden)}])  # fmt: skip
    results = {folder.name: pd.concat([table, strength], ignore_index=True)}
    if 2 <= rows.frame["product_id"].nunique() <= MOST:
        names = rows.frame.drop_duplicates("product_id").set_index("product_id").get("brand")
        cross = cross_price(rows)
        brands = "" if names is None else " " + cross["product_id"].map(names).fillna("")
        results[f"{folder.name}{CROSS}"] = cross.assign(name=cross["product_id"] + brands)
    return results


def rows_of(folder: Path, rename: str, category: str | None) -> Rows:
    """Rows of the regions; the cost is the tables' `cost`, or follows from price and `gross_margin_pct`."""
    loaded = tables.load("tables", folder, category, rename)
    rows = data.rows(build(loaded, Prepare(outlook=False)), "regions")
    costs = costs_of(folder)
    return rows if costs is None else data.with_cost(rows, costs)


def costs_of(folder: Path) -> pd.DataFrame | None:
    """product_id, week, cost from the raw table of prices; None where it tells no cost."""
    path = folder / "prices.parquet"
    if not path.exists():
        return None
    prices = pd.read_parquet(path)
    if "cost" not in prices:
        price = next((name for name in ("price", "unit_price") if name in prices), None)
        if price is None or "gross_margin_pct" not in prices:
            return None
        prices = prices.assign(cost=prices[price] * (1 - prices["gross_margin_pct"] / 100))
    costs = prices[["product_id", "week", "cost"]]
    return costs[costs["cost"] > 0]
