"""What a service knows of one market: its latest forecasts, and the background work that renews them.

Readers never wait: they read a snapshot that never changes, and a new one takes its place in one assignment. The work
is done by a process of its own (`compute`). Where it fails, the old forecasts stay, the failure is told, and it is tried
again after a while.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from shelfcast import settings
from shelfcast.live.engine.run import CURRENT, STORE, check_run, live_folder, version_of
from shelfcast.live.engine.snapshot import Snapshot
from shelfcast.live.store.store import Store

AGAIN = 60.0  # seconds after a failure until the next try
log = logging.getLogger("shelfcast.service")


@dataclass(frozen=True)
class Work:
    """State of the background work: runs that ended well and badly, and seconds of the last one."""

    computing: bool = False
    done: int = 0
    failed: int = 0
    failing: bool = False
    seconds: float = 0.0


class Engine:
    """A market's forecasts and store.

    Parameters
    ----------
    root : folder of the project, with params.yaml and build/.
    store : of events. url : its address, for the process that computes.
    compute : renews build/<market>/live/current/; by default a process of its own. It raises where it fails.

    Raises
    ------
    ValueError : the market was not run; a SettingsError where params.yaml does not know it.
    """

    def __init__(
        self, market: str, root: str | Path, store: Store, url: str, compute: Callable[[], object] | None = None
    ):
        self.market, self.root, self.store, self.url = market, Path(root), store, url
        options = settings.load(market, path=self.root / settings.PARAMS)
        self.folder = self.root / options.folder
        check_run(self.folder, options.evaluate.methods)
        self.version, self.work = version_of(self.folder), Work()
        self.weights: dict = json.loads((self.folder / "weights.json").read_text())
        last_week = json.loads((self.folder / "panel/panel.json").read_text())["meta"]["last_week"]
        store.close_week(date.fromisoformat(last_week))  # weeks that the run has seen: an event of them is late
        self.snapshot = self._latest()
        self._compute = compute or self._in_a_process
        self._wanted, self._stopped = threading.Event(), threading.Event()
        self._process: subprocess.Popen | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin the background work; compute at once where the store holds what the forecasts have not seen."""
        if self.stale:
            self._wanted.set()
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="refresh", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background work; a computation under way is broken off, and leaves nothing half written."""
        self._stopped.set()
        self._wanted.set()
        if self._process is not None:
            self._process.terminate()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def refresh(self) -> None:
        """Ask for new forecasts; returns at once. What is asked while one is computed is computed after it."""
        self._wanted.set()

    @property
    def stale(self) -> bool:
        """Whether a week was closed, or an event stored, since the forecasts were computed."""
        facts = self.snapshot.facts
        seen = {kind: n for kind, n in facts.events.items() if n}
        stored = {kind: n for kind, n in self.store.count().items() if n}
        return seen != stored or facts.closed != str(self.store.closed())

    def _latest(self) -> Snapshot:
        """The forecasts computed last, where they are of this very run; else those that the run delivered."""
        kept = Snapshot.load(live_folder(self.folder) / CURRENT)
        if kept is not None and kept.facts.version == self.version:
            return kept
        return Snapshot.of_run(self.folder, self.version)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait(AGAIN if self.work.failing else None)
            if self._stopped.is_set():
                return
            self._wanted.clear()
            self._once()

    def _once(self) -> None:
        began, self.work = time.perf_counter(), replace(self.work, computing=True)
        try:
            self._compute()
            self.snapshot = self._latest()
        except Exception:
            if not self._stopped.is_set():
                log.exception("new forecasts of %s could not be computed; the old ones stay", self.market)
            self.work = replace(self.work, computing=False, failed=self.work.failed + 1, failing=True)
            return
        seconds = time.perf_counter() - began
        self.work = replace(self.work, computing=False, done=self.work.done + 1, failing=False, seconds=seconds)
        log.info("forecasts of %s from the week of %s, in %.0f s", self.market, self.snapshot.facts.cutoff, seconds)

    def _in_a_process(self) -> None:
        command = [sys.executable, "-m", "shelfcast.live.engine.compute", str(self.root), self.market]
        environment = os.environ | {STORE: self.url, "SHELFCAST_PIPELINE": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        told, errors = self._process.communicate()
        for line in told.decode(errors="replace").splitlines():
            log.info("%s: %s", self.market, line)
        if self._process.returncode:
            raise RuntimeError(errors.decode(errors="replace")[-4000:])
