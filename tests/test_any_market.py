"""Columns and locations by what they mean: order and number are free, and a base serves retailers with other tables."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from small_retailer import add_optional_tables, changed_after, load_retailer, make_retailer
from torch import nn
from transformers import TrainerCallback

from shelfcast.model import salesbert
from shelfcast.model.columns import PLACES
from shelfcast.model.forecast import predict
from shelfcast.model.meaning.describe import FIELD, describe
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Finetune, Training, WarmStart
from shelfcast.training.base import FACTS, Base, many
from shelfcast.training.base.any_market import AnyBase, market_facts, save_any_base, shared_parts
from shelfcast.training.base.many import ManyMarkets, all_columns, pretrain_any, shared_scale
from shelfcast.training.fit import fit
from shelfcast.training.setup import training_setup
from shelfcast.why.whatif.past import Past

SHAPE = dict(body="compact", layers=2, width=32, compact_layers=1, columns="by_meaning")
TRAINING = Training(mode="frozen", steps=4, judge_steps=2, batch_weeks=100, learning_rate=3e-3, warmup=1)


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return load_tokenizer(tiny_bert)


@pytest.fixture(scope="module")
def other_panel(tmp_path_factory):
    """A retailer with tables of its own: prices, shoppers' events, stores with attributes."""
    raw = add_optional_tables(make_retailer(seed=3))
    raw["products"]["product_id"] = "other_" + raw["products"]["product_id"]
    for name in ("transactions", "promotions", "prices", "behavior"):
        raw[name]["product_id"] = "other_" + raw[name]["product_id"]
    return load_retailer(raw, tmp_path_factory.mktemp("other"), meta={"data_md5": "other"}, n_products=5, n_regions=3)


@pytest.fixture(scope="module")
def market(small_panel, tokenizer):
    return market_tensors(small_panel, tokenizer, by_meaning=True)


def moved(model):
    """The model with a head that is no longer zero, as after training."""
    torch.manual_seed(1)
    nn.init.normal_(model.head[-1].weight, std=0.3)
    nn.init.normal_(model.spillover.shared, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def model(market, tokenizer, tiny_bert):
    torch.manual_seed(0)
    made = SalesBert.from_backbone(tiny_bert, **SHAPE, **market.sizes())
    return moved(describe(made, market, tokenizer))


def for_market(model, market, tokenizer, backbone):
    """The same shared weights with the columns of another market."""
    made = SalesBert.from_backbone(backbone, **SHAPE, **market.sizes())
    made.load_state_dict(shared_parts(model), strict=False)
    return describe(made, market, tokenizer).eval()


def with_columns(market, field, order):
    """The market with these columns of a field, by number."""
    names = [market.names[field][i] for i in order]
    tensors = market.tensors | {field: market.tensors[field][..., list(order)]}
    return dataclasses.replace(market, names=market.names | {field: names}, tensors=tensors)


# ---------------------------------------------------------------- columns


def test_the_order_of_columns_does_not_matter(model, market, tokenizer, tiny_bert):
    draw, other = np.random.default_rng(0), market
    for field in ("static", "weeks"):
        other = with_columns(other, field, draw.permutation(len(market.names[field])))
    n_plan = len(market.names["plan"]) - 1  # the outlook stays the last
    other = with_columns(other, "plan", [*draw.permutation(n_plan), n_plan])
    permuted = for_market(model, other, tokenizer, tiny_bert)
    expected = predict(model, market)
    for part, same in zip(predict(permuted, other), expected, strict=True):
        np.testing.assert_allclose(part, same, rtol=1e-5)
    confused, _ = predict(model, other)  # the control: columns in another order than the model was told
    assert not np.allclose(confused, expected[0], rtol=1e-2)


@pytest.mark.parametrize("column", ["location_share", "lag_0", "promotion"])
def test_an_absent_column_adds_nothing(model, market, tokenizer, tiny_bert, column):
    zero = absent = market
    for field in ("static", "weeks", "plan"):
        if column in market.names[field]:
            at = market.names[field].index(column)
            x = market.tensors[field].clone()
            x[..., at] = 0.0
            zero = dataclasses.replace(zero, tensors=zero.tensors | {field: x})
            absent = with_columns(absent, field, [i for i in range(len(market.names[field])) if i != at])
    lacked, _ = predict(for_market(model, absent, tokenizer, tiny_bert), absent)
    np.testing.assert_allclose(lacked, predict(model, zero)[0], rtol=1e-5)
    assert not np.allclose(lacked, predict(model, market)[0], rtol=1e-4)  # the control: it has a say where it is given


def test_an_unknown_column_is_accepted(model, market, tokenizer, tiny_bert):
    """Its weights follow from its name; at its mean, which is 0, it adds nothing."""
    weeks = market.tensors["weeks"]
    names = market.names | {"weeks": [*market.names["weeks"], "green tea no 7"]}
    for value in (0.0, 2.0):
        tensors = market.tensors | {"weeks": torch.cat([weeks, torch.full((*weeks.shape[:-1], 1), value)], -1)}
        wider = dataclasses.replace(market, names=names, tensors=tensors)
        means, _ = predict(for_market(model, wider, tokenizer, tiny_bert), wider)
        assert np.allclose(means, predict(model, market)[0], rtol=1e-5) == (value == 0)


def test_locations_enter_by_their_features(model, market):
    """Another order of the regions is the same forecast in that order."""
    order = [0, *range(len(market.locations) - 1, 0, -1)]
    tensors = dict(market.tensors)
    for name in ("static", "weeks", "plan", "level", "typical", "location_shock", "labels"):
        tensors[name] = tensors[name][:, order]
    tensors["graph"] = tensors["graph"][:, order][:, :, order]
    turned, _ = predict(model, dataclasses.replace(market, tensors=tensors))
    expected = predict(model, market)[0]
    np.testing.assert_allclose(turned, expected[:, order], rtol=1e-5)
    assert not np.allclose(turned, expected, rtol=1e-3)
    assert market.names["static"][-len(PLACES) :] == PLACES


def test_a_forecast_after_loading_needs_no_names(model, market, tmp_path):
    model.save_pretrained(tmp_path)
    np.testing.assert_array_equal(
        predict(SalesBert.from_pretrained(tmp_path).eval(), market)[0], predict(model, market)[0]
    )


def test_another_plan_costs_the_head_alone(model, market):
    """What-if keeps what the head reads; its parts are the same here."""
    past = Past.read(model, market, at=30)
    expected = predict(model, market, at=[30])
    for part, same in zip(past.predict(market.tensors["plan"][:, :, [30]]), expected, strict=True):
        np.testing.assert_allclose(part, same, rtol=1e-5)


def test_a_scale_that_names_places_brings_them(small_panel, market, tokenizer):
    again = market_tensors(small_panel, tokenizer, scale=json.loads(json.dumps(market.scale)))
    assert again.names == market.names and torch.equal(again.tensors["static"], market.tensors["static"])


def test_the_default_is_as_before(small_panel, tokenizer, tiny_bert, monkeypatch):
    """By one bit: the same weights from the same seed, the same forecasts, as with the layers written out."""

    class ByNumber(nn.Embedding):
        def forward(self, static):
            return super().forward(torch.arange(static.shape[1]))

    def forecasts():
        torch.manual_seed(0)
        market = market_tensors(small_panel, tokenizer)
        shape = SHAPE | {"columns": "own"} | market.sizes()
        made = SalesBert.from_backbone(tiny_bert, **shape).eval()
        nn.init.normal_(made.head[-1].weight, std=0.3)
        return made.state_dict(), predict(made, market)[0]

    weights, means = forecasts()
    monkeypatch.setattr(salesbert, "column_layer", lambda _, n_fixed, n, width: nn.Linear(n_fixed + n, width))
    monkeypatch.setattr(salesbert, "place_layer", lambda config, width: ByNumber(config.n_locations, width))
    before, means_before = forecasts()
    assert list(weights) == list(before) and all(torch.equal(weights[name], before[name]) for name in before)
    np.testing.assert_array_equal(means, means_before)


def test_unfit_settings(tiny_bert):
    with pytest.raises(ValueError, match=r"columns is 'mine'\. Choose one of own, by_meaning"):
        SalesBert.from_backbone(tiny_bert, layers=2, columns="mine")
    with pytest.raises(ValueError, match=r"reads the names of columns\. It needs use_text=True"):
        SalesBert.from_backbone(tiny_bert, layers=2, columns="by_meaning", use_text=False, body="compact")


# ---------------------------------------------------------------- many markets


def markets_of(panels, tokenizer):
    scale = shared_scale([market_tensors(panel, tokenizer, by_meaning=True) for panel in panels])
    every = [market_tensors(panel, tokenizer, scale=scale, by_meaning=True) for panel in panels]
    return [m.splits(panel)[0] for m, panel in zip(every, panels, strict=True)], scale


def trained(panels, tokenizer, backbone, work):
    markets, scale = markets_of(panels, tokenizer)

    def make(sizes):
        return SalesBert.from_backbone(backbone, **SHAPE, **sizes)

    return *pretrain_any(make, markets, tokenizer, TRAINING, 0.1, 0, work), scale


@pytest.fixture(scope="module")
def base(small_panel, other_panel, tokenizer, tiny_bert, tmp_path_factory):
    """Learned from the small retailer and the other one."""
    folder = tmp_path_factory.mktemp("any_base")
    model, _, history, scale = trained([small_panel, other_panel], tokenizer, tiny_bert, folder / "work")
    assert list(history["step"]) == [TRAINING.steps] and history["loss"].notna().all()
    facts = {"backbone": tiny_bert, "scale": scale}
    facts["markets"] = [market_facts("small", small_panel, "small"), market_facts("other", other_panel, "other")]
    save_any_base(folder, {"select": model, "refit": model}, facts, history)
    return AnyBase.load(folder)


def test_steps_read_one_market_with_the_columns_of_all(small_panel, other_panel, tokenizer):
    markets, _ = markets_of([small_panel, other_panel], tokenizer)
    names = all_columns(markets)
    data = ManyMarkets(markets, names, 20, 100, hide_plan=0.0, drop_columns=0.0, seed=0)
    seen = set()
    for i in range(len(data)):
        batch = data[i]
        own = next(m for m in markets if m.tensors["level"].shape[1:] == batch["level"].shape[1:])
        seen.add(own.locations[-1])
        absent = [name not in own.names["weeks"] for name in names["weeks"]]
        assert batch["weeks"].shape[-1] == len(names["weeks"]) and not batch["weeks"][..., absent].any()
        products = [j for j, x in enumerate(own.tensors["level"]) if any(torch.equal(x, y) for y in batch["level"])]
        at = [names["weeks"].index(name) for name in own.names["weeks"]]
        assert torch.equal(batch["weeks"][..., at], own.tensors["weeks"][products])
    assert names["plan"][-1] == "outlook" and len(set(names["plan"])) == len(names["plan"])
    assert any("price" in name for name in names["plan"]) and len(seen) == 2


def test_units_of_one_market_are_no_scale_of_another(small_panel, other_panel, tokenizer):
    """Levels and prices are scaled by the training weeks of each market; what is relative to a level, by all together."""
    markets, scale = markets_of([small_panel, other_panel], tokenizer)
    assert not {"level", "price_level"} & set(scale) and not any(name.startswith("store_") for name in scale)
    assert set(scale) > {"lag_0", "promotion", "outlook", *PLACES}
    for own, panel in zip(markets, (small_panel, other_panel), strict=True):
        at = own.names["weeks"].index("level")
        n = len(panel.weeks[panel.weeks <= panel.meta["train_end"]])
        x = own.tensors["weeks"][:, :, :n, at]
        assert abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1
    by_hand = np.array([market_tensors(p, tokenizer).scale["lag_0"] for p in (small_panel, other_panel)])
    mean = by_hand[:, 0].mean()
    variance = (by_hand[:, 1] ** 2 + (by_hand[:, 0] - mean) ** 2).mean()
    np.testing.assert_allclose(scale["lag_0"], [mean, variance**0.5])


def test_families_of_columns():
    assert many.family("promotion: radio") == many.family("promotion_known") == "promotion"
    assert many.family("store_area = city") == "store" and many.family("lag_0") == "lag"


def test_dropped_columns_and_hidden_plans(small_panel, other_panel, tokenizer):
    markets, _ = markets_of([small_panel, other_panel], tokenizer)
    names, common = all_columns(markets), {"n_steps": 1, "batch_weeks": 100, "seed": 0}
    nothing = ManyMarkets(markets, names, hide_plan=0.0, drop_columns=1.0, **common)[0]
    assert not any(nothing[field].any() for field in ("static", "weeks", "plan"))
    hidden = ManyMarkets(markets, names, hide_plan=1.0, drop_columns=0.0, **common)[0]
    assert not hidden["plan"][..., names["plan"].index("promotion")].any()
    assert (hidden["plan"][..., names["plan"].index("promotion_known")] == -1).all()


def test_a_base_starts_a_market_of_another_retailer(base, tmp_path_factory, tokenizer, tiny_bert, tmp_path):
    """One that it has not seen, with a column and a number of regions of its own."""
    raw = add_optional_tables(make_retailer(seed=7))
    raw["products"]["product_id"] += "x"
    for name in ("transactions", "promotions", "prices", "behavior"):
        raw[name]["product_id"] += "x"
    raw["promotions"] = raw["promotions"].rename(columns={"mailer": "radio"})
    panel = load_retailer(raw, tmp_path, meta={"data_md5": "third"}, n_regions=3)
    warm = WarmStart(steps=2, learning_rate=1e-4, batch_weeks=100)
    shape = {name: value for name, value in SHAPE.items()} | {"backbone": tiny_bert}
    finetune = Finetune(**shape, judge_steps=1, warm_start=warm, seeds=[0])
    setup = training_setup(panel, finetune, base.folder)
    assert setup.warm_start and "from the base of 2 markets" in setup.start_sentence
    assert "promotion: radio" in setup.market.names["plan"]
    made = setup.make_model("select").eval()
    for name, weight in shared_parts(made).items():
        assert torch.equal(weight, shared_parts(base.model("select", setup.market, tokenizer))[name])
    assert np.isfinite(predict(made, setup.market)[0]).all()
    fitted = fit(setup.make_model, *setup.splits, setup.training, [0], tmp_path / "work", "x", warm_start=True)
    assert list(fitted.history.query("phase == 'select'")["step"]) == [0, 2]  # 0: as the base is
    assert np.isfinite(predict(fitted.models[0], setup.market)[0]).all()


def test_which_markets_may_not_start_from_it(base, small_panel, market, tokenizer, tiny_bert):
    assert base.mismatch(small_panel, tiny_bert) == ""
    assert "backbone" in base.mismatch(small_panel, "minilm")
    longer = dataclasses.replace(base, facts=base.facts | {"horizon": 9})
    assert longer.mismatch(small_panel, tiny_bert) == "it looks 9 weeks ahead, and this market 4"
    with pytest.raises(ValueError, match=r"finetune.width is 64, the base in .* has 32.*from_base to false"):
        base.model("select", market, tokenizer, **SHAPE | {"width": 64})
    other = dataclasses.replace(base, facts=base.facts | {"encoder_md5": "other"})
    with pytest.raises(ValueError, match="trained with other weights of backbone"):
        other.model("select", market, tokenizer)
    own = training_setup(small_panel, Finetune(backbone=tiny_bert, layers=2), base.folder)
    assert not own.warm_start  # the base of the same tables is another kind
    assert Base.load(base.folder) is None and (base.folder / FACTS).exists()


@pytest.mark.parametrize("end", ["train_end", "validation_end"])
@pytest.mark.parametrize("data_md5", ["small", "cut"], ids=["the same files", "files with one of its products"])
def test_leak_no_week_to_forecast_was_learned(base, small_panel, market, tiny_bert, end, data_md5):
    earlier = str((pd.Timestamp(small_panel.meta[end]) - pd.Timedelta(weeks=1)).date())
    panel = dataclasses.replace(small_panel, meta=small_panel.meta | {end: earlier, "data_md5": data_md5})
    assert f"its {end.replace('_', ' ')} is" in base.mismatch(panel, tiny_bert)
    products = panel.products.set_axis([f"new_{name}" for name in panel.products.index])
    foreign = dataclasses.replace(panel, products=products, meta=panel.meta | {"data_md5": "foreign"})
    assert base.mismatch(foreign, tiny_bert) == ""


def test_leak_later_weeks_do_not_reach_a_base(base, small_panel, other_panel, tokenizer, tiny_bert, tmp_path):
    late = [changed_after(panel, pd.Timestamp(panel.meta["train_end"])) for panel in (small_panel, other_panel)]
    model, _, _, scale = trained(late, tokenizer, tiny_bert, tmp_path)
    assert scale == base.facts["scale"]
    kept = shared_parts(base.model("select", market_tensors(small_panel, tokenizer, by_meaning=True), tokenizer))
    for name, weight in shared_parts(model).items():
        assert torch.equal(weight, kept[name]), name


class Killed(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_a_killed_training_goes_on(base, small_panel, other_panel, tokenizer, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "SAVE_EVERY", 2)
    whole = many.ManyPhase
    monkeypatch.setattr(many, "ManyPhase", lambda *parts, **more: whole(*parts, **more, callbacks=(Killed(),)))
    with pytest.raises(KeyboardInterrupt):
        trained([small_panel, other_panel], tokenizer, tiny_bert, tmp_path)
    assert list((tmp_path / "select").glob("checkpoint-2"))
    monkeypatch.setattr(many, "ManyPhase", whole)
    model, *_ = trained([small_panel, other_panel], tokenizer, tiny_bert, tmp_path)
    kept = shared_parts(base.model("select", market_tensors(small_panel, tokenizer, by_meaning=True), tokenizer))
    for name, weight in shared_parts(model).items():
        torch.testing.assert_close(weight, kept[name])


def test_what_cannot_be_learned_together(small_panel, tokenizer, tmp_path):
    markets, _ = markets_of([small_panel], tokenizer)
    for unfit in ({"level_noise": 0.1}, {"mode": "lora"}, {"processes": 2}):
        with pytest.raises(ValueError, match="mode 'frozen', level_noise 0, processes 1"):
            pretrain_any(None, markets, tokenizer, dataclasses.replace(TRAINING, **unfit), 0.1, 0, tmp_path)


def test_every_described_layer_takes_its_columns(model, market):
    for path, field in FIELD.items():
        layer = model.get_submodule(path)
        assert layer.columns.shape[0] == len(market.names[field])
        distinct = torch.unique(layer.columns.round(decimals=4), dim=0)
        assert len(distinct) > 1  # columns are told apart
