"""What a panel is made of: which weeks were observed, which products are chosen, and where stores belong."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from small_retailer import MONDAY, STORES, WEEKS, add_optional_tables, load_retailer, make_retailer

from shelfcast.data.schema import CHAIN, SCHEMA
from shelfcast.panel.axes.missing import observed_weeks, silent_stores
from shelfcast.panel.axes.products import choose_products, launch_weeks, without_false_launches
from shelfcast.panel.axes.regions import Stores, group_stores, shared_shoppers
from shelfcast.panel.axes.weeks import Weeks, find_weeks, thin_weeks, usual
from shelfcast.panel.calendar import check_country, holiday_counts, repeated_holidays
from shelfcast.panel.grid import recorded
from shelfcast.settings import Prepare, SettingsError, build

MONDAYS = MONDAY + pd.to_timedelta(7 * np.arange(WEEKS + 4), unit="D")


def series(panel, product, location, column) -> np.ndarray:
    return panel.frame.loc[panel.frame["unique_id"] == f"{product}|{location}", column].to_numpy()


def line(panel, check):
    """The one line of the quality table whose check begins so."""
    (row,) = panel.quality[panel.quality["check"].str.startswith(check)].itertuples()
    return row


def without(raw, rows):
    """The tables without some rows of transactions."""
    return raw | {"transactions": raw["transactions"][~rows].reset_index(drop=True)}


def between(raw, first, end):
    """Rows of transactions from one number of week to before another."""
    return raw["transactions"]["timestamp"].between(MONDAYS[first], MONDAYS[end], inclusive="left")


def days(n_weeks=20, rows=50, closed=()):
    """Days with the same number of rows, without some weekdays."""
    day = pd.date_range(MONDAY, periods=7 * n_weeks)
    frame = pd.DataFrame({"day": day, "rows": rows, "category_rows": 10, "category_units": 20.0})
    frame = frame.assign(first_store="s1", first_product="p1")
    return frame[~frame["day"].dt.dayofweek.isin(closed)].reset_index(drop=True)


# ---------------------------------------------------------------- the first and the last week


def test_one_late_row_makes_no_week():
    """An export drawn on a Tuesday, with one line of a till whose clock says Sunday."""
    frame = days()
    week = frame["day"] >= MONDAYS[19]
    frame = frame[~week | frame["day"].dt.dayofweek.isin([0, 1, 6])]
    late = frame["day"].dt.dayofweek.eq(6) & week
    frame.loc[late, ["rows", "category_rows", "category_units"]] = [1, 1, 3.0]
    weeks = find_weeks(frame, Prepare())
    assert weeks.index[-1] == MONDAYS[18] and not weeks.missing.any()
    cut, odd = weeks.counts
    assert (cut.found, cut.units, cut.weeks) == (21, 43.0, "2022-05-16, 2022-05-17, 2022-05-22")
    assert (odd.found, odd.units, odd.weeks) == (1, 3.0, "2022-05-22")
    assert odd.check.endswith("far fewer rows than usual (2022-05-22: store s1, p1)")


def test_a_row_of_a_far_away_year_makes_no_weeks():
    frame = days()
    odd = frame.iloc[:1].assign(day=pd.Timestamp("2031-01-06"), rows=1, category_rows=1, category_units=1.0)
    weeks = find_weeks(pd.concat([frame, odd], ignore_index=True), Prepare())
    assert list(weeks.index) == list(MONDAYS[:20])
    assert weeks.counts[1].weeks == "2031-01-06"


@pytest.mark.parametrize("closed", [(6,), (5, 6), (1, 2, 3, 4, 5, 6)])
def test_closed_weekdays_and_a_holiday_at_the_end_cut_no_week(closed):
    frame = days(closed=closed)
    if len(closed) < 6:
        frame = frame[frame["day"] != MONDAYS[19] + pd.Timedelta(days=1)]
    assert list(find_weeks(frame, Prepare()).index) == list(MONDAYS[:20])


def test_sales_now_and_then_cut_no_week():
    """Three days in four weeks: no weekday is one of trade."""
    frame = days(n_weeks=40).iloc[::9].reset_index(drop=True)
    weeks = find_weeks(frame, Prepare())
    assert weeks.index[0] == MONDAYS[0] and weeks.index[-1] == frame["day"].iloc[-1] - pd.Timedelta(
        days=int(frame["day"].iloc[-1].dayofweek)
    )


# ---------------------------------------------------------------- missing weeks


def test_a_gap_is_missing_and_no_level_falls(retailer, tmp_path):
    whole = load_retailer(retailer, tmp_path / "whole")
    panel = load_retailer(without(retailer, between(retailer, 9, 12)), tmp_path / "gap")
    assert panel.meta["missing_weeks"] == [str(day.date()) for day in MONDAYS[9:12]] and len(panel.weeks) == WEEKS
    found = line(panel, "weeks without any sales")
    assert (found.found, found.of, found.weeks) == (3, WEEKS, "2022-03-07, 2022-03-14, 2022-03-21")
    product, kept = panel.products.index[0], np.r_[0:9, 12:WEEKS]
    y = series(panel, product, CHAIN, "y")[:WEEKS]
    assert np.isnan(y[9:12]).all()
    np.testing.assert_array_equal(y[kept], series(whole, product, CHAIN, "y")[:WEEKS][kept])
    for column in ("level", "level_4", "lag_0", "lag_2", "share_weeks_sold", "buyers", "category_level", "traffic"):
        values = series(panel, product, CHAIN, column)
        assert (values[9:12] == values[8]).all(), column
    history = y[kept]  # as if the missing weeks did not exist
    for week, n in ((12, 10), (20, 18), (39, 37)):
        mean = 0.5 * history[max(n - 13, 0) : n].mean() + 0.5 * history[:n].mean() + 0.1
        assert series(panel, product, CHAIN, "level")[week] == pytest.approx(mean)
        assert series(panel, product, CHAIN, "lag_2")[week] == history[n - 3]
    assert series(panel, product, CHAIN, "mean_unpromoted")[9:12] == pytest.approx(
        series(panel, product, CHAIN, "mean_unpromoted")[8]
    )


def test_a_week_of_zero_rows_or_a_closed_one_is_a_gap(retailer, tmp_path):
    """Five rows of zero in an empty week tell nothing; a week that is stated to be closed is missing with its rows."""
    empty = without(retailer, between(retailer, 9, 10))
    zeros = retailer["transactions"][between(retailer, 9, 10)].head(5).assign(quantity=0.0, sales_value=0.0)
    rows = pd.concat([empty["transactions"], zeros]).sort_values("timestamp", ignore_index=True)
    filled = load_retailer(retailer | {"transactions": rows}, tmp_path / "filled")
    stated = load_retailer(retailer, tmp_path / "stated", closed_weeks=["2022-03-09", "2032-03-09"])  # a Wednesday
    assert line(stated, "closed weeks (prepare.closed_weeks) outside").weeks == "2032-03-09"
    pd.testing.assert_frame_equal(filled.frame, stated.frame)
    assert filled.meta["missing_weeks"] == stated.meta["missing_weeks"] == ["2022-03-07"]
    n = (between(retailer, 9, 10) & (retailer["transactions"]["product_id"] < "p08")).sum()
    dropped = line(stated, "rows in missing weeks")
    assert dropped.found == dropped.units == n and dropped.weeks == "2022-03-07"
    assert (
        "2022-03-07"
        in stated.quality.loc[stated.quality["check"] == "closed weeks (prepare.closed_weeks)", "weeks"].item()
    )


def test_closed_weeks_are_dates():
    for day in ("2022-03-07", date(2022, 3, 7)):  # YAML reads it as a date
        assert build(Prepare, {"closed_weeks": [day]}, "prepare").closed_weeks == ["2022-03-07"]
    with pytest.raises(SettingsError, match=r"closed_weeks.*is 'Easter'.*written as 2026-12-25"):
        build(Prepare, {"closed_weeks": ["Easter"]}, "prepare")


def test_most_weeks_missing_is_an_error(retailer, tmp_path):
    gap = between(retailer, 5, 30)
    with pytest.raises(ValueError, match=r"25 of 40 weeks between 2022-01-03.* first 2022-02-07, .*at most half.*Fill"):
        load_retailer(without(retailer, gap), tmp_path / "shop")


def test_a_thin_week_is_missing(retailer, tmp_path):
    """A tenth of the rows in two weeks, and in the last one, which is cut off."""
    draw = np.random.default_rng(0).random(len(retailer["transactions"]))
    thin = (between(retailer, 9, 11) | between(retailer, 39, 40)) & (draw > 0.1)
    panel = load_retailer(without(retailer, thin), tmp_path / "shop")
    assert panel.weeks[-1] == MONDAYS[38]
    assert panel.meta["missing_weeks"] == ["2022-03-07", "2022-03-14"]
    found = line(panel, "weeks with far fewer rows")
    assert (found.found, found.weeks) == (2, "2022-03-07, 2022-03-14")
    kept = without(retailer, thin)
    n = (between(kept, 9, 11) & (kept["transactions"]["product_id"] < "p08")).sum()
    assert line(panel, "rows in missing weeks").found == n > 0 and line(panel, "rows in incomplete weeks").found > 0


def test_few_stores_make_a_gap_but_not_with_a_holiday():
    """Four stores of ten sell in weeks 12 and 21; Memorial Day lies in week 21. Two rows of five prove nothing."""
    index, nothing = pd.DatetimeIndex(MONDAYS[:40]), np.zeros(40, bool)
    rows = np.full((10, 40), 10.0)
    rows[4:, [12, 21]] = 0
    weeks = thin_weeks(Weeks(index, nothing, []), rows, days(n_weeks=40), "US")
    assert weeks.missing.nonzero()[0].tolist() == [12]
    assert [(count.found, count.weeks) for count in weeks.counts] == [(1, "2022-03-28"), (1, "2022-05-30")]
    tiny = np.full((1, 40), 5.0)
    tiny[0, 12] = 1
    assert not thin_weeks(Weeks(index, nothing, []), tiny, days(n_weeks=40), "US").missing.any()


def test_a_week_without_the_category_is_missing(retailer, tmp_path):
    """Oat milk sells as usual, tea has no row at all."""
    gap = between(retailer, 9, 11) & (retailer["transactions"]["product_id"] < "p08")
    panel = load_retailer(without(retailer, gap), tmp_path / "shop")
    assert panel.meta["missing_weeks"] == ["2022-03-07", "2022-03-14"]
    assert line(panel, "weeks without rows of the category").found == 2


def test_usual_follows_a_season_and_not_a_gap():
    season = np.r_[np.full(20, 100.0), np.full(20, 10.0), np.full(20, 100.0)]
    assert (season >= 0.25 * usual(season)).all(), "a low season is no gap"
    gap = np.full(60, 100.0)
    gap[20:24] = 10.0
    assert (gap < 0.25 * usual(gap)).nonzero()[0].tolist() == [20, 21, 22, 23]
    assert usual(np.arange(60.0))[30] == np.median(np.arange(17, 30)) and usual(np.arange(60.0))[58] == 51.0


# ---------------------------------------------------------------- stores without rows


def test_silent_stores():
    rows = np.full((4, 40), 20.0)
    rows[0, 10:14] = 0  # a gap of four weeks
    rows[1, 30:] = 0  # closed for good
    rows[2] = np.tile([0.0, 40.0], 20)  # sells every other week
    rows[3] = 2.0  # few rows: a week without any may be chance
    rows[3, 10] = 0
    silent = silent_stores(rows)
    assert silent[0].nonzero()[0].tolist() == [10, 11, 12, 13] and not silent[1:].any()


def test_a_location_is_missing_where_its_silent_stores_are_a_large_part():
    """Of region 1 one store of two, of region 2 one of ten, of the chain an eighth."""
    names = [f"s{i}" for i in range(12)]
    rows = pd.DataFrame(20.0, index=names, columns=range(40))
    rows.loc[["s0", "s2"], 10:12] = 0
    location = pd.Series([1, 1] + [2] * 10, names)
    missing, holiday = np.arange(40) == 30, np.arange(40) == 12
    observed, silent = observed_weeks(rows, rows * 3, location, 3, missing, holiday)
    assert (~observed).nonzero()[1].tolist() == [30, 10, 11, 30, 30]  # chain, region 1, region 2
    assert silent.to_numpy().sum() == 6


def test_a_store_without_rows_for_weeks_makes_its_region_missing(retailer, tmp_path):
    stores = pd.DataFrame({"store_id": [f"s{i}" for i in range(STORES)], "region": ["east"] * 2 + ["west"] * 6})
    gap = between(retailer, 16, 18) & (retailer["transactions"]["store_id"] == "s0")
    panel = load_retailer(without(retailer | {"stores": stores}, gap), tmp_path / "shop")
    product = panel.products.index[0]
    missing = {name: np.isnan(series(panel, product, name, "y")[:WEEKS]).nonzero()[0] for name in panel.locations.index}
    assert missing["east"].tolist() == [16, 17] and not len(missing["west"]) and not len(missing[CHAIN])
    found = line(panel, "weeks without rows of stores")
    assert "(store s0)" in found.check and found.found == 2 and found.weeks == "2022-04-25, 2022-05-02"
    assert line(panel, "weeks of east").found == 2
    shock = series(panel, product, "east", "location_now")
    assert (shock[16:18] == shock[15]).all() and np.isfinite(
        series(panel, product, "west", "location_now")[:WEEKS]
    ).all()


# ---------------------------------------------------------------- products


def sold(**by_product):
    """Units of each product from one number of week to before another: name=(first, end, units)."""
    rows = [(name, week, float(n), 1) for name, (a, b, n) in by_product.items() for week in range(a, b)]
    return pd.DataFrame(rows, columns=["product_id", "week", "units", "rows"])


NO_LAUNCH = pd.Series(dtype=int)
SIX = {f"old{i}": (0, 150, 10 + i) for i in range(6)}


def test_products_are_those_that_sell_at_the_end_of_training():
    """The largest ever died two years ago; a young one counts by what it sells now."""
    frame = sold(**SIX, dead=(0, 90, 1000), young=(110, 150, 15))
    choice = choose_products(frame, np.ones(150, bool), 100, NO_LAUNCH)
    assert choice.products == ["old5", "old4", "old3", "old2", "young", "old1", "old0"]
    (count,) = choice.counts
    assert (count.found, count.of, count.units) == (1, 8, 90_000.0) and "end of training" in count.check


def test_what_sold_before_the_last_year_does_not_rank():
    once, now = sold(**SIX, once=(0, 98, 500)), sold(now=(98, 150, 12.5), once=(98, 150, 9))
    choice = choose_products(pd.concat([once, now]), np.ones(150, bool), 100, NO_LAUNCH)
    assert choice.products[3] == "now" and choice.products[-1] == "once"


def test_a_missing_end_of_training_kills_nothing():
    """The last 20 training weeks were closed: products that sold until then live."""
    observed = np.arange(150) < 130
    choice = choose_products(sold(**{k: (0, 130, n) for k, (_, _, n) in SIX.items()}), observed, 100, NO_LAUNCH)
    assert len(choice.products) == 6 and not choice.counts


def test_the_number_of_products_is_a_limit_launches_included():
    frame = sold(**SIX, new=(140, 150, 30))
    launched = pd.Series({"new": 140, "later": 155})
    assert choose_products(frame, np.ones(150, bool), 100, launched).products[6:] == ["later", "new"]
    few = choose_products(frame, np.ones(150, bool), 5, launched)
    # later counts as what products usually sell (12.5), new as (10 * 30 + 4 * 12.5) / 14 = 25
    assert sorted(few.products) == ["later", "new", "old3", "old4", "old5"]
    assert dict(few.launch) == {"new": 140, "later": 155}
    with pytest.raises(SettingsError, match=r"n_products is 3.*greater than or equal to 5"):
        build(Prepare, {"n_products": 3}, "prepare")


def test_a_launch_after_weeks_of_sales_is_none():
    products = pd.DataFrame({"product_id": ["a", "b", "c"], "launch": [MONDAYS[20], MONDAYS[20], pd.NaT]})
    launched = launch_weeks(products, pd.DatetimeIndex(MONDAYS))
    frame = sold(a=(10, 30, 2), b=(17, 30, 2), c=(0, 30, 2))
    kept, (count,) = without_false_launches(launched, frame, pd.DatetimeIndex(MONDAYS), 28)
    assert dict(kept) == {"b": 20}
    assert (count.found, count.of, count.units, count.weeks) == (1, 2, 20.0, "2022-05-23")
    unseen, none = without_false_launches(launched, frame[frame["week"] >= 12], pd.DatetimeIndex(MONDAYS), 14)
    assert dict(unseen) == {"a": 20, "b": 20} and not none  # weeks after training decide nothing


# ---------------------------------------------------------------- regions


def test_shared_shoppers_by_hand():
    shopped = pd.DataFrame({"customer_id": ["x", "x", "y"], "store_id": ["a", "b", "b"], "rows": [1, 3, 7]})
    names = pd.Index(["a", "b", "c"])
    x, y = np.log(2.0), np.log(4.0)
    expected = [[x * x, x * y, 0], [x * y, y * y + np.log(8.0) ** 2, 0], [0, 0, 0]]
    np.testing.assert_allclose(shared_shoppers(shopped, shopped, names, names), expected)


def test_shared_shoppers_of_many_customers_need_little_memory():
    draw = np.random.default_rng(0)
    n = 100_000
    shopped = pd.DataFrame(
        {"customer_id": draw.integers(0, 200_000, n), "store_id": draw.integers(0, 400, n), "rows": 1}
    )
    shopped = shopped.drop_duplicates(["customer_id", "store_id"])
    shared = shared_shoppers(shopped, shopped, pd.RangeIndex(400), pd.RangeIndex(400))
    assert np.diag(shared).sum() == pytest.approx(np.log(2) ** 2 * len(shopped))


def opened_late(raw, store="s7", week=36):
    return without(raw, (raw["transactions"]["store_id"] == store) & (raw["transactions"]["timestamp"] < MONDAYS[week]))


STORE_IDS = [f"s{i}" for i in range(STORES)]


@pytest.mark.parametrize(
    ("stores", "neighbour"),
    [
        ({"region": ["west"] * 5 + ["east"] * 3}, "s6"),
        (
            {"region": ["west"] * 5 + ["east"] * 2 + ["south"]},
            "s6",
        ),  # nothing is known of the south: where its customers shop
        ({"latitude": [50.0, 50, 50, 50, 50, 52, 52, 51.8], "longitude": 8.0}, "s6"),
        (
            {"latitude": [50.0, 50, 50, 50, 50, 52, 52, np.nan], "longitude": 8.0},
            "s6",
        ),  # its customers shop in s4 to s6
        (None, "s6"),
    ],
    ids=["given", "given, new", "coordinates", "no coordinates", "shoppers"],
)
def test_a_store_that_opens_after_training_joins_a_region(retailer, tmp_path, stores, neighbour):
    raw = opened_late(retailer)
    if stores:
        raw["stores"] = pd.DataFrame({"store_id": STORE_IDS} | stores)
        if "latitude" in stores:
            raw["stores"] = raw["stores"].dropna()
            raw["stores"] = pd.concat(
                [raw["stores"], pd.DataFrame({"store_id": ["s7"], "latitude": [51.8], "longitude": [8.0]})]
            ).drop_duplicates("store_id")
    panel = load_retailer(raw, tmp_path / "shop")
    regions = panel.meta["regions"]
    assert regions["s7"] == regions[neighbour]
    wide = panel.frame.dropna(subset="y").pivot_table(index=["product_id", "ds"], columns="location", values="y")
    np.testing.assert_array_equal(wide[CHAIN], wide.drop(columns=CHAIN).sum(axis=1))
    assert panel.locations["stores"][CHAIN] == STORES - 1


def test_one_region_for_all_is_none(retailer, tmp_path):
    """`region` says the same everywhere, so that shoppers decide, as if it were not there."""
    stores = pd.DataFrame({"store_id": STORE_IDS, "region": "IA"})
    ours, theirs = (
        load_retailer(each, tmp_path / name) for name, each in (("a", retailer), ("b", retailer | {"stores": stores}))
    )
    assert ours.meta["regions"] == theirs.meta["regions"] and len(theirs.locations) == 3


@pytest.mark.parametrize("n_placed", [3, 5])
def test_coordinates_group_stores_where_half_have_them(n_placed):
    """Stores shop together by fours and lie by turns in two places; a store without coordinates joins by its shoppers."""
    place = pd.DataFrame({"latitude": [50.0, 60.0] * 4, "longitude": 8.0}, STORE_IDS)
    place[n_placed:] = np.nan
    shared = pd.DataFrame(np.kron(np.eye(2), np.ones((4, 4))) + 0.01, STORE_IDS, STORE_IDS)
    weeks = pd.DataFrame({"store_id": STORE_IDS, "week": 0, "units": 1.0})
    regions, graph = group_stores(Stores(weeks, pd.Series(1.0, STORE_IDS), shared, None, place), 2, 0)
    same = [regions[store] == regions["s0"] for store in STORE_IDS]
    assert same == ([True] * 4 + [False] * 4 if n_placed == 3 else [True, False, True, False] + [True] * 4)
    assert graph.shape == (2, 2)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (
            ["x", None, "y", None] * 2,
            r"stores.region is empty for 4 of 8 stores that sell, such as \['s1', 's3', 's5'\]. Fill it",
        ),
        (["x", "chain"] * 4, "stores.region is 'chain' for store 's1'.*Write it otherwise"),
        (["x", "a|b"] * 4, r"stores.region is 'a\|b' for store 's1'"),
    ],
)
def test_regions_that_cannot_be_used(retailer, tmp_path, region, words):
    raw = retailer | {"stores": pd.DataFrame({"store_id": STORE_IDS, "region": region})}
    with pytest.raises(ValueError, match=words):
        load_retailer(raw, tmp_path / "shop")


def test_a_closed_store_weighs_nothing_today(retailer, tmp_path):
    """East was large until two of its stores closed, thirteen weeks before the end of training."""
    stores = pd.DataFrame({"store_id": STORE_IDS, "region": ["east"] * 4 + ["west"] * 4})
    rows = retailer["transactions"]
    closed = rows["store_id"].isin(["s0", "s1"]) & (rows["timestamp"] >= MONDAYS[15])
    panel = load_retailer(without(retailer | {"stores": stores}, closed), tmp_path / "shop")
    train = rows[(rows["timestamp"] < MONDAYS[28]) & rows["product_id"].isin(panel.products.index)]
    today = train[~train["store_id"].isin(["s0", "s1"])]
    expected = today["store_id"].isin(["s2", "s3"]).mean()
    assert panel.locations["share"]["east"] == pytest.approx(expected)
    ended = line(panel, "stores whose rows end (store s0, s1)")
    assert (ended.found, ended.of, ended.weeks) == (2, STORES, "2022-04-11")
    np.testing.assert_allclose(series(panel, panel.products.index[0], "east", "location_share"), expected)
    assert np.isfinite(series(panel, panel.products.index[0], "east", "y")[:WEEKS]).all(), "closed is not missing"


# ---------------------------------------------------------------- what tables tell


def test_recorded_weeks_have_no_holes():
    weeks = pd.DatetimeIndex(MONDAYS)
    records = pd.Series(7, weeks[[2, 3, 4, 5, 6, 10, 11, 13]])
    known = recorded(records, weeks)
    # three empty weeks would usually hold 21 records; the one of week 12, with 7, may be chance
    assert known.nonzero()[0].tolist() == [2, 3, 4, 5, 6, 10, 11, 12, 13]
    assert recorded(records, weeks, holes=False).nonzero()[0].tolist() == list(range(2, 14))
    assert not recorded(records.iloc[:0], weeks).any()


def test_promotions_are_known_within_the_whole_tables_records(tmp_path):
    """The category's own promotions end in week 10; oat milk is promoted in weeks 3 to 35, without 20 and 21."""
    raw = make_retailer()
    promotions = raw["promotions"]
    week = (promotions["week"] - MONDAY).dt.days // 7
    tea, milk = promotions["product_id"] < "p08", promotions["product_id"] >= "p08"
    promotions = promotions[(tea & week.between(3, 9)) | milk & False]
    every = pd.MultiIndex.from_product([["p08", "p09"], STORE_IDS[:6], [w for w in range(3, 36) if w not in (20, 21)]])
    more = every.to_frame(index=False, name=["product_id", "store_id", "number"])
    more = more.assign(week=MONDAYS[more["number"]], mailer=1.0, display=0.0).drop(columns="number")
    panel = load_retailer(raw | {"promotions": pd.concat([promotions, more], ignore_index=True)}, tmp_path / "shop")
    product = panel.products.index[0]
    promotion, known = (series(panel, product, CHAIN, c) for c in ("promotion", "promotion_known"))
    inside = np.array([w for w in range(3, 36) if w not in (20, 21)])
    assert known.nonzero()[0].tolist() == inside.tolist()
    assert np.isfinite(promotion).nonzero()[0].tolist() == inside.tolist()
    assert (promotion[inside[inside > 9]] == 0).all(), "within the records, no promotion is zero"
    assert panel.quality["check"].str.startswith("weeks without a promotion").any()


def test_a_category_without_promotions_prices_or_events(tmp_path):
    """Other categories have all of them: no promotion is zero within the records, and there are no prices."""
    raw = add_optional_tables(make_retailer())
    milk = {name: raw[name][raw[name]["product_id"] >= "p08"] for name in ("promotions", "prices", "behavior")}
    panel = load_retailer(raw | milk, tmp_path / "shop")
    promotion = series(panel, panel.products.index[0], CHAIN, "promotion")
    assert (promotion[:WEEKS] == 0).all() and np.isnan(promotion[WEEKS:]).all()
    assert "price" not in panel.frame and not panel.frame.columns.str.startswith("event").any()


def test_habits_of_promotion_outlive_the_plan(tmp_path):
    """p00 is promoted everywhere in weeks 5 and 8, the records end in week 10."""
    raw = make_retailer()
    stores = pd.DataFrame({"store_id": STORE_IDS})
    promoted = pd.concat([stores.assign(product_id="p00", week=MONDAYS[w]) for w in (5, 8)])
    others = pd.concat([stores.assign(product_id="p09", week=MONDAYS[w]) for w in range(3, 11)])
    promotions = pd.concat([promoted, others], ignore_index=True).assign(mailer=1.0)
    panel = load_retailer(raw | {"promotions": promotions}, tmp_path / "shop")
    since, share, lately = (
        series(panel, "p00", CHAIN, c) for c in ("weeks_since_promotion", "share_weeks_promoted", "promotion_8")
    )
    assert np.isnan(since[:3]).all() and since[3:11].tolist() == [26, 26, 0, 1, 2, 0, 1, 2]
    assert (since[11:WEEKS] == 2).all(), "nothing is known after the last record"
    np.testing.assert_allclose(share[3:11], [0, 0, 1 / 3, 1 / 4, 1 / 5, 2 / 6, 2 / 7, 2 / 8])
    np.testing.assert_allclose(lately[10:WEEKS], 2 / 8)


def test_promotions_of_stores_without_records_are_unknown(retailer, tmp_path):
    """Two stores keep no records; they are a region of their own."""
    stores = pd.DataFrame({"store_id": STORE_IDS, "region": ["told"] * 6 + ["silent"] * 2})
    panel = load_retailer(retailer | {"stores": stores}, tmp_path / "shop")
    known = panel.frame[panel.frame["ds"] <= panel.weeks[-1]].groupby("location")["promotion"]
    assert known.count()["silent"] == 0 and (known.count() == known.size()).sum() == 2


def test_tables_that_end_before_the_training_weeks_are_ignored(retailer, tmp_path):
    old = retailer["promotions"].assign(week=retailer["promotions"]["week"] - pd.Timedelta(weeks=200))
    panel = load_retailer(retailer | {"promotions": old}, tmp_path / "shop")
    assert (panel.frame["promotion"] == 0).all() and not panel.planned
    assert "ignored" in line(panel, "weeks without a promotion").action


# ---------------------------------------------------------------- units, names, calendar


def test_amounts_are_seen_from_the_training_weeks(retailer, tmp_path):
    rows = retailer["transactions"]
    litres = rows["quantity"] * np.where(rows["product_id"] == "p01", 0.75, 1.5)
    panel = load_retailer(retailer | {"transactions": rows.assign(quantity=litres)}, tmp_path / "a")
    train = (rows["timestamp"] < MONDAYS[28]) & (rows["product_id"] < "p08")
    assert panel.meta["amounts"] and panel.meta["unit"] == litres[train].median()
    assert line(panel, "rows with a quantity that is not whole").found == train.sum()
    late = rows["quantity"].mask(rows["timestamp"] >= MONDAYS[30], 0.5)
    panel = load_retailer(retailer | {"transactions": rows.assign(quantity=late)}, tmp_path / "b")
    assert not panel.meta["amounts"] and panel.meta["unit"] == 1.0


def test_empty_ids_make_no_columns(retailer, tmp_path, monkeypatch):
    ids = ("basket_id", "customer_id")
    for name in ids:
        columns = SCHEMA["transactions"].columns
        monkeypatch.setitem(columns, name, replace(columns[name], nullable=True))
    empty = {name: pd.Series(pd.NA, retailer["transactions"].index, dtype="string") for name in ids}
    panel = load_retailer(retailer | {"transactions": retailer["transactions"].assign(**empty)}, tmp_path / "shop")
    assert not {"baskets", "buyers", "traffic"} & set(panel.frame)


def test_rows_without_money_show_no_price(retailer, tmp_path):
    """Every other row is free: the price per unit is that of the rows that were paid for."""
    rows = retailer["transactions"]
    free = np.arange(len(rows)) % 2 == 0
    panel = load_retailer(
        retailer | {"transactions": rows.assign(sales_value=np.where(free, 0.0, 3.0))}, tmp_path / "a"
    )
    static = panel.frame.groupby("product_id")["price_level"].first()
    np.testing.assert_allclose(static, np.log(3.0))


def test_a_product_launched_after_training_has_the_price_of_the_others(tmp_path):
    raw = make_retailer()
    launch = pd.Series(pd.NaT, range(len(raw["products"])), dtype="datetime64[ns]")
    launch[3] = MONDAYS[36]
    late = (raw["transactions"]["product_id"] == "p03") & (raw["transactions"]["timestamp"] < MONDAYS[36])
    raw = without(raw | {"products": raw["products"].assign(launch=launch)}, late)
    panel = load_retailer(raw, tmp_path / "shop")
    level = panel.frame.groupby("product_id")["price_level"].first()
    assert level["p03"] == pytest.approx(level.drop("p03").median())
    hidden = without(raw, raw["transactions"]["product_id"] == "p03")
    other = load_retailer(hidden, tmp_path / "hidden")
    static = panel.roles["static"]
    pd.testing.assert_frame_equal(other.frame[static], panel.frame[static])


def test_ids_of_any_characters(tmp_path):
    raw = make_retailer()
    raw = {
        name: frame.assign(product_id=frame["product_id"].str.replace("p0", "茶|0, {")) for name, frame in raw.items()
    }
    ours, theirs = load_retailer(raw, tmp_path / "a"), load_retailer(make_retailer(), tmp_path / "b")
    assert ours.frame["unique_id"].nunique() == theirs.frame["unique_id"].nunique()
    parts = ours.frame["unique_id"].str.rsplit("|", n=1)
    assert (parts.str[0] == ours.frame["product_id"]).all() and (parts.str[1] == ours.frame["location"]).all()
    np.testing.assert_array_equal(ours.frame["y"], theirs.frame["y"])


def test_countries():
    for code in ("US", "US-CA", "CN", "DE-BY"):
        check_country(code)
    with pytest.raises(ValueError, match=r"prepare.country is 'UZS'.*nearest: .*US"):
        check_country("UZS")
    with pytest.raises(ValueError, match=r"'US-CAL'.*US has no part 'CAL'; nearest: .*CA"):
        check_country("US-CAL")


def test_holidays_by_name():
    """Independence Day 2021 was a Sunday, observed on Monday: one holiday, in the week that ends with it."""
    weeks = pd.date_range("2021-06-28", periods=2, freq="7D")
    assert holiday_counts(weeks, "US").tolist() == [1, 0]
    assert holiday_counts(weeks, "US", observed=True).tolist() == [1, 1]
    years = pd.date_range("2020-01-06", periods=130, freq="7D")
    flags = repeated_holidays(years, "US", 104)
    assert flags["Christmas Day"].nonzero()[0].tolist() == [50, 102]
    assert set(flags["Christmas Day"]) == {0.0, 1.0} and "Juneteenth National Independence Day" not in flags
    assert not repeated_holidays(years[:40], "US", 40)
