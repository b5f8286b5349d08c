"""Which tables of stock and terms a market's orders follow: `python -m shelfcast.pipeline.given soft_drinks`.

The folder `orders.tables` is optional, and DVC knows no optional dependency. So this stage looks at it in every run and
writes the hash of each table to build/<market>/given.json, on which the stage `decide` depends: a stock file that
changed is ordered by, and nothing is trained anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from shelfcast import settings
from shelfcast.data.files import atomic
from shelfcast.data.schema import ORDER_TABLES

ENDINGS = (".parquet", ".csv")


def hashes(folder: str | None) -> dict[str, str]:
    """File name -> md5 of the tables of stock and terms in a folder; empty without a folder.

    Raises
    ------
    ValueError : there is no such folder.
    """
    if folder is None:
        return {}
    if not Path(folder).is_dir():
        raise ValueError(
            f"orders.tables is {folder!r}, which is no folder. Name the folder of stock.csv and terms.csv, or set it to null."
        )
    paths = [Path(folder) / f"{name}{ending}" for name in sorted(ORDER_TABLES) for ending in ENDINGS]
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def main(market: str, path: str | Path = settings.PARAMS) -> None:
    """Write build/<market>/given.json.

    Raises
    ------
    ValueError : `params.yaml` has an error, or names a folder that is not there.
    """
    own = settings.load(market, path=path)
    found = hashes(own.orders.tables)
    (own.folder).mkdir(parents=True, exist_ok=True)
    with atomic(own.folder / "given.json") as part:
        part.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("market", help="a line of `markets` in params.yaml")
    try:
        main(parser.parse_args().market)
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
