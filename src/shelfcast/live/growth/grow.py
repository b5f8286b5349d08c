"""Grow a trained market's panel by the weeks that came later, without choosing anything anew.

A panel counts its test and validation weeks from the end. With as many test weeks more as weeks came later, everything
that is chosen (products, regions, scales) sees the same training weeks, and is the same.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from shelfcast.data import weekly
from shelfcast.data.tables import Tables
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.panel.axes.weeks import find_weeks
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.settings import Prepare

ENDS = ("first_week", "train_end", "validation_end")


def grow(trained: Panel, tables: Tables, prepare: Prepare) -> Panel:
    """The market's panel of tables that hold later rows.

    Late rows move the weeks to which they belong. What a zero-shot model forecast from weeks whose past is the same is
    kept; pictures are those of the training.

    Parameters
    ----------
    trained : the panel that the market's models were trained on. tables : the same market's, with what came since.
    prepare : the settings that `trained` was built with.

    Raises
    ------
    ValueError : the tables end before the panel, or rows of training weeks changed what is chosen by them: products,
        regions, or columns that a model reads.
    """
    index = find_weeks(weekly.trading_days(tables), prepare).index
    later = round((index[-1] - pd.Timestamp(trained.meta["last_week"])) / pd.Timedelta(weeks=1))
    if later < 0:
        raise ValueError(
            f"the tables end with the week of {index[-1].date()}, and the market was trained on weeks up to "
            f"{trained.meta['last_week']}. Give all of its tables, with the later rows."
        )
    kept = {name: trained.meta[name] for name in ("market", "source", "category", "data_md5") if name in trained.meta}
    panel = build(tables, replace(prepare, test_weeks=prepare.test_weeks + later), kept)
    panel = _as_trained(panel, trained)
    return with_outlook(panel, trained) if prepare.outlook else panel


def _as_trained(panel: Panel, trained: Panel) -> Panel:
    """The panel with the trained one's columns, pictures and products' texts; an error where its axes are others."""
    for what, ours, theirs in (
        ("weeks of training", [panel.meta[end] for end in ENDS], [trained.meta[end] for end in ENDS]),
        ("products", list(panel.products.index), list(trained.products.index)),
        ("regions", list(panel.locations.index), list(trained.locations.index)),
        ("regions' numbers of stores", list(panel.locations["stores"]), list(trained.locations["stores"])),
        ("columns", _columns(panel, trained), _columns(trained, trained)),
    ):
        if ours != theirs:
            raise ValueError(
                f"the tables' rows of the training weeks, up to {trained.meta['validation_end']}, are no longer those that "
                f"the market was trained on: its {what} would be others. Run the pipeline again (`dvc repro`) on the "
                "tables as they are now."
            )
    roles = {role: list(columns) for role, columns in trained.roles.items()}
    # a history that grew beyond a year, or a new channel, brings columns; trees read all that are there
    frame = panel.frame[[name for name in trained.frame if name in panel.frame]]
    return replace(
        panel,
        frame=frame,
        pictures=trained.pictures,
        roles=roles,
        in_units=trained.in_units,
        planned=trained.planned,
        meanings=trained.meanings,
    )


def _columns(panel: Panel, trained: Panel) -> list[tuple[str, str]]:
    """(role, column) of what the models read; columns that they do not know are no concern of theirs."""
    wanted = {(role, column) for role, columns in trained.roles.items() for column in columns}
    return sorted(
        (role, column) for role, columns in panel.roles.items() for column in columns if (role, column) in wanted
    )
