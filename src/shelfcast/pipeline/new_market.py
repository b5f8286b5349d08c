"""Add a market to params.yaml once its tables have been looked at: `make new-market name=coffee category=COFFEE`.

What would stop the pipeline later (a category that does not exist, columns of the wrong type, too few weeks) stops here,
in seconds and before a line is written; what will be forecast, and from where, is said first.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import click
import yaml

from shelfcast.data import tables
from shelfcast.model.tensors import load_tokenizer, market_tensors
from shelfcast.panel.frame import Panel, build
from shelfcast.pipeline import engine as strict
from shelfcast.training.base import Base


def looked_at(line: dict, params: dict, market: str) -> Panel:
    """The panel that notebook 1 will build of it, without pictures; a ValueError where it could not."""
    prepare = params["panel"] | params["prepare"] | line
    source, folder, category = (prepare.pop(key) for key in ("source", "tables", "category"))
    raw = tables.load(source, folder, category, prepare.pop("rename"))
    prepare.pop("image_encoder")
    facts = {"market": market, "source": source, "category": category, "data_md5": tables.folder_md5(folder)}
    facts["n_pictures"] = len(raw.images)
    return build(raw, **prepare, meta=facts)


def told(panel: Panel, params: dict) -> list[str]:
    """What was found, in a few lines."""
    meta = panel.meta
    y = panel.frame.query("location == 'chain'")["y"].dropna()
    lines = [
        f"{meta['n_products']} products, {meta['share_of_category']:.0%} of the category's units, in {meta['n_stores']} "
        f"stores ({meta['n_regions']} regions), {meta['n_weeks']} weeks from {meta['first_week']} to {meta['last_week']}",
        f"{y.sum():,.0f} units; a product sells {y.mean():.1f} in a mean week, nothing in {(y == 0).mean():.0%} of weeks",
        f"learned from up to {meta['train_end']}, chosen by weeks up to {meta['validation_end']}, tested on those after",
    ]
    roles = {role: names for role, names in panel.roles.items() if names and role != "price_plan"}
    lines += [f"{role}: {', '.join(names)}" for role, names in roles.items()]
    lines += [f"pictures of {meta['n_pictures']} products"] if meta["n_pictures"] else []
    for row in panel.quality.query("found > 0 and action.str.startswith('dropped')").itertuples():
        lines.append(f"dropped: {row.found:,} of {row.of:,} ({row.share:.1%}): {row.check}")
    return [*lines, *(f"ignored: {text}" for text in meta["ignored"]), _start(panel, params)]


def _start(panel: Panel, params: dict) -> str:
    """Where training will start from."""
    backbone, base = params["finetune"]["backbone"], Base.load(f"{params['pretrain']['folder']}/base")
    alone = "its training starts from the backbone alone"
    if base is None:
        same = panel.meta["data_md5"] == tables.folder_md5(params["pretrain"]["tables"])
        return "it will go on from the base that `dvc repro` trains first" if same else alone
    why = base.mismatch(panel, market_tensors(panel, load_tokenizer(backbone)), backbone)
    return f"{alone}: the base does not fit, {why}" if why else "it goes on from the base of notebook 2"


def add(name: str, line: dict) -> None:
    """Write one more line under `markets:` of params.yaml; everything else of the file stays as it is."""
    path, before = Path(strict.PARAMS), strict.section(strict.PARAMS)
    rows = path.read_text().splitlines(keepends=True)
    start = next((i for i, row in enumerate(rows) if row.split("#")[0].rstrip() == "markets:"), 0)
    end = start + 1
    while end < len(rows) and (rows[end].startswith((" ", "#")) and rows[end].strip()):
        end += 1
    said = yaml.safe_dump(line, default_flow_style=True, sort_keys=False, width=10_000).strip()
    text = "".join([*rows[:end], f"  {name}: {said}\n", *rows[end:]])
    try:
        after = strict.parsed(text)
    except strict.YAMLError:
        after = None
    if after != before | {"markets": before["markets"] | {name: line}}:
        raise ValueError(f"{path} has an unusual layout; add `  {name}: {said}` under `markets:` by hand.")
    with tables.atomic(path) as part:
        part.write_text(text)


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("name")
@click.option("--category", help="As the tables write it; without it, all products.")
@click.option("--tables", "folder", default="data", show_default=True, help="Folder of the raw tables.")
@click.option(
    "--source", help="complete_journey, simulated or tables.  [default: complete_journey for data, else tables]"
)
@click.option("--rename", default="", help="Columns to rename, theirs to ours: 'sku=product_id, shop=store_id'.")
@click.option("--n-products", type=int, help="Products kept.  [default: prepare.n_products]")
@click.option("--look", is_flag=True, help="Only look; write nothing.")
def main(name, category, folder, source, rename, n_products, look):
    start, params = time.perf_counter(), strict.section(strict.PARAMS)
    line = {"source": source or ("complete_journey" if folder == "data" else "tables"), "tables": folder}
    line |= {"category": category}
    line |= {"rename": rename} if rename else {}
    line |= {"n_products": n_products} if n_products else {}
    try:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name == "pretrain":
            raise ValueError(
                f"{name!r} becomes a path; write small letters, digits and _, a letter first, and not 'pretrain'."
            )
        if name in params["markets"]:
            raise ValueError(f"{strict.PARAMS} has a market {name!r} already; choose another name.")
        print(*told(looked_at(line, params, name), params), sep="\n")
        if not look:
            add(name, line)
            print(f"\n{name} stands in {strict.PARAMS} now ({time.perf_counter() - start:.0f} s). To its report:")
            print(f"  dvc repro report@{name}")
    except ValueError as error:
        raise click.ClickException(f"nothing was written: {error}") from None


if __name__ == "__main__":
    main()
