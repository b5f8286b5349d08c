"""Weeks that start on any day, and days: periods, panels of them, and forecasts."""

import numpy as np
import pandas as pd
import pytest
from small_retailer import MONDAY, WEEKS, add_optional_tables, load_retailer, make_retailer, write_retailer

from shelfcast import language
from shelfcast.data import tables
from shelfcast.data.schema import CHAIN
from shelfcast.frequency import DAILY, WEEKDAYS, WEEKLY, Frequency
from shelfcast.language.periods import in_days
from shelfcast.methods.averages import recent_mean
from shelfcast.panel.axes.weeks import find_weeks, thin_weeks
from shelfcast.panel.build import build
from shelfcast.panel.features.season import WEEKDAYS as WEEKDAY_COLUMNS
from shelfcast.panel.features.season import weekday_profile
from shelfcast.reading_options import Reading
from shelfcast.settings import Prepare
from shelfcast.validate import SettingsError
from shelfcast.validate import build as build_options

DAY = pd.Timedelta(days=1)


@pytest.mark.parametrize("start", WEEKDAYS)
def test_a_week_starts_where_pandas_starts_it(start):
    frequency = Frequency.of("W", start)
    days = pd.Series(pd.date_range("2021-12-20", periods=40))
    expected = days.dt.to_period(f"W-{WEEKDAYS[WEEKDAYS.index(start) - 1]}").dt.start_time  # pandas names the last day
    pd.testing.assert_series_equal(frequency.floor(days), expected, check_freq=False)
    first = frequency.floor(days).iloc[10]
    assert list(frequency.coming(first, 3)) == list(pd.date_range(first + DAY, periods=3, freq=frequency.alias))
    assert frequency.number(days.iloc[[10, 16, 17]], first).max() == 1 and frequency.last_day(first) == first + 6 * DAY


def test_days_are_their_own_periods():
    days = pd.Series(pd.date_range("2022-01-01", periods=10))
    assert DAILY.floor(days).equals(days) and DAILY.week(days).iloc[0] == pd.Timestamp("2021-12-27")
    assert (DAILY.periods(4), DAILY.year, DAILY.season_length, DAILY.horizon) == (28, 364, 7, 28)
    assert (WEEKLY.periods(4), WEEKLY.year, WEEKLY.season_length, WEEKLY.horizon) == (4, 52, 1, 4)
    with pytest.raises(ValueError, match=r"'H' is not known\. Choose one of D, W-MON"):
        Frequency("H")


def test_the_horizon_is_four_weeks_where_nothing_else_is_asked():
    assert [Prepare(freq=freq).horizon for freq in ("W", "D")] == [4, 28]
    assert Prepare(freq="D", horizon=10).horizon == 10
    with pytest.raises(SettingsError, match="freq is 'M'"):
        build_options(Prepare, {"freq": "M"}, "params.yaml: prepare")


def daily_units(raw, products, days):
    """Units by product and day of raw tables, as a naive sum."""
    rows = raw["transactions"].assign(day=raw["transactions"]["timestamp"].dt.normalize())
    units = rows.groupby(["product_id", "day"])["quantity"].sum().unstack("day").fillna(0)
    return units.reindex(index=products, columns=days, fill_value=0)


def test_a_daily_panel_counts_days(daily_panel):
    panel, raw = daily_panel, make_retailer()
    assert (panel.frequency, panel.meta["horizon"], len(panel.weeks)) == (DAILY, 28, 7 * WEEKS)
    units = daily_units(raw, panel.products.index, panel.weeks)
    chain = panel.frame[panel.frame["location"] == CHAIN].pivot(
        index="product_id", columns="ds", values=["y", "level_28"]
    )
    np.testing.assert_array_equal(chain["y"][panel.weeks].loc[units.index], units)
    mean = units.T.rolling(28, min_periods=1).mean().T
    np.testing.assert_allclose(chain["level_28"][panel.weeks].loc[units.index], mean)
    flags = panel.frame[[f"weekday: {name}" for name in WEEKDAY_COLUMNS]].to_numpy()
    np.testing.assert_array_equal(flags.argmax(1), panel.frame["ds"].dt.dayofweek)
    fourth = panel.frame[panel.frame["ds"] == "2022-07-04"]
    assert (fourth["holiday"] == 1).all() and (
        panel.frame[panel.frame["ds"] == "2022-07-03"]["holiday_next"] == 1
    ).all()
    cutoffs = pd.DatetimeIndex(panel.cutoffs["test"])
    assert (cutoffs[1:] - cutoffs[:-1] == 7 * DAY).all() and cutoffs[-1] + 28 * DAY == panel.weeks[-1]


def test_weekly_plans_hold_on_each_of_their_days(daily_panel, small_panel):
    """The weekly panel's shares of stores that promote, on all seven days; as both keep the same stores' records."""
    name = "promotion: mailer"
    weekly = small_panel.frame.set_index(["unique_id", "ds"])[name]
    daily = daily_panel.frame[daily_panel.frame["ds"].between(small_panel.weeks[0], small_panel.weeks[-1] + 6 * DAY)]
    keys = pd.MultiIndex.from_arrays([daily["unique_id"], WEEKLY.floor(daily["ds"])])
    both = pd.DataFrame({"daily": daily[name].to_numpy(), "weekly": weekly.reindex(keys).to_numpy()}).dropna()
    assert len(both) > 0.9 * len(daily) and both["weekly"].nunique() > 5
    np.testing.assert_allclose(both["daily"], both["weekly"], rtol=1e-6)


def test_daily_plans_are_read_as_such(tmp_path):
    raw = make_retailer()
    plan = raw["promotions"].assign(week=raw["promotions"]["week"] + 2 * DAY)  # a Wednesday, that day alone
    folder, reading = write_retailer(raw | {"promotions": plan}, tmp_path / "shop"), Reading(week_stamp="day")
    small = {"n_products": 6, "n_regions": 2, "validation_weeks": 6, "test_weeks": 6}
    with pytest.raises(ValueError, match="must be the Monday"):
        tables.load("tables", folder, "TEA")
    loaded = tables.load("tables", folder, "TEA", reading=reading)
    frame = build(loaded, Prepare(freq="D", **small)).frame
    promoted = frame[frame["promotion"] > 0]
    assert len(promoted) and (promoted["ds"].dt.dayofweek == 2).all()
    with pytest.raises(ValueError, match=r"week_stamp is 'day'.*Set prepare\.freq: D"):
        build(loaded, Prepare(**small))


@pytest.mark.parametrize(("start", "shift"), [("SUN", -1), ("THU", 3), ("FRI", -3)])
def test_weekly_records_belong_to_the_week_that_holds_most_of_their_days(tmp_path, start, shift):
    raw = add_optional_tables(make_retailer())
    marked = raw["promotions"].assign(
        mailer=(raw["promotions"]["week"] == MONDAY + 70 * DAY).astype(float), display=0.0
    )
    panel = load_retailer(raw | {"promotions": marked}, tmp_path / "shop", week_start=start)
    assert (panel.frame["ds"].dt.dayofweek == WEEKDAYS.index(start)).all()
    promoted = panel.frame.loc[panel.frame["promotion: mailer"] > 0, "ds"].unique()
    assert list(promoted) == [MONDAY + (70 + shift) * DAY]
    units = daily_units(raw, panel.products.index, pd.date_range(panel.weeks[10], periods=7)).sum(axis=1)
    own = panel.frame[(panel.frame["location"] == CHAIN) & (panel.frame["ds"] == panel.weeks[10])]
    own = own.set_index("product_id")["y"].dropna()
    np.testing.assert_array_equal(own, units[own.index])


def trading(days, rows=100):
    """What `weekly.trading_days` gives for days with so many rows each."""
    frame = pd.DataFrame({"day": days, "rows": rows, "category_rows": rows, "category_units": rows})
    return frame.assign(first_store="s1", first_product="p1")


def test_days_without_trade_are_zero_where_that_was_known_and_missing_elsewhere():
    prepare = Prepare(freq="D")
    days = pd.Series(pd.date_range("2022-05-02", "2022-10-30"))
    open_days = days[days.dt.dayofweek != 6]  # closed on Sundays
    gone = open_days.isin(pd.to_datetime(["2022-07-04", "2022-08-10"]))  # a holiday, and a day that nobody recorded
    frame = trading(open_days[~gone].reset_index(drop=True))
    weeks = find_weeks(frame, prepare)
    assert list(weeks.index[weeks.missing]) == [pd.Timestamp("2022-08-10")]
    rows = np.isin(weeks.index, frame["day"]).astype(float)[None] * 100
    assert thin_weeks(weeks, rows, frame, "US").missing.sum() == 1
    thin = rows.copy()
    thin[0, weeks.index.get_loc("2022-08-17")] = 10  # a tenth of what Wednesdays have
    found = thin_weeks(weeks, thin, frame, "US")
    assert list(found.index[found.missing]) == list(pd.to_datetime(["2022-08-10", "2022-08-17"]))
    assert any("days with far fewer rows" in count.check for count in found.counts)


def test_weekly_rows_are_no_daily_market():
    mondays = pd.Series(pd.date_range(MONDAY, periods=40, freq="7D"))
    with pytest.raises(ValueError, match=r"days between .* have no sales at all.*or set prepare\.freq: W"):
        find_weeks(trading(mondays), Prepare(freq="D"))


def test_the_profile_of_weekdays_is_known_at_every_cutoff():
    """A day's profile changes with sales 28 days before it and earlier ones, with no later ones."""
    day = np.arange(140)
    y = np.where(day % 7 == 5, 2.0, 1.0)[None, None]
    observed = np.ones((1, len(day)), bool)
    profile = weekday_profile(y, observed, 28)
    np.testing.assert_allclose(profile[0, 0, 103], np.log((2 + 0.5 / 7) / (8 / 7 + 0.5 / 7)), rtol=1e-9)
    assert (profile[..., :28] == 0).all() and profile.shape[-1] == 168
    for target in (103, 120, 150):
        later = y.copy()
        later[..., target - 27 :] = 50.0
        np.testing.assert_array_equal(weekday_profile(later, observed, 28)[..., target], profile[..., target])
        seen = y.copy()
        seen[..., target - 28] = 50.0
        assert weekday_profile(seen, observed, 28)[0, 0, target] != profile[0, 0, target]


def test_an_average_of_the_same_weekday():
    day = np.arange(70)
    past = np.where(day % 7 == 5, 3.0, 1.0)[None]
    ahead = recent_mean(past, 28, 7)
    assert ahead.shape == (1, 28) and (ahead[0, (70 + np.arange(28)) % 7 == 5] == 3).all()
    assert ahead.sum() == 4 * 3 + 24


def test_sentences_of_days():
    assert (
        in_days("Next {weeks} weeks: a week's {n_weeks}, weekly", "en") == "Next {weeks} days: a day's {n_weeks}, daily"
    )
    with language.using("en", "day"):
        assert language._("Next {weeks} weeks", weeks=28) == "Next 28 days"
        assert language.ngettext("{n} week to arrive", "{n} weeks to arrive", 1) == "1 day to arrive"
        assert language._("8-week average") == "8-week average" and language.periods(4) == 28
        assert language.last_day(MONDAY) == MONDAY
    with language.using("zh", "day"):
        assert language._("Next {weeks} weeks", weeks=28) == "未来28天" and language._("a week") == "每天"
    assert language._("Next {weeks} weeks", weeks=4) == "Next 4 weeks" and language.last_day(MONDAY) == MONDAY + 6 * DAY
    with pytest.raises(ValueError, match="no messages for the period 'hour'"):
        language.use("en", "hour")


@pytest.mark.parametrize("code", ["en", "zh"])
def test_no_message_speaks_of_weeks_in_a_daily_market(code):
    """But those that mean weeks of the calendar; a parameter's name may hold the word."""
    from shelfcast.language.messages import messages, read
    from shelfcast.language.periods import KEPT

    catalogue = messages() if code == "en" else read(code)
    word = r"(?<!8-)\b[Ww]eek" if code == "en" else "(?<!8)周"
    for message in catalogue:
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        texts = ids if code == "en" else message.string if isinstance(message.string, tuple) else (message.string,)
        if ids[0] and not set(ids) & KEPT:
            said = pd.Series([in_days(text, code) for text in texts]).str.replace(r"\{[^}]*\}", "", regex=True)
            assert not said.str.contains(word).any(), said.tolist()
