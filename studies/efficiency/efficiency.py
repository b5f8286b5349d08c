"""What it costs to train and to run SalesBert, and what a cheaper way of either loses, in one table.

    python benchmarks/efficiency.py               # every row, three seeds; goes on where it was stopped
    python benchmarks/efficiency.py full_3 lora_3 # some rows

Rows differ in what of the encoder is trained (full, lora, frozen), in how many of its layers are kept, and in
precision. Each is trained on several categories together, for the same epochs, on the training weeks; scores are those
of the last epoch on the validation weeks, so that no row has chosen its best one. Every training is a process of its
own. build/efficiency keeps the panels and each training's figures; benchmarks/results/efficiency.csv and .png are the
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

import numpy as np
import pandas as pd
import torch
from peers import ROOT, watched

from shelfcast.model import adapters as efficient
from shelfcast.report import plots
from shelfcast.model.tensors import backbone_path, join, load_tokenizer
from shelfcast.model.forecast import predict
from shelfcast.judge.distribution import count_wql
from shelfcast.model.salesbert import SalesBert
from shelfcast.panel.frame import Panel, build
from shelfcast.data.files import atomic
from shelfcast.data.tables import load_each
from shelfcast.training.trainer import Recipe
from shelfcast.training.fit import pretrain

CATEGORIES = ["SOUP", "CHEESE", "FROZEN PIZZA", "BAG SNACKS"]  # of those that development looks at
PRODUCTS, REGIONS = 50, 2  # a smaller market than the default one: a dozen trainings of six layers take an hour on it
SEEDS = (0, 1, 2)
EPOCHS = 6
SHAPE = dict(body="backbone", layers=6)
ROWS = {f"{mode}_{n}": dict(mode=mode, layers=n) for mode in ("full", "lora", "frozen") for n in (6, 3, 2)}
ROWS |= {
    "full_3_bf16": dict(mode="full", layers=3, precision="bf16"),
    "full_3_in_parts": dict(mode="full", layers=3, batch_weeks=75, accumulation=4),
    "compact": dict(mode="frozen", body="compact", learning_rate=2e-3),
    "compact_bf16": dict(mode="frozen", body="compact", learning_rate=2e-3, precision="bf16"),
}


# ---------------------------------------------------------------- one training, in a process of its own


def one(row: str, seed: int, folder: Path, out: Path) -> None:
    """Train a row from a seed, and write as JSON what it took and how well it forecasts."""
    warnings.filterwarnings("ignore")
    shape, recipe = _settings(ROWS[row])
    panels = [Panel.load(path.parent) for path in sorted(folder.glob("panels/*/panel.json"))]
    market, first = join(panels, load_tokenizer("minilm")), panels[0]
    train, validation, _ = market.splits(first)

    def make(_):
        return SalesBert.from_backbone(backbone_path("minilm"), **shape, **market.sizes())

    found = {"row": row, "seed": seed} | _size(make("select"), recipe)
    with tempfile.TemporaryDirectory() as work:
        start = time.perf_counter()
        models, _ = pretrain(make, train, validation, None, recipe, seed, work, "x", phases=("select",))
        found["train_seconds"] = time.perf_counter() - start
    model = models["select"]
    light = efficient.quantised(copy.deepcopy(model))
    for name, judged, bf16 in (("", model, False), ("_bf16", model, True), ("_int8", light, False)):
        found |= {f"{key}{name}": value for key, value in _judged(judged, validation, bf16).items()}
    with tempfile.TemporaryFile() as file:
        torch.save(light.state_dict(), file)
        found["mb_int8"] = file.tell() / 1e6
    out.write_text(json.dumps(found))


def _settings(row: dict) -> tuple[dict, Recipe]:
    shape = SHAPE | {k: v for k, v in row.items() if k in ("body", "layers")}
    return shape, Recipe(epochs=EPOCHS, **{k: v for k, v in row.items() if k not in ("body", "layers")})


def _size(model: SalesBert, recipe: Recipe) -> dict:
    """Parameters, the share of them that is trained, and the MB of the file that a market needs beside the backbone."""
    model = efficient.adapt(model, recipe)
    n, trained = model.num_parameters(), model.num_parameters(only_trainable=True)
    with tempfile.TemporaryDirectory() as folder:
        efficient.save(model, folder, "minilm")
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {"parameters": n, "trained": trained / n, "mb": size / 1e6}


def _judged(model: SalesBert, market, bf16: bool) -> dict:
    """WQL at the chain and in the regions, and seconds for 1,000 forecasts of a product in a location."""
    at = ~market.tensors["labels"].isnan().all(-1).all(0).all(0).numpy()
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        mean, dispersion = (x[:, :, at] for x in predict(model, market))
    seconds = time.perf_counter() - start
    y = market.tensors["labels"][:, :, at].double().numpy()
    scores = {}
    for name, where in (("chain", slice(0, 1)), ("regions", slice(1, None))):
        known = ~np.isnan(y[:, where])
        scores[f"wql_{name}"] = wql(*(x[:, where][known] for x in (y, mean, dispersion)))
    return scores | {"seconds_per_1000": 1000 * seconds / mean[:, :, :, 0].size}


# ---------------------------------------------------------------- all of them


def prepare(folder: Path) -> None:
    """The panels, once."""
    for category, raw in zip(CATEGORIES, load_each("complete_journey", ROOT / "data", CATEGORIES), strict=True):
        panel = build(raw, PRODUCTS, n_regions=REGIONS, meta={"category": category})
        with atomic(folder / "panels" / category.lower().replace(" ", "_")) as part:
            panel.save(part)


def run(rows: list[str], seeds: list[int], folder: Path) -> pd.DataFrame:
    """Train what has not been trained yet; returns all figures, one line a row and seed."""
    if not list(folder.glob("panels/*/panel.json")):
        prepare(folder)
    (folder / "trained").mkdir(exist_ok=True)
    for seed in seeds:
        for row in rows:
            out = folder / "trained" / f"{row}_{seed}.json"
            if out.exists():
                continue
            with atomic(out) as part:
                log = folder / "log"
                status, peak = watched([sys.executable, __file__, "--one", row, str(seed), str(folder), str(part)], log)
                if status:
                    raise SystemExit(f"error: {row}, seed {seed}: {log.read_text().strip().splitlines()[-1]}")
                part.write_text(json.dumps(json.loads(part.read_text()) | {"peak_mib": peak}))
            print(f"{row}, seed {seed}: {json.loads(out.read_text())}", flush=True)
    return pd.DataFrame([json.loads(path.read_text()) for path in sorted((folder / "trained").glob("*.json"))])


def table(figures: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, and by how much the first row's WQL is missed: mean, least and most over seeds."""
    mean = figures.groupby("row").mean().drop(columns="seed").loc[[row for row in ROWS if row in set(figures["row"])]]
    both = figures.assign(wql=(figures["wql_chain"] + figures["wql_regions"]) / 2)
    by_seed = both.pivot(index="row", columns="seed", values="wql")
    loss = by_seed / by_seed.loc[mean.index[0]] - 1
    return mean.assign(
        seeds=by_seed.notna().sum(axis=1),
        loss=loss.mean(axis=1),
        loss_least=loss.min(axis=1),
        loss_most=loss.max(axis=1),
    )


def picture(rows: pd.DataFrame):
    """WQL against the first row's, with its range over seeds, and the seconds that a training takes."""
    drawn = rows.rename(columns={"loss": "estimate", "loss_least": "low", "loss_most": "high"}).assign(
        label=[f"{row}, {seconds:.0f} s" for row, seconds in rows["train_seconds"].items()],
        group=["ours" if row.startswith("compact") else "backbone" for row in rows.index],
    )
    title = f"error against {rows.index[0]}, range over seeds; seconds to train"
    return plots.intervals(drawn, title, "difference in WQL", size=plots.WIDE)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"some of {', '.join(ROWS)}; all where none is named")
    parser.add_argument(
        "--seed", type=int, action="append", help="may be given several times; 0, 1 and 2 where it is not"
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build/efficiency")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.rows) - set(ROWS)):
        raise SystemExit(f"error: unknown rows {', '.join(unknown)}; known: {', '.join(ROWS)}.")
    for row in given.rows or ROWS:
        _settings(ROWS[row])  # what this machine cannot train is said before anything is
    found = table(run(given.rows or list(ROWS), given.seed or list(SEEDS), given.build.resolve()))
    with atomic(given.results / "efficiency.csv") as part:
        found.round(5).to_csv(part)
    with atomic(given.results / "efficiency.png") as part:
        picture(found).savefig(part, format="png", dpi=110)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), *map(Path, sys.argv[4:]))
    else:
        main(sys.argv[1:])
