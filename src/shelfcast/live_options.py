"""Options of keeping up: how forecasts follow the weeks that arrive (notebook 6)."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from shelfcast.validate import STRICT, param

Way = Literal["frozen", "level", "online", "refit"]


@dataclass(frozen=True, config=STRICT)
class Stream:
    """Test weeks that arrive one by one: see `shelfcast.live.online` and docs/live_online.md."""

    ways: list[Way] = param(["frozen", "level", "online"], "ways of keeping up that are compared; refit takes minutes")
    steps: int = param(10, "of online learning in a week", ge=1)
    learning_rate: float = param(0.0003, "of online learning", gt=0)
    recent_weeks: int = param(4, "target weeks that count as new; half of a step's labels are theirs", ge=1)
    check_weeks: int = param(1, "latest target weeks that an update does not learn from, and is checked on", ge=1)
    batch_products: int = param(32, "products in a step of online learning", ge=1)
    refit_every: int = param(4, "weeks from one full refit to the next", ge=1)
    seed: int = param(0, "of online learning and the bootstrap")


@dataclass(frozen=True, config=STRICT)
class Service:
    """The service of a market (`make serve`): see `shelfcast.live.service` and docs/live_service.md."""

    host: str = param("127.0.0.1", "address to listen at; any but this machine's own needs a token")
    port: int = param(8877, "port to listen at", ge=0, le=65535)
    token_env: str = param("SHELFCAST_TOKEN", "environment's variable that holds the token; unset for none")
    store: str = param("", "URL of the events' store, postgresql+psycopg://…; empty for a file in build/<market>/live/")
    store_env: str = param("SHELFCAST_STORE_URL", "environment's variable that holds the URL, before `store`")
    max_body: int = param(4_000_000, "bytes of a request at most", ge=1000)
    max_batch: int = param(5000, "events of a request at most", ge=1)
    close_by_date: bool = param(False, "close a week as soon as its Sunday has passed, instead of by a call")
    keep_state: bool = param(
        True, "keep what models made of weeks that they read, so that a week costs little; takes disk"
    )
