"""What-if: a stated plan with all that follows from it, and what models forecast under it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_models import make_models
from small_retailer import add_optional_tables, changed_after, load_retailer, make_retailer, with_coming_promotions

from shelfcast.model.forecast import forecast
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.why.whatif.anchor import Anchor, Response, weight_by_error
from shelfcast.why.whatif.changes import Change, check, coming_weeks, usual_prices
from shelfcast.why.whatif.forecast import Ready, ahead, difference_range, moves, totals, what_if
from shelfcast.why.whatif.plan import Plan, planned

PRICE, PROMOTION = ("price", "price_cut", "price_known"), ("promotion", "promotion: display", "promotion: mailer")


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """All optional tables; promotions are planned for the coming weeks, too."""
    raw = with_coming_promotions(add_optional_tables(make_retailer()))
    return load_retailer(raw, tmp_path_factory.mktemp("retailer"))


@pytest.fixture(scope="module")
def weeks(panel):
    return coming_weeks(panel)


def rows(panel, product, location="chain"):
    """The coming weeks of a series, by column."""
    frame = panel.frame[(panel.frame["product_id"] == product) & (panel.frame["location"] == location)]
    return frame[frame["ds"] > panel.weeks[-1]].set_index("ds")


def differing(before, after):
    """Rows and columns of two panels that differ."""
    moved = ~np.isclose(
        before.frame.select_dtypes("number"), after.frame.select_dtypes("number"), rtol=0, atol=1e-9, equal_nan=True
    )
    return set(before.frame.select_dtypes("number").columns[moved.any(0)]), before.frame[moved.any(1)]


# ---------------------------------------------------------------- the plan


def test_a_plan_that_is_stated_as_it_is_changes_nothing(panel, weeks):
    first = panel.products.index[0]
    own = rows(panel, first)
    shelf = np.exp(own["price"] + own["price_level"])
    for week in weeks:
        changes = [
            Change(first, "chain", week, price=float(shelf[week])),
            Change(panel.products.index, "chain", week, price_factor=1.0),
            *(
                Change(first, name, week, promotion={"promotion": float(rows(panel, first, name)["promotion"][week])})
                for name in panel.locations.index[1:]
                if rows(panel, first, name)["promo_known"].iloc[0] > 0
            ),
        ]
        columns, _ = differing(panel, planned(panel, changes))
        assert not columns


def test_only_columns_of_the_plan_and_rows_after_the_cutoff_differ(panel, weeks):
    change = Change(panel.products.index[0], "chain", weeks[1:3], price_factor=0.8, promotion={"display": 1.0})
    other = planned(panel, [change])
    columns, moved = differing(panel, other)
    assert columns <= {*PRICE, *PROMOTION, "category_promotion", "promotion_known"}
    assert moved["ds"].min() > panel.weeks[-1]
    pd.testing.assert_frame_equal(other.frame[["unique_id", "ds", "y"]], panel.frame[["unique_id", "ds", "y"]])
    for name in ("products", "locations", "roles", "cutoffs", "outlook"):
        assert getattr(other, name) is getattr(panel, name)


def test_a_price_by_hand(panel, weeks):
    product = panel.products.index[0]
    own = rows(panel, product)
    after = rows(planned(panel, [Change(product, "chain", weeks[0], price_factor=0.8)]), product)
    assert after["price"].iloc[0] - own["price"].iloc[0] == pytest.approx(np.log(0.8))
    frame = panel.frame[panel.frame["unique_id"] == f"{product}|chain"]
    series = (frame["price"] + frame["price_level"]).to_numpy()
    series[len(panel.weeks)] += np.log(0.8)
    regular = pd.Series(series).expanding().median().to_numpy()
    np.testing.assert_allclose(after["price_cut"], (series - regular)[len(panel.weeks) :], atol=1e-9)
    assert (after["price_known"] == 1).all()


def test_a_price_in_one_region_moves_the_chain_by_its_share(panel, weeks):
    product, region = panel.products.index[0], panel.locations.index[1]
    other = planned(panel, [Change(product, region, weeks, price_factor=0.8)])
    moved = {
        name: rows(other, product, name)["price"] - rows(panel, product, name)["price"]
        for name in panel.locations.index
    }
    np.testing.assert_allclose(moved[region], np.log(0.8))
    np.testing.assert_allclose(moved["chain"], np.log(0.8) * panel.locations["share"][region], atol=1e-12)
    np.testing.assert_allclose(moved[panel.locations.index[2]], 0)


def test_regions_together_are_the_chain(panel, weeks):
    product, regions = panel.products.index[0], panel.locations.index[1:]
    recorded = [name for name in regions if rows(panel, product, name)["promo_known"].iloc[0] > 0]
    for values in ({"price_factor": 0.8}, {"promotion": {"mailer": 1.0, "display": 1.0}}):
        names = recorded if "promotion" in values else regions
        by_region = planned(panel, [Change(product, name, weeks, **values) for name in names])
        at_once = planned(panel, [Change(product, "chain", weeks, **values)])
        for column in ("price", "promotion", "promotion: display", "category_promotion"):
            for name in ("chain", *names):
                got, wanted = (rows(p, product, name)[column] for p in (by_region, at_once))
                np.testing.assert_allclose(got, wanted, atol=2e-3)


def test_channels_and_any_channel_follow_each_other(panel, weeks):
    product = panel.products.index[0]

    def shares(**promotion):
        return rows(planned(panel, [Change(product, "chain", weeks, promotion=promotion)]), product)[list(PROMOTION)]

    assert (shares(promotion=0.0) == 0).all(None)
    both = shares(mailer=0.4, display=0.0)
    np.testing.assert_allclose(both["promotion"], 0.4)
    both = shares(mailer=0.4, display=0.3, promotion=0.7)
    np.testing.assert_allclose(both["promotion"], 0.7)
    any_channel = shares(promotion=0.5)
    np.testing.assert_allclose(any_channel["promotion"], 0.5)
    assert any_channel[list(PROMOTION[1:])].le(0.5).all(None) and any_channel[list(PROMOTION[1:])].sum(1).gt(0.49).all()
    with pytest.raises(ValueError, match=r"at least 0.4 and at most 0.7"):
        shares(mailer=0.4, display=0.3, promotion=0.9)


def test_a_promotion_changes_the_category_of_the_others(panel, weeks):
    product, *others = panel.products.index
    before = {name: rows(panel, name)["category_promotion"] for name in panel.products.index}
    own = rows(panel, product)["promotion"]
    other = planned(panel, [Change(product, "chain", weeks, promotion={"promotion": 1.0})])
    units = panel.products["units"]
    for name in others:
        weight = units[product] / (units.sum() - units[name])
        moved = rows(other, name)["category_promotion"] - before[name]
        np.testing.assert_allclose(moved, weight * (1 - own), atol=1e-9)
    np.testing.assert_allclose(rows(other, product)["category_promotion"], before[product])


def test_a_plan_that_is_stated_is_known(tmp_path):
    """Tables that end with the sales plan nothing; what is stated of one region is known there and in the chain."""
    raw = add_optional_tables(make_retailer())
    raw["prices"] = raw["prices"][raw["prices"]["week"] < "2022-10-10"]
    panel = load_retailer(raw, tmp_path)
    product, weeks, region = panel.products.index[0], coming_weeks(panel), panel.locations.index[1]
    assert rows(panel, product)["price"].isna().all() and rows(panel, product)["promotion"].isna().all()
    other = planned(panel, [Change(product, region, weeks[1], price_factor=0.5, promotion={"promotion": 1.0})])
    for name in (region, "chain"):
        known = rows(other, product, name)[["price_known", "promotion_known"]]
        assert known.to_numpy().tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]
    last = panel.frame[(panel.frame["unique_id"] == f"{product}|{region}") & (panel.frame["ds"] == panel.weeks[-1])]
    assert rows(other, product, region)["price"].iloc[1] == pytest.approx(last["price"].iloc[0] + np.log(0.5))
    assert rows(other, product, region)["promotion"].iloc[1] == 1
    assert 0 < rows(other, product)["promotion"].iloc[1] < 1
    assert rows(other, panel.products.index[1]).equals(rows(panel, panel.products.index[1]))


def test_an_earlier_cutoff_may_be_planned_again(panel):
    cutoff = panel.cutoffs["test"][0]
    product, week = panel.products.index[0], cutoff + pd.Timedelta(weeks=2)
    _, moved = differing(panel, planned(panel, [Change(product, "chain", week, price_factor=0.9)], cutoff))
    assert moved["ds"].between(week, cutoff + pd.Timedelta(weeks=4)).all() and set(moved["product_id"]) == {product}
    assert Plan.of(panel, cutoff).weeks[1] == week


# ---------------------------------------------------------------- what cannot be planned


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"products": "p000"}, r"no product 'p000'; the nearest is 'p00'"),
        ({"locations": "region_9"}, r"no location 'region_9'; the nearest is 'region_\d'"),
        ({"products": ()}, "names no product"),
        ({"price_factor": 0.0}, r"price_factor is 0. Choose between 0.3 and 3"),
        ({"price_factor": float("nan")}, "price_factor is nan"),
        ({"price_factor": None, "price": 0}, "the price is 0. A shelf price must be above zero"),
        ({"price_factor": None, "price": 900}, r"times the usual one of 'p\d+'. Choose between"),
        ({"price": 2.0}, "both price_factor and price"),
        ({"price_factor": None}, "neither a price nor a promotion"),
        ({"weeks": "2022-10-03"}, "already observed. The nearest that can be planned is 2022-10-10"),
        ({"weeks": "2022-11-07"}, "beyond the horizon of 4 weeks. The nearest one is 2022-10-31"),
        ({"weeks": "2022-10-12"}, "not a Monday. Weeks are named by their Mondays; the nearest is 2022-10-10"),
        ({"promotion": {"dispaly": 1}}, "no channel 'dispaly'; the nearest is 'display'"),
        ({"promotion": {"promotion": 1.5}}, "is 1.5. It is a share of stores: choose between 0 and 1"),
        ({"promotion": {"category_promotion": 1}}, "follows from the promotions of the other products"),
    ],
)
def test_wrong_input_gets_a_sentence(panel, values, message):
    stated = {"products": panel.products.index[0], "locations": "chain", "weeks": "2022-10-10", "price_factor": 0.8}
    with pytest.raises(ValueError, match=message):
        check(panel, [Change(**stated | values)])


def test_a_retailer_without_a_table_is_told_so(small_panel):
    week, product = coming_weeks(small_panel)[0], small_panel.products.index[0]
    with pytest.raises(ValueError, match="no table of planned prices"):
        planned(small_panel, [Change(product, "chain", week, price_factor=0.8)])
    bare = dataclasses.replace(small_panel, planned=[])
    with pytest.raises(ValueError, match="no table of promotions"):
        check(bare, [Change(product, "chain", week, promotion={"promotion": 1})])


def test_a_region_without_records_is_refused(panel, weeks):
    frame = panel.frame.assign(promo_known=panel.frame["promo_known"].where(panel.frame["location"] != "region_2", 0.0))
    silent = dataclasses.replace(panel, frame=frame)
    with pytest.raises(
        ValueError, match=r"no store of 'region_2' has records of promotions.*Choose of chain, region_1"
    ):
        check(silent, [Change(panel.products.index[0], "region_2", weeks, promotion={"promotion": 1})])


def test_usual_prices_are_those_of_the_training_weeks(panel):
    product = panel.products.index[0]
    frame = panel.frame[panel.frame["unique_id"] == f"{product}|chain"]
    train = frame[frame["ds"] <= panel.meta["train_end"]]
    shelf = np.exp(train["price"] + train["price_level"])
    assert usual_prices(panel)[product] == pytest.approx(shelf.median(), rel=0.01)


# ---------------------------------------------------------------- forecasts


@pytest.fixture(scope="module", params=["compact", "backbone"])
def trained(request, panel, tiny_bert):
    return make_models(panel, tiny_bert, request.param)


@pytest.fixture(scope="module")
def ready(panel, tiny_bert):
    return Ready.of(panel, *make_models(panel, tiny_bert))


def test_it_forecasts_what_the_model_forecasts_of_the_other_panel(panel, weeks, trained):
    models, facts = trained
    first, second = panel.products.index[:2]
    changes = [
        Change(first, "chain", weeks[:2], price_factor=0.8, promotion={"display": 1.0}),
        Change(second, panel.locations.index[1], weeks[3], price_factor=1.2),
    ]
    frame = what_if(panel, models, facts, changes)
    for plan, of in (("present", panel), ("other", planned(panel, changes))):
        market = market_tensors(of, load_tokenizer(facts["backbone"]), scale=facts["scale"])
        wanted = forecast(models, market, panel.cutoffs["latest"]).set_index(["unique_id", "horizon"])
        wanted = wanted.loc[list(zip(frame["unique_id"], frame["horizon"], strict=True))]
        np.testing.assert_allclose(frame[f"mean_{plan}"], wanted["mean"], rtol=1e-4)
        own = frame["stated"].to_numpy() | (plan == "present")
        np.testing.assert_array_equal(frame.loc[own, f"q900_{plan}"], wanted.loc[own, "q900"])
    assert frame["difference"].abs().max() > 1e-3


def test_differences_are_paired_and_add_up(ready, panel, weeks):
    frame = ready.ask([Change(panel.products.index[0], "chain", weeks, promotion={"promotion": 1.0})])
    np.testing.assert_allclose(frame["difference"], frame["mean_other"] - frame["mean_present"])
    assert (frame["low"] <= frame["difference"]).all() and (frame["difference"] <= frame["high"]).all()
    chain = frame["location"] == "chain"
    keys = ["product_id", "ds"]
    of_regions = frame[~chain].groupby(keys)["difference"].sum()
    np.testing.assert_allclose(of_regions, frame[chain].groupby(keys)["difference"].sum(), atol=1e-9)
    spread = (frame["high"] - frame["low"]) / (frame["q900_present"] - frame["q100_present"]).clip(lower=1)
    assert spread.max() < 2, "the same luck meets both plans"


def test_only_products_that_can_change_are_forecast(ready, panel, weeks):
    first = panel.products.index[0]
    by_price = ready.ask([Change(first, "chain", weeks, price_factor=0.9)])
    assert set(by_price["product_id"]) == {first} and by_price["stated"].all()
    promoted = ready.ask([Change(first, "chain", weeks, promotion={"mailer": 1.0})])
    assert set(promoted["product_id"]) == set(panel.products.index)
    assert set(promoted.loc[promoted["stated"], "product_id"]) == {first}
    other = promoted[~promoted["stated"]]
    assert other["difference"].abs().max() > 0


def test_the_present_plan_makes_no_difference(ready, panel, weeks):
    frame = ready.ask([Change(panel.products.index[0], "chain", weeks, price_factor=1.0)])
    np.testing.assert_allclose(frame[["difference", "low", "high"]], 0, atol=1e-4)
    planned_now = ready.as_planned(panel.products.index[0])
    pd.testing.assert_frame_equal(frame, planned_now[list(frame)], check_exact=False, atol=1e-4)


def test_weeks_are_summed_by_series(ready, panel, weeks):
    frame = ready.ask([Change(panel.products.index[0], "chain", weeks, price_factor=0.9)])
    sums = totals(frame)
    assert len(sums) == 3 and sums["stated"].all()
    np.testing.assert_allclose(sums["difference"], sums["mean_other"] - sums["mean_present"])
    other = ahead(frame[frame["location"] == "chain"], "other")
    assert list(other) == ["ds", "mean", "q100", "q250", "q500", "q750", "q900"] and len(other) == 4


def test_nothing_after_the_cutoff_is_read(panel, tiny_bert):
    models, facts = make_models(panel, tiny_bert)
    cutoff = panel.cutoffs["test"][0]
    change = [Change(panel.products.index[0], "chain", cutoff + pd.Timedelta(weeks=1), price_factor=0.9)]
    as_it_was = what_if(panel, models, facts, change, cutoff=cutoff)
    otherwise = what_if(changed_after(panel, cutoff), models, facts, change, cutoff=cutoff)
    pd.testing.assert_frame_equal(as_it_was, otherwise)


def test_wrong_input_is_refused_before_anything_is_forecast(ready, weeks):
    with pytest.raises(ValueError, match="no product 'p000'"):
        ready.ask([Change("p000", "chain", weeks, price_factor=0.9)])


def test_a_range_by_hand():
    """Sales of 8 at the lowest quantile to 12 at the highest; two models that say 10 % and 20 % more."""
    quantiles = np.linspace(8, 12, 13)[None]
    low, high = difference_range(quantiles, np.array([[1.1], [1.2]]), np.zeros(1))
    assert 0.8 <= low[0] < 1.0 and 2.0 < high[0] <= 2.4
    wider = difference_range(quantiles, np.array([[1.1], [1.2]]), np.array([0.3]))
    assert wider[0][0] < low[0] and wider[1][0] > high[0]
    none = difference_range(quantiles, np.ones((2, 1)), np.zeros(1))
    assert none[0][0] == none[1][0] == 0


# ---------------------------------------------------------------- anchored to an estimate


def test_the_weight_of_an_estimate_by_hand():
    assert weight_by_error(-1, -2, 0.5) == pytest.approx(0.75)
    assert weight_by_error(-1.9, -2, 0.5) == 0
    assert weight_by_error(-1, -2, 0) == 1
    assert weight_by_error(-2, -2, 0) == 0


def test_mean_effects_move_to_the_estimate_by_hand():
    estimate = Response(-2.0, 0.1, {"promotion": 0.5}, {"promotion": 0.2})
    leaning = Anchor(estimate, {"price": -1.0, "promotion": 0.8}, {"price": 0.5, "promotion": 1.0})
    cheaper = {"price": np.log(0.9), "promotion": 0.0}
    assert np.exp(leaning.log_factor(np.log(1.15), cheaper)) == pytest.approx(1.15 * 0.9**-0.5)
    both = {"price": np.log(0.9), "promotion": 1.0}
    assert leaning.log_factor(0.3, both) == pytest.approx(0.3 - 0.5 * np.log(0.9) - 0.3)
    assert leaning.log_factor(0.3, {"price": 0.0, "promotion": 0.0}) == 0.3
    assert leaning.error(both) == pytest.approx(np.hypot(0.05 * np.log(0.9), 0.2))
    assert estimate.log_factor(both) == pytest.approx(-2 * np.log(0.9) + 0.5)


def test_each_channel_moves_by_its_own_share(panel, weeks):
    """Not all of them by that of the last one."""
    present = Plan.of(panel)
    nothing = present.changed([Change("p01", "chain", weeks, promotion={"display": 0.0, "mailer": 0.0})])
    other = nothing.changed([Change("p01", "chain", weeks, promotion={"display": 0.75, "mailer": 0.25})])
    moved = moves(nothing, other, present.products.get_indexer(["p01"]))
    assert moved["promotion: display"] == pytest.approx(0.75) and moved["promotion: mailer"] == pytest.approx(0.25)
    assert moved["promotion"] == pytest.approx(0.75) and moved["price"] == pytest.approx(0.0)


def test_a_part_without_an_estimate_stays_the_models():
    leaning = Anchor.of(Response(elasticity=-2.0), {"price": -1.0, "promotion": 0.8})
    assert leaning.weights == {"price": 1.0}
    assert leaning.log_factor(0.3, {"price": 0.0, "promotion": 1.0}) == 0.3
    assert Anchor.of(Response(), {"price": -1.0}).log_factor(0.3, {"price": 0.5}) == 0.3
    assert Anchor.of(Response(), {"price": -1.0}).error({"price": 0.5}) == 0


def test_a_response_that_counts_twice_is_refused():
    with pytest.raises(ValueError, match="any channel and by channel"):
        Response(
            lift={"promotion": 0.5, "promotion: display": 0.4}, lift_se={"promotion": 0.1, "promotion: display": 0.1}
        )
    with pytest.raises(ValueError, match="no standard error of the lift of 'promotion'"):
        Response(lift={"promotion": 0.5})


def test_an_anchored_forecast_moves_by_the_distance_of_the_mean_effects(ready, panel, weeks):
    change = [Change(panel.products.index[0], "chain", weeks, price_factor=0.8)]
    certain = Anchor(Response(elasticity=-2.0), {"price": -1.5}, {"price": 1.0})
    frame, alone = ready.ask(change, certain), ready.ask(change)
    np.testing.assert_allclose(frame["mean_other"] / alone["mean_other"], 0.8**-0.5, rtol=1e-6)
    unsure = dataclasses.replace(certain, response=Response(elasticity=-2.0, elasticity_se=3.0))
    wider = ready.ask(change, unsure)
    np.testing.assert_allclose(wider["difference"], frame["difference"])
    assert (wider["high"] - wider["low"]).sum() > (frame["high"] - frame["low"]).sum()


def test_models_own_response_is_that_of_single_products(ready, panel, weeks):
    own = ready.own_response()
    assert set(own) == {"price", "promotion", "promotion: display", "promotion: mailer"}

    def of_single_products(**stated) -> float:
        plans = [ready.plan.changed([Change(name, "chain", weeks, **stated)]) for name in panel.products.index]
        return np.mean([ready.log_factors(plan)[:, i, 0].mean() for i, plan in enumerate(plans)])

    assert own["price"] == pytest.approx(of_single_products(price_factor=1.1) / np.log(1.1), rel=1e-4)
    shown = [of_single_products(promotion={"display": share}) for share in (0.0, 1.0)]
    assert own["promotion: display"] == pytest.approx(shown[1] - shown[0], rel=1e-4)
    lift = own["promotion"]
    leaning = ready.anchored_to(Response(own["price"], 0.0, {"promotion": lift + 1}, {"promotion": 0.5}))
    assert leaning.weights == {"price": 0, "promotion": pytest.approx(0.75)}
