"""Partitions on disk: one Parquet file each, written whole or not at all, and a manifest that is complete or refused.

A file's name follows from its partition, so that a task that ran twice (its worker was killed, or was taken for dead)
leaves one file. What the file was made of is hashed, and the hash stands in the file's own footer: name and content are
one atomic step, and a later run knows which partitions it need not do again.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import shelfcast
from shelfcast.data.files import atomic
from shelfcast.scale.engine.steps import Steps, add_seconds

MANIFEST = "manifest.json"
PREFIX, SUFFIX = "part-", ".parquet"
DIGEST = b"shelfcast.digest"  # key in the footer of a part
TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class Job:
    """The same work for every partition.

    folder : where the parts are written; on a cluster, every machine sees it under this path.
    work : a module's function of a partition's arguments; returns a data frame or an Arrow table.
    tasks : name of the partition -> its arguments, as JSON can hold them.
    belongs : what all partitions depend on, as JSON can hold it: hashes of inputs, settings.
    code : hash of the sources that the job was made with, which every process must have.
    """

    folder: Path
    work: Callable[..., pd.DataFrame | pa.Table]
    tasks: dict[str, dict[str, Any]]
    belongs: dict[str, Any] = field(default_factory=dict)
    code: str = field(default_factory=lambda: code_md5())

    def path(self, name: str) -> Path:
        return self.folder / f"{PREFIX}{name}{SUFFIX}"

    def only(self, name: str) -> Job:
        """The job with one partition alone, as it is sent to another process."""
        return replace(self, tasks={name: self.tasks[name]})

    def digest(self, name: str) -> str:
        """md5 of all that a part is made of: the work, this code, its arguments, and what it belongs to."""
        return _md5([_title(self.work), self.code, name, self.tasks[name], self.belongs])

    def is_done(self, name: str) -> bool:
        """Whether the part is there, and made of the same."""
        return read_digest(self.path(name)) == self.digest(name)

    def do(self, name: str) -> str:
        """Work on one partition, if it is not done, and write its part; returns the part's digest."""
        digest = self.digest(name)
        if read_digest(self.path(name)) == digest:
            return digest
        if code_md5() != self.code:
            raise ValueError("the sources of shelfcast changed while the job ran. Start it again.")
        steps = Steps()
        try:
            with steps("all"):
                table = self.work(**self.tasks[name])
        except ValueError as error:
            raise ValueError(f"partition {name}: {error}") from error
        write_part(steps.on(table), self.path(name), digest)
        return digest


def write_part(table: pa.Table, path: Path, digest: str) -> None:
    """Write a part under a name of this attempt's own, then rename it: two attempts at once do not meet."""
    table = table.replace_schema_metadata((table.schema.metadata or {}) | {DIGEST: digest.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    attempt = path.with_name(f"{TEMPORARY}{path.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        pq.write_table(table, attempt)
        os.replace(attempt, path)
    finally:
        attempt.unlink(missing_ok=True)


def read_digest(path: Path) -> str | None:
    """The digest in a part's footer; None where there is no such part, or one that is not readable."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return metadata.get(DIGEST, b"").decode() or None


def begin(job: Job) -> list[str]:
    """Take an older manifest away, so that nobody reads a mixture; returns the partitions that are not done."""
    path = job.folder / MANIFEST
    if path.exists() and json.loads(path.read_text()).get("job") != _job_md5(job):
        path.unlink()
    return [name for name in job.tasks if not job.is_done(name)]


def finish(job: Job) -> Path:
    """Check that every part is there, take away parts of other partitionings, and write the manifest.

    Raises
    ------
    ValueError : parts are missing, because the job was stopped or workers write to another disk.
    """
    lacking = [name for name in job.tasks if not job.is_done(name)]
    if lacking:
        raise ValueError(
            f"{job.folder}/ lacks {len(lacking)} of {len(job.tasks)} parts, first {job.path(lacking[0]).name}. Run the "
            "same command again; on a cluster, every machine must see this folder under this path."
        )
    own = {job.path(name) for name in job.tasks}
    others = set(job.folder.glob(f"{PREFIX}*{SUFFIX}")) - own
    for path in [path for path in others if read_digest(path)] + list(job.folder.glob(f"{TEMPORARY}{PREFIX}*")):
        path.unlink(missing_ok=True)
    parts = {}
    for name in job.tasks:
        path = job.path(name)
        parts[path.name] = {
            "digest": job.digest(name),
            "rows": pq.read_metadata(path).num_rows,
            "bytes": path.stat().st_size,
        }
    with atomic(job.folder / MANIFEST) as part:
        part.write_text(json.dumps({"job": _job_md5(job), "work": _title(job.work), "parts": parts}, indent=1) + "\n")
    return job.folder / MANIFEST


def read_manifest(folder: str | Path) -> dict[str, dict]:
    """File name -> digest, rows and bytes of each part of a folder.

    Raises
    ------
    ValueError : there is no manifest (the job did not end), or a part is missing or is not the one that it names.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{folder}/ has no {MANIFEST}: its parts are not complete. Run the job that writes them again."
        )
    parts = json.loads((folder / MANIFEST).read_text())["parts"]
    for name, facts in parts.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"] or read_digest(path) != facts["digest"]:
            raise ValueError(f"{path} is missing, or not the part that {MANIFEST} names. Run the job again.")
    return parts


def read_parts(folder: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """All parts as one frame, in the order of the manifest; see `read_manifest` for the errors."""
    return pd.concat(iter_parts(folder, columns), ignore_index=True)


def iter_parts(folder: str | Path, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
    """One part after the other, so that all need not fit into memory."""
    for name in read_manifest(folder):
        yield pq.read_table(Path(folder) / name, columns=columns, partitioning=None).to_pandas()


def read_seconds(folder: str | Path) -> dict[str, list[float]]:
    """Step -> seconds of the clock and of the processor, summed over all parts; 'all' is a partition's whole work."""
    paths = [Path(folder) / name for name in read_manifest(folder)]
    return add_seconds([pq.read_metadata(path).metadata or {} for path in paths])


@lru_cache
def code_md5() -> str:
    """Hash of this package's sources, so that no part is kept that other code made."""
    root = Path(shelfcast.__file__).parent
    digest = hashlib.md5()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _job_md5(job: Job) -> str:
    return _md5([_title(job.work), job.code, job.tasks, job.belongs])


def _title(work: Callable) -> str:
    return f"{work.__module__}.{work.__qualname__}"


def _md5(values: Any) -> str:
    return hashlib.md5(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
