"""The page's section Why: which products and bars it shows, and what it says of how far to trust them."""

import pandas as pd
import pytest

from shelfcast.report.reasons import choice, pictures, trust

GROUPS = ["Price", "Promotion", "Picture", "Text"]
METHODS = {
    "shapley": dict(size_agreement=0.7, precision_recall=0.92, chance=0.72, deletion=1.4, shuffled=0.1),
    "gradients": dict(size_agreement=0.6, precision_recall=0.9, chance=0.72, deletion=1.3, shuffled=-0.02),
    "attention": dict(size_agreement=0.3, precision_recall=0.8, chance=0.72, deletion=1.0, shuffled=0.8),
    "rollout": dict(size_agreement=0.2, precision_recall=0.8, chance=0.72, deletion=1.0, shuffled=0.9),
}
STUDY = {
    "scores": {"chain": METHODS, "region_1": METHODS},
    "by_group": {"chain": {"shapley": {"price": 0.98, "own": -0.26, "season_in_own": 0.4}, "gradients": {}}},
}


@pytest.fixture()
def frame() -> pd.DataFrame:
    rows = pd.DataFrame({"label": GROUPS, "units": [-30.0, 50.0, 1.0, -2.0], "usual": 100.0, "forecast": 119.0})
    other = pd.DataFrame({"label": GROUPS, "units": [1.0, 1.0, 1.0, 1.0], "usual": 10.0, "forecast": 14.0})
    return pd.concat([other.assign(product_id="small"), rows.assign(product_id="large")], ignore_index=True)


def test_products_stand_out_by_their_difference(frame):
    assert choice.standing_out(frame) == ["large", "small"]
    assert choice.standing_out(frame, 1) == ["large"]


def test_small_groups_are_put_together_and_bars_still_add_up(frame):
    rows = choice.bars(frame[frame["product_id"] == "large"])
    assert list(rows["label"]) == ["Price", "Promotion", choice.REST] and list(rows["units"]) == [-30, 50, -1]
    alike = choice.bars(frame[frame["product_id"] == "small"])
    assert list(alike["label"]) == GROUPS, "no group is small"
    figure = pictures.contributions(rows, pictures.headline(rows, "Tea"))
    bars = [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches]
    assert bars == [(100, 50), (150, -30), (120, -1)], "the rest comes last"
    assert figure.get_suptitle().endswith("promotion +50, price −30")


def test_the_best_way_is_told_with_its_score_and_attention_with_its_own():
    assert trust.best(STUDY) == "shapley" and trust.best(STUDY, ("attention", "rollout")) == "attention"
    text = trust.sentence(STUDY, "shapley")
    assert "the best of four" in text and "<b>0.70</b>" in text and "Attention reaches 0.30 and 0.80" in text
    better = {**METHODS, "rollout": METHODS["rollout"] | {"size_agreement": 0.9}}
    text = trust.sentence({"scores": {"chain": better}}, "shapley")
    assert "second to attention through all layers" in text, "a page that shows less than the best says so"


def test_groups_that_do_not_follow_the_truth_are_named():
    labels = {"price": "Price", "own": "Own recent sales"}
    assert "Own recent sales (−0.26)" in trust.caution(STUDY, "shapley", labels)
    assert "Price (" not in trust.caution(STUDY, "shapley", labels)
    assert trust.caution(STUDY, "shapley", {"price": "Price"}) == ""


def test_a_market_without_scores_of_its_own_gets_the_simulated_ones():
    own = {"scores": {"chain": {name: row | {"deletion": 9.0} for name, row in METHODS.items()}}}
    there, here = trust.table(STUDY, {}), trust.table(STUDY, own)
    assert there["Way to explain"].iloc[0] == trust.METHODS["shapley"] and len(there) == 4
    assert there.iloc[0, 3] == "1.40" and here.iloc[0, 3] == "9.00" and here.iloc[1, 4] == "−0.02"


def test_attention_is_drawn_in_percent():
    weeks = pd.DataFrame({"ds": pd.date_range("2022-01-03", periods=3, freq="7D"), "share": [0.1, 0.2, 0.7]})
    bars = [bar.get_height() for bar in pictures.shares(weeks, "attention").axes[0].patches]
    assert bars == pytest.approx([10, 20, 70])
