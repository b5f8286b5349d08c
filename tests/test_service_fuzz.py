"""Every call of the service with generated requests, right ones and wrong ones: no 500, and errors of one shape."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from live_market import MARKET, make_run
from schemathesis import GenerationMode

from shelfcast.live.engine.engine import Engine
from shelfcast.live.service import app
from shelfcast.live.store.store import Store
from shelfcast.live_options import Service

TOKEN = "right"  # tests call by a name of their own, which is refused where there is no token
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
QUICK = settings(
    max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory, tiny_bert):
    root = tmp_path_factory.mktemp("fuzz")
    make_run(root, tiny_bert)
    url = f"sqlite:///{root / 'events.sqlite'}"
    engine = Engine(MARKET, root, Store(url), url, lambda: None)
    application = app.make(engine, Service(max_body=20_000, max_batch=10), TOKEN)
    return schemathesis.openapi.from_asgi("/openapi.json", application, headers=HEADERS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name)
def test_no_call_fails(calls, mode):
    operations = [result.ok() for result in calls.get_all_operations()]
    assert len(operations) >= 8
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.path in ("/health", "/metrics"):
            continue  # they read nothing that could be wrong

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            check_answer(case, case.call(headers=HEADERS))

        check()


def check_answer(case, response):
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and case.method != "HEAD":
        body = response.json()
        assert set(body) == {"error"} and body["error"]["message"] and "Traceback" not in response.text
    elif case.path != "/metrics":
        assert isinstance(response.json(), dict)
