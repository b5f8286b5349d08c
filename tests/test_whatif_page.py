"""The what-if page: what its fields mean, and the page itself in a real browser."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from projects import ENV, ROOT, call, message
from small_models import make_models, save_models
from small_retailer import add_optional_tables, load_retailer, make_retailer

from shelfcast.why.page.answer import Form, answer, changes_of, number, present_plan, week_names
from shelfcast.why.page.page import Page
from shelfcast.why.whatif.forecast import Ready, load

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 240  # seconds for the page to load on a busy machine


@pytest.fixture(scope="module")
def market(tmp_path_factory, tiny_bert):
    """A project that holds one small market with models, as the pipeline leaves it."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks/whatif.ipynb", root / "notebooks")
    lines = {"markets": {"tiny": {"source": "tables", "tables": "tables"}}, "variants": {"shelfcast": {}}}
    (root / "params.yaml").write_text(yaml.safe_dump(lines))
    raw = add_optional_tables(make_retailer())
    coming = pd.date_range("2022-10-10", periods=4, freq="7D")
    more = pd.DataFrame({"product_id": "p00", "store_id": "s0", "week": coming, "mailer": 1.0, "display": 0.0})
    raw["promotions"] = pd.concat([raw["promotions"], more])
    panel = load_retailer(raw, root / "tables")
    panel.save(root / "build/tiny/panel")
    models, facts = make_models(panel, tiny_bert)
    save_models(root / "build/tiny", models, facts)
    effect = {"kind": "effect", "group": "all", "treatment": "log_price", "estimate": -3.0, "se": 0.1}
    pd.DataFrame([effect]).to_parquet(root / "build/tiny/effects.parquet")
    return root


@pytest.fixture(scope="module")
def ready(market) -> Ready:
    return load(market / "build/tiny")


def form(ready, **values) -> Form:
    return Form(ready.panel.products.index[0], "chain", tuple(ready.plan.weeks), **values)


# ---------------------------------------------------------------- what the fields mean


def test_numbers_as_people_write_them():
    assert [number("", text) for text in ("1.99", " 1,99 ", "80 %", "")] == [1.99, 1.99, 80, None]
    with pytest.raises(ValueError, match="the price is 'cheap', which is no number"):
        number("the price", "cheap")


def test_empty_fields_keep_the_plan(ready):
    assert changes_of(form(ready)) == []
    said = answer(ready, form(ready))
    assert said.frame["difference"].eq(0).all() and said.sentence.startswith("Planned now: price ")


def test_a_form_states_a_change(ready):
    (change,) = changes_of(form(ready, price="1,80", channel="promotion: display", share="50"))
    assert change.price == 1.8 and change.shares == {"promotion: display": 0.5}
    said = answer(ready, form(ready, price="1,80"))
    own = said.frame[said.frame["location"] == "chain"]
    total = own["difference"].sum()
    assert ("−" if total < 0 else "+") in said.sentence.split("units")[0]
    assert said.picture != answer(ready, form(ready)).picture


def test_the_present_plan_in_words(ready):
    text = present_plan(ready, form(ready, price="1"))
    assert text.startswith("Planned now: price ") and "promoted in " in text
    names = list(week_names(ready))
    assert names[0] == "All 4 weeks" and names[1] == "Week of 10 October 2022"


def test_the_page_moves_and_refuses(ready):
    page = Page(ready, explain=lambda form, said: f"{form.product}: {len(said.frame)} rows")
    before = page.picture.value
    page.fields["price"].value = "1.50"
    moved = page.picture.value
    page.background.wait()
    assert moved != before and page.alert.value == "" and "rows" in page.beside.value
    for name, value, word in (
        ("price", "0", "A shelf price must be above zero"),
        ("price", "cheap", "which is no number"),
        ("share", "150", "choose between 0 and 1"),
    ):
        page.fields[name].value = value
        assert word in page.alert.value and page.picture.value == moved
        page.fields["share"].value, page.fields["price"].value = "", "1.50"
    assert page.alert.value == ""


def test_a_retailer_without_prices_has_no_field_for_them(small_panel, tiny_bert):
    fields = Page(Ready.of(small_panel, *make_models(small_panel, tiny_bert))).fields
    assert "price" not in fields and "share" in fields


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def served(market):
    """The address of the page, served by Voilà as `make whatif` does."""
    own = market / "build/tiny/notebooks/whatif.ipynb"
    own.parent.mkdir()
    done = call(market, "papermill", "--prepare-only", "notebooks/whatif.ipynb", str(own), "-p", "market", "tiny")
    assert done.returncode == 0, message(done)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (market / "voila.log").open("w")
    command = ["voila", str(own), "--template=offline", "--Voila.ip=127.0.0.1", f"--port={port}", "--no-browser"]
    env = ENV | {"PYTHONPATH": str(ROOT / "src"), "JUPYTER_PATH": str(ROOT / "notebooks")}
    server = subprocess.Popen(command, cwd=market, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(PATIENCE):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (market / "voila.log").read_text()
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(PATIENCE)
        log.close()


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: install Debian's chromium")
def test_the_page_in_a_browser_loads_moves_and_refuses(served):
    from playwright.sync_api import expect, sync_playwright

    patience, errors = 1000 * PATIENCE, []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served, timeout=patience)
        picture, price = page.locator(".whatif-picture img"), page.locator(".whatif-price input")
        picture.wait_for(timeout=patience)
        before = picture.get_attribute("src")
        price.fill("1.50")
        price.press("Enter")
        expect(picture).not_to_have_attribute("src", before, timeout=patience)
        expect(page.locator(".whatif-sentence")).to_contain_text("against the present plan", timeout=patience)
        reasons = page.locator(".whatif-beside img")
        reasons.wait_for(timeout=patience)
        expect(reasons).to_have_attribute("alt", re.compile("than usual"), timeout=patience)
        assert not page.locator(".whatif-switch input").is_checked(), "no study measured it for this market"
        moved = picture.get_attribute("src")
        price.fill("0")
        price.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("A shelf price must be above zero", timeout=patience)
        assert picture.get_attribute("src") == moved
        assert page.locator(".whatif-product select").count() == 1
        browser.close()
    assert not errors
