"""Effects are found where the truth is known, checks raise an alarm where they should, and wrong input gets a sentence."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from small_retailer import changed_after

from shelfcast.data import tables
from shelfcast.data.schema import CHAIN
from shelfcast.market.tables import raw_tables
from shelfcast.market.truth import draw
from shelfcast.panel.build import build
from shelfcast.settings import Prepare, Simulation
from shelfcast.why.causes import checks, data, effects, errors, words
from shelfcast.why.causes.checks import Hidden
from shelfcast.why.causes.data import COST, PRICE, Rows
from shelfcast.why.causes.effects import Effect
from shelfcast.why.causes.substitutes import cross_price
from studies.causes import causes, truth, worlds

TRUE, WEEKS, PRODUCTS = -2.0, 104, 24


def linear_world(seed=0, seen=0.0, hidden=0.0, follows=0.0, cross=None, n_products=PRODUCTS) -> Rows:
    """Products whose price moves sales by `TRUE` and follows a cost by .5; `seen` and `hidden` confound.

    Parameters
    ----------
    seen : of a control that moves log price by `seen` / 10 and log units by `seen`. hidden : likewise, of no column.
    follows : of this week's demand on the price of four weeks later.
    cross : effect of each product's price on the next one's units.
    """
    draw = np.random.default_rng(seed)
    shape = (n_products, WEEKS)
    control, unknown, cost = (draw.normal(size=shape) for _ in range(3))
    demand = 0.2 * draw.normal(size=shape) + hidden * unknown
    earlier = np.pad(demand, ((0, 0), (4, 0)))[:, :WEEKS]
    price = 0.05 * draw.normal(size=shape) + 0.1 * (seen * control + hidden * unknown) + 0.05 * cost + follows * earlier
    log_units = 5 + draw.normal(size=(n_products, 1)) + TRUE * price + seen * control + demand
    if cross is not None:
        log_units += cross * np.roll(price, 1, 0)
    week = np.arange(WEEKS)
    ids = pd.MultiIndex.from_product([[f"p{i:02d}" for i in range(n_products)], week], names=["product_id", "week"])
    frame = ids.to_frame(index=False).assign(
        location=CHAIN,
        log_units=log_units.ravel(),
        log_price=price.ravel(),
        promotion=(draw.random(shape) < 0.2).ravel().astype(float),
        control=control.ravel(),
        lag_0_before=draw.normal(size=shape).ravel(),
        log_cost=0.1 * cost.ravel(),
    )
    frame["unique_id"] = frame["product_id"] + "|" + CHAIN
    frame["units"], frame["block"] = np.exp(frame["log_units"]), frame["week"] // 4
    frame["ds"] = pd.Timestamp("2022-01-03") + pd.to_timedelta(7 * frame["week"], unit="D")
    frame["category"] = np.where(frame["product_id"] < "p12", "TEA", "OAT MILK")
    return Rows(frame, [PRICE, "promotion"], ["control", "lag_0_before"])


def covers(effect: Effect, true: float = TRUE) -> bool:
    return effect.low <= true <= effect.high


@pytest.fixture(scope="module")
def market() -> dict:
    return draw(Simulation(seed=5, n_products=12, n_new=0, n_stores=30, n_weeks=60))


# ---------------------------------------------------------------- estimates


def test_an_observed_cause_of_price_and_sales_misleads_the_naive_regression_alone():
    rows = linear_world(seen=0.5)
    naive, two_way, dml = (effects.estimate(rows, method=method) for method in ("naive", "two_way", "dml"))
    assert naive.low > TRUE + 0.5 and two_way.low > TRUE + 0.5
    assert covers(dml) and dml.high - dml.low < 0.6
    assert dml.n == PRODUCTS * WEEKS and dml.clusters == {"product_id": PRODUCTS, "block": WEEKS // 4}


def test_a_hidden_cause_misleads_all_but_the_instrument():
    rows = linear_world(hidden=0.5)
    dml, instrument = (effects.estimate(rows, method=method) for method in ("dml", "instrument"))
    assert dml.low > TRUE + 0.5
    assert covers(instrument) and instrument.first_stage > effects.WEAK


def test_intervals_cover_the_truth_as_often_as_they_say():
    hits = [covers(effects.estimate(linear_world(seed, seen=0.3, n_products=10))) for seed in range(30)]
    assert sum(hits) >= 25  # fewer happens in one of 600 runs if each hit has a chance of .95


def test_trees_find_the_effect_too():
    assert abs(effects.estimate(linear_world(seen=0.5), learner="trees").estimate - TRUE) < 0.3


def test_levels_trends_and_seasons_of_a_series_do_not_move_its_effect():
    rows = linear_world(seen=0.5)
    before = effects.estimate(rows)
    week, number = rows.frame["week"], pd.factorize(rows.frame["product_id"])[0]
    own = number + 0.02 * number * week + np.sin(2 * np.pi * week / effects.YEAR + number)
    frame = rows.frame.assign(log_units=rows.frame["log_units"] + own, log_price=rows.frame["log_price"] + 0.3 * own)
    after = effects.estimate(dataclasses.replace(rows, frame=frame))
    assert after.estimate == pytest.approx(before.estimate) and after.se == pytest.approx(before.se)


def test_the_same_seed_gives_the_same_and_leaves_chance_alone():
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    first, again = (effects.estimate(linear_world(seen=0.5), seed=3) for _ in range(2))
    assert first == again
    assert np.random.random() == expected  # noqa: NPY002


def test_clustered_errors_are_those_of_the_library_and_wider_where_rows_depend_on_each_other():
    draw = np.random.default_rng(1)
    product, block = np.repeat(np.arange(20), 50), np.tile(np.arange(50) // 5, 20)
    d = draw.normal(size=20)[product] + 0.3 * draw.normal(size=1000)
    y = d + draw.normal(size=20)[product] + draw.normal(size=1000)
    frame = pd.DataFrame({"y": y - y.mean(), "d": d - d.mean(), "product_id": product, "block": block})
    slope = float((frame["d"] * frame["y"]).sum() / (frame["d"] ** 2).sum())
    clustered = errors.clustered_se(frame, ("product_id",))
    for ways in (("product_id",), ("product_id", "block")):
        library = effects.regress("y ~ d", frame, ways).se()["d"]
        assert errors.clustered_se(frame, ways) == pytest.approx(library, rel=0.03), ways  # small-sample factors differ
    plain = np.sqrt(((frame["y"] - slope * frame["d"]) ** 2).mean() / (frame["d"] ** 2).sum())
    assert clustered > 3 * plain
    few = frame.assign(product_id=frame["product_id"] % 3, block=frame["block"] % 3)
    assert errors.clustered_se(few, ("product_id", "block")) > 0


def test_groups_have_their_own_effects():
    rows = linear_world()
    tea = rows.frame["category"] == "TEA"
    frame = rows.frame.assign(log_units=rows.frame["log_units"] - np.where(tea, 1.0, 0.0) * rows.frame["log_price"])
    found = effects.by_group(dataclasses.replace(rows, frame=frame), "category")
    assert [effect.group for effect in found] == ["category=OAT MILK", "category=TEA"]
    assert covers(found[0], TRUE) and covers(found[1], TRUE - 1)
    assert list(effects.table(found)["clusters"]) == ["12 product_id, 26 block"] * 2


def test_prices_of_substitutes_are_told_apart():
    rows = linear_world(cross=0.8, n_products=4)
    found = cross_price(rows).set_index(["product_id", "price_of"])
    assert len(found) == 16
    own = [found.loc[(f"p0{i}", f"p0{i}")] for i in range(4)]
    from_before = [found.loc[(f"p0{i}", f"p0{(i - 1) % 4}")] for i in range(4)]
    others = [found.loc[(f"p0{i}", f"p0{(i + 2) % 4}")] for i in range(4)]
    for pairs, true in ((own, TRUE), (from_before, 0.8), (others, 0.0)):
        assert np.mean([row["estimate"] for row in pairs]) == pytest.approx(true, abs=0.35)
        assert sum(row["low"] <= true <= row["high"] for row in pairs) >= 3


# ---------------------------------------------------------------- checks


def test_sales_do_not_follow_a_price_that_has_not_come_unless_prices_follow_demand():
    assert covers(checks.placebo(linear_world(seen=0.5)), 0.0)
    alarm = checks.placebo(linear_world(follows=0.3))
    assert alarm.low > 0


def test_promotions_of_another_category_do_nothing():
    rows = linear_world()
    pairs = checks.other_products(rows)
    category = rows.frame.drop_duplicates("product_id").set_index("product_id")["category"]
    assert len(pairs) == PRODUCTS and (category[pairs].to_numpy() != category[pairs.index].to_numpy()).all()
    assert covers(checks.negative_control(rows), 0.0)
    promotion = rows.frame.set_index(["product_id", "week"])["promotion"]
    other = promotion.reindex(pd.MultiIndex.from_arrays([rows.frame["product_id"].map(pairs), rows.frame["week"]]))
    frame = rows.frame.assign(log_units=rows.frame["log_units"] + other.to_numpy())
    alarm = checks.negative_control(dataclasses.replace(rows, frame=frame))
    assert alarm.low > 0


def test_a_stronger_effect_is_harder_to_explain_away():
    weak = linear_world(seen=0.5)
    frame = weak.frame.assign(log_units=weak.frame["log_units"] - 2 * weak.frame["log_price"])
    strong = checks.hidden_cause(dataclasses.replace(weak, frame=frame))
    weak = checks.hidden_cause(weak)
    assert 0 < weak.significant < weak.robustness < strong.robustness < 1
    assert weak.robust and weak.known < 0.05  # last week's sales and promotions do nothing in this world


def test_shares_of_a_cause():
    assert checks.equal_share(0.5, 1.0) == pytest.approx(0.5)
    assert checks.equal_share(0.0, 3.0) == 0.0 == checks.equal_share(0.2, -0.1)


# ---------------------------------------------------------------- rows


def test_half_a_unit_makes_logs_of_counts_proportional():
    count = np.arange(200)

    def slope(mean: float, added: float) -> float:
        up, down = ((stats.poisson.pmf(count, mean * np.exp(s)) * np.log(count + added)).sum() for s in (0.01, -0.01))
        return (up - down) / 0.02

    for mean in (data.LEAST_UNITS, 10, 50):
        assert slope(mean, 0.5) == pytest.approx(1, abs=0.01)
    assert slope(data.LEAST_UNITS, 1.0) < 0.9 and slope(1, 0.5) < 0.7


def test_realised_prices_follow_one_by_one():
    price = np.log([2.0, 2.5, 1.8, 2.2])
    ratio = [0.0, *(price[n] - price[:n].mean() for n in range(1, 4))]
    sold = pd.DataFrame({"unique_id": "p|chain", "y": [3.0, 1, 0, 2, 4], "price_ratio": np.insert(ratio, 2, 9.0)})
    found = data.realised_log_price(sold)
    assert np.isnan(found[2])
    np.testing.assert_allclose(found.dropna(), price - price[0])


def test_the_mean_of_the_others():
    values, week = pd.Series([1.0, 2.0, np.nan, 5.0]), pd.Series([0, 0, 0, 1])
    assert data.mean_of_others(values, week).tolist() == [2.0, 1.0, 1.5, 0.0]


def test_rows_know_nothing_of_their_own_week_but_sales_price_and_plan(small_panel):
    rows = data.rows(small_panel, "regions", least_units=0.5)
    assert not rows.frame[[*rows.controls, *rows.treatments, "log_units"]].isna().any().any()
    assert (rows.frame["units"] > 0).all() and "without a sale" in rows.notes[0]  # prices are known with sales alone
    week = rows.frame["ds"].sort_values().iloc[len(rows.frame) // 2]
    changed = data.rows(changed_after(small_panel, week), "regions", least_units=0.5)
    keys, known = ["unique_id", "ds"], [name for name in rows.controls if name != "other_prices"]
    both = rows.frame.merge(changed.frame, on=keys, suffixes=("", "_changed"))
    early = both[both["ds"] <= week + pd.Timedelta(weeks=1)]
    assert len(early) and not both["lag_0_before"].equals(both["lag_0_before_changed"])
    for name in known:
        np.testing.assert_allclose(early[name], early[f"{name}_changed"])


def test_a_promotion_is_not_its_own_control():
    rows = Rows(pd.DataFrame(), [PRICE, "promotion", "promotion: mailer", "promotion: display"], ["holiday"])
    assert rows.controls_of(PRICE) == ["promotion: mailer", "promotion: display", "holiday"]
    assert rows.controls_of("promotion") == [PRICE, "holiday"]
    assert rows.controls_of("promotion: mailer") == [PRICE, "promotion: display", "holiday"]


# ---------------------------------------------------------------- worlds whose truth is known


def test_the_truth_is_the_derivative_of_expected_demand(market):
    true = truth.elasticities(market)
    constant = market["products"]["elasticity"].to_numpy()[:, None] * market["regime"][: true.shape[1]]
    np.testing.assert_allclose(true, constant, rtol=1e-6)
    as_met = truth.log_units(market, lambda plan: plan)
    np.testing.assert_allclose(as_met, np.log(market["mean"].sum(1)))
    choice = draw(Simulation(seed=5, n_products=12, n_new=0, n_stores=30, n_weeks=60, mechanism="choice"))
    np.testing.assert_allclose(truth.log_units(choice, lambda plan: plan), np.log(choice["mean"].sum(1)))
    smaller = truth.elasticities(choice) / constant
    assert (smaller < 1).all() and (smaller > 0.5).all()


def test_a_mailer_lifts_by_the_response_of_the_product(market):
    lift, mailed = truth.lifts(market, "mailer"), market["plan_mailer"][:, :60] > 0
    response = 0.3 * market["products"]["text_promotion"].to_numpy()[:, None] * np.ones(60)
    np.testing.assert_allclose(lift[mailed], response[mailed])
    assert not lift[~mailed].any()


def test_worlds_without_files_are_those_of_the_tables(market, tmp_path):
    for name, frame in raw_tables(market).items():
        frame.to_parquet(tmp_path / f"{name}.parquet", index=False)
    prepare = Prepare(n_products=12, n_regions=2, validation_weeks=4, test_weeks=4)
    from_tables = data.rows(build(tables.load("simulated", tmp_path, None), prepare)).frame
    direct = worlds.rows_of(market).frame
    assert set(direct["unique_id"]) == set(from_tables["unique_id"])
    both = direct.merge(from_tables, on=["unique_id", "ds"], suffixes=("", "_tables"))
    assert len(both) >= 0.8 * len(direct)  # a week without any promotion reads as one whose plan is not known
    exact = ["log_units", PRICE, "lag_0_before", "level_4_before", "level_13_before", "promotion: mailer"]
    for name in [*exact, "category_now_before"]:
        np.testing.assert_allclose(both[name], both[f"{name}_tables"], atol=1e-9, err_msg=name)
    prices = both[["other_prices", "other_prices_tables"]]
    moves = prices - prices.groupby(both["unique_id"]).transform("mean")  # levels are taken out of each series anyway
    np.testing.assert_allclose(moves["other_prices"], moves["other_prices_tables"], atol=1e-9)
    np.testing.assert_allclose(both["promotion: display"], both["promotion: display_tables"], atol=0.1)
    assert direct[COST].notna().all()


def test_a_world_is_estimated_beside_its_truth():
    simulation = Simulation(seed=2, n_products=12, n_new=0, n_stores=30, n_weeks=60)
    table = causes.world(simulation)
    price = table[table["treatment"] == PRICE]
    assert list(price["method"]) == ["dml", "instrument", "naive", "two_way"]
    assert price["truth"].between(-3, -1).all() and (price["estimate"] < 0).all()
    assert (table.loc[table["treatment"].isin(["next_price", "other_promotion"]), "truth"] == 0).all()


def test_the_summary_counts_what_intervals_cover():
    kind = {"mechanism": "choice", "confounding": "none", "treatment": PRICE, "method": "dml", "truth": -2.0}
    rows = [
        {"seed": 1, "estimate": -1.5, "low": -1.9, "high": -1.0},
        {"seed": 2, "estimate": 0.5, "low": -3.0, "high": 4.0},
    ]
    row = causes.summary(pd.DataFrame([kind | row for row in rows])).iloc[0]
    assert row["worlds"] == 2 and row["covered"] == 0.5 and row["right_sign"] == 0.5
    assert row["bias"] == pytest.approx((0.5 + 2.5) / 2 / 2)


# ---------------------------------------------------------------- words


def effect(**changes) -> Effect:
    values = {"treatment": PRICE, "method": "dml", "estimate": -2.1, "se": 0.2, "low": -2.5, "high": -1.7, "n": 1000}
    return Effect(**values | {"series": 20, "clusters": {"product_id": 20, "block": 26}} | changes)


def test_an_effect_is_told_with_its_interval_and_what_it_assumes():
    text = words.sentence(effect())
    assert "+25 % (95 % interval +20 % to +30 %" in text  # .9 ** -2.1, .9 ** -1.7, .9 ** -2.5
    assert all(part in text for part in words.assumptions(effect())) and "holds only if" in text
    assert "only 5 products" in words.sentence(effect(clusters={"product_id": 5, "block": 26}))
    assert "not reliable" in words.sentence(effect(method="instrument", first_stage=2.0))
    assert "+25 % for brand Alder (95 %" in words.sentence(effect(group="brand=Alder"))


def test_the_naive_regression_is_told_without_a_causal_word():
    text = words.sentence(effect(method="naive")).lower()
    assert "came together" in text
    assert not any(word in text for word in ("effect", "changes units", "raises", "causes", "leads to", "because"))


def test_checks_are_told_by_what_they_found():
    fine, alarm = effect(estimate=0.0, low=-0.1, high=0.1), effect(estimate=0.3, low=0.2, high=0.4)
    for tell in (words.placebo_sentence, words.control_sentence):
        assert "as it should be" in tell(fine) and "as it should be" not in tell(alarm)
    assert "Do not read" in words.placebo_sentence(alarm)
    assert "safe" in words.hidden_sentence(Hidden(0.3, 0.2, 0.1, "holidays"))
    assert "explain it away" in words.hidden_sentence(Hidden(0.1, 0.05, 0.3, "holidays"))


# ---------------------------------------------------------------- wrong input


def test_wrong_input_gets_a_sentence(small_panel):
    rows = linear_world(n_products=3)
    flat = dataclasses.replace(rows, frame=rows.frame.assign(log_price=0.5))
    for call, message in (
        (lambda: effects.estimate(rows, "weather"), "no column 'weather'"),
        (lambda: effects.estimate(rows, method="magic"), "unknown method 'magic'"),
        (lambda: effects.estimate(rows, learner="deep"), "unknown learner 'deep'"),
        (lambda: effects.estimate(flat), "hardly varies"),
        (lambda: effects.estimate(rows.where(rows.frame["product_id"] == "p00")), "1 cluster of 'product_id'"),
        (lambda: effects.estimate(rows, "promotion", "instrument"), "needs log_price"),
        (lambda: effects.by_group(rows, "colour"), "no column 'colour'"),
        (lambda: checks.negative_control(rows), "one category"),
        (lambda: cross_price(rows.where(rows.frame["product_id"] == "p00")), "1 products"),
        (lambda: data.rows(small_panel, "stores"), "'chain' or 'regions'"),
        (lambda: data.rows(small_panel, least_units=1e6), "none of"),
        (lambda: data.with_cost(rows, pd.DataFrame({"product_id": ["x"]})), "no column 'cost'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    costs = pd.DataFrame({"product_id": ["p00"], "week": ["2022-01-03"], "cost": [0.0]})
    with pytest.raises(ValueError, match="not above zero"):
        data.with_cost(rows, costs)
    with pytest.raises(ValueError, match="no cost belongs"):
        data.with_cost(rows, costs.assign(cost=1.0, product_id="unknown"))
    with pytest.raises(ValueError, match="--n is 0"):
        causes.main(["worlds", "--n", "0"])


# ---------------------------------------------------------------- strata


def products_of_two_brands(difference: float, seed: int) -> Rows:
    """A linear world, half of whose products answer prices by `difference` more than the other half."""
    rows = linear_world(seed)
    brand = np.where(rows.frame["product_id"] < "p12", "A", "B")
    sign = np.where(brand == "A", 0.5, -0.5)
    moved = rows.frame["log_units"] + difference * sign * rows.frame["log_price"]
    return dataclasses.replace(rows, frame=rows.frame.assign(brand=brand, log_units=moved))


def test_differences_between_strata_are_no_chance():
    """By hand: two brands of two products with one row each; around the brands' own effects nothing is left."""
    frame = pd.DataFrame({"product_id": list("abcd"), "d": 1.0, "y": [1.0, 1.0, 3.0, 3.0]})
    assert errors.clustered_se(frame, ("product_id",)) == pytest.approx(np.sqrt(4 * 4 / 3) / 4)
    brands = np.array(["x", "x", "y", "y"])
    assert errors.clustered_se(frame, ("product_id",), brands) == 0
    uneven = frame.assign(y=[1.0, 2.0, 3.0, 4.0])  # .5 off in each brand: 4 · .25 · 4 / (4 - 2)
    assert errors.clustered_se(uneven, ("product_id",), brands) == pytest.approx(np.sqrt(2.0) / 4)


def test_strata_leave_the_estimate_and_narrow_only_what_differs_by_them():
    whole, within = (effects.estimate(products_of_two_brands(2.0, 1), strata=strata) for strata in (None, "brand"))
    assert within.estimate == whole.estimate and within.se < 0.6 * whole.se
    alike = [effects.estimate(products_of_two_brands(0.0, 1), strata=strata).se for strata in (None, "brand")]
    assert alike[1] == pytest.approx(alike[0], rel=0.25), "where brands do not differ there is nothing to take out"


def test_intervals_within_strata_hold_the_truth():
    inside = []
    for seed in range(12):
        effect = effects.estimate(products_of_two_brands(2.0, seed), strata="brand")
        inside.append(effect.low <= TRUE <= effect.high)
    assert np.mean(inside) >= 0.75


def test_strata_that_products_hardly_share_are_refused():
    rows = products_of_two_brands(1.0, 0)
    with pytest.raises(ValueError, match="no column 'shelf'"):
        effects.estimate(rows, strata="shelf")
    single = rows.frame[rows.frame["product_id"].isin(["p00", "p01", "p02"])]
    pairs = dataclasses.replace(
        rows, frame=single.assign(brand=single["product_id"].map({"p00": "A", "p01": "A", "p02": "B"}))
    )
    with pytest.raises(ValueError, match="too many for 3 products"):
        effects.estimate(pairs, strata="brand")
