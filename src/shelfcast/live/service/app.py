"""The service of one market as an ASGI application."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shelfcast.live.engine.engine import Engine
from shelfcast.live.engine.questions import Questions
from shelfcast.live.service import errors, guard
from shelfcast.live.service.clock import close_by_date
from shelfcast.live.service.described import examples, page
from shelfcast.live.service.metrics import Measured, Metrics
from shelfcast.live.service.routes import routes
from shelfcast.live_options import Service

DESCRIPTION = """Events come in, weeks are closed, and forecasts move. Locations are the chain and its regions; weeks are named by
their Mondays; forecasts are units a week."""


def make(engine: Engine, options: Service, token: str | None = None) -> FastAPI:
    """The application; it starts and stops the engine's background work.

    Parameters
    ----------
    token : that every call but /health must bring; None for none.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        engine.start()
        threading.Thread(target=questions.warm, name="warm", daemon=True).start()
        if options.close_by_date:
            threading.Thread(target=close_by_date, args=(engine, stop), name="calendar", daemon=True).start()
        yield
        stop.set()
        engine.stop()

    app = FastAPI(
        title=f"shelfcast: {engine.market}",
        description=DESCRIPTION,
        version=engine.version[:10],
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from elsewhere; `page` does not
        redoc_url=None,
    )
    metrics, questions = Metrics(engine), Questions.of(engine.folder)
    app.state.questions = questions
    errors.install(app)
    page.install(app)
    app.include_router(routes(engine, questions, metrics, options, examples.of(engine.snapshot.panel)))
    app.add_middleware(guard.Limit, most=options.max_body)
    app.add_middleware(guard.Guard, token=token)
    app.add_middleware(Measured, metrics=metrics)  # the last one added is the first to see a request
    return app
