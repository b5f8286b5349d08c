"""Products without a history: hidden on purpose to learn how well they are forecast, and what one would do without.

Nothing of a hidden product's sales is left: it is in no training, and in no mean of the others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors

from shelfcast.model.tensors import MarketTensors
from shelfcast.panel.features import LEVEL_FLOOR
from shelfcast.judge.distribution import QUANTILES
from shelfcast.judge.distribution import quantile_column
from shelfcast.judge.distribution import fit_dispersion
from shelfcast.judge.distribution import negative_binomial_quantiles
from shelfcast.data.schema import CHAIN

NEIGHBOURS = 10
RECENT = 4  # weeks that tell what products of the category sell now: all of them together vary little
TELLING = ["units", "text", "launch"]  # no attributes: units would give the hidden history away


def hold_out(market: MarketTensors, products: list[str]) -> tuple[MarketTensors, MarketTensors]:
    """(the others to train on, the hidden ones to forecast), both `cold_start`; typical is what the others sold of late."""
    if unknown := set(products) - set(market.products):
        raise ValueError(
            f"{', '.join(sorted(unknown)[:3])}: no products of the market; it has {', '.join(market.products[:3])}, …"
        )
    hidden = torch.tensor([p in set(products) for p in market.products])
    if hidden.all():
        raise ValueError("all products are hidden; at least one must be left to learn from.")
    # labels of week t are the sales from t + 1 on; the very first week's sales are no label
    sold = F.pad(market.tensors["labels"][~hidden][..., :-1, 0].nanmean(0), (1, 0), value=torch.nan)
    recent = F.pad(sold, (RECENT - 1, 0), value=torch.nan).unfold(-1, RECENT, 1).nanmean(-1) + LEVEL_FLOOR
    typical = torch.where(recent.isnan(), market.tensors["level"][~hidden].mean(0), recent)

    def part(chosen: torch.Tensor) -> MarketTensors:
        t = {k: v[chosen] for k, v in market.tensors.items()}
        t["typical"] = typical.expand_as(t["typical"])
        season = torch.tensor([name.startswith("year_ago") for name in market.names["plan"]])
        t["plan"] = t["plan"].masked_fill(season, 0.0)  # a category's last year has the hidden products in it
        names = [p for p, c in zip(market.products, chosen, strict=True) if c]
        return replace(market, products=names, tensors=t | {"cold_start": torch.ones(len(names), dtype=torch.bool)})

    return part(~hidden), part(hidden)


def category_mean(rest: MarketTensors, hidden: MarketTensors, attributes: pd.DataFrame) -> torch.Tensor:
    """What products of the category usually sell, (P hidden, L, T) units a week."""
    return hidden.tensors["typical"]


def nearest_by_attributes(rest: MarketTensors, hidden: MarketTensors, attributes: pd.DataFrame) -> torch.Tensor:
    """Geometric mean level of the ten products with most attributes in common and nearest in price; (P hidden, L, T).

    attributes : index product_id; text columns are compared for equality, numbers by distance in standard deviations.
    """
    own = attributes.drop(columns=TELLING, errors="ignore")
    column = rest.names["static"].index("price_level")
    price = {
        p: float(x)
        for part in (rest, hidden)
        for p, x in zip(part.products, part.tensors["static"][:, 0, column], strict=True)
    }
    numbers = own.select_dtypes("number").assign(price_level=pd.Series(price))
    words = pd.get_dummies(own.select_dtypes(exclude="number").astype(str)).astype(float) / np.sqrt(2)
    x = pd.concat([words, (numbers - numbers.mean()) / (numbers.std() + 1e-9)], axis=1).fillna(0.0)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rest) - 1)).fit(x.loc[rest.products].to_numpy())
    asked = None if hidden is rest else x.loc[hidden.products].to_numpy()  # None: nobody is its own neighbour
    found = near.kneighbors(asked, return_distance=False)
    return rest.tensors["level"].log()[torch.tensor(found)].mean(1).exp()


BASELINES = {"category_mean": category_mean, "nearest_by_attributes": nearest_by_attributes}


def baseline(
    name: str, rest: MarketTensors, hidden: MarketTensors, attributes, known: list, cutoffs: list
) -> pd.DataFrame:
    """The forecast frame (without `method`) of one of `BASELINES` from `cutoffs`.

    known : cutoffs whose labels of the other products fit the dispersion, one for the chain and one for the regions.
    """
    level, others = (BASELINES[name](rest, part, attributes) for part in (hidden, rest))
    at = rest.weeks_index.get_indexer(known)
    horizon = rest.tensors["labels"].shape[-1]
    dispersion = np.empty(len(rest.locations))
    for chain in (True, False):
        place = np.array([(location == CHAIN) == chain for location in rest.locations])
        y = rest.tensors["labels"][:, place][:, :, at].numpy()
        mean = np.broadcast_to(others[:, place][:, :, at, None].numpy(), y.shape)
        dispersion[place] = fit_dispersion(y[~np.isnan(y)], mean[~np.isnan(y)])
    at = hidden.weeks_index.get_indexer(cutoffs)
    keys = [f"{product}|{location}" for product in hidden.products for location in hidden.locations]
    index = pd.MultiIndex.from_product([keys, cutoffs, range(1, horizon + 1)], names=["unique_id", "cutoff", "horizon"])
    frame = index.to_frame(index=False)
    frame["ds"] = frame["cutoff"] + pd.to_timedelta(7 * frame["horizon"], unit="D")
    shape = (len(hidden), len(hidden.locations), len(cutoffs), horizon)
    frame["mean"] = np.broadcast_to(level[:, :, at, None].double().numpy(), shape).ravel()
    frame["dispersion"] = np.broadcast_to(dispersion[None, :, None, None], shape).ravel()
    frame[[quantile_column(q) for q in QUANTILES]] = negative_binomial_quantiles(frame["mean"], frame["dispersion"])
    return frame.assign(y=hidden.tensors["labels"][:, :, at].double().numpy().ravel())
