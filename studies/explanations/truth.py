"""What truly moves a product's demand on the simulated market: contributions by its laws, in units, by group of inputs.

The laws are a sum of effects on log demand, so each set of groups has a true mean: effects of groups in the set are those
of the coming weeks, as far as the true state at the cutoff foretells them, and effects of the others are as usual, by
the same rule as `shelfcast.why.explain.usual` (no promotion, the median price, else the mean of the weeks that the level
is made of). True contributions are the Shapley values of these means. The level is known in every set, as it is to the
model: as usual, a product is as popular as its level makes it look.

| group | true effect |
|---|---|
| promotion | mailer and display |
| price | elasticity times log price |
| season | the product's season, and holidays |
| own | its popularity, against what the level says of it (which luck is in, too) |
| category | promotions of rivals |
| regions | local shocks, which travel from store to store |
| behavior | its interest, which views and clicks show a week ahead |

Text and picture have no true counterpart: a product's history shows its appeal.
Axes: B products, S stores, T weeks so far, H horizons, L locations, G groups.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.market import laws
from shelfcast.market.laws import EFFECTS, LAW
from shelfcast.panel.frame import LEVEL_FLOOR
from shelfcast.why.explain.usual import USUAL_PRICE_WEEKS, weights_of_level
from shelfcast.why.explain.value import coalitions

GROUPS = ["promotion", "price", "season", "own", "category", "regions", "behavior"]


def true_units(
    market: dict,
    products: list[str],
    cutoff: pd.Timestamp,
    stores_by_location: dict[str, list[str]],
    level: np.ndarray,
) -> np.ndarray:
    """(2^7, B, L, H) true mean units with each set of `GROUPS` as it is and the others as usual.

    Parameters
    ----------
    market : the truth, see `market.tables.load_truth`. products : ids. level : (B, L) units a week, the panel's at the
        cutoff.

    Raises
    ------
    ValueError : a market where shoppers choose among products: there, effects do not add up.
    """
    if market["settings"]["mechanism"] != "log_linear":
        raise ValueError(
            f"true contributions are known where effects add up, and mechanism is {market['settings']['mechanism']!r}. "
            "Explain a market of mechanism: log_linear."
        )
    rows = market["products"].set_index("product_id").index.get_indexer(products)
    now, horizon = market["mondays"].get_loc(cutoff), market["settings"]["horizon"]
    stores = market["stores"]["store_id"]
    members = np.stack([stores.isin(names) for names in stores_by_location.values()]).astype(float)  # L S
    shoppers = market["level"]["shoppers"] * market["stores"]["size"].to_numpy()[:, None]  # S 1
    fixed = _fixed(market, rows, now, horizon)
    effects = {name: _effect(name, market, rows, now, horizon) for name in GROUPS if name != "own"}
    own = _popularity(market, rows, now, horizon, members, level)
    units = []
    for sets in coalitions(len(GROUPS)):
        usual = dict(zip(GROUPS, (~sets).astype(int), strict=True))
        log = fixed + sum(effects[name][usual[name]] for name in effects)
        units.append(np.einsum("bsh,ls->blh", shoppers * np.exp(log), members) * np.exp(own[usual["own"]]))
    return np.stack(units)


def _fixed(market: dict, rows: np.ndarray, now: int, horizon: int) -> np.ndarray:
    """(B, S, H) log demand that is in no group: appeal, taste, age, and a rival that is open at the cutoff."""
    products, stores = market["products"].iloc[rows], market["stores"]
    weeks = np.arange(now + 1, now + 1 + horizon)
    appeal = products[["tidy_appeal", "text_appeal", "picture_appeal", "own_appeal"]].sum(axis=1).to_numpy()
    age = np.maximum(weeks - products["launch"].to_numpy()[:, None], 0)
    newness = LAW.newness * np.exp(-age / LAW.newness_weeks)  # B H
    taste = market["taste"][rows] + laws.city_taste(products[EFFECTS], stores)  # B S
    rival = market["rival"] * (market["regime"][now] > 1)
    return appeal[:, None, None] + taste[..., None] + newness[:, None] + rival[:, None]


def _effect(group: str, market: dict, rows: np.ndarray, now: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The effect of a group on log demand in the coming weeks, and as usual; both broadcast to (B, S, H)."""
    products, ahead = market["products"].iloc[rows], np.arange(1, horizon + 1)
    weeks, past = now + ahead, np.arange(now + 1)

    def usual_mean(x: np.ndarray) -> np.ndarray:
        return (x * _weights(market, rows, now)).sum(1, keepdims=True)  # B T -> B 1

    if group == "promotion":
        mailer = products["text_promotion"].to_numpy()[:, None] * market["plan_mailer"][rows][:, weeks]
        display = products["picture_display"].to_numpy()[:, None, None] * market["plan_display"][rows][:, :, weeks]
        return LAW.mailer * mailer[:, None] + LAW.display * display, np.zeros((1, 1, 1))
    if group == "regions":
        shocks, shock = [], market["field"][:, now]
        travel, _ = laws.shock_law(market["stores"])
        for _ in ahead:
            shock = travel @ shock
            shocks.append(shock)
        return np.stack(shocks, -1)[None], np.zeros((1, 1, 1))
    if group == "price":
        log_price = market["plan_log_price"][rows]
        response = products["elasticity"].to_numpy()[:, None] * market["regime"][now]
        on_sale = _weights(market, rows, now) > 0
        recent = np.where(on_sale, log_price[:, past], np.nan)[:, -USUAL_PRICE_WEEKS:]
        usual = np.nanmedian(recent, 1, keepdims=True)
        return _everywhere(response * log_price[:, weeks], response * usual)
    if group == "season":
        both = [laws.season(products, t) + LAW.holiday * market["plan_holiday"][t] for t in (weeks, past)]
        return _everywhere(both[0], usual_mean(both[1]))
    if group == "category":
        rivals = LAW.rivals * market["plan_rivals"][rows]
        return _everywhere(rivals[:, weeks], usual_mean(rivals[:, past]))
    interest = market["interest"][rows]  # views show that of the coming week
    foretold = interest[:, [now + 1]] * LAW.interest.persistence ** (ahead - 1)
    return _everywhere(foretold, usual_mean(interest[:, past]))


def _popularity(
    market: dict, rows: np.ndarray, now: int, horizon: int, members: np.ndarray, level: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log popularity in the coming weeks (B, 1, H), and what the level (B, L) says of it (B, L, 1).

    The level divided by what it would be without popularity and luck.
    """
    popularity = market["popularity"][rows]
    foretold = popularity[:, [now]] * LAW.popularity.persistence ** np.arange(1, horizon + 1)
    without = market["mean"][rows][..., : now + 1] * np.exp(-popularity[:, None, : now + 1])  # B S T
    without = np.einsum("bst,ls,bt->bl", without, members, _weights(market, rows, now))
    level = np.maximum(level - LEVEL_FLOOR, LEVEL_FLOOR / 2)  # without what keeps it above zero
    return foretold[:, None], np.log(level / without)[..., None]


def _everywhere(*effects: np.ndarray) -> tuple[np.ndarray, ...]:
    """(B, H) the same in all stores."""
    return tuple(x[:, None] for x in effects)


def _weights(market: dict, rows: np.ndarray, now: int) -> np.ndarray:
    """(B, T) of the weeks so far, as `usual` weighs them, from the launch on."""
    launch = market["products"]["launch"].to_numpy()[rows]
    return weights_of_level(now + 1 - np.clip(launch, 0, now + 1), now + 1)
