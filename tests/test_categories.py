"""Blends of methods, and means over categories: by hand, and without a look at later weeks."""

import json

import numpy as np
import pandas as pd
import pytest
from small_retailer import changed_after

from shelfcast.judge.frame import SCHEMA, add_level, is_chain
from shelfcast.methods import averages, trees
from shelfcast.methods.dispersion import frame_wql
from shelfcast.methods.trees import boosting
from shelfcast.training.base import FACTS, Base
from studies.categories import blends, categories


@pytest.fixture(scope="module")
def good(small_panel):
    return averages.moving_average_8(small_panel, 0)


def times(predict, factor):
    return lambda cutoffs: predict(cutoffs).assign(mean=lambda frame: frame["mean"] * factor)


def mean_wql(frame):
    return np.mean([frame_wql(rows) for _, rows in frame.groupby(is_chain(frame))])


# ---------------------------------------------------------------- blends


def test_the_pair_is_the_geometric_mean(small_panel, good):
    cutoffs = small_panel.cutoffs["test"]
    frame = blends.pair(small_panel, times(good, 4.0), good)(cutoffs)
    np.testing.assert_allclose(frame["mean"], 2 * good(cutoffs)["mean"])
    SCHEMA.validate(frame)


def test_the_blend_leaves_a_wrong_method_alone(small_panel, good):
    cutoffs = small_panel.cutoffs["test"]
    frame = blends.blend(small_panel, times(good, 50.0), good)(cutoffs)
    pd.testing.assert_frame_equal(frame, good(cutoffs))


def test_the_blend_is_no_worse_than_either_on_the_validation_weeks(small_panel, good):
    cutoffs, parts = small_panel.cutoffs["validation"], (times(good, 1.3), times(good, 0.8))
    blended, one, other = (
        predict(cutoffs).dropna(subset="y") for predict in (blends.blend(small_panel, *parts), *parts)
    )
    assert mean_wql(blended) <= min(mean_wql(one), mean_wql(other))


def test_rows_of_one_method_alone_are_left_out(small_panel, good):
    cutoffs = small_panel.cutoffs["validation"]
    frame = blends.blend(small_panel, good, lambda cutoffs: good(cutoffs).query("horizon < 3"))(cutoffs)
    pd.testing.assert_frame_equal(frame, good(cutoffs).query("horizon < 3").reset_index(drop=True))


def test_leak_test_weeks_choose_no_weight_and_no_trees(small_panel, good, monkeypatch):
    monkeypatch.setattr(
        boosting, "COMMON_SETTINGS", boosting.COMMON_SETTINGS | {"min_data_in_leaf": 20, "num_threads": 1}
    )
    monkeypatch.setattr(boosting, "MAX_ROUNDS", 10)
    cutoff = [pd.Timestamp(small_panel.meta["validation_end"])]
    forecasts = []
    for panel in (small_panel, changed_after(small_panel, cutoff[0])):
        own = averages.moving_average_8(panel, 0)
        means = trees.fit([panel], 0).predict(panel)
        fitted = blends.trees_and_blends(panel, means, own, 0)
        assert list(fitted) == ["lightgbm", "lightgbm_joint", "lightgbm_pair", "blend"]
        forecasts.append(pd.concat([predict(cutoff).drop(columns="y") for predict in fitted.values()]))
    pd.testing.assert_frame_equal(*forecasts, check_exact=True)


# ---------------------------------------------------------------- many categories


def make_base(folder, learned):
    folder.mkdir(parents=True)
    (folder / FACTS).write_text(json.dumps({"categories": learned}))
    return str(folder)


def study(bases, **values):
    return categories.Study(bases=bases, unseen=["MILK"], **values)


@pytest.fixture()
def joint(small_panel, tmp_path):
    trees.Trees({"select": [], "refit": []}, [], ["TEA", "MATE"]).save(tmp_path / "trees")
    return str(tmp_path / "trees")


def test_bases_are_rows_alone_and_together(tmp_path, joint):
    one, other, single = (make_base(tmp_path / name, ["TEA", "MATE"]) for name in ("a", "b", "long"))
    models = categories.load_models(study([one, other], single_bases=[single]), joint)
    assert models.groups == {"shelfcast": [one, other], "seed_0": [one], "seed_1": [other], "long": [single]}
    assert all(isinstance(base, Base) for base in models.bases.values())
    assert categories.load_models(study([one]), joint).groups == {"shelfcast": [one]}


def test_models_that_cannot_be_compared(tmp_path, joint):
    one, other = make_base(tmp_path / "a", ["TEA"]), make_base(tmp_path / "b", ["MATE"])
    with pytest.raises(ValueError, match=r"there is nothing in .*nowhere. Run `make categories`"):
        categories.load_models(study([one, str(tmp_path / "nowhere")]), joint)
    with pytest.raises(ValueError, match=r"there is nothing in .*no_trees"):
        categories.load_models(study([one]), str(tmp_path / "no_trees"))
    with pytest.raises(ValueError, match=r"b learned from other categories than .*a. Train it again"):
        categories.load_models(study([one, other]), joint)
    with pytest.raises(ValueError, match=r"the base has learned from MILK. Remove it from unseen"):
        categories.load_models(study([make_base(tmp_path / "c", ["MILK"])]), joint)


@pytest.fixture(scope="module")
def frame(small_panel, good):
    """Two categories of the same products; `worse` is twice as high in both."""
    parts = []
    for category in ("TEA", "MATE"):
        for method, factor in (("shelfcast", 1.0), ("lightgbm_pair", 2.0)):
            rows = good(small_panel.cutoffs["test"]).assign(method=method, category=category, seen=category == "TEA")
            quantiles = [name for name in rows if name.startswith("q")]
            parts.append(rows.assign(**{name: factor * rows[name] for name in ["mean", *quantiles]}))
    return add_level(categories.with_cells(pd.concat(parts, ignore_index=True), small_panel))


def test_differences_of_mean_scores(frame, monkeypatch):
    monkeypatch.setattr(categories, "AGAINST", ("lightgbm_pair",))
    table = categories.differences(frame, ["shelfcast"], seed=0)
    assert len(table) == 2 * 2 * 2 and (table["of"] == 1).all()  # seen, levels, metrics
    assert (table["estimate"] < 0).all() and (table["high"] >= table["estimate"]).all()
    single = categories.by_category(frame[frame["level"] == "product"], "shelfcast", "lightgbm_pair", seed=0)
    assert set(single["label"]) == {"TEA", "MATE"} and set(single["group"]) == {"ours"}


def test_calibration_by_cell(frame, small_panel):
    table = categories.calibration(frame, small_panel.frame[["unique_id", "ds", "y"]], min_points=10)
    assert set(table["by"]) == {"all", "decile", "promoted", "horizon"} and (table["n"] >= 10).all()
    gaps = categories.calibration_gaps(table)
    whole = table.query("seen and method == 'shelfcast' and level == 'product' and by == 'all'").iloc[0]
    expected = max(abs(whole[f"coverage_{c}"] - c / 100) for c in (50, 80, 95))
    assert gaps.loc[(True, "shelfcast", "product"), "all"] == pytest.approx(expected)
    assert categories.calibration(frame, small_panel.frame, min_points=10**6).empty
