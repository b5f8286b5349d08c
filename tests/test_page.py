"""The page's pieces: tables, facts and figures as HTML, without a number that is none."""

import re
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from shelfcast.judge.frame import forecast_frame, grid_keys
from shelfcast.model_options import Finetune
from shelfcast.report import outlook, page, plots, story

LAST = pd.Timestamp("2022-01-31")


def test_numbers_as_text():
    assert plots.percent(-0.062) == "−6\u00a0%" and plots.percent(0.062, 1, sign=True) == "+6.2\u00a0%"
    assert plots.percent(-0.0004) == "0\u00a0%", "no minus before nothing"
    assert plots.percent(float("nan")) == plots.percent(float("inf")) == "–"
    assert [plots.units(x) for x in (1234.5, 9.96, 0)] == ["1,234", "10.0", "0"]


def test_product_table():
    products = pd.DataFrame(
        {"label": ["Cola", "Tea & <lime>"], "mean": [40.0, 3.0], "low": [30.0, 0.0], "high": [50.0, 6.0]}
    ).assign(last=[20.0, 0.0], change=[1.0, np.nan])
    products.index = ["a", "b"]
    keys = pd.DataFrame({"product_id": ["a", "a", "b", "b"], "ds": [2, 1, 1, 2], "mean": [25.0, 15.0, 2.0, 1.0]})
    sold = pd.DataFrame({1: [10.0, np.nan], 2: [10.0, 0.0]}, index=["a|chain", "b|chain"])
    table = page.product_table(products, sold, keys)
    assert list(table) == ["Product", "Trend", "Next 2 weeks", "a week", "80 % range", "Last 2 weeks", "Change"]
    first, second = table.iloc[0], table.iloc[1]
    assert first.drop(["Product", "Trend"]).to_list() == [
        "40", "20.0", "30–50", "20", "<span class='up'>+100\u00a0%</span>",
    ]  # fmt: skip
    assert second["Product"] == "Tea &amp; &lt;lime&gt; <span class='id'>b</span>"
    assert second["Change"] == "<span class=''>–</span>", "nothing sold: no change, no colour"
    assert first["Trend"].index("66.7,9.6") < first["Trend"].index("100.0,2.0"), "15 comes before 25, by its week"


def test_a_small_line_joins_the_past_to_the_future():
    past, future = re.findall(r'points="([^"]*)"', page.spark([0, 4], [4, 2]))
    assert past == "0.0,21.0 33.3,2.0"
    assert future == "33.3,2.0 66.7,2.0 100.0,11.5"


def test_nested_settings_are_one_line_each():
    lines = page.parameters({"finetune": {"warm_start": {"steps": 3}, "seeds": [0, 1]}, "report": {"n_fans": 9}})
    assert lines == ["finetune.warm_start.steps&nbsp;= 3", "finetune.seeds&nbsp;= [0, 1]", "report.n_fans&nbsp;= 9"]
    assert "finetune.warm_start.learning_rate&nbsp;= 0.0001" in page.parameters({"finetune": asdict(Finetune())})


def test_provenance():
    meta = {
        "category": None,
        "source": "tables",
        "data_md5": "12ab",
        "first_week": "2022-01-03",
        "last_week": "2022-10-03",
    }
    weeks = pd.Series(pd.to_datetime(["2022-09-26", "2022-08-29"]))
    facts = page.provenance("tea", meta, weeks, {"prepare": {"horizon": 4}}).set_index("What")["Value"]
    assert list(facts.index) == ["Market", "Data", "Weeks", "Revision", "Parameters", "Versions", "Written"]
    assert facts["Market"] == "tea: all categories of source tables" and facts["Data"] == "md5 12ab"
    assert facts["Weeks"] == "Mondays 2022-01-03 to 2022-10-03; test weeks 2022-08-29 to 2022-09-26"
    assert facts["Parameters"] == "prepare.horizon&nbsp;= 4"
    assert "torch 2." in facts["Versions"]


def test_lists_leave_out_empty_lines():
    assert page.bullets(["one", "", "two"]) == "<ul class=''><li>one</li><li>two</li></ul>"


def test_missing_values_are_dashes_in_tables():
    html = page.table(pd.DataFrame({"a": [1.5, np.nan]}), search="Find", tall=True).data
    assert "–" in html and "nan" not in html.lower()
    assert 'placeholder="Find"' in html and "scroll tall" in html and 'class="dataframe sortable"' in html


@pytest.fixture(scope="module")
def market():
    """Two products in a chain and two regions; one product and one region sold nothing lately."""
    locations, n_weeks = ["chain", "region_1", "region_2"], 30
    cutoffs = [LAST - pd.Timedelta(weeks=2), LAST]
    y = np.broadcast_to(np.array([[5.0, 5.0, 0.0], [1.0, 1.0, 0.0]])[:, :, None, None], (2, 3, 2, 2)).copy()
    y[:, :, 1] = np.nan
    keys = grid_keys(["a", "b"], locations, cutoffs, y)
    frame = forecast_frame(keys, 4.0, 0.2)
    frame[["product_id", "location"]] = frame["unique_id"].str.split("|", expand=True)
    weeks = pd.date_range(end=LAST, periods=n_weeks, freq="7D")
    sold = pd.DataFrame(5.0, sorted(frame["unique_id"].unique()), weeks)
    sold.loc[["b|chain", "b|region_1", "a|region_2", "b|region_2"]] = 0.0
    sold.loc["b|chain", weeks[:10]] = np.nan  # before its launch
    products = pd.DataFrame({"text": ["cola", "tea"], "category": "DRINKS"}, index=["a", "b"])
    return products, sold, frame[frame["cutoff"] < LAST], frame[frame["cutoff"] == LAST]


def test_every_piece_of_a_market_with_silent_series_is_free_of_nan(market):
    attributes, sold, past, latest = market
    products = outlook.by_product(attributes, sold, latest, 0.1)
    locations = outlook.by_location(sold, past, latest, 0.1)
    chain, regions = locations.loc["chain"], locations.drop("chain")
    ahead, before = (frame[frame["location"] == "chain"] for frame in (latest, past))
    weekly = outlook.by_week(before, ahead, 0.1)
    graph = pd.DataFrame(1.0, regions.index, regions.index)
    change = regions.rename(columns={"change": "estimate"}).assign(label=regions.index, group="regions")
    fan = plots.fan(sold.loc["b|chain"][-26:], ahead[ahead["product_id"] == "b"], "tea", before, [LAST])
    pieces = [
        page.header("today", story.change_words(chain["mean"], chain["last"]), {"units": plots.units(chain["mean"])}),
        page.hero(
            {"What will sell": story.what_will_sell(chain, LAST, 2)}, plots.show(plots.fan(sold.sum(), weekly, "all"))
        ),
        page.part("Regions", story.differing(regions, chain["change"]), plots.show(fan, caption="fan")),
        page.part("", f"{story.movers(products, 'fall', 2)} {story.silent(products, 2)}"),
        page.table(page.product_table(products, sold, ahead)),
        plots.show(plots.region_graph(graph, regions["mean"], regions["change"], "graph"), columns=2),
        plots.show(plots.intervals(change, "changes", "change")),
    ]
    html = "".join(piece.data for piece in pieces)
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", html), re.I)
    assert "1 product sold nothing" in html and "<h3>Regions</h3>" in html and 'class="grid c2"' in html
