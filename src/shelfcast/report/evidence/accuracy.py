"""How good the forecasts are: comparisons with peers and splits of their scores, as frames for plots and tables.

A comparison's rows have label, group (see `names.GROUPS`), estimate, low and high: a relative difference in error and
its 90 % confidence interval. Tables hold text, ready for `page.table`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.intervals import paired_bootstrap
from shelfcast.judge.metrics import COVERAGES, scores
from shelfcast.language import _
from shelfcast.panel.frame import Panel
from shelfcast.report import names
from shelfcast.report.names import GROUPS, short_level
from shelfcast.report.theme import percent

START = "moving_average_8"  # where the way to the best possible forecast begins


def best_alternatives(scored: dict) -> dict[str, str]:
    """Level -> the method with the lowest WQL that holds no part of our own and reads nothing of the future.

    Raises
    ------
    ValueError : no such method was evaluated.
    """
    best = {}
    for level in [level for level in names.LEVELS if level in scored]:
        wql = {m: score["wql"] for m, score in scored[level].items() if names.method(m).group == "alternative"}
        if not wql:
            raise ValueError(
                "no peer was evaluated, so the page has nothing to compare with. List one in evaluate.methods."
            )
        best[level] = min(wql, key=wql.get)
    return best


def comparison(test: pd.DataFrame, rival: str, draws: int = 1000) -> pd.DataFrame:
    """WQL of each method against `rival`, on the rows of `test`; methods that forecast other rows are left out."""
    size = test.groupby("method").size()
    rows = []
    for method in size.index[size == size[rival]]:
        difference = (0.0, np.nan, np.nan)
        if method != rival:
            difference = paired_bootstrap(test, method, rival, draws=draws)
        rows.append((method, *difference))
    return labelled(pd.DataFrame(rows, columns=["method", "estimate", "low", "high"]))


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `label` and `group` of their `method`, in the page's order of groups."""
    methods = [names.method(key) for key in rows["method"]]
    rows = rows.assign(label=[method.name for method in methods], group=[method.group for method in methods])
    return rows.sort_values("group", key=lambda group: group.map(GROUPS.index), kind="stable", ignore_index=True)


def splits(test: pd.DataFrame, panel: Panel, methods: list[str]) -> dict[str, pd.DataFrame]:
    """WQL of `methods` by horizon, by tenth of products by units, and by whether most stores promote the product.

    Parameters
    ----------
    test : forecasts of the whole chain, with `product_id`.

    Returns
    -------
    horizon, decile, promoted -> frame of groups x method names.
    """
    decile = np.ceil(10 * panel.products["units"].rank(pct=True)).astype(int)
    promotion = panel.frame.set_index(["unique_id", "ds"])["promotion"]
    frame = test[test["method"].isin(methods)]
    share = promotion.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])).to_numpy()
    frame = frame.assign(
        decile=frame["product_id"].map(decile), promoted=np.where(share >= 0.5, _("promoted"), _("not promoted"))
    )
    tables = {}
    for by in ("horizon", "decile", "promoted"):
        wql = scores(frame, panel.frame, by=[by, "method"])["wql"].unstack("method")
        tables[by] = wql[[m for m in methods if m in wql]].rename(columns=lambda m: names.method(m).name)
    return tables


def coverages(scored: dict, methods: list[str]) -> pd.DataFrame:
    """Measured coverage of the 50, 80 and 95 % ranges, a row a method."""
    columns = [f"coverage_{c}" for c in COVERAGES]
    rows = {names.method(m).name: {c: scored[m][c] for c in columns} for m in methods if m in scored}
    return pd.DataFrame(rows).T


def method_table(scored: dict, timings: dict | None = None) -> pd.DataFrame:
    """Name, scores and description of each method, best first; with the seconds of its fit where `timings` are given."""
    rows = []
    for key, score in sorted(scored.items(), key=lambda item: item[1]["wql"]):
        method = names.method(key)
        row = {
            _("Method"): method.name,
            _("Error (WQL)"): f"{score['wql']:.3f}",
            _("Miss (WAPE)"): percent(score["wape"], 1),
            _("RMSSE"): f"{score['rmsse']:.3f}",
            _("Bias"): percent(score["bias"], 1, sign=True),
            _("In 80 % range"): percent(score["coverage_80"]),
        }
        if timings is not None:
            row[_("Fit, s")] = f"{timings[key]['fit_seconds']:,.0f}" if key in timings else "–"
        rows.append(row | {_("What it is"): method.description})
    return pd.DataFrame(rows)


def distance_to_best(scored: dict) -> pd.DataFrame:
    """On a simulated market: each method's WQL relative to the oracle's, and its share of the way to it.

    Worked example: average .5, oracle .3, method .4: error 1.33 times the least possible, 50 % of the way.
    """
    rows = []
    for method in sorted(scored["product"], key=lambda m: scored["product"][m]["wql"]):
        row = {_("Method"): names.method(method).name}
        for level, methods in scored.items():
            wql, best = methods[method]["wql"], methods["oracle"]["wql"]
            row[_("Error / best possible, {level}", level=short_level(level))] = f"{wql / best:.2f}"
            if START in methods:
                start = methods[START]["wql"]
                row[_("Way covered, {level}", level=short_level(level))] = percent((start - wql) / (start - best))
        rows.append(row)
    return pd.DataFrame(rows)
