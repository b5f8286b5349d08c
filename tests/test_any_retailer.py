"""The study of a base for any market: what each base may learn from, what is kept, and what is compared."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from shelfcast import settings
from shelfcast.judge.frame import add_level
from shelfcast.methods import averages
from shelfcast.methods.dispersion import held_out_weeks
from studies import answers, parameters
from studies.any_retailer import any_retailer, trainings
from studies.any_retailer.any_retailer import ALL, base_folder, bases_of, differences, forecasts, toy
from studies.any_retailer.markets import Study, entries, panel_folder


@pytest.fixture()
def folder(tmp_path):
    for name in ("north", "south"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "transactions.csv").touch()
    return tmp_path


@pytest.fixture(scope="module")
def study():
    return parameters.load(Study, "any_retailer")


def test_leak_no_base_learns_from_what_it_is_scored_on(study, folder):
    folds = bases_of(entries(study, folder))
    assert list(folds) == ["north", "south", ALL]
    for name, learned in folds.items():
        assert name not in {entry.name for entry in learned}
        assert not {entry.line.get("category") for entry in learned} & set(study.untouched)
    assert {entry.name for entry in folds["north"]} - {entry.name for entry in folds["south"]} == {"south"}
    both = dataclasses.replace(study, learned=[*study.learned, study.untouched[0]])
    with pytest.raises(ValueError, match=r"YOGURT is learned and untouched. Remove it from one"):
        entries(both, folder)


def test_untouched_categories_were_seen_by_no_base(study):
    assert not set(study.untouched) & set(settings.load().base.categories)
    assert set(study.learned) <= set(settings.load().base.categories)


def test_what_does_not_depend_on_a_setting_is_kept(study, folder, tmp_path):
    s, every = settings.load(), entries(study, folder)
    learned = bases_of(every)["north"]
    longer = dataclasses.replace(study, steps=study.steps + 1)
    assert panel_folder(every[0], longer, s, tmp_path) == panel_folder(every[0], study, s, tmp_path)
    assert base_folder("north", learned, longer, s, tmp_path) != base_folder("north", learned, study, s, tmp_path)
    wider = dataclasses.replace(s, prepare=dataclasses.replace(s.prepare, horizon=5))
    assert panel_folder(every[0], study, wider, tmp_path) != panel_folder(every[0], study, s, tmp_path)


def test_a_way_is_forecast_once(study, folder, small_panel, tmp_path):
    made = []

    def make():
        made.append(1)
        return averages.moving_average_8(small_panel, 0)(small_panel.cutoffs["test"])

    entry = entries(study, folder)[-1]
    frames = [
        forecasts(entry, "way", trainings.Way(make, key), tmp_path / "panel", tmp_path) for key in ([1], [1], [2])
    ]
    assert len(made) == 2 and set(frames[0]["market"]) == {"south"}
    pd.testing.assert_frame_equal(frames[0], frames[1])


def test_the_ways_of_a_market(study, small_panel, tmp_path):
    s = settings.load()
    ways = trainings.ways(small_panel, study, s, tmp_path / "base_1", same_tables=True)
    assert list(ways) == [
        "zero_shot",
        *study.tries,
        "from_nothing",
        "by_meaning_from_nothing",
        "own_base",
        "lightgbm",
        "lightgbm_part",
    ]
    other = trainings.ways(small_panel, study, s, tmp_path / "base_2", same_tables=False)
    assert set(ways) - set(other) == {"own_base"}
    depends = {name for name in other if other[name].key != ways[name].key}
    assert depends == {"zero_shot", *study.tries}  # on the base; the rest is kept where another base is tried


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_part_of_the_history_is_the_latest_of_it(small_panel, share):
    whole = small_panel.cutoffs["train"]
    part = trainings.with_history(small_panel, share).cutoffs["train"]
    assert part == whole[-len(part) :] and len(part) >= round(share * len(whole))
    assert len(part) == len(whole) or share < 1
    before = [cutoff for cutoff in part if cutoff < held_out_weeks(small_panel)[0] - pd.Timedelta(weeks=1)]
    assert len(before) >= trainings.LEAST  # else nothing is left to fit trees to


def test_a_market_that_the_base_does_not_fit_is_no_score(small_panel, tmp_path):
    finetune = dataclasses.replace(settings.load().finetune, columns="by_meaning")
    with pytest.raises(ValueError, match=r"holds no base"):
        trainings.zero_shot(small_panel, finetune, tmp_path)


def test_differences_of_a_forecast_that_is_twice_too_high(small_panel):
    good = averages.moving_average_8(small_panel, 0)(small_panel.cutoffs["test"])
    quantiles = ["mean", *(name for name in good if name.startswith("q"))]
    parts = []
    for market in ("north", "south"):
        for method, factor in (("zero_shot", 2.0), ("lightgbm_part", 1.0), ("fine_tuned", 1.0), ("from_nothing", 2.0)):
            parts.append(
                good.assign(method=method, market=market, kind="held-out retailer", **factor * good[quantiles])
            )
    table = differences(add_level(pd.concat(parts, ignore_index=True)), ["zero_shot", "fine_tuned"], seed=0)
    rows = table.set_index(["level", "method", "against"])["estimate"]
    for level in ("product", "product_region"):
        assert rows[level, "zero_shot", "lightgbm_part"] > 0.1 and rows[level, "fine_tuned", "from_nothing"] < -0.1
        assert np.isclose(rows[level, "zero_shot", "from_nothing"], 0)
    assert (table["of"] == 2).all()


def test_the_answer_says_which_aims_are_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "STUDIES", tmp_path)
    assert answers.answer_any_retailer().startswith("Not measured yet")
    to = tmp_path / "any_retailer/results"
    to.mkdir(parents=True)
    rows = [
        ("held-out retailer", "product", method, against, estimate, estimate - 0.01, estimate + 0.01)
        for method, against, estimate in (
            ("zero_shot", "lightgbm_part", 0.02),
            ("zero_shot", "from_nothing", 0.1),
            ("fine_tuned", "from_nothing", -0.01),
            ("fine_tuned_long", "from_nothing", -0.05),
        )
    ]
    columns = ["kind", "level", "method", "against", "estimate", "low", "high"]
    pd.DataFrame(rows, columns=columns).to_csv(to / "differences.csv", index=False)
    scores = pd.DataFrame(
        {"market": "north", "level": "product", "method": ["fine_tuned", "fine_tuned_long"], "wql": 0.5}
    )
    scores.assign(validation=[0.4, 0.3]).to_csv(to / "scores.csv", index=False)
    text = answers.answer_any_retailer()
    assert "`fine_tuned_long`" in text and "-5.0%" in text and "-1.0%" not in text
    assert text.startswith("Something") and "reached in 0 and in 1 of 1 comparisons" in text
    assert "| north | the whole chain | 0.500 | 0.500 |" in answers.answer_any_retailer_scores()


def test_a_toy_is_small(study):
    small, s = toy(study, settings.load())
    assert small.steps < 10 and s.finetune.steps < 10 and len(small.learned) == 2


def test_unknown_names_are_refused(study, folder, tmp_path):
    with pytest.raises(ValueError, match=r"there is no market 'west'. Choose of .*north, south"):
        any_retailer.run(study, settings.load(), folder, tmp_path, tmp_path, ["west"])
