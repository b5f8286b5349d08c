"""What the report says: names, totals with honest ranges, and sentences whose numbers come from the frames.

The range of a sum is not the sum of ranges. Over a product's weeks the errors are correlated as they were at past
cutoffs (`week_correlation`), and the sum is a negative binomial of that mean and variance. Over products a common
error remains that no product's own distribution shows; so the range of a total (`total`) is the larger of what
independent products give and of how far the total missed at past cutoffs, by Student's t on the few separate
stretches of weeks there are.
"""

import re
import textwrap
from html import escape

import numpy as np
import pandas as pd
from scipy import stats

from shelfcast.judge.distribution import negative_binomial_quantiles
from shelfcast.report.plots import percent, units

METHODS = {  # key -> (name, group, in plain words)
    "shelfcast": ("Shelfcast", "ours", "a pretrained language model that reads product text, past weeks and all regions at once"),
    "lightgbm": ("LightGBM", "alternative", "boosted decision trees on the same columns: the usual strong choice"),
    "lightgbm_joint": ("LightGBM of many categories", "alternative", "the same, taught by many categories"),
    "lightgbm_pair": ("LightGBM pair", "alternative", "the geometric mean of these two: the strongest alternative"),
    "moving_average_8": ("8-week average", "alternative", "the mean of the last eight weeks, as a spreadsheet would"),
    "auto_ets": ("AutoETS", "alternative", "exponential smoothing without trend, its error form chosen for each series"),
    "croston_sba": ("Croston SBA", "alternative", "a classic for products that sell now and then"),
    "fracast": ("Fracast", "alternative", "a pretrained time-series model that has never seen these data"),
    "article_bert": ("BERT on sales text", "alternative", "sales written as sentences, read by a language model"),
    "blend": ("Blend", "control", "between Shelfcast and LightGBM, where the validation weeks put it"),
    "alone": ("Shelfcast, this category alone", "control", "the same model, taught by no other category"),
    "random_backbone": ("Shelfcast, random start", "control", "that one without what the language model had learned"),
    "small_transformer": ("Small transformer", "control", "that one without any language model"),
    "shelfcast_price_plan": ("Shelfcast, prices known", "upper bound", "told the prices of the coming weeks: not a fair row"),
    "lightgbm_price_plan": ("LightGBM, prices known", "upper bound", "told the prices of the coming weeks: not a fair row"),
    "category_mean": ("Category mean", "alternative", "what the category's products usually sell"),
    "nearest_by_attributes": ("Ten most alike", "alternative", "what the ten products nearest by attributes and price sell"),
    "oracle": ("Truth", "upper bound", "the simulated market's own expectation: nothing can beat it"),
}  # fmt: skip
WITHOUT = {  # ablation -> (name, group): a control tells nothing, so it should cost nothing more
    "no_text": ("no product text", "kept from it"),
    "no_picture": ("no pictures", "kept from it"),
    "no_behavior": ("no shoppers' behaviour", "kept from it"),
    "no_space": ("no view of other regions", "kept from it"),
    "no_plan": ("no promotions and prices", "kept from it"),
    "random_backbone": ("language model not pretrained", "control"),
    "shuffled_text": ("texts of other products", "control"),
    "noise_pictures": ("noise for pictures", "control"),
    "shuffled_stores": ("regions exchanged on the map", "control"),
}  # fmt: skip
SHORT = {  # till abbreviations, whatever the category
    "sft": "soft", "drnk": "drink", "drnks": "drinks", "btl": "bottle", "carb": "carbonated", "mlt": "multi", "pk": "pack",
    "sngl": "single", "srv": "serve", "frzn": "frozen", "wtr": "water", "flvrd": "flavored", "choc": "chocolate",
    "reg": "regular", "asst": "assorted", "pkg": "package", "l": "L",
}  # fmt: skip


def _words(text: str) -> str:
    return re.sub(r"[a-z]+", lambda word: SHORT.get(word[0], word[0]), re.sub(r"(?<=\d)pk", " pk", text))


def category_label(name: str) -> str:
    """'FRZN POTATOES' is 'Frozen potatoes'."""
    return _words(name.replace("_", " ").lower()).capitalize()


def product_label(row: pd.Series) -> str:
    """A human name from a product's attributes; its id must stand beside it, since many products share a name.

    'SFT DRNK 2 LITER BTL CARB INCL' of 'SOFT DRINKS' is '2 liter bottle carbonated': these till names are cut at 30
    letters, so the last piece goes, and so does the category.
    """
    name = next((str(row[c]) for c in ("name", "product_type") if isinstance(row.get(c), str)), str(row["text"]))
    name = re.sub(r"\s*\([^)]*$", "", (name.rsplit(" ", 1)[0] if len(name) == 30 else name).lower())
    name = _words(name.replace("&", " & "))
    for word in str(row.get("category") or "").lower().split():
        name = re.sub(rf"^{re.escape(word.rstrip('s'))}s?\b[\s:,]*", "", name)
    name = textwrap.shorten(name, 60, placeholder=" …") or str(row.get("category", "product")).lower()
    size = _words(str(row.get("package_size") or "nan").lower())
    if size != "nan" and size.split()[0] not in name.split():
        name += f", {size}"
    return name[:1].upper() + name[1:] + (", store brand" if row.get("brand") == "Private" else "")


def method_name(key: str) -> str:
    return METHODS.get(key, (key.replace("_", " "),))[0]


def method_group(key: str) -> str:
    return METHODS.get(key, ("", "upper bound" if key.endswith("_price_plan") else "alternative"))[1]


def without_name(variant: str) -> str:
    """Of an ablation: 'new_no_text' is 'no product text' told of a new product."""
    key = variant.removeprefix("new_")
    return WITHOUT.get(key, (key.replace("_", " "),))[0]


def day(date: pd.Timestamp) -> str:
    return f"{date.day} {date:%B %Y}"


def _spread(frame: pd.DataFrame) -> pd.Series:
    """Standard deviation of each row; from its 80 % range where there is no count distribution."""
    counts = np.sqrt(frame["mean"] + frame["dispersion"] * frame["mean"] ** 2)
    return counts.fillna((frame["q900"] - frame["q100"]) / 2.563).clip(lower=1e-6)


def week_correlation(past: pd.DataFrame) -> float:
    """Correlation of a series' standardised errors between the weeks of one forecast, pooled over past cutoffs.

    Worked example: two series with errors (1, 1) and (1, -1): the pairs 1 and -1 cancel, correlation 0.
    """
    groups = ((past["y"] - past["mean"]) / _spread(past)).groupby([past["unique_id"], past["cutoff"]])
    squares = groups.agg(lambda z: (z**2).sum())
    return float(np.clip((groups.sum() ** 2 - squares).sum() / (squares * (groups.size() - 1)).sum(), 0, 1))


def sums(ahead: pd.DataFrame, correlation: float) -> pd.DataFrame:
    """Per series: mean, sd, low and high (80 %) of its units over all weeks of `ahead`."""
    groups = ahead.assign(sd=_spread(ahead)).assign(own=lambda f: f["sd"] ** 2).groupby("unique_id")
    out = groups[["mean", "sd", "own"]].sum()
    variance = (1 - correlation) * out["own"] + correlation * out["sd"] ** 2
    alpha = ((variance - out["mean"]) / out["mean"] ** 2).clip(lower=0)
    low, high = negative_binomial_quantiles(out["mean"], alpha, (0.1, 0.9)).T
    return pd.DataFrame({"mean": out["mean"], "sd": np.sqrt(variance), "low": low, "high": high})


def total(past: pd.DataFrame, ahead: pd.DataFrame, correlation: float) -> pd.Series:
    """Units of all series of `ahead` together: mean, q100, q250, q750, q900, and `miss`.

    `past` holds forecasts of the same series whose weeks have come; `miss` is the root mean squared relative error
    of their totals per cutoff.
    """
    known = past.groupby("cutoff")[["y", "mean"]].sum().clip(lower=1e-9)
    miss = float(np.sqrt((np.log(known["y"] / known["mean"]).clip(-2, 2) ** 2).mean()))
    products, stretches = sums(ahead, correlation), max(1, past["ds"].nunique() // ahead["ds"].nunique())
    mean = products["mean"].sum()
    scale = max(miss, np.sqrt((products["sd"] ** 2).sum()) / mean)
    bands = {f"q{q}": mean * np.exp(stats.t.ppf(q / 1000, stretches) * scale) for q in (100, 250, 750, 900)}
    return pd.Series({"mean": mean, **bands, "miss": miss})


def change_words(now: float, before: float, words: tuple[str, str, str] = ("more", "less", "as many as")) -> str:
    """'14 % less than', or 'as many as' where it rounds to nothing."""
    change = now / max(before, 1e-9) - 1
    return words[2] if abs(change) < 0.005 else f"{percent(abs(change))} {words[int(change < 0)]} than"


def what_will_sell(outlook: pd.Series, before: float, first: pd.Timestamp, weeks: int) -> str:
    """The coming weeks' total, its range and its change, as HTML."""
    inside = outlook["q100"] <= before <= outlook["q900"]
    return (
        f"<b>{units(outlook['mean'])} units</b> from {day(first)} to {day(first + pd.Timedelta(7 * weeks - 1, 'D'))}; "
        f"four chances in five that it is between {units(outlook['q100'])} and {units(outlook['q900'])}. That is "
        f"<b>{change_words(outlook['mean'], before)}</b> the {units(before)} of the last {weeks} weeks, a change "
        f"{'that may still be chance' if inside else 'beyond that range'}."
    )


def how_sure(score: dict, miss: float, gain: tuple[float, float, float], rival: str, n_weeks: int, weeks: int) -> str:
    """What the test weeks showed: coverage, typical error, and the difference to the best alternative."""
    estimate, low, high = gain
    span = f"90 % interval {percent(low, 1, True)} to {percent(high, 1, True)}"
    verdict = f"{percent(abs(estimate), 1)} {'lower' if estimate < 0 else 'higher'} than that of {rival}, the best alternative"
    doubt = "" if low * high > 0 else ": no clear difference"
    return (
        f"In {n_weeks} test weeks that the model had never seen, its 80 % range held "
        f"<b>{percent(score['coverage_80'])}</b> of the products' weeks. One product's week was missed by "
        f"<b>{percent(score['wape'])}</b> of the units sold, the category's {weeks} weeks by <b>{percent(miss)}</b>. "
        f"The forecast's error is {verdict} ({span}){doubt}."
    )


def _named(rows: pd.DataFrame, told, most: int = 2) -> tuple[str, str]:
    """How many products, and the first few of them by name and number with what `told` says of each."""
    names = [
        f"{escape(row.label)} <span class='id'>{row.Index}</span>{told(row)}" for row in rows.head(most).itertuples()
    ]
    return "1 product" if len(rows) == 1 else f"{len(rows)} products", " and ".join(names)


def movers(products: pd.DataFrame, word: str, weeks: int) -> str:
    """Products whose last weeks lie below ('rise') or above ('fall') the whole 80 % range, largest move first.

    A product that sold nothing lately is no riser: see `silent`.
    """
    rise = word == "rise"
    rows = products[
        products["low"].gt(products["last"]) & products["last"].gt(0) if rise else products["high"] < products["last"]
    ]
    if rows.empty:
        return f"No product is sure to {word}: all sold at least as {'much' if rise else 'little'} lately as is likely."
    rows = rows.loc[(rows["mean"] - rows["last"]).abs().sort_values(ascending=False).index]
    count, names = _named(rows, lambda row: f" from {units(row.last)} to {units(row.mean)}")
    return f"<b>{count} very likely to {word}</b> against the last {weeks} weeks, most of all {names}."


def silent(products: pd.DataFrame, weeks: int) -> str:
    """Products without a sale lately of which some were likely: perhaps no longer on the shelf; '' where none."""
    rows = products[products["low"].gt(0) & products["last"].eq(0)].sort_values("mean", ascending=False)
    count, names = _named(rows, lambda row: f" ({units(row.mean)} expected)")
    again = "them" if len(rows) > 1 else "it"
    said = f"<b>{count} sold nothing</b> in the last {weeks} weeks though sales were likely; see whether the shelf still has {again}"
    return f"{said}: {names}." if len(rows) else ""


def differing(regions: pd.DataFrame, chain: float) -> str:
    """Regions whose change range leaves out the chain's change; else the widest apart, said to be within chance."""
    apart = (regions["change"] - chain).abs().sort_values(ascending=False).index
    sure = [name for name in apart if not regions.loc[name, "low"] <= chain <= regions.loc[name, "high"]]
    names = [f"{name} ({percent(regions.loc[name, 'change'], sign=True)})" for name in sure or apart[:1]]
    against = f"the chain's {percent(chain, sign=True)}"
    if sure:
        return f"<b>{' and '.join(names)}</b> {'differ' if len(sure) > 1 else 'differs'} from {against}."
    return f"<b>All regions move alike</b>: {names[0]} is furthest from {against}, within what chance can do."
