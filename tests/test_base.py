"""Several categories as one market, the base trained on them, and which markets may start from it."""

import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_retailer import changed_after, load_retailer, make_retailer
from transformers import AutoModel

from shelfcast import model_options
from shelfcast.model.forecast import predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Training
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.training.base import FACTS, WEIGHTS, Base, input_columns, new_model, regions_md5, save_base
from shelfcast.training.base.join import join
from shelfcast.training.fit import fit, pretrain
from shelfcast.training.setup import training_setup


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    raw = make_retailer()
    raw["products"]["category"] = ["TEA"] * 5 + ["MATE"] * 7
    return [
        load_retailer(raw, tmp_path_factory.mktemp("shop"), category, meta={"category": category, "data_md5": "x"})
        for category in ("TEA", "MATE")
    ]


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return load_tokenizer(tiny_bert)


def test_joined_categories_share_one_scale(panels, tokenizer):
    market = join(panels, tokenizer)
    assert market.products == [p for panel in panels for p in panel.products.index]
    rows = pd.concat([panel.frame[panel.frame["ds"] <= panel.meta["train_end"]] for panel in panels])
    raw = np.log((rows["lag_0"] + LEVEL_FLOOR) / (rows["level"] + LEVEL_FLOOR))
    np.testing.assert_allclose(market.scale["lag_0"], [raw.mean(), raw.std(ddof=0)])
    for panel in panels:  # on its own scale each category would lie elsewhere
        assert market_tensors(panel, tokenizer).scale != market.scale


def test_a_category_is_forecast_alone_as_among_others(panels, tokenizer, tiny_bert):
    market = join(panels, tokenizer)
    model = SalesBert.from_backbone(tiny_bert, layers=2, body="compact", **market.sizes()).eval()
    with torch.no_grad():
        model.head[-1].weight.normal_()
    together, _ = predict(model, market)
    alone, _ = predict(model, market_tensors(panels[1], tokenizer, scale=market.scale))
    np.testing.assert_allclose(together[len(panels[0].products) :], alone, rtol=1e-5)  # sums of float32


def test_categories_with_other_columns_cannot_be_joined(panels, tokenizer):
    roles = panels[1].roles | {"past": [*panels[1].roles["past"], "event_view"]}
    other = dataclasses.replace(panels[1], roles=roles)
    with pytest.raises(ValueError, match=r"'TEA' and 'MATE' differ in past: event_view.*leave one out"):
        join([panels[0], other], tokenizer)


@pytest.mark.parametrize("given", [{"mode": "full"}, {"mode": "lora"}, {"pretrained": False}])
def test_a_base_keeps_the_encoder_of_its_package(panels, tokenizer, given):
    with pytest.raises(ValueError, match=r"without its encoder\. Choose 'frozen' and true"):
        new_model(model_options.Base(**given), join(panels[:1], tokenizer))


TRAINING = Training(mode="frozen", steps=6, judge_steps=3, batch_weeks=100, learning_rate=3e-3)
SHAPE = dict(body="compact", layers=2, width=32, compact_layers=1)


def pretrained(panels, tokenizer, backbone, work):
    market = join(panels, tokenizer)

    def make(_):
        return SalesBert.from_backbone(backbone, **SHAPE, **market.sizes())

    return market, *pretrain(make, *market.splits(panels[0]), TRAINING, 0, work, "x")


@pytest.fixture(scope="module")
def base(panels, tokenizer, tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    market, models, history = pretrained(panels, tokenizer, tiny_bert, folder / "work")
    assert list(history["step"]) == [3, 6, 3, 6]
    assert list(history["phase"]) == ["select"] * 2 + ["refit"] * 2
    assert list(history["wql"].notna()) == [True] * 2 + [False] * 2
    facts = {"categories": ["TEA", "MATE"], "scale": market.scale, "backbone": tiny_bert, "data_md5": "x"}
    facts["regions_md5"] = regions_md5(panels[0])
    facts |= input_columns(panels[0]) | {end: panels[0].meta[end] for end in ("train_end", "validation_end")}
    save_base(folder, models, facts, history)
    return Base.load(folder)


def test_a_base_of_no_category_is_none(tmp_path):
    assert Base.load(tmp_path) is None
    (tmp_path / FACTS).write_text('{"categories": []}')
    assert Base.load(tmp_path) is None


def test_what_fits_is_asked_of_the_columns_that_tensors_have(panels, tokenizer):
    """So that a market's tensors are made once, on the scale that training has decided for."""
    for price_plan in (False, True):
        market = market_tensors(panels[0], tokenizer, price_plan)
        expected = market.names | {"locations": market.locations, "horizon": market.sizes()["horizon"]}
        assert input_columns(panels[0], price_plan) == expected


@pytest.mark.parametrize(("phase", "end"), [("select", "train_end"), ("refit", "validation_end")])
def test_leak_later_weeks_do_not_reach_a_base(base, panels, tokenizer, tiny_bert, tmp_path, phase, end):
    late = [changed_after(panel, pd.Timestamp(panel.meta[end])) for panel in panels]
    market, models, _ = pretrained(late, tokenizer, tiny_bert, tmp_path)  # both phases, on as many threads as the base
    assert market.scale == base.facts["scale"]
    for name, weight in base.model(phase).state_dict().items():
        assert torch.equal(weight, models[phase].state_dict()[name]), name


def test_which_markets_may_start_from_it(base, panels, tiny_bert):
    panel = panels[0]
    assert base.mismatch(panel, tiny_bert) == ""
    for meta, words in (
        ({"data_md5": "y"}, "other tables"),
        ({"regions": {"s1": "region_1"}}, "regions are made of other stores"),
        ({"validation_end": "2022-08-01"}, "its validation end is"),
        ({"train_end": "2022-03-07"}, r"its train end is .*, and this market's is 2022-03-07"),
    ):
        other = dataclasses.replace(panel, meta=panel.meta | meta)
        assert re.search(words, base.mismatch(other, tiny_bert))
    assert "backbone" in base.mismatch(panel, "minilm")
    fewer = dataclasses.replace(panel, roles=panel.roles | {"static": panel.roles["static"][1:]})
    assert base.mismatch(fewer, tiny_bert) == "it was trained with other static"
    assert base.mismatch(panel, tiny_bert, price_plan=True) == "it was trained with other weeks, plan"
    assert base.model("select", **SHAPE, dropout=0.3).config.dropout == 0.3  # which has no weights
    with pytest.raises(ValueError, match=r"finetune.width is 64, the base in .* has 32.*from_base to false"):
        base.model("select", **SHAPE | {"width": 64})


def warm_started(base, panel, tokenizer, work, **training):
    market = market_tensors(panel, tokenizer, scale=base.facts["scale"])
    training = dataclasses.replace(TRAINING, **training)
    make = lambda phase: base.model(phase, **SHAPE)  # noqa: E731
    fitted = fit(make, *market.splits(panel), training, [1], work, "x", warm_start=True)
    return market, fitted.models, fitted.history


def test_training_starts_from_the_base_of_the_project(base, panels, tiny_bert, monkeypatch):
    monkeypatch.setattr("shelfcast.training.setup.BASE_FOLDER", base.folder)
    finetune = model_options.Finetune(backbone=tiny_bert, **SHAPE)
    setup, named = training_setup(panels[0], finetune), training_setup(panels[0], finetune, base.folder)
    assert setup.warm_start and setup.market.scale == base.facts["scale"]
    assert setup.fingerprint == named.fingerprint
    alone = training_setup(panels[0], dataclasses.replace(finetune, from_base=False))
    assert not alone.warm_start and len(alone.fingerprint) < len(setup.fingerprint)


def test_a_market_starts_from_it(base, panels, tokenizer, tmp_path):
    market, models, history = warm_started(base, panels[1], tokenizer, tmp_path, learning_rate=1e-4)
    assert list(history[history["phase"] == "select"]["step"]) == [0, 3, 6]
    expected = predict(base.model("refit").eval(), market)[0]
    moved = np.abs(np.log(predict(models[0], market)[0] / expected)).max()
    assert (moved > 0) == (history.loc[history["best"], "step"].item() > 0)
    assert moved < 0.1  # what the base learned of text and space is not learned again
    assert not np.allclose(expected, predict(base.model("select").eval(), market)[0], rtol=1e-2)


def test_it_stays_where_more_training_only_harms(base, panels, tokenizer, tmp_path):
    market, models, history = warm_started(base, panels[1], tokenizer, tmp_path, learning_rate=3.0)
    assert history.loc[history["best"], "step"].item() == 0 and not (history["phase"] == "refit").any()
    np.testing.assert_array_equal(predict(models[0], market)[0], predict(base.model("refit").eval(), market)[0])


def test_a_base_holds_new_parts_alone(base, tiny_bert):
    names = set(load_file(base.folder / "select" / WEIGHTS))
    assert names and not any(name.startswith(("layers.", "embeddings.")) for name in names)
    encoder = AutoModel.from_pretrained(tiny_bert)
    loaded = base.model("select")
    assert torch.equal(loaded.layers[0].output.dense.weight, encoder.encoder.layer[0].output.dense.weight)


def test_a_base_of_another_encoder_is_refused(base):
    other = dataclasses.replace(base, facts=base.facts | {"encoder_md5": "other"})
    with pytest.raises(ValueError, match=r"trained with other weights of backbone.*make base"):
        other.model("select")


def test_a_base_of_other_code_is_refused(base, tmp_path):
    shutil.copytree(base.folder / "select", tmp_path / "select")
    weights = load_file(base.folder / "select" / WEIGHTS)
    save_file({f"old_{name}": x for name, x in weights.items()}, tmp_path / "select" / WEIGHTS)
    with pytest.raises(ValueError, match=r"trained by other code.*make base"):
        dataclasses.replace(base, folder=tmp_path).model("select")
