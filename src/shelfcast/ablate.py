"""What a model is not told: a modality taken away, or put where it tells nothing.

The scores of models trained so, beside those of the whole one, say what each modality is worth; a shuffled one says
what chance is worth.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from shelfcast.dataset import MarketTensors
from shelfcast.regions import CHAIN
from shelfcast.tables import atomic, folder_md5

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


def new_products(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of products without a history, all folds together: errors and sales are added up over them.

    Parameters
    ----------
    scores : rows of the variants `new_<fold>…` with method, level, seed (-1: all averaged), wql, wape, units.

    Returns
    -------
    Columns told (what was kept from the model, '' for nothing), method, level, wql, wape, units.
    """
    rows = scores[(scores["seed"] == -1) & scores["variant"].str.match(r"new_\d+")]
    rows = rows.assign(told=rows["variant"].str.replace(r"new_\d+_?", "", regex=True))
    rows = rows[(rows["method"] == "shelfcast") | (rows["told"] == "")]
    added = rows.assign(wql=rows["wql"] * rows["units"], wape=rows["wape"] * rows["units"])
    added = added.groupby(["told", "method", "level"], as_index=False)[["wql", "wape", "units"]].sum()
    return added.assign(wql=added["wql"] / added["units"], wape=added["wape"] / added["units"])


def collect(market: str, build: Path = Path("build"), to: Path = Path("ablation")) -> Path:
    """Write `ablation/<market>.json` from what `make ablate` left in build/: the scores, what made them, the tables."""
    paths = sorted((build / market / "ablation").glob("*.csv"))
    if not paths:
        raise ValueError(f"{build}/{market}/ablation holds no scores. Run `make ablate` first.")
    scores = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    alone = scores[(scores["seed"] >= 0) & ~scores["variant"].str.match(r"new_\d+")]
    facts = {
        "revision": revision or None,
        "panel_md5": folder_md5(build / market / "panel"),
        "seeds": sorted(map(int, alone["seed"].unique())),
        "worth": worth(alone).round(6).to_dict("records"),
        "new": new_products(scores).round(6).to_dict("records"),
    }
    with atomic(to / f"{market}.json") as part:
        part.write_text(json.dumps(facts, indent=1) + "\n")
    return to / f"{market}.json"


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(collect(name))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
