"""What products are forecast to sell in the coming weeks, as popularity that looks ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.data.schema import CHAIN
from shelfcast.judge.frame import add_level
from shelfcast.methods.ensemble import Weights, combine
from shelfcast.panel.frame import Panel

ENSEMBLE = "ensemble"


def expected_units(
    panel: Panel, validation: pd.DataFrame, forecasts: pd.DataFrame, weights: dict[str, Weights], situation: str
) -> dict[pd.Timestamp, np.ndarray]:
    """Units that the ensemble forecasts for all weeks of the horizon together, from each cutoff.

    Parameters
    ----------
    validation : forecasts of the ensemble's members from validation cutoffs, by fits of earlier weeks alone.
    forecasts : of the ensemble, from test cutoffs and the latest one. weights : situation -> the ensemble's weights.
    situation : 'plan_known' or 'no_plan'.

    Returns
    -------
    cutoff -> (L, P), of the panel's locations and products; 0 where there is no forecast.

    Raises
    ------
    ValueError : there is no forecast in this situation.
    """
    past = validation[validation["situation"] == situation]
    coming = forecasts[(forecasts["situation"] == situation) & (forecasts["method"] == ENSEMBLE)]
    if past.empty or coming.empty or situation not in weights:
        raise ValueError(
            f"there are no forecasts of the ensemble in the situation {situation!r}. Run notebook 4_evaluate first."
        )
    frame = pd.concat([combine(add_level(past), weights[situation]), coming], ignore_index=True)
    sums = frame.groupby(["cutoff", "unique_id"])["mean"].sum()
    series = [f"{product}|{location}" for location in panel.locations.index for product in panel.products.index]
    shape = (len(panel.locations), len(panel.products))
    return {
        cutoff: own.droplevel("cutoff").reindex(series, fill_value=0.0).to_numpy().reshape(shape)
        for cutoff, own in sums.groupby(level="cutoff")
    }


def relative_error(panel: Panel, expected: dict[pd.Timestamp, np.ndarray]) -> float:
    """How far products' sales in the whole chain were from their forecasts at validation cutoffs, relative to these.

    The root of the sum of squared errors over that of squared forecasts, so that large products count as they sell.
    Seasons and promotions that nobody foresees move all shoppers at once.

    Worked example: forecasts of 10 and 20 where 13 and 16 are sold: sqrt((9 + 16) / (100 + 400)) = 0.22.
    """
    chain = panel.frame[panel.frame["location"] == CHAIN]
    sold = chain.pivot(index="ds", columns="product_id", values="y").reindex(columns=panel.products.index)
    errors, forecasts = 0.0, 0.0
    for cutoff in panel.cutoffs["validation"]:
        weeks = panel.coming(cutoff)
        units = sold.reindex(weeks).sum().to_numpy()
        errors += ((units - expected[cutoff][0]) ** 2).sum()
        forecasts += (expected[cutoff][0] ** 2).sum()
    return float(np.sqrt(errors / max(forecasts, 1e-9)))
