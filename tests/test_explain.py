"""Explanations: what moved a forecast adds up, is fair, reads nothing after the cutoff, and is told in a checked frame."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from small_retailer import add_optional_tables, changed_after, load_retailer, make_retailer

from shelfcast.model.columns import OUTLOOK
from shelfcast.model.forecast import forecast
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.report.reasons import pictures
from shelfcast.why.explain import frames
from shelfcast.why.explain.attention import attention
from shelfcast.why.explain.frames import SCHEMA, Variant, by_word, explain
from shelfcast.why.explain.gradients import attributions
from shelfcast.why.explain.groups import CONTEXT, NAMES, groups_of
from shelfcast.why.explain.shapley import completeness_error, shapley
from shelfcast.why.explain.usual import read_inputs
from shelfcast.why.explain.value import coalition_units, coalitions
from studies.explanations.measure import attention_by_group

BODIES = [dict(body="backbone"), dict(body="compact")]
ROWS = [0, 2, 5]
ROUNDING = 1e-6  # units: sums of float32 differ from one kind of processor to another


@pytest.fixture(scope="module")
def rich_panel(tmp_path_factory):
    """With planned prices, events, and pictures of half of the products."""
    raw = add_optional_tables(make_retailer())
    panel = load_retailer(raw, tmp_path_factory.mktemp("rich"))
    draw = np.random.default_rng(0).normal(size=(len(panel.products), 3))
    draw[1::2] = np.nan
    return dataclasses.replace(panel, pictures=pd.DataFrame(draw, panel.products.index, ["p0", "p1", "p2"]))


def make(panel, backbone, seed=0, **config) -> SalesBert:
    """A model whose every part matters: what starts at zero gets random weights."""
    market = market_tensors(panel, load_tokenizer(backbone))
    torch.manual_seed(seed)
    model = SalesBert.from_backbone(backbone, layers=2, width=32, **config, **market.sizes())
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("gate") or name.startswith(("head.1", "spillover")):
                p.copy_(0.3 * torch.randn_like(p))
    return model.eval()


@pytest.fixture(scope="module", params=BODIES, ids=lambda c: c["body"])
def variant(request, rich_panel, tiny_bert) -> Variant:
    tokenizer = load_tokenizer(tiny_bert)
    models = [make(rich_panel, tiny_bert, seed, **request.param) for seed in (0, 1)]
    return Variant(rich_panel, market_tensors(rich_panel, tokenizer), models, tokenizer)


def cutoff_of(panel) -> pd.Timestamp:
    return panel.cutoffs["test"][0]


def game(variant, models=None):
    """Inputs, groups and the units of all sets at a test cutoff."""
    inputs, groups = read_inputs(variant.market, ROWS, cutoff_of(variant.panel)), groups_of(variant.market)
    return inputs, groups, coalition_units(models or variant.models, inputs, groups)


# ---------------------------------------------------------------- Shapley values


def test_shapley_values_by_hand():
    units = np.array([10.0, 14.0, 13.0, 20.0])  # of nothing, the first group, the second, both
    np.testing.assert_allclose(shapley(units), [(4 + 7) / 2, (3 + 6) / 2])


def test_groups_that_add_get_what_they_add():
    weights = np.array([3.0, -1.0, 0.0, 2.5])
    units = 5 + coalitions(4) @ weights
    np.testing.assert_allclose(shapley(units), weights, atol=1e-12)


def test_groups_that_do_the_same_get_the_same():
    sets = coalitions(3)
    units = np.exp(sets[:, 0] + sets[:, 1] * 1.0) + 4 * sets[:, 2] * (sets[:, 0] & sets[:, 1])
    first, second, third = shapley(units)
    assert first == pytest.approx(second) and third == pytest.approx(4 / 3)


def test_a_game_that_is_not_whole_is_refused():
    with pytest.raises(ValueError, match="3 sets are not all sets"):
        shapley(np.zeros(3))


# ---------------------------------------------------------------- the forecast as a function of groups


def test_with_all_groups_the_forecast_is_the_models(variant):
    _, _, units = game(variant)
    frame = forecast(variant.models, variant.market, [cutoff_of(variant.panel)])
    wanted = frame["mean"].to_numpy().reshape(len(variant.market), len(variant.market.locations), -1)
    np.testing.assert_allclose(units[-1], wanted[ROWS], rtol=1e-5)


def test_contributions_add_up(variant):
    _, _, units = game(variant)
    contributions = shapley(units)
    assert np.abs(contributions).max() > 0.01
    np.testing.assert_allclose(contributions.sum(0), units[-1] - units[0], rtol=1e-4, atol=1e-4)
    assert completeness_error(contributions, units[0], units[-1]).max() < 1e-4


@pytest.mark.parametrize("silent", ["text", "regions", "promotion", "picture"])
def test_what_a_model_cannot_see_moves_nothing(variant, rich_panel, tiny_bert, silent):
    market, config = variant.market, {"use_text": silent != "text", "use_space": silent != "regions"}
    model = make(rich_panel, tiny_bert, body="compact", **config)
    groups = groups_of(market)
    if silent == "promotion":
        own = [market.names["plan"].index(c) for g in groups if g.name == silent for c in g.columns["plan"]]
        model.head_plan.weight.data[:, own] = 0
    if silent == "picture":
        model.from_picture.weight.data.zero_()
    _, _, units = game(variant, [model])
    moved = dict(zip([g.name for g in groups], np.abs(shapley(units)).max((1, 2, 3)), strict=True))
    assert moved[silent] < 1e-6 and moved["own"] > 1e-3


def test_a_product_without_a_picture_is_not_moved_by_it(variant):
    _, groups, units = game(variant)
    picture = shapley(units)[[g.name for g in groups].index("picture")]
    assert np.abs(picture[2]).max() < ROUNDING < 1e-4 < np.abs(picture[0]).max()  # rows 5 and 0


def test_a_model_of_spillover_alone_by_hand(variant, rich_panel, tiny_bert):
    """units = level * exp(W shock): only the regions move it, by level * (exp(W shock) - 1)."""
    model = make(rich_panel, tiny_bert, body="compact")
    for part in (*model.head[-1].parameters(), model.outlook_weight):
        part.data.zero_()
    inputs, groups, units = game(variant, [model])
    level, shock = inputs.context["level"], inputs.actual["shock"]
    log = torch.einsum("hlk,bk->blh", model.spillover.weight, shock).detach()
    raw = (level[..., None] * log.exp())[:, 0].numpy()  # of the chain
    contributions = dict(zip([g.name for g in groups], shapley(units)[:, :, 0], strict=True))
    np.testing.assert_allclose(contributions.pop("regions"), raw - level[:, :1].numpy(), rtol=1e-4)
    assert max(np.abs(x).max() for x in contributions.values()) < 1e-4


# ---------------------------------------------------------------- groups, and what is usual


def test_every_column_is_in_one_group_or_the_context(variant):
    groups, market = groups_of(variant.market), variant.market
    assert [g.name for g in groups] == [name for name in NAMES]
    for field in ("weeks", "plan"):
        columns = [c for g in groups for c in g.columns.get(field) or []]
        assert len(columns) == len(set(columns))
        assert set(market.names[field]) - set(columns) == CONTEXT & set(market.names[field])


def test_without_planned_prices_the_last_ones_stand_for_them(small_panel, tiny_bert):
    groups = {g.name: g.columns for g in groups_of(market_tensors(small_panel, load_tokenizer(tiny_bert)))}
    assert groups["price"] == {"weeks": ["price_ratio", "discount"]}
    assert "picture" not in groups


def test_usual_by_hand(variant):
    market, cutoff = variant.market, cutoff_of(variant.panel)
    inputs = read_inputs(market, ROWS, cutoff)
    n = market.weeks_index.get_loc(cutoff) + 1

    def usual(name):  # in the columns' own measure
        mean, deviation = market.scale[name]
        return inputs.usual["plan"][..., market.names["plan"].index(name)].numpy() * deviation + mean

    frame = variant.panel.frame.set_index(["product_id", "location", "ds"])
    product, location = market.products[ROWS[0]], market.locations[1]
    past = frame.loc[(product, location)].loc[:cutoff]
    np.testing.assert_allclose(usual("promotion")[0, 1], 0, atol=1e-6)
    np.testing.assert_allclose(usual("price")[0, 1], np.median(past["price"].iloc[-26:]), atol=0.02)
    season = 0.5 * past["month_start"].iloc[-13:].mean() + 0.5 * past["month_start"].mean()
    np.testing.assert_allclose(usual("month_start")[0, 1], season, atol=1e-5)
    lag = market.names["weeks"].index("lag_0")
    history = market.tensors["weeks"][ROWS[0], 1, :n, lag]
    mean = 0.5 * history[-13:].mean() + 0.5 * history.mean()
    np.testing.assert_allclose(inputs.usual["weeks"][0, 1, :, lag], mean, rtol=1e-4, atol=1e-5)
    outlook = market.names["plan"].index(OUTLOOK)
    ahead = market.tensors["plan"][ROWS[0], 1, :n, :, outlook]
    np.testing.assert_allclose(inputs.usual["plan"][0, 1, :, outlook], 0.5 * ahead[-13:].mean(0) + 0.5 * ahead.mean(0))


def test_a_plan_that_is_not_known_moves_nothing(variant):
    hidden = dataclasses.replace(variant, market=variant.market.without_plan())
    _, groups, units = game(hidden)
    moved = dict(zip([g.name for g in groups], np.abs(shapley(units)).max((1, 2, 3)), strict=True))
    assert max(moved[name] for name in ("promotion", "price", "category")) < ROUNDING < 1e-4 < moved["season"]


def test_the_context_is_never_changed(variant):
    inputs, groups = read_inputs(variant.market, ROWS, cutoff_of(variant.panel)), groups_of(variant.market)
    usual = inputs.mixed(dict.fromkeys([g.name for g in groups], False), groups)
    for field in ("weeks", "plan"):
        kept = [i for i, name in enumerate(inputs.names[field]) if name in CONTEXT]
        assert kept and torch.equal(usual[field][..., kept], inputs.actual[field][..., kept])
        assert not torch.equal(usual[field], inputs.actual[field])
    whole = inputs.mixed(dict.fromkeys([g.name for g in groups], True), groups)
    assert all(torch.equal(whole[name], x) for name, x in inputs.actual.items())


def test_nothing_after_the_cutoff_is_read(variant, tiny_bert):
    cutoff = cutoff_of(variant.panel)
    later = market_tensors(changed_after(variant.panel, cutoff), variant.tokenizer, scale=variant.market.scale)
    before, after = (read_inputs(market, ROWS, cutoff) for market in (variant.market, later))
    for part in ("actual", "usual", "context"):
        for name, x in getattr(before, part).items():
            assert torch.equal(x, getattr(after, part)[name]), (part, name)


# ---------------------------------------------------------------- gradients


def test_gradients_are_complete_and_nest(variant):
    inputs, groups, units = game(variant)
    parts = attributions(variant.models, inputs, groups)
    np.testing.assert_allclose(parts.forecast, units[-1, :, 0].sum(-1), rtol=1e-5)
    np.testing.assert_allclose(parts.usual, units[0, :, 0].sum(-1), rtol=1e-5)
    assert parts.error.max() <= 0.01
    names = [g.name for g in groups]
    np.testing.assert_allclose(parts.groups[names.index("text")], parts.words.sum(1), atol=1e-5)
    np.testing.assert_allclose(parts.groups[names.index("regions")], parts.locations[names.index("regions")].sum(1))
    own = names.index("own")
    inside = parts.weeks[own].sum(1) + parts.ahead[own].sum(1)
    np.testing.assert_allclose(parts.groups[own], inside, atol=1e-5)
    assert np.abs(parts.groups[names.index("promotion")]).max() > 1e-4


def test_gradients_of_a_linear_way_are_exact(variant, rich_panel, tiny_bert):
    """Where one group alone moves the forecast, it gets all of it, in the regions whose shocks moved it."""
    model = make(rich_panel, tiny_bert, body="compact")
    for part in (*model.head[-1].parameters(), model.outlook_weight):
        part.data.zero_()
    model.spillover.weight.data.zero_()
    model.spillover.weight.data[:, 0, 2] = 0.4  # the chain follows the second region
    inputs, groups, units = game(variant, [model])
    parts = attributions([model], inputs, groups, horizon=1)
    regions = [g.name for g in groups].index("regions")
    np.testing.assert_allclose(parts.groups[regions], units[-1, :, 0, 0] - units[0, :, 0, 0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(parts.locations[regions][:, 2], parts.groups[regions], rtol=1e-5)


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize("rollout", [False, True])
def test_attention_is_shared_out_whole(variant, rollout):
    inputs, groups, _ = game(variant)
    attended = attention(variant.models, inputs, 1, rollout)
    total = attended.weeks.sum((1, 2)) + attended.product + attended.words.sum(1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert (attended.weeks >= 0).all() and attended.weeks.shape[2] == inputs.actual["weeks"].shape[2]
    assert attention_by_group(attended, variant.market, groups, 1).shape == (len(groups), len(ROWS))
    assert (attended.words.sum() > 0) == (variant.models[0].body is None)


def test_attention_without_preferences_is_even(variant):
    """Queries of zero attend to all tokens alike: 1 / N of the product and each week, and of each word in the backbone."""
    model = variant.models[0]
    state = {name: x.clone() for name, x in model.state_dict().items()}
    try:
        with torch.no_grad():
            for name, p in model.named_parameters():
                if ".query." in name:
                    p.zero_()
                if "in_proj" in name:
                    p[: len(p) // 3] = 0
                if name.endswith("gate"):
                    p.zero_()
        inputs, _, _ = game(variant, [model])
        attended = attention([model], inputs, rollout=False)
    finally:
        model.load_state_dict(state)
    n_words = inputs.context["text_mask"].sum(1).numpy() if model.body is None else np.zeros(len(ROWS))
    even = 1 / (n_words + 1 + inputs.actual["weeks"].shape[2])
    np.testing.assert_allclose(attended.weeks.sum(1), np.repeat(even[:, None], attended.weeks.shape[2], 1), rtol=1e-4)
    np.testing.assert_allclose(attended.words.sum(1), n_words * even, rtol=1e-4)


# ---------------------------------------------------------------- the frame


def test_the_frame_holds_what_a_page_needs(variant):
    products = variant.market.products[:2]
    frame = explain(variant, products, variant.market.locations[1], cutoff_of(variant.panel), 2)
    assert list(frame.columns) == list(SCHEMA.columns) and len(frame) == 2 * len(groups_of(variant.market))
    assert (frame["horizon"] == 2).all() and (frame["location"] == "region_1").all()
    rows = frame[frame["product_id"] == products[0]].set_index("group")
    assert rows["units"].sum() == pytest.approx((rows["forecast"] - rows["usual"]).iloc[0], abs=1e-4)
    words = json.loads(rows.loc["text", "words"])
    text = variant.panel.products["text"][products[0]]
    assert [word for word, _ in words if word] == text.split()
    assert sum(units for _, units in words) == pytest.approx(rows.loc["text", "gradients"], rel=0.02, abs=1e-3)
    weeks = json.loads(rows.loc["promotion", "weeks"])
    assert [week for week, _ in weeks] == [
        f"{cutoff_of(variant.panel) + pd.Timedelta(weeks=h):%Y-%m-%d}" for h in (1, 2, 3, 4)
    ]
    assert all(units == 0 for _, units in weeks[2:])  # the second week is explained
    assert {name for name, _ in json.loads(rows.loc["regions", "regions"])} == set(variant.market.locations)


def test_the_latest_sum_is_that_of_its_weeks_and_repeats(variant):
    product = variant.market.products[:1]
    whole = explain(variant, product)
    pd.testing.assert_frame_equal(whole, explain(variant, product * 2))
    assert (whole["cutoff"] == variant.panel.cutoffs["latest"][-1]).all()
    weeks = [explain(variant, product, horizon=h) for h in (1, 2, 3, 4)]
    np.testing.assert_allclose(whole["units"], sum(frame["units"] for frame in weeks), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(products=["p0x"]), "no product 'p0x'.*'p0"),
        (dict(location="region_9"), "no location 'region_9'"),
        (dict(cutoff="2031-01-06"), "cutoff 2031-01-06 is no observed week. Choose a Monday from 2022-01-03 to"),
        (dict(cutoff="soon"), "cutoff 'soon' is no day"),
        (dict(horizon=9), "horizon is 9, and forecasts reach 4 weeks"),
        (dict(horizon=0), "horizon is 0"),
    ],
)
def test_wrong_questions_get_a_sentence(variant, wrong, message):
    with pytest.raises(ValueError, match=message):
        explain(variant, **({"products": variant.market.products[:1]} | wrong))


def test_many_products_are_explained_in_parts(variant, monkeypatch):
    products = variant.market.products[:3]
    whole = explain(variant, products, horizon=1)
    monkeypatch.setattr(frames, "AT_A_TIME", 2)
    parts = explain(variant, products, horizon=1)
    np.testing.assert_allclose(parts["units"], whole["units"], rtol=1e-4, atol=1e-5)
    assert parts["product_id"].tolist() == whole["product_id"].tolist()


def test_words_end_at_spaces(tiny_bert):
    tokenizer, text = load_tokenizer(tiny_bert), "blend: green tea"
    n = len(tokenizer(text)["input_ids"])
    assert by_word(tokenizer, text, np.ones(n)) == [("blend:", 2.0), ("green", 1.0), ("tea", 1.0), ("", 2.0)]


# ---------------------------------------------------------------- figures


@pytest.fixture()
def rows() -> pd.DataFrame:
    frame = pd.DataFrame({"label": ["Promotion", "Price", "Season and calendar"], "units": [2.0, -15.0, 0.0]})
    return frame.assign(usual=40.0, forecast=27.0)


def test_bars_lead_from_usual_to_the_forecast(rows):
    figure = pictures.contributions(rows, pictures.headline(rows, "Tea"))
    ax = figure.axes[0]
    bars = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert bars == [(40, -15), (25, 2), (27, 0)]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "as usual",
        "Price",
        "Promotion",
        "Season and calendar",
        "forecast",
    ]
    assert figure.get_suptitle() == "Tea: 27 units, 13 fewer than usual: price −15, promotion +2.0"


def test_words_are_shaded_and_safe():
    text = pictures.shaded_words(json.dumps([["<b>", 2.0], ["tea", -1.0], ["", 9.0]]))
    assert "&lt;b&gt;" in text and text.count("<span") == 2 and "45%" in text and pictures.ORANGE in text


def test_strips_and_maps_show_every_value(rich_panel):
    strip = pictures.strip(json.dumps([["2022-01-03", 1.0], ["2022-01-10", -2.0]]), "weeks")
    assert [bar.get_height() for bar in strip.axes[0].patches] == [1, -2]
    pairs = json.dumps([["chain", 5.0], ["region_1", 1.0], ["region_2", -2.0]])
    texts = [t.get_text() for t in pictures.region_map(pairs, rich_panel.graph, "map").axes[0].texts]
    assert texts == ["region 1\n+1.0", "region 2\n−2.0"]
