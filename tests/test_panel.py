"""The panel: weeks, regions and features by naive loops, and a test for each way the future could leak in."""

import numpy as np
import pandas as pd
import pytest
from conftest import MONDAY, STORES, WEEKS, load_retailer, make_retailer, tables_changed_after

from shelfcast.panel import features
from shelfcast.panel.frame import Panel, examples
from shelfcast.data.schema import CHAIN


def at(panel, product, location, column):
    rows = panel.frame[(panel.frame["product_id"] == product) & (panel.frame["location"] == location)]
    return rows.set_index("ds")[column]


def trade(raw, **columns):
    raw["transactions"] = raw["transactions"].assign(**columns).sort_values("timestamp", ignore_index=True)
    return raw


# ---------------------------------------------------------------- weeks


def test_weeks_are_found(small_panel):
    assert len(small_panel.weeks) == WEEKS and (small_panel.weeks.dayofweek == 0).all()
    ends = {k: [c for c in v] for k, v in small_panel.cutoffs.items()}
    assert ends["latest"] == [small_panel.weeks[-1]]
    assert ends["test"] == list(small_panel.weeks[33:36]) and ends["validation"] == list(small_panel.weeks[27:30])
    assert small_panel.frame["ds"].max() == small_panel.weeks[-1] + pd.Timedelta(weeks=4)


def test_weeks_cut_short_are_dropped(retailer, tmp_path):
    rows = retailer["transactions"]
    first, last = MONDAY + pd.Timedelta(days=2), MONDAY + pd.Timedelta(weeks=WEEKS) - pd.Timedelta(days=1)
    retailer["transactions"] = rows[(rows["timestamp"] >= first) & (rows["timestamp"] < last)].reset_index(drop=True)
    panel = load_retailer(retailer, tmp_path / "shop")
    assert panel.weeks[0] == MONDAY + pd.Timedelta(weeks=1) and panel.weeks[-1] == MONDAY + pd.Timedelta(
        weeks=WEEKS - 2
    )
    tea = retailer["transactions"]["product_id"] < "p08"
    outside = tea & ~retailer["transactions"]["timestamp"].between(
        panel.weeks[0], panel.weeks[-1] + pd.Timedelta(days=7)
    )
    assert panel.quality.set_index("check").loc["rows in incomplete weeks", "found"] == outside.sum()


@pytest.mark.parametrize("closed", [[6], [0, 1, 2, 3, 4, 5]], ids=["no Sundays", "one row a week"])
def test_closed_days_cut_no_week(retailer, tmp_path, closed):
    rows = retailer["transactions"]
    week = rows["timestamp"].dt.normalize() - pd.to_timedelta(rows["timestamp"].dt.dayofweek, unit="D")
    open_day = next(day for day in range(7) if day not in closed)
    shut = rows["timestamp"].dt.dayofweek.isin(closed)
    panel = load_retailer(
        trade(retailer, timestamp=rows["timestamp"].where(~shut, week + pd.Timedelta(days=open_day))), tmp_path / "shop"
    )
    assert len(panel.weeks) == WEEKS


def test_a_gap_is_an_error(retailer, tmp_path):
    rows = retailer["transactions"]
    gap = rows["timestamp"].between(MONDAY + pd.Timedelta(weeks=9), MONDAY + pd.Timedelta(weeks=10))
    retailer["transactions"] = rows[~gap].reset_index(drop=True)
    with pytest.raises(ValueError, match=r"1 weeks between .* have no sales at all, first 2022-03-07.*fill it"):
        load_retailer(retailer, tmp_path / "shop")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (dict(validation_weeks=3), r"validation_weeks \(3\).*horizon \(4\)"),
        (dict(validation_weeks=15, test_weeks=15), r"40 complete weeks leave 10 for training.*at least 13"),
    ],
)
def test_too_few_weeks(retailer, tmp_path, build, words):
    with pytest.raises(ValueError, match=words):
        load_retailer(retailer, tmp_path / "shop", **build)


def test_too_few_products(retailer, tmp_path):
    with pytest.raises(ValueError, match=r"has 4 products that sold.*at least 5 are needed.*wider category"):
        load_retailer(retailer, tmp_path / "shop", category="OAT MILK")


# ---------------------------------------------------------------- space


def test_towns_become_regions(small_panel, retailer):
    """Households shop in their own town, so two stores share shoppers only within a town."""
    assert list(small_panel.locations.index) == [CHAIN, "region_1", "region_2"]
    assert small_panel.locations["stores"].tolist() == [8, 4, 4]
    rows = retailer["transactions"]
    town = rows[(rows["store_id"] < "s4") & (rows["product_id"] == "p01")]
    week = ((town["timestamp"] - MONDAY).dt.days // 7).value_counts().reindex(range(WEEKS), fill_value=0)
    found = [at(small_panel, "p01", region, "y").dropna().tolist() for region in ("region_1", "region_2")]
    assert week.tolist() in found


def test_regions_add_up_to_the_chain(retailer, tmp_path):
    rows = retailer["transactions"]
    late = rows["timestamp"] >= MONDAY + pd.Timedelta(weeks=36)
    new = late & (np.arange(len(rows)) % 5 == 0)
    panel = load_retailer(trade(retailer, store_id=rows["store_id"].where(~new, "s_new")), tmp_path / "shop")
    wide = panel.frame.dropna(subset="y").pivot_table(index=["product_id", "ds"], columns="location", values="y")
    gap = wide[CHAIN] - wide.drop(columns=CHAIN).sum(axis=1)
    tea = rows["product_id"].isin(panel.products.index)
    assert gap.sum() == (new & tea).sum()
    all_tea = rows["product_id"] < "p08"
    found = panel.quality.set_index("check").loc["rows in stores first seen after training", "found"]
    assert found == (new & all_tea).sum()


def test_a_region_column_or_coordinates_come_first(retailer, tmp_path):
    stores = pd.DataFrame({"store_id": [f"s{i}" for i in range(STORES)]})
    named = retailer | {"stores": stores.assign(region=["north", "south"] * 4)}
    panel = load_retailer(named, tmp_path / "named")
    rows = retailer["transactions"]
    north = rows[rows["store_id"].isin(["s0", "s2", "s4", "s6"]) & rows["product_id"].isin(panel.products.index)]
    totals = panel.frame.groupby("location")["y"].sum()
    assert len(north) in totals[["region_1", "region_2"]].tolist()
    placed = retailer | {"stores": stores.assign(latitude=[0, 9, 0, 9, 0, 9, 0, 9], longitude=0.0)}
    pd.testing.assert_series_equal(
        load_retailer(placed, tmp_path / "placed").frame.groupby("location")["y"].sum(), totals
    )


# ---------------------------------------------------------------- features by hand


def test_past_features_by_naive_loops(small_panel):
    product = small_panel.products.index[2]
    for location in (CHAIN, "region_2"):
        y = at(small_panel, product, location, "y").dropna().to_numpy()
        promotion = at(small_panel, product, location, "promotion").to_numpy()
        level = [0.5 * y[max(0, t - 12) : t + 1].mean() + 0.5 * y[: t + 1].mean() + 0.1 for t in range(WEEKS)]
        expected = {
            "level": level,
            "level_8": [y[max(0, t - 7) : t + 1].mean() for t in range(WEEKS)],
            "lag_2": [y[t - 2] if t >= 2 else 0 for t in range(WEEKS)],
            "share_weeks_sold": [(y[: t + 1] > 0).mean() for t in range(WEEKS)],
            "weeks_since_sale": [min([k for k in range(t + 1) if y[t - k] > 0], default=26) for t in range(WEEKS)],
            "mean_promoted": [
                (sum(y[k] for k in range(t + 1) if promotion[k] >= 0.5) + level[t])
                / (sum(promotion[k] >= 0.5 for k in range(t + 1)) + 1)
                for t in range(WEEKS)
            ],
        }
        for column, values in expected.items():
            np.testing.assert_allclose(at(small_panel, product, location, column).dropna(), values, err_msg=column)


def test_a_locations_own_shock_by_naive_loops(small_panel):
    wide = small_panel.frame.dropna(subset="y").pivot(index=["location", "ds"], columns="product_id", values="y")
    for region in ("region_1", "region_2"):
        expected = []
        for t in range(WEEKS):
            sold = wide.loc[region].iloc[t].sum()
            usual = 0.0
            for product in wide:
                own = wide.loc[region, product].iloc[:t].sum()
                all_own = own + wide.loc["region_1" if region == "region_2" else "region_2", product].iloc[:t].sum()
                kin = wide.loc[region].iloc[:t].sum().sum() / max(
                    wide.drop(CHAIN).groupby("ds").sum().iloc[:t].sum().sum(), 1
                )
                share = (own + 20 * kin) / (all_own + 20)
                usual += share * sum(wide.loc[r, product].iloc[t] for r in ("region_1", "region_2"))
            expected.append(np.log((sold + 1) / (usual + 1)) if t >= 8 else 0.0)
        for product in small_panel.products.index[:2]:
            np.testing.assert_allclose(at(small_panel, product, region, "location_now")[:WEEKS], expected, atol=1e-9)
    assert not at(small_panel, small_panel.products.index[0], CHAIN, "location_now")[:WEEKS].any()


def test_behaviour_by_naive_loops(small_panel, retailer):
    product = small_panel.products.index[0]
    rows = retailer["transactions"].query("product_id == @product")
    week = (rows["timestamp"] - MONDAY).dt.days // 7
    earlier = set()
    for t in range(WEEKS):
        now = set(rows.loc[week == t, "customer_id"])
        assert at(small_panel, product, CHAIN, "buyers").iloc[t] == len(now)
        assert at(small_panel, product, CHAIN, "baskets").iloc[t] == rows.loc[week == t, "basket_id"].nunique()
        assert at(small_panel, product, CHAIN, "repeat_share").iloc[t] == pytest.approx(
            len(now & earlier) / max(len(now), 1)
        )
        earlier |= now


def test_prices_by_naive_loops(small_panel, retailer):
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
        plan.append((price if price is not None else seen[-1] if seen else 0) - np.mean(seen) if seen else 0.0)
        seen += [] if price is None else [price]
    np.testing.assert_allclose(at(small_panel, product, CHAIN, "price_ratio").dropna(), ratio, atol=1e-9)
    np.testing.assert_allclose(at(small_panel, product, CHAIN, "price_ratio_plan").dropna(), plan, atol=1e-9)


def test_promotion_is_a_share_of_the_recorded_stores(small_panel, retailer):
    product, weeks = small_panel.products.index[0], small_panel.weeks
    rows = retailer["transactions"]
    training = rows[rows["timestamp"] < weeks[28]]
    training = training[training["product_id"].isin(small_panel.products.index)]
    recorded = sorted(retailer["promotions"]["store_id"].unique())
    weight = training.groupby("store_id")["quantity"].sum()[recorded] + 1e-3
    told = retailer["promotions"].query("product_id == @product")
    expected = [weight[told.loc[told["week"] == w, "store_id"]].sum() / weight.sum() for w in weeks]
    np.testing.assert_allclose(at(small_panel, product, CHAIN, "promotion")[weeks], expected)
    assert len(recorded) == 6 and max(expected) > 0


def test_calendar():
    weeks = pd.date_range("2017-11-20", periods=6, freq="7D")
    columns = features.calendar(weeks, "US", 40, (1, 1, 6))
    assert columns["holiday"].ravel().tolist() == [1, 0, 0, 0, 0, 1]  # Thanksgiving 11-23, Christmas Monday 12-25
    assert columns["holiday_next"].ravel().tolist() == [0, 0, 0, 0, 1, 1]  # New Year's Day 2018-01-01 is a Monday
    np.testing.assert_allclose(columns["month_start"].ravel(), np.array([0, 3, 4, 0, 0, 0]) / 7)  # 12-01 is a Friday
    assert "season_sin" not in columns and "season_sin" in features.calendar(weeks, "US", 54, (1, 1, 6))


# ---------------------------------------------------------------- the frame


def test_last_year_by_naive_loops():
    """Two old products of one category, one of another, and one launched too late to have a year behind it."""
    y = np.random.default_rng(0).poisson(5, (4, 2, 120)).astype(float)
    launch, category, floor = np.array([-1, -1, -1, 30]), np.array(["a", "a", "b", "a"]), features.LEVEL_FLOOR
    found = features.year_ago(y, category, launch, horizon=4)
    assert {x.shape for x in found.values()} == {(4, 2, 124)} and np.isnan(found["year_ago"][..., :54]).all()
    for week in (54, 60, 90, 123):
        around = [x[:, 0, week - 54 : week - 49].mean(-1) for x in (y, y[:2].sum(0)[None])]
        year = [
            x[:, 0, week - 4 - 51 : week - 3].mean(-1) if week > 55 else x[:, 0, : week - 3].mean(-1)
            for x in (y, y[:2].sum(0)[None])
        ]
        own, kin = (np.log((a + floor) / (b + floor)) for a, b in zip(around, year, strict=True))
        np.testing.assert_allclose(found["year_ago"][:3, 1, week], own[:3])
        np.testing.assert_allclose(found["year_ago_category"][:2, 0, week], kin[0])
        np.testing.assert_allclose(found["year_ago"][3, 0, week], own[3] if week >= 84 else kin[0])


def test_leak_last_year_is_known_at_every_cutoff():
    y = np.random.default_rng(0).poisson(5, (3, 1, 120)).astype(float)
    other = y.copy()
    other[..., 100:] *= 9  # the cutoff is week 99
    before, after = (features.year_ago(x, np.array(list("aab")), np.full(3, -1), 4) for x in (y, other))
    for name in before:
        np.testing.assert_array_equal(before[name][..., :104], after[name][..., :104])
        assert not np.array_equal(before[name], after[name], equal_nan=True)


def test_describe_names_every_column(small_panel):
    said = small_panel.describe().set_index("column")["role"]
    keys = {"unique_id", "product_id", "location", "ds", "y"}
    assert set(small_panel.frame) - keys == set(said[~said.isin(["key", "target", "ignored"])].index)
    assert said["level"] == "past" and said["mailer"] == "known_future" and said["price_ratio_plan"] == "price_plan"


def test_save_and_load(small_panel, tmp_path):
    small_panel.save(tmp_path / "p")
    loaded = Panel.load(tmp_path / "p")
    pd.testing.assert_frame_equal(loaded.frame, small_panel.frame)
    assert loaded.cutoffs == small_panel.cutoffs and loaded.roles == small_panel.roles
    with pytest.raises(ValueError, match=r"holds no panel.*1_prepare"):
        Panel.load(tmp_path)


def test_examples_line_up(small_panel):
    cutoff = small_panel.weeks[30]
    row = examples(small_panel, [cutoff, *small_panel.cutoffs["latest"]]).set_index(["unique_id", "cutoff", "horizon"])
    product = small_panel.products.index[3]
    one = row.loc[(f"{product}|region_1", cutoff, 3)]
    target = cutoff + pd.Timedelta(weeks=3)
    assert one["ds"] == target
    assert one["y"] == at(small_panel, product, "region_1", "y")[target]
    assert one["promotion_target"] == at(small_panel, product, "region_1", "promotion")[target]
    assert one["promotion"] == at(small_panel, product, "region_1", "promotion")[cutoff]
    assert one["lag_0"] == at(small_panel, product, "region_1", "y")[cutoff]
    assert row.xs(small_panel.weeks[-1], level="cutoff")["y"].isna().all()
    assert row.xs(small_panel.weeks[-1], level="cutoff")["promotion_target"].notna().all()


# ---------------------------------------------------------------- leaks


def known(panel, until):
    columns = ["unique_id", "ds", *panel.roles["static"], *panel.roles["past"], *panel.roles["known_future"]]
    return panel.frame.loc[panel.frame["ds"] <= until, columns].reset_index(drop=True)


@pytest.mark.parametrize("n_weeks", [28, 31, 34, 36], ids=["training end", "in validation", "first test", "last test"])
def test_leak_nothing_after_a_cutoff_reaches_it(small_panel, retailer, tmp_path, n_weeks):
    other = load_retailer(tables_changed_after(retailer, n_weeks), tmp_path / "shop")
    until = small_panel.weeks[n_weeks - 1]
    pd.testing.assert_frame_equal(known(other, until), known(small_panel, until))
    assert not other.frame["y"].equals(small_panel.frame["y"])
    plan = [f"{c}_target" for c in small_panel.roles["known_future"]]
    ours, theirs = (examples(p, [until]).drop(columns="y") for p in (small_panel, other))
    pd.testing.assert_frame_equal(theirs, ours)  # the plan of the coming weeks is all that is known of them
    assert ours[plan].notna().all().all()


def test_leak_products_are_chosen_on_training_weeks(small_panel, retailer, tmp_path):
    """A product that was too small to be chosen becomes the largest of all, after the training weeks."""
    rows = retailer["transactions"]
    left_out = sorted(set(rows.loc[rows["product_id"] < "p08", "product_id"]) - set(small_panel.products.index))[0]
    late = (rows["timestamp"] >= small_panel.weeks[28]) & (rows["product_id"] == left_out)
    other = load_retailer(trade(retailer, quantity=rows["quantity"].mask(late, 500.0)), tmp_path / "shop")
    assert late.any() and list(other.products.index) == list(small_panel.products.index)
    pd.testing.assert_series_equal(other.products["units"], small_panel.products["units"])


def test_leak_regions_and_graph_are_of_training_weeks(small_panel, retailer, tmp_path):
    other = load_retailer(tables_changed_after(retailer, 28), tmp_path / "shop")
    pd.testing.assert_frame_equal(other.graph, small_panel.graph)
    pd.testing.assert_frame_equal(other.locations, small_panel.locations)


def test_leak_the_price_of_a_coming_week(small_panel, retailer, tmp_path):
    """A realised price tells that it sold: only `price_plan`, the upper bound, may read it."""
    assert not any("price" in column for column in small_panel.roles["known_future"])
    rows, cutoff = retailer["transactions"], small_panel.weeks[33]
    late = rows["timestamp"] >= cutoff + pd.Timedelta(weeks=1)
    other = load_retailer(trade(retailer, sales_value=rows["sales_value"].where(~late, 9.9)), tmp_path / "shop")
    pd.testing.assert_frame_equal(examples(other, [cutoff]), examples(small_panel, [cutoff]))
    told = [examples(p, [cutoff], price_plan=True)["price_ratio_plan_target"] for p in (small_panel, other)]
    assert not np.allclose(*told)


def test_leak_siblings_of_the_target_week(small_panel, retailer, tmp_path):
    """What other products sell in the target week is not known: their rows of that week are doubled."""
    rows, cutoff = retailer["transactions"], small_panel.weeks[33]
    mine = small_panel.products.index[0]
    week = rows["timestamp"].between(cutoff + pd.Timedelta(weeks=1), cutoff + pd.Timedelta(weeks=2), inclusive="left")
    double = trade(retailer, quantity=rows["quantity"].where(~(week & (rows["product_id"] != mine)), 2.0))
    other = load_retailer(double, tmp_path / "shop")
    ours, theirs = (examples(p, [cutoff]) for p in (small_panel, other))
    mine = ours["product_id"] == mine
    pd.testing.assert_frame_equal(theirs[mine], ours[mine])


def test_leak_a_store_without_records_is_not_one_without_promotions(small_panel, retailer, tmp_path):
    """Two of four stores of one town keep no records. Their silence must not halve the town's promotion share."""
    weeks = small_panel.weeks
    every = pd.MultiIndex.from_product([small_panel.products.index, ["s0", "s1", "s4", "s5"], weeks])
    promotions = every.to_frame(index=False, name=["product_id", "store_id", "week"]).assign(mailer=1.0)
    panel = load_retailer(retailer | {"promotions": promotions}, tmp_path / "shop")
    assert (panel.frame["promotion"] == 1).all()
    assert panel.frame.loc[panel.frame["location"] == CHAIN, "promo_known"].between(0.3, 0.7).all()


def test_leak_a_plan_that_is_not_there_is_assumed_and_said(small_panel, retailer, tmp_path):
    promotions = retailer["promotions"]
    assert small_panel.meta["plan_assumed"]  # the records end with the sales
    last = at(small_panel, small_panel.products.index[0], CHAIN, "promotion")
    np.testing.assert_allclose(last.iloc[-4:], last.iloc[-8:-4].mean())
    ahead = promotions[promotions["week"] >= small_panel.weeks[-4]]
    ahead = ahead.assign(week=ahead["week"] + pd.Timedelta(weeks=4))
    whole = load_retailer(
        retailer | {"promotions": pd.concat([promotions, ahead], ignore_index=True)}, tmp_path / "shop"
    )
    assert not whole.meta["plan_assumed"]


def test_no_promotions_at_all(tmp_path):
    raw = make_retailer()
    del raw["promotions"]
    panel = load_retailer(raw, tmp_path / "shop")
    assert (panel.frame["promotion"] == 0).all() and (panel.frame["promo_known"] == 0).all()
