"""Recommendations: counted by hand, blind to what comes later, better than habits where there is more to know."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from small_retailer import make_retailer, write_retailer

from shelfcast.act.recommend import compare, words
from shelfcast.act.recommend.deliver import TYPES, best_products, recommend
from shelfcast.act.recommend.groups import memberships
from shelfcast.act.recommend.learn.columns import snapshot
from shelfcast.act.recommend.learn.expected import expected_units, relative_error
from shelfcast.act.recommend.learn.factors import ALS, BPR, fit_factors
from shelfcast.act.recommend.learn.mix import fit_mix, look_ahead
from shelfcast.act.recommend.purchases import bought_next, history, read_purchases
from shelfcast.act.recommend.ranking import ndcg_and_recall, relative_difference, top
from shelfcast.data import tables
from shelfcast.decision_options import Recommend
from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.panel.build import build
from shelfcast.settings import Prepare

SHOPPERS, ITEMS, WEEKS, TURN = 240, 24, 44, 18
MONDAY = pd.Timestamp("2022-01-03")
FEW = ALS[:1]  # one factorisation, where it does not matter which


def shoppers_with_habits(seed=0):
    """Shoppers of two tastes, one for each half of the products: each has three favourites, three others from week 18 on,
    and now and then tries one more, mostly of her taste."""
    draw = np.random.default_rng(seed)
    taste = np.arange(SHOPPERS) % 2
    rows = []
    for shopper in range(SHOPPERS):
        liked = taste[shopper] * ITEMS // 2 + np.arange(ITEMS // 2)
        tries = np.full(ITEMS, 0.001)
        tries[liked] = 0.012
        early, late = (draw.choice(liked, 3, replace=False) for _ in range(2))
        for week in range(WEEKS):
            habits = early if week < TURN else late
            bought = [*habits[draw.random(3) < 0.4], *np.flatnonzero(draw.random(ITEMS) < tries)]
            rows += [(shopper, item, week) for item in set(bought)]
    lines = pd.DataFrame(rows, columns=["shopper", "item", "week"])
    transactions = pd.DataFrame(
        {
            "timestamp": MONDAY + pd.to_timedelta(7 * lines["week"], unit="D"),
            "store_id": "s" + (lines["shopper"] % 4).astype(str),
            "product_id": [f"p{item:02d}" for item in lines["item"]],
            "quantity": 1.0,
            "sales_value": 2.0,
            "customer_id": [f"h{shopper:03d}" for shopper in lines["shopper"]],
            "basket_id": [f"b{shopper}-{week}" for shopper, week in zip(lines["shopper"], lines["week"], strict=True)],
        }
    )
    products = pd.DataFrame({"product_id": [f"p{i:02d}" for i in range(ITEMS)], "category": "TEA"})
    products["name"] = [f"tea no {i}" for i in range(ITEMS)]
    return {"transactions": transactions.sort_values("timestamp", ignore_index=True), "products": products}


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Raw tables, purchases, panel, and forecasts that are the last eight weeks' sales."""
    raw = shoppers_with_habits()
    loaded = tables.load("tables", write_retailer(raw, tmp_path_factory.mktemp("habits")), "TEA")
    panel = build(loaded, Prepare(n_products=30, n_regions=2, validation_weeks=8, test_weeks=8))
    return raw, read_purchases(loaded, panel), panel, recent_sales(panel)


def recent_sales(panel):
    y = panel.frame.pivot(index="ds", columns="unique_id", values="y")
    series = [f"{product}|{location}" for location in panel.locations.index for product in panel.products.index]
    shape = (len(panel.locations), len(panel.products))
    cutoffs = panel.cutoffs["validation"] + panel.cutoffs["test"] + panel.cutoffs["latest"]
    return {c: y.loc[:c].tail(8)[series].sum().to_numpy().reshape(shape) / 2 for c in cutoffs}


@pytest.fixture(scope="module")
def result(market):
    _, purchases, panel, expected = market
    return recommend(purchases, panel, expected, Recommend(n_items=5, n_groups=3))


def mix_of(market, purchases=None):
    _, own, panel, expected = market
    purchases = purchases or own
    views = [snapshot(purchases, cutoff, expected[cutoff], FEW) for cutoff in panel.cutoffs["validation"]]
    return fit_mix(purchases, views, 4, purchases.number(pd.Timestamp(panel.meta["validation_end"])))


def changed_after(purchases, cutoff, seed=1):
    """Purchases and visits after a cutoff given to other shoppers, products and regions, some of them twice."""
    draw, now, changed = np.random.default_rng(seed), purchases.number(cutoff), {}
    for name in ("rows", "visits"):
        frame = getattr(purchases, name)
        early, late = frame[frame["week"] <= now], frame[frame["week"] > now]
        late = late.apply(lambda column: column if column.name == "week" else draw.permutation(column))
        late = pd.concat([late, late.sample(frac=0.5, random_state=seed).assign(week=now + 1)])
        changed[name] = pd.concat([early, late]).reset_index(drop=True)
    return replace(purchases, **changed)


# --- scores of rankings ---


def test_ndcg_and_recall_by_hand():
    scores = np.array([[4.0, 2.0, 3.0, 1.0]] * 2 + [[4.0, -np.inf, -np.inf, -np.inf]])
    relevant = np.array([[True, True, False, False], [False] * 4, [False, True, False, False]])
    ndcg, recall = ndcg_and_recall(scores, relevant, k=3)
    assert ndcg[0] == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3))) and recall[0] == 1
    assert np.isnan(ndcg[1]) and np.isnan(recall[1])
    assert ndcg[2] == recall[2] == 0  # what must not be recommended is no hit, though nothing else is left
    ndcg, recall = ndcg_and_recall(scores[:1], relevant[:1], k=2)
    assert ndcg[0] == pytest.approx(1 / (1 + 1 / np.log2(3))) and recall[0] == 0.5


def test_ndcg_against_a_naive_loop():
    draw = np.random.default_rng(0)
    scores, relevant = draw.normal(size=(40, 15)), draw.random((40, 15)) < 0.2
    relevant[:, 0] = True
    ndcg, recall = ndcg_and_recall(scores, relevant, k=10)
    for row in range(40):
        order = sorted(range(15), key=lambda item: -scores[row, item])[:10]
        gain = sum(1 / np.log2(place + 2) for place, item in enumerate(order) if relevant[row, item])
        best = sum(1 / np.log2(place + 2) for place in range(min(10, relevant[row].sum())))
        assert ndcg[row] == pytest.approx(gain / best)
        assert recall[row] == pytest.approx(relevant[row, order].sum() / relevant[row].sum())


def test_equal_scores_keep_the_order_of_products():
    assert top(np.zeros((1, 5)), 3).tolist() == [[0, 1, 2]]


def test_differences_resample_shoppers_and_not_their_rows():
    ours, theirs = np.array([0.6, 0.6, 0.2, 0.2]), np.array([0.5, 0.5, 0.3, 0.3])
    estimate, low, high = relative_difference(ours, theirs, np.array([0, 0, 1, 1]))
    assert estimate == pytest.approx(0)
    assert low == pytest.approx(0.2 / 0.3 - 1) and high == pytest.approx(0.2)  # one shopper drawn twice
    assert relative_difference(ours, ours, np.arange(4)) == (0, 0, 0)
    assert np.isnan(relative_difference(ours[:0], ours[:0], np.arange(0))).all()


# --- purchases ---


def test_purchases_are_those_of_the_tables(market):
    raw, purchases, panel, _ = market
    rows = raw["transactions"].assign(week=(raw["transactions"]["timestamp"] - panel.weeks[0]).dt.days // 7)
    naive = rows.groupby(["customer_id", "product_id", "week"])["quantity"].sum()
    ours = purchases.rows.assign(
        customer_id=purchases.shoppers[purchases.rows["shopper"]],
        product_id=purchases.products[purchases.rows["item"]],
    )
    ours = ours.set_index(["customer_id", "product_id", "week"])["units"].sort_index()
    pd.testing.assert_series_equal(ours, naive.sort_index(), check_names=False, check_index_type=False)


def test_a_history_by_hand(market):
    _, purchases, _, _ = market
    rows = pd.DataFrame({"shopper": [7, 7, 7, 9], "item": [2, 2, 3, 2], "week": [6, 9, 11, 3], "units": 1.0})
    visits = pd.DataFrame({"shopper": [7, 7, 9], "location": [1, 2, 1], "week": [1, 2, 11], "rows": [3, 5, 9]})
    known = history(replace(purchases, rows=rows, visits=visits), purchases.weeks[10])
    assert known.shoppers.tolist() == [7, 9]
    pair = known.pairs.iloc[0]
    assert (pair["n"], pair["last"], pair["first"]) == (2, 1, 4)
    assert pair["recent_2"] == pytest.approx(0.5**0.5 + 0.5**2)
    assert len(known.pairs) == 2 and known.popularity[[2, 3]].tolist() == [3, 0]
    assert known.home.tolist() == [2, 0]  # her second region has more rows; the other's visit comes later
    assert known.active.tolist() == [2, 1]


def test_relevant_is_what_the_horizon_holds(market):
    _, purchases, _, _ = market
    rows = pd.DataFrame({"shopper": [7, 7, 8, 7], "item": [0, 1, 2, 3], "week": [10, 11, 12, 15], "units": 1.0})
    bought = bought_next(replace(purchases, rows=rows), purchases.weeks[10], 4, np.array([7]))
    assert np.flatnonzero(bought[0]).tolist() == [1]


def test_forecasts_are_summed_over_weeks_and_members(small_panel):
    products, locations = list(small_panel.products.index), list(small_panel.locations.index)
    cutoff = small_panel.cutoffs["test"][:1]
    y = np.full((len(products), len(locations), 1, 2), np.nan)
    keys = grid_keys(products, locations, cutoff, y)
    members = [forecast_frame(keys, mean, 0.1).assign(method=name) for name, mean in (("a", 1.0), ("b", 3.0))]
    validation = pd.concat(members).assign(situation="no_plan")
    latest = grid_keys(products, locations, small_panel.cutoffs["latest"], y)
    units = latest["horizon"] * (1.0 + (latest["unique_id"] == f"{products[1]}|{locations[1]}"))
    forecasts = forecast_frame(latest, units, 0.1).assign(method="ensemble", situation="no_plan")
    half = {"a": 0.5, "b": 0.5}
    weights = {"no_plan": {"product": half, "product_region": half}}
    expected = expected_units(small_panel, validation, forecasts, weights, "no_plan")
    assert (expected[cutoff[0]] == 4).all()  # 2 weeks of (1 + 3) / 2
    own = expected[small_panel.cutoffs["latest"][0]]
    assert own[1, 1] == 6 and own.sum() == 3 * (own.size + 1)
    with pytest.raises(ValueError, match=r"no forecasts of the ensemble in the situation 'plan_known'. Run"):
        expected_units(small_panel, validation, forecasts, weights, "plan_known")


def test_relative_error_of_forecasts_by_hand(market):
    _, _, panel, _ = market
    chain = panel.frame[panel.frame["location"] == "chain"].pivot(index="ds", columns="product_id", values="y")
    sold = {c: chain.loc[c:].iloc[1:5].sum()[panel.products.index].to_numpy() for c in panel.cutoffs["validation"]}
    exact = {c: np.stack([units] * len(panel.locations)) for c, units in sold.items()}
    assert relative_error(panel, exact) == 0
    assert relative_error(panel, {c: units / 2 for c, units in exact.items()}) == pytest.approx(1)


# --- nothing of later weeks ---


@pytest.mark.parametrize("split", ["validation", "test"])
def test_later_purchases_change_no_recommendation(market, split):
    _, purchases, panel, expected = market
    mix, cutoff = mix_of(market), panel.cutoffs[split][1]
    frames = []
    for own in (purchases, changed_after(purchases, cutoff), changed_after(purchases, cutoff - pd.Timedelta(weeks=1))):
        view = snapshot(own, cutoff, expected[cutoff], FEW)
        frames.append(best_products(own, view, look_ahead(mix, view, view.blocks()), 5))
    pd.testing.assert_frame_equal(frames[0], frames[1])
    assert not frames[0].equals(frames[2])  # the control: a week that the cutoff knows changes them


def test_test_weeks_change_no_weight(market):
    _, purchases, panel, _ = market
    end = pd.Timestamp(panel.meta["validation_end"])
    weights = []
    for own in (purchases, changed_after(purchases, end), changed_after(purchases, end - pd.Timedelta(weeks=2))):
        models = mix_of(market, own).models
        weights.append(np.concatenate([model[-1].coef_.ravel() for model in models.values()]))
    assert np.array_equal(weights[0], weights[1])
    assert not np.allclose(weights[0], weights[2])  # the control


def test_settings_of_factorisations_and_ranges_are_chosen_before_the_test_weeks(market, result):
    _, purchases, panel, expected = market
    later = changed_after(purchases, pd.Timestamp(panel.meta["validation_end"]))
    other = recommend(later, panel, expected, Recommend(n_items=5, n_groups=3))
    assert other.chosen == result.chosen
    assert not other.scores.equals(result.scores)


def test_learning_refuses_cutoffs_that_reach_into_the_test_weeks(market):
    _, purchases, panel, expected = market
    cutoff = panel.cutoffs["test"][0]
    last = purchases.number(pd.Timestamp(panel.meta["validation_end"]))
    with pytest.raises(ValueError, match=r"reach beyond the last validation week, .* Learn from earlier cutoffs"):
        fit_mix(purchases, [snapshot(purchases, cutoff, expected[cutoff], FEW)], 4, last)


# --- what it is good for ---


def test_the_mix_beats_habits_where_habits_changed(result):
    """Favourites were others before: their own frequency misleads, and how long ago they were bought does not."""
    ndcg = result.scores.set_index(["asked", "method"])["ndcg"]
    assert ndcg["repeat", "mix"] > 1.05 * ndcg["repeat", "personal"] > ndcg["repeat", "popularity"]
    assert ndcg["explore", "mix"] > 1.1 * ndcg["explore", "popularity"]  # tastes tell what else she may like
    against, estimate, low, high = compare.best_other(result.differences, "repeat")
    assert 0.05 < low < estimate < high
    expected = ndcg["repeat", "mix"] / ndcg["repeat", against] - 1
    assert estimate == pytest.approx(expected)


def test_what_others_bought_says_nothing_of_a_shopper(market):
    """The control: with the outcomes of other shoppers, her own purchases rank no better than everybody's."""
    _, purchases, panel, expected = market
    cutoff = panel.cutoffs["test"][0]
    order = np.random.default_rng(0).permutation(SHOPPERS)
    late = purchases.rows["week"] > purchases.number(cutoff)
    shuffled = purchases.rows["shopper"].where(~late, order[purchases.rows["shopper"]])
    gains = []
    for own in (purchases, replace(purchases, rows=purchases.rows.assign(shopper=shuffled))):
        view = snapshot(own, cutoff, expected[cutoff], FEW)
        ahead = look_ahead(mix_of(market), view, view.blocks())
        scores = compare.measure(own, [view], 4, [compare.mix_scores(ahead), compare.popularity_scores])
        ndcg = compare.summary(scores).set_index(["asked", "method"])["ndcg"]
        gains.append([ndcg["all", method] / ndcg["all", "popularity"] - 1 for method in ("mix", "personal")])
    assert min(gains[0]) > 0.3
    assert max(gains[1]) < 0.05


def test_probabilities_come_true(result):
    for kind in ("repeat", "explore"):
        assert result.promised[kind] == pytest.approx(result.bought[kind], rel=0.2)
    assert result.groups.n and result.groups.inside / result.groups.n > 0.6


def test_recommendations_are_what_they_say(market, result):
    _, purchases, panel, _ = market
    frame = result.frame
    assert frame.dtypes.astype(str).to_dict() == TYPES
    assert (frame["cutoff"] == panel.cutoffs["latest"][0]).all() and frame["probability"].between(0, 1).all()
    assert frame["rank"].max() == 5 and not frame.duplicated(["customer_id", "product_id"]).any()
    falls = frame.groupby(["customer_id", "kind"])["probability"].diff().dropna() <= 0
    assert falls.all()
    had = set(zip(purchases.rows["shopper"], purchases.rows["item"], strict=True))
    shopper = purchases.shoppers.get_indexer(frame["customer_id"])
    item = purchases.products.get_indexer(frame["product_id"])
    before = np.array([pair in had for pair in zip(shopper, item, strict=True)])
    assert np.array_equal(before, frame["kind"] == "repeat")


def test_the_same_twice(market, result):
    _, purchases, panel, expected = market
    again = recommend(purchases, panel, expected, Recommend(n_items=5, n_groups=3))
    pd.testing.assert_frame_equal(again.frame, result.frame)
    assert again.numbers == result.numbers


@pytest.mark.parametrize("settings", [ALS[0], BPR[0]], ids=lambda s: s.name)
def test_factors_find_tastes(market, settings):
    """Of products she never bought, those of her taste score higher, for either factorisation."""
    _, purchases, panel, _ = market
    known = history(purchases, panel.cutoffs["latest"][0])
    shoppers, products = fit_factors(known, settings)
    scores, had = shoppers @ products.T, known.had() > 0
    second = purchases.products.str[1:].astype(int) >= ITEMS // 2
    hers = second[None, :] == (known.shoppers % 2 == 1)[:, None]
    assert scores[hers & ~had].mean() > scores[~hers & ~had].mean()


# --- groups, words, bad input ---


def test_groups_are_tastes_and_never_small(market, result):
    _, purchases, panel, _ = market
    known = history(purchases, panel.cutoffs["latest"][0])
    assert adjusted_rand_score(known.shoppers % 2, memberships(known, 2, 20)) > 0.8
    for smallest in (20, 50, 100):
        sizes = np.bincount(memberships(known, 12, smallest))
        assert sizes.min() >= smallest and sizes.sum() == SHOPPERS and (np.diff(sizes) <= 0).all()
    assert result.groups.sizes["shoppers"].min() >= 20
    likely = result.groups.likely
    assert (likely["low"] <= likely["share"]).all() and (likely["share"] <= likely["high"]).all()


def test_no_shopper_is_named_but_in_the_frame(market, result):
    _, purchases, panel, _ = market
    labels = {product: f"tea {product}" for product in panel.products.index}
    texts = [words.headline(result), *words.quality(result), words.promises(result), words.ranges(result.groups)]
    texts += [words.group_sentence(result.groups, group, labels) for group in result.groups.sizes["group"]]
    texts += [words.group_table(result.groups, labels).to_string(), json.dumps(result.numbers)]
    texts += [result.groups.sizes.to_string(), result.groups.likely.to_string(), result.scores.to_string()]
    assert not any(shopper in text for text in texts for shopper in purchases.shoppers)
    assert "tea p" in texts[6]


def test_words_tell_misses_as_hits(result):
    rows = result.differences["best"] & (result.differences["asked"] == "all")
    for estimate, verdict in (
        (0.02, "aim of 5\u00a0% is missed"),
        (0.08, "aim of 5\u00a0% is reached"),
        (-0.02, "−2.0\u00a0% against"),
    ):
        changed = replace(result, differences=result.differences.assign(estimate=np.where(rows, estimate, 0.5)))
        assert verdict in words.quality(changed)[0]
    assert "50\u00a0% more" in words.promises(replace(result, promised={"repeat": 100.0}, bought={"repeat": 150}))


@pytest.mark.parametrize(
    ("n", "reason"), [(0, "name no customers"), (30, "30 customers bought the products, and fewer than 100")]
)
def test_a_market_without_shoppers_has_one_sentence(tmp_path, n, reason):
    raw = make_retailer()
    customer = raw["transactions"]["customer_id"]
    named = customer.where(customer.isin([f"h{i}" for i in range(n)]))
    raw["transactions"] = raw["transactions"].assign(customer_id=named.astype("string"))
    loaded = tables.load("tables", write_retailer(raw, tmp_path / "few"), "TEA")
    panel = build(loaded, Prepare(n_products=6, n_regions=2, validation_weeks=6, test_weeks=6))
    nothing = recommend(read_purchases(loaded, panel), panel, {}, Recommend())
    assert reason in words.headline(nothing) and nothing.numbers == {"lack": nothing.lack}
    assert nothing.frame.empty and nothing.frame.dtypes.astype(str).to_dict() == TYPES
    assert not words.quality(nothing) and not words.promises(nothing)


def test_shoppers_who_never_come_back_give_one_sentence(market):
    _, purchases, panel, expected = market
    first = purchases.rows[purchases.rows["week"] < 20]
    nothing = recommend(replace(purchases, rows=first), panel, expected, Recommend())
    assert "cannot be learned" in nothing.lack and "prepare.validation_weeks" in nothing.lack


def test_bad_input_is_told_in_a_sentence(market, tmp_path):
    _, purchases, panel, expected = market
    with pytest.raises(ValueError, match=r"2022-01-04 is no week of the purchases, .* Choose the Monday"):
        history(purchases, pd.Timestamp("2022-01-04"))
    without = {cutoff: units for cutoff, units in expected.items() if cutoff != panel.cutoffs["test"][0]}
    with pytest.raises(ValueError, match=r"no forecast from cutoff .* Run notebook 4_evaluate again"):
        recommend(purchases, panel, without, Recommend())
    raw = make_retailer()
    raw["products"]["product_id"] = "x" + raw["products"]["product_id"]
    raw["transactions"]["product_id"] = "x" + raw["transactions"]["product_id"]
    raw["promotions"]["product_id"] = "x" + raw["promotions"]["product_id"]
    other = tables.load("tables", write_retailer(raw, tmp_path / "other"), "TEA")
    with pytest.raises(ValueError, match=r"hold none of the panel's products. Read the folder and category"):
        read_purchases(other, panel)
