"""The study of what-if: true sales under another plan by hand, errors by hand, and a small market from end to end."""

import json

import numpy as np
import pandas as pd
import pytest
from small_models import make_models, save_models
from worlds import own_plan, units_by_laws

from shelfcast.data import tables
from shelfcast.market.tables import write as write_market
from shelfcast.market.truth import draw
from shelfcast.panel.build import build
from shelfcast.settings import Prepare, Simulation
from studies import parameters
from studies.whatif import twins, whatif
from studies.whatif.truth import PRESENT, Alone, expected
from studies.whatif.whatif import Study

SMALL = {"n_products": 12, "n_new": 2, "n_stores": 6, "n_weeks": 60}


@pytest.fixture(scope="module", params=["log_linear", "choice"])
def market(request):
    return draw(Simulation(**SMALL, mechanism=request.param))


def everywhere(market):
    return {"chain": market["stores"]["store_id"].tolist(), "region_1": market["stores"]["store_id"].tolist()[:2]}


def test_the_present_plan_gives_the_markets_own_means(market):
    weeks = market["mondays"][[20, 50, 59]]
    got = expected(market, weeks, everywhere(market), PRESENT)
    own = market["mean"][..., [20, 50, 59]]
    np.testing.assert_allclose(got[:, 0], own.sum(1), rtol=1e-9)
    np.testing.assert_allclose(got[:, 1], own[:, :2].sum(1), rtol=1e-9)
    assert np.isfinite(expected(market, market["mondays"][-4:], everywhere(market), PRESENT)).all()
    with pytest.raises(ValueError, match="are none of the market's"):
        expected(market, pd.DatetimeIndex(["2030-01-07"]), everywhere(market), PRESENT)


def test_another_plan_of_one_product_is_that_of_the_laws(market):
    """By changing one product in the laws themselves."""
    weeks, i = np.array([40, 55]), 3
    plan = Alone(price_factor=0.8, mailer=1.0, display=0.0)
    changed = own_plan(market)
    changed["log_price"][i] += np.log(0.8)
    changed["mailer"][i], changed["display"][i] = 1.0, 0.0
    units = units_by_laws(market, changed, weeks)
    got = expected(market, market["mondays"][weeks], everywhere(market), plan)
    np.testing.assert_allclose(got[i, 0], units[i].sum(0), rtol=1e-9)


def test_errors_by_hand():
    row = {"plan": "a", "method": "model", "market": "m", "level": "product", "horizon": 1}
    sums = {"truth": 10.0, "forecast": 4.0, "response": 2.0, "present": 1.0, "present_truth": 8.0}
    sums |= {"log_true": -1.0, "log_forecast": -0.5, "n": 2}
    other = row | sums | {"plan": "b", "truth": 30.0, "response": 0.0}
    table = whatif.summary(pd.DataFrame([row | sums, other])).set_index("plan")
    assert table.loc["a", "response"] == 0.2 and table.loc["all", "response"] == 0.05
    assert table.loc["a", "present"] == 0.125 and table.loc["a", "log_forecast"] == -0.25
    rises = pd.DataFrame(
        {"market": "m", "method": "model", "level": "product", "factor": 1.1, "raised": [1, 0], "n": [4, 6]}
    )
    assert whatif.share_raised(rises)["share"].tolist() == [0.1]


def test_markets_that_are_not_judged_again_stay(tmp_path):
    for name, share in (("north", 0.1), ("south", 0.2), ("north", 0.3)):
        whatif.write({"rises": pd.DataFrame({"market": [name], "share": [share]})}, tmp_path)
    table = pd.read_csv(tmp_path / "rises.csv").set_index("market")["share"]
    assert table.to_dict() == {"south": 0.2, "north": 0.3}


def test_parameters_of_the_study_are_understood():
    study = parameters.load(Study, "whatif")
    assert [Alone(**plan) for plan in study.plans.values()]
    assert {twins.simulation(study, name).confounding for name in study.twins} == {"none", "hidden"}
    with pytest.raises(ValueError, match="no twin 'simulated_nine'"):
        twins.simulation(study, "simulated_nine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_bert):
    """A small simulated market with random models, as the pipeline leaves it."""
    folder = tmp_path_factory.mktemp("build") / "small"
    write_market(folder, Simulation(**SMALL))
    raw = tables.load("simulated", folder / "tables", None)
    panel = build(raw, Prepare(n_products=10, n_regions=2, validation_weeks=5, test_weeks=5))
    panel.save(folder / "panel")
    models, facts = make_models(panel, tiny_bert)
    save_models(folder, models, facts)
    return folder


def test_a_market_is_judged_and_resumed(folder, tmp_path, monkeypatch):
    study = Study(plans={"lower": {"price_factor": 0.8}, "on": {"mailer": 1.0, "display": 1.0}}, rises=[1.1])
    scores, raised = whatif.judge(folder, study, tmp_path)
    assert set(scores["method"]) == {"model"} and set(scores["plan"]) == {"lower", "on", "all"}
    chain = scores[(scores["level"] == "product")].set_index("plan")
    assert chain.loc["lower", "log_true"] > 0.2 and chain.loc["on", "log_true"] > 0.1
    assert (scores[["forecast", "response", "present"]] > 0).all(None) and raised["share"].between(0, 1).all()
    monkeypatch.setattr(whatif, "judge_cutoff", lambda *_: pytest.fail("finished cutoffs are kept"))
    again, _ = whatif.judge(folder, study, tmp_path)
    pd.testing.assert_frame_equal(again, scores)


def test_an_estimate_in_the_folder_is_judged_too(folder, tmp_path):
    """A certain estimate that is right leaves no error of the price's part but that products differ."""
    study = Study(plans={"lower": {"price_factor": 0.8}})
    truth = whatif.judge(folder, study, tmp_path)[0].set_index("level").query("plan == 'lower'").loc["product"]
    elasticity = truth["log_true"] / np.log(0.8)
    (folder / "responses.json").write_text(json.dumps({"elasticity": elasticity, "elasticity_se": 0.01}))
    scores = whatif.judge(folder, study, tmp_path)[0].query("plan == 'lower' and level == 'product'")
    response = scores.set_index("method")["response"]
    assert set(response.index) == {"model", "anchored", "estimate"}
    assert response["estimate"] < response["model"] and response["anchored"] < response["model"]
    logs = scores.set_index("method")["log_forecast"]
    assert abs(logs["anchored"] - truth["log_true"]) < abs(logs["model"] - truth["log_true"]) / 2
    assert scores.set_index("method").loc["anchored", "weight_price"] > 0.9
