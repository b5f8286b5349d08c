"""Features of product x location x week, each with a declared role and all causal.

Arrays have the axes P products, L locations (chain first), T weeks. A `past` column at week t is computed from weeks
<= t; a `known_future` column is known in advance for its own week; a `price_plan` column is the realised price read
as if it had been planned, an upper bound that is off by default.
"""

from __future__ import annotations

import re

import holidays
import numpy as np
import pandas as pd

LEVEL_FLOOR = 0.1  # units a week; keeps the level of a product that has not sold above zero
NEW = 4  # weeks of its own that weigh as much as what a product of the category usually sells
OLD = 52  # weeks after its launch when a product no longer counts as new
YEAR = 52  # weeks
SHARED = 20  # units of a product, so few that its shares by location are half its own and half the category's
SETTLED = 8  # weeks before shares are known
MOST_EVENTS = 8  # kinds of behaviour, the most frequent ones

MEANING = {  # column -> (role, what it means); channels, seasons and events are added as found
    "price_level": ("static", "log of the price in the training weeks: mean of those paid, or median of those planned"),
    "location_share": ("static", "location's share of the category's training units"),
    "promo_known": ("static", "share of the location's units sold in stores with promotion records"),
    "level": ("past", "robust level: half 13-week mean, half running mean, plus 0.1 units"),
    "level_4": ("past", "mean units of the last 4 weeks"),
    "level_8": ("past", "mean units of the last 8 weeks"),
    "level_13": ("past", "mean units of the last 13 weeks"),
    "level_26": ("past", "mean units of the last 26 weeks"),
    "lag_0": ("past", "units of this week"),
    "lag_1": ("past", "units one week ago"),
    "lag_2": ("past", "units two weeks ago"),
    "lag_3": ("past", "units three weeks ago"),
    "weeks_since_sale": ("past", "weeks since the last sale, at most 26"),
    "share_weeks_sold": ("past", "share of weeks with a sale so far"),
    "mean_promoted": ("past", "mean units so far in weeks when most stores promoted it, shrunk to the level"),
    "mean_unpromoted": ("past", "mean units so far in the other weeks, shrunk to the level"),
    "level_chain": ("past", "the product's robust level in the whole chain"),
    "category_level": ("past", "category units at the location, last 4 weeks over the running mean"),
    "category_now": ("past", "category units at the location, this week over the running mean"),
    "location_now": (
        "past",
        "log of the location's units this week over its typical shares of the chain's, by product",
    ),
    "traffic": ("past", "baskets of any category at the location, this week over the running mean"),
    "buyers": ("past", "distinct customers who bought it this week"),
    "baskets": ("past", "baskets with it this week"),
    "repeat_share": ("past", "share of this week's buyers who had bought it in an earlier week"),
    "coupons": ("past", "baskets this week in which a coupon was redeemed on it"),
    "price_ratio": ("past", "log of the last seen price over its own earlier mean"),
    "discount": ("past", "last seen discount as a share of the price before it"),
    "promotion": ("known_future", "share of the location's recorded stores that promote it in any channel"),
    "category_promotion": ("known_future", "mean promotion of the category's other products at the location"),
    "holiday": ("known_future", "public holidays in the week"),
    "holiday_next": ("known_future", "public holidays in the week after"),
    "month_start": ("known_future", "share of the week's days that are among the first seven of a month"),
    "price": ("known_future", "log of the planned price over the product's typical one, the price level"),
    "price_cut": ("known_future", "log of the planned price over the regular one: median of the planned prices so far"),
    "on_sale": ("known_future", "1 from the week of the product's launch on"),
    "age": ("known_future", "log of one plus weeks since the launch, at most 52"),
    "season_sin": ("known_future", "sine of the day of the year"),
    "season_cos": ("known_future", "cosine of the day of the year"),
    "price_ratio_plan": ("price_plan", "log of the week's chain-wide price over its own earlier mean"),
}


def cube(rows: pd.DataFrame, value: str, how: str, shape: tuple) -> np.ndarray:
    """Aggregate rows to (P, L, T); the chain is aggregated itself, since distinct counts do not add up."""
    cube = np.zeros(shape)
    for keys, place in ((["item", "place", "week"], None), (["item", "week"], 0)):
        kept = rows[rows["place"] > 0] if place is None else rows
        found = kept.groupby(keys)[value].agg(how)
        index = [found.index.get_level_values(k).to_numpy() for k in keys]
        cube[(index[0], index[1], index[2]) if place is None else (index[0], place, index[1])] = found
    return cube


def shift(x: np.ndarray, k: int) -> np.ndarray:
    return np.concatenate([np.zeros_like(x[..., :k]), x[..., : x.shape[-1] - k]], -1)


def mean(x: np.ndarray, k: int | None = None, n: np.ndarray | None = None) -> np.ndarray:
    """Mean over the last k weeks (all so far for None), fewer where there are fewer; `n` weeks count so far."""
    total = np.cumsum(x, -1)
    n = np.arange(1, x.shape[-1] + 1) if n is None else n
    return total / np.maximum(n, 1) if k is None else (total - shift(total, k)) / np.clip(n, 1, k)


def meaning(column: str) -> str:
    """What a column means, for `Panel.describe`."""
    if column.startswith("event_"):
        kind = column.removeprefix("event_").removesuffix("_level").replace("_", " ")
        typical = "log of one plus the mean of the last 13 weeks" if column.endswith("_level") else "log, this week over the mean so far"  # fmt: skip
        return f"events of kind {kind}: {typical}"
    if column.startswith("store_"):
        return "of the location's stores, weighted by training units: share with the value, or mean"
    return MEANING.get(column, ("", "share of stores, this channel"))[1]


def _slug(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_")


def past(items, rows, y, promotion, shape, launch: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns known at the end of their own week, each (P, L, T), and what a product sold in four weeks' mean, (L, T).

    A product's history begins with its launch: before it, columns of its own are NaN, and its level is what products
    of the category sell there; after it the two are blended until its own weeks outweigh the others.

    Parameters
    ----------
    items, rows : line items of the chosen products, and of all products, with `place` and `week` (and `item`).
    y, promotion : (P, L, T) units, and the share of stores that promote. launch : (P,) week, negative for long ago.
    """
    n_places, n_weeks = shape[1:]
    week = np.arange(n_weeks)
    n = np.broadcast_to(np.clip(week + 1 - np.maximum(launch, 0)[:, None], 0, None)[:, None], shape)
    columns = {f"level_{k}": mean(y, k, n) for k in (4, 8, 13, 26)}
    own = 0.5 * columns["level_13"] + 0.5 * mean(y, None, n)
    settled = n >= np.minimum(week + 1, 13)
    typical = (columns["level_4"] * settled).sum(0) / np.maximum(settled.sum(0), 1)
    weight = np.where(launch[:, None, None] >= 0, n / (n + NEW), 1.0)
    level = weight * own + (1 - weight) * typical + LEVEL_FLOOR
    columns |= {"level": level, "level_chain": np.broadcast_to(level[:, :1], shape)}
    columns |= {f"lag_{k}": shift(y, k) for k in range(4)}
    last = np.maximum.accumulate(np.where(y > 0, week, -26), -1)
    columns["weeks_since_sale"] = np.minimum(week - last, 26).astype(float)
    columns["share_weeks_sold"] = mean(y > 0, None, n)
    for name, on in (("mean_promoted", promotion >= 0.5), ("mean_unpromoted", promotion < 0.5)):
        on = on & (n > 0)
        columns[name] = (np.cumsum(y * on, 2) + level) / (np.cumsum(on, 2) + 1)

    def by_place(frame: pd.DataFrame, value: str, how: str) -> np.ndarray:  # (L, T)
        return cube(frame.assign(item=0), value, how, (1, n_places, n_weeks))[0]

    if "basket_id" in rows:
        columns["baskets"] = cube(items, "basket_id", "nunique", shape)
        if "coupon" in items:
            columns["coupons"] = cube(items[items["coupon"] > 0], "basket_id", "nunique", shape)
    if "customer_id" in rows:
        columns["buyers"] = cube(items, "customer_id", "nunique", shape)
        first = items.groupby(["item", "customer_id"])["week"].transform("min")
        again = cube(items[items["week"] > first], "customer_id", "nunique", shape)
        columns["repeat_share"] = again / np.maximum(columns["buyers"], 1)
    kept = ("level", "level_chain")
    columns = {k: x if k in kept else np.where(n > 0, x, np.nan) for k, x in columns.items()}
    units = by_place(rows[rows["in_category"]], "quantity", "sum")
    columns["category_level"] = np.broadcast_to((mean(units, 4) + 1) / (mean(units) + 1), shape)
    columns["category_now"] = np.broadcast_to(np.log((units + 1) / (mean(units) + 1)), shape)
    columns["location_now"] = np.broadcast_to(location_now(y), shape)
    if "basket_id" in rows:
        baskets = by_place(rows[["place", "week", "basket_id"]].drop_duplicates(), "basket_id", "size")
        columns["traffic"] = np.broadcast_to((baskets + 1) / (mean(baskets) + 1), shape)
    return columns, typical + LEVEL_FLOOR


def location_now(y: np.ndarray) -> np.ndarray:
    """Log of what each location sold in a week over what its typical shares of the chain's units make, (P, L, T) -> (L, T).

    What all locations share (a promotion, a season, a fashion) cancels out product by product. The shares are those of
    the weeks before, drawn towards the category's. The chain's is 0, and so is every location's in the first weeks.
    """
    regions = y[:, 1:]
    before = shift(np.cumsum(regions, -1), 1)
    kin = before.sum(0) / np.maximum(before.sum((0, 1)), 1)
    share = (before + SHARED * kin) / (before.sum(1, keepdims=True) + SHARED)
    expected = (regions.sum(1, keepdims=True) * share).sum(0)
    found = np.log((regions.sum(0) + 1) / (expected + 1))
    found[:, :SETTLED] = 0.0
    return np.concatenate([np.zeros_like(found[:1]), found])


def events(table: pd.DataFrame, chosen, regions: dict, names, weeks: pd.DatetimeIndex) -> dict[str, np.ndarray]:
    """Two past columns for each kind of shopper behaviour, (P, L, T): this week against typical, and how much is typical.

    Events without a store are seen by every location.
    """
    shape, item = (len(chosen), len(names), len(weeks)), {p: i for i, p in enumerate(chosen)}
    store = table["store_id"] if "store_id" in table else pd.Series(np.nan, table.index)
    rows = table.assign(
        item=table["product_id"].map(item),
        place=store.map(regions).map({name: i for i, name in enumerate(names)}).fillna(0).astype(int),
        week=(table["timestamp"].dt.normalize() - weeks[0]).dt.days // 7,
        count=table.get("count", 1.0),
    )
    rows = rows[rows["item"].notna() & rows["week"].between(0, len(weeks) - 1)].astype({"item": int})
    columns = {}
    for kind in rows.groupby("event")["count"].sum().nlargest(MOST_EVENTS).index.sort_values():
        seen = rows[rows["event"] == kind]
        count = cube(seen, "count", "sum", shape)
        if not (seen["place"] > 0).any():
            count = np.broadcast_to(count[:, :1], shape)
        n = np.maximum.accumulate(count > 0, -1).cumsum(-1)  # weeks since the first one
        columns[f"event_{_slug(kind)}"] = np.log((count + 1) / (mean(count, None, n) + 1))
        columns[f"event_{_slug(kind)}_level"] = np.log1p(mean(count, 13, n))
    return columns


def planned_prices(table: pd.DataFrame, chosen, regions: dict, names, ahead: pd.DatetimeIndex, train_end: int):
    """The price plan as known-future columns (P, L, T + horizon): against the typical price, and against the regular one.

    Weeks without a price keep the one before, those before the first one have that; a product without any has the
    median of the others.

    Returns
    -------
    Columns; the static price level (P, L); whether the plan of the coming weeks had to be assumed.
    """
    weeks = pd.RangeIndex(len(ahead))
    rows = table[table["product_id"].isin(chosen)].assign(week=(table["week"] - ahead[0]).dt.days // 7)
    rows = rows.assign(price=np.log(rows["price"]))
    everywhere = rows.groupby(["product_id", "week"])["price"].mean().unstack("product_id")
    found = [everywhere]
    for name in names[1:]:
        if "store_id" in rows:
            here = rows[rows["store_id"].map(regions) == name]
            here = here.groupby(["product_id", "week"])["price"].mean().unstack("product_id")
            found.append(here.reindex(index=everywhere.index, columns=everywhere.columns).fillna(everywhere))
        else:
            found.append(everywhere)
    filled = []
    for wide in found:
        wide = wide.reindex(index=weeks.union(wide.index)).ffill().reindex(weeks).bfill().reindex(columns=chosen)
        filled.append(wide.T.fillna(wide.median(axis=1)).T)
    price = np.stack([wide.to_numpy().T for wide in filled], 1)  # P L T+H
    regular = np.stack([wide.expanding().median().to_numpy().T for wide in filled], 1)
    level = np.median(price[..., :train_end], -1)
    columns = {"price": price - level[..., None], "price_cut": price - regular}
    return columns, level, bool(rows["week"].max() < len(ahead) - 1)


def year_ago(y: np.ndarray, category: np.ndarray, launch: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
    """What last year tells of a week's season, each (P, L, T + horizon); NaN where there was none.

    Units in the whole chain, of the five weeks around the same week a year ago, over a mean of 52 weeks that ends
    `horizon` weeks before: known at every cutoff from which the week is forecast. A product that is younger has its
    category's.
    """
    n_places, n_weeks = y.shape[1:]
    week = np.arange(n_weeks + horizon)
    around, until = np.maximum(week - YEAR + 2, 0), np.maximum(week - horizon, 0)

    def index(x):
        return np.log((mean(x, 5)[:, around] + LEVEL_FLOOR) / (mean(x, YEAR)[:, until] + LEVEL_FLOOR))

    kin = (category[:, None] == category) & (launch < 0)
    theirs = index(kin @ y[:, 0])
    own = np.where(week - YEAR - 2 < launch[:, None], theirs, index(y[:, 0]))
    columns = {"year_ago": own, "year_ago_category": theirs}
    columns = {name: np.where(week >= YEAR + 2, x, np.nan)[:, None] for name, x in columns.items()}
    return {name: np.repeat(x, n_places, 1) for name, x in columns.items()}


def newness(launch: np.ndarray, shape: tuple) -> dict[str, np.ndarray]:
    """Known-future columns of a product's launch, each of `shape` (P, L, T + horizon)."""
    age = np.arange(shape[2]) - np.where(launch < 0, -OLD, launch)[:, None]
    columns = {"on_sale": age >= 0, "age": np.log1p(np.clip(age, 0, OLD))}
    return {name: np.broadcast_to(np.asarray(x, float)[:, None], shape) for name, x in columns.items()}


def store_traits(stores: pd.DataFrame, units: pd.Series, regions: dict, names) -> dict[str, np.ndarray]:
    """Static columns (L,) of a location's stores, weighted by their training units: shares of values, means of numbers."""
    frame = stores.set_index("store_id").drop(columns="region", errors="ignore")
    weight = units.reindex(frame.index).fillna(0) + 1e-3
    home = pd.Series(frame.index.map(regions), frame.index)
    columns = {}
    for name in frame:
        x = frame[name]
        if pd.api.types.is_numeric_dtype(x):
            columns[f"store_{_slug(name)}"] = x.fillna(x.mean())
        elif x.nunique() <= 10:
            columns |= {f"store_{_slug(name)}_{_slug(v)}": (x == v).astype(float) for v in sorted(x.dropna().unique())}
    return {
        name: np.array([np.average(x[m], weights=weight[m]) for m in ((home == p) | (p == names[0]) for p in names)])
        for name, x in columns.items()
    }


def prices(items: pd.DataFrame, shape: tuple, train_end: int):
    """Causal price features, the realised chain price as a plan, and the static price level.

    A price is seen only where somebody bought, so it enters as the last seen one; the realised price of a coming week
    would tell that it sold, which is why it is `price_plan` and not `known_future`.
    """
    units, paid = cube(items, "quantity", "sum", shape), cube(items, "sales_value", "sum", shape)
    saved = cube(items, "discount", "sum", shape) if "discount" in items else np.zeros(shape)
    seen = (units > 0) & (paid > 0)
    price = np.where(seen, np.log(np.where(seen, paid, 1) / np.maximum(units, 1e-9)), 0)
    sums, count = np.cumsum(price, -1), np.cumsum(seen, -1)
    before = shift(sums, 1) / np.maximum(shift(count.astype(float), 1), 1)  # mean of strictly earlier prices
    week = np.maximum.accumulate(np.where(seen, np.arange(shape[2]), -1), -1)

    def last_seen(x: np.ndarray) -> np.ndarray:
        return np.where(week >= 0, np.take_along_axis(x, np.maximum(week, 0), -1), 0.0)

    ratio = last_seen(np.where(shift(count.astype(float), 1) > 0, price - before, 0.0))
    discount = last_seen(np.where(seen, saved / np.maximum(paid + saved, 1e-9), 0.0))
    chain = last_seen(price)[:, :1] - before[:, :1]
    plan = np.where((week[:, :1] >= 0) & (shift(count.astype(float), 1)[:, :1] > 0), chain, 0.0)
    train = seen[:, 0, :train_end]
    price_level = (price[:, 0, :train_end] * train).sum(-1) / np.maximum(train.sum(-1), 1)
    past = {"price_ratio": ratio, "discount": discount}
    return past, {"price_ratio_plan": np.broadcast_to(plan, shape)}, price_level


def promotion_plan(table, chosen, category, items, regions, names, ahead, train_end, horizon):
    """Promotion channels as known-future columns over T + horizon weeks.

    A store without any promotion record says nothing, so shares are over the recorded stores, weighted by their
    training units. Weeks after the last recorded one repeat the mean of the last few: a plan that is not known.

    Parameters
    ----------
    category : (P,) category of each product; the others of the same one are its rivals.

    Returns
    -------
    Columns (P, L, T + horizon); share of each location's training units in recorded stores (L,); whether the coming
    weeks' plan is assumed.
    """
    shape = (len(chosen), len(names), len(ahead))
    if table is None:
        return {"promotion": np.zeros(shape)}, np.zeros(len(names)), False
    recorded = table.loc[table["week"] < ahead[train_end], "store_id"].unique()
    recorded = [store for store in recorded if store in regions]
    sold = items[items["week"] < train_end].groupby("store_id")["quantity"].sum()
    weight = sold.reindex(recorded).fillna(0) + 1e-3  # a store that sold nothing still says what it promotes
    place = pd.Series(regions).reindex(recorded).map({name: i for i, name in enumerate(names)})
    total = np.bincount(place, weight, len(names))
    total[0] = weight.sum()
    units = sold.groupby(sold.index.map(regions)).sum().reindex(names[1:]).fillna(0).to_numpy()
    known = np.minimum(total / np.maximum(np.r_[sold.sum(), units], 1e-3), 1.0)

    channels = sorted(table.columns.difference(["product_id", "store_id", "week"]))
    rows = table[table["week"].isin(ahead) & table["store_id"].isin(recorded) & table["product_id"].isin(chosen)]
    rows = rows.assign(
        item=rows["product_id"].map({p: i for i, p in enumerate(chosen)}),
        place=rows["store_id"].map(place),
        week=(rows["week"] - ahead[0]).dt.days // 7,
        promotion=rows[channels].astype(float).max(axis=1),
        weight=rows["store_id"].map(weight),
    )
    last = int(rows["week"].max()) + 1 if len(rows) else len(ahead)
    plan = {}
    for name in [*channels, "promotion"]:
        share = cube(rows.assign(value=rows[name] * rows["weight"]), "value", "sum", shape)
        share /= np.maximum(total, 1e-9)[:, None]
        if last < len(ahead):
            share[..., last:] = share[..., max(last - horizon, 0) : last].mean(-1, keepdims=True)
        plan[name] = share
    units = items[items["week"] < train_end].groupby("item")["quantity"].sum()
    weight = np.maximum(units.reindex(range(len(chosen)), fill_value=0).to_numpy(), 1e-3)
    rival = (np.equal.outer(category, category) & ~np.eye(len(chosen), dtype=bool)) * weight
    others = np.einsum("pq,qlt->plt", rival, plan["promotion"])
    plan["category_promotion"] = others / np.maximum(rival.sum(1), 1e-9)[:, None, None]
    return plan, known, last < len(ahead)


def calendar(ahead: pd.DatetimeIndex, country: str, n_weeks: int, shape: tuple) -> dict[str, np.ndarray]:
    """Holidays, the days after pay day and, where a season can be learned, the season; each of `shape` (P, L, T + horizon)."""
    free = holidays.country_holidays(country, years=range(ahead[0].year, ahead[-1].year + 2))
    week = [[(monday + pd.Timedelta(days=d)).date() for d in range(7)] for monday in ahead.union(ahead.shift(1, "7D"))]
    counts = np.array([sum(day in free for day in days) for days in week])
    columns = {
        "holiday": counts[:-1],
        "holiday_next": counts[1:],
        "month_start": np.array([np.mean([day.day <= 7 for day in days]) for days in week[:-1]]),
    }
    if n_weeks > 53:  # a season can be learned only where one year repeats another
        angle = 2 * np.pi * ahead.dayofyear.to_numpy() / 365.25
        columns |= {"season_sin": np.sin(angle), "season_cos": np.cos(angle)}
    return {name: np.broadcast_to(np.asarray(x, float), shape) for name, x in columns.items()}
