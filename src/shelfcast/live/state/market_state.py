"""The state of a market: what the models of all seeds keep of its weeks, and the forecasts that follow.

`append` compares all that it read before with the market as it is now. A week that was closed lately costs one token; where a
late event changed an earlier week of a product, that product is read again from the first week that changed. So the
forecasts are always those of a full recomputation, within rounding.

Axes: P products, L locations, T weeks, H horizons.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from shelfcast.live.state.belongs import FIXED, check_market, check_models
from shelfcast.live.state.layers import Products
from shelfcast.live.state.model_state import PRODUCTS, ModelState
from shelfcast.model.forecast import read_text_once, situation_frames
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors

Predictions = dict[str, list[tuple[np.ndarray, np.ndarray]]]  # situation -> mean and dispersion of each model


@dataclass(frozen=True)
class Appended:
    """What `append` did.

    new_weeks : weeks read for the first time. changed_products : products of which an earlier week had changed, and
    changed_from : the first such week, None without one. rebuilt : what does not change by week had changed (a text, a
    static column, weights of a model), so that all was read again.
    """

    new_weeks: int
    changed_products: int = 0
    changed_from: pd.Timestamp | None = None
    rebuilt: bool = False


class MarketState:
    """Keys and values of all models and series of a market, up to its last closed week; not for several threads at once.

    Parameters
    ----------
    models : of all seeds, in eval mode, as `model.forecast.load_models` gives them.
    market : tensors of a panel whose last week is closed.

    Raises
    ------
    ValueError : the models cannot be continued week by week, or do not fit the market.
    """

    def __init__(self, models: Sequence[SalesBert], market: MarketTensors):
        self.models = list(models)
        check_models(self.models, market)
        self.products = list(market.products)
        self.market = replace(market, tensors={})  # columns, scale and unit, which later weeks share
        self.kept = [ModelState(model, len(self.products), len(market.locations)) for model in self.models]
        self.known = torch.zeros(len(self.products), dtype=torch.int64)  # valid weeks of each product
        self.weeks = market.tensors["weeks"][:, :, :0]
        self.fixed: dict[str, torch.Tensor] = {}
        self.append(market)

    @property
    def last_week(self) -> pd.Timestamp:
        """Monday of the last week that was read; forecasts begin behind it."""
        return self.market.weeks_index[-1]

    @torch.inference_mode()
    def append(self, market: MarketTensors) -> Appended:
        """Read what is new in a market that has grown: closed weeks, and earlier weeks that late events changed.

        Parameters
        ----------
        market : with the same products (in any order), locations, columns and scale, and at least as many weeks.

        Raises
        ------
        ValueError : the market is another one, or its weeks end before those of the state.
        """
        check_market(self.market, market)
        market, before = self._in_own_order(market), self.weeks.shape[2]
        weeks, first = market.tensors["weeks"], not self.fixed
        rebuilt = self.stale() or any(not torch.equal(x, market.tensors[name]) for name, x in self.fixed.items())
        if first or rebuilt:
            self.known.zero_()
            self._read_products(market)
        same = torch.minimum(self._unchanged(weeks), self.known)
        self.known = same.clone()  # whatever stops the rest, what is replaced now is not trusted later
        counts = same.tolist()
        for start in sorted(set(counts)):
            if start < weeks.shape[2]:
                self._advance(same == start, start, market)
        self.known.fill_(weeks.shape[2])
        self.weeks, self.market = weeks.clone(), replace(self.market, weeks_index=market.weeks_index)
        n_changed = 0 if rebuilt else sum(count < before for count in counts)
        changed_from = market.weeks_index[min(counts)] if n_changed else None
        return Appended(weeks.shape[2] - before, n_changed, changed_from, rebuilt)

    def stale(self) -> bool:
        """Whether weights that read weeks were trained on since; the head's may change, as nothing of it is kept."""
        return any(state.version != state.current_version() for state in self.kept)

    @torch.inference_mode()
    def predict(self, market: MarketTensors, products: Sequence[str] | None = None) -> Predictions:
        """What `model.forecast.predict_in_situations` gives from the last week of a market, which is read first.

        products : those to forecast, in this order; all in the market's order where none are given.

        Returns
        -------
        Situation -> mean (in the market's size of a sale) and dispersion (P, L, 1, H) float64 of each model.
        """
        self.append(market)
        market = market if products is None else take(market, products)
        plans = [market.tensors["plan"][:, :, -1:]]
        if market.planned:
            plans.append(market.with_plan_hidden(plans[0], torch.tensor(True)))
        known, *hidden = self._decode(market, plans)
        return {"plan_known": known, "no_plan": hidden[0] if hidden else known}

    def forecast(
        self,
        market: MarketTensors,
        products: Sequence[str] | None = None,
        locations: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """The forecast frame from the last week in both situations, as `model.forecast.in_situations` gives it.

        Parameters
        ----------
        products : as in `predict`. locations : those whose rows are wanted; all are computed, as they add up to the chain.

        Raises
        ------
        ValueError : a product or location that the market lacks.
        """
        if unknown := sorted(set(locations or ()) - set(market.locations)):
            raise ValueError(f"locations {unknown} are not in the market. Choose of {market.locations}.")
        predictions = self.predict(market, products)
        market = market if products is None else take(market, products)
        frame = situation_frames(predictions, market, [market.weeks_index[-1]])
        if locations is None:
            return frame
        wanted = [f"{product}|{location}" for product in market.products for location in locations]
        return frame[frame["unique_id"].isin(wanted)].reset_index(drop=True)

    def _read_products(self, market: MarketTensors) -> None:
        read = read_text_once(self.models, market)
        for state in self.kept:
            state.read_products(read)
            state.version = state.current_version()
        self.fixed = {name: market.tensors[name].clone() for name in FIXED}

    def _unchanged(self, weeks: torch.Tensor) -> torch.Tensor:
        """(P,) number of leading weeks in which nothing changed since they were read."""
        n = self.weeks.shape[2]
        if torch.equal(self.weeks, weeks[:, :, :n]):
            return torch.full_like(self.known, n)
        same = (self.weeks == weeks[:, :, :n]).all(3).all(1)  # P T
        return same.cumprod(1).sum(1)

    def _advance(self, chosen: torch.Tensor, start: int, market: MarketTensors) -> None:
        """Read the weeks from `start` on of the chosen products (P,), some products at a time where weeks are many."""
        new = market.tensors["weeks"][:, :, start:]
        size = len(chosen) if new.shape[2] == 1 else PRODUCTS
        for part in _ranges(chosen, size):
            for state in self.kept:
                state.advance(part, start, new[part], market.tensors["graph"][part])

    def _decode(self, market: MarketTensors, plans: list[torch.Tensor]) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """For each plan (P, L, 1, H, F): mean and dispersion (P, L, 1, H) of each model from the last week.

        All plans in one call of the head, which reads each as if it were of a week of its own.
        """
        order, static = self._order(market.products), market.tensors["static"]
        times = [-1] * len(plans)  # the last week, once for each plan
        weeks, level, shock = (market.tensors[name][:, :, times] for name in ("weeks", "level", "location_shock"))
        by_model = []
        for state in self.kept:
            first, last = (state.first, state.last) if order is None else (state.first[order], state.last[order])
            last = last[:, :, None].expand(-1, -1, len(plans), -1)
            out = state.model.decode(first, last, static, weeks, torch.cat(plans, 2), level, shock)
            by_model.append([x.double().numpy() for x in out])
        return [[tuple(x[:, :, [i]] for x in out) for out in by_model] for i in range(len(plans))]

    def _order(self, products: list[str]) -> torch.Tensor | None:
        """Where these products are in the state; None where they are the state's, in its order."""
        if products == self.products:
            return None
        return torch.from_numpy(pd.Index(self.products).get_indexer(products))

    def _in_own_order(self, market: MarketTensors) -> MarketTensors:
        return market if market.products == self.products else take(market, self.products)

    def select(self, products: Sequence[str]) -> MarketState:
        """A state of its own, of these products in this order; locations of a product stay together.

        Raises
        ------
        ValueError : a product is not in the state.
        """
        _check_products(products, self.products)
        order = torch.from_numpy(pd.Index(self.products).get_indexer(list(products)))
        chosen = copy(self)
        chosen.products = list(products)
        chosen.market = replace(self.market, products=chosen.products)
        chosen.kept = [state.select(order) for state in self.kept]
        chosen.known, chosen.weeks = self.known[order], self.weeks[order]
        chosen.fixed = {name: x[order] for name, x in self.fixed.items()}
        return chosen


def take(market: MarketTensors, products: Sequence[str]) -> MarketTensors:
    """The market with these products alone, in this order; a ValueError where it lacks one."""
    _check_products(products, market.products)
    order = torch.from_numpy(pd.Index(market.products).get_indexer(list(products)))
    return replace(market, products=list(products), tensors={name: x[order] for name, x in market.tensors.items()})


def _check_products(products: Sequence[str], known: Sequence[str]) -> None:
    missing = sorted(set(products) - set(known))
    if missing or not len(products) or len(set(products)) < len(products):
        raise ValueError(
            f"products {missing or list(products)} cannot be taken. Name each once, of the {len(known)} that are there."
        )


def _ranges(chosen: torch.Tensor, size: int) -> list[Products]:
    """The chosen products in parts of at most `size`: a range where it can be, which costs no copy, else indices."""
    if bool(chosen.all()):
        return [slice(low, min(low + size, len(chosen))) for low in range(0, len(chosen), size)]
    parts = []
    for part in chosen.nonzero()[:, 0].split(size):
        low, high = int(part[0]), int(part[-1]) + 1
        parts.append(slice(low, high) if high - low == len(part) else part)
    return parts
