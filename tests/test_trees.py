"""Boosted trees of one category and of several fitted jointly: what they learn from, and what they refuse."""

import dataclasses

import lightgbm
import numpy as np
import pandas as pd
import pytest
from small_retailer import changed_after, load_retailer, make_retailer, small_trees

from shelfcast.judge.frame import KEYS
from shelfcast.methods import trees
from shelfcast.methods.dispersion import held_out_weeks, with_dispersion
from shelfcast.methods.trees import boosting, fitted
from shelfcast.panel.frame import LEVEL_FLOOR, examples


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


def test_means_from_any_cutoffs(joint, panels):
    """From validation and test cutoffs together, or each alone, the forecasts are the same."""
    panel = panels[0]
    predict = joint.predict(panel)
    validation, test, both = (predict(c) for c in cutoffs_of(panel))
    assert list(test) == [*KEYS, "mean"] and (test["mean"] > 0).all()
    assert len(test) == 5 * 3 * len(panel.cutoffs["test"]) * 4  # products, locations, cutoffs, horizons
    keys = ["unique_id", "cutoff", "horizon"]
    apart = pd.concat([validation, test]).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(both.sort_values(keys, ignore_index=True), apart, check_exact=True)


def cutoffs_of(panel):
    validation, test = panel.cutoffs["validation"], panel.cutoffs["test"]
    return validation, test, validation + test


def test_a_category_that_was_not_fitted_is_a_missing_value(joint, panels):
    soup = dataclasses.replace(panels[0], meta=panels[0].meta | {"category": "SOUP"})
    forecast = joint.predict(soup)(soup.cutoffs["test"])
    assert (forecast["mean"] > 0).all() and len(forecast) == len(joint.predict(panels[0])(panels[0].cutoffs["test"]))


def test_columns_in_units_are_read_relative_to_the_level(joint, panels):
    """Sales, levels and all columns in units ten times as large, less the floor: only the absolute level differs."""
    panel = panels[0]
    rows = examples(panel, panel.cutoffs["test"][:1])
    scaled = rows.copy()
    for name in [*panel.in_units, "y_level"]:
        scaled[name] = (rows[name] + LEVEL_FLOOR) * 10 - LEVEL_FLOOR
    before, after = (fitted._features(part, panel, joint.categories) for part in (rows, scaled))
    differ = [name for name in before if not np.allclose(before[name], after[name], atol=1e-5, equal_nan=True)]
    assert differ == ["level"] and "lag_0" in panel.in_units


def test_leak_test_weeks_teach_nothing(joint, panels):
    changed_panels = [changed_after(panel, pd.Timestamp(panel.meta["validation_end"])) for panel in panels]
    again = trees.fit(changed_panels, 0)
    for panel, changed in zip(panels, changed_panels, strict=True):
        cutoff = [pd.Timestamp(panel.meta["validation_end"])]
        before, after = (fitted.predict(p)(cutoff) for fitted, p in ((joint, panel), (again, changed)))
        pd.testing.assert_frame_equal(before.drop(columns="y"), after.drop(columns="y"), check_exact=True)


def test_leak_validation_weeks_have_no_part_in_their_own_forecasts(joint, panels):
    """Settings, rounds, trees: with everything after training changed, the validation forecasts are the same."""
    changed_panels = [changed_after(panel, pd.Timestamp(panel.meta["train_end"])) for panel in panels]
    again = trees.fit(changed_panels, 0)
    for panel, changed in zip(panels, changed_panels, strict=True):
        cutoff = panel.cutoffs["validation"][:1]
        before, after = (fitted.predict(p)(cutoff) for fitted, p in ((joint, panel), (again, changed)))
        pd.testing.assert_frame_equal(before.drop(columns="y"), after.drop(columns="y"), check_exact=True)
    test = panel.cutoffs["test"][:1]
    refit, refit_again = (fitted.predict(panel)(test)["mean"] for fitted in (joint, again))
    assert not np.allclose(refit, refit_again), "a control: the refit has learned from them"


def test_leak_held_out_weeks_choose_but_do_not_teach_the_inner_trees(joint, panels):
    weeks = [held_out_weeks(panel)[0] - pd.Timedelta(weeks=1) for panel in panels]
    changed = [changed_after(panel, week) for panel, week in zip(panels, weeks, strict=True)]
    again = trees.fit(changed, 0)
    before, after = (first_tree_by_settings(fitted) for fitted in (joint, again))
    assert before.keys() & after.keys()
    assert all(before[settings] == after[settings] for settings in before.keys() & after.keys())


def first_tree_by_settings(fitted):
    settings = fitted.ranking.drop(columns=["rounds", "wql"]).to_dict("records")
    boosters = zip(settings, fitted.boosters["inner"], strict=False)
    return {str(one): booster.dump_model(num_iteration=1)["tree_info"] for one, booster in boosters}


def with_plan(panel):
    """The panel with its promotions as a plan that may be hidden."""
    planned = [name for name in panel.roles["known_future"] if "promotion" in name or name in ("mailer", "display")]
    assert "promotion" in planned
    return dataclasses.replace(panel, planned=planned)


@pytest.fixture(scope="module")
def planned(small_panel, few_rounds):
    """A panel with a plan, and the trees of its category."""
    panel = with_plan(small_panel)
    return panel, trees.fit([panel], 0)


def test_one_fit_serves_with_and_without_a_plan(planned):
    """A promotion doubles sales: with the plan forecasts tell promoted weeks, without it they do not know them."""
    panel, own = planned
    predict = with_dispersion(panel, own.predict(panel), trees.DISPERSION_BINS)
    cutoffs = panel.cutoffs["test"]
    known, hidden = predict(cutoffs), predict(cutoffs, plan_known=False)
    rows = examples(panel, cutoffs)
    assert known["unique_id"].equals(rows["unique_id"])
    told = np.log(known["mean"] / hidden["mean"])
    assert np.corrcoef(told, rows["promotion_target"])[0, 1] > 0.5
    unaware = dataclasses.replace(panel, frame=panel.frame.assign(**dict.fromkeys(panel.planned, np.nan)))
    late = panel.frame["ds"] > panel.cutoffs["test"][0]
    handed_over = dataclasses.replace(panel, frame=panel.frame.where(~late, unaware.frame))
    as_nan = own.predict(handed_over)(cutoffs[:1])
    by_option = own.predict(panel)(cutoffs[:1], plan_known=False)
    pd.testing.assert_series_equal(as_nan["mean"], by_option["mean"])


def test_leak_a_hidden_plan_says_nothing(planned):
    panel, own = planned
    cutoff = panel.cutoffs["test"][0]
    late = panel.frame["ds"] > cutoff
    other = panel.frame.assign(**{name: panel.frame[name].mask(late, 0.77) for name in panel.planned})
    predict = own.predict
    before, after = (
        predict(p)([cutoff], plan_known=False)["mean"] for p in (panel, dataclasses.replace(panel, frame=other))
    )
    pd.testing.assert_series_equal(before, after)
    known = predict(dataclasses.replace(panel, frame=other))([cutoff])["mean"]
    assert not np.allclose(known, predict(panel)([cutoff])["mean"]), "a control: a known plan does"


def test_names_of_columns_may_be_anything(small_panel):
    names = {"promotion: mailer": '海报: [TV, "radio"]', "promotion: display": "display: front"}
    roles = {role: [names.get(column, column) for column in columns] for role, columns in small_panel.roles.items()}
    renamed = dataclasses.replace(small_panel, frame=small_panel.frame.rename(columns=names), roles=roles)
    renamed = dataclasses.replace(renamed, planned=[names.get(column, column) for column in small_panel.planned])
    own = trees.fit([renamed], 0)
    forecast = with_dispersion(renamed, own.predict(renamed), trees.DISPERSION_BINS)(renamed.cutoffs["test"])
    assert f"{names['promotion: mailer']}_target" in own.columns and (forecast["mean"] > 0).all()


def test_long_histories_are_thinned_but_for_the_weeks_that_choose(small_panel, monkeypatch):
    full = fitted._labelled(small_panel, [])[0]
    monkeypatch.setattr(fitted, "MAX_ROWS", len(full) // 3)
    thinned = fitted._labelled(small_panel, [])[0]
    start = held_out_weeks(small_panel)[0] - pd.Timedelta(weeks=1)
    late, thin_late = (rows[rows["cutoff"] >= start] for rows in (full, thinned))
    pd.testing.assert_frame_equal(late.reset_index(drop=True), thin_late.reset_index(drop=True))
    early, thin_early = ((rows["cutoff"] < start).sum() for rows in (full, thinned))
    assert 0.25 * early < thin_early < 0.5 * early


def test_other_columns_are_refused(joint, panels):
    panel = panels[0]
    other = dataclasses.replace(panel, frame=panel.frame.drop(columns="lag_3"))
    assert joint.mismatch(other) == "its columns and those of the trees differ in lag_3" and joint.mismatch(panel) == ""
    with pytest.raises(ValueError, match=r"lag_3\. Fit them to its tables"):
        joint.predict(other)


@pytest.mark.parametrize("rounds", [20, 100])
def test_rounds_for_the_refit_are_not_tried_for_long_once_they_are_no_better(monkeypatch, rounds):
    rng, tried, train = np.random.default_rng(0), [], lightgbm.train

    def counted(*args, **kwargs):
        booster = train(*args, **kwargs)
        tried.append(booster.num_trees())
        return booster

    def noise(n):
        """Rows that teach nothing, so that the first rounds are the best ones."""
        features = pd.DataFrame(rng.normal(size=(n, 3)).astype(np.float32))
        return boosting.Data(features, pd.DataFrame({"y": rng.poisson(3, n), "y_level": 3.0}), [n])

    common = boosting.common_settings(0, joint=False, n_rows=2000)
    before = lightgbm.Booster(common | {"objective": "poisson"}, noise(500).dataset(common))
    before.best_iteration = rounds
    best = boosting.Candidate(1.0, {"objective": "poisson", "num_leaves": 15}, before)
    monkeypatch.setattr(lightgbm, "train", counted)
    (booster,), (refit,) = boosting.fit_select(noise(2000), noise(500), [best], common)
    assert booster.num_trees() == rounds  # as many as were best before, whether or not they are good
    assert tried[0] < boosting.LONGER * rounds + boosting.PATIENCE and 1 <= refit < rounds
