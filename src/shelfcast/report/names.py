"""Names that people read: methods, ablations, levels, locations."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from shelfcast.data.schema import CHAIN
from shelfcast.language import N_, _
from shelfcast.language import day as day
from shelfcast.language import listed as listed


class Method(NamedTuple):
    """A method as the page shows it; its group decides colour and mark, and which methods may be the alternative."""

    name: str
    group: str
    description: str


GROUPS = ["ours", "alternative", "combination", "control", "upper bound"]  # in the page's order
METHODS = {
    "ensemble": Method(N_("Ensemble"), "ours", N_("an average of Shelfcast and the methods below, weighed by the validation weeks")),
    "shelfcast": Method(N_("Shelfcast"), "ours", N_("a pretrained language model that reads product text, past weeks and all regions at once")),
    "lightgbm": Method(N_("LightGBM"), "alternative", N_("boosted decision trees on the same columns: the usual strong choice")),
    "moving_average_8": Method(N_("8-week average"), "alternative", N_("the mean of the last eight weeks, as a spreadsheet would")),
    "seasonal_average": Method(N_("Seasonal average"), "alternative", N_("the mean of the last eight weeks, times the season of earlier years")),
    "auto_ets": Method(N_("AutoETS"), "alternative", N_("exponential smoothing without trend, its error form chosen for each series")),
    "croston_sba": Method(N_("Croston SBA"), "alternative", N_("a classic for products that sell now and then")),
    "fracast": Method(N_("Fracast"), "alternative", N_("a pretrained time-series model that was never trained on these data")),
    "lightgbm_joint": Method(N_("LightGBM, many categories"), "alternative", N_("the same trees, fitted to many categories at once")),
    "lightgbm_pair": Method(N_("LightGBM pair"), "alternative", N_("the geometric mean of the two LightGBM forecasts")),
    "article_bert": Method(N_("BERT on sales text"), "alternative", N_("sales written as sentences, read by a language model")),
    "category_mean": Method(N_("Category mean"), "alternative", N_("the mean sales of the category's products")),
    "nearest_by_attributes": Method(N_("Ten most similar"), "alternative", N_("the mean sales of the ten products nearest by attributes and price")),
    "blend": Method(N_("Blend"), "combination", N_("a weighted mean of Shelfcast and LightGBM; the validation weeks set the weight")),
    "alone": Method(N_("This category alone"), "control", N_("Shelfcast, trained on no other category")),
    "random_backbone": Method(N_("Language model not pretrained"), "control", N_("trained on this category only; the language model starts at random")),
    "small_transformer": Method(N_("No language model"), "control", N_("a small transformer alone, trained on this category only")),
    "shelfcast_price_plan": Method(N_("Shelfcast, future prices"), "upper bound", N_("reads the prices of the coming weeks, which no real forecast has")),
    "lightgbm_price_plan": Method(N_("LightGBM, future prices"), "upper bound", N_("reads the prices of the coming weeks, which no real forecast has")),
    "oracle": Method(N_("Best possible"), "upper bound", N_("computed by the simulation's own laws: only luck can beat it")),
}  # fmt: skip
ABLATIONS = {  # name, group; a control should cost nothing
    "no_text": (N_("no product text"), "left out"),
    "no_picture": (N_("no pictures"), "left out"),
    "no_behavior": (N_("no shopper behaviour"), "left out"),
    "no_space": (N_("no view of other regions"), "left out"),
    "no_plan": (N_("no promotions and prices"), "left out"),
    "random_backbone": (N_("language model not pretrained"), "control"),
    "shuffled_text": (N_("texts of other products"), "control"),
    "noise_pictures": (N_("noise for pictures"), "control"),
    "shuffled_stores": (N_("regions exchanged on the map"), "control"),
}
LEVELS = {"product": N_("products, whole chain"), "product_region": N_("products in regions")}
SHORT_LEVELS = {"product": N_("chain"), "product_region": N_("regions")}


def method(key: str) -> Method:
    """A method's name, group and description; a name made of the key where it is not listed."""
    group = "upper bound" if key.endswith("_price_plan") else "alternative"
    found = METHODS.get(key, Method(key.replace("_", " "), group, ""))
    return Method(_(found.name), found.group, _(found.description))


def ablation(key: str) -> tuple[str, str]:
    """Name and group of an ablation; 'new_no_text' is 'no_text' for products without a history."""
    key = key.removeprefix("new_")
    name, group = ABLATIONS.get(key, (key.replace("_", " "), "left out"))
    return _(name), group


def level(key: str) -> str:
    """'products, whole chain' of 'product'."""
    return _(LEVELS[key])


def short_level(key: str) -> str:
    """'chain' of 'product'."""
    return _(SHORT_LEVELS[key])


def product(label: str, number: str) -> str:
    """A product's name and the number that the till uses, as HTML."""
    return f"{escape(label)} <span class='id'>{escape(number)}</span>"


def location_label(name: str) -> str:
    """'region_1' is 'Region 1', and what a retailer names a region stays."""
    if name == CHAIN:
        return _("Chain")
    kind, _between, number = name.rpartition("_")
    if kind == "region" and number.isdigit():
        return _("Region {number}", number=number)
    name = name.replace("_", " ")
    return name[:1].upper() + name[1:]


def of_location(name: str, text: str) -> str:
    """A sentence on a location: 'Region 1: nothing needs to be ordered now.'"""
    return f"{location_begins(name)}{text}"


def location_begins(name: str) -> str:
    """How the sentence of a location begins."""
    return _("{place}: ", place=location_label(name))
