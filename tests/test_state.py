"""Cached state: an appended week gives what reading all weeks again gives, and nothing stale is ever used."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import make_models
from small_retailer import MONDAY, load_retailer, make_retailer, with_coming_promotions

from shelfcast.live.state import files
from shelfcast.live.state.layers import BLOCK
from shelfcast.live.state.market_state import MarketState, take
from shelfcast.live.state.model_state import ModelState
from shelfcast.model import adapters
from shelfcast.model.forecast import in_situations, predict_in_situations
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import BY_WEEK, load_tokenizer, market_tensors
from shelfcast.model_options import Training

CLOSE = 1e-5  # relative difference to a full recomputation that rounding in float32 may make
SETTINGS = {"horizon": 4, "plan": None}
BODIES = {
    "backbone": {"body": "backbone"},
    "compact": {"body": "compact"},
    "without text": {"body": "compact", "use_text": False},
    "without locations": {"body": "compact", "use_space": False},
    "backbone without locations": {"body": "backbone", "use_space": False},
    "three layers": {"body": "compact", "compact_layers": 3},
    "columns by meaning": {"body": "compact", "columns": "by_meaning"},
}


@pytest.fixture(scope="module")
def market(small_panel, tiny_bert):
    return market_tensors(small_panel, load_tokenizer(tiny_bert))


@pytest.fixture(scope="module")
def models(small_panel, tiny_bert):
    return make_models(small_panel, tiny_bert)[0]


def random_models(market, backbone, seeds=(0, 1), **config):
    """As `make_models`, of any shape."""
    made = []
    for seed in seeds:
        torch.manual_seed(seed)
        model = SalesBert.from_backbone(backbone, layers=2, width=32, **config, **market.sizes())
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name.endswith("gate") or name.startswith(("head.1", "head_plan", "spillover")):
                    p.copy_(0.1 * torch.randn_like(p))
        made.append(model.eval())
    return made


def up_to(market, n):
    """The market when its first `n` weeks were closed."""
    tensors = {name: x[:, :, :n] if name in BY_WEEK else x for name, x in market.tensors.items()}
    return replace(market, weeks_index=market.weeks_index[:n], tensors=tensors)


def with_weeks(market, weeks):
    return replace(market, tensors=market.tensors | {"weeks": weeks})


def with_pictures(market):
    """The market with pictures of all products but the first."""
    draw = torch.Generator().manual_seed(3)
    has = torch.arange(len(market)) > 0
    picture = torch.randn(len(market), 5, generator=draw) * has[:, None]
    names = market.names | {"picture": [f"picture_{i}" for i in range(5)]}
    return replace(market, names=names, tensors=market.tensors | {"picture": picture, "has_picture": has})


def difference(predictions, models, market) -> float:
    """Largest relative difference of a mean or dispersion to a full recomputation from the market's last week."""
    whole = predict_in_situations(models, market, [market.weeks_index[-1]])
    assert predictions.keys() == whole.keys()
    largest = 0.0
    for situation, parts in whole.items():
        for own, full in zip(predictions[situation], parts, strict=True):
            for a, b in zip(own, full, strict=True):
                assert a.shape == b.shape and a.dtype == b.dtype
                largest = max(largest, float(np.abs(a / b - 1).max()))
    return largest


@pytest.mark.slow
@pytest.mark.parametrize("name", BODIES)
def test_weeks_appended_in_any_steps_equal_a_full_recomputation(name, market, tiny_bert):
    models = random_models(market, tiny_bert, **BODIES[name])
    draw, n_weeks = np.random.default_rng(0), len(market.weeks_index)
    n = int(draw.integers(1, 6))
    state = MarketState(models, up_to(market, n))
    assert difference(state.predict(up_to(market, n)), models, up_to(market, n)) < CLOSE
    while n < n_weeks:
        n = min(n + int(draw.choice([1, 1, 2, 5])), n_weeks)
        grown = take(up_to(market, n), list(draw.permutation(market.products)))  # its products stand in any order
        before = state.weeks.shape[2]
        assert state.append(grown).new_weeks == n - before
        assert difference(state.predict(grown), models, grown) < CLOSE
    assert n_weeks > BLOCK, "keys and values must have been moved to a larger block"


def test_pictures_are_read(market, tiny_bert):
    market = with_pictures(market)
    models = random_models(market, tiny_bert, body="compact")
    state = MarketState(models, up_to(market, 20))
    predictions = state.predict(up_to(market, 21))
    assert difference(predictions, models, up_to(market, 21)) < CLOSE
    blind = up_to(market, 21)
    blind = replace(blind, tensors=blind.tensors | {"picture": torch.zeros_like(blind.tensors["picture"])})
    assert difference(predictions, models, blind) > CLOSE
    assert state.append(blind).rebuilt  # and a changed picture is noticed
    assert difference(state.predict(blind), models, blind) < CLOSE


@pytest.mark.parametrize("body", ["backbone", "compact"])
def test_any_products_in_any_order(body, market, tiny_bert):
    models = random_models(market, tiny_bert, body=body)
    products = [market.products[i] for i in (4, 0, 2)]
    state = MarketState(models, up_to(market, 30))
    part, some = state.select(products), take(market, products)
    whole = state.predict(market)
    asked = state.predict(market, products)
    for situation, parts in asked.items():
        for own, all_products in zip(parts, whole[situation], strict=True):
            for a, b in zip(own, all_products, strict=True):
                np.testing.assert_allclose(a, b[[4, 0, 2]], rtol=CLOSE)
    assert part.append(some).new_weeks == 10  # a state of its own: the whole one had moved on, this one had not
    assert difference(part.predict(some), models, some) < CLOSE
    with pytest.raises(ValueError, match=r"p99.*cannot be taken"):
        state.select(["p99"])


def test_the_frame_is_that_of_the_pipeline(market, models):
    state, market = MarketState(models, up_to(market, 35)), up_to(market, 36)  # the plan of the next weeks is known
    own, full = state.forecast(market), in_situations(models, market, [market.weeks_index[-1]])
    pd.testing.assert_frame_equal(own, full, rtol=CLOSE)
    known, hidden = (own.loc[own["situation"] == name, "mean"].to_numpy() for name in ("plan_known", "no_plan"))
    assert np.abs(known / hidden - 1).max() > CLOSE, "the plan must matter in this market"
    some = market.products[3:1:-1]
    pd.testing.assert_frame_equal(
        state.forecast(market, some), in_situations(models, take(market, some), [state.last_week]), rtol=CLOSE
    )
    regions = market.locations[:0:-1]
    in_regions = full[~full["unique_id"].str.endswith("|chain")].reset_index(drop=True)
    pd.testing.assert_frame_equal(state.forecast(market, locations=regions), in_regions, rtol=CLOSE)
    with pytest.raises(ValueError, match="moon"):
        state.forecast(market, locations=["moon"])


def test_another_plan_is_read_without_new_weeks(market, models):
    state = MarketState(models, market)
    plan = market.tensors["plan"].clone()
    plan[:, :, -1] += 0.5
    other = replace(market, tensors=market.tensors | {"plan": plan})
    assert difference(state.predict(other), models, other) < CLOSE
    assert state.append(other).new_weeks == 0


def test_a_late_event_is_read_again_from_the_week_it_changed(market, models):
    state = MarketState(models, up_to(market, 30))
    weeks = market.tensors["weeks"].clone()
    weeks[1, 0, 12:] += 0.3
    weeks[4, 2, 25] -= 0.2
    late = with_weeks(market, weeks)
    done = state.append(up_to(late, 31))
    assert (done.new_weeks, done.changed_products, done.changed_from) == (1, 2, market.weeks_index[12])
    assert difference(state.predict(up_to(late, 31)), models, up_to(late, 31)) < CLOSE
    assert difference(state.predict(up_to(late, 31)), models, up_to(market, 31)) > CLOSE  # the change matters
    assert state.append(up_to(late, 31)).changed_products == 0


def test_a_change_in_place_is_noticed(market, models):
    mutable = with_weeks(market, market.tensors["weeks"].clone())
    state = MarketState(models, mutable)
    mutable.tensors["weeks"][0, 0, 5] += 1
    assert state.append(mutable).changed_from == market.weeks_index[5]


def test_a_missing_key_is_seen_in_the_forecasts(market, models):
    state = MarketState(models, up_to(market, 30))
    with torch.inference_mode():
        state.kept[0].caches[0].keys[:, :, :, 28] = 0  # one week of one layer
    assert difference(state.predict(up_to(market, 31)), models, up_to(market, 31)) > 10 * CLOSE


def test_an_append_that_was_stopped_leaves_nothing_stale(market, models, monkeypatch):
    state, advance = MarketState(models, up_to(market, 30)), ModelState.advance
    weeks = market.tensors["weeks"].clone()
    weeks[:, :, 10] += 1

    def stop_at_second(self, *given):
        advance(self, *given)
        if self.model is models[1]:
            raise MemoryError

    monkeypatch.setattr(ModelState, "advance", stop_at_second)
    with pytest.raises(MemoryError):
        state.append(up_to(with_weeks(market, weeks), 31))
    monkeypatch.setattr(ModelState, "advance", advance)
    assert difference(state.predict(up_to(market, 31)), models, up_to(market, 31)) < CLOSE


def test_training_the_head_keeps_the_state_and_training_the_rest_does_not(market, tiny_bert):
    models = random_models(market, tiny_bert, body="compact")
    state = MarketState(models, market)
    with torch.no_grad():
        models[0].head[-1].bias.add_(0.5)
    assert not state.append(market).rebuilt
    assert difference(state.predict(market), models, market) < CLOSE
    with torch.no_grad():
        models[1].body[0].linear1.weight.mul_(1.5)
    with pytest.raises(ValueError, match="trained since"):
        files.save(state, "unused", SETTINGS)
    assert state.append(market).rebuilt
    assert difference(state.predict(market), models, market) < CLOSE


def test_int8_text_is_read_as_elsewhere(market, tiny_bert):
    models = [adapters.quantised(model) for model in random_models(market, tiny_bert, body="compact")]
    state = MarketState(models, up_to(market, 39))
    assert difference(state.predict(market), models, market) < CLOSE


@pytest.mark.parametrize("body", ["backbone", "compact"])
def test_adapters_as_they_are_loaded(body, market, tiny_bert, tmp_path):
    (model,) = random_models(market, tiny_bert, seeds=(0,), body=body)
    model = adapters.adapt(model, Training(mode="lora", lora_rank=2))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.3)
    adapters.save(model, tmp_path, tiny_bert)
    trained = [model.eval()]  # its adapters apart from what they adapt, as training holds them
    assert difference(MarketState(trained, up_to(market, 38)).predict(market), trained, market) < CLOSE
    models = [adapters.load(tmp_path)]
    assert (tmp_path / adapters.WEIGHTS).exists()
    state = MarketState(models, up_to(market, 38))
    assert difference(state.predict(market), models, market) < CLOSE


# ---------------------------------------------------------------- a grown panel


@pytest.mark.slow
def test_closed_weeks_stay_as_they_are_when_a_week_is_added(tiny_bert, tmp_path):
    """Scaled by the training weeks, and causal: the tokens of a panel are the first ones of the panel that has grown."""
    raw, tokenizer, scale, earlier = with_coming_promotions(make_retailer()), load_tokenizer(tiny_bert), None, None
    for n in (34, 35, 37):
        rows = raw["transactions"]
        so_far = raw | {"transactions": rows[rows["timestamp"] < MONDAY + pd.Timedelta(weeks=n)]}
        panel = load_retailer(so_far, tmp_path / str(n), test_weeks=4 + n - 34, validation_weeks=6)
        grown = market_tensors(panel, tokenizer, scale=scale)
        scale = grown.scale
        assert len(grown.weeks_index) == n
        if earlier is None:
            models = random_models(grown, tiny_bert, body="compact")
            state = MarketState(models, grown)
        else:
            done = state.append(grown)
            assert (done.new_weeks, done.changed_products, done.rebuilt) == (n - earlier, 0, False)
            assert difference(state.predict(grown), models, grown) < CLOSE
        earlier = n


# ---------------------------------------------------------------- on disk


@pytest.mark.parametrize("body", ["backbone", "compact"])
def test_a_state_survives_a_restart(body, market, tiny_bert, tmp_path):
    models = random_models(market, tiny_bert, body=body)
    state = MarketState(models, up_to(market, 33))
    files.save(state, tmp_path / "market.safetensors", SETTINGS)
    same = random_models(market, tiny_bert, body=body)
    read = files.load(tmp_path / "market.safetensors", same, market, SETTINGS)
    assert read.last_week == market.weeks_index[32]
    assert read.append(market).new_weeks == len(market.weeks_index) - 33
    pd.testing.assert_frame_equal(read.forecast(market), state.forecast(market), check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == ["market.safetensors"]


def test_a_state_of_something_else_is_refused(market, models, tiny_bert, tmp_path):
    path = tmp_path / "market.safetensors"
    files.save(MarketState(models, up_to(market, 33)), path, SETTINGS)
    others = random_models(market, tiny_bert, seeds=(0, 7), body="compact")
    with pytest.raises(ValueError, match="belongs to other models"):
        files.load(path, others, market, SETTINGS)
    with pytest.raises(ValueError, match="belongs to other models"):
        files.load(path, models[:1], market, SETTINGS)
    with pytest.raises(ValueError, match="belongs to other settings"):
        files.load(path, models, market, SETTINGS | {"horizon": 5})
    with pytest.raises(ValueError, match="another panel: products that it lacks"):
        files.load(path, models, take(market, market.products[1:]), SETTINGS)
    name = market.names["weeks"][0]
    with pytest.raises(ValueError, match=r"another panel: .*scaled otherwise"):
        files.load(path, models, replace(market, scale=market.scale | {name: [9.0, 1.0]}), SETTINGS)
    later = market.weeks_index + pd.Timedelta(weeks=1)
    with pytest.raises(ValueError, match="another panel: its first week"):
        files.load(path, models, replace(market, weeks_index=later), SETTINGS)
    with pytest.raises(ValueError, match="read weeks up to"):
        files.load(path, models, up_to(market, 32), SETTINGS)
    with pytest.raises(ValueError, match="holds no state"):
        files.load(tmp_path / "none.safetensors", models, market, SETTINGS)


def test_a_damaged_file_is_refused(market, models, tmp_path):
    path = tmp_path / "market.safetensors"
    files.save(MarketState(models, up_to(market, 33)), path, SETTINGS)
    whole = path.read_bytes()
    for n in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=r"damaged or cut short|no state that this version"):
            files.load(path, models, market, SETTINGS)
    for place in (len(whole) - 1, len(whole) // 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="not what was written"):
            files.load(path, models, market, SETTINGS)
    start = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + start])
    assert "state" in header["__metadata__"]
    path.write_bytes(whole)
    files.load(path, models, market, SETTINGS)


# ---------------------------------------------------------------- what cannot be continued


def test_models_that_cannot_be_continued_are_refused(market, models, tiny_bert):
    with pytest.raises(ValueError, match="no model"):
        MarketState([], market)
    with pytest.raises(ValueError, match="as if all products were new"):
        MarketState(models, market.as_new())
    with pytest.raises(ValueError, match="made for another market: n_week"):
        narrow = replace(market, names=market.names | {"weeks": market.names["weeks"][1:]})
        MarketState(models, narrow)
    (trained,) = random_models(market, tiny_bert, seeds=(0,), body="compact")
    with pytest.raises(ValueError, match="training mode"):
        MarketState([trained.train()], market)
    (packed,) = random_models(market, tiny_bert, seeds=(0,), body="backbone")
    with pytest.raises(ValueError, match="int8"):
        MarketState([adapters.quantised(packed)], market)


def test_a_history_longer_than_the_backbone_has_positions_is_refused(market, tiny_bert):
    (model,) = random_models(market, tiny_bert, seeds=(0,), body="backbone")
    long = torch.cat([market.tensors["weeks"]] * 13, 2)
    weeks = pd.date_range(market.weeks_index[0], periods=long.shape[2], freq="7D")
    tensors = {name: torch.cat([x] * 13, 2) if name in BY_WEEK else x for name, x in market.tensors.items()}
    with pytest.raises(ValueError, match="positions"):
        MarketState([model], replace(market, weeks_index=weeks, tensors=tensors))
