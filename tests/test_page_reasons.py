"""What moved the forecast beside the what-if page's fan: exact, of the plan that was asked, and never in its way."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from small_models import make_models
from small_retailer import add_optional_tables, load_retailer, make_retailer

from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.why.explain.frames import Variant, different, explain
from shelfcast.why.page import anchoring
from shelfcast.why.page.answer import Form
from shelfcast.why.page.background import Background
from shelfcast.why.page.page import Page
from shelfcast.why.page.reasons import Reasons
from shelfcast.why.whatif.forecast import Ready


@pytest.fixture(scope="module")
def asked(tmp_path_factory, tiny_bert):
    """A market whose prices and promotions are planned: ready, and its trained variant."""
    raw = add_optional_tables(make_retailer())
    coming = pd.date_range("2022-10-10", periods=4, freq="7D")
    more = pd.DataFrame({"product_id": "p00", "store_id": "s0", "week": coming, "mailer": 1.0, "display": 0.0})
    raw["promotions"] = pd.concat([raw["promotions"], more])
    panel = load_retailer(raw, tmp_path_factory.mktemp("market"))
    models, facts = make_models(panel, tiny_bert)
    tokenizer = load_tokenizer(tiny_bert)
    market = market_tensors(panel, tokenizer, facts["price_plan"], facts["scale"])
    return Ready.of(panel, models, facts), Variant(panel, market, models, tokenizer)


def form(ready, **values) -> Form:
    return Form(ready.panel.products.index[0], "chain", tuple(ready.plan.weeks), **values)


def test_contributions_of_the_present_plan_are_those_of_the_report(asked):
    ready, variant = asked
    rows = Reasons(ready, lambda: variant).rows(form(ready))
    expected = explain(variant, [ready.panel.products.index[0]])
    np.testing.assert_allclose(rows["units"], expected["units"], atol=1e-4)
    np.testing.assert_allclose(rows["forecast"], expected["forecast"], rtol=1e-5)


def test_another_plan_has_contributions_of_its_own_which_add_up(asked):
    ready, variant = asked
    reasons = Reasons(ready, lambda: variant)
    before, after = (reasons.rows(form(ready, price=price)) for price in ("", "1.20"))
    for rows in (before, after):
        assert rows["units"].sum() == pytest.approx(rows["forecast"][0] - rows["usual"][0], abs=1e-4)
    assert after["usual"][0] == pytest.approx(before["usual"][0]), "the usual plan is the same"
    assert after["forecast"][0] != pytest.approx(before["forecast"][0])
    price = before["label"] == "Price"
    assert abs(after.loc[price, "units"] - before.loc[price, "units"]).iloc[0] > 1e-6


def test_the_past_of_a_product_is_read_once(asked):
    ready, variant = asked
    reasons = Reasons(ready, lambda: variant)
    reasons.rows(form(ready))
    kept = reasons._past(form(ready).product)
    reasons.rows(form(ready, price="1.20"))
    assert reasons._past(form(ready).product) is kept


def test_copies_of_a_model_are_explained_once(asked):
    models = asked[1].models
    assert different([models[0], models[0]]) == [models[0]]
    assert different([models[0], models[0], models[1]]) == [models[0], models[0], models[1]], "the mean is that of all"


def test_the_fan_does_not_wait(asked):
    begun, goes_on = threading.Event(), threading.Event()

    def slow(form, said):
        begun.set()
        assert goes_on.wait(60)
        return f"{form.price} explained"

    page = Page(asked[0], explain=slow)
    assert begun.wait(60)
    started, before = time.monotonic(), page.picture.value
    page.fields["price"].value = "1.50"
    assert page.picture.value != before and page.beside.value == "" and time.monotonic() - started < 30
    goes_on.set()
    page.background.wait()
    assert page.beside.value == "1.50 explained", "what was asked last, not what was asked first"


def test_only_the_newest_question_is_shown_and_a_refusal_is_a_sentence():
    shown, worked = [], []

    def work(question):
        worked.append(question)
        if question == "bad":
            raise ValueError("a sentence")
        return question

    background = Background(work, shown.append, pause=0.2)
    for question in ("first", "second", "last"):
        background.ask(question)
    background.wait()
    assert shown == ["last"] and worked == ["last"]
    background.ask("bad")
    background.wait()
    assert shown == ["last", "a sentence"]


def effects(**rows) -> pd.DataFrame:
    """Treatment -> estimate, of all products, with a standard error of .1."""
    kind = {"kind": "effect", "group": "all", "se": 0.1}
    return pd.DataFrame([kind | {"treatment": name, "estimate": value} for name, value in rows.items()])


def test_a_response_is_read_from_the_effects():
    response = anchoring.response_of(effects(log_price=-2.0, promotion=0.5))
    assert response.elasticity == -2.0 and response.elasticity_se == 0.1 and response.lift == {"promotion": 0.5}
    both = effects(log_price=-2.0, promotion=0.5, **{"promotion: mailer": 0.3})
    assert anchoring.response_of(both).lift == {"promotion: mailer": 0.3}, "else it would count twice"
    assert anchoring.response_of(effects(log_price=-2.0).assign(kind="naive")) is None
    assert anchoring.response_of(effects(log_price=-2.0).assign(group="brand=A")) is None
    assert anchoring.response_of(pd.DataFrame()) is None


def test_the_page_leans_on_effects_only_where_that_was_measured_better():
    row = {"market": "tea", "level": "product", "plan": "all"}
    scores = pd.DataFrame([row | {"method": "model", "response": 0.2}, row | {"method": "anchored", "response": 0.1}])
    assert anchoring.measured_better(scores, "tea") and not anchoring.measured_better(scores, "coffee")
    assert not anchoring.measured_better(scores.assign(response=[0.1, 0.2]), "tea")
    assert not anchoring.measured_better(anchoring.load_scores("no such file"), "tea")


def test_the_switch_moves_the_answer(asked, tmp_path):
    ready = asked[0]
    path = tmp_path / "effects.parquet"
    effects(log_price=-3.0).to_parquet(path)
    anchor = anchoring.anchor_of(ready, path)
    assert anchor is not None and anchoring.anchor_of(ready, tmp_path / "none.parquet") is None
    page = Page(ready, anchor)
    page.fields["price"].value = "1.20"
    own = page.sentence.value
    page.switch.value = True
    assert page.sentence.value != own
    page.switch.value = False
    assert page.sentence.value == own
