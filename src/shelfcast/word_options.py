"""Words of a market: what is counted, what is sold, and where, as its readers say it (see docs/language.md)."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from shelfcast.validate import STRICT, param


def _word(text: str) -> str:
    if not re.fullmatch(r"[^\W\d_](?:[\w '’.-]*\w)?", text):
        raise ValueError("a word has letters, spaces and hyphens alone, such as 'spare part'")
    return text


def _noun(forms: list[str]) -> list[str]:
    if len(forms) not in (1, 2):
        raise ValueError("write [singular, plural], such as [depot, depots], or one form where both are the same")
    return forms


def _verb(forms: list[str]) -> list[str]:
    if len(forms) not in (1, 3):
        raise ValueError("write three forms, such as [ship, ships, shipped], or one where all are the same")
    return forms


Word = Annotated[str, AfterValidator(_word)]
Noun = Annotated[list[Word], AfterValidator(_noun)]
Verb = Annotated[list[Word], AfterValidator(_verb)]


@dataclass(frozen=True, config=STRICT)
class Words:
    """`words` of a market, in the language of its report: [singular, plural]; what is not given keeps its usual word."""

    unit: Noun | None = param(None, "what is counted: [unit, units], such as [parcel, parcels]")
    product: Noun | None = param(None, "what is forecast: [product, products], such as [route, routes]")
    place: Noun | None = param(None, "what a location is called: [region, regions], such as [branch, branches]")
    store: Noun | None = param(None, "what a place consists of: [store, stores], such as [depot, depots]")
    category: Noun | None = param(None, "all products together: [category, categories]")
    chain: Noun | None = param(None, "all places together: [chain, chains], such as [network, networks]")
    shopper: Noun | None = param(None, "who buys: [shopper, shoppers], such as [customer, customers]")
    company: Noun | None = param(None, "whose data these are: [retailer, retailers], such as [bank, banks]")
    sale: Noun | None = param(None, "what happens: [sale, sales], such as [shipment, shipments]")
    promotion: Noun | None = param(None, "what a plan plans: [promotion, promotions], such as [campaign, campaigns]")
    sell: Verb | None = param(None, "what products do: [sell, sells, sold], such as [ship, ships, shipped]")

    def given(self) -> dict[str, list[str]]:
        """What is named -> its forms, of the words that are given."""
        return {name: forms for name, forms in vars(self).items() if forms and isinstance(forms, list)}
