"""Features by hand and by naive loops, of sales alone and of the optional tables."""

import numpy as np
import pandas as pd
import pytest
from small_retailer import (
    LAUNCHES,
    MONDAY,
    STORES,
    WEEKS,
    add_optional_tables,
    load_retailer,
    make_retailer,
    tables_changed_after,
)

from shelfcast.data.schema import CHAIN
from shelfcast.panel import facts
from shelfcast.panel.calendar import holiday_counts, month_starts
from shelfcast.panel.features.season import seasons, year_ago
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
    """Two old products, and one that first sold too late to have a year behind it."""
    y = np.random.default_rng(0).poisson(5, (3, 120)).astype(float)
    born, observed = np.array([0, 0, 30]), np.ones(120, bool)
    own = year_ago(y, observed, born, horizon=4)
    assert own.shape == (3, 124) and np.isnan(own[:, :54]).all()

    def season(sold, week):
        around, year = sold[week - 54 : week - 49], sold[max(0, week - 55) : week - 3]
        return np.log((around.mean() + LEVEL_FLOOR) / (year.mean() + LEVEL_FLOOR))

    for week in (54, 60, 90, 123):
        np.testing.assert_allclose(own[:2, week], [season(sold, week) for sold in y[:2]])
        np.testing.assert_allclose(own[2, week], season(y[2], week) if week >= 84 else np.nan)
    observed[40:43] = False  # missing weeks do not count as zeros
    gap = year_ago(np.where(observed, y, 0), observed, born, horizon=4)
    around = y[0, [38, 39]].mean() + LEVEL_FLOOR  # of weeks 38 to 42
    level = y[0, 37:89][observed[37:89]].mean() + LEVEL_FLOOR
    np.testing.assert_allclose(gap[0, 92], np.log(around / level))


def test_seasons_of_earlier_years_are_relative_to_their_own_level():
    """Sales grow by half each year and triple in five weeks of it: the season is that of the weeks, not of the growth."""
    year = np.ones(52)
    year[20:25] = 3.0
    y = np.concatenate([year * 100 * 1.5**k for k in range(4)])[None, None]
    observed, born = np.ones((1, y.shape[-1]), bool), np.zeros(1, int)
    own = seasons(y, observed, born, horizon=4)[0, 0]
    peak, quiet = own[3 * 52 + 22], own[3 * 52 + 40]
    assert 0.8 < peak < np.log(3) and -0.4 < quiet < 0, (peak, quiet)  # a year's mean is above its quiet weeks
    last = year_ago(y[:, 0], observed[0], born, horizon=4)[0]
    assert last[3 * 52 + 40] < quiet - 0.2, "last year's sales over today's level fall behind by the growth"
    assert np.isnan(own[:54]).all() and np.isfinite(own[60:]).all()
    young = seasons(y, observed, np.full(1, 120), horizon=4)[0, 0]
    assert np.isnan(young[: 120 + 54]).all() and np.isfinite(young[-4:]).all()


def test_seasons_by_a_naive_loop():
    y = np.random.default_rng(1).poisson(9, 230).astype(float)
    own = seasons(y[None, None], np.ones((1, 230), bool), np.zeros(1, int), horizon=4)[0, 0]
    for week, n_years in ((100, 1), (180, 3), (233, 4)):
        logs = []
        for ago in (52, 104, 157, 209):
            same = week - ago
            around, level = y[max(same - 2, 0) : same + 3], y[max(same - 26, 0) : same + 26]
            if same - 2 >= 0 and len(level) >= 26:
                logs.append(np.log((around.mean() + 0.5) / (level.mean() + 0.5)))
        np.testing.assert_allclose(own[week], np.mean(logs))
        assert len(logs) == n_years


def test_leak_earlier_years_are_known_at_every_cutoff():
    y = np.random.default_rng(0).poisson(5, (3, 2, 120)).astype(float)
    other = y.copy()
    other[..., 100:] *= 9  # the cutoff is week 99
    observed, born = np.ones((2, 120), bool), np.zeros(3, int)
    for made in (
        lambda x: year_ago(x[:, 0], observed[0], born, 4),
        lambda x: seasons(x, observed, born, 4),
    ):
        before, after = made(y), made(other)
        np.testing.assert_array_equal(before[..., :104], after[..., :104])
    assert not np.array_equal(year_ago(y[:, 0], observed[0], born, 4), year_ago(other[:, 0], observed[0], born, 4))


# ---------------------------------------------------------------- calendar


def test_calendar(small_panel):
    weeks = pd.date_range("2017-11-20", periods=7, freq="7D")
    # Thanksgiving 11-23, Christmas Monday 12-25, New Year's Day Monday 2018-01-01
    assert holiday_counts(weeks, "US").tolist() == [1, 0, 0, 0, 0, 1, 1]
    np.testing.assert_allclose(month_starts(weeks[:6]), np.array([0, 3, 4, 0, 0, 0]) / 7)  # 12-01 is a Friday
    holiday, holiday_next = (series(small_panel, "p01", CHAIN, c) for c in ("holiday", "holiday_next"))
    np.testing.assert_array_equal(holiday, holiday_counts(pd.DatetimeIndex(MONDAYS), "US"))
    np.testing.assert_array_equal(holiday_next[:-1], holiday[1:])


def two_years(retailer):
    """The small retailer's weeks twice, one after the other."""
    later = {
        name: retailer[name].assign(**{c: retailer[name][c] + pd.Timedelta(weeks=WEEKS)})
        for name, c in (("transactions", "timestamp"), ("promotions", "week"))
    }
    return retailer | {name: pd.concat([retailer[name], rows], ignore_index=True) for name, rows in later.items()}


def test_a_season_needs_more_than_a_year(small_panel, retailer, tmp_path):
    assert "season_sin" not in small_panel.frame and "year_ago" not in small_panel.frame
    panel = load_retailer(two_years(retailer), tmp_path / "shop")
    earlier_years = {"year_ago", "year_ago_category", "season_own", "season_chain", "season_category"}
    assert {"season_sin", "season_cos"} | earlier_years <= set(panel.roles["known_future"])
    assert panel.frame["season_sin"].notna().all()
    last = panel.frame[panel.frame["ds"] > panel.weeks[-1]]
    assert last[list(earlier_years)].notna().all().all(), "known for the coming weeks"


@pytest.mark.parametrize("n_weeks", [68, 74])
def test_leak_a_long_history_with_a_gap(retailer, tmp_path, n_weeks):
    raw = two_years(retailer)
    gap = raw["transactions"]["timestamp"].between(MONDAYS[20], MONDAYS[23])
    raw["transactions"] = raw["transactions"][~gap].reset_index(drop=True)
    ours, theirs = (
        load_retailer(each, tmp_path / name) for name, each in (("a", raw), ("b", tables_changed_after(raw, n_weeks)))
    )
    cutoff = ours.weeks[n_weeks - 1]
    pd.testing.assert_frame_equal(*(examples(panel, [cutoff]).drop(columns="y") for panel in (ours, theirs)))
    assert len(ours.meta["missing_weeks"]) == 3 and not ours.frame["y"].equals(theirs.frame["y"])


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
    assert np.isnan(ahead[WEEKS:]).all() and np.isfinite(ahead[:WEEKS]).all(), "beyond the plan nothing is known"
    assert series(panel, "p00", "region_1", "price_known").tolist() == [1.0] * WEEKS + [0.0] * 4
    assert np.isfinite(series(panel, "p01", CHAIN, "price")[:WEEKS]).all()


def test_prices_are_known_within_the_tables_weeks_alone(raw, tmp_path):
    """Prices of weeks 5 to 20 without 10 to 12: a hole keeps the price before it. Coffee's prices begin in week 3."""
    week = (raw["prices"]["week"] - MONDAY).dt.days // 7
    tea = raw["prices"]["product_id"] < "p08"
    prices = raw["prices"][(tea & week.between(5, 20) & ~week.between(10, 12)) | (~tea & week.between(3, 20))]
    panel = load_retailer(raw | {"prices": prices}, tmp_path)
    price, known = (series(panel, "p00", "region_1", c) for c in ("price", "price_known"))
    assert known.nonzero()[0].tolist() == list(range(3, 21))
    assert np.isfinite(price).nonzero()[0].tolist() == list(range(5, 21))
    assert (price[10:13] == price[9]).all() and price[13] != price[9]
    assert panel.planned[-3:] == ["price", "price_cut", "price_known"]


def test_the_price_level_of_a_product_launched_after_training_is_that_of_its_plan(raw, tmp_path):
    """p03 is launched in week 37 and its prices begin there."""
    late = (raw["prices"]["product_id"] == "p03") & (raw["prices"]["week"] < MONDAYS[LAUNCHES["p03"]])
    panel = load_retailer(raw | {"prices": raw["prices"][~late]}, tmp_path)
    first = raw["prices"].query("product_id == 'p03'")["price"].to_numpy()[LAUNCHES["p03"]]
    np.testing.assert_allclose(series(panel, "p03", CHAIN, "price_level"), np.log(first))


# ---------------------------------------------------------------- behaviour


def test_events_of_any_kind_become_features(panel, raw):
    events = raw["behavior"].query("product_id == 'p00' and event == 'view'")
    week = (events["timestamp"] - MONDAY).dt.days // 7
    count = events.groupby(week)["count"].sum().reindex(range(WEEKS), fill_value=0).to_numpy()
    first = int(np.argmax(count > 0))
    typical = np.array([count[first : t + 1].mean() if t >= first else 0 for t in range(WEEKS)])
    np.testing.assert_allclose(
        series(panel, "p00", CHAIN, "event_now: view")[:WEEKS], np.log((count + 1) / (typical + 1))
    )
    kinds = {c for c in panel.roles["past"] if c.startswith("event_")}
    assert kinds == {f"event_{what}: {kind}" for what in ("now", "level") for kind in ("view", "Add to cart")}
    assert "kind Add to cart" in panel.meanings["event_now: Add to cart"]
    here, there = (series(panel, "p00", f"region_{k}", "event_level: view")[:WEEKS] for k in (1, 2))
    assert not np.allclose(here, there)


def test_events_without_any_store_are_seen_everywhere(raw, tmp_path):
    panel = load_retailer(raw | {"behavior": raw["behavior"].drop(columns="store_id")}, tmp_path)
    for column in ("event_now: view", "event_level: view"):
        np.testing.assert_array_equal(series(panel, "p00", "region_2", column), series(panel, "p00", CHAIN, column))


def test_events_before_the_first_one_of_the_table_are_unknown(raw, tmp_path):
    """The shop counts views from week 10 on; of p00 there are none before week 20."""
    events = raw["behavior"]
    begun = events["timestamp"] >= np.where(events["product_id"] == "p00", MONDAYS[20], MONDAYS[10])
    panel = load_retailer(raw | {"behavior": events[begun].assign(event="浏览 {view}")}, tmp_path)
    for name in ("event_now: 浏览 {view}", "event_level: 浏览 {view}"):
        values = series(panel, "p00", CHAIN, name)[:WEEKS]
        assert np.isnan(values[:10]).all() and (values[10:20] == 0).all() and np.isfinite(values[20:]).all(), name


def test_the_rarest_kinds_of_events_are_left_out(raw, tmp_path):
    kinds = [f"kind {min(k % 20, 12)}" for k in range(len(raw["behavior"]))]  # 12 is the most frequent
    panel = load_retailer(raw | {"behavior": raw["behavior"].assign(event=kinds, count=1)}, tmp_path)
    columns = [c for c in panel.roles["past"] if c.startswith("event_")]
    assert len(columns) == 2 * facts.MOST_EVENTS and "event_now: kind 12" in columns


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


def with_early_sales(raw, n_weeks):
    """The tables with sales of p02 in the last `n_weeks` before its launch; and how many rows these are."""
    before = make_retailer()["transactions"].query("product_id == 'p02'")
    start, end = (MONDAYS[LAUNCHES["p02"] - n] for n in (n_weeks, 0))
    before = before[(before["timestamp"] >= start) & (before["timestamp"] < end)]
    rows = pd.concat([raw["transactions"], before]).sort_values("timestamp", ignore_index=True)
    return raw | {"transactions": rows}, len(before)


def test_a_few_sales_before_a_launch_are_left_out_and_counted(panel, raw, tmp_path):
    """A product that sold a little before its launch: the same panel as if it had not, and the rows are counted."""
    early, n = with_early_sales(raw, 3)
    other = load_retailer(early, tmp_path)
    check = "rows sold before the product's launch"
    assert [p.quality.set_index("check").loc[check, "found"] for p in (panel, other)] == [0, n]
    for column in ("y", "level", "lag_0", "mean_unpromoted"):
        np.testing.assert_array_equal(series(other, "p02", CHAIN, column), series(panel, "p02", CHAIN, column))


def test_a_product_that_sold_for_weeks_was_not_launched_then(panel, raw, tmp_path):
    early, _ = with_early_sales(raw, LAUNCHES["p02"])
    other = load_retailer(early, tmp_path)
    assert np.isfinite(series(other, "p02", CHAIN, "y")[:WEEKS]).all() and other.meta["n_launched"] == 1
    line = other.quality[other.quality["check"].str.startswith("products.launch")].iloc[0]
    assert line["found"] == 1 and "p02" in line["check"] and "is ignored" in line["action"]
    assert line["units"] == series(other, "p02", CHAIN, "y")[: LAUNCHES["p02"]].sum()


# ---------------------------------------------------------------- stores


def test_stores_give_static_columns_and_the_graph(panel):
    static = panel.frame.groupby("location")[panel.roles["static"]].first()
    assert {"store_latitude", "store_longitude", "store_staff", "store_format = small"} <= set(static)
    assert sorted(static.drop(CHAIN)["store_latitude"].round(6)) == [50, 52]
    shares = static[["store_format = large", "store_format = small"]].sum(axis=1)
    np.testing.assert_allclose(shares, 1)
    graph = panel.graph.drop(index=CHAIN, columns=CHAIN)
    np.testing.assert_allclose(np.diag(graph), 1)
    np.testing.assert_allclose(graph.iloc[0, 1], np.exp(-1))  # the only distance is the median one
