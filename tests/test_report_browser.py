"""The report's template and script in a real browser, on a page of the report's own pieces."""

import base64
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, chromium, column, faults, opened
from nbconvert import HTMLExporter
from projects import ROOT

from shelfcast.report import page as pieces
from shelfcast.report import plots

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: install Debian's chromium")
NAMES = ["Cola, can", "Green tea & <mint>", "可乐，罐装", "Чай зелёный", "Bottle-non-carbonated-of-one-very-long-word"]
TABLE = ".table:has(input) table"
CSV = base64.b64encode("﻿product,order\nCola,12\n".encode()).decode()


def products(n: int = 40) -> pd.DataFrame:
    """Products as `outlook.by_product` gives them; the last one sold nothing, so its change is missing."""
    mean = np.array([(7 * i) % n + 1.0 for i in range(n)]) * 30
    frame = pd.DataFrame({"label": [NAMES[i % len(NAMES)] for i in range(n)], "mean": mean})
    frame = frame.assign(low=0.5 * mean, high=1.5 * mean, last=100.0, change=mean / 100 - 1)
    frame.loc[n - 1, "change"] = np.nan
    frame.index = [f"{1000 + i}" for i in range(n)]
    return frame


def cells() -> list:
    """What notebook 8 shows, in small: its first screen, pictures, tables, facts, and a download."""
    weeks = pd.date_range("2022-01-03", periods=26, freq="7D")
    coming = pd.date_range(weeks[-1], periods=5, freq="7D")[1:]
    sold, rows = pd.Series(np.arange(26.0) + 20, weeks), products()
    ahead = pd.DataFrame({"ds": coming, "mean": 44.0, "q100": 30.0, "q250": 40.0, "q750": 50.0, "q900": 60.0})
    table = pieces.product_table(
        rows,
        pd.DataFrame(20.0, [f"{name}|chain" for name in rows.index], weeks),
        pd.DataFrame(
            [(name, day, 11.0) for name in rows.index for day in coming], columns=["product_id", "ds", "mean"]
        ),
    )
    regions = pd.Series([3.0, 2.0, 1.0], ["North", "South", "West"])
    graph = pd.DataFrame(1.0, regions.index, regions.index)
    meta = {"category": "COLA", "source": "tables", "data_md5": "12ab" * 8, "first_week": "a", "last_week": "b"}
    shown = [
        pieces.header("Sales forecast", "Cola: 44 units", {f"number {i}": "1,234–5,678" for i in range(5)}),
        pieces.hero({"What will sell": "<p>Colas.</p>"}, plots.show(plots.fan(sold, ahead, "All together", key=False))),
        "## Products\n\nThose that sell most.",
        plots.show(*[plots.fan(sold, ahead, f"Cola {i}", key=False) for i in range(3)], columns=3, caption="Units."),
        "### All products\n\nClick a heading to sort.",
        pieces.table(table, search="Find a product or number", tall=True),
        "## Regions",
        plots.show(plots.region_graph(graph, regions, regions / 10 - 0.2, "North is the largest"), columns=2),
        pieces.part(
            "Downloads",
            f'<details><summary>More</summary><p>Rests on.</p></details><a download="orders.csv" href="data:text/csv;base64,{CSV}">Orders (CSV)</a>',
        ),
        "## Where this page comes from",
        pieces.table(pieces.provenance("cola", meta, pd.Series(weeks), {"prepare": {"horizon": 4, "words": "x" * 99}})),
    ]
    return [_cell(part) for part in shown]


def _cell(part) -> nbformat.NotebookNode:
    if isinstance(part, str):
        return nbformat.v4.new_markdown_cell(part)
    output = nbformat.v4.new_output("display_data", {"text/html": part.data})
    return nbformat.v4.new_code_cell(outputs=[output])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page, as `jupyter nbconvert` writes it in the stage `report`."""
    exporter = HTMLExporter(template_name="template", extra_template_basedirs=[str(ROOT / "reports")])
    text, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=cells()))
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def test_screens_and_paper(browser, written):
    assert faults(browser, written) == []


def test_what_is_broken_is_found(browser, written):
    """The control: each fault put into the same page is named."""
    path = written.with_name("broken.html")
    text = written.read_text(encoding="utf-8").replace('lang="en"', "").replace("</main>", (
        '<img src="https://example.org/x.png"><p style="color: #bbb">pale</p><div style="width: 2000px">wide</div></main>'
    ))  # fmt: skip
    text = text.replace("nav, input { display: none !important; }", "").replace(".tall { max-height: none; }", "")
    path.write_text(text.replace("<script>", "<script>notDefined();", 1), encoding="utf-8")
    found = "\n".join(faults(browser, path, (390,)))
    for fault in (
        "console: notDefined", "request: https://example.org/x.png", "width: the page is 20", "alternative: 1 picture",
        "axe: html-has-lang", "axe: color-contrast", "axe: image-alt", "print: a search field", "print: a table is cut",
    ):  # fmt: skip
        assert fault in found, fault


def test_tables_sort_by_mouse_and_keys(browser, written):
    with opened(browser, written, 1200) as (page, _):
        units = page.locator(f"{TABLE} th", has_text="Next 4 weeks")
        units.get_by_role("button").click()
        expected = sorted(products()["mean"], reverse=True)
        assert [float(cell.replace(",", "")) for cell in column(page, TABLE, 2)] == expected, "largest first"
        assert units.get_attribute("aria-sort") == "descending"
        page.keyboard.press("Enter")
        assert [float(cell.replace(",", "")) for cell in column(page, TABLE, 2)] == expected[::-1]
        change = page.locator(f"{TABLE} th", has_text="Change").get_by_role("button")
        for _ in range(2):
            change.click()
            assert column(page, TABLE, 6)[-1] == "–", "what is missing comes last, both ways"
        assert units.get_attribute("aria-sort") is None, "one column at a time is sorted"
        names = page.locator(f"{TABLE} th", has_text="Product").get_by_role("button")
        orders = [(names.click(), column(page, TABLE, 0))[1] for _ in range(3)]
        assert orders[0] == orders[1][::-1] == orders[2] and orders[0][0].startswith("Bottle")


def test_search_finds_names_and_numbers(browser, written):
    with opened(browser, written, 390) as (page, _):
        box = page.get_by_label("Find a product or number")
        for text, expected in (
            ("1007", 1),
            ("COLA can", 8),
            ("чай", 8),
            ("罐装", 8),
            ("<mint>", 8),
            ("no such", 0),
            ("", 40),
        ):
            box.fill(text)
            assert len(column(page, TABLE, 0)) == expected, text
            assert page.locator("output").text_content() == (f"{expected} / 40" if text else "")


def test_downloads_open(browser, written):
    with opened(browser, written, 1200) as (page, _):
        link = page.locator("a[download]")
        with page.expect_download() as waiting:
            link.click()
        assert waiting.value.suggested_filename == "orders.csv"
        frame = pd.read_csv(waiting.value.path())
        assert frame.to_dict("records") == [{"product": "Cola", "order": 12}]


def test_cells_name_their_row_and_column(written):
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"<th(?! scope)[ >]", text)
    assert text.count('<th scope="row">') == 40 + 7, "products, and lines of where the page comes from"
