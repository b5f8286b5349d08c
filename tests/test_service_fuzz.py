"""Every call of the service with generated requests, right ones and wrong ones: no 500, and errors of one shape."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from live_market import MARKET, make_run

from shelfcast.live.engine.engine import Engine
from shelfcast.live.service import app
from shelfcast.live.store.store import Store
from shelfcast.live_options import Service

QUICK = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory, tiny_bert):
    root = tmp_path_factory.mktemp("fuzz")
    make_run(root, tiny_bert)
    url = f"sqlite:///{root / 'events.sqlite'}"
    engine = Engine(MARKET, root, Store(url), url, lambda: None)
    return schemathesis.openapi.from_asgi("/openapi.json", app.make(engine, Service(max_body=20_000, max_batch=10)))


schema = schemathesis.pytest.from_fixture("calls")


@schema.parametrize()
@QUICK
def test_no_call_fails(case):
    response = case.call()
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and case.method != "HEAD":
        body = response.json()
        assert set(body) == {"error"} and body["error"]["message"] and "Traceback" not in response.text
    elif case.path != "/metrics":
        assert isinstance(response.json(), dict)
