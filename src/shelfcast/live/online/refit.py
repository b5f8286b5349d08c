"""Full refit: the model trained again, by the steps that its training chose, with the labels that have come since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from shelfcast.model.salesbert import SalesBert
from shelfcast.training.fit import products_a_step
from shelfcast.training.parallel import in_parallel
from shelfcast.training.phase import Phase
from shelfcast.training.setup import Setup
from shelfcast.training.trainer import label_weeks

Refit = Callable[[pd.Timestamp], list[SalesBert]]


def chosen_steps(history: pd.DataFrame) -> int:
    """The number of steps that the first phase of training chose; `history` as `training.fit` writes it.

    Raises
    ------
    ValueError : no step is marked as best.
    """
    chosen = history[(history["phase"] == "select") & history["best"].astype(bool)]
    if chosen.empty:
        raise ValueError("history.csv marks no best step, so a refit has no number of steps. Train the variant again.")
    return int(chosen["step"].iloc[0])


def refit_by(setup: Setup, seeds: list[int], n_steps: int) -> Refit:
    """A function of a week: models trained from their start on labels up to the end of that week.

    As many steps more are taken as there are cutoffs more, as in `training.fit`.
    """
    train = setup.splits[0]
    learned = train.weeks_index[label_weeks(train.tensors["labels"]).numpy()]
    batch = products_a_step(setup.training, train)

    def refit(week: pd.Timestamp) -> list[SalesBert]:
        weeks = setup.market.weeks_index
        cutoffs = list(weeks[(weeks >= learned[0]) & (weeks < week)])
        labels = setup.market.split(cutoffs, week)
        n_refit = round(n_steps * len(cutoffs) / len(learned))
        phase = Phase("refit", setup.make_model, labels, None, setup.training, batch, n_refit)
        with TemporaryDirectory() as work:
            runs = {seed: Path(work) / f"seed_{seed}" for seed in seeds}
            return [model.eval() for model, _ in in_parallel(phase.run, runs, "refit", setup.training.processes)]

    return refit
