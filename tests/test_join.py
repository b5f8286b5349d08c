"""Several categories as one market: scaled together, trained together, judged apart."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import load_retailer, make_retailer

from shelfcast.dataset import join, load_tokenizer, market_tensors
from shelfcast.features import LEVEL_FLOOR
from shelfcast.forecast import predict
from shelfcast.model import SalesBert


@pytest.fixture(scope="module")
def panels(tmp_path_factory):
    raw = make_retailer()
    raw["products"]["category"] = ["TEA"] * 5 + ["MATE"] * 7
    return [
        load_retailer(raw, tmp_path_factory.mktemp("shop"), category, meta={"category": category})
        for category in ("TEA", "MATE")
    ]


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return load_tokenizer(tiny_bert)


def test_products_one_after_the_other_on_one_scale(panels, tokenizer):
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
    torch.testing.assert_close(torch.tensor(together[len(panels[0].products) :]), torch.tensor(alone))


def test_categories_that_tell_other_things_cannot_be_joined(panels, tokenizer):
    roles = panels[1].roles | {"past": [*panels[1].roles["past"], "event_view"]}
    odd = dataclasses.replace(panels[1], roles=roles)
    with pytest.raises(ValueError, match=r"'TEA' and 'MATE' differ in past: event_view.*leave one out"):
        join([panels[0], odd], tokenizer)
