"""What moved the forecast that the page shows, under the plan that was asked: exact Shapley values as a picture.

The past is read once a product, for each set of the groups that it is read with; another plan only runs the models'
heads again (`explain.value`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from shelfcast.data.labels import product_label
from shelfcast.report.reasons import choice, pictures
from shelfcast.report.theme import show
from shelfcast.why.explain.frames import Variant
from shelfcast.why.explain.groups import PLAN, groups_of
from shelfcast.why.explain.shapley import shapley
from shelfcast.why.explain.usual import Inputs, read_inputs
from shelfcast.why.explain.value import EncodedSets, encoded_sets, units_of_sets
from shelfcast.why.page.answer import Answer, Form, changes_of
from shelfcast.why.whatif.forecast import Ready

KEPT = 8  # products whose past stays read
SIZE = (4.6, 3.4)  # inches


class Reasons:
    """Contributions for the page's form, from a market's models.

    Parameters
    ----------
    load : returns the trained variant; called with the first question, since it takes seconds.
    """

    def __init__(self, ready: Ready, load: Callable[[], Variant]):
        self.ready, self._load = ready, load
        self._read: dict[str, tuple[Inputs, list[EncodedSets]]] = {}

    @cached_property
    def variant(self) -> Variant:
        return self._load()

    @cached_property
    def groups(self) -> list:
        return groups_of(self.variant.market)

    def rows(self, form: Form) -> pd.DataFrame:
        """Label, units, usual and forecast of each group: of the form's plan, summed over its weeks.

        Raises
        ------
        ValueError : as `answer.answer`.
        """
        inputs, encoded = self._past(form.product)
        row = self.ready.plan.products.get_indexer([form.product])
        plan = self.ready.plan_tensor(self.ready.plan.changed(changes_of(form)), row)[:, :, 0]
        inputs = replace(inputs, actual=inputs.actual | {PLAN: plan})
        units = units_of_sets(self.variant.models, encoded, inputs, self.groups)
        weeks = self.ready.plan.weeks.get_indexer(form.weeks)
        units = units[:, 0, self.ready.plan.locations.index(form.location)][:, weeks].sum(-1)  # 2^G
        labels = [group.label for group in self.groups]
        return pd.DataFrame({"label": labels, "units": shapley(units), "usual": units[0], "forecast": units[-1]})

    def __call__(self, form: Form, said: Answer) -> str:
        """HTML: the bars from the usual forecast to this one, and what they are."""
        rows = choice.bars(self.rows(form))
        name = product_label(self.ready.panel.products.loc[form.product])
        figure = pictures.contributions(rows, pictures.headline(rows, name), SIZE)
        note = "What the models read out of their inputs under this plan, by exact Shapley values; see the report."
        return show(figure, caption=note).data

    def _past(self, product: str) -> tuple[Inputs, list[EncodedSets]]:
        if product not in self._read:
            while len(self._read) >= KEPT:
                self._read.pop(next(iter(self._read)))
            at = [int(np.flatnonzero(np.array(self.variant.market.products) == product)[0])]
            inputs = read_inputs(self.variant.market, at, self.ready.cutoff)
            encoded = [encoded_sets(model, inputs, self.groups) for model in self.variant.models]
            self._read[product] = inputs, encoded
        return self._read[product]
