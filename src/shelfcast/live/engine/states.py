"""Forecasts of a market's models by what they keep of the weeks that they have read (`live.state`).

A week that was closed lately costs one token. Where nothing is kept, or what is kept belongs to other models, another
panel or other settings, all weeks are read, which gives the same forecasts; the log says which it was, and why.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError

from shelfcast.live.state import files
from shelfcast.live.state.market_state import Appended, MarketState
from shelfcast.model.forecast import in_situations
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

log = logging.getLogger("shelfcast.service")


def forecast_by_state(
    path: Path, models: Sequence[SalesBert], market: MarketTensors, made_of: Mapping[str, Any]
) -> pd.DataFrame:
    """The forecast frame from the market's last week in both situations, as `model.forecast.in_situations` gives it.

    Parameters
    ----------
    path : of the kept state, which is read where it belongs to these models, and written with what was read now.
    made_of : what else forecasts depend on; see `live.state.files.save`.
    """
    state = _kept(path, models, market, made_of)
    if state is None:
        try:
            state = MarketState(models, market)
        except ValueError as error:
            log.info("%s: all weeks are read at each close: %s", path.stem, error)
            return in_situations(list(models), market, [market.weeks_index[-1]])
        log.info("%s: read all %d weeks", path.stem, len(market.weeks_index))
        appended = None
    else:
        appended = state.append(market)
        log.info("%s: %s", path.stem, _words(appended))
    frame = state.forecast(market)
    if appended is None or appended.new_weeks or appended.changed_products or appended.rebuilt:
        _keep(state, path, made_of)
    return frame


def _kept(
    path: Path, models: Sequence[SalesBert], market: MarketTensors, made_of: Mapping[str, Any]
) -> MarketState | None:
    """The state on the disk; None where there is none that can be used, which the log explains."""
    if not path.exists():
        return None
    try:
        return files.load(path, models, market, made_of)
    except ValueError as error:
        log.info("%s: what was kept is not used: %s", path.stem, str(error).replace(str(path), path.name))
        return None


def _keep(state: MarketState, path: Path, made_of: Mapping[str, Any]) -> None:
    """Write the state; a disk that is full costs the next week its speed, and no forecast."""
    try:
        files.save(state, path, made_of)
    except (OSError, SafetensorError) as error:
        log.warning("%s: what was read could not be kept (%s); the next week reads all again", path.stem, error)


def _words(appended: Appended) -> str:
    """What was read, for the log."""
    if appended.rebuilt:
        return "texts or static columns changed: read all weeks again"
    text = f"read {appended.new_weeks} new week(s)"
    if appended.changed_products:
        text += f", and {appended.changed_products} product(s) again from the week of {appended.changed_from.date()}"
    return text
