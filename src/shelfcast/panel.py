"""The weekly panel of product x location: regions, features with declared roles, rolling cutoffs.

Every feature at week t is computed from weeks <= t alone, unless it is `known_future` (known in advance for its own
week) or `price_plan` (the realised price, read as if it had been planned: an upper bound, off by default).
Products, regions, reference shares and anything else that is chosen see the training weeks only.

Axes: P products, L locations (chain first, then regions), T weeks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import holidays
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans, SpectralClustering

from shelfcast.tables import Tables

CHAIN = "chain"
MIN_PRODUCTS, MIN_TRAIN_WEEKS = 5, 13  # fewer cannot be learned from, nor judged
LEVEL_FLOOR = 0.1  # units a week; keeps the level of a product that has not sold above zero
SETTLED = 0.5  # a store open in this share of training weeks may found a region

MEANING = {  # column -> (role, what it means); channels, seasons and events are added as found
    "price_level": ("static", "log of the mean price paid in the training weeks"),
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
    "pay_week": ("known_future", "1 when the week holds the 1st or the 15th of a month"),
    "price_ratio_plan": ("price_plan", "log of the week's chain-wide price over its own earlier mean"),
}


@dataclass(frozen=True)
class Panel:
    """A market ready for forecasting.

    frame : one row per series and week, sorted by unique_id and ds; `y` in units, features as `roles` declares.
    products : index product_id; text, training units and the raw attributes.
    locations : index location; stores, share of training units.
    graph : location x location, weights >= 0 of how much shopping two regions share; the chain's are 1.
    roles : static, past, known_future, price_plan -> column names.
    cutoffs : train, validation, test, latest -> Mondays of last observed weeks.
    quality : what was found, dropped and kept at the door. meta : facts and parameters of the build.
    """

    frame: pd.DataFrame
    products: pd.DataFrame
    locations: pd.DataFrame
    graph: pd.DataFrame
    roles: dict[str, list[str]]
    cutoffs: dict[str, list[pd.Timestamp]]
    quality: pd.DataFrame
    meta: dict

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("frame", "products", "locations", "graph", "quality"):
            getattr(self, name).to_parquet(folder / f"{name}.parquet")
        cutoffs = {k: [str(c.date()) for c in v] for k, v in self.cutoffs.items()}
        facts = {"roles": self.roles, "cutoffs": cutoffs, "meta": self.meta}
        (folder / "panel.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> Panel:
        folder = Path(folder)
        if not (folder / "panel.json").exists():
            raise ValueError(f"{folder}/ holds no panel. Run notebook 1_prepare (or `dvc repro`) first.")
        facts = json.loads((folder / "panel.json").read_text())
        names = ("frame", "products", "locations", "graph", "quality")
        frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in names}
        cutoffs = {k: [pd.Timestamp(c) for c in v] for k, v in facts["cutoffs"].items()}
        return cls(**frames, roles=facts["roles"], cutoffs=cutoffs, meta=facts["meta"])

    def describe(self) -> pd.DataFrame:
        """What was understood: each column, its role and meaning; then what was ignored."""
        rows = [
            ("unique_id", "key", "product|location"),
            ("ds", "key", "Monday of the week"),
            ("y", "target", "units"),
        ]
        for role, columns in self.roles.items():
            rows += [(c, role, MEANING.get(c, ("", "share of stores, this channel"))[1]) for c in columns]
        rows += [(text.split(":")[0], "ignored", text.partition(": ")[2]) for text in self.meta["ignored"]]
        return pd.DataFrame(rows, columns=["column", "role", "meaning"])

    @property
    def weeks(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(np.sort(self.frame["ds"].unique()))


def examples(panel: Panel, cutoffs: list[pd.Timestamp], price_plan: bool = False) -> pd.DataFrame:
    """One row per series, cutoff and horizon: what was known at the cutoff, what is planned for the target week, y.

    `y` is NaN beyond the data. `y_level` (> 0) is the robust level at the cutoff. The target week's plan columns end
    in `_target`, so that the same channel at the cutoff and at the target stay apart.
    """
    plan = panel.roles["known_future"] + (panel.roles["price_plan"] if price_plan else [])
    known = panel.frame[panel.frame["ds"].isin(cutoffs)].rename(columns={"ds": "cutoff"})
    known = known.drop(columns=["y", *panel.roles["price_plan"]]).assign(y_level=known["level"])
    target = panel.frame[["unique_id", "ds", "y", *plan]].rename(columns={c: f"{c}_target" for c in plan})
    rows = []
    for h in range(1, panel.meta["horizon"] + 1):
        at = known.assign(ds=known["cutoff"] + pd.Timedelta(weeks=h), horizon=h)
        rows.append(at.merge(target, on=["unique_id", "ds"], how="left", validate="many_to_one"))
    return pd.concat(rows).sort_values(["unique_id", "cutoff", "horizon"], ignore_index=True)


def build(
    tables: Tables,
    n_products: int = 150,
    n_regions: int = 6,
    horizon: int = 4,
    validation_weeks: int = 8,
    test_weeks: int = 8,
    country: str = "US",
    seed: int = 0,
    meta: dict | None = None,
) -> Panel:
    """Build a market's panel from checked tables.

    Raises
    ------
    ValueError : too few products or weeks, a gap in the weeks, test or validation shorter than the horizon.
    """
    if min(validation_weeks, test_weeks) < horizon:
        raise ValueError(
            f"prepare.validation_weeks ({validation_weeks}) and test_weeks ({test_weeks}) must each be at least "
            f"the horizon ({horizon}), else no full forecast can be judged."
        )
    weeks, rows, partial = _weeks(tables.transactions)
    n_weeks = len(weeks)
    train_end = n_weeks - test_weeks - validation_weeks  # number of training weeks
    if train_end < MIN_TRAIN_WEEKS:
        raise ValueError(
            f"{n_weeks} complete weeks leave {train_end} for training after {validation_weeks} validation and "
            f"{test_weeks} test weeks; at least {MIN_TRAIN_WEEKS} are needed. Bring more weeks or shorten the two."
        )
    inside = rows[rows["in_category"]]
    chosen = _choose(inside, train_end, n_products)
    regions, graph = _regions(rows[rows["week"] < train_end], tables.stores, n_regions, seed)
    names = [CHAIN, *graph.index]
    rows = rows.assign(region=rows["store_id"].map(regions))
    homeless = rows["in_category"] & rows["region"].isna()
    where = {name: i for i, name in enumerate(names)}
    rows = rows.assign(place=rows["region"].map(where).fillna(0).astype(int))
    inside = rows[rows["in_category"]]
    items = inside[inside["product_id"].isin(chosen)]
    items = items.assign(item=items["product_id"].map({p: i for i, p in enumerate(chosen)}))

    shape = (len(chosen), len(names), n_weeks)
    y = _cube(items, "quantity", "sum", shape)
    columns = _past(items, rows, inside, y, shape, train_end)
    plan, assumed = _plan(tables, chosen, items, regions, names, weeks, horizon, train_end, country)
    promoted = plan["promotion"][:, :, :n_weeks] >= 0.5
    level = columns["level"]
    for name, on in (("mean_promoted", promoted), ("mean_unpromoted", ~promoted)):
        columns[name] = (np.cumsum(y * on, 2) + level) / (np.cumsum(on, 2) + 1)
    columns["price_ratio"], columns["discount"], ratio_plan, price_level = _prices(items, shape, train_end)
    columns |= {f"lag_{k}": _shift(y, k) for k in range(4)}

    units = (
        items[items["week"] < train_end]
        .groupby("place")["quantity"]
        .sum()
        .reindex(range(1, len(names)), fill_value=0)
    )
    share = np.r_[1.0, units / max(units.sum(), 1)]
    static = {
        "price_level": np.broadcast_to(price_level[:, None, None], shape),
        "location_share": np.broadcast_to(share[None, :, None], shape),
        "promo_known": np.broadcast_to(plan.pop("promo_known")[None, :, None], shape),
    }
    past = {k: columns[k] for k in MEANING if k in columns}
    frame = _long(chosen, names, weeks, horizon, y, static, past, plan, {"price_ratio_plan": ratio_plan})
    roles = {
        "static": list(static),
        "past": list(past),
        "known_future": list(plan),
        "price_plan": ["price_ratio_plan"],
    }
    ends = {
        "train": range(4, train_end),
        "validation": range(train_end, train_end + validation_weeks - horizon + 1),
    }
    ends |= {"test": range(n_weeks - test_weeks, n_weeks - horizon + 1), "latest": [n_weeks]}
    open_stores = rows[rows["week"] < train_end].groupby("place")["store_id"].nunique()
    quality = [*tables.quality.to_dict("records")]
    dropped = {
        "rows in incomplete weeks": partial,
        "rows in stores first seen after training": int(homeless.sum()),
        "rows of products that were not chosen": len(inside) - len(items),
    }
    action = ("dropped", "counted in the chain only", "in category totals only")
    for (check, found), said in zip(dropped.items(), action, strict=True):
        quality.append(
            {"check": check, "found": found, "of": len(inside), "share": found / len(inside), "action": said}
        )
    facts = {
        "first_week": str(weeks[0].date()),
        "last_week": str(weeks[-1].date()),
        "train_end": str(weeks[train_end - 1].date()),
        "validation_end": str(weeks[train_end + validation_weeks - 1].date()),
        "n_weeks": n_weeks,
        "n_products": len(chosen),
        "n_regions": len(names) - 1,
        "n_stores": int(rows["store_id"].nunique()),
        "n_customers": int(rows["customer_id"].nunique()) if "customer_id" in rows else None,
        "share_of_category": float(items["quantity"].sum() / inside["quantity"].sum()),
        "horizon": horizon,
        "plan_assumed": assumed,
        "ignored": list(tables.ignored),
    }
    stores = [
        int(rows[rows["week"] < train_end]["store_id"].nunique()),
        *open_stores.reindex(range(1, len(names)), fill_value=0),
    ]
    return Panel(
        frame=frame,
        products=_describe_products(tables.products, chosen, items, train_end),
        locations=pd.DataFrame({"stores": stores, "share": share}, index=pd.Index(names, name="location")),
        graph=_with_chain(graph),
        roles=roles,
        cutoffs={k: [weeks[c - 1] for c in v] for k, v in ends.items()},
        quality=pd.DataFrame(quality),
        meta=facts | (meta or {}),
    )


# ---------------------------------------------------------------- weeks, products, regions


def _weeks(rows: pd.DataFrame) -> tuple[pd.DatetimeIndex, pd.DataFrame, int]:
    """Complete weeks, the rows in them with their `week` number, and how many category rows fell outside.

    A week is complete when it holds all trading days: weekdays with sales in at least half of the weeks. So a shop
    closed on Sundays, or one row a week, is not mistaken for a week cut short.
    """
    day = rows["timestamp"].dt.normalize()
    monday = day - pd.to_timedelta(day.dt.dayofweek, unit="D")
    seen = pd.DataFrame({"monday": monday, "weekday": day.dt.dayofweek}).drop_duplicates()
    trading = seen["weekday"].value_counts()
    trading = trading[trading >= 0.5 * seen["monday"].nunique()].index
    first, last = day.min(), day.max()
    start, end = monday.min(), monday.max()
    start += pd.Timedelta(weeks=int(first.dayofweek > trading.min()))
    end -= pd.Timedelta(weeks=int(last.dayofweek < trading.max()))
    weeks = pd.date_range(start, end, freq="7D")
    gaps = weeks.difference(pd.DatetimeIndex(seen["monday"]))
    if len(gaps):
        raise ValueError(
            f"{len(gaps)} weeks between {start.date()} and {end.date()} have no sales at all, first {gaps[0].date()}. "
            "A gap reads as zero demand: fill it from your source, or cut the table before or after it."
        )
    whole = monday.between(start, end)
    outside = int((~whole & rows["in_category"]).sum())
    kept = rows[whole]
    return weeks, kept.assign(week=((monday[whole] - start).dt.days // 7).to_numpy()), outside


def _choose(inside: pd.DataFrame, train_end: int, n_products: int) -> list[str]:
    """The largest products by training units that sold in at least a quarter of the training weeks."""
    train = inside[inside["week"] < train_end]
    sold = train.groupby("product_id").agg(units=("quantity", "sum"), weeks=("week", "nunique"))
    sold = (
        sold[sold["weeks"] >= train_end / 4]
        .reset_index()
        .sort_values(["units", "product_id"], ascending=[False, True])
    )
    if len(sold) < MIN_PRODUCTS:
        raise ValueError(
            f"the category has {len(sold)} products that sold in at least a quarter of the {train_end} training "
            f"weeks; at least {MIN_PRODUCTS} are needed. Choose a wider category."
        )
    return sold["product_id"].head(n_products).tolist()


def _regions(train: pd.DataFrame, stores: pd.DataFrame | None, n_regions: int, seed: int):
    """Store -> region and the graph between regions.

    A `region` column or coordinates of `stores` decide where there are any; else shared shoppers do: two stores are
    near when the same households shop in both (cosine of log baskets), and spectral clustering of the settled stores
    gives the regions. A small store joins the region where its shoppers mostly shop.
    """
    volume = train.groupby("store_id")["quantity"].sum().sort_index()
    shared = None
    if "customer_id" in train:
        visits = train.groupby(["customer_id", "store_id"]).size().unstack(fill_value=0)
        shared = np.log1p(visits.reindex(columns=volume.index, fill_value=0))
    if stores is not None and "region" in stores:
        label = stores.set_index("store_id")["region"].reindex(volume.index)
        codes = label.rank(method="dense").astype(int) - 1
    elif stores is not None and {"latitude", "longitude"} <= set(stores):
        place = stores.set_index("store_id")[["latitude", "longitude"]].reindex(volume.index)
        k = min(n_regions, len(place.drop_duplicates()))
        codes = pd.Series(KMeans(k, n_init=10, random_state=seed).fit_predict(place), index=volume.index)
    elif shared is not None and len(volume) > n_regions:
        weeks_open = train.groupby("store_id")["week"].nunique().reindex(volume.index)
        settled = weeks_open[weeks_open >= SETTLED * train["week"].nunique()].index
        settled = settled if len(settled) > n_regions else volume.index
        near = _cosine(shared[settled].to_numpy().T)
        np.fill_diagonal(near, 0)
        near += 1e-6  # keeps a store with no shared shopper in one graph with the rest
        clusters = SpectralClustering(
            n_regions, affinity="precomputed", assign_labels="cluster_qr", random_state=seed
        )
        codes = pd.Series(clusters.fit_predict(near), index=settled)
        joins = shared.T.to_numpy() @ np.stack(
            [shared[settled[codes == k]].sum(axis=1) for k in range(n_regions)], 1
        )
        codes = codes.reindex(volume.index).fillna(pd.Series(joins.argmax(1), index=volume.index)).astype(int)
    else:  # neither geography nor shoppers: every store its own region, or one region for all
        codes = pd.Series(range(len(volume)) if len(volume) <= n_regions else 0, index=volume.index)
    size = volume.groupby(codes).sum().sort_values(ascending=False, kind="stable").index
    names = {code: f"region_{i + 1}" for i, code in enumerate(size)}  # region_1 is the largest
    regions = codes.map(names)
    order = list(names.values())
    if shared is None:
        graph = np.ones((len(order), len(order)))
    else:
        graph = _cosine(np.stack([shared[regions.index[regions == r]].sum(axis=1) for r in order]))
    return regions.to_dict(), pd.DataFrame(graph, index=order, columns=order)


def _cosine(x: np.ndarray) -> np.ndarray:
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    return x @ x.T


def _with_chain(graph: pd.DataFrame) -> pd.DataFrame:
    names = [CHAIN, *graph.index]
    return graph.reindex(index=names, columns=names, fill_value=1.0)


def _describe_products(
    products: pd.DataFrame, chosen: list[str], items: pd.DataFrame, train_end: int
) -> pd.DataFrame:
    """Attributes, training units and one sentence a product, as a language model reads it."""
    frame = products.set_index("product_id").loc[chosen]
    said = frame.dropna(axis=1, how="all")
    text = said.apply(
        lambda row: "; ".join(f"{k.replace('_', ' ')}: {v}" for k, v in row.dropna().items()).lower(), axis=1
    )
    units = items[items["week"] < train_end].groupby("product_id")["quantity"].sum()
    return frame.assign(text=text, units=units.reindex(chosen))


# ---------------------------------------------------------------- features


def _cube(rows: pd.DataFrame, value: str, how: str, shape: tuple) -> np.ndarray:
    """Aggregate rows to (P, L, T); the chain is aggregated itself, since distinct counts do not add up."""
    cube = np.zeros(shape)
    for keys, place in ((["item", "place", "week"], None), (["item", "week"], 0)):
        kept = rows[rows["place"] > 0] if place is None else rows
        found = kept.groupby(keys)[value].agg(how)
        index = [found.index.get_level_values(k).to_numpy() for k in keys]
        cube[(index[0], index[1], index[2]) if place is None else (index[0], place, index[1])] = found
    return cube


def _shift(x: np.ndarray, k: int) -> np.ndarray:
    return np.concatenate([np.zeros_like(x[..., :k]), x[..., : x.shape[-1] - k]], -1)


def _mean(x: np.ndarray, k: int | None = None) -> np.ndarray:
    """Mean over the last k weeks (all weeks so far for None); fewer where there are fewer."""
    total = np.cumsum(x, -1)
    n = np.arange(1, x.shape[-1] + 1)
    return total / n if k is None else (total - _shift(total, k)) / np.minimum(n, k)


def _past(items, rows, inside, y, shape, train_end) -> dict[str, np.ndarray]:
    n_places, n_weeks = shape[1:]
    week = np.arange(n_weeks)
    columns = {f"level_{k}": _mean(y, k) for k in (4, 8, 13, 26)}
    columns["level"] = 0.5 * columns["level_13"] + 0.5 * _mean(y) + LEVEL_FLOOR
    columns["level_chain"] = np.broadcast_to(columns["level"][:, :1], shape)
    last = np.maximum.accumulate(np.where(y > 0, week, -26), -1)
    columns["weeks_since_sale"] = np.minimum(week - last, 26).astype(float)
    columns["share_weeks_sold"] = _mean(y > 0)

    def by_place(frame: pd.DataFrame, value: str, how: str) -> np.ndarray:  # (L, T)
        one = frame.assign(item=0)
        return _cube(one, value, how, (1, n_places, n_weeks))[0]

    units = by_place(inside, "quantity", "sum")
    ratio = (_mean(units, 4) + 1) / (_mean(units) + 1)
    columns["category_level"] = np.broadcast_to(ratio[None], shape)
    if "basket_id" in rows:
        baskets = by_place(rows[["place", "week", "basket_id"]].drop_duplicates(), "basket_id", "size")
        columns["traffic"] = np.broadcast_to(((baskets + 1) / (_mean(baskets) + 1))[None], shape)
        columns["baskets"] = _cube(items, "basket_id", "nunique", shape)
        if "coupon" in items:
            columns["coupons"] = _cube(items[items["coupon"] > 0], "basket_id", "nunique", shape)
    if "customer_id" in rows:
        columns["buyers"] = _cube(items, "customer_id", "nunique", shape)
        first = items.groupby(["item", "customer_id"])["week"].transform("min")
        again = _cube(items[items["week"] > first], "customer_id", "nunique", shape)
        columns["repeat_share"] = again / np.maximum(columns["buyers"], 1)
    return columns


def _prices(items: pd.DataFrame, shape: tuple, train_end: int):
    """Causal price features, the realised chain price as a plan, and the static price level.

    A price is seen only where somebody bought, so it enters as the last seen one; the realised price of a coming week
    would tell that it sold, which is why it is `price_plan` and not `known_future`.
    """
    units, paid = _cube(items, "quantity", "sum", shape), _cube(items, "sales_value", "sum", shape)
    saved = _cube(items, "discount", "sum", shape) if "discount" in items else np.zeros(shape)
    seen = (units > 0) & (paid > 0)
    price = np.where(seen, np.log(np.where(seen, paid, 1) / np.maximum(units, 1e-9)), 0)
    sums, count = np.cumsum(price, -1), np.cumsum(seen, -1)
    before = _shift(sums, 1) / np.maximum(
        _shift(count.astype(float), 1), 1
    )  # mean of strictly earlier prices
    week = np.maximum.accumulate(np.where(seen, np.arange(shape[2]), -1), -1)

    def last_seen(x: np.ndarray) -> np.ndarray:
        return np.where(week >= 0, np.take_along_axis(x, np.maximum(week, 0), -1), 0.0)

    ratio = last_seen(np.where(_shift(count.astype(float), 1) > 0, price - before, 0.0))
    discount = last_seen(np.where(seen, saved / np.maximum(paid + saved, 1e-9), 0.0))
    chain = last_seen(price)[:, :1] - before[:, :1]
    plan = np.where((week[:, :1] >= 0) & (_shift(count.astype(float), 1)[:, :1] > 0), chain, 0.0)
    train = seen[:, 0, :train_end]
    level = (price[:, 0, :train_end] * train).sum(-1) / np.maximum(train.sum(-1), 1)
    return ratio, discount, np.broadcast_to(plan, shape), level


def _plan(tables, chosen, items, regions, names, weeks, horizon, train_end, country):
    """Known-future columns over T + horizon weeks: promotion channels by location, and the calendar.

    A store without any promotion record says nothing, so shares are over the recorded stores, weighted by their
    training units; `promo_known` tells how much of a location they cover. Weeks after the last recorded one repeat
    the mean of the last `horizon` weeks, and the second return value says so.
    """
    ahead = weeks.append(pd.date_range(weeks[-1] + pd.Timedelta(weeks=1), periods=horizon, freq="7D"))
    shape = (len(chosen), len(names), len(ahead))
    plan: dict[str, np.ndarray] = {}
    known = np.zeros(len(names))
    assumed = False
    sold = items[items["week"] < train_end].groupby("store_id")["quantity"].sum()
    table = tables.promotions
    if table is not None:
        table = table[table["week"].isin(ahead) & table["store_id"].isin(regions)]
        train_stores = table.loc[table["week"] < weeks[train_end], "store_id"].unique()
        table = table[table["store_id"].isin(train_stores)]
        channels = sorted(table.columns.difference(["product_id", "store_id", "week"]))
        weight = sold.reindex(train_stores).fillna(0) + 1e-3
        place = pd.Series(regions).reindex(train_stores).map({n: i for i, n in enumerate(names)})
        total = np.bincount(place, weight, len(names))
        total[0] = weight.sum()
        region_units = sold.groupby(sold.index.map(regions)).sum().reindex(names[1:]).fillna(0).to_numpy()
        known = np.minimum(total / np.maximum(np.r_[sold.sum(), region_units], 1e-3), 1.0)
        rows = table[table["product_id"].isin(chosen)]
        rows = rows.assign(
            item=rows["product_id"].map({p: i for i, p in enumerate(chosen)}),
            place=rows["store_id"].map(place),
            week=((rows["week"] - weeks[0]).dt.days // 7),
            promotion=rows[channels].astype(float).max(axis=1),
            weight=rows["store_id"].map(weight),
        )
        last = int(rows["week"].max()) + 1 if len(rows) else 0
        for name in [*channels, "promotion"]:
            cube = _cube(rows.assign(value=rows[name] * rows["weight"]), "value", "sum", shape)
            cube /= np.maximum(total, 1e-9)[None, :, None]
            if last < len(ahead):
                cube[..., last:] = (
                    cube[..., max(last - horizon, 0) : last].mean(-1, keepdims=True) if last else 0
                )
                assumed = True
            plan[name] = cube
        weighted = np.maximum(sold_by_item(items, train_end, len(chosen)), 1e-3)[:, None, None]
        others = (plan["promotion"] * weighted).sum(0) - plan["promotion"] * weighted
        plan["category_promotion"] = others / np.maximum(weighted.sum() - weighted, 1e-9)
    else:
        plan["promotion"] = np.zeros(shape)
    free = holidays.country_holidays(country, years=range(ahead[0].year, ahead[-1].year + 2))
    counts = np.array(
        [
            sum((w + pd.Timedelta(days=d)).date() in free for d in range(7))
            for w in [*ahead, ahead[-1] + pd.Timedelta(weeks=1)]
        ]
    )
    days = [[(w + pd.Timedelta(days=d)).day for d in range(7)] for w in ahead]
    calendar = {
        "holiday": counts[:-1],
        "holiday_next": counts[1:],
        "pay_week": np.array([bool({1, 15} & set(d)) for d in days]),
    }
    if len(weeks) > 53:  # a season can be learned only where one year repeats another
        angle = 2 * np.pi * ahead.dayofyear.to_numpy() / 365.25
        calendar |= {"season_sin": np.sin(angle), "season_cos": np.cos(angle)}
    plan |= {name: np.broadcast_to(x.astype(float), shape) for name, x in calendar.items()}
    plan["promo_known"] = known
    return plan, assumed


def sold_by_item(items: pd.DataFrame, train_end: int, n: int) -> np.ndarray:
    return (
        items[items["week"] < train_end]
        .groupby("item")["quantity"]
        .sum()
        .reindex(range(n), fill_value=0)
        .to_numpy()
    )


def _long(chosen, names, weeks, horizon, y, static, past, plan, price_plan) -> pd.DataFrame:
    """Arrays (P, L, T or T + horizon) to the long frame; weeks to come hold the plan, and NaN for what is unknown."""
    ahead = weeks.append(pd.date_range(weeks[-1] + pd.Timedelta(weeks=1), periods=horizon, freq="7D"))
    index = pd.MultiIndex.from_product([chosen, names, ahead], names=["product_id", "location", "ds"])
    frame = index.to_frame(index=False)
    frame.insert(0, "unique_id", frame["product_id"] + "|" + frame["location"])

    def flat(x: np.ndarray, beyond: float = np.nan) -> np.ndarray:
        short = len(ahead) - x.shape[-1]
        return np.pad(x, ((0, 0), (0, 0), (0, short)), constant_values=beyond).ravel() if short else x.ravel()

    columns = {"y": flat(y)}
    columns |= {k: np.broadcast_to(x[..., :1], (*x.shape[:2], len(ahead))).ravel() for k, x in static.items()}
    columns |= {k: flat(np.asarray(x, float)) for k, x in past.items()}
    columns |= {k: flat(x) for k, x in plan.items()}
    columns |= {k: flat(x, 0.0) for k, x in price_plan.items()}
    return pd.concat([frame, pd.DataFrame(columns)], axis=1).sort_values(
        ["unique_id", "ds"], ignore_index=True
    )
