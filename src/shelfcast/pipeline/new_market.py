"""Add a market to params.yaml once its tables were read: `make new-market name=coffee category=COFFEE`.

What would stop the pipeline later (a category that does not exist, columns of the wrong type, too few weeks) stops here,
in seconds and before a line is written.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import duckdb
import yaml

from shelfcast import settings
from shelfcast.data import files, tables
from shelfcast.model.tensors import load_tokenizer
from shelfcast.panel.build import build
from shelfcast.panel.calendar import check_country
from shelfcast.panel.frame import Panel
from shelfcast.training.base import Base
from shelfcast.training.texts import text_notes
from shelfcast.validate import check_path_name

YES_NO = {"": True, "true": True, "yes": True, "false": False, "no": False}


def read_panel(line: settings.Market) -> Panel:
    """The panel that notebook 1 will build, without pictures; a ValueError where it could not."""
    raw = tables.load(line.source, line.tables, line.category, line.rename, line.read)
    project = settings.check()
    prepare = settings.build(settings.Prepare, project.prepare | line.prepare, "prepare")
    meta = {"category": line.category, "data_md5": files.folder_md5(line.tables), "n_pictures": len(raw.images)}
    return build(raw, prepare, meta)


def read_options(pairs: tuple[str, ...]) -> dict[str, str | bool]:
    """'decimal=,' and others as the section `read` of a market."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if key == "keep_repeated" and value.strip().lower() in YES_NO:
            options[key] = YES_NO[value.strip().lower()]
        elif equals and value:
            options[key] = value
        else:
            raise ValueError(f"--read {pair!r} has no value. Write it as 'decimal=,' or 'encoding=cp1252'.")
    return options


def holidays_of(market: settings.Market) -> str:
    """Whose holidays count, as a line; a ValueError where none are known."""
    code = (settings.check().prepare | market.prepare).get("country", settings.Prepare().country)
    check_country(code)
    return f"public holidays of {code} (--country for another)"


def describe(panel: Panel) -> list[str]:
    """What the pipeline would forecast, and from which columns, a line each."""
    meta = panel.meta
    y = panel.frame.query("location == 'chain'")["y"].dropna()
    lines = [
        f"{meta['n_products']} products, {meta['share_of_category']:.0%} of the category's units, in {meta['n_stores']} "
        f"stores ({meta['n_regions']} regions), {meta['n_weeks']} weeks from {meta['first_week']} to {meta['last_week']}",
        f"{y.sum():,.0f} units; a product sells {y.mean():.1f} in a mean week, nothing in {(y == 0).mean():.0%} of weeks",
        f"training weeks up to {meta['train_end']}, validation up to {meta['validation_end']}, test weeks after",
    ]
    for role, names in panel.roles.items():
        if names and role != "price_plan":
            lines.append(f"{role}: {', '.join(names)}")
    if meta["n_pictures"]:
        lines.append(f"pictures of {meta['n_pictures']} products")
    everyday = ("rows read", "rows of the category")
    for row in panel.quality[(panel.quality["found"] > 0) & ~panel.quality["check"].isin(everyday)].itertuples():
        units = f", {row.units:,.0f} units" if row.units > 0 else ""
        weeks = f", weeks {row.weeks}" if isinstance(row.weeks, str) and row.weeks else ""
        found = f"{row.found:,} of {row.of:,} ({row.share:.1%}){units}{weeks}"
        lines.append(f"{row.check}: {found}: {row.action}")
    backbone = settings.load().finetune.backbone
    tokenizer = load_tokenizer(backbone)
    lines += [f"ignored: {text}" for text in meta["ignored"]]
    return [*lines, *text_notes(panel.products, tokenizer), training_start(panel, backbone)]


def training_start(panel: Panel, backbone: str) -> str:
    """Whether training will start from the base."""
    base = Base.load(settings.BASE_FOLDER)
    if base is None:
        return "training starts from the backbone alone: there is no base"
    why = base.mismatch(panel, backbone)
    return (
        f"training starts from the backbone alone. The base does not fit: {why}"
        if why
        else "training starts from the base"
    )


def add_line(name: str, line: dict) -> None:
    """Write one more line under `markets:` of params.yaml; everything else of the file stays as it is."""
    path, before = settings.PARAMS, settings.read_yaml(settings.PARAMS)
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    start = next((i for i, row in enumerate(rows) if row.split("#")[0].rstrip() == "markets:"), 0)
    end = start + 1
    while end < len(rows) and rows[end].strip() and rows[end].startswith((" ", "#")):
        end += 1
    text = yaml.safe_dump(line, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    entry = f"  {name}: {text.strip()}\n"
    with files.atomic(path) as part:
        part.write_text("".join([*rows[:end], entry, *rows[end:]]), encoding="utf-8")
        try:
            after = settings.read_yaml(part)
        except settings.SettingsError:
            after = None
        if after != before | {"markets": before["markets"] | {name: line}}:
            raise ValueError(f"{path} has an unusual layout. Add this line under `markets:` by hand:\n{entry}")


def new_line(given: dict[str, Any]) -> dict[str, Any]:
    """A market's line of what was given on the command line; what was not given has its default."""
    default = Path(given.get("tables", "data")) == Path("data")
    line = {"source": "complete_journey" if default else "tables", "tables": "data", "category": None}
    return line | given


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("name")
@click.option("--category", help="As the tables write it; without it, all products.")
@click.option("--tables", help="Folder of the raw tables.  [default: data]")
@click.option(
    "--source", help="complete_journey, simulated or tables.  [default: complete_journey for data, else tables]"
)
@click.option("--rename", help="Columns to rename, theirs to ours: 'sku=product_id, shop=store_id'.")
@click.option(
    "--read", "options", multiple=True, help="How files are written, once for each option: --read 'decimal=,'."
)
@click.option("--country", help="Whose public holidays count: US, or US-CA for a part.  [default: prepare.country]")
@click.option("--n-products", type=int, help="Products kept.  [default: prepare.n_products]")
@click.option("--look", is_flag=True, help="Only read and describe, also a market that is there; write nothing.")
def main(name, look, options, country, n_products, **texts):
    began = time.perf_counter()
    try:
        given = {key: value for key, value in texts.items() if value is not None}
        if read := read_options(options):
            given["read"] = read
        prepare = {key: value for key, value in (("n_products", n_products), ("country", country)) if value is not None}
        if prepare:
            given["prepare"] = prepare
        settings.check()
        check_path_name(name, "the market's name")
        known = settings.read_yaml(settings.PARAMS).get("markets", {})
        if name in known and not look:
            raise ValueError(
                f"{settings.PARAMS} has a market {name!r} already. Choose another name, or look at it with --look."
            )
        if name in known:
            changed = ", ".join(given) or "nothing"
            print(f"{name} as it stands in {settings.PARAMS}, with {changed} changed")
        line = settings.merge(known[name], given) if name in known else new_line(given)
        market = settings.build(settings.Market, line, name)
        print(holidays_of(market))
        print(*describe(read_panel(market)), sep="\n")
        if not look:
            add_line(name, line)
            seconds = time.perf_counter() - began
            print(
                f"\n{name} was added to {settings.PARAMS} ({seconds:.0f} s). To its report:\n  dvc repro report@{name}"
            )
    except (ValueError, OSError, duckdb.Error) as error:
        raise click.ClickException(f"nothing was written: {error}") from None


if __name__ == "__main__":
    main()
