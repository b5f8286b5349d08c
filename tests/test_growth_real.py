"""The default data's panel grows by events of its last weeks, and is what the pipeline makes of all rows at once."""

import shutil
from dataclasses import replace

import duckdb
import pandas as pd
import pytest
from projects import ROOT
from pydantic import TypeAdapter

from shelfcast.data import tables
from shelfcast.live.engine import gaps
from shelfcast.live.growth.grow import grow
from shelfcast.live.store.events import Event
from shelfcast.live.store.store import Store
from shelfcast.live.store.tables import write_tables
from shelfcast.panel.build import build
from shelfcast.settings import Market, Prepare

DATA = ROOT / "data"
CATEGORY = "SOFT DRINKS"
PREPARE = Prepare(outlook=False)  # a zero-shot forecast of each week takes minutes
LATER = 2  # weeks that come as events
READ = TypeAdapter(list[Event])
AT_ONCE = 5000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "transactions.parquet").is_file(), reason="there is no data/: run `make setup`"),
]


def rows_from(path, column, first) -> pd.DataFrame:
    return duckdb.sql(f"SELECT * FROM '{path}' WHERE {column} >= TIMESTAMP '{first}'").df()


def cut(path, other, column, first) -> None:
    """The file without rows from a day on, in their order."""
    kept = f"SELECT * FROM '{path}' WHERE {column} < TIMESTAMP '{first}'"
    duckdb.sql(f"COPY ({kept}) TO '{other}' (FORMAT parquet)")


def events_of(sales: pd.DataFrame, promotions: pd.DataFrame) -> list[dict]:
    """Rows as events, in the order in which a shop would send them."""
    events = []
    for i, row in enumerate(sales.to_dict("records")):
        event = {name: value for name, value in row.items() if not pd.isna(value)}
        events.append(event | {"kind": "sale", "id": f"s{i}", "timestamp": row["timestamp"].isoformat()})
    channels = [name for name in promotions if name not in ("product_id", "store_id", "week")]
    for i, row in enumerate(promotions.to_dict("records")):
        event = {"kind": "promotion", "id": f"p{i}", "product_id": row["product_id"], "store_id": row["store_id"]}
        event |= {"week": str(row["week"].date()), "channels": {name: float(row[name]) for name in channels}}
        events.append(event)
    return events


def test_the_default_market_grows_into_the_panel_of_all_its_rows(tmp_path):
    market = Market(source="complete_journey", tables=str(DATA), category=CATEGORY)
    full, base, line = tmp_path / "full", tmp_path / "base", Market(source="tables", tables="base", category=CATEGORY)
    write_tables(Store(f"sqlite:///{tmp_path}/none.sqlite"), full, market)
    longer = replace(PREPARE, test_weeks=PREPARE.test_weeks + LATER)
    whole = build(tables.load("tables", full, CATEGORY), longer)
    last = pd.Timestamp(whole.meta["last_week"])
    first = last - pd.Timedelta(weeks=LATER - 1)
    shutil.copytree(full, base)
    cut(full / "transactions.parquet", base / "transactions.parquet", "timestamp", first)
    cut(full / "promotions.parquet", base / "promotions.parquet", "week", first)
    sales = rows_from(full / "transactions.parquet", "timestamp", first)
    events = events_of(sales, rows_from(full / "promotions.parquet", "week", first))
    store = Store(f"sqlite:///{tmp_path}/events.sqlite")
    for start in range(0, len(events), AT_ONCE):
        store.add(READ.validate_python(events[start : start + AT_ONCE]))
    store.close_week(last.date())

    trained = build(tables.load("tables", base, CATEGORY), PREPARE)
    assert trained.meta["last_week"] == str((first - pd.Timedelta(weeks=1)).date())
    assert write_tables(store, tmp_path / "again", line, tmp_path).rows["transactions"] == len(sales) > 10_000
    grown = grow(trained, tables.load("tables", tmp_path / "again", CATEGORY), PREPARE)
    pd.testing.assert_frame_equal(grown.frame, whole.frame)
    pd.testing.assert_frame_equal(grown.typical, whole.typical)
    assert gaps.note(grown, pd.Timestamp(trained.meta["last_week"]), last.date()) == ""
