"""Where partitions are worked on: in this process, in a few of this machine, or on a Dask cluster that runs already.

The work is the same in all three (`parts.Job.do`); an engine only says which process does which partition. There is no
silent change of engine: a cluster that does not answer is an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from tqdm.auto import tqdm

from shelfcast.scale.engine.parts import Job, begin, code_md5, finish
from shelfcast.scale_options import LOCAL, Scale

SCHEME = "dask://"
AT_ONCE = 4  # tasks for each thread of the cluster that wait at the scheduler; all at once would take its memory


def run(job: Job, scale: Scale | None = None) -> Path:
    """Work on all partitions that are not done yet.

    Returns
    -------
    The manifest of the job's folder.

    Raises
    ------
    ValueError : an input is wrong, the cluster cannot be used, or processes died; what is done is kept.
    """
    scale = scale or Scale()
    if not job.tasks:
        raise ValueError(f"{job.folder}/: there is nothing to do. Give at least one partition.")
    waiting = begin(job)
    if waiting:
        done = _on_cluster(job, waiting, scale) if scale.engine != LOCAL else _here(job, waiting, scale.workers)
        off = True if "SHELFCAST_PIPELINE" in os.environ else None  # None: off where there is no terminal
        bar = {"total": len(job.tasks), "initial": len(job.tasks) - len(waiting), "disable": off}
        for _ in tqdm(done, desc=job.folder.name, **bar):
            pass
    return finish(job)


def _here(job: Job, names: list[str], workers: int) -> Iterator[str]:
    """In this process, or in `workers` processes."""
    if workers == 1:
        yield from map(job.do, names)
        return
    # Not joblib: it takes models that a process keeps for a leak, and starts the process anew.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(_alone, job.only(name), name) for name in names]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ValueError(
            "a process of this job was killed, perhaps as memory ran out. Run the same command again with fewer "
            "scale.workers or scale.products; finished partitions are kept."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(job: Job, name: str) -> str:
    """One partition on one thread, since as many processes as there are cores work side by side."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read at torch's import, which not every work needs
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return job.do(name)


def _on_cluster(job: Job, names: list[str], scale: Scale) -> Iterator[str]:
    """On the workers of a running scheduler; a task whose worker dies goes to another one."""
    from distributed import Client, KilledWorker
    from distributed import as_completed as completed

    address = scale.engine.removeprefix(SCHEME)
    try:
        client = Client(f"tcp://{address}", timeout=scale.wait, set_as_default=False, name="shelfcast")
    except (OSError, TimeoutError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address} ({scale.wait:g} s). Start one with `dask scheduler` and workers with "
            f"`dask worker tcp://{address} --nthreads 1`, mend scale.engine, or set it to local."
        ) from error
    with client:
        _check_workers(client, address, scale.wait)
        keys = iter(names)
        n_first = AT_ONCE * sum(client.nthreads().values())

        def submit(name: str):
            return client.submit(_alone, job.only(name), name, key=f"{job.folder.name}-{name}-{job.digest(name)}")

        first = [submit(name) for _, name in zip(range(n_first), keys, strict=False)]
        waiting = completed(first, loop=client.loop)
        for future in waiting:
            try:
                yield future.result()
            except KilledWorker as error:
                raise ValueError(
                    f"several workers of {address} died with the same partition, perhaps as memory ran out. Lower "
                    "scale.products, or give workers more memory; finished partitions are kept."
                ) from error
            if (name := next(keys, None)) is not None:
                waiting.add(submit(name))


def _check_workers(client, address: str, wait: float) -> None:
    """A ValueError where no worker comes, or one has other code than this process."""
    try:
        client.wait_for_workers(1, timeout=wait)
    except TimeoutError as error:
        raise ValueError(
            f"the Dask scheduler at {address} has no workers ({wait:g} s). Start some with "
            f"`dask worker tcp://{address} --nthreads 1`."
        ) from error
    try:
        codes = client.run(code_md5)
    except Exception as error:
        raise ValueError(
            f"a worker of {address} cannot run shelfcast: {str(error).splitlines()[0]}. Install the same version there."
        ) from error
    if other := [worker for worker, code in codes.items() if code != code_md5()]:
        raise ValueError(
            f"the worker {other[0]} of {address} has another version of shelfcast than this process. Install the same "
            "one on all machines, and start the workers anew."
        )
