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

import numpy as np
import pandas as pd

from shelfcast.data.tables import Tables
from shelfcast.panel import features
from shelfcast.panel.regions import CHAIN, group_stores, with_chain

PARTS = ("frame", "products", "locations", "graph", "pictures", "typical", "quality")
MIN_PRODUCTS, MIN_TRAIN_WEEKS = 5, 13  # fewer cannot be learned from, nor judged


@dataclass(frozen=True)
class Panel:
    """A market ready for forecasting.

    frame : one row per series and week, sorted by unique_id and ds; `y` in units, features as `roles` declares.
    products : index product_id; text, training units and the raw attributes.
    locations : index location; stores, share of training units.
    graph : location x location, weights >= 0 of how much two regions have in common; the chain's are 1.
    pictures : index product_id; principal components of the pictures' embeddings, NaN without one, no columns where no
        product has one.
    typical : week x location, what a product of the category usually sells (units a week, > 0).
    roles : static, past, known_future, price_plan -> column names.
    cutoffs : train, validation, test, latest -> Mondays of last observed weeks.
    quality : what was found, dropped and kept at the door. meta : facts and parameters of the build.
    """

    frame: pd.DataFrame
    products: pd.DataFrame
    locations: pd.DataFrame
    graph: pd.DataFrame
    pictures: pd.DataFrame
    typical: pd.DataFrame
    roles: dict[str, list[str]]
    cutoffs: dict[str, list[pd.Timestamp]]
    quality: pd.DataFrame
    meta: dict

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in PARTS:
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
        frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in PARTS}
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
            rows += [(c, role, features.meaning(c)) for c in columns]
        rows += [(text.split(":")[0], "ignored", text.partition(": ")[2]) for text in self.meta["ignored"]]
        return pd.DataFrame(rows, columns=["column", "role", "meaning"])

    @property
    def weeks(self) -> pd.DatetimeIndex:
        """Mondays of the observed weeks; `frame` goes on for `horizon` weeks more, which hold the plan alone."""
        return pd.date_range(self.meta["first_week"], self.meta["last_week"], freq="7D", name="ds")

    @property
    def stores_by_location(self) -> dict[str, list[str]]:
        """The stores of each location, by name."""
        stores = pd.Series(self.meta["regions"])
        return {CHAIN: list(stores.index)} | {name: list(own.index) for name, own in stores.groupby(stores)}


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
