"""Seconds of the steps of a partition's work, kept in the footer of its part."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa

SECONDS = b"shelfcast.seconds"  # key in a part's footer: step -> seconds of the clock and of the processor


class Steps:
    """A stopwatch: `with steps("panel"): …`."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        before = self.seconds.get(name, [0.0, 0.0])
        took = (time.perf_counter() - wall, time.process_time() - processor)
        self.seconds[name] = [round(a + b, 4) for a, b in zip(before, took, strict=True)]

    def on(self, table: pd.DataFrame | pa.Table) -> pa.Table:
        """The table with these seconds, besides those that it has."""
        table = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
        metadata = dict(table.schema.metadata or {})
        seconds = json.loads(metadata.get(SECONDS, b"{}")) | self.seconds
        return table.replace_schema_metadata(metadata | {SECONDS: json.dumps(seconds).encode()})


def add_seconds(footers: list[dict[bytes, bytes]]) -> dict[str, list[float]]:
    """Step -> seconds of the clock and of the processor, summed over the footers of parts."""
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for footer in footers:
        for step, (wall, processor) in json.loads(footer.get(SECONDS, b"{}")).items():
            total[step] = [total[step][0] + wall, total[step][1] + processor]
    return dict(total)
