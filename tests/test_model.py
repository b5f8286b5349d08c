"""SalesBert: properties that hold for any weights."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import TimeSeriesSplit
from small_retailer import load_retailer, make_backbone, make_retailer
from transformers import AutoModel, ViTConfig, ViTModel

from shelfcast.judge.frame import is_chain
from shelfcast.model.adapters import quantised
from shelfcast.model.forecast import forecast, predict, read_text_once
from shelfcast.model.layers.attention import additive, bert_pass
from shelfcast.model.layers.space import Spillover
from shelfcast.model.salesbert import OUTLOOK_WEIGHT, SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path, load_tokenizer, market_tensors
from shelfcast.training.initial import FOLDS, PENALTIES, fit_spillover

BODIES = [dict(body="backbone"), dict(body="compact"), dict(body="compact", use_text=False)]


def make(panel, backbone, seed=0, layers=2, **config) -> tuple[SalesBert, MarketTensors]:
    """A model whose every part matters: gates and head, which start at zero, get random weights."""
    market = market_tensors(panel, load_tokenizer(backbone))
    torch.manual_seed(seed)
    model = SalesBert.from_backbone(backbone, layers=layers, width=32, **config, **market.sizes())
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("gate") or name.startswith(("head.1", "cold_start.out", "appeal", "spillover")):
                p.copy_(0.3 * torch.randn_like(p))
    model.config.new_products = True
    market.tensors["plan"][..., market.names["plan"].index("outlook")] = torch.randn(market.tensors["plan"].shape[:-1])
    return model.eval(), market


def altered(market, **fields) -> MarketTensors:
    return dataclasses.replace(market, tensors=market.tensors | fields)


@pytest.fixture(params=BODIES, ids=lambda c: "-".join(map(str, c.values())))
def pair(request, small_panel, tiny_bert):
    return make(small_panel, tiny_bert, **request.param)


def test_shapes_and_range(pair):
    model, market = pair
    mean, dispersion = predict(model, market)
    assert mean.shape == dispersion.shape == (6, 3, 40, 4)
    assert (mean > 0).all() and (dispersion > 0).all() and np.isfinite(mean).all()


def test_step_zero_forecasts_the_level_and_the_outlook(small_panel, tiny_bert):
    market = market_tensors(small_panel, load_tokenizer(tiny_bert))
    model = SalesBert.from_backbone(tiny_bert, layers=2, **market.sizes()).eval()
    level = market.tensors["level"][..., None].expand(-1, -1, -1, 4)
    np.testing.assert_allclose(predict(model, market)[0], level, rtol=1e-5)
    outlook = torch.linspace(-1, 1, level.numel()).reshape(level.shape)
    market.tensors["plan"][..., market.names["plan"].index("outlook")] = outlook
    np.testing.assert_allclose(predict(model, market)[0], level * torch.exp(OUTLOOK_WEIGHT * outlook), rtol=1e-4)


@pytest.mark.parametrize("cold_start", [False, True])
def test_a_forecast_from_some_weeks_is_that_from_all(pair, cold_start):
    model, market = pair
    at = np.array([39, 12, 30])
    for some, whole in zip(
        predict(model, market, cold_start=cold_start, at=at), predict(model, market, cold_start=cold_start), strict=True
    ):
        np.testing.assert_allclose(some, whole[:, :, at], rtol=1e-5)


@pytest.mark.parametrize("week", [10, 30])
def test_future_cannot_reach_the_past(pair, week):
    model, market = pair
    changed = {k: v.clone() for k, v in market.tensors.items()}
    generator = torch.Generator().manual_seed(1)
    for name in ("weeks", "plan", "level", "typical", "location_shock"):
        part = changed[name][:, :, week + 1 :]
        part += torch.rand(part.shape, generator=generator)
    other = altered(market, **changed)
    for before, after in zip(predict(model, market), predict(model, other), strict=True):
        np.testing.assert_allclose(after[:, :, : week + 1], before[:, :, : week + 1], rtol=1e-5)
        assert not np.allclose(after[:, :, week + 1 :], before[:, :, week + 1 :], rtol=1e-3)


def test_the_past_reaches_the_future(pair):
    model, market = pair
    changed = {k: v.clone() for k, v in market.tensors.items()}
    changed["weeks"][:, :, 5] += 3
    other = altered(market, **changed)
    assert not np.allclose(predict(model, other)[0][:, :, 20], predict(model, market)[0][:, :, 20], rtol=1e-4)


def test_weeks_after_the_cutoff_need_not_exist(pair, small_panel):
    model, market = pair
    short = market.split(small_panel.cutoffs["validation"])
    n = short.tensors["weeks"].shape[2]
    np.testing.assert_allclose(predict(model, short)[0], predict(model, market)[0][:, :, :n], rtol=1e-5)


def test_batch_independence(pair):
    model, market = pair
    alone = predict(model, market, batch_products=1)[0]
    np.testing.assert_allclose(predict(model, market, batch_products=6)[0], alone, rtol=1e-5)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    other = altered(market, **{k: v[order] for k, v in market.tensors.items()})
    np.testing.assert_allclose(predict(model, other)[0], alone[order.numpy()], rtol=1e-5)


def test_save_and_load_give_equal_forecasts(pair, small_panel, tmp_path):
    model, market = pair
    model.save_pretrained(tmp_path / "m")
    loaded = SalesBert.from_pretrained(tmp_path / "m").eval()
    cutoffs = small_panel.cutoffs["test"]
    pd.testing.assert_frame_equal(
        forecast([loaded], market, cutoffs), forecast([model], market, cutoffs), check_exact=True
    )


def test_gradients_reach_every_part(pair):
    model, market = pair
    model.train()
    batch = dict(market.split(list(market.weeks_index[4:20])).tensors)
    batch["has_text"] = torch.tensor([True, True, False, True, True, True])
    batch["weeks"].requires_grad_(True)
    model(**batch).loss.backward()
    assert batch["weeks"].grad.abs().sum() > 0
    silent = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum())]
    # Not used on this path: BERT's sentence-pair vector, positions beyond the sequence are rows of used tables, and the
    # head for products without a history, which is trained apart.
    assert {n for n in silent if "absent_text" not in n or model.config.use_text} == {
        f"cold_start.{n}" for n, _ in model.cold_start.named_parameters()
    }


def test_text_and_space_change_the_forecast(small_panel, tiny_bert):
    model, market = make(small_panel, tiny_bert, body="backbone")
    before = predict(model, market)[0]
    for name, value in (("input_ids", 8), ("graph", 0.0)):
        other = altered(market, **{name: torch.full_like(market.tensors[name], value)})
        assert not np.allclose(predict(model, other)[0], before, rtol=1e-5), name


def test_a_cold_start_forecast_reads_no_history(small_panel, tiny_bert):
    model, market = make(small_panel, tiny_bert, body="compact")
    t, n_plan = market.tensors, len(market.names["plan"])
    weeks = t["weeks"].clone()
    weeks[..., :-n_plan] += 1
    before = predict(model, market, cold_start=True)
    after = predict(model, altered(market, weeks=weeks, level=2 * t["level"]), cold_start=True)
    for x, y in zip(after, before, strict=True):
        np.testing.assert_array_equal(x, y)
    words = torch.full_like(t["input_ids"], 8)
    for changed in (
        dict(input_ids=words),
        dict(plan=t["plan"] + 1),
        dict(static=t["static"] + 1),
        dict(typical=2 * t["typical"]),
    ):
        after = predict(model, altered(market, **changed), cold_start=True)
        assert not np.allclose(after[0], before[0], rtol=1e-4), changed.keys()
    assert not np.allclose(predict(model, market)[0], before[0], rtol=0.1)


@pytest.mark.parametrize("body", ["backbone", "compact"])
def test_pictures_change_the_forecast_where_there_are_any(small_panel, tiny_bert, body):
    pictures = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 3)), small_panel.products.index, ["a", "b", "c"])
    pictures.iloc[2] = np.nan
    model, market = make(dataclasses.replace(small_panel, pictures=pictures), tiny_bert, body=body)
    assert market.tensors["has_picture"].tolist() == [True, True, False, True, True, True]
    other = altered(market, picture=market.tensors["picture"] + 1)
    for cold_start in (False, True):
        same = np.isclose(
            predict(model, other, cold_start=cold_start)[0], predict(model, market, cold_start=cold_start)[0], rtol=1e-5
        )
        assert same[2].all() and not same[[0, 1, 3, 4, 5]].all((1, 2, 3)).any()
    model.train()
    model(**dict(market.split(list(market.weeks_index[4:20])).tensors)).loss.backward()
    assert all(p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "picture" in n)


def test_a_location_reaches_another_only_through_space(small_panel, tiny_bert):
    for use_space in (True, False):
        model, market = make(small_panel, tiny_bert, body="compact", use_space=use_space)
        for block in model.space:
            torch.nn.init.constant_(block.gate, 3.0)  # wide open
        changed = {k: v.clone() for k, v in market.tensors.items()}
        changed["weeks"][:, 2] = 3 * changed["weeks"][:, 2].flip(0)  # of other products
        other = altered(market, **changed)
        same = np.allclose(predict(model, other)[0][:, 1], predict(model, market)[0][:, 1], rtol=1e-5)
        assert same is not use_space


def test_a_shock_reaches_every_product_of_all_locations(small_panel, tiny_bert):
    model, market = make(small_panel, tiny_bert, body="compact")
    shock, before = market.tensors["location_shock"].clone(), predict(model, market)[0]
    assert not shock[:, 0].any() and not shock[:, :, :8].any() and (shock[:, 1:, 8:] != 0).any()
    shock[:, 2, 20] += 1
    after = predict(model, altered(market, location_shock=shock))[0]
    moved = np.log(after / before)
    np.testing.assert_allclose(
        moved[:, :, 20], np.tile(model.spillover.weight[:, :, 2].T.detach(), (6, 1, 1)), atol=1e-5
    )
    assert not moved[:, :, np.arange(40) != 20].any()


def test_spillover_starts_from_a_regression():
    """One location's shock is another's a week later; in a second market nothing follows from anything."""
    generator = torch.Generator().manual_seed(0)
    first, noise = (torch.randn(2, 240, generator=generator) for _ in range(2))
    shocks = torch.stack([torch.zeros(240), first[0], torch.cat([torch.zeros(1), first[0, :-1]])])
    for given, expected in ((shocks, 1.0), (torch.cat([torch.zeros(1, 240), noise]), 0.0)):
        spillover = Spillover(3, 4)
        fit_spillover(spillover, given[None])
        torch.testing.assert_close(spillover.weight[0, 2, 1].item(), expected, atol=0.1, rtol=0)
        others = spillover.weight.detach().clone()
        others[0, 2, 1] = 0
        assert others.abs().max() < 0.2
    spillover = Spillover(3, 4)
    fit_spillover(spillover, shocks[None, :, :8])  # too few to learn from
    assert not spillover.weight.any()


@pytest.mark.parametrize("noise", [0.1, 3.0, 100.0])
def test_spillover_is_scikit_learns_ridge_regression(noise):
    """Of two categories, from where one location follows another, to where nothing can be learned."""
    draw = np.random.default_rng(0)
    shock = draw.normal(size=(2, 5, 60))
    shock[:, 4, 1:] = shock[:, 0, :-1]
    shock += noise * draw.normal(size=shock.shape)
    shock[:, 3] = 0  # a location without sales
    spillover = Spillover(5, 4)
    fit_spillover(spillover, torch.as_tensor(shock))
    ridge = RidgeCV(PENALTIES, cv=TimeSeriesSplit(FOLDS))
    weeks = shock.transpose(2, 0, 1)
    for h, weight in enumerate(spillover.weight, start=1):
        before, after = (part.reshape(-1, 5) for part in (weeks[:-h], weeks[h:]))
        expected = ridge.fit(before, after).coef_
        np.testing.assert_allclose(weight.detach(), expected, rtol=1e-5, atol=1e-7)


def test_no_column_identifies_a_week(small_panel, tiny_bert):
    """Other than the calendar and the plan, which are known in advance."""
    market = market_tensors(small_panel, load_tokenizer(tiny_bert))
    history = market.tensors["weeks"][..., : -len(market.names["plan"])]
    assert {"category_now", "location_now"} <= set(small_panel.roles["past"])
    same = (history == history[:1]).flatten(0, 2).all(0)
    assert not (same & (history.flatten(0, 2).std(0) > 0)).any()


def test_missing_text_still_forecasts(small_panel, tiny_bert):
    model, market = make(small_panel, tiny_bert, body="backbone")
    other = altered(market, has_text=torch.zeros(6, dtype=torch.bool))
    assert np.isfinite(predict(model, other)[0]).all()


def test_packaged_layers_keep_their_meaning():
    """Without memory, a layer called by `bert_pass` equals transformers' own forward, with the real MiniLM weights."""
    path = backbone_path("minilm")
    encoder, tokenizer = AutoModel.from_pretrained(path).eval(), load_tokenizer("minilm")
    tokens = tokenizer(["cola 12 pack", "a bottle of water"], padding=True, return_tensors="pt")
    with torch.no_grad():
        x = encoder.embeddings(tokens["input_ids"])
        for layer in encoder.encoder.layer:
            x = bert_pass(layer, x, additive(tokens["attention_mask"].bool())[:, None, None])
        theirs = encoder(**tokens).last_hidden_state
    words = tokens["attention_mask"].bool()
    torch.testing.assert_close(x[words], theirs[words], rtol=1e-4, atol=1e-5)


def test_backbone_carries_pretrained_weights():
    sizes = dict(n_static=3, n_week=5, n_plan=2, n_locations=2)
    encoder = AutoModel.from_pretrained(backbone_path("minilm"))
    for pretrained in (True, False):
        model = SalesBert.from_backbone(backbone_path("minilm"), pretrained, layers=3, **sizes)
        same = torch.equal(
            model.layers[2].intermediate.dense.weight, encoder.encoder.layer[2].intermediate.dense.weight
        )
        assert same is pretrained
        assert len(model.layers) == 3


def test_chinese_backbone(tmp_path):
    raw = make_retailer()
    raw["products"]["blend"] = ["绿茶", "红茶", "花草茶"] * 4
    backbone = make_backbone(tmp_path / "zh", list("绿红茶花草"))
    panel = load_retailer(raw, tmp_path / "tables")
    model, market = make(panel, backbone, body="backbone")
    words = load_tokenizer(backbone).convert_ids_to_tokens(market.tensors["input_ids"][0])
    assert "茶" in words
    assert np.isfinite(predict(model, market)[0]).all()


def test_backbones_that_cannot_be_used(tmp_path, tiny_bert):
    with pytest.raises(ValueError, match=r"nowhere.*cannot be loaded.*minilm"):
        load_tokenizer(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="layers"):
        SalesBert.from_backbone(tiny_bert, layers=3)
    ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)).save_pretrained(
        tmp_path / "vit"
    )
    with pytest.raises(ValueError, match=r"vit.*BERT"):
        SalesBert.from_backbone(str(tmp_path / "vit"), layers=1)
    for wrong in (dict(body="big"), dict(body="backbone", use_text=False)):
        with pytest.raises(ValueError):
            SalesBert.from_backbone(tiny_bert, layers=1, **wrong)


def test_forecast_frame(pair, small_panel):
    model, market = pair
    cutoffs = small_panel.cutoffs["test"] + small_panel.cutoffs["latest"]
    frame = forecast([model, model], market, cutoffs)
    assert len(frame) == 6 * 3 * len(cutoffs) * 4
    truth = small_panel.frame.set_index(["unique_id", "ds"])["y"]
    np.testing.assert_array_equal(frame["y"], truth.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])))
    assert frame.loc[frame["cutoff"] == cutoffs[-1], "y"].isna().all()
    quantiles = frame.filter(regex=r"^q\d+$").to_numpy()
    assert (np.diff(quantiles) >= 0).all() and (quantiles >= 0).all()
    wide = frame.assign(location=frame["unique_id"].str.split("|").str[1], p=frame["unique_id"].str.split("|").str[0])
    sums = wide.pivot_table(index=["p", "cutoff", "horizon"], columns="location", values="mean")
    np.testing.assert_allclose(sums["chain"], sums.drop(columns="chain").sum(axis=1), rtol=1e-9)
    with pytest.raises(ValueError, match="not observed"):
        forecast([model], market, [pd.Timestamp("2030-01-07")])


def test_ensemble_keeps_the_mixture_variance(small_panel, tiny_bert):
    pairs = [make(small_panel, tiny_bert, seed, body="compact", use_text=False) for seed in (0, 1)]
    market, cutoffs = pairs[0][1], small_panel.cutoffs["test"]
    single = [forecast([m], market, cutoffs) for m, _ in pairs]
    both = forecast([m for m, _ in pairs], market, cutoffs)
    chain = both["unique_id"].str.endswith("|chain")  # regions are rescaled afterwards
    means = np.stack([f.loc[chain, "mean"] for f in single])
    variances = means + np.stack([f.loc[chain, "dispersion"] for f in single]) * means**2
    m, alpha = both.loc[chain, "mean"].to_numpy(), both.loc[chain, "dispersion"].to_numpy()
    np.testing.assert_allclose(m, means.mean(0), rtol=1e-6)
    np.testing.assert_allclose(m + alpha * m**2, variances.mean(0) + means.var(0), rtol=1e-6)


def test_texts_are_read_once_where_the_encoders_are_the_same(small_panel, tiny_bert):
    models = [make(small_panel, tiny_bert, seed, body="compact")[0] for seed in (0, 1)]
    market, cutoffs = make(small_panel, tiny_bert)[1], small_panel.cutoffs["test"]
    assert "read" in read_text_once(models, market).tensors
    both, single = forecast(models, market, cutoffs), [predict(model, market) for model in models]
    at = market.weeks_index.get_indexer(cutoffs)
    means = np.mean([mean[:, 0, at] for mean, _ in single], 0)  # of the chain, which nothing scales afterwards
    np.testing.assert_allclose(both.loc[is_chain(both), "mean"], means.ravel(), rtol=1e-5)
    with torch.no_grad():
        models[1].layers[0].intermediate.dense.weight += 1
    assert read_text_once(models, market) is market
    assert read_text_once([quantised(model) for model in models], market) is market


def test_a_hidden_plan_reaches_no_forecast(small_panel, tiny_bert):
    """Without a plan, forecasts do not depend on what was planned; with it they do."""
    model, market = make(small_panel, tiny_bert, body="compact")
    torch.nn.init.normal_(model.head[-1].weight)
    changed = market.tensors["plan"].clone()
    columns = [market.names["plan"].index(name) for name in market.planned]
    changed[..., columns] = torch.randn(changed[..., columns].shape, generator=torch.Generator().manual_seed(0))
    other = dataclasses.replace(market, tensors=market.tensors | {"plan": changed})
    with_plan, without = (
        [predict(model, m)[0] for m in pair]
        for pair in ((market, other), (market.without_plan(), other.without_plan()))
    )
    assert not np.allclose(*with_plan, rtol=1e-3)
    np.testing.assert_array_equal(*without)
    assert not np.allclose(with_plan[0], without[0], rtol=1e-3)
