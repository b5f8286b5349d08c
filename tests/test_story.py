"""What the report says: names and sentences, checked by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shelfcast.report import names, story
from shelfcast.report.evidence import titles

MONDAY = pd.Timestamp("2022-01-31")


def products(**columns):
    frame = pd.DataFrame(
        {"label": ["Cola", "Root <beer>"], "mean": [30.0, 3.0], "low": [20.0, 1.0], "high": [40.0, 6.0]}
    )
    return frame.assign(**columns).set_axis(["11", "22"])


def test_movers():
    up = products(last=[10.0, 0.0])
    assert "1 product very likely to rise" in story.movers(up, "rise", 4)
    assert "Cola <span class='id'>11</span> from 10 to 30" in story.movers(up, "rise", 4)
    assert "largest" not in story.movers(up, "rise", 4)
    assert story.movers(up, "fall", 4).startswith("No product is sure to fall")
    assert "1 product sold nothing" in story.silent(up, 4) and "Root &lt;beer&gt;" in story.silent(up, 4)
    assert story.silent(products(last=[10.0, 2.0]), 4) == ""
    both = story.movers(products(last=[50.0, 9.0]), "fall", 4)
    assert "2 products very likely to fall" in both and both.index("Cola") < both.index("Root")


def test_words():
    assert story.change_words(86, 100) == "14\u00a0% less than" and story.change_words(100.2, 100) == "as many as"
    chance = pd.Series({"q100": 80.0, "mean": 100.0, "q900": 120.0})
    assert "may still be chance" in story.what_will_sell(pd.Series({**chance, "last": 110}), MONDAY, 4)
    assert "beyond that range" in story.what_will_sell(pd.Series({**chance, "last": 130}), MONDAY, 4)
    score = {"coverage_80": 0.83, "wape": 0.4}
    assert "no clear difference" in story.how_sure(score, 0.1, (-0.01, -0.02, 0.01), "Trees", 8, 4)
    assert "1.0\u00a0% lower than that of Trees" in story.how_sure(score, 0.1, (-0.01, -0.02, -0.005), "Trees", 8, 4)


def test_four_weeks_end_on_a_sunday():
    assert story.span(MONDAY, 4) == "from 31 January 2022 to 27 February 2022"


def test_regions_that_differ_from_the_chain():
    regions = pd.DataFrame({"change": [0.1, -0.3], "low": [0.0, -0.4], "high": [0.2, -0.2]}, index=["North", "South"])
    assert story.differing(regions, 0.1) == "<b>South (−30\u00a0%)</b> differs from the chain's +10\u00a0%."
    assert story.regions_apart(regions, 0.1) == ["South"]
    assert "No region clearly moves apart" in story.differing(regions.assign(low=-1, high=1), 0.1)
    silent = pd.concat([regions, pd.DataFrame(np.nan, ["East"], regions.columns)])  # sold nothing lately: no change
    assert story.regions_apart(silent, 0.1) == ["South"]


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({}, "<b>2 products have a promotion planned</b> in most stores in the next 4 weeks (1 in the last 4)"),
        ({"plan_assumed": True}, "<b>No promotion plan</b> reaches past 30 January 2022"),
        ({"prices_assumed": True}, "<b>No planned prices</b> reach past 30 January 2022"),
    ],
)
def test_promotions(meta, words):
    day = pd.Timedelta(days=1)
    weeks = [MONDAY, MONDAY + 7 * day, MONDAY + 7 * day, MONDAY - 7 * day, MONDAY - 35 * day]  # the last is too old
    promoted = pd.DataFrame({"product_id": ["a", "a", "b", "c", "d"], "ds": weeks})
    assert words in story.promotions(promoted, MONDAY, 4, meta)


def test_titles_give_the_verdict_of_the_interval():
    rows = pd.DataFrame(
        {"group": ["alternative", "ours"], "estimate": [0, -0.02], "low": [0, -0.03], "high": [0, 0.01]}
    )
    assert (
        titles.accuracy_title(rows, "in regions", "Trees") == "In regions: no clear difference to Trees (−2.0\u00a0%)"
    )
    assert "better than Trees" in titles.accuracy_title(rows.assign(high=-0.01), "in regions", "Trees")
    assert "worse than Trees" in titles.accuracy_title(rows.assign(estimate=0.02, low=0.01, high=0.03), "", "Trees")
    assert titles.coverage_title(0.81).endswith("as promised")
    assert titles.coverage_title(0.7).endswith("narrower than promised")
    assert titles.coverage_title(0.9).endswith("wider than needed")


def test_titles_of_studies():
    rows = pd.DataFrame(
        {"label": ["Shelfcast", "A", "B"], "group": ["ours", "control", "control"], "low": [np.nan, 0.01, -0.01]}
    )
    assert titles.control_title(rows, "whole chain") == "Whole chain: 1 of 2 simpler versions clearly worse"
    assert "none of 2" in titles.control_title(rows.assign(low=-1), "whole chain")
    costs = pd.DataFrame(
        {
            "label": ["no text", "no plan", "noise"],
            "group": ["left out", "left out", "control"],
            "estimate": [0, 0.3, 1],
        }
    )
    assert titles.ablation_title(costs, "chain") == "Chain: most is lost with no plan (+30.0\u00a0%)"


def test_marks_explain_only_what_is_drawn():
    peers = pd.DataFrame({"label": ["Shelfcast", "Trees"], "group": ["ours", "alternative"]})
    assert titles.marks(peers, advantage="future prices") == "Blue: Shelfcast. Black: other methods."
    controls = pd.DataFrame({"label": ["Small", "Best"], "group": ["control", "upper bound"]})
    text = titles.marks(peers, controls, advantage="future prices")
    assert "then simpler versions of Shelfcast" in text and "Hollow squares use future prices" in text


def test_study_origin_names_revision_and_changed_panels():
    made = {"revision": "abc123", "panel_md5": "x", "seeds": [0, 1, 2]}
    assert titles.study_origin(made, "x") == "3 runs each, trained at revision abc123"
    assert titles.study_origin(made, "y").endswith("; the panel has changed since")


def test_training_title():
    history = pd.DataFrame({"step": [0, 1, 2], "best": [False, True, False]})
    assert titles.training_title(history).endswith("was lowest after 1 step")
    assert titles.training_title(history.assign(best=[True, False, False])).endswith("any training on this category")


def test_limits(small_panel):
    panel = dataclasses.replace(small_panel, meta=small_panel.meta | {"source": "tables"})
    lines = story.limits(panel)
    assert lines[0].startswith("The data reach from 3 January 2022 to 9 October 2022: 40 weeks.")
    assert "no yearly season" in lines[0]
    assert "The forecast does not use prices of the coming weeks." in lines
    simulated = dataclasses.replace(panel, meta=panel.meta | {"source": "simulated"})
    assert story.limits(simulated)[0].startswith("<b>Nothing on this page is real.</b>")
    household = dataclasses.replace(panel, meta=panel.meta | {"source": "complete_journey", "n_customers": 2469})
    assert "2,469 households" in story.limits(household)[0]
    litres = dataclasses.replace(panel, meta=panel.meta | {"amounts": True, "unit": 0.75})
    assert not any("usual sale" in line for line in lines)
    assert any("of which a usual sale has 0.75" in line for line in story.limits(litres))


def test_a_locations_name():
    assert names.location_label("region_1") == "Region 1"


def test_methods_that_are_not_listed_have_a_name_too():
    assert names.method("my_variant") == ("my variant", "alternative", "")
    assert names.method("my_price_plan").group == "upper bound"
    assert names.ablation("new_no_text") == names.ablation("no_text") == ("no product text", "left out")
    assert {method.group for method in names.METHODS.values()} <= set(names.GROUPS)


def test_what_a_region_is(small_panel):
    assert "same households shop" in story.where_regions_come_from(small_panel)
    one = dataclasses.replace(small_panel, locations=small_panel.locations.iloc[:2])
    assert "all stores are one region" in story.where_regions_come_from(one)
    own = dataclasses.replace(small_panel, locations=small_panel.locations.rename({"region_1": "Nord"}))
    assert "retailer's own" in story.where_regions_come_from(own)


def test_the_situation_is_that_of_the_panel(small_panel):
    assert "covers the coming weeks, and" in story.situation(small_panel, "plan_known")
    assert "no promotions and no prices" in story.situation(dataclasses.replace(small_panel, planned=[]), "no_plan")


def test_what_the_model_counts_in_the_ensemble():
    weights = {"product": {"shelfcast": 0.3, "lightgbm": 0.1}, "product_region": {"shelfcast": 1.0}}
    assert story.own_share(weights) == "which counts 75\u00a0% in the ensemble."
    assert story.own_share({"product": {"lightgbm": 1.0}}) == "which counts 0\u00a0% in the ensemble."
