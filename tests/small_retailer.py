"""A small retailer written as raw tables, the panel made of it, and tiny random BERT checkpoints."""

import shelfcast  # noqa: F401  # isort: skip  # before torch: it sets how threads wait

import contextlib
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from shelfcast.data import tables
from shelfcast.methods.trees import boosting
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import Prepare

WEEKS, STORES, PRODUCTS = 40, 8, 12
MONDAY = pd.Timestamp("2022-01-03")
LAUNCHES = {"p02": 20, "p03": 37}  # weeks: in the training weeks, and in the last test weeks


def make_retailer(seed: int = 0) -> dict[str, pd.DataFrame]:
    """Eight stores in two towns of four, twelve products in two categories; a promotion doubles sales."""
    draw = np.random.default_rng(seed)
    ids = [f"p{i:02d}" for i in range(PRODUCTS)]
    products = pd.DataFrame({"product_id": ids, "category": ["TEA"] * 8 + ["OAT MILK"] * 4})
    products["blend"] = [f"{kind} tea no {i}" for i, kind in enumerate(["green", "black", "herbal"] * 4)]
    grid = pd.MultiIndex.from_product(
        [ids, [f"s{i}" for i in range(STORES)], range(WEEKS)], names=["product_id", "store_id", "week"]
    ).to_frame(index=False)
    grid["monday"] = MONDAY + pd.to_timedelta(7 * grid["week"], unit="D")
    promoted = (draw.random(len(grid)) < 0.1) & (grid["store_id"] < "s6")  # two stores keep no promotion records
    popularity = pd.Series(draw.gamma(2, 0.6, PRODUCTS), ids)
    rate = grid["product_id"].map(popularity) * np.where(promoted, 2.0, 1.0)
    sold = grid.assign(units=draw.poisson(rate))
    lines = sold.loc[sold.index.repeat(sold["units"])].reset_index(drop=True)
    town = (lines["store_id"] >= "s4").astype(int)  # households shop in their own town
    household = 30 * town + draw.integers(0, 30, len(lines))
    price = 2 + 0.1 * lines["product_id"].str[1:].astype(int) - 0.5 * draw.integers(0, 2, len(lines))
    transactions = pd.DataFrame(
        {
            "timestamp": lines["monday"] + pd.to_timedelta(draw.integers(0, 7 * 24, len(lines)), unit="h"),
            "store_id": lines["store_id"],
            "product_id": lines["product_id"],
            "quantity": 1.0,
            "sales_value": price,
            "discount": 0.0,
            "customer_id": "h" + household.astype(str),
            "basket_id": "b" + pd.Series(draw.integers(0, 4000, len(lines))).astype(str),
        }
    ).sort_values("timestamp", ignore_index=True)
    day = transactions["timestamp"].dt.strftime("%j")  # a basket is bought in one store on one day
    transactions["basket_id"] += "-" + transactions["store_id"] + "-" + day
    promotions = grid.loc[promoted, ["product_id", "store_id", "monday"]].rename(columns={"monday": "week"})
    promotions = promotions.assign(mailer=1.0, display=(draw.random(len(promotions)) < 0.5).astype(float))
    return {"transactions": transactions, "products": products, "promotions": promotions.reset_index(drop=True)}


def add_optional_tables(raw: dict[str, pd.DataFrame], seed: int = 1) -> dict[str, pd.DataFrame]:
    """The small retailer with all optional tables; p02 and p03 are new, events of p05 are seen in no store."""
    draw = np.random.default_rng(seed)
    ids, stores = raw["products"]["product_id"], [f"s{i}" for i in range(STORES)]
    mondays = MONDAY + pd.to_timedelta(7 * np.arange(WEEKS + 4), unit="D")
    launch = ids.map({product: mondays[week] for product, week in LAUNCHES.items()})
    rows = raw["transactions"]
    begun = rows["timestamp"] >= rows["product_id"].map(launch.set_axis(ids)).fillna(MONDAY)
    prices = pd.MultiIndex.from_product([ids, mondays], names=["product_id", "week"]).to_frame(index=False)
    prices["price"] = np.round(2 * np.exp(draw.normal(0, 0.1, len(prices))), 2)
    events = pd.DataFrame(
        {
            "timestamp": MONDAY + pd.to_timedelta(draw.integers(0, 7 * WEEKS, 4000), unit="D"),
            "product_id": draw.choice(ids, 4000),
            "event": draw.choice(["view", "Add to cart"], 4000, p=[0.8, 0.2]),
            "store_id": draw.choice(stores, 4000),
            "count": draw.integers(1, 4, 4000),
        }
    )
    events["store_id"] = events["store_id"].mask(events["product_id"] == "p05")
    places = pd.DataFrame({"store_id": stores, "latitude": [50.0] * 4 + [52.0] * 4, "longitude": np.linspace(8, 9, 8)})
    places = places.assign(format=["small", "large"] * 4, staff=np.arange(8.0))
    return raw | {
        "transactions": rows[begun].reset_index(drop=True),
        "products": raw["products"].assign(launch=launch),
        "prices": prices,
        "behavior": events,
        "stores": places,
    }


def with_coming_promotions(raw: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with promotions that are planned for the four weeks after the last sales."""
    coming = raw["promotions"].sample(30, random_state=0)
    mondays = MONDAY + pd.to_timedelta(7 * (WEEKS + np.arange(30) % 4), unit="D")
    both = pd.concat([raw["promotions"], coming.assign(week=mondays)])
    return raw | {"promotions": both.drop_duplicates(["product_id", "store_id", "week"])}


def write_retailer(raw: dict[str, pd.DataFrame], folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in raw.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return folder


def load_retailer(raw, folder, category="TEA", meta=None, **prepare) -> Panel:
    loaded = tables.load("tables", write_retailer(raw, folder), category)
    small = {"n_products": 6, "n_regions": 2, "validation_weeks": 6, "test_weeks": 6}
    return build(loaded, Prepare(**small | prepare), meta)


@pytest.fixture()
def retailer():
    return make_retailer()


@pytest.fixture(scope="session")
def small_panel(tmp_path_factory) -> Panel:
    return load_retailer(make_retailer(), tmp_path_factory.mktemp("retailer"))


@pytest.fixture(scope="session")
def daily_panel(tmp_path_factory) -> Panel:
    return load_retailer(make_retailer(), tmp_path_factory.mktemp("daily_retailer"), freq="D")


@pytest.fixture(params=["W", "D"], ids=["weekly", "daily"])
def either_panel(request) -> Panel:
    """The small retailer by the week, and by the day."""
    return request.getfixturevalue("small_panel" if request.param == "W" else "daily_panel")


def reloaded(panel: Panel, raw, folder) -> Panel:
    """A panel of other tables, by the week or by the day as the given one."""
    return load_retailer(raw, folder, freq="D" if panel.frequency.daily else "W")


def changed_after(panel: Panel, week: pd.Timestamp) -> Panel:
    """The panel with everything after `week` changed that is not known in advance."""
    frame = panel.frame.copy()
    late = frame["ds"] > week
    for column in ["y", *panel.roles["past"], *panel.roles["price_plan"]]:
        frame.loc[late, column] = frame.loc[late, column] * 3 + 7
    return dataclasses.replace(panel, frame=frame)


def tables_changed_after(raw: dict[str, pd.DataFrame], n_weeks: int) -> dict[str, pd.DataFrame]:
    """The raw tables with everything after the first `n_weeks` changed that is not known in advance."""
    draw = np.random.default_rng(1)
    rows = raw["transactions"]
    late = rows["timestamp"] >= MONDAY + pd.Timedelta(weeks=n_weeks)
    changed = rows.assign(
        quantity=rows["quantity"].where(~late, draw.integers(1, 9, len(rows))),
        sales_value=rows["sales_value"].where(~late, draw.uniform(0.5, 9, len(rows))),
        product_id=rows["product_id"].where(~late, draw.permutation(rows["product_id"])),
        store_id=rows["store_id"].where(~late, draw.permutation(rows["store_id"])),
        customer_id=rows["customer_id"].where(~late, draw.permutation(rows["customer_id"])),
    )
    more = changed[late].sample(frac=0.5, random_state=1)
    return raw | {"transactions": pd.concat([changed, more]).sort_values("timestamp", ignore_index=True)}


def make_backbone(folder, words):
    """A random two-layer BERT of width 32 with its own vocabulary, saved as a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> str:
    words = ["category", ":", ";", "tea", "blend", "green", "black", "herbal", "no", *map(str, range(12))]
    return make_backbone(tmp_path_factory.mktemp("bert"), words)


@contextlib.contextmanager
def small_trees(max_rounds: int):
    """LightGBM with settings for the small retailer's few rows, on one thread."""
    small = {"min_data_in_leaf": 20, "num_threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "COMMON_SETTINGS", boosting.COMMON_SETTINGS | small)
        patch.setattr(boosting, "MAX_ROUNDS", max_rounds)
        yield
