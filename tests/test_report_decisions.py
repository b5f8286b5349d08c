"""The page's decisions: what changed, orders, promotions, groups, doubts, downloads and the index, checked by hand."""

import base64
import io
import re
import zipfile
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbconvert import HTMLExporter

from shelfcast.act import deliver
from shelfcast.act.promotions.decide import Decided
from shelfcast.act.promotions.gains import Gains
from shelfcast.act.promotions.terms import Terms
from shelfcast.act.recommend.groups import Groups
from shelfcast.decision_options import Orders, Promotions
from shelfcast.report import index, names
from shelfcast.report.decisions import changes, doubts, downloads, orders, promotions, words

MONDAY = pd.Timestamp("2022-01-31")
LABELS = pd.Series({"a": "Cola", "b": "Tea & <lime>"})


def ahead(cutoff, **means):
    """The chain's forecast of two weeks after a cutoff, and a region's that must not count."""
    rows = [
        (cutoff, name, place, cutoff + pd.Timedelta(weeks=h), mean, mean - 5, mean + 5)
        for name, mean in means.items()
        for place in ("chain", "region_1")
        for h in (1, 2)
    ]
    return pd.DataFrame(rows, columns=["cutoff", "product_id", "location", "ds", "mean", "q100", "q900"])


def run(path, cutoff, **means):
    kept = changes.published(path, ahead(cutoff, **means))
    kept.to_parquet(path, index=False)
    return kept


def test_a_first_run_has_nothing_to_compare_with(tmp_path):
    kept = run(tmp_path / "published.parquet", MONDAY, a=10.0)
    assert len(kept) == 2 and set(kept["mean"]) == {10.0}, "two weeks of the chain"
    assert "first run" in changes.since_last_run(kept, LABELS)[0]
    assert changes.new_and_gone(kept, LABELS) == ""


def test_what_changed_is_told_of_the_weeks_that_both_forecasts_cover(tmp_path):
    path = tmp_path / "published.parquet"
    run(path, MONDAY, a=10.0, b=40.0)
    kept = run(path, MONDAY + pd.Timedelta(weeks=1), a=30.0, b=41.0)
    total, moved = changes.since_last_run(kept, LABELS)
    assert "Of the 1 weeks" in total and "<b>71 units</b>" in total and "42\u00a0% more than then (50)" in total
    assert "<b>1 products' forecasts moved</b>" in moved and "Cola <span class='id'>a</span> from 10 to 30" in moved
    assert "Tea" not in moved, "41 against 40 is no news"


def test_a_rerun_tells_the_same_and_older_runs_are_dropped(tmp_path):
    path = tmp_path / "published.parquet"
    for week, mean in enumerate((10.0, 20.0, 30.0)):
        kept = run(path, MONDAY + pd.Timedelta(weeks=week), a=mean)
    again = run(path, MONDAY + pd.Timedelta(weeks=2), a=30.0)
    pd.testing.assert_frame_equal(kept, again)
    assert sorted(kept["mean"].unique()) == [20.0, 30.0]
    back = run(path, MONDAY, a=11.0)
    assert sorted(back["mean"].unique()) == [11.0], "nothing is compared with a later week"


def test_runs_without_a_common_week_and_products_that_come_and_go(tmp_path):
    path = tmp_path / "published.parquet"
    run(path, MONDAY, a=10.0)
    kept = run(path, MONDAY + pd.Timedelta(weeks=8), b=10.0)
    assert "forecast none of the coming weeks" in changes.since_last_run(kept, LABELS)[0]
    assert changes.new_and_gone(kept, LABELS) == (
        "1 products are new on this page, such as Tea &amp; &lt;lime&gt; <span class='id'>b</span> and 1 are no longer on it."
    )


def test_what_the_last_forecast_said_and_what_sold():
    earlier = ahead(MONDAY, a=10.0, b=40.0).query("location == 'chain'").assign(y=[10.0, 12.0, 20.0, 20.0])
    lines = changes.last_forecast(earlier, pd.Series({"mean": 100.0, "q100": 80.0, "q900": 130.0}), LABELS)
    assert "expected 100 units; <b>62 sold</b>, 38\u00a0% less than expected and <b>outside</b>" in lines[0]
    assert "7 February 2022 to 20 February 2022" in lines[0]
    assert lines[1].index("Tea") < lines[1].index("Cola"), "the product that was furthest off comes first"
    assert "(80 expected, 40 sold)" in lines[1]


ORDERED = pd.DataFrame(
    {
        "product_id": ["a", "a", "a", "b", "b", "b"],
        "location": ["chain", "region_1", "region_2"] * 2,
        "expected_demand": [10.0, 4.0, 6.0, 30.0, 10.0, 20.0],
        "order_up_to": [20.0, 9.0, 12.0, 50.0, 20.0, 35.0],
        "quantity": np.nan,
        "expected_fill": 0.95,
        "unit_cost": [5.0] * 3 + [1.0] * 3,
    }
)


def test_largest_orders_are_those_worth_most():
    table = orders.largest(ORDERED, LABELS, most=5)
    assert table["Product"].str[:3].to_list() == ["Col", "Tea"], "20 · 5 is more than 50 · 1"
    assert table["Fill up to"].to_list() == ["20", "50"] and table["Worth"].to_list() == ["100", "50.00"]
    assert table["Region 2"].to_list() == ["12", "35"] and "&lt;lime&gt;" in table["Product"][1]
    known = orders.largest(ORDERED.assign(quantity=[0.0, 0, 0, 7, 3, 4]), LABELS, most=5)
    assert known["Order"].to_list() == ["7"], "what needs no order is not shown"


def replayed(low, high, fill=0.95):
    row = {"situation": "no_plan", "level": "product", "rule": "fill_rate", "lead_time": 1, "policy": "ensemble"}
    row |= {"cost": 90.0, "fill_rate": fill, "mean_stock": 2.0}
    row |= {"against_lightgbm": (low + high) / 2, "against_lightgbm_low": low, "against_lightgbm_high": high}
    return pd.DataFrame([row, {**row, "policy": "lightgbm", "cost": 100.0}])


BY = ("no_plan", "fill_rate", "ensemble")


@pytest.mark.parametrize(
    ("low", "high", "words_", "style"),
    [
        (-0.2, -0.1, "clearly have been cheaper", "up"),
        (0.1, 0.2, "dearer", "down"),
        (-0.1, 0.2, "no clear difference", ""),
    ],
)
def test_a_replay_is_called_by_its_interval(low, high, words_, style):
    past = replayed(low, high)
    assert words_ in orders.title(past, *BY)
    table = orders.replay_table(past, *BY)
    assert len(table) == 1 and table["Cost"][0] == "90.00"
    assert table["Against LightGBM's"][0].startswith(f"<span class='{style}'>")


def test_orders_that_missed_their_target_are_doubted():
    assert orders.met(replayed(0, 0.1, fill=0.94), *BY, target=0.95) == ""
    assert "met 90.0\u00a0% in the replay" in orders.met(replayed(0, 0.1, fill=0.9), *BY, target=0.95)


def test_money_of_the_decisions():
    past = replayed(-0.2, 0.0).assign(stock_outs=0.1)
    numbers = deliver.order_numbers(past, Orders(), "no_plan")["product"]["lead_1"]
    assert numbers["cost_against_lightgbm"] == -0.1 and numbers["cost"] == 90.0
    assert "cost_against_oracle" not in numbers


def test_an_empty_plan_has_the_columns_of_a_plan():
    one = np.ones((1, 1))
    terms = Terms(pd.Index(["a"]), np.array([2.0]), np.array([1.0]), 0.2)
    names = ("units", "others", "money")
    gains = Gains(
        terms=terms,
        weeks=pd.DatetimeIndex([MONDAY]),
        on_sale=one > 0,
        base=one,
        expected={name: one for name in names},
        drawn={name: np.ones((3, 1, 1)) for name in names},
        spending=one,
        model=one,
        cause=one,
    )
    decided = Decided(Promotions(), None, gains, SimpleNamespace(plan=one > 0), None)
    assert list(deliver.promotion_frame(decided.frame)) == list(deliver.promotion_frame(None))
    assert deliver.promotion_frame(decided.frame)["chosen"].all() and deliver.promotion_frame(None).empty


def test_plan_table():
    row = {"product_id": "a", "ds": MONDAY, "price": 2.0, "price_promoted": 1.5, "units_without": 10.0, "units": 5.0}
    row |= {
        "units_low": 2.0,
        "units_high": 9.0,
        "units_cause": np.nan,
        "money": 3.0,
        "money_low": -1.0,
        "money_high": 7.0,
    }
    plan = pd.DataFrame([row | {"chosen": True, "planned_now": False}, row | {"chosen": False, "planned_now": True}])
    table = promotions.plan_table(plan, LABELS, most=9)
    assert len(table) == 1 and table["Week of"][0] == "31\u00a0Jan" and table["By causes"][0] == "–"
    assert table["Its 80 % range"][0] == "−1.00 to 7.00" and table["Planned"][0] == "no"


def test_groups_show_no_shopper():
    sizes = pd.DataFrame({"group": [1], "shoppers": [40], "products": [["a"]], "bought": [[0.5]]})
    likely = pd.DataFrame({"group": 1, "product_id": ["b", "a"], "share": [0.1, 0.3]})
    likely = likely.assign(low=0.05, high=0.4, repeat=1.0)
    frame = deliver.group_frame(Groups(sizes, likely))
    assert list(frame) == deliver.GROUPS and not {"customer_id", "shopper"} & set(frame)
    table = promotions.group_table(frame, LABELS)
    cell = table.iloc[0, -1]
    assert (
        table["Group"][0] == "1: 40 shoppers"
        and cell.startswith("30 (5–40) Cola")
        and "<br>10 (5–40) Tea &amp; &lt;lime&gt;" in cell
    )
    assert promotions.plain_groups(frame, LABELS)["buyers_of_100"].to_list() == [10.0, 30.0]
    assert deliver.group_frame(None).empty and list(deliver.group_frame(None)) == deliver.GROUPS


def market(**meta):
    quality = pd.DataFrame(
        {
            "check": ["unknown product", "rows read", "rare"],
            "found": [50, 1000, 1],
            "share": [0.05, 1.0, 0.0001],
            "action": ["dropped", "all categories", "dropped"],
        }
    )
    return SimpleNamespace(
        planned=["promotion", "price"], meta=meta, weeks=pd.date_range(MONDAY, periods=120, freq="7D"), quality=quality
    )


def test_doubts():
    good = {"coverage_80": 0.81, "bias": 0.01}
    lines = doubts.not_to_trust(market(), good, False)
    assert lines == [
        "<b>Faults of the tables</b>: unknown product (5.0\u00a0%: dropped). The last section lists all checks."
    ]
    assert "plan of promotions ends" in doubts.not_to_trust(market(plan_assumed=True), good, False)[0]
    both = doubts.not_to_trust(market(plan_assumed=True, prices_assumed=True), good, False)[0]
    assert "promotions and prices" in both
    bad = doubts.not_to_trust(market(), {"coverage_80": 0.7, "bias": -0.1}, True)
    assert "too narrow" in bad[0] and "too low" in bad[1] and "Expect more" in bad[1] and "not finished" in bad[2]
    short = market()
    short.weeks = short.weeks[:50]
    assert any("50 weeks are less than two years" in line for line in doubts.not_to_trust(short, good, False))


def test_least_sure_are_the_widest_ranges():
    products = pd.DataFrame(
        {
            "label": ["Cola", "Tea"],
            "mean": [100.0, 4.0],
            "low": [90.0, 0.0],
            "high": [110.0, 10.0],
            "last": [90.0, 5.0],
        },
        index=["a", "b"],
    )
    table = doubts.least_sure(products, most=1)
    assert table["Product"].to_list() == ["Cola <span class='id'>a</span>"]
    assert table["Range over expected"].to_list() == ["20\u00a0%"]
    text = doubts.least_sure_words(products, most=1)
    assert "hold 67\u00a0%" in text and "slower half are 250\u00a0%" in text and "faster half 20\u00a0%" in text


EVIL = ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "cola"]


def test_a_csv_runs_no_formula():
    frame = pd.DataFrame({"product": EVIL, "units": [-1.0, 2, 3, 4, 5, 6], "=day": [MONDAY] * 6})
    text = downloads.csv(frame).decode("utf-8-sig")
    back = pd.read_csv(io.StringIO(text))
    assert back["product"].to_list() == [f"'{text}" for text in EVIL[:-1]] + ["cola"]
    assert back["units"].to_list() == [-1, 2, 3, 4, 5, 6], "numbers below zero stay numbers"
    assert list(back)[2] == "'=day" and back.iloc[0, 2] == "2022-01-31"


def test_a_workbook_runs_no_formula_and_is_the_same_twice():
    frame = pd.DataFrame({"product_id": EVIL, "number": ["007"] * 6, "units": [1.5, np.nan, np.inf, 4, 5, 6]})
    frame = frame.assign(day=[MONDAY, pd.NaT, *[MONDAY] * 4], chosen=True)
    sheets = {"orders": frame, "nothing": frame.iloc[:0]}
    book = downloads.workbook(sheets, MONDAY, ["=about"])
    assert book == downloads.workbook(sheets, MONDAY, ["=about"])
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        names = archive.namelist()
        cells = archive.read("xl/worksheets/sheet2.xml").decode()
        every = "".join(archive.read(name).decode() for name in names if name.startswith("xl/worksheets/"))
        assert re.findall('<sheet name="([^"]*)"', archive.read("xl/workbook.xml").decode()) == [
            "about", "orders", "nothing",
        ]  # fmt: skip
    assert "<f>" not in every and "hyperlink" not in every
    assert "<t>=1+1</t>" in cells and "<t>007</t>" in cells, "text stays text, and so do numbers with zeros before them"
    assert (
        cells.count("<v>1.5</v>") == 1
        and "inf" not in cells.lower().replace("infor", "")
        and "nan" not in cells.lower()
    )


def test_a_sheet_that_excel_cannot_read_is_refused(monkeypatch):
    monkeypatch.setattr(downloads, "MOST_ROWS", 2)
    with pytest.raises(ValueError, match="sheet 'orders' has 3 rows, and Excel reads 2"):
        downloads.workbook({"orders": pd.DataFrame({"x": [1, 2, 3]})}, MONDAY, [])


def test_links_hold_their_files(monkeypatch):
    html = downloads.links({"a.csv": b"x,y\n", "b.xlsx": b"PK"}, {"a.csv": "orders", "b.xlsx": "all"}).data
    held = re.findall(r'download="([^"]*)" href="data:([^;]*)[^,]*,([^"]*)"', html)
    assert [(name, kind, base64.b64decode(data)) for name, kind, data in held] == [
        ("a.csv", "text/csv", b"x,y\n"),
        ("b.xlsx", downloads.XLSX, b"PK"),
    ]
    assert "orders (1 kB)" in html
    monkeypatch.setattr(downloads, "MOST_BYTES", 2)
    assert "a.csv is too large for this page" in downloads.links({"a.csv": b"x,y\n"}, {"a.csv": "orders"}).data
    assert [downloads.size(n) for n in (10, 4_200, 1_260_000)] == ["1 kB", "4 kB", "1.3 MB"]


def test_the_index_lists_the_markets_of_params_alone(tmp_path):
    index.save(tmp_path / "tea.json", "tea", "Tea <best>", "from 1 to 28 May", {"units": "1,234", "gain": "−2 %"})
    index.save(tmp_path / "old.json", "old", "Old", "", {"units": "9"})
    summaries = index.read(tmp_path, ["new", "tea"])
    page = index.page(summaries, "p { color: red }")
    assert "forecasts of 1 market<" in page and '<a href="tea/index.html">Tea &lt;best&gt;</a>' in page
    assert "Old" not in page and page.count('<td class="n">–</td>') == len(index.COLUMNS) - 2
    assert not re.findall(r"""(?:src|href)=["'](?!data:|tea/)""", page), "it loads nothing"


def test_the_index_tells_the_decisions_money():
    decided = {
        "orders": {"product_region": {"lead_1": {"cost_against_lightgbm": -0.05}, "lead_2": {}}},
        "promotions": {"money": 20.0, "money_low": 10.0, "money_high": 31.0},
        "recommendations": {"over_best": {"all": {"estimate": 0.02}}},
    }
    told = index.decisions(decided, lead_time=1)
    assert told == {"orders": "−5.0\u00a0%", "promotions": "20 (10–31)", "recommendations": "+2.0\u00a0%"}
    nothing = {"orders": {}, "promotions": {"lack": "x"}, "recommendations": {"lack": "x"}}
    assert index.decisions(nothing, 1) == {}


def test_an_optional_section_without_content_is_left_out():
    def section(title, shows, tags=()):
        output = nbformat.v4.new_output("display_data", {"text/html": f"<p>{title} shown</p>"})
        heading = nbformat.v4.new_markdown_cell(f"## {title}", metadata={"tags": list(tags)})
        return [heading, nbformat.v4.new_code_cell("", outputs=[output] if shows else [])]

    cells = [*section("One", True), *section("Two", True, ["optional"]), *section("Three", False, ["optional"])]
    cells += [*section("Four", False), *section("Five", True, ["analyst"])]
    exporter = HTMLExporter(template_name="template", extra_template_basedirs=["reports"])
    page, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    assert re.findall(r'<a href="#[^"]*">(\w+)</a>', page) == ["One", "Two", "Four"]
    assert page.count("<section") == 4 and "Two shown" in page and "Three" not in page


def test_words():
    assert names.listed(["a"]) == "a" and names.listed(["a", "b", "c"]) == "a, b and c"
    assert words.paragraphs(["1 < 2", ""]) == "<p>1 &lt; 2</p>"
    assert words.product(LABELS, "unknown") == "<span class='id'>unknown</span>"
    assert promotions.folded("More", []) == ""
