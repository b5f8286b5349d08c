"""What moved a forecast, and what another plan would sell: answers of the trained models, which take a second or so.

One question is answered at a time, a few may wait, and more are told to come again: so no reader of forecasts waits
for them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from shelfcast.live.engine.snapshot import Snapshot
from shelfcast.model.forecast import load_models
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.why.explain.frames import Variant, different
from shelfcast.why.page.answer import Form
from shelfcast.why.page.reasons import Reasons
from shelfcast.why.whatif.changes import Change
from shelfcast.why.whatif.forecast import Ready, totals

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
        with self._turn(snapshot):
            weeks = tuple(self._ready.plan.weeks)
            return self._reasons.rows(Form(product_id, location, weeks))

    def what_if(self, snapshot: Snapshot, changes: list[Change]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The weekly frame of `what_if`, and its sums by series.

        Raises
        ------
        ValueError : a change that cannot be forecast, in a sentence.
        """
        with self._turn(snapshot):
            frame = self._ready.ask(changes)
        return frame, totals(frame)

    @contextmanager
    def _turn(self, snapshot: Snapshot) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            with self._one:
                self._prepare(snapshot)
                yield
        finally:
            self._places.release()

    def _prepare(self, snapshot: Snapshot) -> None:
        """Read the models and the snapshot's panel once."""
        if self._of is snapshot:
            return
        own = self.folder / "models" / self.variant
        facts, models, panel = json.loads((own / "variant.json").read_text()), load_models(own), snapshot.panel
        self._ready = Ready.of(panel, models, facts)

        def variant() -> Variant:
            tokenizer = load_tokenizer(facts["backbone"])
            market = market_tensors(panel, tokenizer, facts["price_plan"], facts["scale"])
            return Variant(panel, market, different(models), tokenizer)

        self._reasons = Reasons(self._ready, variant)
        self._of = snapshot
