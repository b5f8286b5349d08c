"""What it costs to train and to run SalesBert, and what a cheaper way of either loses, in one table.

    python -m studies.efficiency.efficiency               # every row, three seeds; resumes where it was stopped
    python -m studies.efficiency.efficiency full_3 lora_3 # some rows

Rows differ in what of the encoder is trained (full, lora, frozen), in how many of its layers are kept, and in
precision. Each is trained on several categories together, for the same steps, on the training weeks; scores are those
of the last step on the validation weeks, so that no row has chosen its best one. Every training is a process of its
own. build/studies/efficiency holds the panels and each training's figures; results/efficiency.csv and .png are the
table and its picture.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmarks.processes import run_watched
from shelfcast import settings
from shelfcast.data.files import atomic
from shelfcast.data.tables import load_each
from shelfcast.judge.distribution import count_wql
from shelfcast.methods.zero_shot import with_outlook
from shelfcast.model import adapters
from shelfcast.model.forecast import predict
from shelfcast.model.salesbert import SalesBert
from shelfcast.model.tensors import MarketTensors, backbone_path, load_tokenizer, network_shape
from shelfcast.model_options import Finetune
from shelfcast.panel.build import build
from shelfcast.panel.frame import Panel
from shelfcast.report import plots
from shelfcast.settings import Prepare
from shelfcast.training.base.join import join
from shelfcast.training.fit import pretrain
from shelfcast.training.trainer import check_precision
from studies import parameters

BUILD, RESULTS = Path("build/studies/efficiency"), Path("studies/efficiency/results")


@dataclass(frozen=True, config=parameters.STRICT)
class Study:
    """The whole of the study's params.yaml, where each value is explained."""

    categories: list[str]
    seeds: list[int]
    common: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    n_products: int = Field(ge=1)
    n_regions: int = Field(ge=1)

    def finetune(self, row: str) -> Finetune:
        """The settings of a row; a SettingsError where one is unknown."""
        where = f"studies/efficiency/params.yaml: rows.{row}"
        return settings.build(Finetune, self.common | self.rows[row], where)


# ---------------------------------------------------------------- one training, in a process of its own


def run_one(row: str, finetune: Finetune, seed: int, folder: Path, out: Path) -> None:
    """Train a row with a seed, and write as JSON what it took and how well it forecasts."""
    warnings.filterwarnings("ignore")
    panels = [Panel.load(path.parent) for path in sorted(folder.glob("panels/*/panel.json"))]
    market = join(panels, load_tokenizer(finetune.backbone))
    splits = market.splits(panels[0])
    shape = network_shape(finetune, market)

    def make_model(_: str) -> SalesBert:
        return SalesBert.from_backbone(backbone_path(finetune.backbone), **shape)

    figures = {"row": row, "seed": seed} | model_size(make_model("select"), finetune)
    with tempfile.TemporaryDirectory() as work:
        start = time.perf_counter()
        models, _ = pretrain(make_model, *splits, finetune, seed, work, "x", phases=("select",))
        figures["train_seconds"] = time.perf_counter() - start
    model = models["select"]
    light = adapters.quantised(copy.deepcopy(model))
    for ending, judged, bf16 in (("", model, False), ("_bf16", model, True), ("_int8", light, False)):
        measured = forecast_figures(judged, splits[1], bf16)
        figures |= {f"{name}{ending}": value for name, value in measured.items()}
    with tempfile.TemporaryFile() as file:
        torch.save(light.state_dict(), file)
        figures["mb_int8"] = file.tell() / 1e6
    out.write_text(json.dumps(figures))


def model_size(model: SalesBert, finetune: Finetune) -> dict[str, float]:
    """Parameters, the share of them that is trained, and the MB of the file that a market needs besides the backbone."""
    model = adapters.adapt(model, finetune)
    n, n_trained = model.num_parameters(), model.num_parameters(only_trainable=True)
    with tempfile.TemporaryDirectory() as folder:
        adapters.save(model, folder, finetune.backbone)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {"parameters": n, "trained": n_trained / n, "mb": size / 1e6}


def forecast_figures(model: SalesBert, market: MarketTensors, bf16: bool) -> dict[str, float]:
    """WQL for the chain and for the regions, and seconds for 1,000 forecasts of a product in a location."""
    has_label = ~market.tensors["labels"].isnan().all(-1).all(0).all(0).numpy()  # T
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        mean, dispersion = (x[:, :, has_label] for x in predict(model, market))
    seconds = time.perf_counter() - start
    y = market.tensors["labels"][:, :, has_label].double().numpy()
    figures = {}
    for name, locations in (("chain", slice(0, 1)), ("regions", slice(1, None))):
        observed = ~np.isnan(y[:, locations])
        figures[f"wql_{name}"] = count_wql(*(x[:, locations][observed] for x in (y, mean, dispersion)))
    return figures | {"seconds_per_1000": 1000 * seconds / mean[:, :, :, 0].size}


# ---------------------------------------------------------------- all of them


def prepare_panels(study: Study, folder: Path) -> None:
    """Build the panels, once."""
    prepare = Prepare(n_products=study.n_products, n_regions=study.n_regions)
    tables_of_each = load_each("complete_journey", "data", study.categories)
    for category, tables in zip(study.categories, tables_of_each, strict=True):
        with atomic(folder / "panels" / category.lower().replace(" ", "_")) as part:
            with_outlook(build(tables, prepare, {"category": category})).save(part)


def run(rows: list[str], seeds: list[int], folder: Path) -> pd.DataFrame:
    """Train what has not been trained yet; returns all figures, one line a row and seed."""
    (folder / "trained").mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for row in rows:
            out = folder / "trained" / f"{row}_{seed}.json"
            if out.exists():
                continue
            with atomic(out) as part:
                log = folder / "log"
                module = [sys.executable, "-m", "studies.efficiency.efficiency", "--one"]
                status, peak = run_watched([*module, row, str(seed), str(folder), str(part)], log)
                if status:
                    raise SystemExit(f"error: {row}, seed {seed}: {log.read_text().strip().splitlines()[-1]}")
                part.write_text(json.dumps(json.loads(part.read_text()) | {"peak_mib": peak}))
            print(f"{row}, seed {seed}: {out.read_text()}", flush=True)
    return pd.DataFrame([json.loads(path.read_text()) for path in sorted((folder / "trained").glob("*.json"))])


def table(figures: pd.DataFrame, rows: list[str]) -> pd.DataFrame:
    """Means over seeds in the order of `rows`, and by how much the first row's WQL is exceeded: mean, least and most."""
    names = [row for row in rows if row in set(figures["row"])]
    mean = figures.groupby("row").mean().drop(columns="seed").loc[names]
    both = figures.assign(wql=(figures["wql_chain"] + figures["wql_regions"]) / 2)
    by_seed = both.pivot(index="row", columns="seed", values="wql")
    loss = by_seed / by_seed.loc[names[0]] - 1
    return mean.assign(
        seeds=by_seed.notna().sum(axis=1),
        loss=loss.mean(axis=1),
        loss_least=loss.min(axis=1),
        loss_most=loss.max(axis=1),
    )


def picture(rows: pd.DataFrame) -> Figure:
    """WQL against the first row's, with its range over seeds, and the seconds that a training takes."""
    drawn = rows.rename(columns={"loss": "estimate", "loss_least": "low", "loss_most": "high"}).assign(
        label=[f"{row}, {seconds:.0f} s" for row, seconds in rows["train_seconds"].items()],
        group=["ours" if row.startswith("compact") else "backbone" for row in rows.index],
    )
    title = f"error against {rows.index[0]}, range over seeds; seconds to train"
    return plots.intervals(drawn, title, "difference in WQL", size=plots.WIDE)


def main(arguments: list[str]) -> None:
    study = parameters.load(Study, "efficiency")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"some of {', '.join(study.rows)}; all where none is named")
    parser.add_argument(
        "--seed", type=int, action="append", help="may be given several times; else those of params.yaml"
    )
    parser.add_argument("--build", type=Path, default=BUILD)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.rows) - set(study.rows)):
        raise SystemExit(f"error: there are no rows {', '.join(unknown)}. Choose of {', '.join(study.rows)}.")
    rows = given.rows or list(study.rows)
    for row in rows:
        check_precision(study.finetune(row))  # before anything is trained
    if not list(given.build.glob("panels/*/panel.json")):
        prepare_panels(study, given.build)
    figures = table(run(rows, given.seed or study.seeds, given.build.resolve()), list(study.rows))
    with atomic(given.results / "efficiency.csv") as part:
        figures.round(5).to_csv(part)
    with atomic(given.results / "efficiency.png") as part:
        picture(figures).savefig(part, format="png", dpi=110)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        name, seed, folder, out = sys.argv[2:]
        run_one(name, parameters.load(Study, "efficiency").finetune(name), int(seed), Path(folder), Path(out))
    else:
        main(sys.argv[1:])
