"""The service as a process of its own: killed under load, started again, fuzzed, and compared with a batch run."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pandas as pd
import postgres
import pytest
from live_market import MARKET, PREPARE, make_run
from projects import ROOT
from small_retailer import small_trees

from shelfcast import settings
from shelfcast.data import tables
from shelfcast.judge.distribution import QUANTILE_COLUMNS
from shelfcast.live.engine.compute import CURRENT
from shelfcast.live.engine.trained import Trained
from shelfcast.live.store.store import Store
from shelfcast.live.store.tables import write_tables
from shelfcast.panel.build import build
from shelfcast.settings import Prepare

UNITS = 400  # sales of the week that is sent
BATCH = 20
STORES = [f"s{i}" for i in range(8)]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_bert):
    root = tmp_path_factory.mktemp("process")
    make_run(root, tiny_bert)
    with small_trees(20):
        Trained.load(root, MARKET)  # the trees are kept, so that a process has the same
    return root


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Running:
    """A service's process, and a client that calls it."""

    def __init__(self, root, url, **environment):
        self.port = free_port()
        path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
        env = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "SHELFCAST_STORE_URL": url, **environment}
        command = [
            sys.executable,
            "-m",
            "shelfcast.live.service",
            MARKET,
            "--root",
            str(root),
            "--port",
            str(self.port),
        ]
        self.log = open(root / f"service_{self.port}.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.until(lambda: self.client.get("/health").status_code == 200)

    def until(self, condition, seconds=900):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, "the service ended"
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError("it did not happen in time")

    def listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(60)
        while self.listens():  # where `process` is a warm client, which is killed a moment earlier
            time.sleep(0.01)
        self.client.close()
        self.log.close()
        return self.process.returncode


def sales_of(week: pd.Timestamp, seed: int = 0) -> list[dict]:
    """A week of sales in all stores on all days, as events; p02 to p07 and others as the small retailer sells them."""
    draw = np.random.default_rng(seed)
    hours = np.sort(draw.integers(0, 7 * 24, UNITS))
    events = []
    for i, hour in enumerate(hours):
        at = week + pd.Timedelta(hours=int(hour))
        event = {"kind": "sale", "id": f"{week.date()}-{i}", "timestamp": at.isoformat(), "quantity": 1.0}
        product, store = f"p{draw.integers(0, 8):02d}", STORES[draw.integers(0, 8)]
        event |= {"store_id": store, "product_id": product, "sales_value": 2.0, "discount": 0.0}
        events.append(event | {"customer_id": f"h{draw.integers(0, 60)}", "basket_id": f"b{week.date()}-{i}"})
    return events


def send_until_killed(running: Running, batches: list[list[dict]], acknowledged: list[str]) -> None:
    for batch in batches:
        try:
            response = running.client.post("/events", json=batch)
        except httpx.TransportError:
            return
        assert response.status_code == 200, response.text
        acknowledged += [event["id"] for event in batch]


def killed_under_load(root, url):
    """Send a week, kill the process in the middle, start it again, send all again, close the week, wait for forecasts."""
    week = pd.Timestamp(json.loads((root / f"build/{MARKET}/panel/panel.json").read_text())["meta"]["last_week"])
    week += pd.Timedelta(weeks=1)
    events, acknowledged = sales_of(week), []
    batches = [events[i : i + BATCH] for i in range(0, len(events), BATCH)]
    running = Running(root, url)
    sender = threading.Thread(target=send_until_killed, args=(running, batches, acknowledged))
    sender.start()
    while len(acknowledged) < 3 * BATCH:
        time.sleep(0.001)
    running.kill()
    sender.join(60)
    assert len(acknowledged) >= 3 * BATCH
    stored = Store(url).count()["sale"]
    assert stored % BATCH == 0 and len(acknowledged) <= stored <= len(acknowledged) + BATCH

    running = Running(root, url)
    answers = [running.client.post("/events", json=batch).json() for batch in batches]
    assert sum(answer["new"] for answer in answers) == len(events) - stored
    assert sum(answer["repeated"] for answer in answers) == stored
    assert Store(url).count()["sale"] == len(events), "every event once"
    assert running.client.post(f"/weeks/{week.date()}/close").json()["newly_closed"]
    running.until(lambda: running.client.get("/health").json()["cutoff"] == str(week.date()))
    return running, week


def served(running: Running) -> pd.DataFrame:
    """Mean and quantiles by unique_id and horizon, of all pages."""
    rows = []
    for series in running.client.get("/forecasts", params={"limit": 1000}).json()["series"]:
        name = f"{series['product_id']}|{series['location']}"
        rows += [(name, week["horizon"], week["mean"], *week["quantiles"].values()) for week in series["weeks"]]
    frame = pd.DataFrame(rows, columns=["unique_id", "horizon", "mean", *QUANTILE_COLUMNS])
    return frame.set_index(["unique_id", "horizon"]).sort_index()


def in_a_batch(root, url, folder) -> pd.DataFrame:
    """The same by a panel that is built at once of the store's raw tables, as the pipeline builds one."""
    line = settings.load(MARKET, path=root / "params.yaml").market
    write_tables(Store(url), folder, line, root)
    raw = tables.load("tables", folder, line.category)
    panel = build(raw, Prepare(**PREPARE | {"test_weeks": PREPARE["test_weeks"] + 1}))
    trained = Trained.load(root, MARKET)
    frame = trained.forecast(panel, panel.weeks[-1])
    frame = frame[frame["situation"] == panel.situation(panel.weeks[-1])]
    return frame.set_index(["unique_id", "horizon"])[["mean", *QUANTILE_COLUMNS]].sort_index()


def check_killed_under_load(root, url, folder):
    running, _ = killed_under_load(root, url)
    ours = served(running)
    assert running.kill(signal.SIGTERM) in (0, -signal.SIGTERM)
    theirs = in_a_batch(root, url, folder)
    assert list(ours.index) == list(theirs.index)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    again = Running(root, url)  # a restart answers with the same forecasts at once, without computing
    np.testing.assert_array_equal(served(again), ours)
    again.kill(signal.SIGTERM)


def test_killed_under_load_every_event_counts_once_and_forecasts_are_a_batch_runs(run, tmp_path):
    check_killed_under_load(run, f"sqlite:///{tmp_path / 'events.sqlite'}", tmp_path / "batch")


@pytest.mark.skipif(postgres.binaries() is None, reason="there is no PostgreSQL server: install Debian's postgresql")
def test_the_same_against_postgresql(run, tmp_path):
    shutil.rmtree(run / f"build/{MARKET}/live/{CURRENT}", ignore_errors=True)  # of another store's events
    with postgres.server() as url:
        check_killed_under_load(run, url, tmp_path / "batch")


def test_an_open_address_without_a_token_and_a_market_that_was_not_run_are_refused(run):
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    for arguments, words in (([MARKET, "--host", "0.0.0.0"], "no token is set"), (["tin"], "nearest name is 'tiny'")):
        command = [sys.executable, "-m", "shelfcast.live.service", *arguments, "--root", str(run)]
        env = os.environ | {"PYTHONPATH": path}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
