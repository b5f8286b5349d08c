"""A market's own tables, read and checked as notebook 1 does; they may be kept, since they change with no event."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

import shelfcast
from shelfcast.data import tables
from shelfcast.data.files import atomic, verify
from shelfcast.data.reading.database import Database, literal, quoted
from shelfcast.live.store.one_table import Own, write
from shelfcast.settings import Market

NOTE = "belongs_to.json"


def read_own(market: Market, root: Path) -> Own:
    """Read and check the market's tables.

    Parameters
    ----------
    market : a line of `markets`, whose `tables` lie under `root`.

    Raises
    ------
    ValueError : the tables cannot be read.
    """
    read = tables.load(market.source, root / market.tables, market.category, market.rename, market.read)
    return Own(read.database, read.columns, read.images)


def kept_own(market: Market, root: Path, folder: Path) -> Own:
    """As `read_own`, from a folder that holds what was read before; it is written where it belongs to other tables.

    Raises
    ------
    ValueError : the tables cannot be read, or are not those that their `.dvc` file pins.
    """
    belongs = _belongs(market, root)
    if _note(folder / NOTE) != belongs:
        own = read_own(market, root)
        with atomic(folder) as part:
            part.mkdir()
            for name in own.columns:
                write(own, name, pd.DataFrame(), part / f"{name}.parquet")
            link_images(own.images, part)
            (part / NOTE).write_text(json.dumps(belongs))
    return _opened(folder)


def link_images(images: dict[str, Path], folder: Path) -> None:
    """The pictures in folder/images under the ids that they belong to; links, since they may be many and do not change."""
    if images:
        (folder / "images").mkdir()
    for product, path in images.items():
        (folder / "images" / f"{product}{path.suffix.lower()}").symlink_to(path.resolve())


def _opened(folder: Path) -> Own:
    database, columns = Database(), {}
    for path in sorted(folder.glob("*.parquet")):
        file = f"read_parquet({literal(str(path))}, file_row_number = true)"
        columns[path.stem] = [name for name in database.columns(file) if name != "file_row_number"]
        database.execute(f"CREATE VIEW {quoted(path.stem)} AS SELECT * FROM {file}")
    images = {path.stem: path for path in sorted(folder.glob("images/*"))}
    return Own(database, columns, images, "file_row_number", folder)


def _note(path: Path) -> dict[str, str] | None:
    """What a kept folder belongs to; None where that cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _belongs(market: Market, root: Path) -> dict[str, str]:
    """Hashes of all that decides what the kept tables hold: the files, how they are read, and the code that reads."""
    code = hashlib.md5()
    package = Path(shelfcast.__file__).parent
    for path in sorted([*package.glob("data/**/*.py"), *package.glob("live/store/*.py")]):
        code.update(path.read_bytes())
    line = json.dumps(asdict(market), sort_keys=True, default=str)
    return {"tables": verify(root / market.tables), "market": line, "code": code.hexdigest()}
