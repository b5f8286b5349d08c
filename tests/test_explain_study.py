"""The study of explanations: true contributions follow the laws, scores are right on small examples, and it runs whole."""

import json
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch

from shelfcast.market import laws
from shelfcast.market.laws import EFFECTS, LAW
from shelfcast.market.truth import draw
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.settings import Simulation
from shelfcast.why.explain.shapley import shapley
from shelfcast.why.explain.value import coalitions
from studies.explanations import explanations, measure, scores, truth
from studies.explanations.truth import GROUPS

SMALL = dict(n_products=24, n_new=2, n_stores=6, n_weeks=60)
NOW = 50


@pytest.fixture(scope="module")
def market():
    return draw(Simulation(**SMALL))


def places(market) -> dict[str, list[str]]:
    stores = list(market["stores"]["store_id"])
    return {"chain": stores, "region_1": stores[:2], "region_2": stores[2:]}


@pytest.fixture(scope="module")
def true(market):
    """Units of all sets for the first five products, at a level of 2 units a week everywhere."""
    products = list(market["products"]["product_id"][:5])
    return truth.true_units(market, products, market["mondays"][NOW], places(market), np.full((5, 3), 2.0))


# ---------------------------------------------------------------- the truth


def test_the_whole_set_is_the_laws_own_mean(market, true):
    effects, weeks = market["products"][EFFECTS], np.arange(NOW + 1, NOW + 5)
    plan = {name.removeprefix("plan_"): x for name, x in market.items() if name.startswith("plan_")}
    taste = market["taste"] + laws.city_taste(effects, market["stores"])
    utility = laws.utility(effects, taste, plan, weeks, np.full(4, market["regime"][NOW]))
    ahead = weeks - NOW
    states = market["interest"][:, [NOW + 1]] * LAW.interest.persistence ** (ahead - 1)
    states = states + market["popularity"][:, [NOW]] * LAW.popularity.persistence**ahead
    travel, _ = laws.shock_law(market["stores"])
    shock = np.stack([np.linalg.matrix_power(travel, h) @ market["field"][:, NOW] for h in ahead], 1)
    shock = shock + market["rival"][:, None] * (market["regime"][NOW] > 1)
    size = market["stores"]["size"].to_numpy()
    mean = laws.mean_units(utility + states[:, None], shock, size, market["level"], "log_linear")[:5]
    wanted = np.stack([mean.sum(1), mean[:, :2].sum(1), mean[:, 2:].sum(1)], 1)
    np.testing.assert_allclose(true[-1], wanted, rtol=1e-9)


def test_regions_add_up_to_the_chain_where_the_level_does_not_matter(true):
    own = coalitions(len(GROUPS))[:, GROUPS.index("own")]
    np.testing.assert_allclose(true[own][:, :, 0], true[own][:, :, 1:].sum(2))


def test_a_plan_without_promotions_moves_nothing(market, true):
    promotion = shapley(true)[GROUPS.index("promotion"), :, 0]
    weeks = np.arange(NOW + 1, NOW + 5)
    planned = market["plan_mailer"][:5, weeks] + market["plan_display"][:5][..., weeks].sum(1)
    assert (planned == 0).any() and (promotion[planned == 0] == 0).all() and (promotion[planned > 0] > 0).all()


def test_a_higher_level_says_more_popular(market):
    def usual(level):
        products = list(market["products"]["product_id"][:2])
        return truth.true_units(market, products, market["mondays"][NOW], places(market), np.full((2, 3), level))[0]

    np.testing.assert_allclose(usual(4.1) / usual(2.1), 2.0)  # units above the floor of a tenth


def test_effects_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="mechanism is 'choice'"):
        truth.true_units({"settings": {"mechanism": "choice"}}, [], pd.Timestamp("2023-01-02"), {}, np.zeros((0, 1)))


# ---------------------------------------------------------------- scores


def test_curves_by_hand():
    units = np.array([0.0, 6.0, 1.0, 10.0])  # of nothing, the first group, the second, both
    deletion, insertion = measure.order_curves(units, np.array([0, 1]))
    assert deletion.tolist() == [0, 9, 10] and insertion.tolist() == [10, 4, 0]


def test_random_curves_are_the_mean_of_all_orders():
    units = np.random.default_rng(0).normal(size=8)
    orders = [measure.order_curves(units, np.array(order)) for order in permutations(range(3))]
    for found, wanted in zip(measure.random_curves(units), np.mean(orders, 0), strict=True):
        np.testing.assert_allclose(found, wanted)


def test_rank_agreement_by_hand():
    one = pd.DataFrame([[3.0, -1.0, 0.5], [1.0, 1.0, 1.0]], ["a", "b"])
    assert scores.rank_agreement(one, 2 * one) == pytest.approx(1)  # the second has no ranks
    assert scores.rank_agreement(one, -one) == pytest.approx(-1)
    assert scores.rank_agreement(one, -one, by_size=True) == pytest.approx(1)
    assert np.isnan(scores.rank_agreement(one.iloc[1:], one.iloc[1:]))


def test_what_truly_matters_is_found_by_size():
    true = pd.DataFrame([[0.5, 0.0, -0.2, 0.01]])
    assert scores.precision_recall(pd.DataFrame([[-0.3, 0.1, 0.2, 0.0]]), true, 0.05) == (1.0, 0.5)
    assert scores.precision_recall(pd.DataFrame([[0.0, 0.3, 0.2, 0.1]]), true, 0.05)[0] == pytest.approx(0.5)
    assert np.isnan(scores.precision_recall(true, 0 * true, 0.05)[0])


def test_groups_that_never_move_anything_have_no_score():
    true = pd.DataFrame({"price": [0.1, 0.2, -0.3], "category": 0.0})
    assert scores.by_group(true, true) == {"price": pytest.approx(1)}


def test_shuffled_weights_are_the_same_numbers_in_another_order():
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 5)
    other = measure.shuffled(model, seed=1)
    for before, after in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert not torch.equal(model.weight, other.weight)


# ---------------------------------------------------------------- the study


def trained(panel, backbone, folder, n_seeds=2):
    """Untrained models of a small retailer, as training would have left them."""
    panel.save(folder / "panel")
    market = market_tensors(panel, load_tokenizer(backbone))
    for seed in range(n_seeds):
        torch.manual_seed(seed)
        model = SalesBert.from_backbone(backbone, layers=2, width=32, body="compact", **market.sizes())
        torch.nn.init.normal_(model.head[-1].weight, std=0.3)
        model.save_pretrained(folder / f"models/shelfcast/seed_{seed}")
    facts = {"backbone": backbone, "price_plan": False, "scale": market.scale, "seeds": list(range(n_seeds))}
    (folder / "models/shelfcast/variant.json").write_text(json.dumps(facts))


def test_the_study_runs_and_resumes(small_panel, tiny_bert, tmp_path, monkeypatch):
    trained(small_panel, tiny_bert, tmp_path / "tea")
    study = explanations.Study(["tea"], ["chain", "region_2"], n_products=3, n_cutoffs=1, matters=0.05)
    found, curves = explanations.results(study, "tea", tmp_path)
    assert set(found["scores"]) == {"chain", "region_2"} and found["made"]["forecasts"] == 6
    chain = found["scores"]["chain"]
    assert set(chain) == set(measure.METHODS) and "size_agreement" not in chain["shapley"]
    assert chain["shapley"]["deletion"] > 1 > chain["shapley"]["insertion"]
    assert found["completeness"]["shapley"] < 1e-6 and found["completeness"]["gradients"] <= 0.0101
    drawn = explanations.picture(curves, "chain")
    assert [len(ax.lines) for ax in drawn.axes] == [5, 5]
    monkeypatch.setattr(measure, "explain_all", None)  # what was measured is read
    again, _ = explanations.results(study, "tea", tmp_path)
    assert again == found
