"""Forecasts of new products: text and picture are learned from other products, and only from their past sales."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from shelfcast.model.forecast import predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.training.new_products import MIN_PRODUCTS, fit_appeal, fit_new_product_head


def made_up_sales(n=120, noise=0.3, seed=0):
    """Two columns of the texts decide the sales, a third one what a region adds; pictures have no effect."""
    rng = np.random.default_rng(seed)
    text, picture = rng.normal(size=(n, 12)), rng.normal(size=(n, 5))
    sold = np.repeat(text[:, :1] - text[:, 1:2], 3, 1) + noise * rng.normal(size=(n, 3)) + [0.5, 0.2, 0.8]
    sold[:, 2] += text[:, 2]
    return text - text.mean(0), picture - picture.mean(0), sold


def test_regression_finds_the_effect_of_an_embedding():
    text, picture, sold = made_up_sales()
    (by_text, by_picture), bias, held_out = fit_appeal([text, picture], sold)
    assert by_text.shape == (12, 3) and by_picture.shape == (5, 3) and bias.shape == (3,)
    np.testing.assert_allclose(by_text[:3], [[1, 1, 1], [-1, -1, -1], [0, 0, 1]], atol=0.15)
    assert np.abs(by_picture).max() < 0.15
    new_text, new_picture, sales = made_up_sales(seed=1)
    predicted = bias + new_text @ by_text + new_picture @ by_picture
    r2 = 1 - ((sales - predicted) ** 2).sum(0) / ((sales - sales.mean(0)) ** 2).sum(0)
    assert (r2 > 0.85).all(), r2
    r2 = 1 - ((sold - held_out) ** 2).sum(0) / ((sold - sold.mean(0)) ** 2).sum(0)
    assert (r2 > 0.85).all(), r2


def test_embeddings_without_effect_predict_nothing():
    text, _, sold = made_up_sales()
    shuffled = text[np.random.default_rng(1).permutation(len(text))]
    (by_text,), bias, _ = fit_appeal([shuffled], sold)
    assert (shuffled @ by_text).std() < 0.2 * sold.std()
    np.testing.assert_allclose(bias, sold.mean(0), atol=0.05)
    nothing = fit_appeal([], sold)
    assert nothing[0] == []
    np.testing.assert_allclose(nothing[1], sold.mean(0))


def test_leak_a_held_out_prediction_does_not_use_the_products_own_sales():
    text, _, sold = made_up_sales()
    before = fit_appeal([text], sold)[2]
    sold[7] += 1.0
    after = fit_appeal([text], sold)[2]
    np.testing.assert_allclose(after[7], before[7], atol=1e-9)
    assert np.abs(after - before).max() > 1e-3


def test_too_few_products_choose_no_weights():
    text, picture, sold = (x[: MIN_PRODUCTS - 1] for x in made_up_sales())
    weights, bias, held_out = fit_appeal([text, picture], sold)
    assert not any(w.any() for w in weights) and np.isfinite(held_out).all()
    np.testing.assert_allclose(bias, sold.mean(0))


@pytest.fixture(scope="module")
def market(small_panel, tiny_bert):
    """The small retailer ten times over; the first column of its picture decides what a product sells."""
    pictures = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 3)), small_panel.products.index, ["a", "b", "c"])
    market = market_tensors(dataclasses.replace(small_panel, pictures=pictures), load_tokenizer(tiny_bert))
    many = {k: torch.cat([v] * 10) for k, v in market.tensors.items()}
    many["picture"] = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    times = torch.exp(many["picture"][:, 0])[:, None, None, None]
    many["labels"] = (many["typical"][..., None] * times).expand_as(many["labels"]).round()
    names = [f"{name}_{k}" for k in range(10) for name in market.products]
    return dataclasses.replace(market, products=names, tensors=many)


def make(market, backbone, **config):
    torch.manual_seed(0)
    return SalesBert.from_backbone(backbone, layers=2, width=32, body="compact", **config, **market.sizes())


@pytest.mark.parametrize("use_text", [True, False])
def test_new_products_are_distinguished(market, small_panel, tiny_bert, use_text):
    learned = market.split(small_panel.cutoffs["train"], pd.Timestamp(small_panel.meta["train_end"]))
    others, new = (
        dataclasses.replace(m, products=m.products[part], tensors={k: v[part] for k, v in m.tensors.items()})
        for m, part in ((learned, slice(0, 50)), (market, slice(50, 60)))
    )
    model = make(market, tiny_bert, use_text=use_text)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit_new_product_head(model, others, seed=0)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(k.startswith(("cold_start.", "appeal_")) for k in changed)
    mean = predict(model, new, cold_start=True)[0][:, 0, 30].mean(-1)
    truth = new.tensors["labels"][:, 0, 30].mean(-1).numpy()
    assert np.corrcoef(np.log(mean), np.log(truth))[0, 1] > 0.9
    absent = dataclasses.replace(new, tensors=new.tensors | {"has_picture": torch.zeros(10, dtype=torch.bool)})
    assert np.ptp(np.log(predict(model, absent, cold_start=True)[0][:, 0, 30])) < 0.5 * np.ptp(np.log(truth))


def test_same_seed_same_head_and_leak_no_later_week_reaches_it(market, small_panel, tiny_bert):
    until = pd.Timestamp(small_panel.meta["train_end"])

    def trained(market, seed=0):
        return fit_new_product_head(
            make(market, tiny_bert), market.split(small_panel.cutoffs["train"], until), seed
        ).state_dict()

    labels = market.tensors["labels"].clone()
    labels[:, :, small_panel.weeks.get_loc(until) :] *= 9
    first, later = trained(market), dataclasses.replace(market, tensors=market.tensors | {"labels": labels})
    assert all(torch.equal(v, first[k]) for k, v in trained(later).items())
    assert not all(torch.equal(v, first[k]) for k, v in trained(market, seed=1).items())


def test_a_head_that_was_not_trained_forecasts_nothing(market, tiny_bert):
    with pytest.raises(ValueError, match=r"was not trained. Set finetune.new_products"):
        predict(make(market, tiny_bert), market, cold_start=True)
