"""Serve a market: python -m shelfcast.live.service <market> [--port 8877] [--root .]"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvicorn

from shelfcast import settings
from shelfcast.live.engine.engine import Engine
from shelfcast.live.engine.run import live_folder
from shelfcast.live.service import app, guard
from shelfcast.live.store.store import Store
from shelfcast.live_options import Service

GRACE = 10  # seconds that requests under way have after SIGTERM


def store_url(options: Service, folder: Path) -> str:
    """URL of the events' store: of the environment, of params.yaml, or a file of the market's."""
    given = os.environ.get(options.store_env) or options.store
    return given or f"sqlite:///{(live_folder(folder) / 'events.sqlite').absolute()}"


def serve(market: str, root: Path, host: str | None, port: int | None) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    ValueError : the market was not run, an address without a token, or another value that does not fit.
    """
    options = settings.load(market, path=root / settings.PARAMS)
    service, folder = options.service, root / options.folder
    host, port = host or service.host, service.port if port is None else port
    token = os.environ.get(service.token_env)
    guard.check_address(host, token)
    live_folder(folder).mkdir(parents=True, exist_ok=True)
    url = store_url(service, folder)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it: one core answers while another explains
    engine = Engine(market, root.absolute(), Store(url), url)
    application = app.make(engine, service, token)
    print(f"{market}: http://{host}:{port}/health; what can be asked stands at /docs")
    sys.stdout.flush()
    uvicorn.run(
        application, host=host, port=port, log_level="warning", timeout_graceful_shutdown=GRACE, server_header=False
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m shelfcast.live.service", description=__doc__)
    parser.add_argument("market", help="a line under markets in params.yaml that was run")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the project")
    parser.add_argument("--host", help="address to listen at, in place of service.host")
    parser.add_argument("--port", type=int, help="port to listen at, in place of service.port")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(given.market, given.root, given.host, given.port)
    except ValueError as error:
        sys.exit(f"error: nothing is served\n{error}")


if __name__ == "__main__":
    main()
