"""Promotion plans, judged: what share of the best plan's true gain is reached on the simulated market.

    python -m studies.promotions.promotions [FOLDER …]     # build/simulated without any; a minute each

A folder holds panel, trained models, tables and truth of a simulated market, as build/<market>/ does.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass as plain_dataclass
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
    draws: int = 10
    own: list[float] = Field(default_factory=list)

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

    def best(gain: np.ndarray, spent: np.ndarray = spending) -> np.ndarray:
        return best_plan(gain, spent, options).plan

    rng = np.random.default_rng(0)
    shape = spending.shape
    full, models = (gains(at.ready, at.terms, options.channels, x, draws=1, own=1.0) for x in (estimated, None))
    planned = np.nan_to_num(at.ready.plan.values[PROMOTION][:, 0]) >= PROMOTED
    oracles = {"oracle": world(market, at, "expected"), "hindsight": world(market, at, "true")}
    return {
        "shelfcast": [best(at.gains.expected["money"])],
        "own response in full": [best(full.expected["money"])],
        "models alone": [best(models.expected["money"])],
        "one response for all": [best(money_of(at, at.gains.base, at.gains.cause))],
        "naive lift": [best(naive_gain(at))],
        "sold most": [best(np.repeat(latest(at, "level_13")[:, None], shape[1], 1) * at.gains.on_sale)],
        "retailer's choice": [best(planned * (1 + rng.random(shape))) for _ in range(draws)],
        "random": [best((0.1 + rng.random(shape)) * at.gains.on_sale) for _ in range(draws)],
        **{name: [best(truth.alone()[at.rows], truth.spending()[at.rows])] for name, truth in oracles.items()},
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
    return (at.terms.money(base, base + more) - at.terms.fixed_cost) * at.gains.on_sale


def naive_gain(at: At) -> np.ndarray:
    """(P, H) by the mean sales of weeks with and without promotion so far, as a spreadsheet would compare them."""
    without, promoted = latest(at, "mean_unpromoted")[:, None], latest(at, "mean_promoted")[:, None]
    return money_of(at, without, promoted - without)


@plain_dataclass(frozen=True)
class Judged:
    """A simulated market with all that the study reads of it."""

    panel: Panel
    models: list
    facts: dict
    market: dict
    costs: pd.DataFrame

    @classmethod
    def load(cls, folder: Path) -> Judged:
        own = folder / "models" / VARIANT
        facts, costs = json.loads((own / "variant.json").read_text()), read_costs(folder / "tables")
        return cls(Panel.load(folder / "panel"), load_models(own), facts, load_truth(folder / "truth"), costs)

    def estimated(self, until: str) -> Causes:
        return causes(self.panel, by_channel=True, until=pd.Timestamp(self.panel.meta[until]))

    def at(self, ready: Ready, options: Promotions, estimated: Causes) -> At:
        terms = Terms.of(self.panel, options, self.costs, ready.cutoff)
        rows = pd.Index(self.market["products"]["product_id"]).get_indexer(ready.plan.products)
        return At(ready, options, terms, gains(ready, terms, options.channels, estimated), rows)


def judge(judged: Judged, study: Study, name: str) -> pd.DataFrame:
    """A row per market, terms, test cutoff and plan; see `scored`."""
    estimated, rows = judged.estimated("validation_end"), []
    cutoffs = judged.panel.cutoffs["test"] + judged.panel.cutoffs["latest"]
    for cutoff in tqdm(cutoffs, desc=f"{name}: plans", disable=not sys.stderr.isatty()):
        ready = Ready.of(judged.panel, judged.models, judged.facts, cutoff)
        for terms, options in study.options().items():
            at = judged.at(ready, options, estimated)
            rows += scored(at, judged.market, estimated, study.draws, {"market": name, "terms": terms})
    return pd.DataFrame(rows)


def choose_own(judged: Judged, study: Study, name: str) -> pd.DataFrame:
    """By how much a product's own response counts: the share of the oracle's gain on the validation weeks, first terms."""
    estimated, rows = judged.estimated("train_end"), []
    first = dict(list(study.options().items())[:1])
    for cutoff in tqdm(judged.panel.cutoffs["validation"], desc=f"{name}: own", disable=not sys.stderr.isatty()):
        ready = Ready.of(judged.panel, judged.models, judged.facts, cutoff)
        for terms, options in first.items():
            at = judged.at(ready, options, estimated)
            truth = world(judged.market, at, "true")
            oracle = world(judged.market, at, "expected")
            plans = {BEST: best_plan(oracle.alone()[at.rows], oracle.spending()[at.rows], options).plan}
            for own in study.own:
                found = gains(ready, at.terms, options.channels, estimated, draws=1, own=own)
                plans[own] = best_plan(found.expected["money"], found.spending, options).plan
            gained = {own: truth.gain(widened(plan, at, truth)) for own, plan in plans.items()}
            best = gained.pop(BEST)
            rows += [{"terms": terms, "own": own, "gain": gain, "best": best} for own, gain in gained.items()]
    sums = pd.DataFrame(rows).groupby(["terms", "own"], sort=False)[["gain", "best"]].sum()
    return (sums["gain"] / sums["best"]).rename("share").reset_index().assign(market=name)


def widened(plan: np.ndarray, at: At, truth: World) -> np.ndarray:
    """A plan of the panel's products as one of the market's."""
    full = np.zeros(truth.cost.shape, bool)
    full[at.rows] = plan
    return full


def scored(at: At, market: dict, estimated: Causes, draws: int, keys: dict) -> list[dict]:
    """A row per plan of one cutoff and terms.

    gain, spent : true, in money. expected, low, high : what the plan was made to gain. added : the true gains of its
    promotions, each alone.
    """
    truth, rows = world(market, at, "true"), []
    for name, plans in plans_of(at, market, estimated, draws).items():
        wide = [widened(plan, at, truth) for plan in plans]
        row = keys | {"cutoff": str(at.ready.cutoff.date()), "plan": name}
        row["gain"] = float(np.mean([truth.gain(plan) for plan in wide]))
        row["spent"] = float(np.mean([truth.spending()[plan].sum() for plan in wide]))
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
    parser.add_argument(
        "folders", type=Path, nargs="*", default=[BUILD], help="with panel/, models/, tables/ and truth/"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "promotions")
    for folder in options.folders:
        if missing := [name for name in ("panel", "models", "tables", "truth") if not (folder / name).exists()]:
            raise ValueError(f"{folder}/ holds no {missing[0]}/. Name a simulated market's folder, after `dvc repro`.")
        judged = Judged.load(folder)
        table = judge(judged, study, folder.name)
        save_rows(options.results / "plans.csv", table, ["market", "terms", "cutoff", "plan"])
        save_rows(options.results / "shares.csv", summary(table), ["market", "terms", "plan"])
        save_rows(options.results / "own.csv", choose_own(judged, study, folder.name), ["market", "terms", "own"])
    save_origin(options.results)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
