"""The store of events: once, whole, durable; in SQLite and in PostgreSQL."""

import signal
import subprocess
import sys
import time
from datetime import date

import postgres
import pytest
import sqlalchemy as sa
from projects import ENV
from pydantic import TypeAdapter, ValidationError

from shelfcast.live.store import store as store_module
from shelfcast.live.store.events import Event
from shelfcast.live.store.store import Added, Conflict, Store, Unavailable

READ = TypeAdapter(list[Event])
SALE = {"kind": "sale", "product_id": "p01", "store_id": "s1", "quantity": 2.0, "sales_value": 3.5}
MONDAY = date(2026, 11, 23)


def sales(*ids, **values):
    return READ.validate_python([SALE | {"id": i, "timestamp": "2026-11-25T10:00:00"} | values for i in ids])


@pytest.fixture(scope="module")
def postgres_url():
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty store's address."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/events.sqlite"
        return
    address = request.getfixturevalue("postgres_url")
    yield address
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS events, closed_weeks, shelfcast_store"))
    engine.dispose()


def test_an_event_counts_once_however_often_it_is_sent(url):
    store = Store(url)
    assert store.add(sales("a", "b")) == Added(new=2, repeated=0, late=0)
    assert store.add(sales("b", "c", "c")) == Added(new=1, repeated=2, late=0)
    store.close()
    again = Store(url)
    assert again.count() == {"sale": 3, "price": 0, "promotion": 0, "behavior": 0}
    assert [READ.validate_json(f"[{body}]")[0].id for body in again.bodies("sale")] == ["a", "b", "c"]


def test_an_id_with_other_content_is_refused_with_its_whole_batch(url):
    store = Store(url)
    store.add(sales("a"))
    for batch in (sales("new") + sales("a", quantity=3.0), sales("x") + sales("x", quantity=3.0)):
        with pytest.raises(Conflict, match=r"event '[ax]' was sent before with other content; nothing"):
            store.add(batch)
    assert store.count()["sale"] == 1


def test_what_comes_after_its_week_was_closed_is_late_and_is_kept(url):
    store = Store(url)
    assert store.closed() is None and store.close_week(MONDAY) and not store.close_week(MONDAY)
    assert not store.close_week(date(2026, 11, 16)), "an earlier week is closed with it"
    assert store.closed() == MONDAY
    assert store.add(sales("a") + sales("b", timestamp="2026-11-30T00:00:00")) == Added(new=2, repeated=0, late=1)
    assert len(store.bodies("sale", MONDAY)) == 1 and len(store.bodies("sale")) == 2
    with pytest.raises(ValueError, match="is no Monday"):
        store.close_week(date(2026, 11, 24))


WRITER = """
import sys
from pydantic import TypeAdapter
from shelfcast.live.store.events import Event
from shelfcast.live.store.store import Store
store, read = Store(sys.argv[1]), TypeAdapter(list[Event])
sale = {"kind": "sale", "product_id": "p", "store_id": "s", "quantity": 1.0, "sales_value": 1.0}
for n in range(100_000):
    store.add(read.validate_python([sale | {"id": f"{n}-{i}", "timestamp": "2026-11-25T10:00:00"} for i in range(20)]))
    print(n, flush=True)
"""


def test_whatever_was_acknowledged_outlives_a_kill(url):
    command = [sys.executable, "-c", WRITER, url]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENV)
    acknowledged = [int(running.stdout.readline()) for _ in range(15)]
    time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in running.stdout.read().split("\n")[:-1]]
    running.wait()
    stored = [
        body["id"]
        for body in map(lambda text: READ.validate_json(f"[{text}]")[0].model_dump(), Store(url).bodies("sale"))
    ]
    assert len(stored) == len(set(stored)) and len(stored) % 20 == 0, "a batch is whole"
    assert {f"{n}-{i}" for n in acknowledged for i in range(20)} <= set(stored)


FULL = """
import resource, sys
from pathlib import Path
from pydantic import TypeAdapter
from shelfcast.live.store.events import Event
from shelfcast.live.store.store import Store, Unavailable
folder, read = Path(sys.argv[1]), TypeAdapter(list[Event])
store, sale = Store(f"sqlite:///{folder}/events.sqlite"), {"kind": "sale", "product_id": "p", "store_id": "s"}
sale |= {"quantity": 1.0, "sales_value": 1.0, "timestamp": "2026-11-25T10:00:00"}
batch = lambda name: read.validate_python([sale | {"id": f"{name}-{i}"} for i in range(3000)])
store.add(batch("before"))
largest = max(path.stat().st_size for path in folder.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 20_000, resource.RLIM_INFINITY))
try:
    store.add(batch("full"))
except Unavailable as error:
    print(error)
print(store.count()["sale"])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.add(batch("full")).new, store.count()["sale"])
"""


def test_a_file_that_may_not_grow_stores_nothing_of_a_batch_and_works_again(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, env=ENV)
    assert done.returncode == 0, done.stderr
    error, kept, after = done.stdout.splitlines()
    assert "cannot be used" in error and str(tmp_path) not in error
    assert kept == "3000" and after == "3000 6000"


def test_a_writer_that_holds_the_lock_is_waited_for_and_then_told(url, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE", 0.3)
    store, other = Store(url), Store(url)
    began = time.monotonic()
    with other._writing(), pytest.raises(Unavailable, match="cannot be used"):
        store.add(sales("a"))
    assert 0.2 < time.monotonic() - began < 5 and store.count()["sale"] == 0
    assert store.add(sales("a")).new == 1


def test_a_store_of_another_version_a_wrong_address_and_a_file_that_is_none(tmp_path):
    url = f"sqlite:///{tmp_path}/events.sqlite"
    Store(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE shelfcast_store SET value = '99'"))
    with pytest.raises(ValueError, match="another version of shelfcast"):
        Store(url)
    for address in ("mysql://host/x", "events.sqlite", ""):
        with pytest.raises(ValueError, match="must be sqlite:///path"):
            Store(address)
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 100)
    for address in (f"sqlite:///{tmp_path}/text", f"sqlite:///{tmp_path}/nowhere/events.sqlite"):
        with pytest.raises(Unavailable, match="cannot be used") as caught:
            Store(address)
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"timestamp": 1764068400}, "timestamp", "write it as text"),
        ({"timestamp": "2026-11-25T10:00:00Z"}, "timestamp", "has a time zone"),
        ({"timestamp": "1026-11-25T10:00:00"}, "timestamp", "is not between"),
        ({"quantity": -1.0}, "quantity", "greater than or equal to 0"),
        ({"quantity": float("nan")}, "quantity", "finite"),
        ({"quantity": "2"}, "quantity", "valid number"),
        ({"id": "  "}, "id", "at least 1"),
        ({"id": "x" * 201}, "id", "at most 200"),
        ({"product_id": "a\0b"}, "product_id", "zero byte"),
        ({"colour": "red"}, "colour", "not permitted"),
        ({"kind": "gift"}, "", "does not match any of the expected tags"),
        ({"kind": "price", "week": "2026-11-25", "price": 1.0}, "week", "starts on 2026-11-23"),
        ({"kind": "promotion", "week": "2026-11-23", "channels": {}}, "channels", "at least 1"),
        ({"kind": "promotion", "week": "2026-11-23", "channels": {"mailer": 2}}, "mailer", "less than or equal to 1"),
    ],
)
def test_what_is_no_event_is_refused_by_field(values, field, words):
    base = SALE | {"id": "a", "timestamp": "2026-11-25T10:00:00"}
    if values.get("kind") == "price":
        base = {"id": "a", "product_id": "p"}
    if values.get("kind") == "promotion":
        base = {"id": "a", "product_id": "p", "store_id": "s"}
    with pytest.raises(ValidationError) as caught:
        READ.validate_python([base | values])
    error = caught.value.errors()[0]
    assert words in error["msg"] and (not field or field in error["loc"])
