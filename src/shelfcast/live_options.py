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
