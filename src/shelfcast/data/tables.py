"""Raw tables: sources, schema and the checks at the door.

One folder of Parquet or CSV files is a retailer (schema: docs/design.md). A source is an adapter from what a
folder holds to these tables. Everything that is dropped is counted in `Tables.quality`; everything that cannot be
mended here is a ValueError that says what, where and how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from shelfcast.data.files import verify
from shelfcast.data.schema import OPTIONAL, SCHEMAS, check

ABSURD_QUANTITY = 1_000  # units on one line; no till line of counted goods reaches it (fuel and coupons do)
MOST_DROPPED = 0.05  # above this share of rows the table is wrong, not dirty


@dataclass(frozen=True)
class Tables:
    """A retailer's checked tables, cut to one category where that is safe.

    `transactions` keeps every category (regions and store traffic need them), marked by `in_category`; all others but
    `stores` hold the category alone. Ids are strings, timestamps local and without a zone. `images` maps product ids to
    picture files.
    """

    transactions: pd.DataFrame
    products: pd.DataFrame
    promotions: pd.DataFrame | None = None
    stores: pd.DataFrame | None = None
    prices: pd.DataFrame | None = None
    behavior: pd.DataFrame | None = None
    images: dict[str, Path] = field(default_factory=dict)
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    ignored: tuple[str, ...] = ()


# ---------------------------------------------------------------- sources


def load(source: str, folder: str | Path, category: str | None, rename: str = "") -> Tables:
    """Read one category of one retailer.

    Parameters
    ----------
    source : 'complete_journey' (the default data), 'tables' (a folder in this project's schema) or 'simulated' (such a
        folder too, written by `simulate`).
    folder : where the files are.
    category : a value of products.category, or None for all products.
    rename : for 'tables': 'theirs=ours' pairs, comma separated, applied to every table.

    Raises
    ------
    ValueError : for whatever is wrong with the input, before any long work.
    """
    return next(load_each(source, folder, [category], rename))


def load_each(source: str, folder: str | Path, categories: list[str | None], rename: str = "") -> Iterator[Tables]:
    """Each of several categories of one retailer, as `load` gives it; the files are read and checked once."""
    sources = {"complete_journey": _complete_journey, "tables": _tables, "simulated": _tables}
    if source not in sources:
        raise ValueError(f"unknown source {source!r}; known: {', '.join(sources)}. Set markets.<name>.source.")
    verify(folder)
    raw, ignored = sources[source](Path(folder), categories, rename)
    for name, frame in raw.items():
        if frame is not None:
            raw[name] = check(name, frame)
    images = _images(Path(folder) / "images")
    for category in categories:
        yield _join(raw, category, ignored, images)


def _complete_journey(folder: Path, categories: list[str | None], _: str) -> tuple[dict, tuple]:
    products = read(folder, "products").rename(columns={"product_category": "category"})
    _known(categories, products["category"])
    products = products.drop(columns="manufacturer_id")
    rows = read(folder, "transactions")
    # The package stores UTC; in New York time every row falls into the week the package itself gives it (measured:
    # 0 of 1,469,307 rows disagree; as stored 2.4 % do).
    local = rows["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York").dt.tz_localize(None)
    transactions = rows[["store_id", "product_id", "quantity", "sales_value", "basket_id"]].assign(
        timestamp=local,
        customer_id=rows["household_id"],
        discount=rows["retail_disc"] + rows["coupon_disc"] + rows["coupon_match_disc"],
        coupon=rows["coupon_disc"].gt(0).astype(float),
    )
    wanted = products["category"].isin(categories) | (None in categories)
    only = [("product_id", "in", products.loc[wanted, "product_id"].tolist())]
    promoted = pd.read_parquet(folder / "promotions.parquet", filters=only)
    # Week 1 is the Sunday 2017-01-01 alone, so week w starts on the Monday 2016-12-26 + 7 (w - 1) days.
    promotions = promoted[["product_id", "store_id"]].assign(
        week=pd.Timestamp("2016-12-26") + pd.to_timedelta(7 * (promoted["week"] - 1), unit="D")
    )
    for name, codes in CHANNELS.items():
        column = f"{name.split('_')[0]}_location"
        promotions[name] = promoted[column].isin(list(codes)).astype(float)
    # A promoted product may be listed twice a week with two mailer places: it then has both.
    promotions = promotions.groupby(["product_id", "store_id", "week"], as_index=False, sort=False).max()
    ignored = ("campaigns, campaign_descriptions, coupons, coupon_redemptions, demographics: per household, not used",)
    return {
        "transactions": transactions,
        "products": products,
        "promotions": promotions,
    }, ignored


# The codes of the Complete Journey's documentation, grouped by what a shopper meets.
CHANNELS = {
    "display_front": "12",  # store front, store rear
    "display_end_cap": "3456",
    "display_aisle": "79",  # in aisle, secondary location
    "display_shelf": "A",
    "mailer_cover": "DFHLZ",  # front, back and wrap pages
    "mailer_inside": "ACJPX",
}


def _tables(folder: Path, categories: list[str | None], rename: str) -> tuple[dict, tuple]:
    pairs = [pair.split("=") for pair in rename.replace(" ", "").split(",") if pair]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"prepare.rename is {rename!r}; write 'theirs=ours' pairs, comma separated.")
    raw = {name: read(folder, name, optional=name in OPTIONAL) for name in SCHEMAS}
    raw = {name: None if frame is None else frame.rename(columns=dict(pairs)) for name, frame in raw.items()}
    if "category" in raw["products"]:
        _known(categories, raw["products"]["category"])
    known = {f"{name}{ending}" for name in SCHEMAS for ending in (".parquet", ".csv")} | {"images"}
    return raw, tuple(sorted(f"{p.name}: no table of this schema" for p in folder.iterdir() if p.name not in known))


def _images(folder: Path) -> dict[str, Path]:
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return {path.stem: path for path in found}


def read(folder: Path, name: str, optional: bool = False) -> pd.DataFrame | None:
    """Read `<name>.parquet` or `<name>.csv` of a folder; None where an optional one is absent."""
    for ending, reader in ((".parquet", pd.read_parquet), (".csv", pd.read_csv)):
        path = folder / f"{name}{ending}"
        if path.exists():
            try:
                return reader(path)
            except Exception as error:
                raise ValueError(f"{path} cannot be read as {ending[1:]}: {error}. Write it anew.") from error
    if optional:
        return None
    raise ValueError(f"{folder}/ has no {name}.parquet or {name}.csv, which is required. Add it.")


# ---------------------------------------------------------------- the door


def _known(categories: list[str | None], found: pd.Series) -> None:
    names = sorted(found.dropna().astype(str).unique())
    upper = {name.upper(): name for name in names}
    for category in categories:
        if category is None or category in names:
            continue
        inside = [n for n in upper if str(category).upper() in n]  # "milk" should find FLUID MILK PRODUCTS
        close = difflib.get_close_matches(str(category).upper(), upper, n=5, cutoff=0.4)
        near = [upper[n] for n in dict.fromkeys(inside + close)][:5]
        hint = f"nearest: {', '.join(near)}" if near else f"there are {len(names)}, such as {', '.join(names[:5])}"
        raise ValueError(
            f"category {category!r} does not exist; {hint}. Set markets.<name>.category or pretrain.categories."
        )


def _join(raw: dict, category: str | None, ignored: tuple, images: dict) -> Tables:
    """Cross-table rules: drop and count what is unusable, stop where too much is."""
    rows, products = raw["transactions"], raw["products"]
    quality: list[dict] = []

    def count(check: str, found: int, of: int, action: str) -> None:
        quality.append({"check": check, "found": found, "of": of, "share": found / max(of, 1), "action": action})

    def drop(bad: pd.Series, check: str, of: int, limit: float = MOST_DROPPED) -> pd.DataFrame:
        count(check, found := int(bad.sum()), of, "dropped")
        if found > limit * of:
            raise ValueError(
                f"transactions: {check} in {found:,} of {of:,} rows ({found / of:.1%}, at most {limit:.0%} may be "
                f"dropped). First: {rows[bad].head(3).to_dict('records')}. Mend the table or choose another category."
            )
        return rows[~bad]

    count("rows read", len(rows), len(rows), "all categories")
    rows = drop(~rows["product_id"].isin(products["product_id"]), "unknown product_id", len(rows))
    chosen = products if category is None else products[products["category"] == category]
    inside = rows["product_id"].isin(chosen["product_id"])
    rows = rows.assign(in_category=inside)
    n = int(inside.sum())
    if n == 0:
        raise ValueError(f"category {category!r} has no sales at all. Choose one that sells.")
    count("rows of the category", n, len(rows), "kept")
    absurd = rows["in_category"] & rows["quantity"].gt(ABSURD_QUANTITY)
    rows = drop(absurd, f"quantity above {ABSURD_QUANTITY:,}", n, 0.01)
    rows = drop(rows["in_category"] & rows["quantity"].eq(0), "quantity zero", n)
    count("sales value zero", int((rows["in_category"] & rows["sales_value"].eq(0)).sum()), n, "kept, no price seen")

    found = {}
    for name, what in (("promotions", "promotion"), ("prices", "price"), ("behavior", "event")):
        if (frame := raw.get(name)) is not None:
            strange = ~frame["product_id"].isin(products["product_id"])
            count(f"{what} of unknown product", int(strange.sum()), len(frame), "dropped")
            found[name] = frame[frame["product_id"].isin(chosen["product_id"])]
    if "promotions" in found:
        promotions = found["promotions"]
        channels = promotions.columns.difference(["product_id", "store_id", "week"])
        outside = [c for c in channels if not promotions[c].astype(float).between(0, 1).all()]
        if outside or channels.empty:
            raise ValueError(
                f"promotions: channel columns must hold 0 to 1, at least one; wrong: {outside or 'none there'}."
            )
    if "prices" in found:
        prices = found["prices"]
        keys = [c for c in ("product_id", "week", "store_id") if c in prices]
        if (twice := prices.duplicated(keys)).any():
            first = prices.loc[twice, keys].iloc[0].to_dict()
            raise ValueError(
                f"prices: {int(twice.sum())} rows repeat a key ({', '.join(keys)}), first {first}. Keep one."
            )
        unpriced = len(set(chosen["product_id"]) - set(prices["product_id"]))
        count("product without a planned price", unpriced, len(chosen), "the category's median stands in")
    stores = raw.get("stores")
    if stores is not None and not set(rows["store_id"]) <= set(stores["store_id"]):
        lacking = sorted(set(rows["store_id"]) - set(stores["store_id"]))
        raise ValueError(f"stores lacks {len(lacking)} stores that sell, such as {lacking[:3]}. Add them.")
    if images:
        count("picture of unknown product", len(set(images) - set(products["product_id"])), len(images), "ignored")
        images = {i: images[i] for i in chosen["product_id"] if i in images}
        count("product without a picture", len(chosen) - len(images), len(chosen), "kept, no picture")
    return Tables(
        rows,
        chosen.reset_index(drop=True),
        stores=stores,
        images=images,
        quality=pd.DataFrame(quality),
        ignored=ignored,
        **found,
    )
