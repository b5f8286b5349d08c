"""`python -m shelfcast.training.processes.agent JOB N`: run N processes of a job by torchrun's elastic agent.

If one of them dies, the agent ends the others at once.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from shelfcast.data.files import atomic
from shelfcast.training.processes.launch import FAILURES, end_with_the_notebook

SHUTDOWN_SECONDS = 5  # after which a process that does not end is killed


def main(job: Path, n_processes: int) -> int:
    """Exit status: 0 where all processes ended well, else 1, with their exit codes in the job's folder."""
    end_with_the_notebook()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "shelfcast.training.processes.rank", str(job))
    except ChildFailedError as error:
        failures = [[rank, failure.exitcode] for rank, failure in sorted(error.failures.items())]
        with atomic(job / FAILURES) as part:
            part.write_text(json.dumps(failures))
        return 1
    except SignalException:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
