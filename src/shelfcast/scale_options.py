"""Options of work in partitions: where it runs, and how large a partition is."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from shelfcast.validate import STRICT, param

LOCAL = "local"
ADDRESS = re.compile(r"dask://(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}")


def _engine(text: str) -> str:
    if text == LOCAL or ADDRESS.fullmatch(text):
        return text
    raise ValueError("an engine is written as local, or as dask://host:port, the address of a Dask scheduler")


Engine = Annotated[str, AfterValidator(_engine)]


@dataclass(frozen=True, config=STRICT)
class Scale:
    """Work in partitions: see `shelfcast.scale` and docs/scale.md."""

    engine: Engine = param(LOCAL, "where partitions are worked on: local, or dask://host:port of a running scheduler")
    workers: int = param(1, "processes of the engine local", ge=1)
    products: int = param(150, "products in a partition", ge=1)
    wait: float = param(30.0, "seconds to wait for a Dask scheduler, and for its first worker", gt=0)
