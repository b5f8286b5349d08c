"""Words of a market in place of the usual ones: 'units' may be parcels, 'products' routes, 'regions' depots.

Messages are written, and translated, with the usual words. `Vocabulary.reword` puts a market's own in their place, after
translation and before placeholders are filled in, so that nothing that a table holds is ever changed: not the names of
products, and neither placeholders, tags nor code in a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

# Usual words of a language by what they name, in the order of forms that `Words` has. Of several usual words with one
# meaning, each tuple is one; the market's own word takes the place of all.
USUAL: dict[str, dict[str, list[tuple[str, ...]]]] = {
    "en": {
        "unit": [("unit", "units")],
        "product": [("product", "products")],
        "place": [("region", "regions")],
        "store": [("store", "stores"), ("shop", "shops")],
        "category": [("category", "categories")],
        "chain": [("chain", "chains")],
        "shopper": [("shopper", "shoppers"), ("customer", "customers"), ("household", "households")],
        "company": [("retailer", "retailers")],
        "sale": [("sale", "sales")],
        "promotion": [("promotion", "promotions")],
        "sell": [("sell", "sells", "sold")],
    },
    "zh": {
        "unit": [("件", "件数")],
        "product": [("商品",)],
        "place": [("区域",)],
        "store": [("门店",)],
        "category": [("品类",)],
        "chain": [("连锁",)],
        "shopper": [("顾客",)],
        "company": [("零售商",)],
        "sale": [("销量",), ("销售",)],
        "promotion": [("促销",)],
        "sell": [("售出",), ("卖出",), ("卖",)],
    },
}
KEPT = re.compile(r"\{[^}]*\}|<code>.*?</code>|<[^>]*>|`[^`]*`|&\w+;")  # placeholders, code, tags: never reworded
OTHER_WORDS = r"(?<=[文事邮条软硬案组部零])件|销售额"  # 文件 is a file, 条件 a condition, 销售额 money
SILENT_H = ("hour", "honest", "honour", "honor", "heir")
NOT_A_VOWEL = re.compile(r"(?:uni(?!n|m)|use|usu|ut[ei]|eu|one\b|once\b)", re.IGNORECASE)  # 'a unit', 'an unimportant'


class Vocabulary:
    """A market's words in one language.

    Parameters
    ----------
    code : of the language. words : of `Words`: what is named -> its forms; empty for the usual words.
    """

    def __init__(self, code: str, words: Mapping[str, Sequence[str] | None]):
        self._code, self._own = code, {}
        for name, usual in USUAL[code].items():
            forms = words.get(name)
            for one in usual if forms else ():
                self._own |= {word: _form(forms, i, word) for i, word in enumerate(one)}
        self._pattern = self._search() if self._own else None
        self.reword = lru_cache(maxsize=4096)(self._reword)

    @property
    def has_words(self) -> bool:
        """Whether any word differs from the usual ones."""
        return bool(self._own)

    def _search(self) -> re.Pattern:
        names = "|".join(sorted(map(re.escape, self._own), key=len, reverse=True))
        if self._code == "zh":
            return re.compile(rf"(?P<other>{OTHER_WORDS})|(?P<word>{names})")
        return re.compile(rf"(?:\b(?P<article>an?)(?P<space>\s))?\b(?P<word>{names})\b", re.IGNORECASE)

    def _reword(self, message: str) -> str:
        """The message with the market's words, and with 'an' before a vowel.

        Examples
        --------
        With parcels for units and areas for regions, 'A region sold {units} units' is 'An area sold {units} parcels'.
        """
        if self._pattern is None:
            return message
        replaced, start = [], 0
        for kept in KEPT.finditer(message):
            replaced += [self._replaced(message[start : kept.start()]), kept.group()]
            start = kept.end()
        return "".join([*replaced, self._replaced(message[start:])])

    def _replaced(self, text: str) -> str:
        return self._pattern.sub(self._own_word, text)

    def _own_word(self, found: re.Match) -> str:
        usual = found["word"]
        if self._code == "zh":
            return self._own[usual] if usual else found["other"]
        word = self._own[usual.lower()]
        if usual[0].isupper():
            word = word[:1].upper() + word[1:]
        if not found["article"]:
            return word
        capital = found["article"][0].isupper()
        return f"{article(word).capitalize() if capital else article(word)}{found['space']}{word}"


def article(word: str) -> str:
    """'a' or 'an', by how the word sounds: 'an order', 'a unit', 'an hour'."""
    begins = word.lower()
    vowel = begins[:1] in "aeiou" and not NOT_A_VOWEL.match(begins)
    return "an" if vowel or begins.startswith(SILENT_H) else "a"


def _form(forms: Sequence[str], i: int, usual: str) -> str:
    """The form for the usual word's i-th form; where there is one alone it stands for all, and 件数 keeps its 数."""
    if len(forms) == 1 and usual == "件数":
        return f"{forms[0]}数"
    return forms[min(i, len(forms) - 1)]
