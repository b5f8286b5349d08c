"""Forecasts under another plan, with the difference to the present one and its range.

The difference is paired: each seed's model forecasts both plans, and the same luck meets both. Where sales under the
present plan end at one of their quantiles, those under the other plan are that many times larger as the model says, so
the difference is (factor - 1) · quantile; the range holds the middle 80 % of these over quantiles and models, and over
the error of the causal estimate where models are anchored to one (`anchor`).

Axes: S models, P products, L locations (chain first), H weeks ahead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from shelfcast.data.schema import CHAIN
from shelfcast.judge.distribution import QUANTILE_COLUMNS, QUANTILES
from shelfcast.model.columns import CLIP, CONSTANT
from shelfcast.model.forecast import as_frame, load_models, read_text_once
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel
from shelfcast.why.whatif.anchor import PRICE, Anchor, Response
from shelfcast.why.whatif.changes import Change, check, coming_weeks
from shelfcast.why.whatif.past import Past
from shelfcast.why.whatif.plan import Plan

KEYS = ["unique_id", "product_id", "location", "cutoff", "horizon", "ds"]
SHOWN = ["mean", "q100", "q250", "q500", "q750", "q900"]  # of each plan's distribution
RANGE = (0.1, 0.9)  # of a difference
ERRORS = 5  # points at which the error of an estimate is looked at
TRIAL = 1.1  # times the price, by which models' elasticities are measured
Parts = list[tuple[np.ndarray, np.ndarray]]  # mean and dispersion of each model, (P, L, 1, H)


@dataclass(frozen=True)
class Ready:
    """A market and its models at one cutoff, ready to forecast other plans; all that no plan changes is computed.

    market : tensors of the cutoff's week alone. present, frame : forecasts under the present plan.
    """

    panel: Panel
    plan: Plan
    market: MarketTensors
    pasts: list[Past]
    present: Parts
    frame: pd.DataFrame

    @classmethod
    def of(cls, panel: Panel, models: Sequence[SalesBert], facts: dict, cutoff: pd.Timestamp | None = None) -> Ready:
        """Prepare; seconds.

        Parameters
        ----------
        facts : `variant.json` of the models, of which backbone, price_plan and scale are read.
        cutoff : the last observed week; the panel's where none is given.
        """
        cutoff = coming_weeks(panel, cutoff)[0] - panel.frequency.step
        market = market_tensors(panel, load_tokenizer(facts["backbone"]), facts["price_plan"], facts["scale"])
        market = read_text_once(list(models), market.split([cutoff]))
        at = len(market.weeks_index) - 1
        pasts = [Past.read(model, market, at) for model in models]
        tensors = {name: market.tensors[name][:, :, [at]] for name in ("plan", "labels")}
        market = replace(market, weeks_index=market.weeks_index[[at]], tensors=tensors)
        present = [past.predict(market.tensors["plan"]) for past in pasts]
        return cls(panel, Plan.of(panel, cutoff), market, pasts, present, as_frame(present, market, [cutoff]))

    @property
    def cutoff(self) -> pd.Timestamp:
        return self.market.weeks_index[0]

    def ask(self, changes: Sequence[Change], anchor: Anchor | None = None) -> pd.DataFrame:
        """See `what_if`."""
        check(self.panel, changes, self.cutoff)
        other = self.plan.changed(changes)
        stated = self.plan.products.isin([name for change in changes for name in change.products])
        products = np.flatnonzero(stated | self.plan.differs(other).any((1, 2)))
        parts, error = self.forecast(other, products, anchor)
        now = [(mean[products], dispersion) for mean, dispersion in self.present]
        present = self._present(products)
        frame = _beside(present, self._other(present, now, parts, products, stated[products]))
        factors = np.stack([_factor([before], [after]) for before, after in zip(now, parts, strict=True)])
        low, high = difference_range(present[QUANTILE_COLUMNS].to_numpy(), factors, error.ravel())
        difference = frame["mean_other"] - frame["mean_present"]
        return frame.assign(
            stated=np.repeat(stated[products], error[0].size),
            difference=difference,
            low=np.minimum(low, difference),
            high=np.maximum(high, difference),
        )

    def _other(self, present: pd.DataFrame, now: Parts, parts: Parts, products: np.ndarray, stated: np.ndarray):
        """`SHOWN` under the other plan; of products that are not stated the present distribution times the factor."""
        other = present[SHOWN].mul(_factor(now, parts), axis=0)
        rows = np.repeat(stated, len(present) // len(products))
        own = [(mean[stated], dispersion[stated]) for mean, dispersion in parts]
        other.loc[rows] = as_frame(own, self._some(products[stated]), [self.cutoff])[SHOWN].to_numpy()
        return other

    def as_planned(self, product: str) -> pd.DataFrame:
        """What `ask` returns for a product whose plan stays."""
        present = self._present(self.plan.products.get_indexer([product]))
        return _beside(present, present).assign(stated=True, difference=0.0, low=0.0, high=0.0)

    def forecast(self, other: Plan, products: np.ndarray, anchor: Anchor | None = None) -> tuple[Parts, np.ndarray]:
        """Each model's mean and dispersion under another plan, and (P, L, H) the log factors' error, of some products."""
        tensor = self.plan_tensor(other, products)
        parts = [past.predict(tensor, products) for past in self.pasts]
        if anchor is None:
            return parts, np.zeros((len(products), *self.plan.rows.shape[1:]))
        moved = moves(self.plan, other, products)
        anchored = []
        for (before, _), (after, dispersion) in zip(self.present, parts, strict=True):
            model = np.log(after[:, :, 0] / before[products][:, :, 0])
            factor = np.exp(anchor.log_factor(model, moved))
            anchored.append((before[products] * factor[:, :, None], dispersion))
        return anchored, np.broadcast_to(anchor.error(moved), self.plan.rows[products].shape)

    def log_factors(self, other: Plan) -> np.ndarray:
        """(S, P, L, H) logs of each model's mean under another plan over that under the present one."""
        parts, _ = self.forecast(other, np.arange(len(self.plan.products)))
        pairs = zip(self.present, parts, strict=True)
        return np.stack([np.log(after[:, :, 0] / before[:, :, 0]) for (before, _), (after, _) in pairs])

    def own_response(self) -> dict[str, float]:
        """The models' mean elasticity and promotion lifts in the chain, of each product's own plan, all else the same.

        Part of a plan (see `Response.effects`) -> log units; without what the retailer has no table of.
        """

        def mean_log(**stated) -> float:
            change = Change(self.plan.products, CHAIN, self.plan.weeks, **stated)
            return float(self.log_factors(self.each_alone(change))[:, :, 0].mean())

        own = {}
        if PRICE in self.plan.values:
            own[PRICE] = mean_log(price_factor=TRIAL) / np.log(TRIAL)
        for name in self.plan.promotions:
            own[name] = mean_log(promotion={name: 1.0}) - mean_log(promotion={name: 0.0})
        return own

    def anchored_to(self, response: Response) -> Anchor:
        """The anchor by which these models lean on an estimate; see `anchor.weight_by_error`."""
        return Anchor.of(response, self.own_response())

    def each_alone(self, change: Change) -> Plan:
        """The plan with a change of all products, as if each were changed alone."""
        other = self.plan.changed([change])
        alone = {name: x for name, x in self.plan.values.items() if name == "category_promotion"}
        return replace(other, values=other.values | alone)

    def plan_tensor(self, other: Plan, products: np.ndarray) -> torch.Tensor:
        """(P, L, 1, H, F) field `plan` of some products under another plan, scaled as the models learned it."""
        tensor = self.market.tensors["plan"][products].clone()
        for name, x in other.values.items():
            if name in self.market.names["plan"]:
                tensor[:, :, 0, :, self.market.names["plan"].index(name)] = self._scaled(name, x[products])
        return tensor

    def _scaled(self, name: str, x: np.ndarray) -> torch.Tensor:
        """As `columns.Columns` scales a column of the plan."""
        mean, deviation = self.market.scale[name]
        x = np.where(np.isnan(x), mean, x)
        x = np.clip((x - mean) / deviation if deviation > CONSTANT else np.zeros_like(x), -CLIP, CLIP)
        return torch.tensor(x, dtype=torch.float32)

    def _some(self, products: np.ndarray) -> MarketTensors:
        names = [self.market.products[i] for i in products]
        return replace(self.market, products=names, tensors={"labels": self.market.tensors["labels"][products]})

    def _present(self, products: np.ndarray) -> pd.DataFrame:
        rows = np.arange(len(self.frame)).reshape(len(self.plan.products), -1)[products].ravel()
        return self.frame.iloc[rows].reset_index(drop=True)


def what_if(
    panel: Panel,
    models: Sequence[SalesBert],
    facts: dict,
    changes: Sequence[Change],
    anchor: Anchor | None = None,
    cutoff: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Forecast a panel's coming weeks under the present plan and under one with `changes`.

    For more than one question prepare once: ``ready = Ready.of(panel, models, facts)``, then ``ready.ask(changes)``.

    Parameters
    ----------
    anchor : of the models' mean response to an estimate of causes; see `Ready.anchored_to`. None takes the models' own.

    Returns
    -------
    A row per series and week of the products that are stated or whose plan changes with theirs: unique_id, product_id,
    location, cutoff, horizon, ds; mean, q100 … q900 of both plans, ending in _present and _other; stated; difference of
    the means, which adds up over regions to the chain's; low and high, its 80 % range; units a week. The quantiles of
    products that are not stated are the present ones times the factor on the mean.

    Raises
    ------
    ValueError : a change that cannot be forecast; see `changes.check`.
    """
    return Ready.of(panel, models, facts, cutoff).ask(changes, anchor)


def load(folder: str | Path, variant: str = "shelfcast", cutoff: pd.Timestamp | None = None) -> Ready:
    """A market's panel and trained models, from `build/<market>/`."""
    own = Path(folder) / "models" / variant
    models, panel = load_models(own), Panel.load(Path(folder) / "panel")
    return Ready.of(panel, models, json.loads((own / "variant.json").read_text()), cutoff)


def ahead(frame: pd.DataFrame, plan: str) -> pd.DataFrame:
    """ds, mean, q100 … q900 of one plan ('present' or 'other') of `what_if`'s frame, ready for a fan."""
    names = {f"{name}_{plan}": name for name in SHOWN}
    return frame[["ds", *names]].rename(columns=names)


def totals(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per series (index unique_id) of `what_if`'s frame, its weeks summed: means, difference, low and high.

    The range is the widest that fits the weeks' ranges: that of weeks which all have the same luck.
    """
    sums = frame.groupby("unique_id")[["mean_present", "mean_other", "difference", "low", "high"]].sum()
    return sums.join(frame.drop_duplicates("unique_id").set_index("unique_id")[["product_id", "location", "stated"]])


def moves(present: Plan, other: Plan, products: np.ndarray) -> dict[str, np.ndarray]:
    """Part of a plan -> (P, L, H) what two plans differ by: logs of prices, and shares of stores by column."""
    price = {PRICE: (other.log_price - present.log_price)[products]} if PRICE in present.values else {}
    shares = {
        name: np.nan_to_num(other.values[name][products]) - np.nan_to_num(present.values[name][products])
        for name in present.promotions
    }
    return price | shares


def difference_range(quantiles: np.ndarray, factors: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) each: the ends of the range of a difference; see the module's text.

    Worked example: sales of 8, 10 or 12 and models that say 1.1 and 1.2 times: differences from .8 to 2.4.

    Parameters
    ----------
    quantiles : (rows, quantiles) under the present plan, at `QUANTILES`. factors : (S, rows), other over present mean.
    error : (rows,) standard error of a log factor.
    """
    points, chance = np.polynomial.hermite_e.hermegauss(ERRORS) if error.any() else (np.zeros(1), np.ones(1))
    factor = factors[..., None] * np.exp(error[:, None] * points)  # S, rows, points
    values = (factor[..., None] - 1) * quantiles[:, None]  # S, rows, points, quantiles
    ends = np.concatenate([[0.0], (np.array(QUANTILES)[1:] + QUANTILES[:-1]) / 2, [1.0]])
    mass = np.broadcast_to((chance / chance.sum())[:, None] * np.diff(ends) / len(factors), values.shape)
    values, mass = (np.moveaxis(x, 1, 0).reshape(len(error), -1) for x in (values, mass))
    order = np.argsort(values, -1)
    below = np.cumsum(np.take_along_axis(mass, order, -1), -1)
    rank = [np.minimum((below < end - 1e-9).sum(-1), below.shape[-1] - 1) for end in RANGE]
    low, high = (np.take_along_axis(np.take_along_axis(values, order, -1), at[:, None], -1)[:, 0] for at in rank)
    return low, high


def coherent_means(mean: np.ndarray) -> np.ndarray:
    """(P, L, 1, H) means whose regions are scaled to the chain, as `judge.coherence` does."""
    regions = mean[:, 1:]
    scale = mean[:, :1] / np.maximum(regions.sum(1, keepdims=True), 1e-9)
    return np.concatenate([mean[:, :1], regions * scale], 1)


def _factor(now: Parts, parts: Parts) -> np.ndarray:
    """(rows of P, L, H) the models' mean under the other plan over that under the present one, coherent."""
    before, after = (coherent_means(np.mean([mean for mean, _ in x], 0)) for x in (now, parts))
    return (after / before).ravel()


def _beside(present: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The keys, and both plans' distributions beside each other."""
    series = present["unique_id"].str.rsplit("|", n=1, expand=True)
    keys = present[["unique_id", "cutoff", "horizon", "ds"]].assign(product_id=series[0], location=series[1])
    return keys[KEYS].join(present[SHOWN].add_suffix("_present")).join(other[SHOWN].add_suffix("_other"))
