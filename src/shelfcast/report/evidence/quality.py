"""The checks of the raw tables in the language of the page: panels hold them in English, which is made once for all.

A line of the quality table is one of the messages below with names and numbers in their places.
"""

from __future__ import annotations

import re
from functools import cache

from shelfcast.language import N_, _, code
from shelfcast.report.names import location_label

MESSAGES = (
    # what was checked
    *(N_("rows read"), N_("rows of the category"), N_("quantity zero"), N_("sales value zero")),
    *(N_("unknown product_id"), N_("promotion of unknown product"), N_("promotion of unknown store")),
    *(N_("price of unknown product"), N_("event of unknown product"), N_("picture of unknown product")),
    *(N_("store without sales"), N_("product without a planned price"), N_("product without a picture")),
    *(N_("quantity above {n} times the product's usual"), N_("rows with a quantity that is not whole")),
    *(N_("rows in incomplete {noun}s"), N_("rows in missing {noun}s"), N_("{noun}s without any sales")),
    N_("{noun}s without rows of stores that otherwise sell every {noun} (store {stores})"),
    *(N_("stores whose rows end (store {stores})"), N_("{noun}s of {place} in which many of its stores have no rows")),
    *(N_("products without sales at the end of training"), N_("rows of products that were not chosen")),
    *(N_("rows in stores first seen after training"), N_("rows sold before the product's launch")),
    N_("products.launch lies after {n} or more {noun}s of sales (product {products})"),
    *(
        N_("closed {noun}s (prepare.closed_weeks)"),
        N_("closed {noun}s (prepare.closed_weeks) outside of the tables' {noun}s"),
    ),
    *(N_("{noun}s with far fewer rows than usual"), N_("{noun}s with less than half of the usual rows")),
    *(
        N_("{noun}s without rows of the category, which usually has many"),
        N_("{noun}s with far fewer stores than usual"),
    ),
    N_("rows on single days with far fewer rows than usual"),
    N_("rows on single days with far fewer rows than usual ({days})"),
    *(N_("rows of single days, not of weeks"), N_("rows stamped on the {day}"), N_("weekly rows, all on a {day}")),
    *(N_("discount negative"), N_("rows of {column} {name}"), N_("{column} in other spellings: {names}")),
    *(N_("basket_id used on several days or in several stores"), N_("row repeated on a day loaded twice")),
    *(N_("row repeated in all columns"), N_("product of category {name} (products, rows {rows})")),
    *(N_("{column} empty"), N_("promotions.{channel} is 0"), N_("events of kind {kind} with a count of 0")),
    *(N_("store at latitude 0 and longitude 0: {stores}"), N_("store without a region: {stores}")),
    *(N_("picture unreadable"), N_("picture {kind}"), N_("{noun}s without a {kind} of any product")),
    N_("{noun}s without an {kind} of any product"),
    # what was done
    *(N_("all categories"), N_("dropped"), N_("kept"), N_("not used"), N_("ignored"), N_("no picture")),
    *(N_("no sale; the day was observed"), N_("kept, no price seen"), N_("kept, no picture")),
    *(
        N_("the category's median stands in"),
        N_("kept; quantities are counts"),
        N_("quantities are amounts, not counts"),
    ),
    N_("kept; missing where they are {share} of a location's usual units or more"),
    *(N_("taken as closed after these {noun}s: zero, not missing"), N_("missing there, not zero demand")),
    N_("missing, not zero demand; dropped at either end"),
    *(N_("missing, not zero demand"), N_("missing, not zero demand; prepare.closed_weeks states closed ones")),
    *(N_("left out; in category totals only"), N_("in category totals only"), N_("counted in their regions")),
    *(N_("counted in {places}"), N_("dropped, no {noun} counts for them"), N_("taken as no discount")),
    *(N_("sign changed: all say what was taken away"), N_("read as if the column were absent")),
    *(N_("kept, not counted as one {what}: most rows have it"), N_("a basket is a store, a day and an id")),
    N_("kept as different ones; write them alike where they are the same"),
    *(N_("taken as {name}: white space around it is none"), N_("left out; write {name} where it is the same")),
    *(N_("kept; nothing can be learned from it"), N_("kept; nothing can be learned from them")),
    *(N_("kept; empty both where the place is not known"), N_("joins another store's region, or the chain alone")),
    *(N_("unknown, not zero"), N_("no record of training {noun}s: the table is ignored")),
    N_("kept with their whole history; the launch, in these {noun}s, is ignored. Mend or empty products.launch"),
    N_("taken as the week from Monday that they mean"),
    # which weeks
    N_("{weeks} and {n} more"),
)

NOUNS = {"week": N_("week"), "day": N_("day")}  # what a market is counted by
KINDS = {"promotion": N_("promotion"), "price": N_("price"), "event": N_("event")}


def said(text: str) -> str:
    """A line's check, action or weeks in the language in use; as it is where no message is like it."""
    if code() == "en":
        return text
    for message, pattern in _patterns().items():
        if found := pattern.fullmatch(text):
            return _(message, **{name: _named(name, value) for name, value in found.groupdict().items()})
    return text


def _named(name: str, value: str) -> str:
    """What stands in a placeholder, in the language in use where it is a word of this project."""
    words = {"noun": NOUNS, "kind": KINDS}.get(name, {})
    return _(words[value]) if value in words else re.sub(r"\bregion_\d+\b", _region, value)


def _region(found: re.Match) -> str:
    return location_label(found[0])


@cache
def _patterns() -> dict[str, re.Pattern]:
    """Message -> what its text looks like; those with fewer placeholders first, which say more."""
    patterns = {}
    for message in sorted(MESSAGES, key=lambda text: (text.count("{"), -len(text))):
        parts = re.split(r"\{(\w+)\}", message)
        named = [_group(part, parts[1:i:2]) if i % 2 else re.escape(part) for i, part in enumerate(parts)]
        patterns[message] = re.compile("".join(named))
    return patterns


def _group(name: str, earlier: list[str]) -> str:
    """What a placeholder takes; where it stands for the second time, what it took before."""
    return f"(?P={name})" if name in earlier else f"(?P<{name}>{'|'.join(NOUNS) if name == 'noun' else '.+'})"
