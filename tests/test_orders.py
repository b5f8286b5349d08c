"""Orders: demand paths, order-up-to levels, replay, terms and stock, sales that stock-outs cut."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from shelfcast.act import deliver
from shelfcast.act.orders import decide, inputs, words
from shelfcast.act.orders.past import contest, delivered, plots, replay
from shelfcast.act.orders.past.shelf import Shelf
from shelfcast.act.orders.paths import Paths, draw_paths, week_correlations
from shelfcast.act.orders.policy import (
    Stock,
    Timing,
    check_horizon,
    order_up_to,
    orders,
    sells_before_expiry,
    textbook_level,
)
from shelfcast.decision_options import Orders
from shelfcast.frequency import WEEKLY
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES
from shelfcast.judge.frame import forecast_frame
from shelfcast.reading_options import Reading
from shelfcast.validate import SettingsError, build

CUTOFF = pd.Timestamp("2022-01-03")


def keys(series, cutoffs=(CUTOFF,), horizon=4, y=np.nan):
    index = pd.MultiIndex.from_product(
        [series, cutoffs, range(1, horizon + 1)], names=["unique_id", "cutoff", "horizon"]
    )
    frame = index.to_frame(index=False)
    return frame.assign(ds=frame["cutoff"] + pd.to_timedelta(7 * frame["horizon"], unit="D"), y=y)


def correlated(by_distance):
    n = len(by_distance) + 1
    return np.r_[1.0, by_distance][np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]


def terms_of(series, **changed):
    values = {
        "pack_size": 1.0,
        "min_order": 0.0,
        "shelf_life": np.nan,
        "unit_cost": 1.0,
        "price": 2.0,
        "holding_cost": 1.0,
    }
    values |= {"lost_sale_cost": 19.0, "whole": True} | changed
    return pd.DataFrame(values, index=pd.Index(series, name="unique_id"))


def world(n=300, n_cutoffs=6, correlation=(0.5, 0.3, 0.2), mean=4.0, dispersion=0.3, seed=0):
    """Forecasts with the true law, and counts drawn from it whose weeks are correlated within a forecast."""
    draw = np.random.default_rng(seed)
    cutoffs = pd.date_range(CUTOFF, periods=n_cutoffs, freq="28D")
    frame = keys([f"p{i:03d}|region_1" for i in range(n)], cutoffs)
    normal = draw.multivariate_normal(np.zeros(4), correlated(correlation), len(frame) // 4).ravel()
    y = stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)).ppf(stats.norm.cdf(normal))
    return forecast_frame(frame.assign(y=y), np.full(len(frame), mean), np.full(len(frame), dispersion))


# Paths


def test_paths_have_the_quantiles_of_the_forecast():
    quantiles = stats.gamma(3, scale=[[40.0], [90.0], [60.0], [20.0]]).ppf(QUANTILES)
    frame = forecast_frame(keys(["a|chain"]), np.full(4, 100.0), quantiles=quantiles)
    paths = draw_paths(frame, {"product": correlated([0.4, 0.2, 0.1])}, n_paths=4096)
    drawn = np.quantile(paths.demand[0], QUANTILES, axis=0).T  # H, K
    assert drawn == pytest.approx(quantiles, rel=0.03, abs=1.0)
    assert paths.demand.dtype == np.float32 and (paths.demand == np.round(paths.demand)).all()


def test_quantiles_that_are_not_whole_are_rounded_at_random():
    frame = forecast_frame(keys(["a|chain"]), np.full(4, 1.5), quantiles=np.full((4, 13), 1.5))
    demand = draw_paths(frame, {}).demand
    assert set(np.unique(demand)) == {1, 2} and demand.mean() == pytest.approx(1.5, abs=0.01)
    amounts = draw_paths(frame.assign(unit=1.0), {}).demand
    assert (amounts == 1.5).all(), "an amount is not rounded"


@pytest.mark.parametrize("correlation", [(0.6, 0.3, 0.1), (0.0, 0.0, 0.0)])
def test_paths_keep_the_correlation_that_past_forecasts_had(correlation):
    past = world(correlation=correlation)
    found = week_correlations(past, 4)["product_region"]
    assert found[0, 1:] == pytest.approx(correlation, abs=0.08)
    paths = draw_paths(past[past["cutoff"] == CUTOFF], {"product_region": found}, n_paths=4096)
    drawn = np.corrcoef(paths.demand[0].T)
    assert drawn[0, 1:] == pytest.approx(correlation, abs=0.1), "counts correlate a little less than their scores"


def test_small_counts_do_not_hide_the_correlation():
    past = world(n=2500, mean=0.4, dispersion=0.5, correlation=(0.3, 0.3, 0.3))
    found = week_correlations(past, 4)["product_region"]
    assert found[0, 1:] == pytest.approx(0.3, abs=0.07)
    wide = past.pivot(index=["unique_id", "cutoff"], columns="horizon", values="y")
    assert wide.corr().loc[1, 2] < 0.24, "the control: counts themselves correlate less"


def test_sums_are_read_from_paths_and_not_from_quantiles():
    past = world()
    one = past[past["cutoff"] == CUTOFF]
    together = draw_paths(one, {"product_region": correlated([0.9, 0.9, 0.9])}, n_paths=1024).sums(4)
    apart = draw_paths(one, {}, n_paths=1024).sums(4)
    added = 4 * one["q900"].iat[0]
    assert np.quantile(apart[0], 0.9) < np.quantile(together[0], 0.9) <= added
    assert np.quantile(apart[0], 0.9) < 0.8 * added
    assert together.mean() == pytest.approx(apart.mean(), rel=0.02)


def test_paths_are_seeded_and_do_not_depend_on_other_series():
    one = world(n_cutoffs=1)
    first, again, other = (draw_paths(one, {}, seed=seed).demand for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    alone = draw_paths(one[one["unique_id"] == "p007|region_1"], {})
    assert (alone.demand[0] == first[7]).all()


def test_few_cutoffs_give_no_correlation():
    assert week_correlations(world(n_cutoffs=1), 4)["product_region"] == pytest.approx(np.eye(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(index=2), "1 series, a|chain the first, do not have one row for each horizon from 1 to 4"),
        (lambda f: pd.concat([f, f.assign(cutoff=f["cutoff"] + pd.Timedelta(weeks=1))]), "one cutoff, .* has 2"),
        (lambda f: pd.concat([f.assign(method="a"), f.assign(method="b")]), "one method, .* has 2"),
    ],
)
def test_paths_refuse_what_is_no_single_forecast(change, message):
    frame = forecast_frame(keys(["a|chain"]), np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match=message):
        draw_paths(change(frame), {})
    with pytest.raises(ValueError, match=r"n_paths is 100\. Choose a power of two"):
        draw_paths(frame, {}, n_paths=100)


# Levels and orders


def four_sums(*sums):
    """Paths of one series and one week."""
    return Paths(["a|chain"], CUTOFF, np.array(sums, np.float32)[None, :, None])


@pytest.mark.parametrize(("lost", "level"), [(3.0, 2), (3.1, 9), (0.3, 0), (0.9, 1), (1.1, 2)])
def test_worked_example_of_the_cost_ratio(lost, level):
    levels = order_up_to(four_sums(0, 1, 2, 9), terms_of(["a|chain"], lost_sale_cost=lost), Timing(0), "cost", 0.9)
    assert levels.level.tolist() == [level]


def test_the_cost_level_is_as_cheap_as_the_best_of_all_levels():
    draw = np.random.default_rng(1)
    demand = draw.negative_binomial(2, 0.2, (5, 512, 2)).astype(np.float32)
    series = [f"p{i}|chain" for i in range(5)]
    terms = terms_of(series, lost_sale_cost=[1.0, 3.0, 8.0, 20.0, 60.0])
    found = order_up_to(Paths(series, CUTOFF, demand), terms, Timing(1), "cost", 0.9).level
    sums = demand.sum(-1)
    for i, lost in enumerate(terms["lost_sale_cost"]):
        costs = [np.maximum(s - sums[i], 0).mean() + lost * np.maximum(sums[i] - s, 0).mean() for s in range(120)]
        assert costs[int(found[i])] <= 1.02 * min(costs)
        assert costs[int(found[i] * 0.7)] > 1.05 * min(costs), "the control: another level"


def test_stock_that_would_outlast_a_promotion_is_not_ordered():
    draw = np.random.default_rng(1)
    promoted = draw.poisson([20.0, 1.0, 1.0, 1.0], (1, 512, 4)).astype(np.float32)
    lasting = draw.poisson([20.0, 20.0, 20.0, 20.0], (1, 512, 4)).astype(np.float32)
    levels = [
        order_up_to(Paths(["a|chain"], CUTOFF, demand), terms_of(["a|chain"]), Timing(0), "cost", 0.9).level[0]
        for demand in (promoted, lasting)
    ]
    assert stats.poisson(20).ppf(0.8) <= levels[0] < levels[1]
    assert levels[1] == pytest.approx(stats.poisson(20).ppf(0.95), abs=1)


def test_what_the_lead_time_loses_is_not_needed_later():
    """On hand 2, demand 5 and 5: three are lost, and the second week needs 5 whether or not they were wanted."""
    paths = Paths(["a|chain"], CUTOFF, np.full((1, 4, 2), 5, np.float32))
    levels = order_up_to(paths, terms_of(["a|chain"]), Timing(1), "cost", 0.9, Stock(np.array([2.0]), np.zeros((1, 1))))
    assert levels.level.tolist() == [2 + 5]
    held = order_up_to(paths, terms_of(["a|chain"]), Timing(1), "cost", 0.9, Stock(np.array([2.0]), np.array([[6.0]])))
    assert held.level.tolist() == [8 + 2], "three of eight are left for the second week"
    assert order_up_to(paths, terms_of(["a|chain"]), Timing(1), "cost", 0.9).level.tolist() == [10]


def test_the_fill_level_is_the_least_stock_that_sells_the_share():
    draw = np.random.default_rng(2)
    demand = draw.poisson([[[3.0]], [[0.4]], [[9.0]]], (3, 512, 4)).astype(np.float32)
    paths = Paths(["a|chain", "b|chain", "c|chain"], CUTOFF, demand)
    levels = order_up_to(paths, terms_of(paths.series), Timing(0), "fill_rate", 0.9)
    week = demand[..., 0]

    def fill(level):
        return np.minimum(week, np.array(level)[:, None]).sum() / week.sum()

    assert fill(levels.level) >= 0.9
    grid = [(a, b, c) for a in range(9) for b in range(4) for c in range(20)]
    least = min(sum(level) for level in grid if fill(level) >= 0.9)
    assert levels.level.sum() <= least + 1, "one ratio for all products needs the least stock, but for rounding"
    expected = np.minimum(week, levels.level[:, None]).sum(1) / week.sum(1)
    assert levels.fill == pytest.approx(expected, abs=1e-5)


def test_stock_above_the_level_counts_towards_the_share():
    draw = np.random.default_rng(3)
    paths = Paths(["a|chain", "b|chain"], CUTOFF, draw.poisson([[[30]], [[5]]], (2, 512, 4)).astype(np.float32))
    terms, nothing = terms_of(paths.series), np.zeros((2, 1))
    levels = [
        order_up_to(paths, terms, Timing(1), "fill_rate", 0.95, Stock(np.array([units, 8.0]), nothing)).level
        for units in (30.0, 300.0)
    ]
    assert levels[1][1] < levels[0][1]


def test_textbook_safety_stock():
    terms = terms_of(["a|chain"], lost_sale_cost=19.0)
    level = textbook_level(np.array([100.0]), np.array([10.0]), terms, Timing(3), "cost", 0.9)
    assert level == np.ceil(100 + stats.norm.ppf(0.95) * 10 * 2)
    mean, spread = np.array([100.0]), 10.0
    level = textbook_level(mean, np.array([spread]), terms, Timing(0), "fill_rate", 0.97)[0]
    lost = stats.norm.expect(lambda d: max(d - level, 0), loc=100, scale=spread)
    assert lost <= 3 < stats.norm.expect(lambda d: max(d - level + 1, 0), loc=100, scale=spread)


def test_orders_keep_packs_minimum_and_shelf_life():
    terms = terms_of(["a", "b", "c", "d", "e"], pack_size=[4.0, 1, 4, 4, 1], min_order=[0.0, 20, 0, 0, 0])
    level, position = np.array([20.0, 20, 20, 20, 5]), np.array([9.0, 9, 9, 9, 9])
    quantity, notes = orders(level, position, terms, np.array([np.inf, np.inf, 15, 12, 15]))
    assert quantity.tolist() == [12, 20, 4, 0, 0]
    assert notes == [
        "",
        "raised to the minimum order",
        "cut to what sells before it expires",
        "the smallest order is more than sells before it expires",
        "",
    ]


def test_what_sells_before_it_expires():
    paths = Paths(["a|chain"] * 3, CUTOFF, np.tile(np.array([1, 2, 3, 6], np.float32), (3, 8, 1)))
    found = sells_before_expiry(paths, terms_of(["a"] * 3, shelf_life=[2.0, 5.0, np.nan]), lead=1)
    assert found.tolist() == [6, 12 + 2 * 3, np.inf]


def test_a_horizon_that_is_too_short_is_refused_in_a_sentence():
    message = r"lead_time \(3\) and review_period \(2\) are 5 weeks together, but forecasts reach 4 weeks .* raise prepare.horizon to 5"
    with pytest.raises(SettingsError, match=message):
        check_horizon(Timing(3, 2), 4)
    check_horizon(Timing(3, 1), 4)
    with pytest.raises(SettingsError, match="Choose of fill_rate, cost"):
        order_up_to(four_sums(1, 2), terms_of(["a|chain"]), Timing(0), "fill", 0.9)


# Replay


def demand_of(units, start):
    weeks = pd.date_range(CUTOFF + pd.Timedelta(weeks=1), periods=np.shape(units)[1], freq="7D")
    series = [f"p{i:03d}|region_1" for i in range(len(units))]
    return replay.Demand(series, weeks, np.array(units, float), np.array(start, float), [])


def test_three_weeks_by_hand():
    demand = demand_of([[3, 6, 1]], [3])
    terms = terms_of(demand.series, lost_sale_cost=10.0)
    rows = replay.replay(demand, lambda cutoff, position: np.array([5.0]), Timing(1), terms, n_cutoffs=2)
    assert rows["ds"].tolist() == demand.weeks[1:].tolist()
    assert rows["sold"].tolist() == [2, 1] and rows["lost"].tolist() == [4, 0]
    assert rows["stock"].tolist() == [0, 2] and rows["cost"].tolist() == [40, 2]
    assert rows["ordered"].tolist() == [3, 0], "no review is left in the third week"
    total = replay.summary(rows.assign(policy="x"), ["policy"]).loc["x"]
    assert total["fill_rate"] == pytest.approx(3 / 7) and total["stock_outs"] == 0.5 and total["mean_stock"] == 1


def test_a_review_period_of_two_weeks_orders_every_other_week():
    demand = demand_of([[2] * 8], [2])
    asked = []
    rows = replay.replay(
        demand,
        lambda cutoff, position: asked.append(cutoff) or np.array([6.0]),
        Timing(1, 2),
        terms_of(demand.series),
        5,
    )
    assert asked == [0, 2, 4] and len(rows) == 6 and rows["lost"].sum() == 0


def test_goods_that_expire_by_hand():
    """Order up to 6: 3 fresh at first, 2 sold; 3 arrive, the old 1 sold; 2 arrive, 1 sold of the 3 old, 2 expire."""
    demand, level = demand_of([[2, 1, 1]], [3]), lambda cutoff, stock: np.array([6.0])
    two_weeks = terms_of(demand.series, shelf_life=2.9, lost_sale_cost=10.0, unit_cost=4.0)
    rows = replay.replay(demand, level, Timing(1), two_weeks, n_cutoffs=2)
    assert rows["stock"].tolist() == [3, 2] and rows["wasted"].tolist() == [0, 2]
    assert rows["cost"].tolist() == [3, 2 + 2 * 4.0] and rows["sold"].tolist() == [1, 1]
    for_ever = replay.replay(demand, level, Timing(1), terms_of(demand.series), n_cutoffs=2)
    assert for_ever["stock"].tolist() == [3, 4] and for_ever["wasted"].sum() == 0, "the control"


def test_batches_are_sold_first_in_first_out():
    shelf = Shelf(np.array([3.0, 3.0]), np.array([2.0, np.nan]))
    assert shelf.sell(np.array([1.0, 1.0])).tolist() == [1, 1] and shelf.end_week().tolist() == [0, 0]
    shelf.receive(np.array([4.0, 4.0]))
    assert shelf.sell(np.array([1.0, 7.0])).tolist() == [1, 6], "no more than there is"
    assert shelf.end_week().tolist() == [1, 0], "one of the first three, which the other series keeps for ever"
    assert shelf.on_hand.tolist() == [4, 0]


def test_stock_adds_up_whatever_expires():
    draw = np.random.default_rng(1)
    demand = demand_of(draw.poisson(4, (60, 9)), draw.poisson(4, 60))
    lives = draw.choice([0.4, 1, 2, 3, np.nan], 60)
    terms = terms_of(demand.series, shelf_life=lives)
    rows = replay.replay(demand, lambda c, s: np.full(60, 14.0), Timing(0), terms, 9)
    sums = rows.groupby("unique_id", sort=False)[["ordered", "sold", "wasted"]].sum()
    left = rows.groupby("unique_id", sort=False)["stock"].last()
    assert (sums["ordered"] == sums["sold"] + sums["wasted"] + left).all()
    assert (sums["wasted"].to_numpy() > 0)[lives <= 2].all() and sums["wasted"][np.isnan(lives)].sum() == 0
    assert (rows["sold"] + rows["lost"] == rows["demand"]).all() and (rows["stock"] >= 0).all()


def test_goods_are_neither_made_nor_lost():
    draw = np.random.default_rng(0)
    demand = demand_of(draw.poisson(4, (50, 8)), draw.poisson(4, 50))
    rows = replay.replay(demand, lambda c, p: np.full(50, 15.0), Timing(2), terms_of(demand.series), 5)
    assert (rows["sold"] + rows["lost"] == rows["demand"]).all() and (rows["stock"] >= 0).all()
    with pytest.raises(ValueError, match="needs 9 weeks of demand and has 8"):
        replay.replay(demand, lambda c, p: np.full(50, 15.0), Timing(4), terms_of(demand.series), 5)


def known_world(n=400, seed=0):
    """Five cutoffs with the true law, a law twice too high, one too low; and demand drawn from the true one."""
    draw = np.random.default_rng(seed)
    level = draw.gamma(2, 2, n)
    mean = level[:, None] * np.exp(draw.normal(0, 0.5, (n, 8)))  # promotions and season, which the oracle knows
    units = draw.negative_binomial(4, 4 / (4 + mean))
    cutoffs = pd.date_range(CUTOFF, periods=5, freq="7D")
    series = [f"p{i:03d}|region_1" for i in range(n)]
    week = np.arange(5)[:, None] + np.arange(4)
    frame = keys(series, cutoffs, y=units[:, week].ravel())
    true = mean[:, week].ravel()
    level = np.broadcast_to(level[:, None, None], (n, 5, 4)).ravel()
    means = {"oracle": true, "lightgbm": level, "double": 2 * true, "half": 0.5 * true}
    methods = {name: forecast_frame(frame, value, np.full(len(frame), 0.25)) for name, value in means.items()}
    average = forecast_frame(frame, level, np.full(len(frame), 0.25))
    return methods, average


@pytest.fixture(scope="module")
def replayed():
    methods, average = known_world()
    demand = replay.observed_demand(average, average[average["cutoff"] == CUTOFF])
    terms = inputs.terms_by_series(demand.series, Orders(), pd.Series(2.0, [f"p{i:03d}" for i in range(400)]))
    paths = {name: contest.paths_by_cutoff(rows, demand.series, {}, Orders()) for name, rows in methods.items()}
    textbook = contest.averages(average, average, demand.series)
    rows = contest.replay_policies(paths, textbook, demand, terms, Orders(), [1, 2])
    return rows.assign(situation="plan_known")


def test_nobody_beats_the_oracle_in_a_known_world(replayed):
    cost = replay.summary(replayed, ["rule", "lead_time", "policy"])["cost"].unstack("policy").loc["cost"]
    for name in cost.columns.drop("oracle"):
        assert (cost["oracle"] < cost[name]).all(), name
    assert (cost["lightgbm"] > 1.2 * cost["oracle"]).all(), "the control: a forecast without the plan"
    differences = contest.cost_differences(replayed).set_index(["rule", "lead_time", "policy"])
    assert (differences.xs("oracle", level="policy")["high"] < 0).all()
    assert (differences.xs("half", level="policy")["low"] > 0).all()


def test_a_true_forecast_fills_what_is_wanted(replayed):
    fill = replay.summary(replayed, ["rule", "lead_time", "policy"])["fill_rate"].loc["fill_rate"].unstack("policy")
    assert fill["oracle"].to_numpy() == pytest.approx(0.95, abs=0.015)
    assert (fill["half"] < 0.85).all(), "the control: half the demand forecast does not"


def test_orders_see_nothing_after_their_cutoff():
    methods, average = known_world(n=30)
    later = CUTOFF + pd.Timedelta(weeks=3)

    def ordered(forecasts, average):
        demand = replay.observed_demand(average, average[average["cutoff"] == CUTOFF])
        terms = terms_of(demand.series)
        paths = {"lightgbm": contest.paths_by_cutoff(forecasts, demand.series, {}, Orders())}
        spread = contest.averages(average, known_world(n=30)[1], demand.series)
        rows = contest.replay_policies(paths, spread, demand, terms, Orders(), [1])
        return rows.set_index(["policy", "rule", "unique_id", "ds"])["ordered"]

    def changed(frame):
        columns = ["mean", *QUANTILE_COLUMNS]
        frame = frame.copy()
        frame.loc[frame["cutoff"] >= later, columns] = 3 * frame.loc[frame["cutoff"] >= later, columns] + 7
        return frame.assign(y=frame["y"].where(frame["ds"] <= later, frame["y"] + 9))

    before, after = ordered(methods["lightgbm"], average), ordered(changed(methods["lightgbm"]), changed(average))
    early = before.index.get_level_values("ds") <= later
    pd.testing.assert_series_equal(before[early], after[early])
    assert (before[~early] != after[~early]).any(), "the control: later orders do change"


def test_series_that_were_not_observed_are_left_out_by_name():
    average = known_world(n=5)[1]
    gone = average["unique_id"] == "p002|region_1"
    demand = replay.observed_demand(average.assign(y=average["y"].mask(gone)), average)
    assert demand.left_out == ["p002|region_1"] and len(demand.series) == 4
    with pytest.raises(ValueError, match="no series was observed in all test weeks"):
        replay.observed_demand(average.assign(y=np.nan), average)


def test_the_ensemble_correlates_as_its_members_do():
    past = world()
    validation = pd.concat(
        [past.assign(method="a"), past.assign(method="b", y=past["y"].sample(frac=1, random_state=0).to_numpy())]
    )
    found = contest.correlations_by_method(validation, {"product_region": {"a": 0.75, "b": 0.25}}, 4)
    mixed = 0.75 * found["a"]["product_region"] + 0.25 * found["b"]["product_region"]
    assert found["ensemble"]["product_region"] == pytest.approx(mixed)


# Terms, stock, and the orders of now


def write(folder, **tables):
    folder.mkdir(exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return str(folder)


def test_terms_and_stock_are_read_and_defaults_fill_gaps(tmp_path):
    folder = write(
        tmp_path / "orders",
        terms="product_id,pack_size,unit_cost,price\np1,6,1.2,2\np2,,,\n",
        stock="product_id,store_id,on_hand,on_order\np1,s1,3,\np1,s2,4,2\np2,s9,5,0\np9,s1,1,0\n",
    )
    given = inputs.read_given(folder, Reading())
    series = [f"{product}|{place}" for product in ("p1", "p2") for place in ("chain", "region_1", "region_2")]
    terms = inputs.terms_by_series(series, Orders(pack_size=2.0), pd.Series({"p1": 9.0, "p2": 5.0}), given.terms)
    assert terms["pack_size"].tolist() == [6, 6, 6, 2, 2, 2]
    assert terms["lost_sale_cost"].round(6).tolist() == [0.8] * 3 + [1.5] * 3
    assert terms["holding_cost"].round(6).tolist() == [0.024] * 3 + [0.07] * 3
    stock = inputs.stock_by_series(series, given.stock, {"s1": "region_1", "s2": "region_1"})
    assert stock.table.loc["p1|region_1"].tolist() == [7, 2] == stock.table.loc["p1|chain"].tolist()
    assert stock.table.loc["p2|chain", "on_hand"] == 5 and stock.table.loc["p2|region_1"].isna().all()
    assert len(stock.notes) == 2 and "s9" in stock.notes[0] and "p9" in stock.notes[1]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"stock": "product_id,on_hand\np1,-3\n"}, r"stock.on_hand must not be negative. Mend 1 rows \(row 0: -3"),
        ({"stock": "product_id,onhand\np1,3\n"}, r"stock.on_hand is missing \(nearest: 'onhand'\)"),
        ({"terms": "product_id,pack_size\np1,0\n"}, "terms.pack_size must be above zero"),
        ({"terms": "product_id,pack_size\np1,6\np1,4\n"}, "terms: 1 rows repeat a key"),
        (
            {"terms": "product_id,pack_size\np1,six\n"},
            "terms.pack_size cannot be read in 1 rows, first in row 0: 'six'",
        ),
        ({}, "holds neither stock nor terms"),
    ],
)
def test_tables_that_are_wrong_are_refused(tmp_path, tables, message):
    with pytest.raises(ValueError, match=message):
        inputs.read_given(write(tmp_path / "orders", **tables), Reading())


def test_other_bad_input(tmp_path):
    with pytest.raises(ValueError, match="which is no folder"):
        inputs.read_given(str(tmp_path / "nowhere"), Reading())
    dear = pd.DataFrame({"product_id": ["p1"], "unit_cost": [3.0], "price": [2.0]}).reindex(
        columns=["product_id", *inputs.TERMS]
    )
    with pytest.raises(ValueError, match="unit_cost is not below the price of 1 products, p1 the first"):
        inputs.terms_by_series(["p1|chain"], Orders(), pd.Series({"p1": 2.0}), dear)
    with pytest.raises(ValueError, match=r"forecasts.parquet is missing\. Run notebook 4_evaluate"):
        delivered.read_delivered(tmp_path, "plan_known", {}, "ensemble")


def now(stock=None, **options):
    series = ["p1|chain", "p1|region_1", "p2|chain", "p2|region_1"]
    frame = forecast_frame(keys(series), np.full(16, 10.0), np.full(16, 0.2))
    options = Orders(**options)
    paths = draw_paths(frame, {})
    terms = inputs.terms_by_series(series, options, pd.Series({"p1": 2.0, "p2": 3.0}))
    return decide.order_frame(paths, terms, inputs.stock_by_series(series, stock, {"s1": "region_1"}), options), options


def test_without_stock_levels_are_given_and_said_to_be_levels():
    frame, options = now()
    assert frame["quantity"].isna().all() and (frame["order_up_to"] > 20).all()
    assert frame["arrives"].eq(CUTOFF + pd.Timedelta(weeks=2)).all()
    text = "\n".join(words.what_to_order(frame, options))
    assert "No stock was given" in text and "up to" in text and "order 0" not in text


def test_with_stock_what_is_missing_is_ordered():
    stock = pd.DataFrame(
        {"product_id": ["p1"], "store_id": ["s1"], "location": [None], "on_hand": [5.0], "on_order": [None]}
    )
    frame, options = now(stock, pack_size=6.0)
    own = frame.set_index(["product_id", "location"]).loc[("p1", "region_1")]
    assert own["quantity"] % 6 == 0 and 0 <= own["quantity"] - (own["order_up_to"] - 5) < 6
    assert own["value"] == pytest.approx(own["quantity"] * 2.0 * 0.7)
    text = "\n".join(words.what_to_order(frame, options))
    assert (
        f"Region 1: order {own['quantity']:.0f} units of 1 product," in text and "No stock was given for 2 of 4" in text
    )


def test_goods_that_expire_soon_are_ordered_for_their_life_only():
    frame, options = now(pd.DataFrame({"product_id": ["p1", "p2"], "store_id": None, "location": "chain", "on_hand": 0.0, "on_order": None}), shelf_life=1.0, lead_time=0)  # fmt: skip
    chain = frame[frame["location"] == "chain"]
    assert (chain["quantity"] <= 10).all() and (chain["quantity"] >= 9).all() and (chain["order_up_to"] > 12).all()
    assert "goods would expire" in "\n".join(words.what_to_order(frame, options))


def test_the_words_say_what_the_replay_says(replayed):
    replayed = replayed[replayed["policy"].isin(["oracle", "lightgbm", "textbook"])]
    summary = replay.summary(replayed, decide.KEYS)
    own = summary.loc["plan_known"]
    options = Orders(method="lightgbm")
    differences = contest.cost_differences(replayed)
    sentences = words.how_it_went(own, differences, options)
    fill = own.loc[("product_region", "fill_rate", 1, "lightgbm"), "fill_rate"]
    assert len(sentences) == 2 and f"{100 * fill:.1f}" in sentences[0]
    aims = words.aims(own, options)
    regret = aims[aims["aim"] == "regret to the oracle"]
    assert len(aims) == 2 * 2 + 2 and not aims[aims["aim"] == "cost against LightGBM"]["met"].any()
    assert (regret["measured"] > 0).all()
    past = deliver.replay_frame(summary, {"lightgbm": differences})
    oracle = past[(past["policy"] == "oracle") & (past["rule"] == "cost")]
    assert len(past) == len(summary) and (oracle["against_lightgbm"] < 0).any()
    titles = [draw(own, "product_region", options).get_suptitle() for draw in (plots.costs, plots.fill_rates)]
    assert "best peer" in titles[0] and "95\u00a0% wanted" in titles[1].replace("\n", " ")


def test_a_method_without_a_forecast_of_the_coming_weeks_is_refused(tmp_path):
    frame = forecast_frame(keys(["a|chain"], y=1.0), np.ones(4), np.ones(4)).assign(situation="no_plan")
    frame.assign(method="oracle").to_parquet(tmp_path / "forecasts.parquet")
    frame.assign(method="lightgbm").to_parquet(tmp_path / "validation.parquet")
    (tmp_path / "weights.json").write_text('{"no_plan": {"product": {"lightgbm": 1.0}}}')
    cutoffs = {"test": [CUTOFF], "latest": [CUTOFF + pd.Timedelta(weeks=1)]}
    with pytest.raises(
        ValueError, match=r"orders\.method is 'oracle', by which .* holds no forecast of the coming weeks"
    ):
        delivered.read_delivered(tmp_path, "no_plan", cutoffs, "oracle")
    frame = frame.assign(cutoff=frame["cutoff"] + pd.Timedelta(weeks=1), method="lightgbm")
    frame.to_parquet(tmp_path / "forecasts.parquet")
    read = delivered.read_delivered(tmp_path, "no_plan", cutoffs, "lightgbm")
    assert len(read.latest) == 4 and read.test.empty and read.weights == {"product": {"lightgbm": 1.0}}


def test_parameters_out_of_range_are_refused():
    for values in ({"replay_lead_times": [1, -1]}, {"service_level": 1.0}, {"rule": "cheap"}, {"margin": 0.0}):
        with pytest.raises(SettingsError, match=next(iter(values))):
            build(Orders, values, "params.yaml: orders")


def delivered_world():
    """What notebook 4 leaves of a known world, and as much of a panel as its replay reads."""
    methods, average = known_world(n=40)
    test = {"ensemble": methods["oracle"], "lightgbm": methods["lightgbm"], "moving_average_8": average}
    test = pd.concat([frame.assign(method=name) for name, frame in test.items()])
    past = world(n=40, n_cutoffs=4)
    validation = pd.concat([past.assign(method=name) for name in ("lightgbm", "moving_average_8")])
    panel = SimpleNamespace(
        frequency=WEEKLY,
        meta={"horizon": 4, "amounts": False},
        frame=pd.DataFrame({"product_id": [f"p{i:03d}" for i in range(40)], "location": "chain", "price_level": 0.7}),
    )
    weights = {"product_region": {"lightgbm": 1.0}}
    return delivered.Delivered(test, test.iloc[:0], validation, weights), panel


def test_everything_that_was_delivered_is_replayed():
    given, panel = delivered_world()
    past = contest.replay_delivered(given, panel, Orders(), [1])
    assert set(past.rows["policy"]) == {"ensemble", "lightgbm", "textbook"}
    cost = past.rows.query("rule == 'cost'").groupby("policy")["cost"].sum()
    assert cost.idxmin() == "ensemble", "it knows the plan"
    without = given.test[given.test["method"] != "moving_average_8"]
    few = contest.replay_delivered(given._replace(test=without), panel, Orders(), [1])
    assert set(few.rows["policy"]) == {"ensemble", "lightgbm"}, "no average, no textbook"


def test_correlations_and_spreads_come_from_validation_weeks():
    given, panel = delivered_world()
    before = contest.replay_delivered(given, panel, Orders(), [1])
    changed = given._replace(test=given.test.assign(y=3 * given.test["y"] + 2))
    after = contest.replay_delivered(changed, panel, Orders(), [1])
    for name, own in before.correlations.items():
        for level, matrix in own.items():
            assert (after.correlations[name][level] == matrix).all()
    first = before.rows["ds"].min()
    assert before.rows["demand"].sum() < after.rows["demand"].sum(), "the control: the weeks did change"
    orders_of = [part.rows.loc[part.rows["ds"] == first].drop(columns=["demand"]) for part in (before, after)]
    assert not orders_of[0]["ordered"].equals(orders_of[1]["ordered"]), "the control: later weeks see the change"
