"""The panel: weeks, regions, the frame, and a test for each way the future could leak in."""

import numpy as np
import pandas as pd
import pytest
from small_retailer import MONDAY, STORES, WEEKS, load_retailer, make_retailer, reloaded, tables_changed_after

from shelfcast.data.schema import CHAIN
from shelfcast.panel.axes.regions import spectral_clusters
from shelfcast.panel.frame import Panel, examples
from shelfcast.panel.grid import Column, merge


def series(panel, product, location, column):
    rows = panel.frame[(panel.frame["product_id"] == product) & (panel.frame["location"] == location)]
    return rows.set_index("ds")[column]


def with_rows(raw, **columns):
    """The tables with other columns of transactions, sorted by time again."""
    rows = raw["transactions"].assign(**columns).sort_values("timestamp", ignore_index=True)
    return raw | {"transactions": rows}


# ---------------------------------------------------------------- weeks


def test_weeks_are_complete_and_split(small_panel):
    assert len(small_panel.weeks) == WEEKS and (small_panel.weeks.dayofweek == 0).all()
    cutoffs = small_panel.cutoffs
    assert cutoffs["latest"] == [small_panel.weeks[-1]]
    assert cutoffs["train"] == list(small_panel.weeks[3:27])
    assert cutoffs["validation"] == list(small_panel.weeks[27:30]) and cutoffs["test"] == list(small_panel.weeks[33:36])
    assert small_panel.frame["ds"].max() == small_panel.weeks[-1] + pd.Timedelta(weeks=4)


def test_weeks_cut_short_are_dropped(retailer, tmp_path):
    rows = retailer["transactions"]
    first, last = MONDAY + pd.Timedelta(days=2), MONDAY + pd.Timedelta(weeks=WEEKS) - pd.Timedelta(days=1)
    rows = rows[(rows["timestamp"] >= first) & (rows["timestamp"] < last)].reset_index(drop=True)
    panel = load_retailer(retailer | {"transactions": rows}, tmp_path / "shop")
    start, end = panel.weeks[0], panel.weeks[-1] + pd.Timedelta(days=7)
    assert start == MONDAY + pd.Timedelta(weeks=1) and end == MONDAY + pd.Timedelta(weeks=WEEKS - 1)
    outside = (rows["product_id"] < "p08") & ~rows["timestamp"].between(start, end, inclusive="left")
    assert panel.quality.set_index("check").loc["rows in incomplete weeks", "found"] == outside.sum()


@pytest.mark.parametrize("closed", [[6], [0, 1, 2, 3, 4, 5]], ids=["no Sundays", "one row a week"])
def test_closed_days_cut_no_week(retailer, tmp_path, closed):
    stamps = retailer["transactions"]["timestamp"]
    monday = stamps.dt.normalize() - pd.to_timedelta(stamps.dt.dayofweek, unit="D")
    open_day = next(day for day in range(7) if day not in closed)
    moved = stamps.where(~stamps.dt.dayofweek.isin(closed), monday + pd.Timedelta(days=open_day))
    panel = load_retailer(with_rows(retailer, timestamp=moved), tmp_path / "shop")
    assert len(panel.weeks) == WEEKS


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (dict(validation_weeks=3), r"validation_weeks \(3\).*horizon \(4\)"),
        (dict(validation_weeks=15, test_weeks=15), r"40 complete weeks leave 10 for training.*at least 13"),
    ],
)
def test_too_few_weeks(retailer, tmp_path, prepare, words):
    with pytest.raises(ValueError, match=words):
        load_retailer(retailer, tmp_path / "shop", **prepare)


def test_too_few_products(retailer, tmp_path):
    with pytest.raises(ValueError, match=r"has 4 products that sold.*at least 5 are needed.*wider category"):
        load_retailer(retailer, tmp_path / "shop", category="OAT MILK")


# ---------------------------------------------------------------- regions


def test_towns_become_regions(small_panel, retailer):
    """Households shop in their own town, so two stores share shoppers only within a town."""
    assert list(small_panel.locations.index) == [CHAIN, "region_1", "region_2"]
    assert small_panel.locations["stores"].tolist() == [8, 4, 4]
    rows = retailer["transactions"]
    town = rows[(rows["store_id"] < "s4") & (rows["product_id"] == "p01")]
    week = ((town["timestamp"] - MONDAY).dt.days // 7).value_counts().reindex(range(WEEKS), fill_value=0)
    regional = [series(small_panel, "p01", region, "y").dropna().tolist() for region in ("region_1", "region_2")]
    assert week.tolist() in regional


def test_regions_add_up_to_the_chain(retailer, tmp_path):
    """A store that opens after the training weeks counts where its customers shop."""
    rows = retailer["transactions"]
    new = (rows["timestamp"] >= MONDAY + pd.Timedelta(weeks=36)) & (rows["store_id"] == "s5")
    panel = load_retailer(with_rows(retailer, store_id=rows["store_id"].where(~new, "s_new")), tmp_path / "shop")
    wide = panel.frame.dropna(subset="y").pivot_table(index=["product_id", "ds"], columns="location", values="y")
    np.testing.assert_array_equal(wide[CHAIN], wide.drop(columns=CHAIN).sum(axis=1))
    line = panel.quality.set_index("check").loc["rows in stores first seen after training"]
    assert line["found"] == (new & (rows["product_id"] < "p08")).sum() > 0
    assert line["action"] == f"counted in {panel.meta['regions']['s5']}"
    assert panel.meta["regions"]["s_new"] == panel.meta["regions"]["s5"] and panel.locations["stores"][CHAIN] == STORES


def test_a_region_column_or_coordinates_come_first(retailer, tmp_path):
    stores = pd.DataFrame({"store_id": [f"s{i}" for i in range(STORES)]})
    named = retailer | {"stores": stores.assign(region=["north", "south"] * 4)}
    panel = load_retailer(named, tmp_path / "named")
    rows = retailer["transactions"]
    north = rows[rows["store_id"].isin(["s0", "s2", "s4", "s6"]) & rows["product_id"].isin(panel.products.index)]
    totals = panel.frame.groupby("location")["y"].sum()
    assert totals["north"] == len(north), "a retailer's regions keep their names"
    placed = retailer | {"stores": stores.assign(latitude=[0, 9, 0, 9, 0, 9, 0, 9], longitude=0.0)}
    by_coordinates = load_retailer(placed, tmp_path / "placed")
    theirs = by_coordinates.frame.groupby("location")["y"].sum()
    assert sorted(theirs) == sorted(totals) and theirs["region_1"] > theirs["region_2"], "the first is the largest"


def test_spectral_clusters_are_those_of_scikit_learn():
    from sklearn.cluster import SpectralClustering

    draw = np.random.default_rng(0)
    for n_nodes, n_clusters in ((12, 2), (60, 6), (150, 4)):
        near = draw.gamma(1, 1, (n_nodes, n_nodes))
        near = near + near.T + 5 * np.equal.outer(np.arange(n_nodes) % n_clusters, np.arange(n_nodes) % n_clusters)
        theirs = SpectralClustering(n_clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
        pairs = pd.DataFrame({"ours": spectral_clusters(near, n_clusters), "theirs": theirs.fit_predict(near)})
        assert len(pairs.drop_duplicates()) == n_clusters == pairs["ours"].nunique()


# ---------------------------------------------------------------- the frame


def test_two_features_of_one_name_are_refused():
    shares, sales = (
        [Column(name, "past", np.zeros(3), "") for name in names] for names in (["share"], ["lag", "share"])
    )
    with pytest.raises(
        ValueError, match=r"'share' is made by the families 'stores' and 'history'.*markets.<name>.rename"
    ):
        merge({"stores": shares, "history": sales})
    assert [column.name for column in merge({"stores": shares, "history": sales[:1]})] == ["share", "lag"]


def test_a_channel_may_have_the_name_of_a_feature(small_panel, retailer, tmp_path):
    retailer["promotions"] = retailer["promotions"].rename(columns={"mailer": "holiday", "display": "level"})
    panel = load_retailer(retailer, tmp_path / "shop")
    for ours in ("holiday", "level", "promotion"):
        pd.testing.assert_series_equal(panel.frame[ours], small_panel.frame[ours])
    pd.testing.assert_series_equal(
        panel.frame["promotion: holiday"], small_panel.frame["promotion: mailer"], check_names=False
    )


def test_planned_columns(small_panel):
    assert small_panel.planned == [
        *("promotion", "promotion: display", "promotion: mailer", "category_promotion", "promotion_known")
    ]
    assert set(small_panel.planned) <= set(small_panel.roles["known_future"])


def test_describe_names_every_column(small_panel):
    columns = small_panel.describe().set_index("column")
    keys = {"unique_id", "product_id", "location", "ds", "y"}
    features = columns[~columns["role"].isin(["key", "target", "ignored"])]
    assert set(small_panel.frame) - keys == set(features.index) and features["meaning"].str.len().min() > 0
    assert columns.loc[["level", "promotion: mailer", "price_ratio_plan"], "role"].tolist() == [
        "past",
        "known_future",
        "price_plan",
    ]
    assert columns.loc[["lag_0", "buyers", "category_level", "promotion: mailer"], "unit"].tolist() == [
        "units",
        "units",
        "",
        "",
    ]


def test_columns_in_units(small_panel):
    assert small_panel.in_units == [
        *("level_4", "level_8", "level_13", "level_26", "level", "level_chain", "lag_0", "lag_1", "lag_2", "lag_3"),
        *("mean_promoted", "mean_unpromoted", "baskets", "buyers"),
    ]


def test_save_and_load(small_panel, tmp_path):
    small_panel.save(tmp_path / "p")
    loaded = Panel.load(tmp_path / "p")
    pd.testing.assert_frame_equal(loaded.frame, small_panel.frame)
    pd.testing.assert_frame_equal(loaded.describe(), small_panel.describe())
    assert loaded.cutoffs == small_panel.cutoffs and loaded.roles == small_panel.roles
    assert loaded.in_units == small_panel.in_units and loaded.planned == small_panel.planned
    with pytest.raises(ValueError, match=r"holds no panel.*1_prepare"):
        Panel.load(tmp_path)


def test_a_panel_is_the_same_each_time(small_panel, tmp_path):
    """Whatever the order in which threads add."""
    again = load_retailer(make_retailer(), tmp_path / "shop")
    pd.testing.assert_frame_equal(again.frame, small_panel.frame, check_exact=True)
    pd.testing.assert_frame_equal(again.graph, small_panel.graph, check_exact=True)


def test_examples_line_up(small_panel):
    cutoff = small_panel.weeks[30]
    row = examples(small_panel, [cutoff, *small_panel.cutoffs["latest"]]).set_index(["unique_id", "cutoff", "horizon"])
    product = small_panel.products.index[3]
    one = row.loc[(f"{product}|region_1", cutoff, 3)]
    target = cutoff + pd.Timedelta(weeks=3)
    assert one["ds"] == target
    assert one["y"] == series(small_panel, product, "region_1", "y")[target]
    assert one["promotion_target"] == series(small_panel, product, "region_1", "promotion")[target]
    assert one["promotion"] == series(small_panel, product, "region_1", "promotion")[cutoff]
    assert one["lag_0"] == series(small_panel, product, "region_1", "y")[cutoff]
    assert row.xs(small_panel.weeks[-1], level="cutoff")["y"].isna().all()
    latest = row.xs(small_panel.weeks[-1], level="cutoff")
    assert latest["promotion_target"].isna().all() and (latest["promotion_known_target"] == 0).all()


# ---------------------------------------------------------------- leaks


def features_until(panel, until):
    columns = ["unique_id", "ds", *panel.roles["static"], *panel.roles["past"], *panel.roles["known_future"]]
    return panel.frame.loc[panel.frame["ds"] <= until, columns].reset_index(drop=True)


@pytest.mark.parametrize("n_weeks", [28, 31, 34, 36], ids=["training end", "in validation", "first test", "last test"])
def test_leak_nothing_after_a_cutoff_reaches_it(either_panel, retailer, tmp_path, n_weeks):
    other = reloaded(either_panel, tables_changed_after(retailer, n_weeks), tmp_path / "shop")
    until = either_panel.weeks[either_panel.frequency.periods(n_weeks) - 1]
    pd.testing.assert_frame_equal(features_until(other, until), features_until(either_panel, until))
    assert not other.frame["y"].equals(either_panel.frame["y"])
    plan = [f"{c}_target" for c in either_panel.roles["known_future"]]
    ours, theirs = (examples(p, [until]).drop(columns="y") for p in (either_panel, other))
    pd.testing.assert_frame_equal(theirs, ours)  # of the coming weeks, these hold the plan alone
    assert ours[plan].notna().all().all()


def test_leak_products_are_chosen_on_training_weeks(either_panel, retailer, tmp_path):
    """A product that was too small to be chosen becomes the largest of all, after the training weeks."""
    rows = retailer["transactions"]
    left_out = sorted(set(rows.loc[rows["product_id"] < "p08", "product_id"]) - set(either_panel.products.index))[0]
    end = either_panel.weeks[either_panel.frequency.periods(28)]
    late = (rows["timestamp"] >= end) & (rows["product_id"] == left_out)
    other = reloaded(either_panel, with_rows(retailer, quantity=rows["quantity"].mask(late, 500.0)), tmp_path / "shop")
    assert late.any() and list(other.products.index) == list(either_panel.products.index)
    pd.testing.assert_series_equal(other.products["units"], either_panel.products["units"])


def test_leak_regions_and_graph_are_of_training_weeks(either_panel, retailer, tmp_path):
    other = reloaded(either_panel, tables_changed_after(retailer, 28), tmp_path / "shop")
    pd.testing.assert_frame_equal(other.graph, either_panel.graph)
    pd.testing.assert_frame_equal(other.locations, either_panel.locations)


def test_leak_the_price_of_a_coming_week(either_panel, retailer, tmp_path):
    """A realised price reveals that it sold: only `price_plan`, the upper bound, may read it."""
    assert not any("price" in column for column in either_panel.roles["known_future"])
    frequency = either_panel.frequency
    rows, cutoff = retailer["transactions"], either_panel.weeks[frequency.periods(34) - 1]
    late = rows["timestamp"] >= cutoff + frequency.step
    other = reloaded(
        either_panel, with_rows(retailer, sales_value=rows["sales_value"].where(~late, 9.9)), tmp_path / "shop"
    )
    pd.testing.assert_frame_equal(examples(other, [cutoff]), examples(either_panel, [cutoff]))
    prices = [examples(p, [cutoff], price_plan=True)["price_ratio_plan_target"] for p in (either_panel, other)]
    assert not np.allclose(*prices)


def test_leak_other_products_in_the_target_week(either_panel, retailer, tmp_path):
    """Sales of other products in the target week are unknown at the cutoff: doubling them changes nothing."""
    frequency = either_panel.frequency
    rows, cutoff = retailer["transactions"], either_panel.weeks[frequency.periods(34) - 1]
    mine = either_panel.products.index[0]
    week = rows["timestamp"].between(cutoff + frequency.step, cutoff + 2 * frequency.step, inclusive="left")
    changed = week & (rows["product_id"] != mine)
    double = with_rows(retailer, quantity=rows["quantity"].where(~changed, 2.0))
    other = reloaded(either_panel, double, tmp_path / "shop")
    ours, theirs = (examples(p, [cutoff]) for p in (either_panel, other))
    mine = ours["product_id"] == mine
    assert changed.any()
    pd.testing.assert_frame_equal(theirs[mine], ours[mine])


def test_leak_a_store_without_records_is_not_one_without_promotions(either_panel, retailer, tmp_path):
    """Two of four stores of one town keep no records. Their silence must not halve the town's promotion share."""
    mondays = pd.date_range(either_panel.weeks[0], either_panel.weeks[-1], freq="7D")
    every = pd.MultiIndex.from_product([either_panel.products.index, ["s0", "s1", "s4", "s5"], mondays])
    promotions = every.to_frame(index=False, name=["product_id", "store_id", "week"]).assign(mailer=1.0)
    panel = reloaded(either_panel, retailer | {"promotions": promotions}, tmp_path / "shop")
    observed = panel.frame["ds"] <= either_panel.weeks[-1]
    assert (panel.frame.loc[observed, "promotion"] == 1).all()
    assert panel.frame.loc[panel.frame["location"] == CHAIN, "promo_known"].between(0.3, 0.7).all()


def test_leak_a_missing_plan_is_unknown_and_the_panel_says_so(either_panel, retailer, tmp_path):
    promotions, last = retailer["promotions"], either_panel.weeks[-1]
    assert either_panel.meta["plan_assumed"]  # the records end with the sales
    ahead = either_panel.frame["ds"] > last
    values = [name for name in either_panel.planned if name != "promotion_known"]
    assert either_panel.frame.loc[ahead, values].isna().all().all()
    assert either_panel.frame.loc[~ahead, values].notna().all().all()
    assert either_panel.frame["promotion_known"].tolist() == (~ahead).astype(float).tolist()
    more = promotions[promotions["week"] > last - pd.Timedelta(weeks=4)]
    more = more.assign(week=more["week"] + pd.Timedelta(weeks=4))
    longer = pd.concat([promotions, more], ignore_index=True).drop_duplicates(["product_id", "store_id", "week"])
    whole = reloaded(either_panel, retailer | {"promotions": longer}, tmp_path / "shop")
    assert not whole.meta["plan_assumed"] and whole.frame[values].notna().all().all()


def test_no_promotions_at_all(tmp_path):
    raw = make_retailer()
    del raw["promotions"]
    panel = load_retailer(raw, tmp_path / "shop")
    assert (panel.frame["promotion"] == 0).all() and (panel.frame["promo_known"] == 0).all()
    assert "promotion_known" not in panel.frame and not panel.planned
