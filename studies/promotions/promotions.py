"""Promotion plans, judged: what share of the best plan's true gain is reached on the simulated market.

    python -m studies.promotions.promotions [FOLDER …]     # build/simulated without any; a minute each

A folder holds panel, trained models, tables and truth of a simulated market, as build/<market>/ does.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from shelfcast.act.promotions.causes import Causes, causes
from shelfcast.act.promotions.gains import Gains, gains
from shelfcast.act.promotions.plan import best_plan
from shelfcast.act.promotions.terms import PROMOTED, Terms, read_costs
from shelfcast.data.schema import CHAIN
from shelfcast.decision_options import Promotions
from shelfcast.market.tables import load_truth
from shelfcast.model.forecast import load_models
from shelfcast.panel.frame import Panel
from shelfcast.settings import build as checked
from shelfcast.why.whatif.changes import PROMOTION
from shelfcast.why.whatif.forecast import Ready
from studies import parameters
from studies.kept import save_origin, save_rows
from studies.promotions.truth import World

BUILD, RESULTS = Path("build/simulated"), Path("studies/promotions/results")
VARIANT = "shelfcast"
BEST = "oracle"  # the plan that shares are of
BOOTSTRAP = 2000
Plans = dict[str, list[np.ndarray]]  # name -> one or more plans (P, H), of which the mean counts


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    terms: dict[str, dict] = Field(default_factory=dict)
    draws: int = 20

    def options(self) -> dict[str, Promotions]:
        return {name: checked(Promotions, values, f"terms.{name}") for name, values in self.terms.items()}


@plain_dataclass(frozen=True)
class At:
    """What plans of one cutoff are made from. rows : numbers of the panel's products among the market's."""

    ready: Ready
    options: Promotions
    terms: Terms
    gains: Gains
    rows: np.ndarray


def plans_of(at: At, market: dict, estimated: Causes, draws: int) -> Plans:
    """Every plan that is compared; all but the oracles' see nothing after the cutoff but the retailer's own plan."""
    options, spending = at.options, at.gains.spending

    def best(gain: np.ndarray) -> np.ndarray:
        return best_plan(gain, spending, options).plan

    rng = np.random.default_rng(0)
    shape = spending.shape
    alone = gains(at.ready, at.terms, options, None)
    planned = np.nan_to_num(at.ready.plan.values[PROMOTION][:, 0]) >= PROMOTED
    oracles = {"oracle": world(market, at, "expected"), "hindsight": world(market, at, "true")}
    return {
        "shelfcast": [best(at.gains.expected["money"])],
        "without anchoring": [best(alone.expected["money"])],
        "one response for all": [best(money_of(at, at.gains.base, at.gains.cause))],
        "naive lift": [best(naive_gain(at))],
        "sold most": [best(np.repeat(latest(at, "level_13")[:, None], shape[1], 1))],
        "retailer's choice": [best(planned * (1 + rng.random(shape))) for _ in range(draws)],
        "random": [best(0.1 + rng.random(shape)) for _ in range(draws)],
        **{name: [best(truth.alone()[at.rows])] for name, truth in oracles.items()},
    }


def world(market: dict, at: At, states: str) -> World:
    regular = pd.Series(at.terms.regular, at.terms.products)
    options = at.options
    return World.of(market, at.ready.cutoff, regular, at.terms.cut, options.channels, options.fixed_cost, states)


def latest(at: At, column: str) -> np.ndarray:
    """(P,) a column of the chain at the cutoff."""
    frame = at.ready.panel.frame
    now = frame[(frame["ds"] == at.ready.cutoff) & (frame["location"] == CHAIN)].set_index("product_id")
    return now[column].reindex(at.terms.products).fillna(0).to_numpy(float)


def money_of(at: At, base: np.ndarray, more: np.ndarray) -> np.ndarray:
    """(P, H) margin more, where `base` units become `more` than that; what others lose is left out."""
    terms = at.terms
    margin, margin_promoted = (price[:, None] - terms.cost[:, None] for price in (terms.regular, terms.promoted))
    return (base + more) * margin_promoted - base * margin - at.options.fixed_cost


def naive_gain(at: At) -> np.ndarray:
    """(P, H) by the mean sales of weeks with and without promotion so far, as a spreadsheet would compare them."""
    without, promoted = latest(at, "mean_unpromoted")[:, None], latest(at, "mean_promoted")[:, None]
    return np.repeat(money_of(at, without, promoted - without), at.gains.base.shape[1], 1)


def judge(folder: Path, study: Study) -> pd.DataFrame:
    """A row per market, terms, cutoff and plan: true gain in money, promotions, and what the plan was expected to gain."""
    own = folder / "models" / VARIANT
    panel, models, facts = Panel.load(folder / "panel"), load_models(own), json.loads((own / "variant.json").read_text())
    market, costs = load_truth(folder / "truth"), read_costs(folder / "tables")
    until = pd.Timestamp(panel.meta["validation_end"])
    estimated = causes(panel, by_channel=True, until=until)
    rows = []
    cutoffs = panel.cutoffs["test"] + panel.cutoffs["latest"]
    for cutoff in tqdm(cutoffs, desc=folder.name, disable=not sys.stderr.isatty()):
        ready = Ready.of(panel, models, facts, cutoff)
        places = pd.Index(market["products"]["product_id"]).get_indexer(ready.plan.products)
        for name, options in study.options().items():
            terms = Terms.of(panel, options, costs, cutoff)
            at = At(ready, options, terms, gains(ready, terms, options, estimated), places)
            rows += scored(at, market, estimated, study.draws, {"market": folder.name, "terms": name})
    return pd.DataFrame(rows)


def scored(at: At, market: dict, estimated: Causes, draws: int, keys: dict) -> list[dict]:
    """The rows of one cutoff and terms; see `judge`."""
    truth, rows = world(market, at, "true"), []
    for name, plans in plans_of(at, market, estimated, draws).items():
        wide = [np.zeros(truth.cost.shape, bool) for _ in plans]
        for full, plan in zip(wide, plans, strict=True):
            full[at.rows] = plan
        row = keys | {"cutoff": str(at.ready.cutoff.date()), "plan": name}
        row["gain"] = float(np.mean([truth.gain(plan) for plan in wide]))
        row["promotions"] = float(np.mean([plan.sum() for plan in plans]))
        if name == "shelfcast":
            row |= dict(zip(("expected", "low", "high"), at.gains.total(plans[0])["money"], strict=True))
            row["added"] = float(truth.alone()[wide[0]].sum())  # the true gains of each promotion alone
        rows.append(row)
    return rows


def summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """By market, terms and plan: gain a cutoff, and its share of the oracle's with a 95 % interval over cutoffs.

    The interval is a bootstrap of cutoffs. Their weeks overlap, so that it is rather too narrow.
    """
    rng, rows = np.random.default_rng(seed), []
    for (market, terms), part in table.groupby(["market", "terms"], sort=False):
        wide = part.pivot(index="cutoff", columns="plan", values="gain")
        drawn = rng.integers(0, len(wide), (BOOTSTRAP, len(wide)))
        best = wide[BEST].to_numpy()
        for plan in part["plan"].unique():
            gain = wide[plan].to_numpy()
            shares = gain[drawn].sum(1) / best[drawn].sum(1)
            low, high = np.quantile(shares, [0.025, 0.975])
            row = {"market": market, "terms": terms, "plan": plan, "cutoffs": len(wide), "gain": gain.mean()}
            row |= {"share": gain.sum() / best.sum(), "low": low, "high": high}
            rows.append(row | {"promotions": part.loc[part["plan"] == plan, "promotions"].mean()})
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[BUILD], help="with panel/, models/, tables/ and truth/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "promotions")
    for folder in options.folders:
        if missing := [name for name in ("panel", "models", "tables", "truth") if not (folder / name).exists()]:
            raise ValueError(f"{folder}/ holds no {missing[0]}/. Name a simulated market's folder, after `dvc repro`.")
        table = judge(folder, study)
        save_rows(options.results / "plans.csv", table, ["market", "terms", "cutoff", "plan"])
        save_rows(options.results / "shares.csv", summary(table), ["market", "terms", "plan"])
    save_origin(options.results)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
