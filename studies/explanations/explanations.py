"""Which explanation of a forecast can be trusted: attention, integrated gradients and Shapley values, against the truth.

    python -m studies.explanations.explanations               # the markets of params.yaml; minutes each, resumable
    python -m studies.explanations.explanations simulated

Reads build/<market>/panel and models/shelfcast (and truth/ of a simulated market); writes results/<market>.json,
results/curves.csv and curves.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass

from shelfcast.data.files import atomic, folder_md5, revision
from shelfcast.market.tables import load_truth
from shelfcast.report.plots import COLOURS, LINES, MARKERS
from shelfcast.report.theme import WIDE, canvas, legend
from shelfcast.why.explain.frames import Variant
from shelfcast.why.explain.groups import groups_of
from studies import parameters
from studies.explanations import measure, scores
from studies.explanations.measure import METHODS
from studies.explanations.truth import GROUPS
from studies.resume import resumed

BUILD, RESULTS = Path("build"), Path("studies/explanations/results")
NAMES = {
    "shapley": "Shapley values",
    "gradients": "integrated gradients",
    "rollout": "attention rollout",
    "attention": "attention",
    "random": "random order",
}


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    markets: list[str]
    locations: list[str]
    n_products: int = Field(ge=1)
    n_cutoffs: int = Field(ge=1)
    matters: float = Field(gt=0, lt=1)


def explanations(study: Study, market: str, build: Path) -> tuple[dict[str, pd.DataFrame], Variant]:
    """Frames of `measure` for all seeds together, for each alone, and for shuffled weights; and the trained variant."""
    folder = build / market
    variant = Variant.load(folder)
    market_truth = load_truth(folder / "truth") if (folder / "truth").exists() else None
    members = {"all": variant.models} | {f"seed_{i}": [model] for i, model in enumerate(variant.models)}
    members["shuffled"] = [measure.shuffled(variant.models[0])]
    cutoffs = measure.choose_cutoffs(variant, study.n_cutoffs)
    origin = [folder_md5(folder / "panel"), folder_md5(folder / "models/shelfcast")]
    frames = {}
    for name, models in members.items():
        key = [market, name, *origin, study.n_products, [str(c.date()) for c in cutoffs], study.locations]
        known = market_truth if name == "all" else None
        frames[name] = resumed(
            build / "studies/explanations" / market,
            key,
            lambda models=models, known=known: measure.explain_all(
                measure.with_models(variant, models), cutoffs, study.n_products, study.locations, known
            ),
        )
    return frames, variant


def results(study: Study, market: str, build: Path) -> tuple[dict, pd.DataFrame]:
    """What the file of a market holds, and its curves."""
    frames, variant = explanations(study, market, build)
    groups = [group.name for group in groups_of(variant.market)]
    tables, of_groups, curves = {}, {}, []
    for location in study.locations:
        own = {name: frame[frame["location"] == location] for name, frame in frames.items()}
        rows = scores.table(own, groups, METHODS, study.matters)
        tables[location] = {name: row.dropna().round(4).to_dict() for name, row in rows.iterrows()}
        whole = own["all"]
        if (whole["method"] == "truth").any():
            true = scores.contributions(whole, "truth", GROUPS)
            of_groups[location] = {
                name: {
                    g: round(x, 4) for g, x in scores.by_group(scores.contributions(whole, name, GROUPS), true).items()
                }
                for name in METHODS[:2]  # attention has no direction
            }
        curves.append(scores.mean_curves(own["all"]).reset_index().assign(market=market, location=location))
    whole = frames["all"]
    made = {
        "revision": revision(),
        "panel_md5": folder_md5(build / market / "panel"),
        "models": len(variant.models),
        "forecasts": int((whole["method"] == "shapley").sum()),
        "groups": groups,
        "matters": study.matters,
    }
    return {
        "made": made,
        "completeness": completeness(whole, groups),
        "scores": tables,
        "by_group": of_groups,
    }, pd.concat(curves)


def completeness(frame: pd.DataFrame, groups: list[str]) -> dict[str, float]:
    """Largest error of adding up, as a share of what the groups move in all, of the methods that should add up."""
    errors = {}
    for method in ("shapley", "gradients"):
        rows = frame[frame["method"] == method]
        gap = rows[groups].sum(axis=1) - (rows["forecast"] - rows["usual"])
        errors[method] = float((gap.abs() / rows[groups].abs().sum(axis=1).clip(lower=1e-6)).max().round(6))
    return errors


def picture(curves: pd.DataFrame, location: str) -> Figure:
    """Distance to the whole forecast while groups are taken away and while they are added, a panel each and market."""
    markets = list(dict.fromkeys(curves["market"]))
    figure, axes = canvas("How far from the forecast, by the order in which inputs go and come", WIDE, 2 * len(markets))
    rows = curves[curves["location"] == location]
    for i, market in enumerate(markets):
        for ax, kind, verb in zip(
            axes[2 * i : 2 * i + 2], ("deletion", "insertion"), ("taken away", "added"), strict=True
        ):
            for name, marker, colour, line in zip(NAMES, MARKERS, COLOURS, LINES, strict=True):
                own = rows[(rows["market"] == market) & (rows["method"] == name)]
                look = {"color": colour, "ls": line, "marker": marker, "ms": 3, "lw": 1.2}
                ax.plot(own["k"], 100 * own[kind], label=NAMES[name], **look)
            ax.set(xlabel=f"{verb}, {market}", ylim=(0, None), ylabel="" if i + (kind != "deletion") else "% of units")
    legend(figure, axes[0], 3)
    return figure


def main(arguments: list[str]) -> None:
    study = parameters.load(Study, "explanations")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("markets", nargs="*", help="those of params.yaml where none is named")
    parser.add_argument("--build", type=Path, default=BUILD)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    for market in given.markets or study.markets:
        found, curves = results(study, market, given.build)
        path = given.results / "curves.csv"
        earlier = pd.read_csv(path) if path.exists() else curves.iloc[:0]
        whole = pd.concat([earlier[earlier["market"] != market], curves]).sort_values(
            ["market", "location"], kind="stable"
        )
        with atomic(path) as part:
            whole[["market", "location", "method", "k", "deletion", "insertion"]].round(5).to_csv(part, index=False)
        with atomic(given.results / "curves.png") as part:
            picture(whole, study.locations[0]).savefig(part, format="png", dpi=110)
        with atomic(given.results / f"{market}.json") as part:
            part.write_text(json.dumps(found, indent=1) + "\n")
        print(given.results / f"{market}.json")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"error: {error}")
