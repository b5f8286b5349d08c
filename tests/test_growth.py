"""A trained market's panel grows by events, and is what the pipeline makes of the same rows."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from small_retailer import MONDAY, PRODUCTS, STORES, add_optional_tables, make_retailer, write_retailer

from shelfcast.data import tables
from shelfcast.live.engine import gaps
from shelfcast.live.growth.grow import grow
from shelfcast.live.store import own as own_module
from shelfcast.live.store.events import Event
from shelfcast.live.store.store import Store
from shelfcast.live.store.tables import write_tables
from shelfcast.methods.zero_shot import outlook as outlook_module
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.methods.zero_shot.forecasts import _weeks_read as weeks_read
from shelfcast.panel.build import build
from shelfcast.panel.features import season
from shelfcast.settings import Market, Prepare

READ = TypeAdapter(list[Event])
PREPARE = Prepare(n_products=6, n_regions=2, validation_weeks=6, test_weeks=4)
LATER = 2  # weeks that come as events
LINE = Market(source="tables", tables="base", category="TEA")
FRAME = ("ds", "unique_id", "product_id", "location")


def as_events(raw, first):
    """The rows from a day on as events, in the order in which a shop would send them."""
    rows, seen = raw["transactions"], raw["behavior"]
    events = []
    for i, row in enumerate(rows[rows["timestamp"] >= first].to_dict("records")):
        events.append(row | {"kind": "sale", "id": f"sale-{i}", "timestamp": row["timestamp"].isoformat()})
    for i, row in enumerate(seen[seen["timestamp"] >= first].to_dict("records")):
        store = {} if row["store_id"] is None or pd.isna(row["store_id"]) else {"store_id": row["store_id"]}
        keys = {"kind": "behavior", "id": f"seen-{i}", "product_id": row["product_id"], "event": row["event"]}
        events.append(keys | store | {"timestamp": row["timestamp"].isoformat(), "count": int(row["count"])})
    for name, kind in (("promotions", "promotion"), ("prices", "price")):
        for i, row in enumerate(raw[name][raw[name]["week"] >= first].to_dict("records")):
            event = {
                "kind": kind,
                "id": f"{kind}-{i}",
                "product_id": row["product_id"],
                "week": str(row["week"].date()),
            }
            if kind == "price":
                event["price"] = row["price"]
            else:
                event |= {"store_id": row["store_id"], "channels": {name: row[name] for name in ("mailer", "display")}}
            events.append(event)
    return events


def before(raw, first):
    cut = {name: "timestamp" if "timestamp" in frame else "week" for name, frame in raw.items()}
    return {name: frame[frame[cut[name]] < first] if cut[name] in frame else frame for name, frame in raw.items()}


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A root with base/ (without the last weeks), the full tables, the trained panel and the full one."""
    root, raw = tmp_path_factory.mktemp("market"), add_optional_tables(make_retailer())
    raw["transactions"] = raw["transactions"].drop(columns="discount")
    last = raw["transactions"]["timestamp"].max()
    first = (last - pd.Timedelta(days=last.dayofweek)).normalize() - pd.Timedelta(weeks=LATER - 1)
    write_retailer(before(raw, first), root / "base")
    write_retailer(raw, root / "full")
    trained = build(tables.load("tables", root / "base", "TEA"), PREPARE)
    longer = replace(PREPARE, test_weeks=PREPARE.test_weeks + LATER)
    return root, raw, first, trained, build(tables.load("tables", root / "full", "TEA"), longer)


@pytest.fixture()
def store(tmp_path):
    return Store(f"sqlite:///{tmp_path}/events.sqlite")


def grown(market, store, folder, prepare=PREPARE):
    root, _, _, trained, _ = market
    written = write_tables(store, folder, LINE, root)
    return grow(trained, tables.load("tables", folder, "TEA"), prepare), written


def test_a_grown_panel_is_the_pipelines_of_the_same_rows(market, store, tmp_path):
    """The rows come shuffled, in batches, some of them twice."""
    _, raw, first, trained, full = market
    events = as_events(raw, first)
    order = np.random.default_rng(0).permutation(len(events))
    for start in range(0, len(order), 300):
        store.add(READ.validate_python([events[i] for i in order[start : start + 350]]))
    store.close_week((first + pd.Timedelta(weeks=LATER - 1)).date())
    panel, written = grown(market, store, tmp_path / "tables")
    assert written.rows["transactions"] == sum(event["kind"] == "sale" for event in events)
    assert panel.meta["n_weeks"] == trained.meta["n_weeks"] + LATER
    assert weeks_read(panel) == weeks_read(trained), "methods that depend on it stay the same"
    pd.testing.assert_frame_equal(panel.frame, full.frame)
    pd.testing.assert_frame_equal(panel.typical, full.typical)
    pipeline = build(
        tables.load("tables", tmp_path / "tables", "TEA"), replace(PREPARE, test_weeks=PREPARE.test_weeks + LATER)
    )
    pd.testing.assert_frame_equal(panel.frame, pipeline.frame)


def test_an_open_week_waits_and_the_coming_plan_does_not(market, store, tmp_path):
    _, raw, first, trained, _ = market
    store.add(READ.validate_python(as_events(raw, first)))
    panel, _ = grown(market, store, tmp_path / "none")
    assert panel.meta["last_week"] == trained.meta["last_week"], "no week was closed"
    prices = [panel.frame.loc[panel.frame["ds"] >= first, "price"] for panel in (panel, trained)]
    assert prices[0].notna().all() and not prices[0].equals(prices[1])
    store.close_week(first.date())
    panel, _ = grown(market, store, tmp_path / "one")
    assert panel.meta["last_week"] == str(first.date())
    begun = panel.frame["ds"] == first
    assert panel.frame.loc[begun, "y"].sum() > 0 and panel.frame.loc[panel.frame["ds"] > first, "y"].isna().all()


def test_closed_weeks_without_sales_or_with_few_are_missing_and_told(market, store, tmp_path):
    """Two weeks are closed: without events, with those of the second alone, then with a twentieth of the first's."""
    _, raw, first, trained, _ = market
    weeks = [(first + pd.Timedelta(weeks=k)).date() for k in range(LATER)]
    since, closed = pd.Timestamp(trained.meta["last_week"]), weeks[-1]
    store.close_week(closed)
    panel, _ = grown(market, store, tmp_path / "none")
    assert panel.meta["last_week"] == trained.meta["last_week"]
    assert gaps.unobserved(panel, since, closed) == weeks
    text = gaps.note(panel, since, closed)
    assert f"{weeks[0]}, {weeks[1]}" in text and f"Forecasts begin behind the week of {since.date()}" in text
    events = as_events(raw, first)
    day = pd.Timestamp(weeks[1]).isoformat()
    of_first = [event for event in events if event.get("timestamp", day) < day]
    store.add(READ.validate_python([event for event in events if event not in of_first]))
    panel, _ = grown(market, store, tmp_path / "second")
    assert panel.meta["last_week"] == str(closed) and gaps.unobserved(panel, since, closed) == weeks[:1]
    assert panel.frame.loc[panel.frame["ds"] == first, "y"].isna().all(), "missing, not zero"
    assert str(weeks[0]) in gaps.note(panel, since, closed) and "begin behind" not in gaps.note(panel, since, closed)
    store.add(READ.validate_python(of_first[::20]))
    panel, _ = grown(market, store, tmp_path / "part")
    assert gaps.unobserved(panel, since, closed) == weeks[:1]
    store.add(READ.validate_python([event for i, event in enumerate(of_first) if i % 20]))  # the rest comes late
    panel, _ = grown(market, store, tmp_path / "all")
    assert gaps.note(panel, since, closed) == ""
    pd.testing.assert_frame_equal(panel.frame, market[4].frame)


def test_a_history_that_grows_beyond_a_year_keeps_the_columns_that_were_trained_on(
    market, store, tmp_path, monkeypatch
):
    _, raw, first, trained, _ = market
    monkeypatch.setattr(season, "MIN_SEASON", trained.meta["n_weeks"] + 1)
    store.add(READ.validate_python(as_events(raw, first)))
    store.close_week((first + pd.Timedelta(weeks=LATER - 1)).date())
    panel, _ = grown(market, store, tmp_path / "tables")
    assert list(panel.frame) == list(trained.frame) and "season_sin" not in panel.frame
    longer = replace(PREPARE, test_weeks=PREPARE.test_weeks + LATER)
    whole = build(tables.load("tables", tmp_path / "tables", "TEA"), longer)
    assert "season_sin" in whole.frame, "the pipeline itself would add it"
    pd.testing.assert_frame_equal(panel.frame, whole.frame[list(trained.frame)])


def test_a_late_event_lands_in_its_week(market, store, tmp_path):
    trained = market[3]
    week = pd.Timestamp(trained.meta["last_week"])
    product, shop = trained.products.index[0], "s1"
    late = {"kind": "sale", "id": "late", "timestamp": str(week.date()) + "T10:00:00", "store_id": shop}
    added = READ.validate_python([late | {"product_id": product, "quantity": 7.0, "sales_value": 14.0}])
    store.close_week(week.date())
    assert store.add(added).late == 1
    panel, _ = grown(market, store, tmp_path / "tables")
    rows = [p.frame[p.frame["unique_id"] == f"{product}|chain"].set_index("ds")["y"] for p in (panel, trained)]
    assert rows[0][week] == rows[1][week] + 7 and rows[0].drop(week).equals(rows[1].drop(week))


def test_the_last_word_counts_and_names_that_no_table_knows_are_read(market, store, tmp_path):
    _, _, first, trained, _ = market
    product, week = trained.products.index[0], str(first.date())
    price = {"kind": "price", "product_id": product, "week": week}
    promotion = {"kind": "promotion", "product_id": product, "store_id": "s0", "week": week}
    store.add(READ.validate_python(as_events(market[1], first)))  # without them the week would be cut short
    store.add(
        READ.validate_python(
            [
                price | {"id": "1", "price": 9.0},
                price | {"id": "2", "price": 5.0},
                price | {"id": "3", "price": 4.0, "store_id": "s1"},
                promotion | {"id": "4", "channels": {"mailer": 1.0}},
                promotion | {"id": "5", "channels": {"television": 0.5}},
                {"kind": "sale", "id": "6", "timestamp": f"{week}T10:00:00", "store_id": "new store"}
                | {"product_id": "new product", "quantity": 1.0, "sales_value": 1.0},
            ]
        )
    )
    store.close_week(first.date())
    panel, written = grown(market, store, tmp_path / "tables")
    assert written.left_out == (
        "1 prices of single stores are left out: the market's own prices are those of all stores together",
    )
    prices = pd.read_parquet(tmp_path / "tables/prices.parquet")
    own = prices[(prices["product_id"] == product) & (pd.to_datetime(prices["week"]) == first)]
    assert own["price"].tolist() == [5.0]
    rows = pd.read_parquet(tmp_path / "tables/promotions.parquet")
    own = rows[(rows["product_id"] == product) & (pd.to_datetime(rows["week"]) == first) & (rows["store_id"] == "s0")]
    assert own[["mailer", "display", "television"]].to_numpy().tolist() == [[0.0, 0.0, 0.5]]
    assert not rows.isna().any().any()
    assert "new store" in set(pd.read_parquet(tmp_path / "tables/stores.parquet")["store_id"])
    assert panel.quality.query("check == 'unknown product_id'")["found"].tolist() == [1]
    assert panel.roles == trained.roles, "a channel that the models do not know is no column of theirs"
    assert list(panel.frame) == list(trained.frame), "nor is it one that trees would read"


def test_the_same_store_writes_the_same_bytes(market, store, tmp_path):
    _, raw, first, _, _ = market
    store.add(READ.validate_python(as_events(raw, first)))
    store.close_week(first.date())
    for name in ("one", "two"):
        write_tables(store, tmp_path / name, LINE, market[0])
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_kept_tables_are_read_once_and_give_the_same_bytes(market, store, tmp_path, monkeypatch):
    _, raw, first, _, _ = market
    store.add(READ.validate_python(as_events(raw, first)))
    for closed in range(LATER):
        store.close_week((first + pd.Timedelta(weeks=closed)).date())
        write_tables(store, tmp_path / "plain", LINE, market[0])
        with monkeypatch.context() as patched:
            if closed:
                patched.setattr(own_module.tables, "load", lambda *_: pytest.fail("the tables were read again"))
            write_tables(store, tmp_path / "quick", LINE, market[0], tmp_path / "kept")
        names = sorted(path.name for path in (tmp_path / "plain").iterdir())
        assert names == sorted(path.name for path in (tmp_path / "quick").iterdir()) and "products.parquet" in names
        for name in names:
            assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "quick" / name).read_bytes(), name


@pytest.mark.parametrize("what", ["a row", "how they are read", "the note"])
def test_tables_that_changed_are_read_again(market, store, tmp_path, what):
    root, kept, line = tmp_path / "root", tmp_path / "kept", LINE
    shutil.copytree(market[0] / "base", root / "base")
    write_tables(store, tmp_path / "before", line, root, kept)
    if what == "a row":
        rows = pd.read_parquet(root / "base/transactions.parquet")
        rows.assign(quantity=rows["quantity"] + (rows.index == 3)).to_parquet(root / "base/transactions.parquet")
    if what == "how they are read":
        rows = pd.read_parquet(root / "base/transactions.parquet")
        line = replace(LINE, rename="transactions.till=basket_id")
        rows.rename(columns={"basket_id": "till"}).to_parquet(root / "base/transactions.parquet")
    if what == "the note":
        (kept / own_module.NOTE).write_text("{")
    write_tables(store, tmp_path / "quick", line, root, kept)
    write_tables(store, tmp_path / "plain", line, root)
    for path in sorted((tmp_path / "plain").iterdir()):
        assert path.read_bytes() == (tmp_path / "quick" / path.name).read_bytes(), path.name


def test_rows_that_change_what_was_chosen_are_refused(market, store, tmp_path):
    """Sales of the training weeks that make another product one of the largest: the pipeline must choose again."""
    _, raw, _, trained, _ = market
    ids = {f"p{i:02d}" for i in range(PRODUCTS)}
    tea = set(raw["products"].query("category == 'TEA'")["product_id"]) & ids
    outside = sorted(tea - set(trained.products.index))[0]
    days = MONDAY + pd.to_timedelta(7 * np.arange(20), unit="D")
    keys = {"kind": "sale", "product_id": outside, "quantity": 500.0, "sales_value": 900.0}
    many = [
        keys | {"id": f"{s}-{i}", "timestamp": day.isoformat(), "store_id": f"s{s}"}
        for s in range(STORES)
        for i, day in enumerate(days)
    ]
    store.close_week(pd.Timestamp(trained.meta["last_week"]).date())
    store.add(READ.validate_python(many))
    with pytest.raises(ValueError, match=r"its products would be others. Run the pipeline again"):
        grown(market, store, tmp_path / "tables")


def test_tables_that_end_too_early_are_refused(market):
    root, raw, first, trained, _ = market
    short = write_retailer(before(raw, first - pd.Timedelta(weeks=1)), root / "short")
    with pytest.raises(ValueError, match="the tables end with the week of"):
        grow(trained, tables.load("tables", short, "TEA"), PREPARE)


def test_earlier_outlooks_are_kept_and_equal_those_made_anew(market, monkeypatch):
    _, _, _, trained, full = market
    asked = []
    original = outlook_module.quantile_forecasts
    monkeypatch.setattr(outlook_module, "AT_ONCE", 4)
    monkeypatch.setattr(outlook_module, "quantile_forecasts", lambda *a: asked.append(len(a[2])) or original(*a))
    before_, anew = with_outlook(trained), with_outlook(full)
    n = len(asked)
    kept = with_outlook(full, before_)
    assert 0 < len(asked) - n < (n + 1) // 2, "most cutoffs are not asked again"
    pd.testing.assert_frame_equal(kept.outlook, anew.outlook)
    frame = trained.frame.copy()
    frame.loc[frame["ds"] == trained.weeks[15], "y"] += 5
    asked.clear()
    changed = with_outlook(replace(trained, frame=frame), before_)
    pd.testing.assert_frame_equal(changed.outlook, with_outlook(replace(trained, frame=frame)).outlook)
