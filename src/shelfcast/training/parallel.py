"""Trainings side by side, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm


def in_parallel(work: Callable, runs: dict, name: str, processes: int = 1) -> list:
    """What `work(key, value)` returns for each item of `runs`, in order, as many at a time as there are cores.

    A step of training is too small to gain much by a second thread, so that two runs side by side end in little more
    than half the time. Cores are shared out among all runs, also where one process does them one after the other: how
    many run at a time (LOKY_MAX_CPU_COUNT limits it) changes no weights as long as no run gets more than one.
    An accelerator takes one run at a time, and so do runs that take several `processes` each.
    """
    cores = 1 if torch.cuda.is_available() or processes > 1 else cpu_count()
    jobs, threads = min(len(runs), cores), max(1, cores // len(runs))
    bar = {"total": len(runs), "desc": name, "disable": "SHELFCAST_PIPELINE" in os.environ}
    if jobs > 1:
        # Large arrays are mapped, not copied; by copy on write ("c"), as torch warns of arrays that are read-only.
        with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads, mmap_mode="c"):
            results = Parallel(return_as="generator")(delayed(_one)(work, *run, threads) for run in runs.items())
            return list(tqdm(results, **bar))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        return [work(*run) for run in tqdm(runs.items(), **bar)]
    finally:
        torch.set_num_threads(before)


def _one(work: Callable, key, value, threads: int):
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()  # messages of another process have no place in a notebook
    transformers.logging.disable_progress_bar()
    return work(key, value)
