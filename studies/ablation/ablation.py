"""What a model is not told: a modality taken away, or put where it tells nothing.

The scores of models trained so, beside those of the whole one, say what each modality is worth; a shuffled one says
what chance is worth.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from shelfcast.judge import metrics
from shelfcast.model.tensors import MarketTensors
from shelfcast.market.oracle import oracle
from shelfcast.panel.frame import Panel
from shelfcast.data.schema import CHAIN
from shelfcast.market.tables import load_truth
from shelfcast.data.files import atomic, folder_md5, revision

MODALITIES = ("text", "picture", "behavior", "space", "plan")
SHUFFLED = ("text", "picture", "space")
SHOPPERS = {"buyers", "baskets", "repeat_share", "coupons"}  # behaviour that the sales rows tell
CALENDAR = {
    "holiday",
    "holiday_next",
    "month_start",
    "season_sin",
    "season_cos",
    "year_ago",
    "year_ago_category",
    "on_sale",
    "age",
}
AVERAGED = -1  # the seed of a row that averages all
ORACLE = {  # variant -> what the oracle is not told beside it, and without the modality
    "no_behavior": ((), ("behavior",)),
    "no_space": ((), ("space",)),
    "no_plan": ((), ("plan",)),
    "new_no_text": (("history",), ("history", "text")),
    "new_no_picture": (("history",), ("history", "picture")),
}
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
        # a column that tells nothing has no scale either, in which noise of the level could be read
        scale = {name: [mean, 0.0 if gone(name) else x] for name, (mean, x) in market.scale.items()}
        market = replace(market, scale=scale)
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


def worth(scores: pd.DataFrame, whole: str) -> pd.DataFrame:
    """What leaving each thing out costs, against the model `whole`: mean over seeds and its 90 % interval (Student's t).

    Parameters
    ----------
    scores : columns variant, level, seed, wql; every variant with the seeds of `whole`.

    Returns
    -------
    Index level, variant; estimate, low, high (relative; above 0: worse without), wql (the same in units of WQL), seeds.
    """
    wide = scores.pivot(index=["level", "seed"], columns="variant", values="wql")
    rows = {}
    for level, part in wide.groupby("level"):
        for variant in wide.columns.drop(whole):
            gap = np.log(part[variant] / part[whole]).dropna()
            half = stats.t.ppf(0.95, len(gap) - 1) * gap.std() / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
            mid = gap.mean()
            span = dict(zip(("estimate", "low", "high"), np.expm1([mid, mid - half, mid + half]), strict=True))
            rows[level, variant] = span | {"wql": (part[variant] - part[whole]).mean(), "seeds": len(gap)}
    index = pd.MultiIndex.from_tuples(rows, names=["level", "variant"])
    return pd.DataFrame(list(rows.values()), index, columns=["estimate", "low", "high", "wql", "seeds"])


def known_worth(folder: Path, panel: Panel, seed: int = 0) -> pd.DataFrame:
    """What each modality is worth to who knows the laws of a simulated market; `folder` holds its `truth/`.

    A long history gives away what text and picture tell: to the oracle they are worth something for new products alone.

    Returns
    -------
    Index level, variant as in `worth`, for those of `ORACLE`; wql (what not being told costs), told (the oracle's own WQL).
    """
    market, places = load_truth(folder / "truth"), panel.stores_by_location
    y = panel.frame[["unique_id", "ds", "y"]]
    found = {}
    for hidden in {h for pair in ORACLE.values() for h in pair}:
        frame = oracle(market, panel.cutoffs["test"], places, hidden=hidden, seed=seed).merge(y, on=["unique_id", "ds"])
        found[hidden] = metrics.scores(metrics.add_level(frame), panel.frame, by=["level"])["wql"]
    costs = {
        (level, variant): {"wql": found[without][level] - found[told][level], "told": found[told][level]}
        for variant, (told, without) in ORACLE.items()
        for level in found[told].index
    }
    return pd.DataFrame(costs).T.rename_axis(["level", "variant"])


def collect(market: str, build: Path = Path("build"), to: Path = Path("ablation/results")) -> Path:
    """Write `<to>/<market>.json` from what `make ablate` left in `build`: the tables, and what they were made with.

    Two parts, 'whole' (products with a history) and 'new': what of them was not measured anew stays as the file has it.
    """
    folder, path = build / market, to / f"{market}.json"
    paths = sorted((folder / "ablation").glob("*.csv"))
    if not paths:
        raise ValueError(f"{folder}/ablation holds no scores. Run `make ablate` first.")
    read = map(pd.read_csv, paths)
    scores = pd.concat([rows for rows in read if len(rows)], ignore_index=True)  # none where a market has no pictures
    ours, single = scores["method"] == "shelfcast", scores["seed"] >= 0
    scores["part"] = scores["variant"].map(_part)
    alone = dict(list(scores[ours & single].groupby("part")))
    costs = pd.concat(worth(rows, part) for part, rows in alone.items() if part in set(rows["variant"]))
    if (folder / "truth").exists():
        panel = Panel.load(folder / "panel")
        costs = costs.join(known_worth(folder, panel).add_prefix("oracle_"))
        costs["recovered"] = costs["wql"] / costs["oracle_wql"]
    unknown = scores[(scores["part"] == "new") & ~single & (ours | (scores["variant"] == "new"))]
    name = unknown["variant"].where(unknown["method"] == "shelfcast", unknown["method"])
    origin = {"revision": revision(), "panel_md5": folder_md5(folder / "panel")}
    made = {part: origin | {"seeds": sorted(map(int, rows["seed"].unique()))} for part, rows in alone.items()}
    found = {"made": made, "worth": _nested(costs)}
    found["new"] = _nested(unknown.assign(name=name).set_index(["level", "name"])[["wql", "wape", "bias"]])
    with atomic(path) as part:
        part.write_text(json.dumps(_with_what_stays(found, path), indent=1) + "\n")
    return path


def _part(variant: str) -> str:
    return "new" if variant.startswith("new") else "whole"


def _with_what_stays(found: dict, path: Path) -> dict:
    """Complete `found` by the parts of an earlier file that were not measured anew."""
    before = json.loads(path.read_text()) if path.exists() else {"made": {}, "worth": {}, "new": {}}
    stays = before["made"].keys() - found["made"].keys()
    rows = {
        level: {variant: row for variant, row in variants.items() if _part(variant) in stays}
        for level, variants in before["worth"].items()
    }
    levels = dict.fromkeys([*rows, *found["worth"]])
    return {
        "made": {part: before["made"][part] for part in stays} | found["made"],
        "worth": {level: rows.get(level, {}) | found["worth"].get(level, {}) for level in levels},
        "new": before["new"] if "new" in stays else found["new"],
    }


def _nested(table: pd.DataFrame) -> dict:
    """Level -> name -> column -> number, without the NaN that JSON does not know."""
    rows = table.astype(float).round(6)
    return {
        level: {name: row.dropna().to_dict() for name, row in part.droplevel(0).iterrows()}
        for level, part in rows.groupby(level=0)
    }


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(collect(name))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
