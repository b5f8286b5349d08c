"""Boosted trees of one category and of several: what they see, what they keep, and two methods as one."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import changed_after, load_retailer, make_retailer

from shelfcast.methods import baselines
from shelfcast.methods import trees
from shelfcast.methods.dispersion import count_wql, is_chain


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(trees, "COMMON", trees.COMMON | {"min_data_in_leaf": 20, "num_threads": 1})
    monkeypatch.setattr(trees, "ROUNDS", 60)


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    raw = make_retailer()
    raw["products"]["category"] = ["TEA"] * 5 + ["MATE"] * 7
    return [
        load_retailer(raw, tmp_path_factory.mktemp("shop"), category, meta={"category": category})
        for category in ("TEA", "MATE")
    ]


@pytest.fixture()
def joint(panels):
    return trees.fit(panels, 0)


def test_saved_and_loaded_they_forecast_the_same(joint, panels, tmp_path):
    assert trees.Trees.load(tmp_path) is None
    joint.save(tmp_path)
    again = trees.Trees.load(tmp_path)
    for panel in panels:
        for part in ("validation", "test"):
            expected, found = (t.predict(panel)(panel.cutoffs[part]) for t in (joint, again))
            pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert again.categories == ["TEA", "MATE"] and "category" in again.columns


def test_a_category_that_was_not_learned_from_is_a_missing_value(joint, panels):
    strange = dataclasses.replace(panels[0], meta=panels[0].meta | {"category": "SOUP"})
    found = joint.predict(strange)(strange.cutoffs["test"])
    assert (found["mean"] > 0).all() and len(found) == len(joint.predict(panels[0])(panels[0].cutoffs["test"]))


def test_leak_test_weeks_teach_them_nothing(joint, panels):
    late = [changed_after(panel, pd.Timestamp(panel.meta["validation_end"])) for panel in panels]
    again = trees.fit(late, 0)
    for panel, changed in zip(panels, late, strict=True):
        cutoff = [pd.Timestamp(panel.meta["validation_end"])]
        before, after = (t.predict(p)(cutoff) for t, p in ((joint, panel), (again, changed)))
        pd.testing.assert_frame_equal(before.drop(columns="y"), after.drop(columns="y"), check_exact=True)


def test_leak_validation_weeks_choose_but_do_not_teach(joint, panels):
    """Which settings are kept, and how many trees, they say; what a tree holds they do not."""
    late = [changed_after(panel, pd.Timestamp(panel.meta["train_end"])) for panel in panels]
    again = trees.fit(late, 0)
    first, other = ({str(settings): booster for settings, booster in kept(fitted)} for fitted in (joint, again))
    assert first.keys() & other.keys()
    for settings in first.keys() & other.keys():
        assert (
            first[settings].dump_model(num_iteration=1)["tree_info"]
            == other[settings].dump_model(num_iteration=1)["tree_info"]
        )


def kept(fitted):
    settings = fitted.ranking.drop(columns=["rounds", "wql"]).to_dict("records")
    return zip(settings, fitted.boosters["select"], strict=False)


def test_other_columns_are_refused(joint, panels):
    panel = panels[0]
    odd = dataclasses.replace(panel, frame=panel.frame.drop(columns="lag_3"))
    assert "other columns: lag_3" in joint.mismatch(odd) and joint.mismatch(panel) == ""
    with pytest.raises(ValueError, match=r"lag_3\. Fit them to these tables"):
        joint.predict(odd)


def test_the_pair_and_the_blend(joint, panels):
    panel = panels[0]
    rows = joint.predict(panel)(panel.cutoffs["validation"])
    off = rows.assign(mean=rows["mean"] * 50, dispersion=0.5)  # badly wrong: the blend leaves it alone
    given = {
        "trees_joint": (joint.predict(panel), 2.0),
        "shelfcast": (lambda cutoffs: joint.predict(panel)(cutoffs).assign(dispersion=0.5), 1.0),
    }
    methods = ["lightgbm", "lightgbm_joint", "lightgbm_pair", "blend"]
    frame, timings = baselines.run(panel, methods, 0, given)
    mean = frame.set_index(["method", "unique_id", "cutoff", "horizon"])["mean"]
    pair = np.sqrt(mean["lightgbm"] * mean["lightgbm_joint"])
    pd.testing.assert_series_equal(mean["lightgbm_pair"], pair, check_names=False)
    assert timings["lightgbm_joint"]["fit_seconds"] > 2 > 1 < timings["blend"]["fit_seconds"]

    good = baselines.with_dispersion(panel, joint.predict(panel))
    wrong = baselines.blend(panel, lambda cutoffs: off, good)(panel.cutoffs["validation"])
    pd.testing.assert_series_equal(wrong["mean"], rows["mean"].reset_index(drop=True))
    known = good(panel.cutoffs["validation"])
    blended = baselines.blend(
        panel, lambda _: known.assign(mean=known["mean"] * 1.3), lambda _: known.assign(mean=known["mean"] * 0.8)
    )
    scores = [
        np.mean([count_wql(part) for _, part in frame.groupby(is_chain(frame))])
        for frame in (
            blended(panel.cutoffs["validation"]),
            known.assign(mean=known["mean"] * 1.3),
            known.assign(mean=known["mean"] * 0.8),
        )
    ]
    assert scores[0] <= min(scores[1:])


def test_what_is_not_there_is_left_out_and_said(panels, capsys):
    frame, _ = baselines.run(panels[0], ["moving_average_8", "lightgbm_joint", "lightgbm_pair", "blend"])
    assert set(frame["method"]) == {"moving_average_8"}
    said = capsys.readouterr().out
    assert "lightgbm_joint: left out, there is no trees_joint" in said and "blend: left out" in said
