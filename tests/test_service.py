"""The service of a small market: what it answers is what the run delivered; what is wrong is refused in one shape."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from live_market import MARKET, make_run
from small_retailer import small_trees
from starlette.testclient import TestClient

from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.live.engine.compute import refresh
from shelfcast.live.engine.engine import Engine
from shelfcast.live.engine.trained import Trained
from shelfcast.live.service import app, guard
from shelfcast.live.service.clock import close_due
from shelfcast.live.service.errors import place
from shelfcast.live.store import store as store_module
from shelfcast.live.store.store import Store
from shelfcast.live_options import Service

BASE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_bert):
    root = tmp_path_factory.mktemp("service")
    make_run(root, tiny_bert)
    return root


def engine_of(run, folder, compute=lambda: None):
    url = f"sqlite:///{folder / 'events.sqlite'}"
    return Engine(MARKET, run, Store(url), url, compute)


@pytest.fixture()
def engine(run, tmp_path):
    return engine_of(run, tmp_path)


@pytest.fixture()
def client(engine):
    with TestClient(app.make(engine, Service(max_body=20_000, max_batch=10)), base_url=BASE) as running:
        yield running


def sale(engine, number=0, **values):
    panel = engine.snapshot.panel
    monday = panel.weeks[-1] + pd.Timedelta(weeks=1)
    event = {"kind": "sale", "id": f"s{number}", "timestamp": f"{monday.date()}T10:00:00", "quantity": 2.0}
    event |= {"store_id": "s0", "product_id": str(panel.products.index[0]), "sales_value": 4.0}
    return event | values


def fault(response, status):
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"} and {"code", "message"} <= set(body["error"])
    return body["error"]


# ---------------------------------------------------------------- forecasts


def test_what_is_computed_is_what_was_delivered(run):
    with small_trees(20):
        trained = Trained.load(run, MARKET)
    assert trained.panel.cutoffs["latest"] == [trained.panel.weeks[-1]]
    frame = trained.forecast(trained.panel, trained.panel.weeks[-1])
    told = pd.read_parquet(trained.folder / "forecasts.parquet")
    told = told[(told["method"] == "ensemble") & (told["cutoff"] == trained.panel.weeks[-1])]
    index = ["situation", "unique_id", "horizon"]
    ours, theirs = (part.set_index(index).sort_index()[["mean", *QUANTILE_COLUMNS]] for part in (frame, told))
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours, theirs.loc[ours.index], rtol=1e-6, atol=1e-9)
    other = trained.forecast(trained.panel, trained.panel.weeks[-2]).set_index(index)["mean"].sort_index()
    assert not np.allclose(ours["mean"], other.loc[ours.index]), "another cutoff gives other forecasts"


def test_trees_are_fitted_once_and_kept(run, monkeypatch):
    from shelfcast.live.engine import trained

    folder = run / "build" / MARKET
    with small_trees(20):
        first = trained.kept_trees(folder, Trained.load(run, MARKET).panel, 0)
    monkeypatch.setattr(trained.fitted, "fit", lambda *_: pytest.fail("the trees were fitted again"))
    again = trained.kept_trees(folder, None, 0)
    assert again.columns == first.columns
    with pytest.raises(BaseException, match="fitted again"):
        trained.kept_trees(folder, None, 1)


def test_forecast_of_one_series(client, engine):
    panel, product = engine.snapshot.panel, str(engine.snapshot.panel.products.index[0])
    body = client.get("/forecast", params={"product_id": product}).json()
    assert body["location"] == "chain" and body["origin"]["cutoff"] == str(panel.weeks[-1].date())
    assert [week["horizon"] for week in body["weeks"]] == list(range(1, panel.meta["horizon"] + 1))
    told = engine.snapshot.frame.query(
        f"unique_id == '{product}|chain' and situation == '{body['origin']['situation']}'"
    )
    assert body["weeks"][1]["mean"] == pytest.approx(told["mean"].iloc[1])
    assert body["weeks"][1]["quantiles"]["0.025"] == pytest.approx(told["q025"].iloc[1])
    assert body["weeks"][1]["quantiles"]["0.9"] == pytest.approx(told["q900"].iloc[1])
    one = client.get("/forecast", params={"product_id": product, "horizon": 2}).json()
    assert one["weeks"] == body["weeks"][1:2]
    weights = json.loads((engine.folder / "weights.json").read_text())
    assert body["origin"]["model"]["members"] == weights[body["origin"]["situation"]]


def test_pages_hold_every_series_once(client, engine):
    names, offset = [], 0
    while offset is not None:
        page = client.get("/forecasts", params={"limit": 7, "offset": offset}).json()
        names += [f"{one['product_id']}|{one['location']}" for one in page["series"]]
        offset = page["next"]
    assert names == sorted(set(engine.snapshot.frame["unique_id"])) and page["total"] == len(names)


def test_unknown_names_are_refused_with_the_nearest(client, engine):
    product = str(engine.snapshot.panel.products.index[0])
    error = fault(client.get("/forecast", params={"product_id": product + "x"}), 404)
    assert error["field"] == "product_id" and repr(product) in error["message"]
    assert fault(client.get("/forecast", params={"product_id": product, "horizon": 99}), 422)["field"] == "horizon"
    assert fault(client.get("/forecast", params={"product_id": product, "situation": "x"}), 422)["field"] == "situation"
    assert fault(client.get("/nothing"), 404) and fault(client.get("/events"), 405)


# ---------------------------------------------------------------- events and weeks


def test_events_count_once_and_a_conflict_stores_nothing(client, engine):
    one = client.post("/events", json=sale(engine)).json()
    assert one == {"new": 1, "repeated": 0, "late": 0}
    again = client.post("/events", json=[sale(engine), sale(engine, 1)]).json()
    assert again == {"new": 1, "repeated": 1, "late": 0}
    error = fault(client.post("/events", json=[sale(engine, 2), sale(engine, 1, quantity=9.0)]), 409)
    assert "s1" in error["message"]
    assert sum(engine.store.count().values()) == 2


def test_a_wrong_field_is_named_and_nothing_is_stored(client, engine):
    wrong = sale(engine, 1)
    del wrong["quantity"]
    error = fault(client.post("/events", json=[sale(engine), wrong]), 422)
    assert error["field"] == "events[1].quantity"
    assert fault(client.post("/events", json=sale(engine, timestamp="soon")), 422)["field"] == "timestamp"
    text = json.dumps(sale(engine)).replace("2.0", "NaN")
    headers = {"Content-Type": "application/json"}
    assert fault(client.post("/events", content=text, headers=headers), 422)["field"] == "body"
    for bad in (b"{", b"\xff\xfe", b"[" * 100_00, b"null", b"1e999", b'{"kind": "gift", "id": "x"}'):
        fault(client.post("/events", content=bad, headers=headers), 422)
    assert sum(engine.store.count().values()) == 0


def test_limits(client, engine):
    assert fault(client.post("/events", json=[sale(engine, i) for i in range(11)]), 413)["field"] == "events"
    body = json.dumps([sale(engine, i, id="x" * 3000) for i in range(9)]).encode()
    assert fault(client.post("/events", content=body, headers={"Content-Type": "application/json"}), 413)

    def in_parts():  # without a Content-Length
        yield from (body[i : i + 1000] for i in range(0, len(body), 1000))

    assert fault(client.post("/events", content=in_parts(), headers={"Content-Type": "application/json"}), 413)
    assert sum(engine.store.count().values()) == 0


def test_weeks_close_one_after_the_other(client, engine, monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "refresh", lambda: asked.append(1))
    last = engine.snapshot.panel.weeks[-1]
    following = [str((last + pd.Timedelta(weeks=k)).date()) for k in (1, 2)]
    assert fault(client.post(f"/weeks/{(last + pd.Timedelta(days=8)).date()}/close"), 422)["field"] == "monday"
    assert following[0] in fault(client.post(f"/weeks/{following[1]}/close"), 409)["message"]
    client.post("/events", json=[sale(engine, i) for i in range(3)])
    told = client.post(f"/weeks/{following[0]}/close").json()
    assert told == {"week": following[0], "newly_closed": True, "closed": [{"week": following[0], "sales": 3}]}
    told = client.post(f"/weeks/{following[0]}/close").json()
    assert told == {"week": following[0], "newly_closed": False, "closed": []}
    assert client.get("/health").json()["last_closed_week"] == following[0]
    assert len(asked) == 1
    fault(client.post("/weeks/2022-13-01/close"), 422)


def test_weeks_that_were_skipped_are_named_in_the_answer_and_in_the_log(client, engine, monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(engine, "refresh", lambda: asked.append(1))
    caplog.set_level("INFO", "shelfcast.service")
    last = engine.snapshot.panel.weeks[-1]
    first, second, third, *_, far = [str((last + pd.Timedelta(weeks=k)).date()) for k in range(1, 15)]
    client.post("/events", json=[sale(engine, i, timestamp=f"{second}T10:00:00") for i in range(2)])
    error = fault(client.post(f"/weeks/{third}/close"), 409)
    assert f"{first} to {second} would be skipped" in error["message"] and "with_earlier=true" in error["message"]
    assert "at most 13" in fault(client.post(f"/weeks/{far}/close?with_earlier=true"), 422)["message"]
    assert client.get("/health").json()["last_closed_week"] == str(last.date()) and not asked
    told = client.post(f"/weeks/{third}/close?with_earlier=true").json()
    sales = {first: 0, second: 2, third: 0}
    assert told["closed"] == [{"week": week, "sales": n} for week, n in sales.items()] and told["week"] == third
    levels = {record.getMessage(): record.levelname for record in caplog.records if "closed the week" in record.msg}
    assert levels == {
        f"closed the week of {first} with no sales": "WARNING",
        f"closed the week of {second} with 2 sales": "INFO",
        f"closed the week of {third} with no sales": "WARNING",
    }
    assert len(asked) == 1, "one computation for all"


def test_weeks_that_are_due_by_date_are_closed_together_and_named(engine, monkeypatch, caplog):
    monkeypatch.setattr(engine, "refresh", lambda: None)
    caplog.set_level("INFO", "shelfcast.service")
    last = engine.snapshot.panel.weeks[-1]
    weeks = [(last + pd.Timedelta(weeks=k)).date() for k in (1, 2)]
    assert close_due(engine, (last + pd.Timedelta(days=13)).date()) == 0, "the Sunday has not passed"
    assert close_due(engine, (last + pd.Timedelta(days=21)).date()) == 2
    assert engine.store.closed() == weeks[-1]
    assert f"2 weeks were due and were closed together: {weeks[0]}, {weeks[1]}" in caplog.text
    assert caplog.text.count("with no sales") == 2
    with pytest.raises(ValueError, match="14 weeks have passed"):
        close_due(engine, weeks[-1] + pd.Timedelta(weeks=15))


# ---------------------------------------------------------------- a store that cannot be written


def as_it_was(client, engine):
    """What a store that fails must leave: no event, nothing closed, no machine detail, and answers all the same."""
    error = fault(client.post("/events", json=[sale(engine, i) for i in range(3)]), 503)
    assert "Nothing was stored; send it again later" in error["message"] and "sqlite" not in error["message"]
    week = str((engine.snapshot.panel.weeks[-1] + pd.Timedelta(weeks=1)).date())
    assert fault(client.post(f"/weeks/{week}/close"), 503)
    product = {"product_id": str(engine.snapshot.panel.products.index[0])}
    assert client.get("/forecast", params=product).status_code == 200
    assert client.get("/health").json()["last_closed_week"] == str(engine.snapshot.panel.weeks[-1].date())
    assert sum(engine.store.count().values()) == 0
    assert 'shelfcast_events_total{outcome="new"}' not in client.get("/metrics").text


def works_again(client, engine):
    assert client.post("/events", json=[sale(engine, i) for i in range(3)]).json()["new"] == 3
    assert engine.store.count()["sale"] == 3


def test_a_locked_database_is_told_and_works_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE", 0.2)
    engine = engine_of(run, tmp_path)
    holder = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print(1, flush=True)"
    command = [sys.executable, "-c", holder + "; sys.stdin.read()", str(tmp_path / "events.sqlite")]
    with TestClient(app.make(engine, Service()), base_url=BASE) as client:
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert other.stdout.readline() == b"1\n"
            as_it_was(client, engine)
        finally:
            other.communicate()
        works_again(client, engine)


def test_a_full_disk_is_told_and_works_again(run, tmp_path):
    engine = engine_of(run, tmp_path)
    pages = []

    def limited(connection, _):
        if pages:
            connection.execute(f"PRAGMA max_page_count = {pages[0]}")

    sa.event.listen(engine.store._engine, "connect", limited)
    with TestClient(app.make(engine, Service(max_batch=10_000, max_body=10**7)), base_url=BASE) as client:
        with engine.store._engine.connect() as connection:
            pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar())
        engine.store._engine.dispose()  # connections from now on may not grow the file
        fault(client.post("/events", json=[sale(engine, i) for i in range(5000)]), 503)
        assert sum(engine.store.count().values()) == 0, "nothing is half stored"
        pages[0] = 10**6
        engine.store._engine.dispose()
        works_again(client, engine)


# ---------------------------------------------------------------- the background work


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_readers_do_not_wait_and_a_failure_keeps_the_old_forecasts(run, tmp_path):
    going, fail = threading.Event(), [True]

    def compute():
        assert going.wait(20)
        if fail[0]:
            raise RuntimeError("/secret/path")

    engine = engine_of(run, tmp_path, compute)
    product = {"product_id": str(engine.snapshot.panel.products.index[0])}
    with TestClient(app.make(engine, Service()), base_url=BASE) as client:
        before = client.get("/forecast", params=product).json()
        engine.refresh()
        until(lambda: client.get("/health").json()["status"] == "computing")
        assert client.get("/forecast", params=product).json() == before
        going.set()
        until(lambda: client.get("/health").json()["status"] == "failing")
        assert client.get("/forecast", params=product).json() == before
        assert "shelfcast_failing 1.0" in client.get("/metrics").text and "secret" not in client.get("/health").text
        fail[0] = False
        engine.refresh()
        until(lambda: client.get("/health").json()["status"] == "ok")


# ---------------------------------------------------------------- questions


def test_reasons_add_up(client, engine):
    product = str(engine.snapshot.panel.products.index[0])
    body = client.get("/explain", params={"product_id": product}).json()
    total = sum(reason["units"] for reason in body["reasons"])
    assert total == pytest.approx(body["forecast"] - body["usual"], rel=1e-4) and len(body["reasons"]) > 2


def test_what_if(client, engine):
    product = str(engine.snapshot.panel.products.index[0])
    week = str((engine.snapshot.panel.weeks[-1] + pd.Timedelta(weeks=1)).date())
    change = {"products": [product], "locations": ["chain"], "weeks": [week], "price_factor": 0.8}
    rows = client.post("/what-if", json={"changes": [change]}).json()["series"]
    own = next(row for row in rows if row["product_id"] == product and row["location"] == "chain")
    assert own["stated"] and own["low"] <= own["difference"] <= own["high"]
    assert own["difference"] == pytest.approx(own["other"] - own["present"], abs=1e-6)
    for wrong in ({"price_factor": 9}, {"weeks": ["2022-01-03"]}, {"products": ["none"]}, {"promotion": {"tv": 1}}):
        error = fault(client.post("/what-if", json={"changes": [change | wrong]}), 422)
        assert error["field"] == "changes" and error["message"].rstrip()


def test_many_questions_are_told_to_come_again(client, engine):
    questions = client.app.state.questions
    taken = [questions._places.acquire(blocking=False) for _ in range(4)]
    try:
        product = str(engine.snapshot.panel.products.index[0])
        response = client.get("/explain", params={"product_id": product})
        assert all(taken) and fault(response, 503)["code"] == "busy" and response.headers["Retry-After"]
    finally:
        for _ in taken:
            questions._places.release()


# ---------------------------------------------------------------- who may ask


def test_every_call_but_health_needs_the_token(engine):
    with TestClient(app.make(engine, Service(), "right"), base_url="http://shop.example") as client:
        assert client.get("/health").status_code == 200
        for path, own in client.get("/openapi.json", headers={"Authorization": "Bearer right"}).json()["paths"].items():
            for method in own:
                if path != "/health":
                    assert fault(client.request(method, path), 401)["code"] == "unauthorized", path
        for path in ("/openapi.json", "/docs", "/docs/start.js", "/docs/assets/swagger-ui.css"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers={"Authorization": "Bearer right"}).status_code == 200, path
        for wrong in ("Bearer wrong", "Bearer", "Basic right", "right", "Bearer righ", "Bearer right2"):
            assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 401, wrong
        assert client.get("/metrics", headers={"Authorization": "bearer right"}).status_code == 200


def test_without_a_token_this_machine_alone_is_answered(engine):
    with TestClient(app.make(engine, Service()), base_url="http://evil.example") as client:
        assert fault(client.get("/forecasts"), 400)["field"] == "host"
        for name in ("localhost:8877", "127.0.0.1", "[::1]:8877"):
            assert client.get("/health", headers={"Host": name}).status_code == 200, name
    with pytest.raises(ValueError, match=r"no token is set. Set SHELFCAST_TOKEN"):
        guard.check_address("0.0.0.0", None)
    with pytest.raises(ValueError, match="the token is empty"):
        guard.check_address("127.0.0.1", "")
    guard.check_address("0.0.0.0", "right")


# ---------------------------------------------------------------- the API's page and the machine's secrets


def test_every_example_works(client):
    paths, n = client.get("/openapi.json").json()["paths"], 0
    for path, methods in paths.items():
        for method, call in methods.items():
            given = {p["name"]: p["schema"].get("examples", p.get("examples", [None]))[0] for p in call.get("parameters", [])
                     if "examples" in p or "examples" in p["schema"]}  # fmt: skip
            query = {
                p["name"]: given[p["name"]]
                for p in call.get("parameters", [])
                if p["in"] == "query" and p["name"] in given
            }
            url = path.format(**given)
            content = call.get("requestBody", {}).get("content", {}).get("application/json", {})
            for body in [example["value"] for example in content.get("examples", {}).values()] or [None]:
                response = client.request(method, url, params=query, json=body)
                assert response.status_code == 200, (path, response.text)
                n += 1
    assert n >= 9


def test_an_error_inside_tells_nothing(run, tmp_path, monkeypatch):
    engine = engine_of(run, tmp_path)
    monkeypatch.setattr(engine.store, "closed", lambda: 1 / 0)
    application = app.make(engine, Service())
    monkeypatch.setattr(engine, "start", lambda: None)
    monkeypatch.setattr(engine, "stop", lambda: None)
    with TestClient(application, base_url=BASE, raise_server_exceptions=False) as client:
        response = client.get("/health")
        assert fault(response, 500)["message"] == "the service failed to answer. Its log says why."
        assert "division" not in response.text and "/" not in response.json()["error"]["message"]


def test_a_market_that_was_not_run_is_refused(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'events.sqlite'}"
    with pytest.raises(ValueError, match="no market 'tin'; the nearest name is 'tiny'"):
        Engine("tin", run, Store(url), url)
    weights = run / "build" / MARKET / "weights.json"
    text = weights.read_text()
    weights.unlink()
    try:
        with pytest.raises(
            ValueError, match=r"was not run: its folder lacks weights.json. Run `dvc repro evaluate@tiny`"
        ):
            Engine(MARKET, run, Store(url), url)
    finally:
        weights.write_text(text)


def test_places_are_named_as_a_person_would():
    assert place(("body", "many", 3, "sale", "quantity")) == "events[3].quantity"
    assert place(("body", "one", "price", "price")) == "price"
    assert place(("body", "many", 0, "promotion", "channels", "tv")) == "events[0].channels.tv"
    assert place(("query", "horizon")) == "horizon"
    assert place(("body", "changes", 0, "weeks", 1)) == "changes[0].weeks[1]"
    assert place(("body",)) == "body"


def test_refresh_writes_a_snapshot_that_a_new_engine_reads(run, tmp_path):
    url = f"sqlite:///{tmp_path / 'events.sqlite'}"
    with small_trees(20):
        made = refresh(run, MARKET, url)
    engine = engine_of(run, tmp_path)
    assert engine.snapshot.facts == made.facts and not engine.stale
    engine.store.add([])
    pd.testing.assert_frame_equal(engine.snapshot.frame, made.frame)
