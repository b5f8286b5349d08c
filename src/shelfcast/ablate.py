"""What a model is not told: a modality taken away, or put where it tells nothing.

The scores of models trained so, beside those of the whole one, say what each modality is worth; a shuffled one says
what chance is worth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from shelfcast.dataset import MarketTensors
from shelfcast.regions import CHAIN

MODALITIES = ("text", "picture", "behavior", "space", "plan")
SHUFFLED = ("text", "picture", "space")
SHOPPERS = {"buyers", "baskets", "repeat_share", "coupons", "traffic"}  # behaviour that the sales rows tell
CALENDAR = {"holiday", "holiday_next", "pay_week", "season_sin", "season_cos", "on_sale", "age"}
PRICES = {"price_level", "price_ratio", "discount", "mean_promoted", "mean_unpromoted", "promo_known"}


def _known(given: str, known: tuple[str, ...], verb: str) -> None:
    if given not in known:
        raise ValueError(f"cannot {verb} {given!r}; choose one of {', '.join(known)}.")


def blind(market: MarketTensors, what: str) -> MarketTensors:
    """The market without one of `MODALITIES`: its columns at their mean, its texts or pictures absent.

    'behavior' : events, and what baskets and customers tell. 'plan' : promotions and prices, planned and past.
    'space' : traits of stores; attention between locations is the model's own, to be left out by its configuration.
    """
    _known(what, MODALITIES, "take away")
    t = dict(market.tensors)
    if what in ("text", "picture"):
        t[f"has_{what}"] = torch.zeros_like(t[f"has_{what}"])
    else:
        gone = {
            "space": lambda name: name.startswith("store_"),
            "behavior": lambda name: name.startswith("event_") or name in SHOPPERS,
            "plan": lambda name: name in PRICES or (name in market.names["plan"] and name not in CALENDAR),
        }[what]
        for field in ("static", "weeks", "plan"):
            t[field] = _without(t[field], [gone(name) for name in market.names[field]])
    return replace(market, tensors=t)


def _without(x: torch.Tensor, gone: list[bool]) -> torch.Tensor:
    return x.masked_fill(torch.tensor(gone, dtype=torch.bool), 0.0)


def shuffle(market: MarketTensors, what: str, seed: int) -> MarketTensors:
    """The market with one of `SHUFFLED` where it tells nothing: another product's text, noise for a picture, regions'
    places on the map (graph and store traits) exchanged."""
    _known(what, SHUFFLED, "shuffle")
    t, chance = dict(market.tensors), torch.Generator().manual_seed(seed)
    if what == "text":
        order = torch.randperm(len(market), generator=chance)
        t |= {k: t[k][order] for k in ("input_ids", "text_mask", "has_text")}
    elif what == "picture":
        t["picture"] = torch.randn(t["picture"].shape, generator=chance)
    else:
        regions = torch.tensor([i for i, name in enumerate(market.locations) if name != CHAIN])
        place = torch.arange(len(market.locations))
        place[regions] = regions[torch.randperm(len(regions), generator=chance)]
        t["graph"] = t["graph"][:, place][:, :, place]
        traits = torch.tensor([n.startswith("store_") for n in market.names["static"]], dtype=torch.bool)
        t["static"] = torch.where(traits, t["static"][:, place], t["static"])
    return replace(market, tensors=t)


def worth(scores: pd.DataFrame, whole: str = "whole") -> pd.DataFrame:
    """What leaving each thing out costs: relative WQL against the whole model, mean over seeds and its 90 % interval.

    Parameters
    ----------
    scores : columns variant, level, seed, wql; every variant with the seeds of `whole`.

    Returns
    -------
    Columns variant, level, estimate, low, high (shares; above 0: worse without), seeds.
    """
    wide = np.log(scores.pivot(index=["variant", "seed"], columns="level", values="wql"))
    rows = []
    for variant in wide.index.unique("variant").drop(whole):
        gap = wide.loc[variant] - wide.loc[whole]
        for level in wide.columns:
            x = gap[level].dropna()
            half = stats.t.ppf(0.95, len(x) - 1) * x.std() / np.sqrt(len(x)) if len(x) > 1 else np.nan
            mid = x.mean()
            rows.append((variant, level, *np.expm1([mid, mid - half, mid + half]), len(x)))
    return pd.DataFrame(rows, columns=["variant", "level", "estimate", "low", "high", "seeds"])
