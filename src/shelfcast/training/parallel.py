"""Trainings of several seeds side by side, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import transformers
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm


def in_parallel(work: Callable, runs: dict, name: str) -> list:
    """What `work(key, value)` gives for each item of `runs`, in order, as many at a time as there are cores.

    A step of training is too small to gain much by a second thread, so that two runs side by side end in little more
    than half the time. Cores are shared out among all runs, also where one process does them one after the other: how
    many run at a time (LOKY_MAX_CPU_COUNT limits it) changes no weights as long as no run gets more than one.
    An accelerator takes one run at a time.
    """
    cores = 1 if torch.cuda.is_available() else cpu_count()
    jobs, threads = min(len(runs), cores), max(1, cores // len(runs))
    bar = dict(total=len(runs), desc=name, disable="SHELFCAST_PIPELINE" in os.environ)  # set by shelfcast.strict
    if jobs > 1:
        with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
            found = Parallel(return_as="generator")(delayed(_alone)(work, *run, threads) for run in runs.items())
            return list(tqdm(found, **bar))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        return [work(*run) for run in tqdm(runs.items(), **bar)]
    finally:
        torch.set_num_threads(before)


def _alone(work: Callable, key, value, threads: int):
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()  # what another process says has no place in a notebook
    transformers.logging.disable_progress_bar()
    return work(key, value)
