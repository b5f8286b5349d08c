"""The simulated market as a retailer's raw tables, and the truth that they are drawn from.

    python -m shelfcast.market.tables simulated     # the line of that name under `simulations` in params.yaml

writes build/simulated/tables and build/simulated/truth. Equations are in docs/simulated_market.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from shelfcast import settings
from shelfcast.data.files import atomic
from shelfcast.market import laws
from shelfcast.market.catalogue import draw_picture
from shelfcast.market.retailer.raw import raw_tables
from shelfcast.market.scenes import raw as scene_raw
from shelfcast.market.scenes import truth as scene_truth
from shelfcast.market.truth import draw
from shelfcast.settings import Simulation
from shelfcast.validate import SettingsError, nearest


def write(folder: str | Path, simulation: Simulation) -> dict:
    """Draw a market; write `tables/` (with `images/` for a shop) and `truth/` under a folder, each whole or not at all.

    Returns
    -------
    The truth, see `truth.draw`; for a scene of another trade `scenes.truth.draw`.
    """
    shop = simulation.scene == "shop"
    market = draw(simulation) if shop else scene_truth.draw(simulation)
    rng = np.random.default_rng([simulation.seed, 1])
    with atomic(Path(folder) / "tables") as part:
        (part / "images" if shop else part).mkdir(parents=True)
        for name, table in (raw_tables(market) if shop else scene_raw.raw_tables(market)).items():
            table.to_parquet(part / f"{name}.parquet", index=False)
        for product in market["products"].itertuples() if shop else ():
            picture = draw_picture(product.pattern, product.colour, product.pack, rng)
            picture.save(part / "images" / f"{product.product_id}.png")
    with atomic(Path(folder) / "truth") as part:
        part.mkdir(parents=True)
        for name in ("products", "stores"):
            market[name].to_parquet(part / f"{name}.parquet", index=False)
        (part / "settings.json").write_text(json.dumps({"settings": market["settings"], "level": market["level"]}))
        arrays = {name: values for name, values in market.items() if isinstance(values, np.ndarray)}
        np.savez_compressed(part / "arrays.npz", **arrays)
    return market


def load_truth(folder: str | Path) -> dict:
    """Read what `write` left under `truth/`: the same as it returned."""
    folder = Path(folder)
    market = json.loads((folder / "settings.json").read_text())
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        market |= dict(arrays)
    n_weeks = market["settings"]["n_weeks"] + market["settings"]["horizon"]
    market["mondays"] = pd.date_range(laws.FIRST_WEEK, periods=n_weeks, freq="7D")
    return market | {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("products", "stores")}


def main(name: str, path: str | Path = settings.PARAMS) -> None:
    """Write the simulation of that name in `params.yaml` under build/<name>.

    Raises
    ------
    ValueError : `params.yaml` has an error or no such simulation.
    """
    simulations = settings.check(path).simulations
    if name not in simulations:
        raise SettingsError(f"{path} has no simulation {name!r}{nearest(name, simulations)}. Add a line for it.")
    if simulations[name].scene != "shop":
        scene_truth.check(simulations[name], f"{path}: simulations.{name}")
    elif simulations[name].n_new > simulations[name].n_products / 2:
        raise SettingsError(f"{path}: simulations.{name}: n_new may be at most half of n_products. Lower it.")
    folder = Path("build") / name
    market = write(folder, simulations[name])
    print(f"{folder}: {len(market['products'])} products, {int(market['sold'].sum()):,} units sold")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a line of `simulations` in params.yaml")
    try:
        main(parser.parse_args().name)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
