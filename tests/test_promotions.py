"""The promotion plan: by brute force, by hand, on markets whose laws are known; and nothing after the cutoff matters."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import make_models
from small_retailer import add_optional_tables, changed_after, load_retailer, make_retailer, with_coming_promotions
from worlds import own_plan, units_by_laws

from shelfcast.act.promotions import words
from shelfcast.act.promotions.causes import Causes, causes
from shelfcast.act.promotions.decide import decide
from shelfcast.act.promotions.gains import gains, launched
from shelfcast.act.promotions.others import spillover, weights
from shelfcast.act.promotions.plan import best_plan, violated
from shelfcast.act.promotions.response import plans
from shelfcast.act.promotions.terms import Terms, known_costs, read_costs
from shelfcast.decision_options import Promotions
from shelfcast.market import laws
from shelfcast.market.truth import draw
from shelfcast.settings import Simulation
from shelfcast.why.whatif.anchor import Response
from shelfcast.why.whatif.forecast import Ready
from studies import parameters
from studies.promotions import promotions as study
from studies.promotions.truth import World, expected_states

SMALL = {"n_products": 12, "n_new": 2, "n_stores": 6, "n_weeks": 60}


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """All optional tables; promotions are planned for the coming weeks, too."""
    raw = with_coming_promotions(add_optional_tables(make_retailer()))
    return load_retailer(raw, tmp_path_factory.mktemp("retailer"))


@pytest.fixture(scope="module")
def trained(panel, tiny_bert):
    return make_models(panel, tiny_bert)


@pytest.fixture(scope="module")
def ready(panel, trained):
    return Ready.of(panel, *trained)


# ---------------------------------------------------------------- the plan


def by_brute_force(gain, spending, options):
    """The largest gain of all plans that hold the limits."""
    plans = itertools.product([False, True], repeat=gain.size)
    plans = (np.array(plan).reshape(gain.shape) for plan in plans)
    return max(gain[plan].sum() for plan in plans if not violated(plan, spending, options))


@pytest.mark.parametrize(
    "options",
    [
        Promotions(slots=1, max_weeks=2),
        Promotions(slots=2, max_weeks=1),
        Promotions(slots=3, max_weeks=2, apart=True),
        Promotions(slots=3, max_weeks=2, budget=8.0),
        Promotions(slots=2, max_weeks=2, budget=5.0, apart=True),
    ],
)
def test_three_products_and_two_weeks_by_brute_force(options):
    rng = np.random.default_rng(0)
    for _ in range(8):
        gain, spending = rng.normal(1, 2, (3, 2)), rng.uniform(1, 5, (3, 2))
        chosen = best_plan(gain, spending, options)
        assert not violated(chosen.plan, spending, options)
        assert chosen.gain == pytest.approx(by_brute_force(gain, spending, options)) and chosen.gap == 0
        assert gain[chosen.plan].sum() == pytest.approx(chosen.gain)


def test_limits_hold_and_are_used():
    rng = np.random.default_rng(1)
    gain, spending = rng.gamma(1, 5, (40, 4)), rng.uniform(1, 5, (40, 4))
    options = Promotions(slots=5, max_weeks=2, apart=True, budget=30.0)
    chosen = best_plan(gain, spending, options)
    assert not violated(chosen.plan, spending, options) and chosen.gain > 0
    again = best_plan(gain, spending, options)
    np.testing.assert_array_equal(again.plan, chosen.plan)
    free = best_plan(gain, spending, Promotions(slots=5, max_weeks=2))
    assert free.gain > chosen.gain and (free.plan.sum(0) == 5).all()


def test_a_broken_limit_is_told():
    """The control: without it no plan could fail the tests above."""
    plan = np.array([[True, True], [True, False]])
    broken = violated(plan, np.ones((2, 2)), Promotions(slots=1, max_weeks=1, apart=True, budget=2.0))
    assert [text.split()[0] for text in broken] == ["2", "a", "a", "the"]
    assert not violated(plan, np.ones((2, 2)), Promotions(slots=2, max_weeks=2, budget=3.0))


def test_no_slots_and_no_gain_are_no_plan():
    gain = np.ones((3, 2))
    assert best_plan(gain, gain, Promotions(slots=0)).plan.sum() == 0
    assert best_plan(-gain, gain, Promotions()).gain == 0
    assert best_plan(gain, gain, Promotions(budget=0.5)).plan.sum() == 0


@pytest.mark.parametrize(
    "gain, spending, message",
    [
        ([[1.0, np.nan]], [[1.0, 1.0]], "no numbers"),
        ([[1.0, 2.0]], [[1.0, -1.0]], "below zero"),
        ([[1.0, 2.0]], [[1.0]], "products x weeks"),
    ],
)
def test_gains_that_are_none_get_a_sentence(gain, spending, message):
    with pytest.raises(ValueError, match=message):
        best_plan(np.array(gain), np.array(spending), Promotions())


# ---------------------------------------------------------------- prices and costs


def test_money_by_hand():
    terms = Terms(pd.Index(["p"]), np.array([2.0]), np.array([1.2]), 0.2)
    assert terms.promoted == 1.6 and terms.margin_promoted == pytest.approx(0.4)
    assert terms.money(np.array([[10.0]]), np.array([[30.0]])) == pytest.approx(30 * 0.4 - 10 * 0.8)
    funded = dataclasses.replace(terms, funded=0.5)
    assert funded.given_away == pytest.approx(0.2) and funded.margin_promoted == pytest.approx(0.6)


def test_terms_are_those_of_the_panel(panel, ready):
    chain = panel.frame[panel.frame["location"] == "chain"]
    product = panel.products.index[0]
    own = chain[chain["product_id"] == product].sort_values("ds")
    shelf = own["price"] + own["price_level"]
    expected = np.exp(shelf[own["promotion"].fillna(0) < 0.5].iloc[-8:].median())
    terms = Terms.of(panel, Promotions(cut=0.1, margin=0.4))
    assert terms.regular[0] == pytest.approx(expected, rel=1e-6) and terms.promoted[0] == pytest.approx(0.9 * expected)
    assert terms.cost[0] == pytest.approx(0.6 * expected) and "promotions.margin" in " ".join(terms.notes)
    assert 0 <= Terms.of(panel, Promotions()).cut < 0.2  # prices of this retailer do not follow its promotions


def test_the_latest_cost_up_to_the_cutoff_counts(panel):
    first, last = panel.weeks[0], panel.weeks[-1]
    product = panel.products.index[0]
    rows = [(product, first, 0.5), (product, last, 0.7), (product, last + pd.Timedelta(weeks=1), 9.0)]
    costs = pd.DataFrame(rows, columns=["product_id", "week", "cost"])
    assert known_costs(costs, last)[product] == 0.7 and known_costs(costs, first)[product] == 0.5
    terms = Terms.of(panel, Promotions(), costs)
    assert terms.cost[0] == 0.7 and f"{len(panel.products) - 1} products are not in it" in " ".join(terms.notes)
    with pytest.raises(ValueError, match="no column 'cost'"):
        known_costs(costs.drop(columns="cost"), last)
    with pytest.raises(ValueError, match=f"product '{product}'"):
        known_costs(costs.assign(cost=-1.0), last)


def test_costs_are_read_where_a_retailer_has_them(tmp_path):
    assert read_costs(tmp_path) is None
    prices = pd.DataFrame({"product_id": ["a"], "week": [pd.Timestamp("2024-01-01")], "price": [2.0]})
    prices.to_parquet(tmp_path / "prices.parquet")
    assert read_costs(tmp_path) is None
    prices.assign(cost=1.0).to_parquet(tmp_path / "prices.parquet")
    assert read_costs(tmp_path)["cost"].tolist() == [1.0]


# ---------------------------------------------------------------- gains


@dataclasses.dataclass
class World10:
    """In place of a model: every series sells `level` units, and a promotion and the category's do what is stated."""

    names: list
    scale: dict
    level: float
    lift: float
    others: float

    def predict(self, plan, products=slice(None)):
        def column(name):
            mean, deviation = self.scale[name]
            return plan[..., self.names.index(name)] * deviation + mean

        log = self.lift * column("promotion") + self.others * column("category_promotion")
        mean = (self.level * torch.exp(log)).double().numpy()
        return mean, np.full(mean.shape, 0.2)


def known_world(ready, lift=0.7, others=0.0, level=10.0):
    wide = {name: (0.0, 1.0) for name in ready.market.names["plan"]}  # so that nothing is clipped
    market = dataclasses.replace(ready.market, scale=wide)
    past = World10(ready.market.names["plan"], wide, level, lift, others)
    present = past.predict(market.tensors["plan"])
    return dataclasses.replace(ready, market=market, pasts=[past], present=[present])


def terms_of(ready, **options):
    n = len(ready.plan.products)
    return Terms(ready.plan.products, np.full(n, 2.0), np.full(n, 1.2), 0.1, **options)


def test_a_known_constant_lift_is_found(ready):
    found = gains(known_world(ready), terms_of(ready, fixed_cost=1.5), {"promotion": 1.0}, draws=2000)
    on = found.on_sale
    more = 10 * np.expm1(0.7)
    np.testing.assert_allclose(found.base[on], 10, rtol=1e-5)
    np.testing.assert_allclose(found.expected["units"][on], more, rtol=1e-5)
    np.testing.assert_allclose(found.model[on], more, rtol=1e-5)
    np.testing.assert_allclose(found.expected["others"], 0, atol=1e-9)
    money = (10 + more) * 0.6 - 10 * 0.8 - 1.5
    np.testing.assert_allclose(found.expected["money"][on], money, rtol=1e-5)
    np.testing.assert_allclose(found.spending[on], 1.5 + (10 + more) * 0.2, rtol=1e-5)
    np.testing.assert_allclose(found.drawn["money"].mean(0)[on], money, rtol=1e-5)
    frame = found.frame(on)
    assert (frame["units_low"] < frame["units"]).all() and (frame["units"] < frame["units_high"]).all()
    assert frame["units_cause"].isna().all() and frame["chosen"].all()


def test_nothing_is_gained_where_promotions_do_nothing(ready):
    """The control of the test above."""
    found = gains(known_world(ready, lift=0.0), terms_of(ready), {"promotion": 1.0})
    np.testing.assert_allclose(found.expected["units"], 0, atol=1e-6)
    assert (found.expected["money"][found.on_sale] < 0).all()  # the price cut is given away
    assert not best_plan(found.of_goal("margin"), found.spending, Promotions()).plan.any()


def test_the_others_lose_what_the_category_takes(ready):
    world = known_world(ready, others=-0.4)
    found = gains(world, terms_of(ready), {"promotion": 1.0})
    units = ready.plan.units
    assert (ready.plan.category == 0).all()
    slope = np.log(np.exp(-0.4 * 0.1)) / 0.1
    on = found.on_sale.astype(float)
    for i in range(len(units)):
        weight = np.array([0 if j == i else units[i] / (units.sum() - units[j]) for j in range(len(units))])
        lost = (weight[:, None] * slope * 10 * on).sum(0) * on[i]
        np.testing.assert_allclose(found.expected["others"][i], lost, rtol=1e-4)
    single = gains(known_world(ready), terms_of(ready), {"promotion": 1.0})
    less = found.expected["others"] * 0.8
    np.testing.assert_allclose(found.expected["money"] - single.expected["money"], less, rtol=1e-3, atol=1e-6)


def test_spillover_by_hand():
    lost, money = spillover(
        np.full((1, 2, 1), -0.2), np.array([[3.0], [10.0]]), np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([9.0, 0.5])
    )
    assert lost.ravel().tolist() == [-2.0, 0.0] and money.ravel().tolist() == [-1.0, 0.0]


def test_products_of_another_category_lose_nothing(ready):
    plan = dataclasses.replace(ready.plan, category=np.arange(len(ready.plan.products)))
    assert weights(plan, np.ones(len(plan.products))).sum() == 0


def test_gains_lean_on_a_sure_estimate_of_causes(ready):
    """The models say a lift of .7; where causes surely are .3, so is the plan's; where nothing is sure, it stays."""
    world, terms = known_world(ready), terms_of(ready, funded=0.0)
    terms = dataclasses.replace(terms, cut=0.0)

    def log_factor(se):
        response = Response(lift={"promotion": 0.3}, lift_se={"promotion": se})
        found = gains(world, terms, {"promotion": 1.0}, Causes(response, None), draws=50)
        on = found.on_sale
        np.testing.assert_allclose(found.cause[on], 10 * np.expm1(0.3), rtol=0.6)
        return np.log1p(found.expected["units"][on] / found.base[on])

    np.testing.assert_allclose(log_factor(1e-6), 0.3, atol=1e-3)
    np.testing.assert_allclose(log_factor(9.0), 0.7, atol=1e-3)


def test_the_estimates_error_widens_the_range(ready):
    world, terms = known_world(ready), terms_of(ready)

    def width(se):
        response = Response(lift={"promotion": 0.3}, lift_se={"promotion": se})
        found = gains(world, terms, {"promotion": 1.0}, Causes(response, None))
        _, low, high = found.total(found.on_sale)["units"]
        return high - low

    assert width(0.2) > 1.5 * width(1e-3)


def test_products_are_not_promoted_before_their_launch(ready):
    week = ready.plan.weeks[2]
    products = ready.panel.products.assign(launch=pd.NaT)
    products.loc[products.index[1], "launch"] = week
    panel = dataclasses.replace(ready.panel, products=products)
    late = dataclasses.replace(known_world(ready), panel=panel)
    assert launched(late)[1].tolist() == [False, False, True, True] and launched(late)[0].all()
    found = gains(late, terms_of(ready), {"promotion": 1.0})
    assert not found.of_goal("margin")[1, :2].any() and found.of_goal("units")[1, 2] > 0
    assert "1 products are not on sale" in " ".join(found.notes)
    assert len(found.frame(found.on_sale)) == found.on_sale.sum() == found.on_sale.size - 2


def test_the_empty_plan_is_empty_and_the_full_one_alone(ready):
    terms = terms_of(ready)
    empty, full = plans(ready, terms, {"mailer": 1.0})
    for name in empty.promotions:
        assert not empty.values[name].any()
    assert (full.values["promotion: mailer"] == 1).all() and not full.values["promotion: display"].any()
    assert not full.values["category_promotion"].any()
    np.testing.assert_allclose(np.exp(empty.log_price), 2.0, rtol=1e-9)
    np.testing.assert_allclose(np.exp(full.log_price), 1.8, rtol=1e-9)


# ---------------------------------------------------------------- from end to end


def test_nothing_after_the_cutoff_matters_but_the_plan(panel, trained):
    cutoff = panel.cutoffs["test"][0]
    costs = pd.DataFrame({"product_id": panel.products.index, "week": cutoff, "cost": 0.9})
    later = costs.assign(week=cutoff + pd.Timedelta(weeks=1), cost=0.1)
    options = Promotions(slots=2, channels={"mailer": 1.0})

    def frame(panel, costs):
        return decide(Ready.of(panel, *trained, cutoff), options, costs).frame

    before = frame(panel, costs)
    after = frame(changed_after(panel, cutoff), pd.concat([costs, later]))
    pd.testing.assert_frame_equal(before, after)
    early = frame(changed_after(panel, cutoff - pd.Timedelta(weeks=8)), costs)
    assert not np.allclose(before["units_without"], early["units_without"])  # the control: what came before does


def test_effects_come_from_weeks_up_to_their_end(panel):
    until = panel.weeks[33]
    found = causes(panel, True, until)
    again = causes(changed_after(panel, until), True, until)
    assert found == again and found.own is not None
    assert causes(changed_after(panel, panel.weeks[20]), True, until) != found  # the control


def test_a_market_is_decided(ready):
    options = Promotions(slots=2, max_weeks=1, cut=0.05, margin=0.6)
    decided = decide(ready, options)
    frame = decided.frame
    assert frame.groupby("ds")["chosen"].sum().max() <= 2 and frame.groupby("product_id")["chosen"].sum().max() <= 1
    money = decided.money
    assert money["promotions"] == frame["chosen"].sum()
    assert money["money"] == pytest.approx(frame.loc[frame["chosen"], "money"].sum())
    assert money["money_low"] <= money["money"] <= money["money_high"]
    pd.testing.assert_frame_equal(decide(ready, options).frame, frame)
    text = " ".join(words.sentences(decided, pd.Series({frame["product_id"].iloc[0]: "Green tea"})))
    assert "leaves out (1) stock" in text and "nan" not in text and "2 slots a week" in text
    assert frame["planned_now"].any() == decided.planned_now.any()


def test_no_plan_is_said_so(ready):
    decided = decide(ready, Promotions(fixed_cost=1e6))
    assert decided.money["promotions"] == 0 and decided.money["money"] == 0
    assert words.headline(decided).startswith("No promotion is worth its cost")


def test_a_retailer_without_promotions_and_unknown_channels_get_a_sentence(ready, tiny_bert, tmp_path):
    with pytest.raises(ValueError, match="no channel 'radio'"):
        decide(ready, Promotions(channels={"radio": 1.0}))
    with pytest.raises(ValueError, match="between 0 and 1"):
        decide(ready, Promotions(channels={"mailer": 2.0}))
    raw = add_optional_tables(make_retailer())
    panel = load_retailer({name: table for name, table in raw.items() if name != "promotions"}, tmp_path)
    with pytest.raises(ValueError, match="no table of promotions"):
        decide(Ready.of(panel, *make_models(panel, tiny_bert)), Promotions())


def test_money_in_words():
    assert [words.money(value) for value in (1234.4, 12.3, -5, -0.001)] == ["1,234", "12.30", "−5.00", "0.00"]


# ---------------------------------------------------------------- the study


@pytest.fixture(scope="module", params=["log_linear", "choice"])
def market(request):
    return draw(Simulation(**SMALL, mechanism=request.param))


def world_of(market, states="true"):
    regular = market["products"].set_index("product_id")["list_price"]
    return World.of(market, market["mondays"][50], regular, 0.2, {"mailer": 1.0, "display": 0.5}, 1.0, states)


def test_true_units_are_those_of_the_laws(market):
    """By changing the market's own plan and asking the laws."""
    at, plan = 51 + np.arange(4), np.zeros((12, 4), bool)
    plan[2, 1] = plan[5] = True
    stated = own_plan(market)
    stated["log_price"][:, at] = np.where(plan, np.log(0.8), 0)
    stated["mailer"][:, at], stated["display"][..., at] = plan, 0.5 * plan[:, None]
    kind = market["products"]["kind"].to_numpy()
    for i in range(12):
        rivals = [j for j in range(12) if kind[j] == kind[i] and j != i]
        stated["rivals"][i, at] = plan[rivals].mean(0) if rivals and not market["level"]["nothing"] else 0
    units = units_by_laws(market, stated, at)
    world = world_of(market)
    np.testing.assert_allclose(world.units(plan), units.sum(1), rtol=1e-9)
    price = np.where(plan, 0.8, 1.0) * market["products"]["list_price"].to_numpy()[:, None]
    cost = 0.6 * market["products"]["list_price"].to_numpy()[:, None] * np.exp(market["cost"][:, at])
    money = ((price - cost) * units.sum(1)).sum() - plan.sum()
    assert world.money(plan).sum() == pytest.approx(money, rel=0.01)  # costs are in whole cents


def test_single_gains_and_the_best_plan_of_the_truth(market):
    world, rng = world_of(market), np.random.default_rng(0)
    alone, spending, options = world.alone(), world.spending(), Promotions(slots=3, max_weeks=2)
    one = np.zeros((12, 4), bool)
    one[4, 2] = True
    assert alone[4, 2] == pytest.approx(world.gain(one)) and world.gain(np.zeros_like(one)) == 0
    best = world.gain(best_plan(alone, spending, options).plan)
    others = [world.gain(best_plan(rng.random((12, 4)), spending, options).plan) for _ in range(10)]
    assert best > max(others)


def test_expected_states_are_the_means_of_the_laws(market):
    """By drawing many continuations of the states at a cutoff."""
    own, shocks = expected_states(market, 50, 4)
    rng, n = np.random.default_rng(0), 20000
    interest, popularity = np.full(n, market["interest"][0, 51]), np.full(n, market["popularity"][0, 50])
    travel, new = laws.shock_law(market["stores"])
    shock, root = np.repeat(market["field"][:, [50]], n, 1), np.linalg.cholesky(new)

    def step(law, x):
        return law.persistence * x + law.sd * np.sqrt(1 - law.persistence**2) * rng.normal(size=n)

    for h in range(4):
        interest = step(laws.LAW.interest, interest) if h else interest
        popularity = step(laws.LAW.popularity, popularity)
        shock = travel @ shock + root @ rng.normal(size=shock.shape)
        assert np.exp(interest + popularity).mean() == pytest.approx(own[0, h], rel=0.02)
        np.testing.assert_allclose(np.exp(shock).mean(1), shocks[:, h], rtol=0.02)


def test_wrong_input_of_the_truth_gets_a_sentence(market):
    regular = market["products"].set_index("product_id")["list_price"]
    with pytest.raises(ValueError, match="Choose of true, expected"):
        world_of(market, "hoped")
    with pytest.raises(ValueError, match="no channel 'radio'"):
        World.of(market, market["mondays"][50], regular, 0.2, {"radio": 1.0})
    with pytest.raises(ValueError, match="none of the market's weeks"):
        World.of(market, pd.Timestamp("2030-01-07"), regular, 0.2, {})


def test_shares_by_hand():
    rows = [("a", "oracle", 10.0), ("a", "random", 2.0), ("b", "oracle", 30.0), ("b", "random", 2.0)]
    table = pd.DataFrame(rows, columns=["cutoff", "plan", "gain"]).assign(market="m", terms="t", promotions=3.0)
    shares = study.summary(table).set_index("plan")
    assert shares.loc["oracle", "share"] == 1 and shares.loc["random", "share"] == 0.1
    assert shares.loc["random", "low"] == pytest.approx(2 / 30) and shares.loc["random", "high"] == pytest.approx(0.2)


def test_parameters_of_the_study_are_understood():
    known = parameters.load(study.Study, "promotions")
    assert {name: type(options) for name, options in known.options().items()} == dict.fromkeys(known.terms, Promotions)
    with pytest.raises(ValueError, match="no parameter 'slot'"):
        study.Study(terms={"few": {"slot": 1}}).options()
