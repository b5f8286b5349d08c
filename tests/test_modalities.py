"""What further tables bring: a plan of prices, shoppers' behaviour, launches, and where the stores lie."""

import numpy as np
import pandas as pd
import pytest
from conftest import MONDAY, STORES, WEEKS, load_retailer, make_retailer, write_retailer

from shelfcast.methods import baselines
from shelfcast.panel import features
from shelfcast.data import tables
from shelfcast.panel.frame import examples
from shelfcast.data.schema import CHAIN

LAUNCHES = {"p02": 20, "p03": 37}  # in the training weeks, and in the last test weeks
MONDAYS = MONDAY + pd.to_timedelta(7 * np.arange(WEEKS + 4), unit="D")


def with_everything(raw: dict, seed: int = 1) -> dict:
    """The small retailer with all optional tables; p02 and p03 are new, events of p05 are seen in no store."""
    draw = np.random.default_rng(seed)
    ids, stores = raw["products"]["product_id"], [f"s{i}" for i in range(STORES)]
    launch = ids.map({p: MONDAYS[week] for p, week in LAUNCHES.items()})
    rows = raw["transactions"]
    begun = rows["timestamp"] >= rows["product_id"].map(launch.set_axis(ids)).fillna(MONDAY)
    prices = pd.MultiIndex.from_product([ids, MONDAYS], names=["product_id", "week"]).to_frame(index=False)
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


@pytest.fixture(scope="module")
def raw():
    return with_everything(make_retailer())


@pytest.fixture(scope="module")
def panel(raw, tmp_path_factory):
    return load_retailer(raw, tmp_path_factory.mktemp("everything"))


def at(panel, product, location, column) -> np.ndarray:
    return panel.frame.loc[panel.frame["unique_id"] == f"{product}|{location}", column].to_numpy()


# ---------------------------------------------------------------- prices


def test_a_plan_of_prices_is_known_in_advance(panel, raw):
    price = raw["prices"].query("product_id == 'p00'")["price"].to_numpy()
    regular = [np.median(np.log(price[: t + 1])) for t in range(WEEKS + 4)]
    usual = np.median(np.log(price[: (panel.weeks <= panel.meta["train_end"]).sum()]))  # no later price decides it
    np.testing.assert_allclose(at(panel, "p00", CHAIN, "price"), np.log(price) - usual)
    np.testing.assert_allclose(at(panel, "p00", CHAIN, "price_level"), usual)
    np.testing.assert_allclose(at(panel, "p00", "region_1", "price_cut"), np.log(price) - regular)
    assert {"price", "price_cut"} <= set(panel.roles["known_future"]) and not panel.roles["price_plan"]


def test_prices_of_stores_weeks_and_products_that_are_missing(raw, tmp_path):
    every = raw["prices"].merge(pd.DataFrame({"store_id": [f"s{i}" for i in range(STORES)]}), how="cross")
    every["price"] *= np.where(every["store_id"] < "s4", 1.0, 1.5)
    every = every[(every["week"] < MONDAYS[WEEKS]) & (every["product_id"] != "p01")]  # no plan ahead; none for p01
    panel = load_retailer(raw | {"prices": every}, tmp_path)
    north, south = (at(panel, "p00", f"region_{k}", "price_level") for k in (1, 2))
    np.testing.assert_allclose(abs(north - south), np.log(1.5))
    assert panel.meta["prices_assumed"]
    ahead = at(panel, "p00", "region_1", "price")
    np.testing.assert_allclose(ahead[WEEKS:], ahead[WEEKS - 1])
    assert np.isfinite(at(panel, "p01", CHAIN, "price")).all()
    said = panel.quality.set_index("check")
    assert said.loc["product without a planned price", "found"] == 1


# ---------------------------------------------------------------- behaviour


def test_events_of_any_kind_become_features(panel, raw):
    events = raw["behavior"].query("product_id == 'p00' and event == 'view'")
    week = (events["timestamp"] - MONDAY).dt.days // 7
    count = events.groupby(week)["count"].sum().reindex(range(WEEKS), fill_value=0).to_numpy()
    first = int(np.argmax(count > 0))
    usual = [count[first : t + 1].mean() if t >= first else 0 for t in range(WEEKS)]
    np.testing.assert_allclose(
        at(panel, "p00", CHAIN, "event_view")[:WEEKS], np.log((count + 1) / (np.array(usual) + 1))
    )
    kinds = {c for c in panel.roles["past"] if c.startswith("event_")}
    assert kinds == {"event_view", "event_view_level", "event_add_to_cart", "event_add_to_cart_level"}
    meanings = panel.describe().set_index("column")["meaning"]
    assert "kind add to cart" in meanings["event_add_to_cart"]
    here, there = (at(panel, "p00", f"region_{k}", "event_view_level")[:WEEKS] for k in (1, 2))
    assert not np.allclose(here, there)


def test_events_without_any_store_are_seen_everywhere(raw, tmp_path):
    panel = load_retailer(raw | {"behavior": raw["behavior"].drop(columns="store_id")}, tmp_path)
    for column in ("event_view", "event_view_level"):
        np.testing.assert_array_equal(at(panel, "p00", "region_2", column), at(panel, "p00", CHAIN, column))


def test_the_rarest_kinds_of_events_are_left_out(raw):
    many = raw["behavior"].assign(event=[f"kind {k % 20}" for k in range(len(raw["behavior"]))])
    found = features.events(many, ["p00"], {}, [CHAIN], pd.DatetimeIndex(MONDAYS[:WEEKS]))
    assert len(found) == 2 * features.MOST_EVENTS


def test_leak_coming_events_are_unknown(panel, raw, tmp_path):
    until = panel.weeks[30]
    late = raw["behavior"]["timestamp"] >= until + pd.Timedelta(weeks=1)
    more = raw["behavior"].assign(count=raw["behavior"]["count"].mask(late, 50))
    other = load_retailer(raw | {"behavior": more}, tmp_path)
    pd.testing.assert_frame_equal(*(examples(p, [until]).drop(columns="y") for p in (panel, other)))


# ---------------------------------------------------------------- launches


def test_a_launched_product_is_listed_whatever_it_sold(panel):
    assert set(LAUNCHES) <= set(panel.products.index) and panel.meta["n_launched"] == 2
    assert "launch" not in panel.products.loc["p02", "text"]


@pytest.mark.parametrize("product", LAUNCHES)
def test_a_history_begins_with_the_launch(panel, product):
    start = LAUNCHES[product]
    y = at(panel, product, CHAIN, "y")
    assert np.isnan(y[:start]).all() and np.isfinite(y[start:WEEKS]).all()
    assert np.isnan(at(panel, product, CHAIN, "lag_0")[:start]).all()
    assert at(panel, product, CHAIN, "on_sale").tolist() == [float(t >= start) for t in range(WEEKS + 4)]
    expected = np.log1p(np.clip(np.arange(WEEKS + 4) - start, 0, 52))
    np.testing.assert_allclose(at(panel, product, CHAIN, "age"), expected)
    assert (at(panel, "p00", CHAIN, "age") >= np.log(53)).all()
    level, usual = at(panel, product, CHAIN, "level")[:WEEKS], panel.usual[CHAIN].to_numpy()
    np.testing.assert_allclose(level[:start], usual[:start])
    n, own = 1, y[start]  # a week of its own counts a fifth, four weeks of others the rest
    np.testing.assert_allclose(level[start], (n * own + 4 * (usual[start] - 0.1)) / (n + 4) + 0.1)


def test_what_sold_before_a_launch_is_left_out_and_counted(panel, raw, tmp_path):
    """A product that sold before its own launch: the same panel as if it had not, and the rows are named."""
    before = make_retailer()["transactions"].query("product_id == 'p02'")
    before = before[before["timestamp"] < MONDAYS[LAUNCHES["p02"]]]
    rows = pd.concat([raw["transactions"], before]).sort_values("timestamp", ignore_index=True)
    other = load_retailer(raw | {"transactions": rows}, tmp_path)
    check = "rows sold before the product's launch"
    assert [p.quality.set_index("check").loc[check, "found"] for p in (panel, other)] == [0, len(before)]
    for column in ("y", "level", "lag_0", "mean_unpromoted"):
        np.testing.assert_array_equal(at(other, "p02", CHAIN, column), at(panel, "p02", CHAIN, column))


def test_methods_forecast_products_without_history(panel):
    names = ["moving_average_8", "croston_sba", "lightgbm"]
    frame, _ = baselines.run(panel, names)
    new = frame[frame["unique_id"].str.startswith("p03|")]
    assert new["mean"].gt(0).all() and new[["q025", "q975"]].notna().all().all()
    before = new["ds"] < MONDAYS[LAUNCHES["p03"]]
    assert new.loc[before, "y"].isna().all() and new.loc[~before, "y"].notna().all() and before.any()
    assert new.groupby("method").size().nunique() == 1


def test_a_real_plan_needs_no_row_for_an_assumed_one(panel):
    frame, _ = baselines.run(panel, ["moving_average_8", "lightgbm_price_plan"])
    assert set(frame["method"]) == {"moving_average_8"}


# ---------------------------------------------------------------- stores


def test_stores_give_static_columns_and_the_graph(panel, raw):
    static = panel.frame.groupby("location")[panel.roles["static"]].first()
    assert {"store_latitude", "store_longitude", "store_staff", "store_format_small"} <= set(static)
    assert sorted(static.drop(CHAIN)["store_latitude"].round(6)) == [50, 52]
    shares = static[["store_format_large", "store_format_small"]].sum(axis=1)
    np.testing.assert_allclose(shares, 1)
    graph = panel.graph.drop(index=CHAIN, columns=CHAIN)
    np.testing.assert_allclose(np.diag(graph), 1)
    np.testing.assert_allclose(graph.iloc[0, 1], np.exp(-1))  # the only distance is the median one


# ---------------------------------------------------------------- the door

BAD = {
    "price of zero": (lambda raw: raw["prices"].loc.__setitem__((3, "price"), 0.0), ["prices", "above zero", "first: 3"]),
    "price twice": (
        lambda raw: raw.update(prices=pd.concat([raw["prices"], raw["prices"].head(1)], ignore_index=True)),
        ["prices: 1 rows repeat a key (product_id, week)", "p00", "Keep one"],
    ),
    "price on a Tuesday": (
        lambda raw: raw.update(prices=raw["prices"].assign(week=raw["prices"]["week"] + pd.Timedelta(days=1))),
        ["prices", "must be the Monday"],
    ),
    "event without a name": (
        lambda raw: raw["behavior"].loc.__setitem__((5, "event"), None),
        ["behavior", "event", "5"],
    ),
    "negative count": (lambda raw: raw["behavior"].loc.__setitem__((5, "count"), -1), ["behavior", "count", "first: 5"]),
    "off the globe": (lambda raw: raw["stores"].loc.__setitem__((2, "latitude"), 520.0), ["stores", "latitude", "degrees"]),
    "launch as words": (
        lambda raw: raw.update(products=raw["products"].assign(launch="spring")),
        ["products.launch cannot be read", "'spring'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(raw, tmp_path, case):
    spoil, words = BAD[case]
    spoilt = {name: frame.copy() for name, frame in raw.items()}
    spoil(spoilt)
    with pytest.raises(ValueError) as error:
        tables.load("tables", write_retailer(spoilt, tmp_path), "TEA")
    for word in words:
        assert word in str(error.value), str(error.value)


def test_what_is_left_out_is_counted(raw, tmp_path):
    strange = raw["behavior"].head(3).assign(product_id="nobody")
    folder = write_retailer(raw | {"behavior": pd.concat([raw["behavior"], strange])}, tmp_path)
    (folder / "images").mkdir()
    for name in ("p00.png", "p01.JPG", "p99.png", "notes.txt"):
        (folder / "images" / name).write_bytes(b"")
    loaded = tables.load("tables", folder, "TEA")
    said = loaded.quality.set_index("check")["found"]
    assert said["event of unknown product"] == 3 and said["picture of unknown product"] == 1
    assert said["product without a picture"] == 6 and set(loaded.images) == {"p00", "p01"}
    assert set(loaded.behavior["product_id"]) <= set(loaded.products["product_id"])
