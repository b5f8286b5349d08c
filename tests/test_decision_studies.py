"""The studies of orders over several draws and of stock-outs: what they compare, by hand, and that their inputs hold."""

import numpy as np
import pandas as pd
import pytest

from shelfcast import settings
from shelfcast.market.truth import draw
from shelfcast.settings import Prepare, Simulation
from studies import parameters
from studies.orders import orders
from studies.retailers import retailers
from studies.stockouts import stockouts


def draws(costs):
    """Rows of `orders.costs`: a draw for each pair of the ensemble's and LightGBM's cost."""
    rows = [
        ("product", "cost", 1, policy, cost, 0.95, seed)
        for seed, pair in enumerate(costs)
        for policy, cost in zip(("ensemble", "lightgbm"), pair, strict=True)
    ]
    return pd.DataFrame(rows, columns=[*orders.KEYS, "policy", "cost", "fill_rate", "seed"])


def test_differences_over_draws_by_hand():
    row = orders.differences(draws([(90, 100), (110, 100)])).iloc[0]
    assert (row["against"], row["draws"], row["lower"]) == ("lightgbm", 2, 1)
    assert row["mean"] == pytest.approx(0) and row["high"] == pytest.approx(12.706 * 0.1, rel=1e-3)
    alone = orders.differences(draws([(90, 100)])).iloc[0]
    assert alone["mean"] == pytest.approx(-0.1) and np.isnan(alone["low"]), "one draw has no interval"


def test_rows_of_other_draws_stay(tmp_path):
    both = draws([(90, 100), (110, 100)])
    for seed in (0, 1):
        found = orders.save(both[both["seed"] == seed], tmp_path)
    assert found["draws"].tolist() == [2]


def test_draws_are_markets_that_the_notebooks_understand(tmp_path):
    study = parameters.load(orders.Study, "orders")
    retailers.prepare_work(retailers.Study(), orders.lines(study, study.seeds, tmp_path), tmp_path)
    own = settings.load(orders.name_of(study.seeds[0]), path=tmp_path / "params.yaml")
    assert own.finetune.steps == study.finetune["steps"] and own.evaluate.methods == study.evaluate["methods"]
    assert own.promotions == settings.load("simulated").promotions, "the rest is as in the project"
    assert own.market.tables.endswith("build/draw_1/tables")


def test_an_unknown_simulation_is_told(tmp_path):
    study = orders.Study("nowhere", [1], {}, {})
    with pytest.raises(ValueError, match="has no simulation 'nowhere'"):
        orders.draw(study, 1, tmp_path)


def test_forecasts_against_those_that_learned_demand_by_hand():
    rows = [(0.1, 0, "product", "x", learned, 0.15, units) for learned, units in (("sales", 95.0), ("corrected", 99.0))]
    rows.append((0.1, 0, "product", "x", "demand", 0.15, 100.0))
    table = pd.DataFrame(rows, columns=[*stockouts.KEYS, "cut", "forecast"])
    found = stockouts.against_demand(table).set_index("learned")
    assert found["mean"].round(6).to_dict() == {"corrected": -0.01, "sales": -0.05}
    assert found["cut"].tolist() == [0.15, 0.15]


def test_a_world_is_learned_from_sales_from_the_table_and_from_demand(tmp_path):
    market = draw(Simulation(seed=1, n_products=20, n_new=0, n_stores=12, n_weeks=60, stock_outs=0.15))
    prepare = Prepare(n_products=20, n_regions=2)
    panels = {
        name: stockouts.panel_of(market, prepare, name, tmp_path / name)
        for name in (stockouts.SALES, stockouts.CORRECTED, stockouts.DEMAND)
    }
    totals = {name: panel.frame.query("location == 'chain'")["y"].sum() for name, panel in panels.items()}
    own = market["products"]["product_id"].isin(panels["sales"].products.index).to_numpy()
    assert totals["demand"] == market["wanted"][own].sum() and totals["sales"] == market["sold"][own].sum()
    assert abs(totals["corrected"] / totals["demand"] - 1) < 0.03 < 0.05 < 1 - totals["sales"] / totals["demand"]
    assert ["sold" in panel.frame for panel in panels.values()] == [False, True, False]


def test_the_studys_parameters_make_simulations():
    study = parameters.load(stockouts.Study, "stockouts")
    for starts in study.stock_outs:
        assert Simulation(**study.simulation, stock_outs=starts).stock_outs == starts
