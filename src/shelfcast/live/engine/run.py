"""What a market's run left in build/<market>/, as far as a service must know it before anything is computed.

The service's own process imports this and not the forecasting methods, which take seconds to import.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from shelfcast.data.files import folder_md5

FILES = ("panel/panel.json", "forecasts.parquet", "validation.parquet", "weights.json")
STORE = "SHELFCAST_STORE"  # the environment's variable; a URL may hold a password, which a command line would show
CURRENT = "current"


def live_folder(folder: Path) -> Path:
    """Where a market's service keeps what it computes: build/<market>/live/."""
    return folder / "live"


def members_of(weights: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Methods that have weight in any situation and level, in the order of the alphabet."""
    levels = [own for of_situation in weights.values() for own in of_situation.values()]
    return sorted({method for own in levels for method in own})


def check_run(folder: Path, peers: Sequence[str]) -> None:
    """A ValueError where the files of a run are missing; it names them and what makes them.

    Parameters
    ----------
    folder : build/<market>/. peers : methods that are no models of ours, as `evaluate.methods` names them.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not missing:
        names = members_of(json.loads((folder / "weights.json").read_text()))
        models = [f"models/{name}/variant.json" for name in names if name not in peers]
        missing = [name for name in models if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"the market {folder.name!r} was not run: its folder lacks {', '.join(missing)}. "
            f"Run `dvc repro evaluate@{folder.name}` (or `make run`) first, then start the service."
        )


def version_of(folder: Path) -> str:
    """md5 of what makes the forecasts of given data: the models, the weights and what calibrates them."""
    parts = [folder_md5(folder / "models")]
    parts += [hashlib.md5((folder / name).read_bytes()).hexdigest() for name in ("weights.json", "validation.parquet")]
    return hashlib.md5("".join(parts).encode()).hexdigest()
