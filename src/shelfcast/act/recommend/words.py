"""Recommendations in words for a category manager: groups of shoppers, never one of them."""

from __future__ import annotations

import pandas as pd

from shelfcast.act.recommend.compare import ASKED, best_other
from shelfcast.act.recommend.deliver import Recommendations
from shelfcast.act.recommend.groups import Groups
from shelfcast.act.recommend.ranking import K
from shelfcast.language import N_, _, joined, listed
from shelfcast.report.theme import percent

AIM = 0.05  # relative gain in NDCG over the best other way
METHODS = {
    "mix": N_("the mix"),
    "popularity": N_("what all shoppers buy most"),
    "personal": N_("what she bought most often so far"),
    "als": N_("factorisation by ALS alone"),
    "bpr": N_("factorisation by BPR alone"),
}
WHAT = {"all": N_("All products"), "repeat": N_("Products she had bought before"), "explore": N_("Products new to her")}
ALONE = 0.8  # share of expected buyers from which on a product is called one's usual, or below one minus it, new


def headline(result: Recommendations) -> str:
    """What there is, or why there is nothing."""
    if result.lack:
        return result.lack
    n = result.frame["customer_id"].nunique()
    most = result.frame["rank"].max()
    return _(
        "For each of {n:,} shoppers: up to {most} products that she is likeliest to buy again within {weeks} weeks, "
        "and up to {most} that she is likeliest to try. They are in recommendations.parquet, for systems; this page shows "
        "groups alone.",
        n=n,
        most=most,
        weeks=result.horizon,
    )


def quality(result: Recommendations) -> list[str]:
    """How good recommendations were in the test weeks, a sentence for all products, repeats and new ones; none without."""
    sentences = []
    for asked in ASKED:
        rows = result.scores[result.scores["asked"] == asked] if len(result.scores) else result.scores
        if rows.empty:
            continue
        mix = rows[rows["method"] == "mix"].iloc[0]
        against, estimate, low, high = best_other(result.differences, asked)
        text = N_(
            "{what}: {recall} of what {n:,} shoppers then bought stood among the {k} "
            "recommended to them; NDCG@{k} {ndcg:.3f}, {change} against {method}, the best other "
            "way (90 % interval {low} to {high}). {verdict}"
        )
        verdict = N_("The aim of {aim} is reached.") if estimate >= AIM else N_("The aim of {aim} is missed.")
        sentences.append(
            _(
                text,
                what=_(WHAT[asked]),
                recall=percent(mix["recall"]),
                n=mix["n_shoppers"],
                k=K,
                ndcg=mix["ndcg"],
                change=percent(estimate, 1, True),
                method=_(METHODS[against]),
                low=percent(low, 1, True),
                high=percent(high, 1, True),
                verdict=_(verdict, aim=percent(AIM)),
            )
        )
    return sentences


def promises(result: Recommendations) -> str:
    """How the probabilities compare with what was bought."""
    expected, bought = sum(result.promised.values()), sum(result.bought.values())
    if not expected:
        return ""
    off = bought / expected - 1
    verdict = N_("{share} more") if off > 0 else N_("{share} fewer")
    if abs(off) < AIM:
        verdict = N_("about as many as expected")
    return _(
        "By their probabilities, {expected:,.0f} recommended products would have been bought in the test weeks; {bought:,} "
        "were, {verdict}. Read probabilities as an order, and their size with that in mind.",
        expected=expected,
        bought=bought,
        verdict=_(verdict, share=percent(abs(off))),
    )


def group_sentence(groups: Groups, group: int, labels: dict[str, str]) -> str:
    """Who a group is and what it is likely to buy.

    Parameters
    ----------
    labels : product_id -> what people call it.

    Examples
    --------
    'Group 1, 516 shoppers, buys more cola (41 % did so far) than others do. Of 100 of them, likely buyers in the coming
    weeks: 6 (4 to 9) cola, mostly again; 3 (2 to 5) lemonade.'
    """
    own = groups.sizes.set_index("group").loc[group]
    bought = zip(own["products"], own["bought"], strict=True)
    so_far = N_("{product} ({share} did so far)")
    apart = [_(so_far, product=labels.get(product, product), share=percent(share)) for product, share in bought]
    who = _("buys more {products} than others do", products=listed(apart)) if apart else _("buys what all buy")
    likely = [_likely(row, labels) for row in groups.likely[groups.likely["group"] == group].itertuples()]
    return _(
        "Group {group}, {n:,} shoppers, {who}. Of 100 of them, likely buyers in the coming weeks: {likely}.",
        group=group,
        n=own["shoppers"],
        who=who,
        likely=joined(likely, ";"),
    )


def _likely(row: tuple, labels: dict[str, str]) -> str:
    text = N_("{share:.0f} ({low:.0f} to {high:.0f}) {product}")
    if row.repeat >= ALONE:
        text = N_("{share:.0f} ({low:.0f} to {high:.0f}) {product}, mostly again")
    elif row.repeat <= 1 - ALONE:
        text = N_("{share:.0f} ({low:.0f} to {high:.0f}) {product}, mostly for the first time")
    shares = {"share": 100 * row.share, "low": 100 * row.low, "high": 100 * row.high}
    return _(text, product=labels.get(row.product_id, row.product_id), **shares)


def ranges(groups: Groups) -> str:
    """How often such ranges held in the test weeks."""
    if not groups.n:
        return ""
    return _(
        "The ranges should hold 80 % of what comes. In the test weeks they held {inside} of {n} ({share}).",
        inside=groups.inside,
        n=groups.n,
        share=percent(groups.inside / groups.n),
    )


def group_table(groups: Groups, labels: dict[str, str]) -> pd.DataFrame:
    """One row for each group and product that it is likely to buy: Group, Shoppers, Product, Buyers of 100, 80 % range."""
    likely = groups.likely.merge(groups.sizes[["group", "shoppers"]], on="group")
    return pd.DataFrame(
        {
            "Group": likely["group"],
            "Shoppers": likely["shoppers"],
            "Product": likely["product_id"].map(lambda product: labels.get(product, product)),
            "Buyers of 100": (100 * likely["share"]).round(1),
            "80 % range": [f"{100 * low:.1f} to {100 * high:.1f}" for low, high in likely[["low", "high"]].to_numpy()],
        }
    )
