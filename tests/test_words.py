"""Words of a market: every message says them, grammar holds, and nothing else of a message changes."""

from __future__ import annotations

import re
import string

import pytest

from shelfcast import language
from shelfcast.language import _, messages, ngettext
from shelfcast.language.words import USUAL, Vocabulary, article
from shelfcast.settings import SettingsError, load
from shelfcast.word_options import Words

PARCELS = {
    "unit": ["item", "items"],
    "product": ["route", "routes"],
    "place": ["area", "areas"],
    "store": ["depot", "depots"],
    "category": ["service", "services"],
    "chain": ["network", "networks"],
    "shopper": ["addressee", "addressees"],
    "company": ["operator", "operators"],
    "sale": ["shipment", "shipments"],
    "promotion": ["offer", "offers"],
    "sell": ["ship", "ships", "shipped"],
}
CHINESE = {
    "unit": ["个包裹", "包裹数"],
    "product": ["线路"],
    "place": ["网点"],
    "store": ["站点"],
    "category": ["业务"],
    "chain": ["网络"],
    "shopper": ["寄件人"],
    "company": ["承运商"],
    "sale": ["发货量"],
    "promotion": ["活动"],
    "sell": ["寄出"],
}
KEPT = re.compile(r"\{[^}]*\}|<code>.*?</code>|<[^>]*>|`[^`]*`")


@pytest.fixture(scope="module")
def english():
    """Every form of every message."""
    ids = [message.id for message in messages.messages() if message.id]
    return [form for one in ids for form in ((one,) if isinstance(one, str) else one)]


def placeholders(text: str) -> list[str]:
    return sorted(name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name)


def test_a_sentence_by_hand():
    reword = Vocabulary("en", PARCELS).reword
    said = "A region sold {units} units; <b>no product</b> of a store sells <code>prepare.n_products</code>. Units!"
    wanted = "An area shipped {units} items; <b>no route</b> of a depot ships <code>prepare.n_products</code>. Items!"
    assert reword(said) == wanted
    assert Vocabulary("en", {"unit": ["order", "orders"]}).reword("a unit, a day") == "an order, a day"


def test_words_that_only_begin_alike_stay():
    said = "productive restored unity regional, salesman and production"
    assert Vocabulary("en", PARCELS).reword(said) == said


@pytest.mark.parametrize(
    ("word", "right"),
    [
        *[("order", "an"), ("route", "a"), ("unit", "a"), ("uninsured loan", "an"), ("hour", "an"), ("house", "a")],
        *[("user", "a"), ("umbrella", "an"), ("European branch", "a"), ("one-way trip", "a"), ("Account", "an")],
    ],
)
def test_an_before_a_vowel_that_is_heard(word, right):
    assert article(word) == right


def test_without_words_nothing_changes(english):
    reword = Vocabulary("en", {}).reword
    assert all(reword(message) == message for message in english)


def test_every_message_says_the_market_s_words_alone(english):
    usual = {form for forms in USUAL["en"].values() for one in forms for form in one}
    left_out = re.compile(rf"\b(?:{'|'.join(usual)})\b", re.IGNORECASE)
    reword = Vocabulary("en", PARCELS).reword
    changed = 0
    for message in english:
        said = reword(message)
        assert not left_out.search(KEPT.sub("", said)), said
        assert placeholders(said) == placeholders(message)
        assert sorted(KEPT.findall(said)) == sorted(KEPT.findall(message))
        assert not re.search(
            r"\b[Aa] (?:item|area|addressee|operator|offer)|\b[Aa]n (?:route|depot|service|shipment)", said
        )
        changed += said != message
    assert changed > 200, "a control: the messages do hold the usual words"


def test_chinese_messages_say_them_too():
    reword = Vocabulary("zh", CHINESE).reword
    changed = 0
    for message in messages.read("zh"):
        for text in (message.string,) if isinstance(message.string, str) else message.string:
            said = reword(text)
            assert placeholders(said) == placeholders(text)
            assert not re.search("商品|区域|门店|品类|连锁|顾客|零售商|销量|售出|卖|促销", KEPT.sub("", said)), said
            assert len(re.findall("文件|条件|软件", said)) == len(re.findall("文件|条件|软件", text))
            changed += said != text
    assert changed > 200


def test_a_chinese_count_keeps_its_measure():
    assert Vocabulary("zh", CHINESE).reword("预计{n}件，件数相同的文件") == "预计{n}个包裹，包裹数相同的文件"
    assert Vocabulary("zh", {"unit": ["单"]}).reword("{n}件，件数") == "{n}单，单数"


def test_messages_are_reworded_in_use_and_values_are_not():
    with language.using("en", words=PARCELS):
        assert ngettext("1 product", "{n} products", 2) == "2 routes"
        assert _("{what} units", what="3 units of Product") == "3 units of Product items"
    assert ngettext("1 product", "{n} products", 2) == "2 products"
    with pytest.raises(KeyError), language.using("en", words=PARCELS):
        raise KeyError
    assert _("Product") == "Product"


def test_words_are_checked_where_they_are_written(tmp_path):
    def words(text):
        (tmp_path / "params.yaml").write_text(f"markets: {{a: {{tables: t, words: {{{text}}}}}}}\n")
        return load("a", path=tmp_path / "params.yaml").market.words

    given = words("unit: [parcel, parcels], sell: [ship, ships, shipped]").given()
    assert given == {"unit": ["parcel", "parcels"], "sell": ["ship", "ships", "shipped"]}
    assert words("").given() == {}
    for text, cure in [
        ("units: [parcel, parcels]", "nearest name is 'unit'"),
        ("unit: [a, b, c]", r"write \[singular, plural\]"),
        ("sell: [ship, shipped]", "three forms"),
        ("unit: ['{parcel}', '{parcels}']", "letters"),
        ("unit: ['<b>', '<b>']", "letters"),
        ("unit: ['', '']", "letters"),
    ]:
        with pytest.raises(SettingsError, match=cure):
            words(text)


def test_every_word_has_usual_ones_in_every_language():
    names = set(Words.__dataclass_fields__)
    assert all(set(USUAL[code]) == names for code in language.TAGS)
