"""Features by hand and by naive loops, of sales alone and of the optional tables."""

import numpy as np
import pandas as pd
import pytest
from conftest import LAUNCHES, MONDAY, STORES, WEEKS, add_optional_tables, load_retailer, make_retailer

from shelfcast.data.schema import CHAIN
from shelfcast.panel import facts
from shelfcast.panel.calendar import holiday_counts, month_starts
from shelfcast.panel.features.season import year_ago
from shelfcast.panel.frame import LEVEL_FLOOR, examples

MONDAYS = MONDAY + pd.to_timedelta(7 * np.arange(WEEKS + 4), unit="D")


def series(panel, product, location, column) -> np.ndarray:
    return panel.frame.loc[panel.frame["unique_id"] == f"{product}|{location}", column].to_numpy()


@pytest.fixture(scope="module")
def raw():
    return add_optional_tables(make_retailer())


@pytest.fixture(scope="module")
def panel(raw, tmp_path_factory):
    """With all optional tables."""
    return load_retailer(raw, tmp_path_factory.mktemp("everything"))


# ---------------------------------------------------------------- sales


def test_levels_by_naive_loops(small_panel):
    product = small_panel.products.index[2]
    for location in (CHAIN, "region_2"):
        y = series(small_panel, product, location, "y")[:WEEKS]
        promotion = series(small_panel, product, location, "promotion")
        expected = {
            name: [] for name in ("level", "level_8", "lag_2", "share_weeks_sold", "weeks_since_sale", "mean_promoted")
        }
        for t in range(WEEKS):
            so_far = y[: t + 1]
            promoted = so_far[promotion[: t + 1] >= 0.5]
            level = 0.5 * so_far[-13:].mean() + 0.5 * so_far.mean() + 0.1
            expected["level"].append(level)
            expected["level_8"].append(so_far[-8:].mean())
            expected["lag_2"].append(y[t - 2] if t >= 2 else 0)
            expected["share_weeks_sold"].append((so_far > 0).mean())
            expected["weeks_since_sale"].append(min([k for k in range(t + 1) if y[t - k] > 0], default=26))
            expected["mean_promoted"].append((promoted.sum() + level) / (len(promoted) + 1))
        for column, values in expected.items():
            actual = series(small_panel, product, location, column)
            np.testing.assert_allclose(actual[:WEEKS], values, err_msg=column)
            assert np.isnan(actual[WEEKS:]).all()


def test_a_locations_own_shock_by_naive_loops(small_panel):
    wide = small_panel.frame.dropna(subset="y").pivot(index=["location", "ds"], columns="product_id", values="y")
    regions = {region: wide.loc[region].to_numpy() for region in ("region_1", "region_2")}  # weeks x products
    for region, sold in regions.items():
        expected = []
        for t in range(WEEKS):
            before = {name: x[:t].sum(0) for name, x in regions.items()}
            category_share = before[region].sum() / max(sum(x.sum() for x in before.values()), 1)
            typical = 0.0
            for product in range(wide.shape[1]):
                total = sum(x[product] for x in before.values())
                share = (before[region][product] + 20 * category_share) / (total + 20)
                typical += share * sum(x[t, product] for x in regions.values())
            expected.append(np.log((sold[t].sum() + 1) / (typical + 1)) if t >= 8 else 0.0)
        for product in small_panel.products.index[:2]:
            np.testing.assert_allclose(
                series(small_panel, product, region, "location_now")[:WEEKS], expected, atol=1e-9
            )
    assert not series(small_panel, small_panel.products.index[0], CHAIN, "location_now")[:WEEKS].any()


def test_shoppers_by_naive_loops(small_panel, retailer):
    product = small_panel.products.index[0]
    rows = retailer["transactions"].query("product_id == @product")
    week = (rows["timestamp"] - MONDAY).dt.days // 7
    buyers, baskets, repeat_share = (
        series(small_panel, product, CHAIN, c) for c in ("buyers", "baskets", "repeat_share")
    )
    earlier = set()
    for t in range(WEEKS):
        now = set(rows.loc[week == t, "customer_id"])
        assert buyers[t] == len(now)
        assert baskets[t] == rows.loc[week == t, "basket_id"].nunique()
        assert repeat_share[t] == pytest.approx(len(now & earlier) / max(len(now), 1))
        earlier |= now


def test_last_year_by_naive_loops():
    """Two old products of one category, one of another, and one launched too late to have a year behind it."""
    y = np.random.default_rng(0).poisson(5, (4, 2, 120)).astype(float)
    launch, category = np.array([-1, -1, -1, 30]), np.array(["a", "a", "b", "a"])
    own, of_category = year_ago(y, category, launch, horizon=4)
    assert own.shape == of_category.shape == (4, 124) and np.isnan(own[:, :54]).all()

    def season(sold, week):
        start = max(0, week - 4 - 51)
        around, year = sold[week - 54 : week - 49], sold[start : week - 3]
        return np.log((around.mean() + LEVEL_FLOOR) / (year.mean() + LEVEL_FLOOR))

    both = y[0, 0] + y[1, 0]
    for week in (54, 60, 90, 123):
        np.testing.assert_allclose(own[:3, week], [season(y[i, 0], week) for i in range(3)])
        np.testing.assert_allclose(of_category[:2, week], season(both, week))
        np.testing.assert_allclose(own[3, week], season(y[3, 0] if week >= 84 else both, week))


def test_leak_last_year_is_known_at_every_cutoff():
    y = np.random.default_rng(0).poisson(5, (3, 1, 120)).astype(float)
    other = y.copy()
    other[..., 100:] *= 9  # the cutoff is week 99
    before, after = (year_ago(x, np.array(list("aab")), np.full(3, -1), 4) for x in (y, other))
    for ours, theirs in zip(before, after, strict=True):
        np.testing.assert_array_equal(ours[:, :104], theirs[:, :104])
        assert not np.array_equal(ours, theirs, equal_nan=True)


# ---------------------------------------------------------------- calendar


def test_calendar(small_panel):
    weeks = pd.date_range("2017-11-20", periods=7, freq="7D")
    # Thanksgiving 11-23, Christmas Monday 12-25, New Year's Day Monday 2018-01-01
    assert holiday_counts(weeks, "US").tolist() == [1, 0, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(month_starts(weeks[:6]), np.array([0, 3, 4, 0, 0, 0]) / 7)  # 12-01 is a Friday
    holiday, holiday_next = (series(small_panel, "p01", CHAIN, c) for c in ("holiday", "holiday_next"))
    np.testing.assert_array_equal(holiday, holiday_counts(pd.DatetimeIndex(MONDAYS), "US"))
    np.testing.assert_array_equal(holiday_next[:-1], holiday[1:])


def test_a_season_needs_more_than_a_year(small_panel, retailer, tmp_path):
    assert "season_sin" not in small_panel.frame and "year_ago" not in small_panel.frame
    later = [
        rows.assign(**{c: rows[c] + pd.Timedelta(weeks=WEEKS)})
        for rows, c in ((retailer["transactions"], "timestamp"), (retailer["promotions"], "week"))
    ]
    longer = {
        name: pd.concat([retailer[name], rows], ignore_index=True)
        for name, rows in zip(("transactions", "promotions"), later, strict=True)
    }
    panel = load_retailer(retailer | longer, tmp_path / "shop")
    assert {"season_sin", "season_cos", "year_ago", "year_ago_category"} <= set(panel.roles["known_future"])
    assert panel.frame["season_sin"].notna().all()


# ---------------------------------------------------------------- promotions


def test_promotion_is_a_share_of_the_recorded_stores(small_panel, retailer):
    product, weeks = small_panel.products.index[0], small_panel.weeks
    rows = retailer["transactions"]
    training = rows[(rows["timestamp"] < weeks[28]) & rows["product_id"].isin(small_panel.products.index)]
    recorded = sorted(retailer["promotions"]["store_id"].unique())
    weight = training.groupby("store_id")["quantity"].sum()[recorded] + 1e-3
    promoted = retailer["promotions"].query("product_id == @product")
    expected = [weight[promoted.loc[promoted["week"] == w, "store_id"]].sum() / weight.sum() for w in weeks]
    np.testing.assert_allclose(series(small_panel, product, CHAIN, "promotion")[:WEEKS], expected)
    assert len(recorded) == 6 and max(expected) > 0


# ---------------------------------------------------------------- prices


def test_prices_paid_by_naive_loops(small_panel, retailer):
    product = small_panel.products.index[1]
    rows = retailer["transactions"].query("product_id == @product")
    week = (rows["timestamp"] - MONDAY).dt.days // 7
    seen, ratio, plan = [], [], []
    for t in range(WEEKS):
        now = rows[week == t]
        price = np.log(now["sales_value"].sum() / now["quantity"].sum()) if len(now) else None
        if price is not None and seen:
            ratio.append(price - np.mean(seen))
        else:
            ratio.append(ratio[-1] if ratio and price is None else 0.0)
        last = price if price is not None else (seen[-1] if seen else 0.0)
        plan.append(last - np.mean(seen) if seen else 0.0)
        seen += [] if price is None else [price]
    np.testing.assert_allclose(series(small_panel, product, CHAIN, "price_ratio")[:WEEKS], ratio, atol=1e-9)
    np.testing.assert_allclose(series(small_panel, product, CHAIN, "price_ratio_plan")[:WEEKS], plan, atol=1e-9)


def test_a_plan_of_prices_is_known_in_advance(panel, raw):
    price = raw["prices"].query("product_id == 'p00'")["price"].to_numpy()
    regular = [np.median(np.log(price[: t + 1])) for t in range(WEEKS + 4)]
    n_train = (panel.weeks <= panel.meta["train_end"]).sum()
    typical = np.median(np.log(price[:n_train]))  # no later price decides it
    np.testing.assert_allclose(series(panel, "p00", CHAIN, "price"), np.log(price) - typical, atol=1e-11)
    np.testing.assert_allclose(series(panel, "p00", CHAIN, "price_level"), typical)
    np.testing.assert_allclose(series(panel, "p00", "region_1", "price_cut"), np.log(price) - regular, atol=1e-11)
    assert {"price", "price_cut"} <= set(panel.roles["known_future"]) and not panel.roles["price_plan"]


def test_prices_of_stores_weeks_and_products_that_are_missing(raw, tmp_path):
    every = raw["prices"].merge(pd.DataFrame({"store_id": [f"s{i}" for i in range(STORES)]}), how="cross")
    every["price"] *= np.where(every["store_id"] < "s4", 1.0, 1.5)
    every = every[(every["week"] < MONDAYS[WEEKS]) & (every["product_id"] != "p01")]  # no plan ahead; none for p01
    panel = load_retailer(raw | {"prices": every}, tmp_path)
    levels = [series(panel, "p00", f"region_{k}", "price_level") for k in (1, 2)]
    np.testing.assert_allclose(abs(levels[0] - levels[1]), np.log(1.5))
    assert panel.meta["prices_assumed"]
    ahead = series(panel, "p00", "region_1", "price")
    np.testing.assert_allclose(ahead[WEEKS:], ahead[WEEKS - 1])
    assert np.isfinite(series(panel, "p01", CHAIN, "price")).all()


# ---------------------------------------------------------------- behaviour


def test_events_of_any_kind_become_features(panel, raw):
    events = raw["behavior"].query("product_id == 'p00' and event == 'view'")
    week = (events["timestamp"] - MONDAY).dt.days // 7
    count = events.groupby(week)["count"].sum().reindex(range(WEEKS), fill_value=0).to_numpy()
    first = int(np.argmax(count > 0))
    typical = np.array([count[first : t + 1].mean() if t >= first else 0 for t in range(WEEKS)])
    np.testing.assert_allclose(series(panel, "p00", CHAIN, "event_view")[:WEEKS], np.log((count + 1) / (typical + 1)))
    kinds = {c for c in panel.roles["past"] if c.startswith("event_")}
    assert kinds == {"event_view", "event_view_level", "event_add_to_cart", "event_add_to_cart_level"}
    assert "kind add to cart" in panel.meanings["event_add_to_cart"]
    here, there = (series(panel, "p00", f"region_{k}", "event_view_level")[:WEEKS] for k in (1, 2))
    assert not np.allclose(here, there)


def test_events_without_any_store_are_seen_everywhere(raw, tmp_path):
    panel = load_retailer(raw | {"behavior": raw["behavior"].drop(columns="store_id")}, tmp_path)
    for column in ("event_view", "event_view_level"):
        np.testing.assert_array_equal(series(panel, "p00", "region_2", column), series(panel, "p00", CHAIN, column))


def test_the_rarest_kinds_of_events_are_left_out(raw, tmp_path):
    kinds = [f"kind {min(k % 20, 12)}" for k in range(len(raw["behavior"]))]  # 12 is the most frequent
    panel = load_retailer(raw | {"behavior": raw["behavior"].assign(event=kinds, count=1)}, tmp_path)
    columns = [c for c in panel.roles["past"] if c.startswith("event_")]
    assert len(columns) == 2 * facts.MOST_EVENTS and "event_kind_12" in columns


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
    y = series(panel, product, CHAIN, "y")
    assert np.isnan(y[:start]).all() and np.isfinite(y[start:WEEKS]).all()
    assert np.isnan(series(panel, product, CHAIN, "lag_0")[:start]).all()
    assert series(panel, product, CHAIN, "on_sale").tolist() == [float(t >= start) for t in range(WEEKS + 4)]
    expected = np.log1p(np.clip(np.arange(WEEKS + 4) - start, 0, 52))
    np.testing.assert_allclose(series(panel, product, CHAIN, "age"), expected)
    assert (series(panel, "p00", CHAIN, "age") >= np.log(53)).all()
    level, typical = series(panel, product, CHAIN, "level")[:WEEKS], panel.typical[CHAIN].to_numpy()
    np.testing.assert_allclose(level[:start], typical[:start])
    n, own = 1, y[start]  # a week of its own counts a fifth, four weeks of others the rest
    np.testing.assert_allclose(level[start], (n * own + 4 * (typical[start] - 0.1)) / (n + 4) + 0.1)


def test_sales_before_a_launch_are_left_out_and_counted(panel, raw, tmp_path):
    """A product that sold before its own launch: the same panel as if it had not, and the rows are counted."""
    before = make_retailer()["transactions"].query("product_id == 'p02'")
    before = before[before["timestamp"] < MONDAYS[LAUNCHES["p02"]]]
    rows = pd.concat([raw["transactions"], before]).sort_values("timestamp", ignore_index=True)
    other = load_retailer(raw | {"transactions": rows}, tmp_path)
    check = "rows sold before the product's launch"
    assert [p.quality.set_index("check").loc[check, "found"] for p in (panel, other)] == [0, len(before)]
    for column in ("y", "level", "lag_0", "mean_unpromoted"):
        np.testing.assert_array_equal(series(other, "p02", CHAIN, column), series(panel, "p02", CHAIN, column))


# ---------------------------------------------------------------- stores


def test_stores_give_static_columns_and_the_graph(panel):
    static = panel.frame.groupby("location")[panel.roles["static"]].first()
    assert {"store_latitude", "store_longitude", "store_staff", "store_format_small"} <= set(static)
    assert sorted(static.drop(CHAIN)["store_latitude"].round(6)) == [50, 52]
    shares = static[["store_format_large", "store_format_small"]].sum(axis=1)
    np.testing.assert_allclose(shares, 1)
    graph = panel.graph.drop(index=CHAIN, columns=CHAIN)
    np.testing.assert_allclose(np.diag(graph), 1)
    np.testing.assert_allclose(graph.iloc[0, 1], np.exp(-1))  # the only distance is the median one
