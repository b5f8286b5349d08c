"""What-if, judged: forecasts under another plan against the laws of the simulated market, and rises that raise.

    python -m studies.whatif.whatif [FOLDER …]     # minutes each; resumable

A folder holds a panel and trained models, as build/<market>/ does. Without any these are build/simulated and the twins
that studies.whatif.twins has made. `responses.json` in a folder holds the estimate that models are anchored to (see
`anchor.Response`); without it the models alone are judged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from shelfcast.data.files import folder_md5
from shelfcast.market.tables import load_truth
from shelfcast.model.forecast import load_models
from shelfcast.panel.frame import Panel
from shelfcast.why.whatif.anchor import Response
from shelfcast.why.whatif.changes import Change
from shelfcast.why.whatif.forecast import Parts, Ready, coherent_means, moves
from studies import parameters
from studies.kept import save_origin, save_rows
from studies.resume import resumed
from studies.whatif.truth import PRESENT, Alone, expected

BUILD, WORK, RESULTS = Path("build"), Path("build/studies/whatif"), Path("studies/whatif/results")
VARIANT, SIMULATED = "shelfcast", "simulated"
LEVELS = {"product": slice(0, 1), "product_region": slice(1, None)}
TINY = 1e-12  # units
NO_RISE = 1e-6  # relative; below it a forecast stays


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    twins: dict[str, dict[str, str]] = Field(default_factory=dict)
    plans: dict[str, dict[str, float]] = Field(default_factory=dict)
    rises: list[float] = Field(default_factory=list)


def change(ready: Ready, plan: Alone) -> Change:
    """The plan as a change of the panel, of all products."""
    promotion = {name: getattr(plan, name) for name in ("mailer", "display") if getattr(plan, name) is not None}
    factor = plan.price_factor if plan.price_factor != 1 else None
    return Change(ready.plan.products, "chain", ready.plan.weeks, price_factor=factor, promotion=promotion or None)


def score(ready: Ready, market: dict, study: Study, response: Response | None) -> pd.DataFrame:
    """A row per plan, method, level and horizon of one cutoff, with sums from which `summary` makes errors.

    truth : true expected units under the plan. forecast : absolute errors of the forecast. response : those of the true
    units under the present plan times the forecast's factor, which leaves out what the present forecast misses.
    log_true, log_forecast : logs of the factors, summed; n of them. weight_<part> : of the estimate of a part of the plan.
    """
    stores, products = ready.panel.stores_by_location, np.arange(len(ready.plan.products))
    own = pd.Index(market["products"]["product_id"]).get_indexer(ready.plan.products)
    anchor = None if response is None else ready.anchored_to(response)
    weights = {f"weight_{part}": weight for part, weight in anchor.weights.items()} if anchor else {}
    before = means(ready, ready.present)
    true_before = expected(market, ready.plan.weeks, stores, PRESENT)[own]
    rows = []
    for name, values in study.plans.items():
        true = expected(market, ready.plan.weeks, stores, Alone(**values))[own]
        other = ready.each_alone(change(ready, Alone(**values)))
        forecasts = {"model": means(ready, ready.forecast(other, products)[0])}
        if anchor:
            forecasts["anchored"] = means(ready, ready.forecast(other, products, anchor)[0])
            forecasts["estimate"] = before * np.exp(response.log_factor(moves(ready.plan, other, products)))
        for method, after in forecasts.items():
            sums = {
                "truth": true,
                "forecast": np.abs(after - true),
                "response": np.abs(true_before * after / before - true),
                "present": np.abs(before - true_before),
                "present_truth": true_before,
                "log_true": np.log(np.maximum(true, TINY) / np.maximum(true_before, TINY)),
                "log_forecast": np.log(after / before),
            }
            rows += _by_level({"plan": name, "method": method}, sums, weights if method == "anchored" else {})
    return pd.DataFrame(rows)


def means(ready: Ready, parts: Parts) -> np.ndarray:
    """(P, L, H) expected units of models together, coherent."""
    return coherent_means(np.mean([mean for mean, _ in parts], 0))[:, :, 0] * ready.market.size


def _by_level(keys: dict, sums: dict[str, np.ndarray], weights: dict[str, float]) -> list[dict]:
    """Sums over products and locations (P, L, H) by level and horizon; products not yet launched are left out."""
    rows, sold = [], sums["present_truth"] > 0
    for level, locations in LEVELS.items():
        for h in range(sold.shape[-1]):
            at = sold[:, locations, h]
            totals = {name: float(x[:, locations, h][at].sum()) for name, x in sums.items()}
            rows.append(keys | {"level": level, "horizon": h + 1} | totals | {"n": int(at.sum())} | weights)
    return rows


def rises(ready: Ready, factors: list[float], response: Response | None) -> pd.DataFrame:
    """A row per factor, method, level and horizon of one cutoff: n forecasts, and how many a price rise raises.

    Each product's price rises alone. Markets without planned prices have no rows.
    """
    rows: list[dict] = []
    if "price" not in ready.plan.values:
        return pd.DataFrame(rows)
    before, products = means(ready, ready.present), np.arange(len(ready.plan.products))
    methods = {"model": None} | ({"anchored": ready.anchored_to(response)} if response else {})
    for factor, (method, anchor) in product(factors, methods.items()):
        other = ready.each_alone(change(ready, Alone(price_factor=factor)))
        raised = means(ready, ready.forecast(other, products, anchor)[0]) > before * (1 + NO_RISE)
        for level, locations in LEVELS.items():
            for h in range(raised.shape[-1]):
                own, keys = raised[:, locations, h], {"factor": factor, "method": method, "level": level}
                rows.append(keys | {"horizon": h + 1, "raised": int(own.sum()), "n": own.size})
    return pd.DataFrame(rows)


def read_response(folder: Path) -> Response | None:
    """The estimate of a market's response, where `responses.json` holds one."""
    path = folder / "responses.json"
    return Response(**json.loads(path.read_text())) if path.exists() else None


def judge_cutoff(folder: Path, cutoff: pd.Timestamp, study: Study) -> pd.DataFrame:
    """`score` and `rises` of a folder at a cutoff, told apart by `kind`."""
    own = folder / "models" / VARIANT
    facts = json.loads((own / "variant.json").read_text())
    ready = Ready.of(Panel.load(folder / "panel"), load_models(own), facts, cutoff)
    response = read_response(folder)
    parts = [rises(ready, study.rises, response).assign(kind="rises")]
    if (folder / "truth").exists():
        parts.append(score(ready, load_truth(folder / "truth"), study, response).assign(kind="score"))
    return pd.concat(parts, ignore_index=True)


def judge(folder: Path, study: Study, work: Path = WORK) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`summary` of a folder's scores and of its rises, over the test cutoffs and the latest one."""
    panel = Panel.load(folder / "panel")
    cutoffs = panel.cutoffs["test"] + panel.cutoffs["latest"]
    response = read_response(folder)
    key = [folder.name, folder_md5(folder / "panel"), folder_md5(folder / "models" / VARIANT), str(response)]
    frames = []
    for cutoff in tqdm(cutoffs, desc=folder.name, disable="SHELFCAST_PIPELINE" in os.environ):
        make = partial(judge_cutoff, folder, cutoff, study)
        frames.append(resumed(work / "finished", [*key, str(cutoff), study.plans, study.rises], make))
    rows = pd.concat(frames, ignore_index=True)
    scored, raised = (rows[rows["kind"] == kind].assign(market=folder.name) for kind in ("score", "rises"))
    return summary(scored), share_raised(raised)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """By market, method, level and plan, and over all plans: errors relative to the true units, and mean log factors.

    forecast, response, present : WMAPE; see `score`.
    """
    if rows.empty:
        return pd.DataFrame()
    both = pd.concat([rows, rows.assign(plan="all")])
    keys = ["market", "method", "level", "plan"]
    weights = both.groupby(keys)[[name for name in both if name.startswith("weight_")]].mean()
    sums = both.groupby(keys)[
        ["truth", "forecast", "response", "present", "present_truth", "log_true", "log_forecast", "n"]
    ].sum()
    out = pd.DataFrame(
        {
            "forecast": sums["forecast"] / sums["truth"],
            "response": sums["response"] / sums["truth"],
            "present": sums["present"] / sums["present_truth"],
            "log_true": sums["log_true"] / sums["n"],
            "log_forecast": sums["log_forecast"] / sums["n"],
        }
    )
    return out.join(weights).reset_index()


def share_raised(rows: pd.DataFrame) -> pd.DataFrame:
    """By market, method, level and factor: the share of forecasts that a price rise raises, and their number."""
    if rows.empty:
        return pd.DataFrame()
    sums = rows.groupby(["market", "method", "level", "factor"])[["raised", "n"]].sum()
    return sums.assign(share=sums["raised"] / sums["n"]).drop(columns="raised").astype({"n": int}).reset_index()


def write(tables: dict[str, pd.DataFrame], to: Path = RESULTS) -> None:
    """`scores.csv`, `rises.csv` and `made.json`; rows of markets that were not judged this time stay."""
    for name, table in tables.items():
        if not table.empty:
            save_rows(to / f"{name}.csv", table, ["market"])
    save_origin(to)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="with panel/ and models/; the simulated ones without any")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    study = parameters.load(Study, "whatif")
    usual = [BUILD / SIMULATED, *(WORK / name for name in study.twins)]
    folders = options.folders or [folder for folder in usual if (folder / "models" / VARIANT).exists()]
    if not folders:
        raise ValueError(f"{BUILD / SIMULATED}/ holds no trained models. Run `dvc repro` first.")
    for folder in folders:
        scores, raised = judge(folder, study, options.work)
        write({"scores": scores, "rises": raised}, options.results)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"error: {error}")
