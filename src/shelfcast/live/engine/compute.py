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
from shelfcast.live.engine import gaps
from shelfcast.live.engine.run import CURRENT, STORE, live_folder
from shelfcast.live.engine.snapshot import Facts, Snapshot
from shelfcast.live.engine.trained import Trained
from shelfcast.live.growth.grow import grow
from shelfcast.live.store.store import Store
from shelfcast.live.store.tables import write_tables
from shelfcast.panel.frame import Panel

TABLES, OWN, STATES = "tables", "own_tables", "states"
log = logging.getLogger("shelfcast.service")


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
            panel = current_panel(trained, store, Path(root), folder)
        states = folder / STATES if trained.settings.service.keep_state else None
        frame = trained.forecast(panel, panel.weeks[-1], states)
        missing = gaps.note(panel, last, closed or last.date())
        if missing:
            log.warning("%s", missing)
        facts = Facts.now(panel, trained.version, events, str(closed or last.date()), missing)
        snapshot = Snapshot(facts, frame, panel)
        snapshot.save(folder / CURRENT)
    return snapshot


def current_panel(trained: Trained, store: Store, root: Path, folder: Path) -> Panel:
    """The market's panel with the weeks that were closed since.

    Parameters
    ----------
    folder : build/<market>/live/, which receives the raw tables while they are read, and keeps the market's own.
    """
    line = trained.settings.market
    try:
        written = write_tables(store, folder / TABLES, line, root, folder / OWN)
        for sentence in written.left_out:
            log.info("%s", sentence)
        raw = tables.load("tables", folder / TABLES, line.category)
        return grow(trained.panel, raw, trained.settings.prepare)
    finally:
        shutil.rmtree(folder / TABLES, ignore_errors=True)


@contextmanager
def _alone(folder: Path):
    """Hold the market's lock, which ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    log.addHandler(logging.StreamHandler(sys.stdout))  # its lines stand in the service's own log
    log.setLevel(logging.INFO)
    try:
        refresh(sys.argv[1], sys.argv[2], os.environ[STORE])
    except ValueError as error:
        sys.exit(f"error: {error}")
