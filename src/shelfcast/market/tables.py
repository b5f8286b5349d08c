"""A market with known truth, written as a retailer's raw tables; its equations: docs/simulated_market.md.

Every kind of chance has a stream of its own, so a twin with other prices meets the same shoppers, shocks and luck.
Axes: P products, S stores, T weeks (those with sales, then the plan's), H horizons.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import stats

from shelfcast.data.files import atomic
from shelfcast.market import laws as demand
from shelfcast.market.laws import EFFECTS, LAW
from shelfcast.panel.features import calendar

MECHANISMS, CONFOUNDINGS = ("log_linear", "choice"), ("observed", "hidden", "none")
STREAMS = "products stores tastes interest popularity field stock_outs luck till promotions costs prices behavior"

# What only the text tells: word families (words, appeal, height of the season, its peak week) and claims
# (wordings, appeal, response to promotion, extra appeal in the city).
FAMILIES = {
    "citrus": ("lemon|lime|grapefruit|tangerine|yuzu|bitter orange", 0.45, 0.35, 28),
    "berry": ("strawberry|raspberry|blueberry|blackcurrant|cranberry|cherry", 0.2, 0.15, 26),
    "tropical": ("mango|pineapple|passion fruit|guava|coconut|papaya", -0.2, 0.45, 30),
    "cola": ("cola|caramel cola|vanilla cola|kola nut|cherry cola|dark cola", 0.7, 0.0, 0),
    "herbal": ("mint|ginger|elderflower|lemongrass|rosemary|basil", -0.7, 0.0, 0),
    "spiced": ("cinnamon|apple spice|cardamom|winter punch|clove orange|gingerbread", -0.45, 0.45, 51),
}
CLAIMS = {
    "sugar_free": ("sugar free|zero sugar|unsweetened|no sugar added", 0.1, 1.0, 0.25),
    "organic": ("organic|from organic farming|certified organic|grown without pesticides", -0.25, 0.6, 0.5),
    "party": ("party size|for the whole family|family value|great for sharing", 0.25, 1.5, -0.35),
    "classic": ("classic|the original|traditional recipe|our old favourite", 0.0, 1.0, 0.0),
}
# What only the picture tells: appeal, and response to a display.
PATTERNS = {"plain": (-0.5, 0.6), "stripes": (-0.1, 1.2), "dots": (0.2, 0.9), "star": (0.4, 1.5)}
COLOURS = {"red": (0.25, (205, 40, 45)), "amber": (0.1, (235, 160, 35)), "green": (-0.1, (40, 150, 75)), "blue": (-0.25, (40, 80, 180))}  # fmt: skip
# What tidy columns tell: appeal; a brand's price level and price elasticity; litres of a pack.
BRANDS = {
    "Alder": (0.3, 1.15, -1.6), "Brook & Vale": (0.1, 1.0, -2.0), "Corvo": (-0.1, 1.25, -1.5), "Dune": (0.0, 0.95, -2.2),
    "Everyday": (0.35, 0.7, -2.6), "Finch": (-0.4, 1.05, -2.0), "Grove": (-0.25, 0.9, -2.3),
}  # fmt: skip
KINDS = {"sparkling water": -0.1, "lemonade": 0.25, "iced tea": 0.0, "juice drink": -0.15}
PACKS = {"330 ml": (0.33, -0.1), "500 ml": (0.5, 0.1), "1 l": (1.0, 0.15), "6 x 330 ml": (1.98, -0.15)}
FORMATS = {"small": 0.5, "medium": 1.0, "large": 2.0}  # a store's sales against a medium one's


@dataclass(frozen=True)
class Settings:
    """What one may choose. `horizon` weeks of promotions and prices are planned beyond the last week of sales."""

    seed: int = 0
    mechanism: str = "log_linear"
    confounding: str = "observed"
    n_products: int = 160
    n_new: int = 24
    n_stores: int = 24
    n_weeks: int = 104
    horizon: int = 4

    def __post_init__(self):
        for name, known in (("mechanism", MECHANISMS), ("confounding", CONFOUNDINGS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(known)}.")


def _products(rng: np.random.Generator, s: Settings) -> pd.DataFrame:
    """Attributes and true effects, one row a product; `launch` is a week's number, -999 for one that was always there."""
    n = s.n_products

    def spread(names) -> np.ndarray:  # each about equally often
        return rng.permutation(np.resize(list(names), n))

    kinds = {"family": FAMILIES, "claim": CLAIMS, "pattern": PATTERNS, "colour": COLOURS, "brand": BRANDS}
    frame = pd.DataFrame({name: spread(values) for name, values in (kinds | {"kind": KINDS, "pack": PACKS}).items()})
    new = np.arange(n) >= n - s.n_new
    half = rng.random(n) < 0.5  # of the new ones are launched where they cannot be learned from
    launch = np.where(half, rng.integers(s.n_weeks - 16, s.n_weeks - 1, n), rng.integers(26, s.n_weeks - 16, n))
    # A third of a family's words name new products alone: what they mean is only in the language.
    words = [
        FAMILIES[f][0].split("|")[k] for f, k in zip(frame["family"], rng.integers(0, np.where(new, 6, 4)), strict=True)
    ]
    wordings = [CLAIMS[c][0].split("|")[k] for c, k in zip(frame["claim"], rng.integers(0, 4, n), strict=True)]
    litres = frame["pack"].map(lambda p: PACKS[p][0])
    price = 1.9 * litres**0.8 * frame["brand"].map(lambda b: BRANDS[b][1])
    told = {
        "text_appeal": frame["family"].map(lambda f: FAMILIES[f][1]) + frame["claim"].map(lambda c: CLAIMS[c][1]),
        "text_season": frame["family"].map(lambda f: FAMILIES[f][2]),
        "text_peak": frame["family"].map(lambda f: FAMILIES[f][3]),
        "text_promotion": frame["claim"].map(lambda c: CLAIMS[c][2]),
        "text_city": frame["claim"].map(lambda c: CLAIMS[c][3]),
        "picture_appeal": frame["pattern"].map(lambda p: PATTERNS[p][0]) + frame["colour"].map(lambda c: COLOURS[c][0]),
        "picture_display": frame["pattern"].map(lambda p: PATTERNS[p][1]),
        "tidy_appeal": frame["brand"].map(lambda b: BRANDS[b][0])
        + frame["kind"].map(KINDS)
        + frame["pack"].map(lambda p: PACKS[p][1]),
        "own_appeal": rng.normal(0, LAW["own"], n),
        "elasticity": frame["brand"].map(lambda b: BRANDS[b][2]),
    }
    frame = frame.assign(**told, launch=np.where(new, launch, -999), list_price=(price / 0.05).round() * 0.05)
    parts = zip(frame["brand"], words, frame["kind"], wordings, frame["pack"], strict=True)
    frame["name"] = [f"{brand} {word} {kind}, {wording}, {pack}" for brand, word, kind, wording, pack in parts]
    frame["product_id"] = [f"P{k:04d}" for k in rng.permutation(n) + 1]
    return frame


def _stores(rng: np.random.Generator, s: Settings) -> pd.DataFrame:
    """Places on a map of side 1, area, format and the true size of each store."""
    place = rng.random((s.n_stores, 2))
    far = np.hypot(*(place - 0.5).T)
    area = np.select([far < np.quantile(far, 0.3), far < np.quantile(far, 0.65)], ["city", "suburb"], "country")
    kind = rng.permutation(np.resize(list(FORMATS), s.n_stores))
    size = np.array([FORMATS[k] for k in kind]) * np.exp(rng.normal(0, 0.15, s.n_stores))
    frame = pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "area": area, "format": kind, "size": size})
    ids = [f"S{k:02d}" for k in range(1, s.n_stores + 1)]
    return frame.assign(store_id=ids, latitude=(41 + 0.27 * frame["y"]).round(4), longitude=(-88 + 0.36 * frame["x"]).round(4))  # fmt: skip


def draw(s: Settings) -> dict:
    """All that is true of the market, by name: tables of `products` and `stores`, arrays, `level` and `settings`."""
    rng = dict(zip(STREAMS.split(), map(np.random.default_rng, np.random.SeedSequence(s.seed).spawn(len(STREAMS.split()))), strict=True))  # fmt: skip
    products, stores = _products(rng["products"], s), _stores(rng["stores"], s)
    p, n, t, ahead = s.n_products, s.n_stores, s.n_weeks, s.n_weeks + s.horizon
    mondays = pd.date_range(demand.FIRST_WEEK, periods=ahead, freq="7D")
    holiday = calendar(mondays, "US", t, (ahead,))["holiday"]
    e, own_taste = products[EFFECTS], demand.tastes(rng["tastes"], stores, p)

    interest = demand.autoregressive(rng["interest"], LAW["interest"], (p, ahead + 1))
    popularity = demand.autoregressive(rng["popularity"], LAW["popularity"], (p, ahead + 4))  # four weeks earlier on
    travel, new = demand.field_law(stores)
    noise = rng["field"].multivariate_normal(np.zeros(n), new, ahead + 60, method="cholesky")
    field = np.zeros((n, ahead + 60))
    for week in range(1, ahead + 60):
        field[:, week] = travel @ field[:, week - 1] + noise[week]
    field = field[:, 60:]

    plan = {"holiday": holiday}
    promoted = demand.spells(rng["promotions"], LAW["promoted"], (p, ahead))
    starts = promoted & ~np.c_[np.zeros(p, bool), promoted[:, :-1]]
    spell = np.maximum.accumulate(np.where(starts, np.arange(ahead), 0), 1)  # one spell, one depth, one kind
    item = np.arange(p)[:, None]
    depth = rng["promotions"].choice([0.1, 0.15, 0.2, 0.3], (p, ahead))[item, spell]
    kind = rng["promotions"].random((p, ahead))[item, spell]  # mailer alone, both, display alone, the price alone
    joins = (rng["promotions"].random((p, n, ahead)) < LAW["joins"])[item[..., None], np.arange(n)[:, None], spell[:, None]]  # fmt: skip
    plan["mailer"] = (promoted & (kind < 0.6)).astype(float)
    plan["display"] = ((promoted & (kind > 0.3) & (kind < 0.9))[:, None] & joins).astype(float)
    same = products["kind"].to_numpy()[:, None] == products["kind"].to_numpy()
    np.fill_diagonal(same, False)
    plan["rivals"] = same @ promoted / same.sum(1, keepdims=True) if s.mechanism == "log_linear" else np.zeros((p, ahead))  # fmt: skip

    cost = demand.autoregressive(rng["costs"], (0.9, 0.08), (len(BRANDS), ahead))[pd.factorize(products["brand"], sort=True)[0]]  # fmt: skip
    eye = LAW["eye"] * (demand.season(e, np.arange(ahead)) + LAW["holiday"] * holiday) * (s.confounding != "none")
    instinct = LAW["instinct"] * popularity[:, :ahead] * (s.confounding == "hidden")
    log_price = 0.6 * cost + eye + instinct + rng["prices"].normal(0, 0.03, (p, ahead))
    list_price = products["list_price"].to_numpy()[:, None]
    price = np.maximum(np.round(list_price * np.exp(log_price) * (1 - depth * promoted), 2), 0.05)
    plan["log_price"] = np.log(price / list_price)

    begins, harder, near_rival, reach = LAW["regime"]
    after = np.arange(ahead) >= t - begins
    rival = near_rival * np.exp(-((stores["x"] - 0.75) ** 2 + (stores["y"] - 0.35) ** 2) / (2 * reach**2)).to_numpy()
    field_seen = field + rival[:, None] * after
    regime = np.where(after, harder, 1.0)
    popularity = popularity[:, 4:]

    taste = own_taste + demand.city_taste(e, stores)
    level = demand.level(e, taste, plan, s)
    v = demand.utility(e, taste, plan, np.arange(t), regime[:t]) + (interest[:, :t] + popularity[:, :t])[:, None]
    mean = demand.expected(v, field_seen[:, :t], stores["size"].to_numpy(), level, s.mechanism)
    luck = rng["luck"].gamma(1 / LAW["luck"], LAW["luck"], (p, t))
    lucky = np.maximum(mean * luck[:, None], 1e-12)
    size = 1 / LAW["till"]
    wanted = stats.nbinom.ppf(rng["till"].random(mean.shape), size, size / (size + lucky)).astype(int)
    out = demand.spells(rng["stock_outs"], LAW["stock_out"], mean.shape)
    left, chance = rng["stock_outs"].random((2, *mean.shape))
    sold = np.where(out, stats.binom.ppf(chance, wanted, left).astype(int), wanted)
    base = e["tidy_appeal"] + e["text_appeal"] + e["picture_appeal"] + e["own_appeal"]
    looks = np.exp(4 + 0.5 * base.to_numpy())[:, None] * np.exp(interest[:, 1 : t + 1])
    looks = np.where(np.arange(t) >= products["launch"].to_numpy()[:, None] - 2, looks, 0)
    return {
        "settings": asdict(s), "products": products, "stores": stores, "level": level, "mondays": mondays,
        "interest": interest, "popularity": popularity, "field": field, "taste": own_taste, "rival": rival, "regime": regime,
        "cost": cost, "price": price, "mean": mean, "luck": luck, "wanted": wanted, "sold": sold, "out": out,
        "views": rng["behavior"].poisson(looks), "clicks": rng["behavior"].poisson(0.15 * looks),
        "promoted": promoted, "depth": depth, **{f"plan_{k}": x for k, x in plan.items()},
    }  # fmt: skip


def raw_tables(market: dict) -> dict[str, pd.DataFrame]:
    """What a retailer would have of it, in the schema of `tables`."""
    products, stores, mondays = market["products"], market["stores"], market["mondays"]
    ids, shops = products["product_id"].to_numpy(), stores["store_id"].to_numpy()
    week, item, shop = np.nonzero(market["sold"].transpose(2, 0, 1))
    quantity = market["sold"][item, shop, week]
    cut = 1 / (1 - market["depth"] * market["promoted"])[item, week] - 1
    paid = np.round(quantity * market["price"][item, week], 2)
    transactions = {
        "timestamp": mondays[week], "store_id": shops[shop], "product_id": ids[item], "quantity": quantity,
        "sales_value": paid, "discount": np.round(paid * cut, 2),
    }  # fmt: skip
    known = np.arange(len(mondays)) >= products["launch"].to_numpy()[:, None]
    seen = (market["plan_display"] + market["plan_mailer"][:, None] > 0) & known[:, None]
    week, item, shop = np.nonzero(seen.transpose(2, 0, 1))
    promotions = {
        "product_id": ids[item], "store_id": shops[shop], "week": mondays[week],
        "display": market["plan_display"][item, shop, week], "mailer": market["plan_mailer"][item, week],
    }  # fmt: skip
    week, item = np.nonzero(known.T)
    prices = {"product_id": ids[item], "week": mondays[week], "price": market["price"][item, week],
              "cost": np.round(0.6 * products["list_price"].to_numpy()[item] * np.exp(market["cost"][item, week]), 2)}  # fmt: skip
    events = []
    for event in ("view", "click"):
        count = market[f"{event}s"]
        week, item = np.nonzero(count.T)
        day = {"timestamp": mondays[week], "product_id": ids[item], "event": event, "count": count[item, week]}
        events.append(pd.DataFrame(day))
    launch = [mondays[k] if k > 0 else pd.NaT for k in products["launch"]]
    columns = {"product_id": ids, "category": products["kind"], "brand": products["brand"], "name": products["name"],
               "pack_size": products["pack"], "launch": launch}  # fmt: skip
    return {
        "transactions": pd.DataFrame(transactions),
        "products": pd.DataFrame(columns).sort_values("product_id", ignore_index=True),
        "promotions": pd.DataFrame(promotions),
        "prices": pd.DataFrame(prices),
        "stores": stores[["store_id", "latitude", "longitude", "area", "format"]],
        "behavior": pd.concat(events).sort_values("timestamp", kind="stable", ignore_index=True),
    }  # fmt: skip


def picture(pattern: str, colour: str, pack: str, rng: np.random.Generator, side: int = 128) -> Image.Image:
    """A pack on a shelf: the pack decides its shape, chance its place and light, and pattern and colour its looks."""
    grey = int(rng.integers(200, 245))
    image = Image.new("RGB", (side, side), (grey, grey, grey - 6))
    pen = ImageDraw.Draw(image)
    tall, wide = {"330 ml": (0.6, 0.32), "500 ml": (0.72, 0.26), "1 l": (0.86, 0.32)}.get(pack, (0.56, 0.74))
    tall, wide = (x * side * rng.uniform(0.92, 1.05) for x in (tall, wide))
    x, y = side / 2 + rng.normal(0, 3), side / 2 + rng.normal(0, 3)
    left, top, right, bottom = x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2
    light = rng.uniform(0.8, 1.15)
    ink = tuple(int(min(255, max(0, c * light + rng.normal(0, 6)))) for c in COLOURS[colour][1])
    pen.rounded_rectangle((left, top, right, bottom), radius=side * 0.06, fill=ink, outline=(90, 90, 90))
    pale = (250, 248, 240)
    if pattern == "stripes":
        for k in np.arange(top + tall * 0.15, bottom - tall * 0.1, tall * 0.2):
            pen.rectangle((left + 1, k, right - 1, k + tall * 0.09), fill=pale)
    elif pattern == "dots":
        for row, k in enumerate(np.arange(top + tall * 0.14, bottom - tall * 0.06, tall * 0.17)):
            for j in np.arange(left + wide * (0.2 if row % 2 else 0.35), right - wide * 0.08, wide * 0.3):
                pen.ellipse((j - 4, k - 4, j + 4, k + 4), fill=pale)
    elif pattern == "star":
        reach = min(wide, tall) * 0.42
        turn = np.arange(10) * np.pi / 5 - np.pi / 2
        length = np.where(np.arange(10) % 2, 0.4, 1.0) * reach
        pen.polygon(list(zip(x + length * np.cos(turn), y + length * np.sin(turn), strict=True)), fill=pale)
    noise = rng.normal(0, 5, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def write(folder: str | Path, settings: Settings) -> dict:
    """Write `tables/` (with `images/`) and `truth/` under a folder; each appears whole or not at all."""
    market = draw(settings)
    rng = np.random.default_rng([settings.seed, 1])
    with atomic(Path(folder) / "tables") as part:
        (part / "images").mkdir(parents=True)
        for name, table in raw_tables(market).items():
            table.to_parquet(part / f"{name}.parquet", index=False)
        for row in market["products"].itertuples():
            picture(row.pattern, row.colour, row.pack, rng).save(part / "images" / f"{row.product_id}.png")
    with atomic(Path(folder) / "truth") as part:
        part.mkdir(parents=True)
        for name in ("products", "stores"):
            market[name].to_parquet(part / f"{name}.parquet", index=False)
        (part / "settings.json").write_text(json.dumps({"settings": market["settings"], "level": market["level"]}))
        arrays = {k: v for k, v in market.items() if isinstance(v, np.ndarray)}
        np.savez_compressed(part / "arrays.npz", **arrays)
    return market


def load_truth(folder: str | Path) -> dict:
    """What `write` left under `truth/`."""
    folder = Path(folder)
    facts = json.loads((folder / "settings.json").read_text())
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        facts |= dict(arrays)
    weeks = facts["settings"]["n_weeks"] + facts["settings"]["horizon"]
    facts["mondays"] = pd.date_range(demand.FIRST_WEEK, periods=weeks, freq="7D")
    return facts | {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("products", "stores")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    chosen = vars(parser.parse_args())
    folder = chosen.pop("folder")
    try:
        market = write(folder, Settings(**chosen))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{folder}: {market['settings']['n_products']} products, {int(market['sold'].sum()):,} units sold")
