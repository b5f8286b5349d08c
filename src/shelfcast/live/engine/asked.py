"""A market's models, ready to be asked: what moved a forecast, and what another plan would sell.

`questions` imports this when it is first needed: torch and captum take seconds to import, and forecasts need neither.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from shelfcast.model.forecast import load_models
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel
from shelfcast.why.explain.frames import Variant, different
from shelfcast.why.page.answer import Form
from shelfcast.why.page.reasons import Reasons
from shelfcast.why.whatif.changes import Change
from shelfcast.why.whatif.forecast import Ready, totals


class Asked:
    """The models of a trained variant and one panel, read once.

    Parameters
    ----------
    folder : build/<market>/models/<variant>/.
    """

    def __init__(self, folder: Path, panel: Panel):
        facts, models = json.loads((folder / "variant.json").read_text()), load_models(folder)
        self._ready = Ready.of(panel, models, facts)

        def variant() -> Variant:
            tokenizer = load_tokenizer(facts["backbone"])
            market = market_tensors(panel, tokenizer, facts["price_plan"], facts["scale"])
            return Variant(panel, market, different(models), tokenizer)

        self._reasons = Reasons(self._ready, variant)

    def explain(self, product_id: str, location: str) -> pd.DataFrame:
        """label, units, usual, forecast of each group of inputs, summed over the coming weeks."""
        return self._reasons.rows(Form(product_id, location, tuple(self._ready.plan.weeks)))

    def what_if(self, changes: list[Change]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The weekly frame of `what_if`, and its sums by series; a ValueError for what cannot be forecast."""
        frame = self._ready.ask(changes)
        return frame, totals(frame)
