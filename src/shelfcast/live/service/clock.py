"""Weeks that close by their date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import date

from shelfcast.live.engine.engine import Engine
from shelfcast.live.service.errors import Refused
from shelfcast.live.service.routes import MOST_WEEKS, WEEK, close_week

EVERY = 60.0  # seconds
log = logging.getLogger("shelfcast.service")


def close_by_date(engine: Engine, stop: threading.Event, today: Callable[[], date] = date.today) -> None:
    """Close each week once its Sunday has passed, until `stop` is set."""
    while not stop.is_set():
        try:
            close_due(engine, today())
        except (Refused, ValueError) as error:
            log.error("weeks could not be closed by date: %s", error)
        stop.wait(EVERY)


def close_due(engine: Engine, today: date) -> int:
    """Close all weeks that have passed, and return their number.

    Raises
    ------
    ValueError : so many weeks are due that the data are hardly those of today.
    """
    due = (today - engine.store.closed()).days // 7 - 1
    if due > MOST_WEEKS:
        raise ValueError(
            f"{due} weeks have passed since the last closed one, more than {MOST_WEEKS}. "
            "Close them by POST /weeks/{monday}/close, or set service.close_by_date to false."
        )
    if due < 1:
        return 0
    closed = close_week(engine, engine.store.closed() + due * WEEK, with_earlier=True)
    if len(closed) > 1:
        log.warning("%d weeks were due and were closed together: %s", len(closed), ", ".join(map(str, closed)))
    return len(closed)
