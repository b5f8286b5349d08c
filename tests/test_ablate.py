"""What is kept from a model is kept from it, and nothing else; products hidden on purpose leave no trace."""

import copy
import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from studies.ablation import ablation as ablate
from studies.ablation import cold_start as cold
from shelfcast.panel import frame as panel
from shelfcast.market import tables as simulate
from shelfcast.data import tables
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.model.forecast import predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.data.schema import CHAIN


@pytest.fixture(scope="module")
def market(small_panel, tiny_bert):
    seen = pd.DataFrame(np.random.default_rng(0).normal(size=(6, 3)), small_panel.products.index, ["a", "b", "c"])
    return market_tensors(dataclasses.replace(small_panel, pictures=seen), load_tokenizer(tiny_bert))


def changed(before, after) -> dict[str, list[str]]:
    """Fields that differ, and which of their columns where they have names."""
    found = {}
    for field, x in before.tensors.items():
        y = after.tensors[field]
        if not torch.equal(
            x.nan_to_num(-9) if x.is_floating_point() else x, y.nan_to_num(-9) if y.is_floating_point() else y
        ):
            names = before.names.get(field, [])
            found[field] = [n for k, n in enumerate(names) if not torch.equal(x[..., k], y[..., k])]
    return found


def test_each_modality_is_taken_away_alone(market):
    assert changed(market, ablate.blind(market, "text")) == {"has_text": []}
    assert changed(market, ablate.blind(market, "picture")) == {"has_picture": []}
    gone = changed(market, ablate.blind(market, "behavior"))
    assert set(gone) == {"weeks"} and set(gone["weeks"]) == {"buyers", "baskets", "repeat_share"}
    gone = changed(market, ablate.blind(market, "plan"))
    assert {"promotion", "category_promotion"} <= set(gone["plan"]) and not set(gone["plan"]) & ablate.CALENDAR
    assert {"promotion", "price_ratio", "mean_promoted"} <= set(gone["weeks"]) and "lag_0" not in gone["weeks"]
    assert "price_level" in gone["static"] and "labels" not in gone
    assert changed(market, market) == {}


def test_what_is_taken_away_cannot_reach_the_forecast(market, tiny_bert):
    torch.manual_seed(0)
    model = SalesBert.from_backbone(tiny_bert, layers=2, body="compact", width=32, **market.sizes()).eval()
    with torch.no_grad():
        for x in (model.head[-1].weight, model.cold.out.weight, model.appeal_text, model.appeal_picture):
            x.normal_()
    for what, fields in {"text": ["input_ids"], "picture": ["picture"]}.items():
        blind = ablate.blind(market, what)
        other = copy.copy(blind)
        object.__setattr__(other, "tensors", blind.tensors | {f: blind.tensors[f] * 0 + 7 for f in fields})
        for ways in (dict(), dict(cold=True)):
            np.testing.assert_array_equal(predict(model, other, **ways)[0], predict(model, blind, **ways)[0])
            assert not np.allclose(predict(model, blind, **ways)[0], predict(model, market, **ways)[0], rtol=1e-4), what


@pytest.mark.parametrize("what, column", [("behavior", "buyers"), ("plan", "mean_promoted")])
def test_noise_of_the_level_is_not_told_by_what_is_taken_away(market, what, column):
    i, noise = market.names["weeks"].index(column), torch.full_like(market.tensors["level"], 1.5)
    for told, some in ((market, True), (ablate.blind(market, what), False)):
        moved = told.with_levels(told.tensors, noise)["weeks"] - told.tensors["weeks"]
        assert bool(moved[..., i].any()) == some and moved[..., market.names["weeks"].index("lag_0")].all()


def test_shuffling_keeps_what_there_is_and_breaks_whose_it_is(market):
    other = ablate.shuffle(market, "text", seed=1)
    rows = [sorted(map(tuple, m.tensors["input_ids"].tolist())) for m in (market, other)]
    assert rows[0] == rows[1] and set(changed(market, other)) <= {"input_ids", "text_mask", "has_text"}
    assert changed(market, other)
    assert set(changed(market, ablate.shuffle(market, "picture", seed=1))) == {"picture"}
    assert changed(market, ablate.shuffle(market, "picture", 1)) == changed(
        market, ablate.shuffle(market, "picture", 1)
    )
    graph = market.tensors["graph"].clone()
    graph[:, 1, 2] = graph[:, 2, 1] = 0.3
    graph[:, 0] = torch.tensor([1.0, 0.5, 0.25])
    market = dataclasses.replace(market, tensors=market.tensors | {"graph": graph})
    moved = next(
        m for m in (ablate.shuffle(market, "space", s).tensors["graph"] for s in range(20)) if not torch.equal(m, graph)
    )
    torch.testing.assert_close(moved[:, 0], torch.tensor([1.0, 0.25, 0.5]).expand(6, 3))  # the chain stays where it is


@pytest.mark.parametrize("f, name", [(ablate.blind, "prices"), (lambda m, w: ablate.shuffle(m, w, 0), "behavior")])
def test_an_unknown_modality_is_named(market, f, name):
    with pytest.raises(ValueError, match=f"{name}.*choose one of text, picture"):
        f(market, name)


def test_worth_is_paired_by_seed():
    wql = {"whole": (0.50, 0.40), "no_text": (0.55, 0.44), "noise_pictures": (0.51, 0.39)}
    rows = [(variant, seed, x) for variant, both in wql.items() for seed, x in enumerate(both)]
    scores = pd.DataFrame(rows, columns=["variant", "seed", "wql"]).assign(level="product")
    found = ablate.worth(scores, "whole").loc["product"]
    assert found.loc["no_text", ["estimate", "low", "high"]].to_numpy(float) == pytest.approx([0.1, 0.1, 0.1])
    assert found.loc["no_text", "wql"] == pytest.approx(0.045)
    assert found.loc["noise_pictures", "low"] < 0 < found.loc["noise_pictures", "high"] and (found["seeds"] == 2).all()


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """build/ with a market of known truth and what `make ablate` would have left of it."""
    build = tmp_path_factory.mktemp("known")
    folder = build / "shop"
    simulate.write(folder, simulate.Settings(n_products=24, n_new=4, n_stores=6, n_weeks=60))
    panel.build(tables.load("simulated", folder / "tables", None), n_products=20, n_regions=2).save(folder / "panel")
    wql = {"whole": 0.5, "no_plan": 0.6, "new": 0.8, "new_no_text": 0.9}
    (folder / "ablation").mkdir()
    for variant, x in wql.items():
        rows = [("shelfcast", seed, x) for seed in (0, 1, ablate.AVERAGED)]
        rows += [("category_mean", ablate.AVERAGED, 1.0)] * variant.startswith("new")
        frame = pd.DataFrame(rows, columns=["method", "seed", "wql"])
        frame = frame.assign(variant=variant, level="product", wape=frame["wql"], bias=0.0)
        frame.to_csv(folder / f"ablation/{variant}.csv", index=False)
    return build


def test_scores_become_one_small_file(known, tmp_path):
    with pytest.raises(ValueError, match="Run `make ablate` first"):
        ablate.collect("nowhere", known, tmp_path)
    facts = json.loads(ablate.collect("shop", known, tmp_path).read_text())
    for made in facts["made"]["whole"], facts["made"]["new"]:
        assert made["seeds"] == [0, 1] and made["panel_md5"] == tables.folder_md5(known / "shop/panel")
    worth = facts["worth"]["product"]
    assert set(worth) == {"no_plan", "new_no_text"}
    assert worth["no_plan"]["estimate"] == pytest.approx(0.2) and worth["no_plan"]["wql"] == pytest.approx(0.1)
    assert worth["new_no_text"]["estimate"] == pytest.approx(0.125)  # against `new`, not against `whole`
    assert facts["new"]["product"] == {
        name: {"wql": x, "wape": x, "bias": 0.0}
        for name, x in {"category_mean": 1.0, "new": 0.8, "new_no_text": 0.9}.items()
    }
    for row in worth.values():
        assert row["recovered"] == pytest.approx(row["wql"] / row["oracle_wql"], rel=1e-3)
    assert worth["no_plan"]["oracle_wql"] > 0 and worth["new_no_text"]["oracle_told"] > worth["no_plan"]["oracle_told"]


def test_what_was_not_measured_anew_stays(known, tmp_path):
    before = json.loads(ablate.collect("shop", known, tmp_path).read_text())
    again = tmp_path / "again/shop"
    shutil.copytree(known / "shop", again)
    for path in again.glob("ablation/[!n]*.csv"):  # whole
        path.unlink()
    (again / "ablation/no_plan.csv").unlink()
    table = pd.read_csv(again / "ablation/new_no_text.csv")
    table.assign(wql=1.2 * table["wql"], seed=table["seed"].replace(1, 5)).to_csv(
        again / "ablation/new_no_text.csv", index=False
    )
    table = pd.read_csv(again / "ablation/new.csv")
    table.assign(seed=table["seed"].replace(1, 5)).to_csv(again / "ablation/new.csv", index=False)
    after = json.loads(ablate.collect("shop", again.parent, tmp_path).read_text())
    assert after["worth"]["product"]["no_plan"] == before["worth"]["product"]["no_plan"]
    assert after["made"]["whole"] == before["made"]["whole"] and after["made"]["new"]["seeds"] == [0, 5]
    assert after["worth"]["product"]["new_no_text"]["estimate"] == pytest.approx(0.35)
    assert after["new"]["product"]["new_no_text"]["wql"] == pytest.approx(1.08)


# ---------------------------------------------------------------- products without a history


def test_hidden_products_leave_no_trace(market, small_panel):
    names = market.products[:2]
    rest, hidden = cold.hold_out(market, names)
    assert hidden.products == names and rest.products == market.products[2:]
    level = market.tensors["level"].clone()
    level[:2] *= 50
    other = dataclasses.replace(market, tensors=market.tensors | {"level": level})
    for part, again in zip((rest, hidden), cold.hold_out(other, names), strict=True):
        torch.testing.assert_close(part.tensors["usual"], again.tensors["usual"])
    attributes = small_panel.products
    spoilt = attributes.assign(units=np.where(attributes.index.isin(names), 1e6, attributes["units"]))
    for method in cold.BASELINES.values():
        torch.testing.assert_close(method(rest, hidden, attributes), method(rest, hidden, spoilt))
    assert hidden.tensors["cold"].all() and rest.tensors["cold"].all()
    named = market.names | {"plan": ["year_ago", "year_ago_category", *market.names["plan"][2:]]}
    for part in cold.hold_out(dataclasses.replace(market, names=named), names):  # made of sales, so not told
        assert not part.tensors["plan"][..., :2].any() and part.tensors["plan"].any()


def test_a_new_product_has_its_category_s_season(market):
    named = market.names | {"plan": ["year_ago", "year_ago_category", *market.names["plan"][2:]]}
    scale = {"year_ago": [0.5, 2.0], "year_ago_category": [1.0, 4.0]}
    new = dataclasses.replace(market, names=named, scale=scale).as_new().tensors["plan"]
    own, kin = (new[..., k] * scale[name][1] + scale[name][0] for k, name in enumerate(scale))
    torch.testing.assert_close(own, kin)
    assert torch.equal(new[..., 1:], market.tensors["plan"][..., 1:])


def test_nearest_has_the_same_attributes(market):
    rest, hidden = cold.hold_out(market, market.products[:1])
    attributes = pd.DataFrame({"kind": ["a", "b", "b", "a", "b", "b"]}, market.products)
    static = market.tensors["static"] * 0
    rest, hidden = (dataclasses.replace(m, tensors=m.tensors | {"static": static[: len(m)]}) for m in (rest, hidden))
    cold_neighbours, cold.NEIGHBOURS = cold.NEIGHBOURS, 1
    try:
        found = cold.nearest_by_attributes(rest, hidden, attributes)
    finally:
        cold.NEIGHBOURS = cold_neighbours
    torch.testing.assert_close(found[0], market.tensors["level"][3])


@pytest.mark.parametrize("name", list(cold.BASELINES))
def test_baselines_give_a_forecast_frame(market, small_panel, name):
    rest, hidden = cold.hold_out(market, market.products[:2])
    cutoffs = small_panel.cutoffs
    frame = cold.baseline(name, rest, hidden, small_panel.products, cutoffs["validation"], cutoffs["test"])
    assert len(frame) == 2 * len(market.locations) * len(cutoffs["test"]) * 4
    assert (frame["mean"] > 0).all() and (frame["q100"] <= frame["q900"]).all()
    truth = small_panel.frame.set_index(["unique_id", "ds"])["y"]
    np.testing.assert_array_equal(frame["y"], truth.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])))
    assert frame["unique_id"].str.endswith(CHAIN).any()


def test_bad_products_to_hide(market):
    with pytest.raises(ValueError, match="nobody: no products of the market"):
        cold.hold_out(market, ["nobody"])
    with pytest.raises(ValueError, match="at least one must be left"):
        cold.hold_out(market, market.products)
