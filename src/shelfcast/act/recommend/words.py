"""Recommendations in words for a category manager: groups of shoppers, never one of them."""

from __future__ import annotations

import pandas as pd

from shelfcast.act.recommend.compare import ASKED, best_other
from shelfcast.act.recommend.deliver import Recommendations
from shelfcast.act.recommend.groups import Groups
from shelfcast.act.recommend.ranking import K
from shelfcast.report.names import listed
from shelfcast.report.theme import percent

AIM = 0.05  # relative gain in NDCG over the best other way
METHODS = {
    "mix": "the mix",
    "popularity": "what all shoppers buy most",
    "personal": "what she bought most often so far",
    "als": "factorisation by ALS alone",
    "bpr": "factorisation by BPR alone",
}
WHAT = {"all": "All products", "repeat": "Products she had bought before", "explore": "Products new to her"}
ALONE = 0.8  # share of expected buyers from which on a product is called one's usual, or below one minus it, new


def headline(result: Recommendations) -> str:
    """What there is, or why there is nothing."""
    if result.lack:
        return result.lack
    n = result.frame["customer_id"].nunique()
    most = result.frame["rank"].max()
    return (
        f"For each of {n:,} shoppers: up to {most} products that she is likeliest to buy again within {result.horizon} weeks, "
        f"and up to {most} that she is likeliest to try. They are in recommendations.parquet, for systems; this page shows "
        "groups alone."
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
        reached = "is reached" if estimate >= AIM else "is missed"
        sentences.append(
            f"{WHAT[asked]}: {percent(mix['recall'])} of what {mix['n_shoppers']:,} shoppers then bought stood among the {K} "
            f"recommended to them; NDCG@{K} {mix['ndcg']:.3f}, {percent(estimate, 1, True)} against {METHODS[against]}, the best other "
            f"way (90 % interval {percent(low, 1, True)} to {percent(high, 1, True)}). The aim of {percent(AIM)} {reached}."
        )
    return sentences


def promises(result: Recommendations) -> str:
    """How the probabilities compare with what was bought."""
    expected, bought = sum(result.promised.values()), sum(result.bought.values())
    if not expected:
        return ""
    off = bought / expected - 1
    verdict = "about as many as expected" if abs(off) < AIM else f"{percent(abs(off))} {'more' if off > 0 else 'fewer'}"
    return (
        f"By their probabilities, {expected:,.0f} recommended products would have been bought in the test weeks; {bought:,} "
        f"were, {verdict}. Read probabilities as an order, and their size with that in mind."
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
    apart = listed([f"{labels.get(product, product)} ({percent(share)} did so far)" for product, share in bought])
    who = f"buys more {apart} than others do" if apart else "buys what all buy"
    likely = [_likely(row, labels) for row in groups.likely[groups.likely["group"] == group].itertuples()]
    return (
        f"Group {group}, {own['shoppers']:,} shoppers, {who}. Of 100 of them, likely buyers in the coming weeks: "
        f"{'; '.join(likely)}."
    )


def _likely(row: tuple, labels: dict[str, str]) -> str:
    again = "mostly again" if row.repeat >= ALONE else "mostly for the first time" if row.repeat <= 1 - ALONE else ""
    ending = f", {again}" if again else ""
    low, high = (f"{100 * value:.0f}" for value in (row.low, row.high))
    return f"{100 * row.share:.0f} ({low} to {high}) {labels.get(row.product_id, row.product_id)}{ending}"


def ranges(groups: Groups) -> str:
    """How often such ranges held in the test weeks."""
    if not groups.n:
        return ""
    return (
        f"The ranges should hold 80 % of what comes. In the test weeks they held {groups.inside} of {groups.n} "
        f"({percent(groups.inside / groups.n)})."
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
