"""Dates, lists and sentences as the language in use writes them (Unicode's CLDR, by Babel)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from babel.dates import format_date, format_skeleton
from babel.lists import format_list

from shelfcast.language.active import code

LOCALES = {"en": "en", "zh": "zh_Hans_CN"}
DAYS = {"en": "d MMMM y", "zh": "y年M月d日"}  # English as Britain has it, with a month in words: no two readings
UNSPACED = {"zh"}  # languages that put no space between sentences, nor between a number and its unit
ITEM_MARKS = {"zh": "、"}


def day(when: date) -> str:
    """'3 January 2022'; '2022年1月3日' in Chinese."""
    return format_date(when, DAYS[code()], LOCALES[code()])


def short_day(when: date) -> str:
    """'3 Jan', with a space that does not break; '1月3日' in Chinese."""
    if code() == "en":
        return format_date(when, "d\u00a0MMM", "en")
    return format_skeleton("MMMd", when, locale=LOCALES[code()])


def month(when: date) -> str:
    """A month on an axis, a year where it begins: '2022', 'Mar'; '2022年', '3月' in Chinese."""
    return format_skeleton("y" if when.month == 1 else "MMM", when, locale=LOCALES[code()])


def listed(parts: Iterable[str]) -> str:
    """'a, b and c'; 'a、b和c' in Chinese."""
    parts = list(parts)
    if code() == "en":  # no comma before the last, unlike CLDR's American list
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return format_list(parts, locale=LOCALES[code()])


def joined(parts: Iterable[str], mark: str = ",") -> str:
    """Parts with a comma, a semicolon or a full stop between them, as wide as the language has it."""
    wide = {",": "，", ";": "；"}
    return wide[mark].join(parts) if is_unspaced() else f"{mark} ".join(parts)


def items(parts: Iterable[str]) -> str:
    """'a, b'; '甲、乙' in Chinese, where a comma parts clauses and another mark the items of a list."""
    return ITEM_MARKS.get(code(), ", ").join(parts)


def is_unspaced() -> bool:
    """Whether the language in use puts no space between sentences, nor between a number and its unit."""
    return code() in UNSPACED


def sentences(parts: Iterable[str]) -> str:
    """Sentences one after the other; empty ones are left out."""
    return ("" if is_unspaced() else " ").join(part for part in parts if part)
