"""Which language is in use, what periods are called, and messages looked up in the language's catalogue."""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from functools import cache
from pathlib import Path

from shelfcast.language.periods import KEPT, PERIODS, in_days
from shelfcast.language.words import Vocabulary

TAGS = {"en": "en", "zh": "zh-Hans"}  # `report.language` -> the language of the page as HTML names it
FOLDER = Path(__file__).parent
# Of the process and no context variables: each cell of a notebook runs in a context of its own.
Words = Mapping[str, Sequence[str] | None]
_in_use, _period, _vocabulary = "en", "week", Vocabulary("en", {})


def use(language: str, period: str = "week", words: Words | None = None) -> None:
    """Write in `language` from here on, of `period`s: weeks, or days.

    Parameters
    ----------
    words : that a market has of its own, in this language: see `shelfcast.word_options`; None for the usual ones.

    Raises
    ------
    ValueError : there is no such language, or period.
    """
    global _in_use, _period, _vocabulary
    if language not in TAGS:
        raise ValueError(
            f"there is no language {language!r}. Choose one of {', '.join(TAGS)}, or add it: docs/language.md"
        )
    if period not in PERIODS:
        raise ValueError(f"there are no messages for the period {period!r}. Choose one of {', '.join(PERIODS)}.")
    _in_use, _period, _vocabulary = language, period, Vocabulary(language, words or {})


@contextmanager
def using(language: str, period: str = "week", words: Words | None = None) -> Iterator[None]:
    """`use` for a while."""
    global _in_use, _period, _vocabulary
    before = _in_use, _period, _vocabulary
    use(language, period, words)
    try:
        yield
    finally:
        _in_use, _period, _vocabulary = before


def code() -> str:
    """The language in use, a key of `TAGS`."""
    return _in_use


def tag() -> str:
    """The language in use as HTML names it."""
    return TAGS[_in_use]


def is_reworded() -> bool:
    """Whether the market has words of its own."""
    return _vocabulary.has_words


def periods(weeks: int) -> int:
    """So many weeks in the periods that messages speak of: 4, or 28 days."""
    return weeks * 7 // period_days()


def last_day(start: date) -> date:
    """The last day of the period that starts on `start`: the Sunday of a week from Monday, or the day itself."""
    return start + timedelta(days=period_days() - 1)


def period_days() -> int:
    """Days of a period."""
    return 7 if _period == "week" else 1


def N_(message: str) -> str:
    """Marks a message that is translated where it is used: constants are made before a language is chosen."""
    return message


def _(message: str, /, **values) -> str:
    """The message in the language in use, with its named placeholders filled in.

    Examples
    --------
    ``_("{n} weeks", n=4)`` is '4 weeks', and '4 周' in Chinese.
    """
    text = _said(_catalogue(_in_use).gettext(message), message) if message else ""
    return text.format(**values) if values else text


def ngettext(one: str, many: str, n: float, /, **values) -> str:
    """As `_`, for a message that differs between one and many; `n` decides, and is a placeholder as well."""
    text = _said(_catalogue(_in_use).ngettext(one, many, int(n)), many)
    return text.format(**{"n": n, **values})


def pgettext(context: str, message: str, /) -> str:
    """As `_`, for a word that another language says differently by its context: 'Of' a treatment, 'Of' so many rows."""
    return _said(_catalogue(_in_use).pgettext(context, message), message)


def _said(text: str, message: str) -> str:
    """A message's text in the language in use: of weeks, or of days where those are the market's periods; in its words."""
    of_period = text if _period == "week" or message in KEPT else in_days(text, _in_use)
    return _vocabulary.reword(of_period)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    """Compiled from the catalogue that people edit, so that no compiled file can be older than it."""
    if language == "en":
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with (FOLDER / language / "LC_MESSAGES/shelfcast.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    return gettext.GNUTranslations(io.BytesIO(compiled.getvalue()))
