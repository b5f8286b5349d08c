"""Effects of a market as the page shows them: whole, without a look at the test weeks, and never without assumptions."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from shelfcast.market.truth import draw
from shelfcast.panel.frame import Panel
from shelfcast.report.reasons import effects as page
from shelfcast.settings import Simulation
from shelfcast.why.causes.data import PRICE, PROMOTION, rows
from shelfcast.why.market import effects as market
from studies.causes import worlds


@pytest.fixture(scope="module")
def panel() -> Panel:
    """A simulated market of 16 products, whose last eight weeks are test weeks."""
    simulated = draw(Simulation(seed=4, n_products=16, n_new=0, n_stores=30, n_weeks=70))
    panel = worlds.panel_of(simulated)
    end = panel.frame["ds"].max() - pd.Timedelta(weeks=8)
    return dataclasses.replace(panel, meta=panel.meta | {"validation_end": f"{end:%Y-%m-%d}"})


@pytest.fixture(scope="module")
def frame(panel) -> pd.DataFrame:
    return market.effects_of(panel)


def test_a_market_has_effects_with_checks_beside_them(frame):
    assert list(frame) == market.COLUMNS
    price = frame[frame["treatment"] == PRICE]
    assert {"effect", "naive", "hidden_cause"} == set(price["kind"])
    whole = price[(price["kind"] == "effect") & (price["group"] == "all")].iloc[0]
    assert whole["estimate"] < -1 and whole["low"] < whole["estimate"] < whole["high"]
    assert whole["change"] == pytest.approx(0.9 ** whole["estimate"] - 1)
    assert whole["change_low"] < whole["change"] < whole["change_high"], "a lower price, so that the ends change places"
    assert {"placebo", "note"} <= set(frame["kind"]) and PROMOTION in set(frame["treatment"])


def test_no_effect_comes_without_what_it_assumes(frame):
    effects, naive = (frame[frame["kind"] == kind] for kind in ("effect", "naive"))
    for row in effects.itertuples():
        assert all(text in row.words for text in json.loads(row.assumptions)) and "holds only if" in row.words
    assert len(naive) and naive["assumptions"].eq("[]").all()
    assert not naive["words"].str.contains("changes units|effect|causes|raises", regex=True).any()


def test_test_weeks_are_not_looked_at(panel, frame):
    after = panel.frame["ds"] > pd.Timestamp(panel.meta["validation_end"])
    assert after.any()
    changed = panel.frame.assign(y=panel.frame["y"].where(~after, 999.0))
    pd.testing.assert_frame_equal(market.effects_of(dataclasses.replace(panel, frame=changed)), frame)
    before = panel.frame.assign(y=panel.frame["y"].where(after, 2 * panel.frame["y"] + 20))
    other = market.effects_of(dataclasses.replace(panel, frame=before))
    assert not np.allclose(other["estimate"].dropna().iloc[0], frame["estimate"].iloc[0])


def test_a_market_without_effects_says_why(panel):
    small = dataclasses.replace(panel, frame=panel.frame.assign(y=0.0))
    frame = market.effects_of(small)
    assert list(frame["kind"]) == ["note"] and "sells 5 units a week" in frame["words"].iloc[0]
    assert page.of(frame, PRICE).empty and page.checks(frame) and page.table(frame).empty and not page.assumed(frame)


def test_channels_that_never_reach_half_of_the_stores_are_left_out(panel):
    known = rows(panel)
    seldom = dataclasses.replace(known, frame=known.frame.assign(**{f"{PROMOTION}: display": 0.1}))
    chosen, notes = market.treatments_of(seldom)
    assert f"{PROMOTION}: display" not in chosen and "display" in notes[0]["words"] and chosen[:2] == [PRICE, PROMOTION]
    often = dataclasses.replace(known, frame=known.frame.assign(**{f"{PROMOTION}: display": 1.0}))
    assert f"{PROMOTION}: display" in market.treatments_of(often)[0]


def test_groups_have_enough_products(panel):
    known = rows(panel)
    named = known.frame.assign(
        brand=np.where(known.frame["product_id"].isin(known.frame["product_id"].unique()[:3]), "A", "B")
    )
    assert market.groups_of(dataclasses.replace(known, frame=named), "brand") == ["B"], "A has three"
    assert market.groups_of(dataclasses.replace(known, frame=named.assign(brand="B")), "brand") == []
    assert market.groups_of(known, "no such column") == []


def test_the_page_shows_the_plain_regression_apart(frame):
    rows = page.of(frame, PRICE)
    assert rows["label"].iloc[0] == "All products" and list(rows["group"])[-1] == "upper bound"
    assert list(rows["label"])[-1] == "Plain regression" and set(rows["group"]) >= {"ours", "upper bound"}
    assert "if what is assumed below holds" in page.title(rows, PRICE)
    assert len(page.assumed(frame)) == len(set(page.assumed(frame))) >= 3
    assert len(page.table(frame)) == frame["kind"].isin(["effect", "naive"]).sum()


def test_coverage_on_worlds_is_counted_over_worlds():
    row = {"treatment": PRICE, "method": "dml", "worlds": 10, "covered": 1.0, "confounding": "none"}
    summary = pd.DataFrame(
        [
            row,
            row | {"worlds": 30, "covered": 0.8},
            row | {"method": "naive", "covered": 0.1},
            row | {"confounding": "hidden", "covered": 0.5},
        ]
    )
    text = page.judged(summary)
    assert "On 40 simulated" in text and "85\u00a0% of such" in text
    assert "10\u00a0% of those" in text and text.endswith("50\u00a0%.")
