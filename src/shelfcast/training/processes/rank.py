"""What each of several processes does: `python -m shelfcast.training.processes.rank JOB`, started by torchrun's agent.

It reads the job that `launch` wrote and trains its part; the first process writes the result.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import cloudpickle
import joblib
import torch
import transformers

from shelfcast.data.files import atomic
from shelfcast.training.processes.launch import MARKETS, PHASE, RESULT, end_with_the_notebook, error_file


def main(job: Path) -> int:
    """Exit status: 0, or 1 with the exception in the job's folder."""
    end_with_the_notebook()
    rank = int(os.environ["RANK"])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        phase, seed, folder, checkpoint = cloudpickle.loads((job / PHASE).read_bytes())
        train, validation = joblib.load(job / MARKETS, mmap_mode="c")  # shared until one writes to it
        result = replace(phase, train=train, validation=validation).run_here(seed, folder, checkpoint)
        if rank == 0:
            _write(job / RESULT, result)
    except BaseException as error:
        _write(error_file(job, rank), (time.time(), error))
        raise
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return 0


def _write(path: Path, value) -> None:
    with atomic(path) as part:
        part.write_bytes(cloudpickle.dumps(value))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
