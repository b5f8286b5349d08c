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
from shelfcast.market.truth import draw
from shelfcast.settings import Simulation
from shelfcast.validate import SettingsError, nearest


def write(folder: str | Path, simulation: Simulation) -> dict:
    """Draw a market; write `tables/` (with `images/`) and `truth/` under a folder, each whole or not at all.

    Returns
    -------
    The truth, see `truth.draw`.
    """
    market = draw(simulation)
    rng = np.random.default_rng([simulation.seed, 1])
    with atomic(Path(folder) / "tables") as part:
        (part / "images").mkdir(parents=True)
        for name, table in raw_tables(market).items():
            table.to_parquet(part / f"{name}.parquet", index=False)
        for product in market["products"].itertuples():
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


def raw_tables(market: dict) -> dict[str, pd.DataFrame]:
    """The tables that a retailer would have of a market, in the schema of `shelfcast.data.schema`."""
    products = market["products"]
    first_weeks = [market["mondays"][week] if week > 0 else pd.NaT for week in products["launch"]]
    product_table = pd.DataFrame(
        {
            "product_id": products["product_id"],
            "category": products["kind"],
            "brand": products["brand"],
            "name": products["name"],
            "pack_size": products["pack"],
            "launch": first_weeks,
        }
    )
    return {
        "transactions": _transactions(market),
        "products": product_table.sort_values("product_id", ignore_index=True),
        "promotions": _promotions(market),
        "prices": _prices(market),
        "stores": market["stores"][["store_id", "latitude", "longitude", "area", "format"]],
        "behavior": _behavior(market),
    }


def _transactions(market: dict) -> pd.DataFrame:
    """One row per product, store and week with a sale, by week."""
    week, product, store = np.nonzero(market["sold"].transpose(2, 0, 1))
    quantity = market["sold"][product, store, week]
    paid = np.round(quantity * market["price"][product, week], 2)
    cut = (market["depth"] * market["promoted"])[product, week]  # share of the price without the promotion
    return pd.DataFrame(
        {
            "timestamp": market["mondays"][week],
            "store_id": market["stores"]["store_id"].to_numpy()[store],
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "quantity": quantity,
            "sales_value": paid,
            "discount": np.round(paid * (1 / (1 - cut) - 1), 2),
        }
    )


def _is_listed(market: dict) -> np.ndarray:
    """(P, all weeks) whether a product has been launched."""
    return np.arange(len(market["mondays"])) >= market["products"]["launch"].to_numpy()[:, None]


def _promotions(market: dict) -> pd.DataFrame:
    """One row per product, store and week with a display or a mailer, those planned included."""
    display, mailer = market["plan_display"], market["plan_mailer"]
    shown = (display + mailer[:, None] > 0) & _is_listed(market)[:, None]
    week, product, store = np.nonzero(shown.transpose(2, 0, 1))
    return pd.DataFrame(
        {
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "store_id": market["stores"]["store_id"].to_numpy()[store],
            "week": market["mondays"][week],
            "display": display[product, store, week],
            "mailer": mailer[product, week],
        }
    )


def _prices(market: dict) -> pd.DataFrame:
    """One row per product and week from its launch on, those planned included."""
    week, product = np.nonzero(_is_listed(market).T)
    usual_cost = 0.6 * market["products"]["list_price"].to_numpy()[product]
    return pd.DataFrame(
        {
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "week": market["mondays"][week],
            "price": market["price"][product, week],
            "cost": np.round(usual_cost * np.exp(market["cost"][product, week]), 2),
        }
    )


def _behavior(market: dict) -> pd.DataFrame:
    """Views and clicks per product and week."""
    parts = []
    for event in ("view", "click"):
        count = market[f"{event}s"]
        week, product = np.nonzero(count.T)
        part = {
            "timestamp": market["mondays"][week],
            "product_id": market["products"]["product_id"].to_numpy()[product],
            "event": event,
            "count": count[product, week],
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts).sort_values("timestamp", kind="stable", ignore_index=True)


def main(name: str, path: str | Path = settings.PARAMS) -> None:
    """Write the simulation of that name in `params.yaml` under build/<name>.

    Raises
    ------
    ValueError : `params.yaml` has an error or no such simulation.
    """
    simulations = settings.check(path).simulations
    if name not in simulations:
        raise SettingsError(f"{path} has no simulation {name!r}{nearest(name, simulations)}. Add a line for it.")
    if simulations[name].n_new > simulations[name].n_products / 2:
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
