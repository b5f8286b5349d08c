"""Names that people read: methods, ablations, levels, locations, days."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import pandas as pd


class Method(NamedTuple):
    """A method as the page shows it; its group decides colour and mark, and which methods may be the alternative."""

    name: str
    group: str
    description: str


GROUPS = ["ours", "alternative", "combination", "control", "upper bound"]  # in the page's order
METHODS = {
    "ensemble": Method("Ensemble", "ours", "an average of Shelfcast and the methods below, weighed by the validation weeks"),
    "shelfcast": Method("Shelfcast", "ours", "a pretrained language model that reads product text, past weeks and all regions at once"),
    "lightgbm": Method("LightGBM", "alternative", "boosted decision trees on the same columns: the usual strong choice"),
    "moving_average_8": Method("8-week average", "alternative", "the mean of the last eight weeks, as a spreadsheet would"),
    "seasonal_average": Method("Seasonal average", "alternative", "the mean of the last eight weeks, times the season of earlier years"),
    "auto_ets": Method("AutoETS", "alternative", "exponential smoothing without trend, its error form chosen for each series"),
    "croston_sba": Method("Croston SBA", "alternative", "a classic for products that sell now and then"),
    "fracast": Method("Fracast", "alternative", "a pretrained time-series model that was never trained on these data"),
    "lightgbm_joint": Method("LightGBM, many categories", "alternative", "the same trees, fitted to many categories at once"),
    "lightgbm_pair": Method("LightGBM pair", "alternative", "the geometric mean of the two LightGBM forecasts"),
    "article_bert": Method("BERT on sales text", "alternative", "sales written as sentences, read by a language model"),
    "category_mean": Method("Category mean", "alternative", "the mean sales of the category's products"),
    "nearest_by_attributes": Method("Ten most similar", "alternative", "the mean sales of the ten products nearest by attributes and price"),
    "blend": Method("Blend", "combination", "a weighted mean of Shelfcast and LightGBM; the validation weeks set the weight"),
    "alone": Method("This category alone", "control", "Shelfcast, trained on no other category"),
    "random_backbone": Method("Language model not pretrained", "control", "trained on this category only; the language model starts at random"),
    "small_transformer": Method("No language model", "control", "a small transformer alone, trained on this category only"),
    "shelfcast_price_plan": Method("Shelfcast, future prices", "upper bound", "reads the prices of the coming weeks, which no real forecast has"),
    "lightgbm_price_plan": Method("LightGBM, future prices", "upper bound", "reads the prices of the coming weeks, which no real forecast has"),
    "oracle": Method("Best possible", "upper bound", "computed by the simulation's own laws: only luck can beat it"),
}  # fmt: skip
ABLATIONS = {  # name, group; a control should cost nothing
    "no_text": ("no product text", "left out"),
    "no_picture": ("no pictures", "left out"),
    "no_behavior": ("no shopper behaviour", "left out"),
    "no_space": ("no view of other regions", "left out"),
    "no_plan": ("no promotions and prices", "left out"),
    "random_backbone": ("language model not pretrained", "control"),
    "shuffled_text": ("texts of other products", "control"),
    "noise_pictures": ("noise for pictures", "control"),
    "shuffled_stores": ("regions exchanged on the map", "control"),
}
LEVELS = {"product": "products, whole chain", "product_region": "products in regions"}
SHORT_LEVELS = {"product": "chain", "product_region": "regions"}


def method(key: str) -> Method:
    """A method's name, group and description; a name made of the key where it is not listed."""
    group = "upper bound" if key.endswith("_price_plan") else "alternative"
    return METHODS.get(key, Method(key.replace("_", " "), group, ""))


def ablation(key: str) -> tuple[str, str]:
    """Name and group of an ablation; 'new_no_text' is 'no_text' for products without a history."""
    key = key.removeprefix("new_")
    return ABLATIONS.get(key, (key.replace("_", " "), "left out"))


def product(label: str, number: str) -> str:
    """A product's name and the number that the till uses, as HTML."""
    return f"{escape(label)} <span class='id'>{escape(number)}</span>"


def listed(parts: list[str]) -> str:
    """'a, b and c'."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def day(date: pd.Timestamp) -> str:
    """'3 January 2022'."""
    return f"{date.day} {date:%B %Y}"


def location_label(name: str) -> str:
    """'region_1' is 'Region 1'."""
    name = name.replace("_", " ")
    return name[:1].upper() + name[1:]
