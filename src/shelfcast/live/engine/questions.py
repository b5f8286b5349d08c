"""What moved a forecast, and what another plan would sell: answers of the trained models, which take a second or so.

One question is answered at a time, a few may wait, and more are told to come again: so no reader of forecasts waits
for them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from shelfcast.live.engine.snapshot import Snapshot
from shelfcast.why.whatif.changes import Change

if TYPE_CHECKING:
    from shelfcast.live.engine.asked import Asked

WAITING = 4  # questions that may wait or be answered at once


class Busy(Exception):
    """More questions wait than are answered in reasonable time."""


class Questions:
    """Answers from a market's models, of a variant that was trained.

    Parameters
    ----------
    folder : build/<market>/.
    """

    def __init__(self, folder: Path, variant: str):
        self.folder, self.variant = folder, variant
        self._places, self._one = threading.BoundedSemaphore(WAITING), threading.Lock()
        self._of: Snapshot | None = None

    @classmethod
    def of(cls, folder: Path) -> Questions:
        """By the first trained variant, `shelfcast` before others."""
        names = sorted(path.parent.name for path in folder.glob("models/*/variant.json"))
        return cls(folder, "shelfcast" if "shelfcast" in names else names[0])

    def explain(self, snapshot: Snapshot, product_id: str, location: str) -> pd.DataFrame:
        """label, units, usual, forecast of each group of inputs, summed over the coming weeks."""
        with self._turn(snapshot) as asked:
            return asked.explain(product_id, location)

    def what_if(self, snapshot: Snapshot, changes: list[Change]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The weekly frame of `what_if`, and its sums by series.

        Raises
        ------
        ValueError : a change that cannot be forecast, in a sentence.
        """
        with self._turn(snapshot) as asked:
            return asked.what_if(changes)

    @staticmethod
    def warm() -> None:
        """Import what answers need, so that the first question does not wait for it."""
        from shelfcast.live.engine import asked  # noqa: F401  seconds, which a start need not wait for

    @contextmanager
    def _turn(self, snapshot: Snapshot) -> Iterator[Asked]:
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            with self._one:
                yield self._prepared(snapshot)
        finally:
            self._places.release()

    def _prepared(self, snapshot: Snapshot) -> Asked:
        """The models and the snapshot's panel, read once."""
        if self._of is not snapshot:
            from shelfcast.live.engine.asked import Asked  # see `warm`

            self._asked = Asked(self.folder / "models" / self.variant, snapshot.panel)
            self._of = snapshot
        return self._asked
