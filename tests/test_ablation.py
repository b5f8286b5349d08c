"""An ablation takes one data source away and nothing else; held-out products leave no trace."""

import dataclasses
import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from shelfcast.data import tables
from shelfcast.data.files import folder_md5
from shelfcast.data.schema import CHAIN
from shelfcast.market import tables as simulated
from shelfcast.model.forecast import predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model_options import Finetune
from shelfcast.panel.build import build
from shelfcast.settings import Prepare, SettingsError, Simulation
from studies.ablation import ablation, cold_start, experiment, sources


@pytest.fixture(scope="module")
def market(small_panel, tiny_bert):
    """The small market, with pictures."""
    pictures = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 3)), small_panel.products.index, ["a", "b", "c"])
    return market_tensors(dataclasses.replace(small_panel, pictures=pictures), load_tokenizer(tiny_bert))


def with_tensors(market, **tensors):
    return dataclasses.replace(market, tensors=market.tensors | tensors)


def changed_fields(before, after) -> dict[str, list[str]]:
    """Fields that differ, and which of their columns where they have names."""
    fields = {}
    for field, x in before.tensors.items():
        x, y = (tensor.nan_to_num(-9) if tensor.is_floating_point() else tensor for tensor in (x, after.tensors[field]))
        if not torch.equal(x, y):
            names = before.names.get(field, [])
            fields[field] = [name for k, name in enumerate(names) if not torch.equal(x[..., k], y[..., k])]
    return fields


# ---------------------------------------------------------------- data sources


def test_each_source_is_removed_alone(market):
    assert changed_fields(market, sources.remove(market, "text")) == {"has_text": []}
    assert changed_fields(market, sources.remove(market, "picture")) == {"has_picture": []}
    behavior = changed_fields(market, sources.remove(market, "behavior"))
    assert set(behavior) == {"weeks"} and set(behavior["weeks"]) == {"buyers", "baskets", "repeat_share"}
    plan = changed_fields(market, sources.remove(market, "plan"))
    assert {"promotion", "category_promotion"} <= set(plan["plan"]) and not set(plan["plan"]) & sources.CALENDAR
    assert {"promotion", "price_ratio", "mean_promoted"} <= set(plan["weeks"]) and "lag_0" not in plan["weeks"]
    assert "price_level" in plan["static"] and "labels" not in plan
    assert changed_fields(market, market) == {}


@pytest.mark.parametrize(("source", "field"), [("text", "input_ids"), ("picture", "picture")])
@pytest.mark.parametrize("as_new", [False, True])
def test_a_removed_source_cannot_reach_the_forecast(market, tiny_bert, source, field, as_new):
    torch.manual_seed(0)
    model = SalesBert.from_backbone(tiny_bert, layers=2, body="compact", width=32, **market.sizes()).eval()
    model.config.new_products = True
    with torch.no_grad():
        for weight in (model.head[-1].weight, model.cold_start.out.weight, model.appeal_text, model.appeal_picture):
            weight.normal_()
    without = sources.remove(market, source)
    other = with_tensors(without, **{field: without.tensors[field] * 0 + 7})
    means = [predict(model, part, cold_start=as_new)[0] for part in (without, other, market)]
    np.testing.assert_array_equal(means[1], means[0])
    assert not np.allclose(means[0], means[2], rtol=1e-4)


@pytest.mark.parametrize(("source", "column"), [("behavior", "buyers"), ("plan", "mean_promoted")])
def test_noise_of_the_level_cannot_be_read_from_a_removed_column(market, source, column):
    i, noise = market.names["weeks"].index(column), torch.full_like(market.tensors["level"], 1.5)
    for part, moves in ((market, True), (sources.remove(market, source), False)):
        change = part.with_levels(part.tensors, noise)["weeks"] - part.tensors["weeks"]
        assert bool(change[..., i].any()) == moves
        assert change[..., market.names["weeks"].index("lag_0")].all()


def test_shuffled_texts_are_the_same_texts_of_other_products(market):
    other = sources.shuffle(market, "text", seed=1)
    texts = [sorted(map(tuple, part.tensors["input_ids"].tolist())) for part in (market, other)]
    assert texts[0] == texts[1]
    fields = changed_fields(market, other)
    assert fields and set(fields) <= {"input_ids", "text_mask", "has_text"}


def test_noise_pictures_change_pictures_alone_and_depend_on_the_seed(market):
    parts = [sources.shuffle(market, "picture", seed) for seed in (1, 1, 2)]
    assert set(changed_fields(market, parts[0])) == {"picture"}
    assert not changed_fields(parts[0], parts[1]) and changed_fields(parts[0], parts[2])


def test_exchanged_regions_leave_the_chain_where_it_is(market):
    graph = market.tensors["graph"].clone()
    graph[:, 1, 2] = graph[:, 2, 1] = 0.3
    graph[:, 0] = torch.tensor([1.0, 0.5, 0.25])
    market = with_tensors(market, graph=graph)
    graphs = [sources.shuffle(market, "space", seed).tensors["graph"] for seed in range(20)]
    exchanged = next(x for x in graphs if not torch.equal(x, graph))
    torch.testing.assert_close(exchanged[:, 0], torch.tensor([1.0, 0.25, 0.5]).expand(6, 3))


def test_an_unknown_source_is_named(market):
    with pytest.raises(ValueError, match=r"cannot take away 'prices'. Choose one of text, picture"):
        sources.remove(market, "prices")
    with pytest.raises(ValueError, match=r"cannot shuffle 'behavior'. Choose one of text, picture"):
        sources.shuffle(market, "behavior", seed=0)


# ---------------------------------------------------------------- one ablation


def test_an_ablation_reads_its_line_and_never_starts_from_the_base():
    no_text = experiment.load("new_no_text")
    assert (no_text.removed, no_text.folds) == ("text", 4)
    finetune = experiment.finetune_settings(Finetune(), experiment.load("no_space"))
    assert not finetune.from_base and not finetune.use_space and finetune.pretrained
    assert not experiment.finetune_settings(Finetune(), experiment.load("random_backbone")).pretrained
    with pytest.raises(SettingsError, match=r"no ablation 'no_texts'; the nearest name is 'no_text'"):
        experiment.load("no_texts")


def test_every_product_is_held_out_once(market):
    parts = experiment.parts(market, experiment.Ablation(folds=4))
    held_out = [product for _, target in parts.values() for product in target.products]
    assert len(parts) == 4 and sorted(held_out) == sorted(market.products)
    for trained_on, target in parts.values():
        assert not set(trained_on.products) & set(target.products)


def test_a_market_without_pictures_has_no_ablation_of_them(market):
    bare = dataclasses.replace(market, names=market.names | {"picture": []})
    for name in ("no_picture", "noise_pictures", "new_no_picture"):
        assert experiment.parts(bare, experiment.load(name)) == {}
        assert experiment.parts(market, experiment.load(name))


def test_no_forecast_gives_no_scores(small_panel):
    scores = experiment.score([], small_panel, "no_picture")
    assert scores.empty and list(scores) == experiment.COLUMNS


# ---------------------------------------------------------------- what is collected


def test_costs_are_paired_by_seed():
    wql = {"whole": (0.50, 0.40), "no_text": (0.55, 0.44), "noise_pictures": (0.51, 0.39)}
    rows = [(name, seed, x) for name, both in wql.items() for seed, x in enumerate(both)]
    scores = pd.DataFrame(rows, columns=["ablation", "seed", "wql"]).assign(level="product")
    costs = ablation.costs(scores, "whole").loc["product"]
    assert costs.loc["no_text", ["estimate", "low", "high"]].to_numpy(float) == pytest.approx([0.1, 0.1, 0.1])
    assert costs.loc["no_text", "wql"] == pytest.approx(0.045)
    assert costs.loc["noise_pictures", "low"] < 0 < costs.loc["noise_pictures", "high"]
    assert (costs["seeds"] == 2).all()


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory):
    """build/ with a simulated market and the scores that `make ablate` leaves."""
    folder = tmp_path_factory.mktemp("build")
    shop, scores = folder / "shop", folder / "studies/ablation/shop"
    simulated.write(shop, Simulation(n_products=24, n_new=4, n_stores=6, n_weeks=60))
    prepare = Prepare(n_products=20, n_regions=2)
    build(tables.load("simulated", shop / "tables", None), prepare).save(shop / "panel")
    scores.mkdir(parents=True)
    for name, wql in {"whole": 0.5, "no_plan": 0.6, "new": 0.8, "new_no_text": 0.9}.items():
        rows = [("shelfcast", seed, wql) for seed in (0, 1, experiment.AVERAGED)]
        if name.startswith("new"):
            rows.append(("category_mean", experiment.AVERAGED, 1.0))
        frame = pd.DataFrame(rows, columns=["method", "seed", "wql"])
        frame = frame.assign(ablation=name, level="product", wape=frame["wql"], bias=0.0)
        frame[experiment.COLUMNS].to_csv(scores / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def results_file(build_folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:  # fewer draws than the study's, so that it takes seconds
        patch.setattr(ablation, "oracle", partial(ablation.oracle, draws=100))
        return ablation.collect("shop", build_folder, tmp_path_factory.mktemp("results"))


def test_a_market_without_scores_is_named(build_folder, tmp_path):
    with pytest.raises(ValueError, match="Run `make ablate` first"):
        ablation.collect("nowhere", build_folder, tmp_path)


def test_scores_become_one_small_file(results_file, build_folder):
    results = json.loads(results_file.read_text())
    for made in results["made"].values():
        assert made["seeds"] == [0, 1] and made["panel_md5"] == folder_md5(build_folder / "shop/panel")
    costs = results["worth"]["product"]
    assert set(costs) == {"no_plan", "new_no_text"}
    assert costs["no_plan"]["estimate"] == pytest.approx(0.2) and costs["no_plan"]["wql"] == pytest.approx(0.1)
    assert costs["new_no_text"]["estimate"] == pytest.approx(0.125)  # against `new`, not against `whole`
    wql = {"category_mean": 1.0, "new": 0.8, "new_no_text": 0.9}
    assert results["new"]["product"] == {name: {"wql": x, "wape": x, "bias": 0.0} for name, x in wql.items()}


def test_costs_are_compared_with_the_oracles(results_file):
    costs = json.loads(results_file.read_text())["worth"]["product"]
    for row in costs.values():
        assert row["recovered"] == pytest.approx(row["wql"] / row["oracle_wql"], rel=1e-3)
    assert costs["no_plan"]["oracle_wql"] > 0
    assert costs["new_no_text"]["oracle_reference_wql"] > costs["no_plan"]["oracle_reference_wql"]


def test_a_part_that_was_not_measured_again_stays(results_file, build_folder, tmp_path):
    before = json.loads(results_file.read_text())
    shutil.copy(results_file, tmp_path)
    again = tmp_path / "again"
    shutil.copytree(build_folder, again, ignore=shutil.ignore_patterns("truth"))  # no oracle is needed here
    scores = again / "studies/ablation/shop"
    for name in ("whole", "no_plan"):
        (scores / f"{name}.csv").unlink()
    for name, factor in (("new", 1.0), ("new_no_text", 1.2)):
        table = pd.read_csv(scores / f"{name}.csv")
        table = table.assign(wql=factor * table["wql"], seed=table["seed"].replace(1, 5))
        table.to_csv(scores / f"{name}.csv", index=False)
    after = json.loads(ablation.collect("shop", again, tmp_path).read_text())
    assert after["worth"]["product"]["no_plan"] == before["worth"]["product"]["no_plan"]
    assert after["made"]["whole"] == before["made"]["whole"] and after["made"]["new"]["seeds"] == [0, 5]
    assert after["worth"]["product"]["new_no_text"]["estimate"] == pytest.approx(0.35)
    assert after["new"]["product"]["new_no_text"]["wql"] == pytest.approx(1.08)


# ---------------------------------------------------------------- products without a history


def test_leak_held_out_products_leave_no_trace(market, small_panel):
    names = market.products[:2]
    others, held_out = cold_start.hold_out(market, names)
    assert held_out.products == names and others.products == market.products[2:]
    assert held_out.tensors["cold_start"].all() and others.tensors["cold_start"].all()
    level = market.tensors["level"].clone()
    level[:2] *= 50
    changed = cold_start.hold_out(with_tensors(market, level=level), names)
    for part, again in zip((others, held_out), changed, strict=True):
        torch.testing.assert_close(part.tensors["typical"], again.tensors["typical"])
    attributes = small_panel.products
    changed = attributes.assign(units=np.where(attributes.index.isin(names), 1e6, attributes["units"]))
    for baseline in cold_start.BASELINES.values():
        torch.testing.assert_close(baseline(others, held_out, attributes), baseline(others, held_out, changed))


def test_leak_last_year_of_the_category_is_hidden_too(market):
    """The category's sales of last year include those of the held-out products."""
    names = market.names | {"plan": ["year_ago", "year_ago_category", *market.names["plan"][2:]]}
    for part in cold_start.hold_out(dataclasses.replace(market, names=names), market.products[:2]):
        assert not part.tensors["plan"][..., :2].any() and part.tensors["plan"].any()


def test_a_new_product_has_the_season_of_its_category(market):
    names = market.names | {"plan": ["year_ago", "year_ago_category", *market.names["plan"][2:]]}
    scale = {"year_ago": [0.5, 2.0], "year_ago_category": [1.0, 4.0]}
    new = dataclasses.replace(market, names=names, scale=scale).as_new().tensors["plan"]
    own, category = (new[..., k] * scale[name][1] + scale[name][0] for k, name in enumerate(scale))
    torch.testing.assert_close(own, category)
    assert torch.equal(new[..., 1:], market.tensors["plan"][..., 1:])


def test_the_nearest_product_has_the_same_attributes(market, monkeypatch):
    monkeypatch.setattr(cold_start, "NEIGHBOURS", 1)
    parts = cold_start.hold_out(market, market.products[:1])
    attributes = pd.DataFrame({"kind": ["a", "b", "b", "a", "b", "b"]}, market.products)
    others, held_out = (with_tensors(part, static=torch.zeros_like(part.tensors["static"])) for part in parts)
    level = cold_start.nearest_by_attributes(others, held_out, attributes)
    torch.testing.assert_close(level[0], market.tensors["level"][3])


@pytest.mark.parametrize("name", list(cold_start.BASELINES))
def test_baselines_make_a_forecast_frame(market, small_panel, name):
    others, held_out = cold_start.hold_out(market, market.products[:2])
    validation, test = (small_panel.cutoffs[part] for part in ("validation", "test"))
    frame = cold_start.forecast_baseline(name, others, held_out, small_panel.products, validation, test)
    assert len(frame) == 2 * len(market.locations) * len(test) * 4
    assert (frame["mean"] > 0).all() and (frame["q100"] <= frame["q900"]).all()
    actuals = small_panel.frame.set_index(["unique_id", "ds"])["y"]
    np.testing.assert_array_equal(frame["y"], actuals.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])))
    assert frame["unique_id"].str.endswith(CHAIN).any()


def test_products_that_cannot_be_held_out(market):
    with pytest.raises(ValueError, match="cannot hold out nobody: no products of the market"):
        cold_start.hold_out(market, ["nobody"])
    with pytest.raises(ValueError, match="At least one must be left"):
        cold_start.hold_out(market, market.products)
