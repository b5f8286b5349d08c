"""Work in partitions from the command line.

python -m shelfcast.scale score soft_drinks    # forecasts of the latest week, from build/soft_drinks
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shelfcast import settings
from shelfcast.scale.engine import run
from shelfcast.scale.parts import read_manifest
from shelfcast.scale.scoring import score_market

ENGINE = click.option("--engine", help="local, or dask://host:port; that of params.yaml where it is not given")
WORKERS = click.option("--workers", type=int, help="processes of the engine local")
PRODUCTS = click.option("--products", type=int, help="products in a partition")


@click.group()
def main() -> None:
    """Facts, panels and forecasts in partitions: finished ones are not done again."""


def options_of(market: str | None, **given) -> settings.Settings:
    """The settings, with what the command line gives."""
    values = {name: value for name, value in given.items() if value is not None}
    return settings.load(market, overrides={"scale": values})


@main.command()
@click.argument("market")
@click.option("--variant", default="shelfcast", show_default=True, help="a line under variants")
@ENGINE
@WORKERS
@PRODUCTS
def score(market: str, variant: str, engine: str | None, workers: int | None, products: int | None) -> None:
    """Forecast all series of MARKET, which was run, from its latest week."""
    options = options_of(market, engine=engine, workers=workers, products=products)
    job = score_market(options.folder, variant, options.scale.products)
    report(run(job, options.scale))


def report(manifest: Path) -> None:
    parts = read_manifest(manifest.parent)
    print(f"{manifest.parent}: {len(parts)} parts, {sum(part['rows'] for part in parts.values()):,} rows")


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except (ValueError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else error
        sys.exit(f"error: {message}")
