"""Tables to the weekly panel."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.data.tables import Tables
from shelfcast.panel import features
from shelfcast.panel.frame import Panel
from shelfcast.panel.regions import group_stores, with_chain
from shelfcast.settings import Prepare

IN_UNITS = re.compile(r"(level|lag|mean|buyers|baskets|coupons)(_.+)?$")
MIN_PRODUCTS, MIN_TRAIN_WEEKS = 5, 13  # fewer cannot be learned from, nor judged


def build(tables: Tables, prepare: Prepare, meta: dict | None = None) -> Panel:
    """Build a market's panel from checked tables.

    Raises
    ------
    ValueError : too few products or weeks, a gap in the weeks, test or validation shorter than the horizon.
    """
    horizon, validation_weeks, test_weeks = prepare.horizon, prepare.validation_weeks, prepare.test_weeks
    n_products, n_regions, country, seed = prepare.n_products, prepare.n_regions, prepare.country, prepare.seed
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
    ahead = weeks.append(pd.date_range(weeks[-1] + pd.Timedelta(weeks=1), periods=horizon, freq="7D"))
    inside = rows[rows["in_category"]]
    launched = _launch_weeks(tables.products, ahead)
    early = inside["week"] < inside["product_id"].map(launched).fillna(-1)  # sold before its own launch
    chosen = _choose(inside[~early], train_end, n_products, launched)
    regions, graph = group_stores(rows[rows["week"] < train_end], tables.stores, n_regions, seed)
    names = [CHAIN, *graph.index]
    where = {name: i for i, name in enumerate(names)}
    rows = rows.assign(place=rows["store_id"].map(regions).map(where))
    homeless = int((rows["in_category"] & rows["place"].isna()).sum())
    rows = rows.assign(place=rows["place"].fillna(0).astype(int))
    inside = rows[rows["in_category"]]
    items = inside[inside["product_id"].isin(chosen) & ~early]
    items = items.assign(item=items["product_id"].map({p: i for i, p in enumerate(chosen)}))
    launch = launched.reindex(chosen, fill_value=-1).to_numpy()

    shape = (len(chosen), len(names), n_weeks)
    y = features.cube(items, "quantity", "sum", shape)
    category = tables.products.set_index("product_id")["category"].reindex(chosen).fillna("").to_numpy()
    plan, known, assumed = features.promotion_plan(
        tables.promotions, chosen, category, items, regions, names, ahead, train_end, horizon
    )
    plan |= features.calendar(ahead, country, n_weeks, (*shape[:2], len(ahead)))
    if train_end >= features.YEAR + MIN_TRAIN_WEEKS:
        plan |= features.year_ago(y, category, launch, horizon)
    past, typical = features.past(items, rows, y, plan["promotion"][..., :n_weeks], shape, launch)
    prices, price_plan, price_level = features.prices(items, shape, train_end)
    past |= prices
    if tables.behavior is not None:
        past |= features.events(tables.behavior, chosen, regions, names, weeks)
    train = items[items["week"] < train_end]
    units = train.groupby("place")["quantity"].sum().reindex(range(1, len(names)), fill_value=0)
    share = np.r_[1.0, units / max(units.sum(), 1)]
    static = {"location_share": share, "promo_known": known}
    prices_assumed = False
    if tables.prices is None:
        static["price_level"] = price_level[:, None]
    else:  # a plan of prices takes the place of the realised ones
        planned, static["price_level"], prices_assumed = features.planned_prices(
            tables.prices, chosen, regions, names, ahead, train_end
        )
        plan |= planned
        price_plan = {}
    if (launch >= 0).any():
        plan |= features.newness(launch, (*shape[:2], len(ahead)))
        y = np.where(np.arange(n_weeks) >= launch[:, None, None], y, np.nan)
    if tables.stores is not None:
        by_store = train.groupby("store_id")["quantity"].sum()
        static |= features.store_traits(tables.stores, by_store, regions, names)
    static = {name: np.broadcast_to(x, shape[:2]) for name, x in static.items()}
    columns = {"static": static, "past": past, "known_future": plan, "price_plan": price_plan}
    frame = _long(chosen, names, ahead, y, columns)
    ends = {
        "train": range(4, train_end),
        "validation": range(train_end, train_end + validation_weeks - horizon + 1),
    }
    ends |= {"test": range(n_weeks - test_weeks, n_weeks - horizon + 1), "latest": [n_weeks]}
    open_stores = rows[rows["week"] < train_end].groupby("place")["store_id"].nunique()
    stores = [int(open_stores.sum()), *open_stores.reindex(range(1, len(names)), fill_value=0)]
    said = [
        ("rows in incomplete weeks", partial, "dropped"),
        ("rows in stores first seen after training", homeless, "counted in the chain only"),
        (
            "rows of products that were not chosen",
            int((~inside["product_id"].isin(chosen)).sum()),
            "in category totals only",
        ),
    ]
    if (launch >= 0).any():
        said.append(("rows sold before the product's launch", int(early.sum()), "in category totals only"))
    dropped = [{"check": c, "found": n, "of": len(inside), "share": n / len(inside), "action": a} for c, n, a in said]
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
        "n_launched": int((launch >= 0).sum()),
        "plan_assumed": assumed,
        "prices_assumed": prices_assumed,
        "ignored": list(tables.ignored),
    }
    return Panel(
        frame=frame,
        products=_describe_products(tables.products, chosen, items, train_end),
        locations=pd.DataFrame({"stores": stores, "share": share}, index=pd.Index(names, name="location")),
        graph=with_chain(graph),
        roles={role: list(found) for role, found in columns.items()},
        in_units=[name for found in columns.values() for name in found if IN_UNITS.match(name)],
        cutoffs={k: [weeks[c - 1] for c in v] for k, v in ends.items()},
        quality=pd.concat([tables.quality, pd.DataFrame(dropped)], ignore_index=True),
        pictures=pd.DataFrame(index=pd.Index(chosen, name="product_id")),
        typical=pd.DataFrame(typical.T, weeks.rename("ds"), names),
        meta=facts | {"regions": regions} | (meta or {}),
    )


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


def _launch_weeks(products: pd.DataFrame, ahead: pd.DatetimeIndex) -> pd.Series:
    """product_id -> number of the week of its launch, for products launched after the first week and before the last."""
    if "launch" not in products:
        return pd.Series(dtype=int)
    number = (products.set_index("product_id")["launch"].dropna() - ahead[0]).dt.days // 7
    return number[number.between(1, len(ahead) - 1)].sort_index()


def _choose(inside: pd.DataFrame, train_end: int, n_products: int, launched: pd.Series) -> list[str]:
    """The largest products by training units that sold in at least a quarter of the training weeks, then all that are
    listed with a launch: a list is known in advance, sales are not."""
    train = inside[inside["week"] < train_end]
    sold = train.groupby("product_id").agg(units=("quantity", "sum"), weeks=("week", "nunique"))
    sold = (
        sold[sold["weeks"] >= train_end / 4].reset_index().sort_values(["units", "product_id"], ascending=[False, True])
    )
    if len(sold) < MIN_PRODUCTS:
        raise ValueError(
            f"the category has {len(sold)} products that sold in at least a quarter of the {train_end} training "
            f"weeks; at least {MIN_PRODUCTS} are needed. Choose a wider category."
        )
    largest = sold["product_id"].head(n_products).tolist()
    return largest + [p for p in launched.index if p not in set(largest)]


def _describe_products(products: pd.DataFrame, chosen: list[str], items: pd.DataFrame, train_end: int) -> pd.DataFrame:
    """Attributes, training units and one sentence a product, as a language model reads it."""
    frame = products.set_index("product_id").loc[chosen]
    said = frame.drop(columns="launch", errors="ignore").dropna(axis=1, how="all")
    text = said.apply(
        lambda row: "; ".join(f"{k.replace('_', ' ')}: {v}" for k, v in row.dropna().items()).lower(), axis=1
    )
    units = items[items["week"] < train_end].groupby("product_id")["quantity"].sum()
    return frame.assign(text=text, units=units.reindex(chosen).fillna(0))


def _long(chosen, names, ahead, y, columns) -> pd.DataFrame:
    """Arrays (P, L), (P, L, T) or (P, L, T + horizon) to the long frame; what is not known ahead is NaN there."""
    index = pd.MultiIndex.from_product([chosen, names, ahead], names=["product_id", "location", "ds"])
    frame = index.to_frame(index=False)
    frame.insert(0, "unique_id", frame["product_id"] + "|" + frame["location"])
    shape = (len(chosen), len(names), len(ahead))

    def flat(x: np.ndarray) -> np.ndarray:
        if x.ndim == 2:
            return np.broadcast_to(x[..., None], shape).ravel()
        full = np.full(shape, np.nan)
        full[..., : x.shape[-1]] = x
        return full.ravel()

    values = {"y": flat(y)} | {name: flat(x) for role in columns.values() for name, x in role.items()}
    return pd.concat([frame, pd.DataFrame(values)], axis=1).sort_values(["unique_id", "ds"], ignore_index=True)
