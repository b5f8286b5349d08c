"""Models of the service go on from what they have read: the same forecasts as by reading all weeks, or a full pass."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from small_models import make_models

from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.live.engine.states import forecast_by_state
from shelfcast.live.state import files
from shelfcast.model.forecast import in_situations
from shelfcast.model.tensors import BY_WEEK, load_tokenizer, market_tensors

CLOSE = 1e-5  # relative difference to a full recomputation that rounding in float32 may make
MADE_OF = {"version": "1", "price_plan": False}
INDEX = ["situation", "unique_id", "horizon"]


@pytest.fixture(scope="module")
def market(small_panel, tiny_bert):
    return market_tensors(small_panel, load_tokenizer(tiny_bert))


@pytest.fixture(scope="module")
def models(small_panel, tiny_bert):
    return make_models(small_panel, tiny_bert)[0]


@pytest.fixture()
def told(caplog):
    caplog.set_level(logging.INFO, "shelfcast.service")

    def since_last() -> str:
        text = caplog.text
        caplog.clear()
        return text

    return since_last


def up_to(market, n):
    """The market when its first `n` weeks were closed."""
    tensors = {name: x[:, :, :n] if name in BY_WEEK else x for name, x in market.tensors.items()}
    return replace(market, weeks_index=market.weeks_index[:n], tensors=tensors)


def check_equal(frame, models, market):
    whole = in_situations(models, market, [market.weeks_index[-1]])
    ours, theirs = (part.set_index(INDEX).sort_index()[["mean", *QUANTILE_COLUMNS]] for part in (frame, whole))
    assert list(ours.index) == list(theirs.index) and len(ours) > 0
    np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=1e-9)
    assert np.ptp(theirs["mean"]) > 0


def test_each_closed_week_reads_one_week_and_gives_the_forecasts_of_a_full_pass(market, models, tmp_path, told):
    path, n = tmp_path / "shelfcast.safetensors", len(market.weeks_index)
    words = "read all"
    for closed in (n - 4, n - 3, n - 1, n):  # each call reads the file anew, as a process of its own would
        grown = up_to(market, closed)
        check_equal(forecast_by_state(path, models, grown, MADE_OF), models, grown)
        assert words in told()
        words = "read 2 new" if closed == n - 3 else "read 1 new"
    before = path.stat().st_mtime_ns
    check_equal(forecast_by_state(path, models, market, MADE_OF), models, market)
    assert "read 0 new" in told() and path.stat().st_mtime_ns == before, "nothing new is not written again"


def test_a_late_event_in_an_old_week_is_read_again(market, models, tmp_path, told):
    path, n = tmp_path / "shelfcast.safetensors", len(market.weeks_index)
    stale = forecast_by_state(path, models, up_to(market, n - 1), MADE_OF)
    weeks = market.tensors["weeks"].clone()
    weeks[1, :, 5:] += 1.0
    late = up_to(replace(market, tensors=market.tensors | {"weeks": weeks}), n - 1)
    told()
    frame = forecast_by_state(path, models, late, MADE_OF)
    assert f"1 product(s) again from the week of {market.weeks_index[5].date()}" in told()
    check_equal(frame, models, late)
    with pytest.raises(AssertionError):  # a control: what was kept before is another forecast
        check_equal(stale, models, late)


def test_what_belongs_to_others_is_not_used_and_the_log_says_so(market, models, tmp_path, told, tiny_bert, small_panel):
    path, n = tmp_path / "shelfcast.safetensors", len(market.weeks_index)
    short = up_to(market, n - 1)
    forecast_by_state(path, models, short, MADE_OF)
    kept = path.read_bytes()
    others = make_models(small_panel, tiny_bert, seeds=(2, 3))[0]
    fewer = replace(market, locations=[*market.locations[:-1], "elsewhere"])
    cut = kept[: len(kept) // 2]
    for given, words in (
        ((others, market, MADE_OF, kept), "belongs to other models"),
        ((models, market, MADE_OF | {"version": "2"}, kept), "belongs to other settings"),
        ((models, fewer, MADE_OF, kept), "belongs to another panel: locations"),
        ((models, up_to(market, n - 3), MADE_OF, kept), "the state has read weeks up to"),
        ((models, market, MADE_OF, cut), "is damaged or cut short"),
    ):
        path.write_bytes(given[3])
        told()
        frame = forecast_by_state(path, *given[:3])
        text = told()
        assert words in text and "read all" in text and str(tmp_path) not in text
        check_equal(frame, given[0], given[1])
        files.load(path, given[0], given[1], given[2])  # it was written anew


def test_models_that_cannot_go_on_week_by_week_read_all_weeks(market, models, tmp_path, told, monkeypatch):
    from shelfcast.live.engine import states

    def refuse(*_):
        raise ValueError("int8 layers round by all weeks of a batch")

    monkeypatch.setattr(states, "MarketState", refuse)
    path = tmp_path / "shelfcast.safetensors"
    check_equal(forecast_by_state(path, models, market, MADE_OF), models, market)
    assert "all weeks are read at each close: int8 layers" in told() and not path.exists()


def test_a_full_disk_costs_speed_and_no_forecast(market, models, tmp_path, told, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save", full)
    check_equal(forecast_by_state(tmp_path / "a.safetensors", models, market, MADE_OF), models, market)
    assert "could not be kept" in told()
    assert not (tmp_path / "a.safetensors").exists()
