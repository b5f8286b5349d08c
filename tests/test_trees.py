"""Boosted trees of one category and of several fitted jointly: what they learn from, and what they refuse."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import changed_after, load_retailer, make_retailer, small_trees

from shelfcast.judge.frame import KEYS
from shelfcast.methods import trees


@pytest.fixture(scope="module", autouse=True)
def few_rounds():
    with small_trees(max_rounds=60):
        yield


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    raw = make_retailer()
    raw["products"]["category"] = ["TEA"] * 5 + ["MATE"] * 7
    folder = tmp_path_factory.mktemp("shop")
    loaded = {category: load_retailer(raw, folder / category, category) for category in ("TEA", "MATE")}
    return [dataclasses.replace(panel, meta=panel.meta | {"category": name}) for name, panel in loaded.items()]


@pytest.fixture(scope="module")
def joint(panels, few_rounds):
    return trees.fit(panels, 0)


def test_saved_and_loaded_trees_forecast_the_same(joint, panels, tmp_path):
    assert trees.Trees.load(tmp_path) is None
    joint.save(tmp_path)
    loaded = trees.Trees.load(tmp_path)
    for panel in panels:
        for part in ("validation", "test"):
            before, after = (fitted.predict(panel)(panel.cutoffs[part]) for fitted in (joint, loaded))
            pd.testing.assert_frame_equal(after, before, check_exact=True)
    assert loaded.categories == ["TEA", "MATE"] and "category" in loaded.columns


def test_means_of_each_part(joint, panels):
    """At validation cutoffs rows without an actual in the validation weeks are left out; at test cutoffs none are."""
    panel = panels[0]
    validation, test = (joint.predict(panel)(panel.cutoffs[part]) for part in ("validation", "test"))
    assert list(test) == [*KEYS, "mean"] and (test["mean"] > 0).all()
    assert validation["y"].notna().all() and validation["ds"].max() == pd.Timestamp(panel.meta["validation_end"])
    assert len(test) == 5 * 3 * len(panel.cutoffs["test"]) * 4  # products, locations, cutoffs, horizons


def test_a_category_that_was_not_fitted_is_a_missing_value(joint, panels):
    soup = dataclasses.replace(panels[0], meta=panels[0].meta | {"category": "SOUP"})
    forecast = joint.predict(soup)(soup.cutoffs["test"])
    assert (forecast["mean"] > 0).all() and len(forecast) == len(joint.predict(panels[0])(panels[0].cutoffs["test"]))


def test_columns_in_units_are_read_relative_to_the_level(joint, panels):
    """Sales, levels and all columns in units ten times as large, less the floor: only the absolute level differs."""
    panel = panels[0]
    rows = trees.examples(panel, panel.cutoffs["test"][:1])
    scaled = rows.copy()
    for name in [*panel.in_units, "y_level"]:
        scaled[name] = (rows[name] + trees.LEVEL_FLOOR) * 10 - trees.LEVEL_FLOOR
    before, after = (trees._features(part, panel, joint.categories) for part in (rows, scaled))
    differ = [name for name in before if not np.allclose(before[name], after[name], atol=1e-5, equal_nan=True)]
    assert differ == ["level"] and "lag_0" in panel.in_units


def test_leak_test_weeks_teach_nothing(joint, panels):
    changed_panels = [changed_after(panel, pd.Timestamp(panel.meta["validation_end"])) for panel in panels]
    again = trees.fit(changed_panels, 0)
    for panel, changed in zip(panels, changed_panels, strict=True):
        cutoff = [pd.Timestamp(panel.meta["validation_end"])]
        before, after = (fitted.predict(p)(cutoff) for fitted, p in ((joint, panel), (again, changed)))
        pd.testing.assert_frame_equal(before.drop(columns="y"), after.drop(columns="y"), check_exact=True)


def test_leak_validation_weeks_choose_but_do_not_teach(joint, panels):
    """They decide which settings are used and how many rounds; what a tree holds they do not."""
    changed = [changed_after(panel, pd.Timestamp(panel.meta["train_end"])) for panel in panels]
    again = trees.fit(changed, 0)
    before, after = (booster_by_settings(fitted) for fitted in (joint, again))
    assert before.keys() & after.keys()
    for settings in before.keys() & after.keys():
        first_trees = [boosters[settings].dump_model(num_iteration=1)["tree_info"] for boosters in (before, after)]
        assert first_trees[0] == first_trees[1]


def booster_by_settings(fitted):
    settings = fitted.ranking.drop(columns=["rounds", "wql"]).to_dict("records")
    return {str(one): booster for one, booster in zip(settings, fitted.boosters["select"], strict=False)}


def test_other_columns_are_refused(joint, panels):
    panel = panels[0]
    other = dataclasses.replace(panel, frame=panel.frame.drop(columns="lag_3"))
    assert joint.mismatch(other) == "its columns and those of the trees differ in lag_3" and joint.mismatch(panel) == ""
    with pytest.raises(ValueError, match=r"lag_3\. Fit them to its tables"):
        joint.predict(other)
