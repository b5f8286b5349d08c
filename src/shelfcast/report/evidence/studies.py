"""What the studies of controls and of data sources found, as frames for plots and tables; see `accuracy` for their rows."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from shelfcast.language import _
from shelfcast.report import names
from shelfcast.report.evidence.accuracy import labelled
from shelfcast.report.names import short_level
from shelfcast.report.theme import percent


def control_comparison(differences: dict, leave_out: Collection[str] = ()) -> pd.DataFrame:
    """WQL of each control and upper bound against Shelfcast of the same run.

    Parameters
    ----------
    differences : method -> estimate, low, high: one level of the controls study's `differences`.
    leave_out : methods that the page compares elsewhere.
    """
    rows = [("shelfcast", 0.0, np.nan, np.nan)]
    for method, row in differences.items():
        if method not in {"shelfcast", *leave_out}:
            rows.append((method, row["estimate"], row["low"], row["high"]))
    return labelled(pd.DataFrame(rows, columns=["method", "estimate", "low", "high"]))


def ablation_costs(ablation: dict) -> dict[str, pd.DataFrame]:
    """Level -> what leaving out each data source costs products with a history, in the rows of a comparison."""
    costs = {}
    for level, variants in ablation["worth"].items():
        rows = pd.DataFrame({key: row for key, row in variants.items() if not key.startswith("new_")}).T
        rows = rows.reindex(columns=["estimate", "low", "high"])  # one run alone has no interval
        labels, groups = zip(*map(names.ablation, rows.index), strict=True)
        costs[level] = rows.assign(label=labels, group=groups).sort_values("group", ascending=False, kind="stable")
    return costs


def ablation_against_best(ablation: dict) -> pd.DataFrame:
    """On a simulated market: what leaving out each source costs the oracle and the model; empty where not measured."""
    costs = ablation.get("worth", {})
    measured = [key for key, row in costs.get("product", {}).items() if "recovered" in row]
    rows = []
    for key in measured:
        source = names.ablation(key)[0]
        row = {_("Left out"): _("{source}, new products", source=source) if key.startswith("new_") else source}
        for level, variants in costs.items():
            cost, short = variants[key], short_level(level)
            row[_("Best possible, {level}", level=short)] = f"{cost['oracle_wql']:z.3f}"
            row[_("Model, {level}", level=short)] = f"{cost['wql']:z.3f}"
            row[_("Share, {level}", level=short)] = percent(cost["recovered"])
        rows.append(row)
    return pd.DataFrame(rows)


def new_product_table(ablation: dict) -> pd.DataFrame:
    """Scores of forecasts for products without a history, best first, also against the category's mean."""
    rows = []
    for key in sorted(ablation["new"]["product"], key=lambda key: ablation["new"]["product"][key]["wape"]):
        label = (
            names.method(key).name if key in names.METHODS else _("Shelfcast, {source}", source=names.ablation(key)[0])
        )
        row = {_("Forecast"): "Shelfcast" if key == "new" else label}
        for level, forecasts in ablation["new"].items():
            score, mean, short = forecasts[key], forecasts["category_mean"], short_level(level)
            row[_("WAPE, {level}", level=short)] = percent(score["wape"], 1)
            row[_("WQL, {level}", level=short)] = f"{score['wql']:z.3f}"
            row[_("vs mean, {level}", level=short)] = percent(score["wape"] / mean["wape"] - 1, 1, sign=True)
        rows.append(row)
    return pd.DataFrame(rows)
