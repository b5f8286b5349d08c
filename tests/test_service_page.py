"""The API's page loads nothing from elsewhere, shows every call, and its calls can be tried."""

import re
import socket
import threading
import time
from typing import Annotated

import pytest
import uvicorn
from browser import CHROMIUM, PATIENCE, chromium
from fastapi import FastAPI, Query
from starlette.testclient import TestClient

from shelfcast.live.service.described import page


@pytest.fixture()
def app():
    """An application with the page and two calls of its own."""
    app = FastAPI(title="shelfcast: tiny", docs_url=None, redoc_url=None)
    page.install(app)

    @app.get("/forecast", summary="The forecast of one product")
    def forecast(product_id: Annotated[str, Query(examples=["p 07"])], horizon: int | None = None) -> dict[str, str]:
        return {"answered": product_id}

    @app.post("/events", summary="Store sales")
    def events(body: list[dict[str, float]]) -> int:
        return len(body)

    return app


def test_everything_that_the_page_names_is_there_and_nothing_is_elsewhere(app):
    client = TestClient(app)
    answer = client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(named) >= 5 and all(path.startswith("/") and not path.startswith("//") for path in named)
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    for path in named:
        assert client.get(path).status_code == 200, path
    assert client.get("/docs/assets/../../etc/passwd").status_code == 404
    assert not {"/docs", "/docs/start.js"} & set(client.get("/openapi.json").json()["paths"])


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium: install Debian's chromium")
def test_the_page_shows_every_call_and_one_can_be_tried(app):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    try:
        with chromium() as browser:
            shown, heard = browser.new_page(), []
            shown.set_default_timeout(PATIENCE)
            shown.on("request", lambda request: heard.append(request.url))
            shown.on("pageerror", lambda error: heard.append(f"error: {error}"))
            shown.on("console", lambda said: heard.append(f"error: {said.text}") if said.type == "error" else None)
            shown.goto(f"http://127.0.0.1:{port}/docs")
            shown.wait_for_selector(".opblock")
            paths = [text.replace("\u200b", "") for text in shown.locator(".opblock-summary-path").all_inner_texts()]
            assert sorted(paths) == ["/events", "/forecast"]
            shown.click(".opblock-get .opblock-summary-control")
            assert shown.input_value(".opblock-get input[placeholder=product_id]") == "p 07", "filled by the example"
            shown.click(".opblock-get .execute")
            shown.wait_for_selector(".opblock-get .live-responses-table")
            assert '"answered": "p 07"' in shown.inner_text(".opblock-get .live-responses-table").replace("\n", " ")
            local = (f"http://127.0.0.1:{port}/", "data:", "blob:")
            assert [text for text in heard if not text.startswith(local)] == []
    finally:
        server.should_exit = True
        thread.join(30)
