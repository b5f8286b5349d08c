"""The next forecasts, from the market's tables and all events of closed weeks; a process of its own.

    python -m shelfcast.live.engine.compute <root> <market>    # the store's URL stands in SHELFCAST_STORE

It writes build/<market>/live/current/ as a whole. One at a time: a lock file keeps a second one waiting.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from shelfcast.data import tables
from shelfcast.live.engine.run import CURRENT, STORE, live_folder
from shelfcast.live.engine.snapshot import Facts, Snapshot
from shelfcast.live.engine.trained import Trained
from shelfcast.live.growth.grow import grow
from shelfcast.live.store.store import Store
from shelfcast.live.store.tables import write_tables
from shelfcast.panel.frame import Panel

TABLES, STATES = "tables", "states"


def refresh(root: str | Path, market: str, url: str) -> Snapshot:
    """Compute, save and return the forecasts of all that the store holds.

    Raises
    ------
    ValueError : the market was not run, or the events make no panel; a sentence says why.
    """
    trained = Trained.load(root, market)
    folder = live_folder(trained.folder)
    store = Store(url)
    with _alone(folder):
        # counted before they are read: what comes in between is then seen as new, and computed again
        events, closed = store.count(), store.closed()
        panel, last = trained.panel, trained.panel.weeks[-1]
        if any(events.values()) or (closed is not None and closed > last.date()):
            panel = current_panel(trained, store, Path(root), folder / TABLES)
        states = folder / STATES if trained.settings.service.keep_state else None
        frame = trained.forecast(panel, panel.weeks[-1], states)
        facts = Facts.now(panel, trained.version, events, str(closed or last.date()))
        snapshot = Snapshot(facts, frame, panel)
        snapshot.save(folder / CURRENT)
    return snapshot


def current_panel(trained: Trained, store: Store, root: Path, folder: Path) -> Panel:
    """The market's panel with the weeks that were closed since; `folder` receives the raw tables, and is removed."""
    line = trained.settings.market
    try:
        write_tables(store, folder, line, root)
        raw = tables.load("tables", folder, line.category)
        return grow(trained.panel, raw, trained.settings.prepare)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(folder: Path):
    """Hold the market's lock, which ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    logger, handler = logging.getLogger("shelfcast.service"), logging.StreamHandler(sys.stdout)
    logger.addHandler(handler)  # one line each, which the service puts into its own log
    logger.setLevel(logging.INFO)
    try:
        refresh(sys.argv[1], sys.argv[2], os.environ[STORE])
    except ValueError as error:
        sys.exit(f"error: {error}")
