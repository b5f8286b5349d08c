"""Work in partitions from the command line.

    python -m shelfcast.scale panels coffee tea       # panels of many markets, a market a partition
    python -m shelfcast.scale score soft_drinks       # forecasts of the latest week, of a market that was run
    python -m shelfcast.scale market soft_drinks      # the same from raw tables, by partitions of products throughout

Results go to build/<market>/scale/, or to `--to`; finished partitions are not done again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shelfcast import settings
from shelfcast.scale.engine.parts import read_manifest
from shelfcast.scale.engine.run import run
from shelfcast.scale.panels import market_panels, panel_job, prepare
from shelfcast.scale.scoring import find_models, score_panel, score_prepared
from shelfcast.scale.texts import texts_job

GIVEN = (
    click.option("--engine", help="local, or dask://host:port; that of params.yaml where it is not given"),
    click.option("--workers", type=int, help="processes of the engine local"),
    click.option("--products", type=int, help="products in a partition"),
    click.option(
        "--to", type=click.Path(path_type=Path), help="folder of the results, instead of build/<market>/scale"
    ),
)
VARIANT = click.option("--variant", default="shelfcast", show_default=True, help="a line under variants")


def with_options(command):
    """A command with the options that all have."""
    for option in reversed(GIVEN):
        command = option(command)
    return command


def options_of(market: str, given: dict) -> settings.Settings:
    """The settings, with what the command line gives."""
    values = {name: value for name, value in given.items() if value is not None}
    return settings.load(market, overrides={"scale": values})


@click.group()
def main() -> None:
    """Facts, panels and forecasts in partitions: finished ones are not done again."""


@main.command()
@click.argument("markets", nargs=-1, required=True)
@with_options
def panels(markets: tuple[str, ...], to: Path | None, **given) -> None:
    """Build the panels of MARKETS, each in one task."""
    options = {name: options_of(name, given) for name in markets}
    report(run(market_panels(options, to or Path("build/panels")), options[markets[0]].scale))


@main.command()
@click.argument("market")
@VARIANT
@with_options
def score(market: str, variant: str, to: Path | None, **given) -> None:
    """Forecast all series of MARKET, which was run, from its latest week."""
    options = options_of(market, given)
    report(run(score_panel(options.folder, variant, options.scale.products, to and to / "forecasts"), options.scale))


@main.command()
@click.argument("market")
@VARIANT
@click.option("--leave-out", is_flag=True, help="leave out columns that the model was not trained with")
@click.option("--with-panel", is_flag=True, help="write the long frame of the panel, too")
@with_options
def market(market: str, variant: str, leave_out: bool, with_panel: bool, to: Path | None, **given) -> None:
    """Forecast all series of MARKET from its raw tables, with the model that was trained for it."""
    options = options_of(market, given)
    models = find_models(options.folder.absolute(), variant)
    folder = prepare(options, to or options.folder / "scale")
    if with_panel:
        report(run(panel_job(folder), options.scale))
    if (texts := texts_job(folder, models)) is not None:
        run(texts, options.scale)
    report(run(score_prepared(folder, models, leave_out=leave_out), options.scale))


def report(manifest: Path) -> None:
    parts = read_manifest(manifest.parent)
    print(f"{manifest.parent}: {len(parts)} parts, {sum(part['rows'] for part in parts.values()):,} rows")


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except (ValueError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else error
        sys.exit(f"error: {message}")
