"""The language of the report: catalogues are whole, placeholders agree, dates and lists are the language's own."""

from __future__ import annotations

import re
import string
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
from languages import english_words

from shelfcast import language
from shelfcast.language import _, letters, messages, ngettext
from shelfcast.report import index, names, page, plots, story, theme
from shelfcast.report.decisions import changes, doubts, downloads, orders
from shelfcast.report.evidence import accuracy, quality, titles
from shelfcast.report.reasons import pictures
from shelfcast.settings import Report, SettingsError, load

OTHERS = [code for code in language.TAGS if code != "en"]
MONDAY = pd.Timestamp("2022-01-03")


@pytest.fixture
def chinese():
    with language.using("zh"):
        yield


@pytest.fixture(scope="module")
def source():
    return messages.messages()


def placeholders(text: str) -> set[str]:
    return {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name}


def forms(message) -> list[tuple[str, str]]:
    """Pairs of what is said in English (the plural, where there are two) and in the other language."""
    said = message.string if isinstance(message.string, tuple) else (message.string,)
    return [(message.id if isinstance(message.id, str) else message.id[1], text) for text in said]


def missing(source, catalogue) -> set:
    keys = {(message.id, message.context) for message in catalogue if message.id and all(t for _e, t in forms(message))}
    return {(message.id, message.context) for message in source if message.id} - keys


@pytest.mark.parametrize("code", OTHERS)
def test_every_message_of_the_report_is_translated(source, code):
    """`python -m shelfcast.language.messages` adds what is missing to the catalogue, for a person to translate."""
    catalogue = messages.read(code)
    assert not missing(source, catalogue)
    used = {(message.id, message.context) for message in source}
    assert not [m.id for m in catalogue if m.id and (m.id, m.context) not in used], "no longer used"
    assert not catalogue.obsolete and not [message.id for message in catalogue if message.id and message.fuzzy]


def test_a_message_that_is_not_translated_is_found(source):
    catalogue = messages.read("zh")
    next(message for message in catalogue if message.id == "Change").string = ""
    catalogue.delete("Margin")
    assert missing(source, catalogue) == {("Change", None), ("Margin", None)}


@pytest.mark.parametrize("code", OTHERS)
def test_placeholders_and_tags_are_those_of_the_english_message(code):
    for message in messages.read(code):
        for english, said in forms(message) if message.id else ():
            assert placeholders(said) == placeholders(english), english
            tags = re.compile(r"</?\w+>|&nbsp;(?=\w)")
            assert sorted(tags.findall(said)) == sorted(tags.findall(english)), english


def test_chinese_has_chinese_marks():
    """No half-width mark after a Chinese letter, and no space between two of them."""
    for message in messages.read("zh"):
        for _english, said in forms(message) if message.id else ():
            assert not re.search(r"[\u4e00-\u9fff][,;:?!()]|[\u4e00-\u9fff] +[\u4e00-\u9fff]", said), said


def test_messages_of_notebooks_and_of_plurals_are_extracted(source):
    ids = {message.id for message in source}
    assert "## What to order" in ids and "Whole chain" in ids
    assert ("1 product", "{n} products") in ids
    assert not [text for text in ids if isinstance(text, str) and text.startswith("# 8")], "cells of analysts"


def test_no_message_hides_in_an_f_string():
    """Babel does not look into f-strings of this Python, so that such a message would never be translated."""
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(messages.SOURCE.rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"""f"[^"]*\{[^}"]*\b_\(['"]|f'[^']*\{[^}']*\b_\(["']""", line)
    ]
    assert not found


def test_english_is_what_it_was():
    assert _("{n} slots a week", n=10) == "10 slots a week" and ngettext("1 product", "{n} products", 1) == "1 product"
    assert language.day(MONDAY) == "3 January 2022" and language.short_day(MONDAY) == "3\u00a0Jan"
    assert language.listed(["a", "b", "c"]) == "a, b and c" and language.listed(["a"]) == "a"
    assert theme.percent(-0.062, 1) == "−6.2\u00a0%" and letters.font_families("en") == ["DejaVu Sans"]


def test_dates_lists_and_percents_in_chinese(chinese):
    assert language.day(MONDAY) == "2022年1月3日" and language.short_day(MONDAY) == "1月3日"
    assert language.month(MONDAY) == "2022年" and language.month(pd.Timestamp("2022-03-01")) == "3月"
    assert language.listed(["甲", "乙", "丙"]) == "甲、乙和丙"
    assert language.joined(["甲", "乙"], ";") == "甲；乙" and language.sentences(["甲。", "", "乙。"]) == "甲。乙。"
    assert theme.percent(-0.062, 1) == "−6.2%" and ngettext("1 product", "{n} products", 3) == "3个商品"
    assert names.location_label("chain") == "全连锁" and names.location_label("region_2") == "区域2"
    assert names.location_label("Nord") == "Nord", "what a retailer names stays"


def test_sentences_in_chinese(chinese):
    chain = pd.Series({"mean": 1200.0, "q100": 1100.0, "q900": 1300.0, "last": 1000.0})
    said = story.what_will_sell(chain, MONDAY, 4)
    assert said == (
        "2022年1月3日至2022年1月30日预计<b>1,200件</b>；五次中有四次在1,100至1,300之间。"
        "与最近4周的1,000件相比<b>增加20%</b>，这一变化超出了该区间。"
    )
    moved = pd.DataFrame({"cutoff": [MONDAY], "product_id": ["p"], "ds": [MONDAY], "mean": [1.0]})
    assert changes.since_last_run(moved, pd.Series(dtype=str))[0].startswith("这是首次运行")
    past = pd.DataFrame(columns=["situation", "rule", "policy"])
    assert orders.title(past, "no_plan", "cost", "ensemble") == "这样订货在测试周的成本"


def test_a_language_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no language 'xx'.*en, zh"):
        language.use("xx")
    assert language.code() == "en"
    with pytest.raises(ValueError, match="no catalogue"):
        messages.update("en")


def test_the_parameter_has_the_languages_that_there_are(tmp_path):
    assert get_args(get_type_hints(Report)["language"]) == tuple(language.TAGS)
    (tmp_path / "params.yaml").write_text("report: {language: fr}\n")
    with pytest.raises(SettingsError, match="language"):
        load(path=tmp_path / "params.yaml")
    line = "markets: {a: {tables: t, report: {language: zh}}}\n"
    (tmp_path / "params.yaml").write_text(line)
    assert load("a", path=tmp_path / "params.yaml").report.language == "zh"
    assert load(path=tmp_path / "params.yaml").report.language == "en"


def test_using_ends_with_an_error():
    with pytest.raises(KeyError), language.using("zh"):
        raise KeyError
    assert language.tag() == "en"


def test_checks_of_tables_are_read_back(chinese):
    """Panels hold the checks in English; names and numbers in them stay."""
    assert quality.said("quantity above 20 times the product's usual") == "数量超过该商品平常的20倍"
    assert quality.said("stores whose rows end (store 3316, 354)") == "记录中止的门店（3316, 354）"
    assert quality.said("2017-01-09 and 45 more") == "2017-01-09及另外45个"
    assert quality.said("counted in region_1, region_2") == "计入区域1, 区域2"
    assert quality.said("weeks with less than half of the usual rows") == "行数不到平常一半的周"
    assert quality.said("days with less than half of the usual rows") == "行数不到平常一半的天"
    assert quality.said("weeks without an event of any product") == "没有任何商品事件的周"
    silent = "weeks without rows of stores that otherwise sell every week (store 1)"
    assert quality.said(silent) == "平时每周都有销售的门店缺少记录的周（1）"
    assert quality.said("a check of tomorrow") == "a check of tomorrow"
    assert len(set(quality.MESSAGES)) == len(quality.MESSAGES)


def test_checks_are_as_they_are_in_english():
    assert quality.said("quantity above 20 times the product's usual") == "quantity above 20 times the product's usual"


def test_the_workbook_has_captions_and_csv_the_names_of_systems(chinese):
    frame = pd.DataFrame(
        {"product_id": ["p"], "location": ["region_1"], "quantity": [3], "note": ["no stock was given"]}
    )
    said = downloads.captioned(frame)
    assert list(said) == ["商品编号", "地点", "订货量", "备注"] and said.iloc[0].tolist() == [
        "p",
        "区域1",
        3,
        "未提供库存",
    ]
    assert b"product_id,location,quantity,note" in downloads.csv(frame)


def test_chinese_letters_are_measured_as_wide_as_they_are_high(chinese):
    """In a figure without a Chinese font a label has the width that the reader's font will give it."""
    figure, axes = theme.canvas("标题", theme.HALF)
    axes.set_yticks([0, 1], ["本品类商品的平均销量", "短"])
    figure.canvas.draw()
    long, short = (label.get_window_extent().width for label in axes.get_yticklabels())
    size = axes.get_yticklabels()[0].get_fontsize() * figure.dpi / 72
    assert long == pytest.approx(10 * size, rel=0.05) and short == pytest.approx(size, rel=0.15)
    drawn = theme.svg(figure)
    assert "本品类商品的平均销量" in drawn and "Noto Sans CJK SC" in drawn and "Shelfcast Wide" not in drawn


def pieces() -> str:
    """Figures and tables as a page has them, of small frames."""
    weeks = pd.date_range("2022-01-03", periods=30, freq="7D")
    coming = pd.DataFrame({"ds": weeks[26:], "mean": 44.0, "q100": 30.0, "q250": 40.0, "q750": 50.0, "q900": 60.0})
    sold = pd.Series(np.arange(26.0) + 20, weeks[:26])
    intervals = pd.DataFrame({"method": ["shelfcast", "lightgbm"], "estimate": [-0.1, 0], "low": [-0.2, np.nan]})
    compared = accuracy.labelled(intervals.assign(high=[-0.05, np.nan]))
    history = pd.DataFrame(
        {"seed": 0, "phase": "select", "step": [0, 1], "loss": 1.0, "wql": 0.5, "best": [False, True]}
    )
    bars = pd.DataFrame(
        {"label": ["Promotion", "Everything else"], "units": [9.0, 1.0], "usual": 5.0, "forecast": 15.0}
    )
    figures = [
        plots.fan(sold, coming, "图", coming, [weeks[26]]),
        plots.intervals(compared, titles.accuracy_title(compared, names.level("product"), "LightGBM"), _("units")),
        plots.training(history, titles.training_title(history)),
        plots.coverage(pd.DataFrame([[0.5, 0.8, 0.9]], ["模型"]), titles.coverage_title(0.8)),
        plots.pit({names.level("product"): np.full(10, 0.1)}, "图"),
        plots.groups(pd.DataFrame({"模型": [0.5, 0.4]}), "图", _("weeks ahead")),
        plots.timeline(sold, {"validation": [weeks[10]], "test": [weeks[20]]}, 4, "图"),
        pictures.contributions(bars, pictures.headline(bars, "可乐")),
        pictures.strip('[["2022-01-03", 2.0]]', "图"),
        pictures.shares(pd.DataFrame({"ds": weeks, "share": 0.1}), "图"),
    ]
    products = pd.DataFrame({"label": ["可乐"], "mean": 44.0, "low": 30.0, "high": 60.0, "last": 20.0}, index=["1"])
    scores = {"wql": 0.5, "wape": 0.4, "rmsse": 0.9, "bias": 0.0, "coverage_80": 0.5}
    tables = [
        doubts.least_sure(products, 3),
        accuracy.method_table({key: scores for key in names.METHODS}),
        pd.DataFrame(
            {"a": [quality.said(filled(message, noun)) for message in quality.MESSAGES for noun in quality.NOUNS]}
        ),
    ]
    texts = [
        doubts.least_sure_words(products, 3),
        *(story.movers(products, word, 4) for word in ("rise", "fall")),
        doubts._bias({"bias": 0.2}) + doubts._coverage(scores) + doubts._curve(True),
        index.page([{"name": "drinks", "title": "饮料", "weeks": "", "numbers": {"units": "12"}}], ""),
    ]
    written = [theme.show(*figures, caption="").data, *(page.table(frame).data for frame in tables), *texts]
    return "".join(written)


def filled(message, noun):
    """A message as a panel holds it, with other placeholders than the noun as numbers."""
    return re.sub(r"\{\w+\}", "1", message.replace("{noun}", noun))


def test_figures_and_tables_have_no_english_words(chinese):
    assert english_words(pieces(), known="a drinks products") == set()


def test_english_words_are_found():
    """The same pieces in English, and single words in each place where a page may hold one."""
    found = english_words(pieces())
    assert {"sold", "expected", "promotion", "Product", "dropped", "learning"} <= found and len(found) > 100
    drawn = theme.canvas("图")[0]
    drawn.axes[0].set_xlabel("weeks")
    with language.using("zh"):
        assert english_words(theme.show(drawn).data) == {"weeks"}
    assert english_words('<input placeholder="Find"><img alt="Sold">') == {"Find", "Sold"}
    assert english_words("LightGBM，orders.tables，<code>steps</code>，Cola", known="cola") == set()
