"""Comparisons, splits and the studies' tables, on scores that one can check by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.report.evidence import accuracy, studies

CUTOFF = pd.Timestamp("2022-01-31")
SCORE = {"wape": 0.4, "rmsse": 0.6, "bias": -0.05, "coverage_50": 0.5, "coverage_80": 0.81, "coverage_95": 0.95}


def scored(**wql):
    return {"product": {method: SCORE | {"wql": value} for method, value in wql.items()}}


def forecasts(method, miss):
    """Two products, one cutoff, two weeks; every actual is 10 and every quantile lies `miss` units below it."""
    keys = grid_keys(["a", "b"], ["chain"], [CUTOFF], np.full((2, 1, 1, 2), 10.0))
    quantiles = np.full((4, len(QUANTILE_COLUMNS)), 10.0 - miss)
    return forecast_frame(keys, 10.0 - miss, quantiles=quantiles).assign(method=method)


def test_the_best_alternative_is_neither_ours_nor_an_upper_bound():
    scores = scored(
        shelfcast=0.1, oracle=0.05, lightgbm_price_plan=0.06, blend=0.07, alone=0.08, lightgbm=0.3, fracast=0.2
    )
    assert accuracy.best_alternatives(scores) == {"product": "fracast"}
    with pytest.raises(ValueError, match=r"List one in evaluate\.methods"):
        accuracy.best_alternatives(scored(shelfcast=0.1, oracle=0.05))


def test_comparison_with_a_rival():
    frame = pd.concat([forecasts("lightgbm", 2), forecasts("shelfcast", 1), forecasts("oracle", 0.5)])
    fewer = forecasts("auto_ets", 1).iloc[:2]
    rows = accuracy.comparison(pd.concat([frame, fewer]), "lightgbm", draws=50).set_index("label")
    assert list(rows.index) == ["Shelfcast", "LightGBM", "Best possible"], "not AutoETS, which forecast other rows"
    assert rows.loc["Shelfcast", "estimate"] == pytest.approx(-0.5)
    assert rows.loc["Shelfcast", ["low", "high"]].to_list() == pytest.approx([-0.5, -0.5])
    assert rows.loc["LightGBM", "estimate"] == 0 and np.isnan(rows.loc["LightGBM", "low"])


def test_controls_are_compared_with_shelfcast_of_their_study():
    differences = {
        "lightgbm_price_plan": {"estimate": -0.1, "low": -0.2, "high": -0.05},
        "alone": {"estimate": 0.02, "low": 0.01, "high": 0.03},
    }
    rows = studies.control_comparison(differences)
    assert list(rows["label"]) == ["Shelfcast", "This category alone", "LightGBM, future prices"]
    assert list(rows["group"]) == ["ours", "control", "upper bound"]
    assert list(rows["estimate"]) == [0, 0.02, -0.1]
    assert list(studies.control_comparison(differences, {"alone"})["label"]) == [
        "Shelfcast",
        "LightGBM, future prices",
    ]


def test_splits_by_horizon_volume_and_promotion():
    """The first week misses by 1 of 10 units, the second, which is on promotion for product a, by 2."""
    frame = forecasts("shelfcast", 1)
    late = frame["horizon"] == 2
    frame.loc[late, ["mean", *QUANTILE_COLUMNS]] = 8.0
    frame["product_id"] = frame["unique_id"].str[0]
    panel_frame = frame[["unique_id", "ds", "y"]].assign(
        promotion=np.where(late & (frame["product_id"] == "a"), 1.0, 0.0)
    )
    panel = SimpleNamespace(products=pd.DataFrame({"units": [9, 1]}, index=["a", "b"]), frame=panel_frame)
    tables = accuracy.splits(frame, panel, ["shelfcast", "moving_average_8"])
    assert tables["horizon"]["Shelfcast"].to_dict() == pytest.approx({1: 0.1, 2: 0.2})
    assert tables["decile"]["Shelfcast"].to_dict() == pytest.approx({5: 0.15, 10: 0.15})
    assert tables["promoted"]["Shelfcast"].to_dict() == pytest.approx({"not promoted": 0.4 / 3, "promoted": 0.2})


def test_method_table_is_best_first():
    scores = scored(moving_average_8=0.5, shelfcast=0.3)["product"]
    table = accuracy.method_table(scores, {"shelfcast": {"fit_seconds": 12.4}})
    assert list(table["Method"]) == ["Shelfcast", "8-week average"]
    first = table.iloc[0].drop(["Method", "What it is"]).to_list()
    assert first == ["0.300", "40.0\u00a0%", "0.600", "−5.0\u00a0%", "81\u00a0%", "12"]
    assert table["Fit, s"].iloc[1] == "–"
    assert "Fit, s" not in accuracy.method_table(scores)


def test_coverages_leave_out_what_was_not_evaluated():
    table = accuracy.coverages(scored(shelfcast=0.3)["product"], ["shelfcast", "fracast"])
    assert table.to_dict("index") == {"Shelfcast": {"coverage_50": 0.5, "coverage_80": 0.81, "coverage_95": 0.95}}


def test_worked_example_of_the_distance_to_the_best_possible():
    table = accuracy.distance_to_best(scored(moving_average_8=0.5, oracle=0.3, lightgbm=0.4)).set_index("Method")
    assert list(table.index) == ["Best possible", "LightGBM", "8-week average"]
    assert table.loc["LightGBM"].to_list() == ["1.33", "50\u00a0%"]
    assert table.loc["8-week average"].to_list() == ["1.67", "0\u00a0%"]
    without_start = accuracy.distance_to_best(scored(oracle=0.3, lightgbm=0.4))
    assert list(without_start) == ["Method", "Error / best possible, chain"]


ABLATION = {
    "worth": {
        "product": {
            "no_plan": {"estimate": 0.3, "low": 0.2, "high": 0.4, "wql": 0.1, "oracle_wql": 0.125, "recovered": 0.8},
            "shuffled_text": {"estimate": 0.0, "wql": 0.0},  # one run alone has no interval
            "new_no_text": {"estimate": 0.05, "wql": 0.02, "oracle_wql": 0.04, "recovered": 0.5},
        }
    },
    "new": {"product": {"category_mean": {"wape": 0.8, "wql": 0.7}, "new": {"wape": 0.6, "wql": 0.5}}},
}


def test_ablation_costs_are_those_of_products_with_a_history():
    rows = studies.ablation_costs(ABLATION)["product"]
    assert list(rows["label"]) == ["no promotions and prices", "texts of other products"]
    assert list(rows["group"]) == ["left out", "control"]
    assert np.isnan(rows.loc["shuffled_text", "low"])


def test_ablation_against_the_best_possible():
    rows = studies.ablation_against_best(ABLATION).set_index("Left out")
    assert rows.loc["no promotions and prices"].to_list() == ["0.125", "0.100", "80\u00a0%"]
    assert rows.loc["no product text, new products"].to_list() == ["0.040", "0.020", "50\u00a0%"]
    assert studies.ablation_against_best({"worth": {"product": {"no_plan": {"estimate": 0.3}}}}).empty
    assert studies.ablation_against_best({}).empty, "a market without the study"


def test_new_products_are_compared_with_the_categorys_mean():
    rows = studies.new_product_table(ABLATION).set_index("Forecast")
    assert list(rows.index) == ["Shelfcast", "Category mean"]
    assert rows.loc["Shelfcast"].to_list() == ["60.0\u00a0%", "0.500", "−25.0\u00a0%"]
