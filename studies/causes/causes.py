"""Effects of price and promotion: on simulated worlds, whose truth is known, and on a retailer.

    python -m studies.causes.causes worlds [--n 50] [--learner trees] [--strata brand]
    python -m studies.causes.causes retailer FOLDER [--rename THEIRS=OURS]

`worlds` writes results/worlds.csv (or worlds_trees.csv, worlds_brand.csv), a row per world, treatment and method, and
pictures. A run that was stopped continues with the first world that is not done. `retailer` writes results/<folder>.csv and
results/<folder>_cross_prices.csv.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # regressions of this size are slower on more

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import pandas as pd
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from shelfcast.data.files import atomic, revision
from shelfcast.market.truth import draw
from shelfcast.settings import Simulation
from shelfcast.why.causes import checks, effects
from shelfcast.why.causes.data import PRICE
from studies import parameters
from studies.causes import plots
from studies.causes.retailer import CROSS, retailer
from studies.causes.worlds import rows_of, true_effects
from studies.resume import resumed

WORK, RESULTS = Path("build/studies/causes"), Path("studies/causes/results")


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """`studies/causes/params.yaml`."""

    worlds: int
    mechanisms: list[str]
    confounding: list[str]
    n_products: int
    n_stores: int
    n_weeks: int


def world(simulation: Simulation, learner: str = "linear", strata: str | None = None) -> pd.DataFrame:
    """Every estimate on one world, beside its truth.

    Parameters
    ----------
    strata : of products, whose differences do not count as chance; see `effects.estimate`.

    Returns
    -------
    Columns mechanism, confounding, seed, truth; and those of `effects.table`. The truth of a check is 0.
    """
    market = draw(simulation)
    rows = rows_of(market)
    estimates, truths = [], []
    learned = {"learner": learner, "strata": strata}
    options = {"dml": learned, "instrument": learned, "naive": {}, "two_way": {}}
    for treatment, true in true_effects(market, rows).items():
        for method, own in options.items():
            if method != "instrument" or treatment == PRICE:
                estimates.append(effects.estimate(rows, treatment, method, **own))
                truths.append(true)
    estimates += [checks.placebo(rows, learner=learner), checks.negative_control(rows, learner=learner)]
    world = {"mechanism": simulation.mechanism, "confounding": simulation.confounding, "seed": simulation.seed}
    return effects.table(estimates).assign(**world, truth=[*truths, 0.0, 0.0])


def worlds(study: Study, learner: str = "linear", work: Path = WORK, strata: str | None = None) -> pd.DataFrame:
    """All worlds' estimates; those of an earlier run are read from `work`."""
    size = {name: getattr(study, name) for name in ("n_products", "n_stores", "n_weeks")}
    kinds = list(product(study.mechanisms, study.confounding)) * study.worlds
    simulations = [  # every world has a seed of its own, since twins of one seed share their luck
        Simulation(seed=seed, mechanism=mechanism, confounding=confounding, n_new=0, **size)
        for seed, (mechanism, confounding) in enumerate(kinds, 1)
    ]
    parts = []
    for kind in tqdm(simulations, "worlds", unit="world", disable="SHELFCAST_PIPELINE" in os.environ):
        key = [kind.mechanism, kind.confounding, kind.seed, size, learner, *([strata] if strata else [])]
        parts.append(resumed(work, key, lambda kind=kind: world(kind, learner, strata)))
    return pd.concat(parts, ignore_index=True)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By mechanism, confounding, treatment and method: n worlds, mean truth and estimate, bias (of the truth), coverage
    of the 95 % intervals, share of estimates with the true sign, mean width of intervals; of checks, whose truth is 0,
    bias is in their own unit, and there is no sign."""
    inside = table["truth"].between(table["low"], table["high"])
    right = (table["estimate"] * table["truth"] > 0).where(table["truth"] != 0)
    error = (table["estimate"] - table["truth"]) / table["truth"].abs().where(table["truth"] != 0, 1.0)
    columns = table.assign(
        covered=inside, right_sign=right.astype(float), bias=error, width=table["high"] - table["low"]
    )
    means = columns.groupby(["mechanism", "confounding", "treatment", "method"], sort=False).agg(
        worlds=("seed", "nunique"),
        truth=("truth", "mean"),
        estimate=("estimate", "mean"),
        bias=("bias", "mean"),
        covered=("covered", "mean"),
        right_sign=("right_sign", "mean"),
        width=("width", "mean"),
    )
    return means.reset_index()


def _title(table: pd.DataFrame) -> str:
    """What the picture shows, with its figures."""
    price = table[(table["treatment"] == PRICE) & (table["confounding"] == "hidden")]
    bias = (price["estimate"] - price["truth"]).groupby(price["method"]).mean()
    return (
        f"Where prices follow what only the retailer knows, the naive elasticity is off by {bias['naive']:+.2f} in the mean, "
        f"double machine learning by {bias['dml']:+.2f}, with the cost as instrument by {bias['instrument']:+.2f}"
    )


def _cross_title(table: pd.DataFrame) -> str:
    own = table["product_id"] == table["price_of"]
    return (
        f"A product's own price moves its units most: elasticity {table.loc[own, 'estimate'].mean():.1f} in the mean, "
        f"{table.loc[~own, 'estimate'].mean():+.1f} for the price of another product"
    )


def write(table: pd.DataFrame, name: str, to: Path = RESULTS) -> None:
    """A table as CSV, four digits, and the revision that made it."""
    with atomic(to / f"{name}.csv") as part:
        table.round(4).to_csv(part, index=False)
    made = to / "made.json"
    revisions = json.loads(made.read_text()) if made.exists() else {}
    with atomic(made) as part:
        part.write_text(json.dumps(revisions | {name: revision()}, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    simulated = commands.add_parser("worlds", help="estimates on simulated worlds beside their truth")
    simulated.add_argument("--n", type=int, help="worlds of each kind; params.yaml says how many where none is given")
    simulated.add_argument("--strata", choices=["brand", "category"], help="whose differences are no chance")
    simulated.add_argument("--learner", choices=effects.LEARNERS, default="linear")
    real = commands.add_parser("retailer", help="effects on a retailer's tables")
    real.add_argument("folder", type=Path)
    real.add_argument("--rename", default="", help="theirs=ours pairs, as markets.<name>.rename in params.yaml")
    for command in (simulated, real):
        command.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.command == "retailer":
        for name, table in retailer(options.folder, options.rename).items():
            write(table, name, options.results)
            if name.endswith(CROSS):
                plots.save(plots.cross_prices(table, _cross_title(table)), options.results / f"{name}.svg")
        return
    study = parameters.load(Study, "causes")
    if options.n is not None:
        if options.n < 1:
            raise ValueError(f"--n is {options.n}. Ask for one world or more.")
        study = Study(**{**vars(study), "worlds": options.n})
    changes = [*([options.learner] if options.learner != "linear" else []), *filter(None, [options.strata])]
    name = "_".join(["worlds", *changes])
    table = worlds(study, options.learner, strata=options.strata)
    write(table, name, options.results)
    write(summary(table), f"{name}_summary", options.results)
    plots.save(plots.errors(table, _title(table)), options.results / f"{name}.svg")
    print(summary(table).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
