"""A panel's columns as arrays, scaled by the training weeks: what `tensors` puts together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from shelfcast.judge.distribution import sales_unit
from shelfcast.panel.frame import LEVEL_FLOOR, PLAN_KNOWN, Panel

CONSTANT = 1e-6  # standard deviation below which a column is constant
OUTLOOK = "outlook"  # the column of `panel.outlook`
PLACES = ["place: whole chain", "place: log share of units", "place: share of stores"]  # of models `by_meaning`
CLIP = 5.0  # standard deviations; an unseen extreme must not leave the range the model was trained on


class Columns:
    """The panel's columns as arrays (P, L, T + horizon), scaled."""

    def __init__(self, panel: Panel, scale: dict[str, list[float]] | None):
        weeks = panel.window
        ahead = weeks.append(panel.coming(weeks[-1]))
        products, locations = list(panel.products.index), list(panel.locations.index)
        self.shape = (len(products), len(locations), len(ahead))
        index = pd.MultiIndex.from_product([products, locations, ahead])
        self.frame = panel.frame.set_index(["product_id", "location", "ds"]).reindex(index)
        self.n_train = int((weeks <= pd.Timestamp(panel.meta["train_end"])).sum())
        self.in_units, self.given_scale = set(panel.in_units), scale or {}
        self.unit, self.planned = sales_unit(panel.meta), set(panel.planned)
        self.size = self.unit or 1.0
        self.scale: dict[str, list[float]] = {}
        self.level = self.raw("level")

    def raw(self, name: str) -> np.ndarray:
        return self.frame[name].to_numpy(float).reshape(self.shape)

    def scaled(self, names: list[str]) -> np.ndarray:
        """(P, L, T + horizon, F), standardised by the training weeks or by the given scale, and clipped."""
        return np.stack([self._scaled(name) for name in names], -1)

    def _scaled(self, name: str) -> np.ndarray:
        x = self.raw(name)
        if name == "level":
            x = np.log(x)
        elif name in self.in_units:
            floor = LEVEL_FLOOR * self.size
            x = np.log((x + floor) / (self.level + floor))
        return self._standardised(name, x)

    def _standardised(self, name: str, x: np.ndarray) -> np.ndarray:
        """x (P, L, T, …) in standard deviations from the mean of the training weeks, 0 where it is NaN."""
        mean, deviation = self.scale[name] = self._moments(name, x[:, :, : self.n_train])
        x = np.where(np.isnan(x), mean, x)
        return np.clip((x - mean) / deviation if deviation > CONSTANT else np.zeros_like(x), -CLIP, CLIP)

    def outlook(self, panel: Panel) -> np.ndarray:
        """(P, L, T, H): logs of `panel.outlook` relative to the chain's level at the cutoff, the same at all locations."""
        weeks, horizon = panel.window, panel.meta["horizon"]
        index = pd.MultiIndex.from_product([panel.products.index, weeks, range(1, horizon + 1)])
        units = panel.outlook.set_index(["product_id", "cutoff", "horizon"])["units"].reindex(index)
        units = units.to_numpy(float).reshape(len(panel.products), len(weeks), horizon)
        floor = LEVEL_FLOOR * self.size
        x = np.log((units + floor) / (self.level[:, 0, : len(weeks), None] + floor))[:, None]
        return np.broadcast_to(self._standardised(OUTLOOK, x), (len(x), self.shape[1], *x.shape[2:]))

    def _moments(self, name: str, train: np.ndarray) -> list[float]:
        """Mean and standard deviation of a column; 1 and 1 of those that are 1 where the plan is known."""
        if name in self.given_scale:
            return self.given_scale[name]
        if name in PLAN_KNOWN:
            return [1.0, 1.0]
        given = train[~np.isnan(train)]
        return [float(given.mean()), float(given.std())] if len(given) else [0.0, 0.0]


def places(panel: Panel) -> np.ndarray:
    """(L, F): the columns `PLACES`, which say of a location what its position among others says within one market."""
    locations = panel.locations
    share = np.log(locations["share"].to_numpy(float).clip(1e-4))
    stores = locations["stores"].to_numpy(float)
    return np.stack([np.arange(len(locations)) == 0, share, stores / max(stores.max(), 1.0)], -1).astype(float)
