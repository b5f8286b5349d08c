"""Seconds, memory and bytes of training one market.

    python benchmarks/training.py build/soft_drinks/panel
    python benchmarks/training.py ../before/build/soft_drinks/panel --source ../before --name before

The second line measures another checkout of the project with the same packages. Each task runs in a process of its own:
`steps` trains one seed from the backbone alone, on one core; `shared` does the same on two processes that share each
step, with a core each; `default` is notebook 3's training, all seeds from the base, on all cores.
benchmarks/results/training.csv holds a row for each code and task, written as soon as it is measured; rows measured
again are replaced. Seconds depend on the machine: compare rows that were measured together.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/training.csv"
TASKS = ("steps", "shared", "default")
PROCESSES = {"steps": 1, "shared": 2, "default": 1}
ROUNDS, STEPS = 4, 25  # of a task but `default`; the first round, in which things start, is left out of the means

# ---------------------------------------------------------------- what is trained


def parts(source: Path, panel_folder: Path, task: str) -> dict:
    """What `select` and `fit` need, and these functions."""
    from shelfcast.model_options import Finetune
    from shelfcast.panel.frame import Panel
    from shelfcast.training.fit import fit, select
    from shelfcast.training.setup import training_setup

    from_base = task == "default"
    options = {} if from_base else {"steps": ROUNDS * STEPS, "judge_steps": STEPS}
    if PROCESSES[task] > 1:  # else the parameter stays away, which earlier code does not have
        options["processes"] = PROCESSES[task]
    finetune = Finetune(from_base=from_base, **options)
    setup = training_setup(Panel.load(panel_folder), finetune, source / "models/base")
    if setup.warm_start is not from_base:
        raise SystemExit(f"error: {setup.start_sentence}")
    functions = {"fit": fit, "select": select, "seeds": finetune.seeds}
    return functions | {"make_model": setup.make_model, "splits": setup.splits, "training": setup.training}


# ---------------------------------------------------------------- one task, in a process of its own


def clock(path: Path):
    """A callback that writes what each round of steps takes; on several processes, the first one of them."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        steps, after, n_steps, began, ended = [], [], 0, 0.0, 0.0

        def on_train_begin(self, args, state, control, **kwargs):
            self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            self.ended, self.n_steps = time.perf_counter(), state.global_step

        def on_save(self, args, state, control, **kwargs):
            now = time.perf_counter()
            self.steps.append(self.ended - self.began)
            self.after.append(now - self.ended)
            self.began = now
            if state.is_world_process_zero:
                path.write_text(json.dumps({"steps": self.steps, "after": self.after, "n_steps": self.n_steps}))

    return Clock()


def steps(given: dict, work: str) -> dict[str, float]:
    """Seconds of a round of steps with its judgement, of a step, of what follows the steps; a checkpoint's size; the last score."""
    import torch

    torch.set_num_threads(1)
    path, (train, validation, _) = Path(work, "clock.json"), given["splits"]
    history = given["select"](
        given["make_model"], train, validation, given["training"], [0], work, "benchmark", [clock(path)]
    )
    rounds = json.loads(path.read_text())
    each, after = (sum(rounds[name][1:]) / (len(rounds[name]) - 1) for name in ("steps", "after"))
    newest = max(Path(work).glob("**/checkpoint-*"), key=lambda path: path.stat().st_mtime)
    n_bytes = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    return {
        "round_seconds": each + after,
        "judge_and_save_seconds": after,
        "step_milliseconds": 1000 * each / (rounds["n_steps"] / len(rounds["steps"])),
        "checkpoint_mib": n_bytes / 2**20,
        "validation_wql": history["wql"].iloc[-1],
    }


def default(given: dict, work: str) -> dict[str, float]:
    """All of it: see the whole process's seconds."""
    given["fit"](given["make_model"], *given["splits"], given["training"], given["seeds"], work, "benchmark", (), True)
    return {}


def one(task: str, source: Path, panel_folder: Path) -> None:
    """Run a task here; print what it took as JSON."""
    from joblib.externals.loky import get_reusable_executor
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if task == "steps" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    given = parts(source, panel_folder, task)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        row = (default if task == "default" else steps)(given, work)
    seconds = time.perf_counter() - start
    get_reusable_executor().shutdown(wait=True)
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "peak_mib": largest / 1024} | row))


# ---------------------------------------------------------------- all tasks


def measure(name: str, source: Path, panel_folder: Path, task: str) -> dict:
    """A row of the results; peak_mib is that of the largest process."""
    done = subprocess.run(
        [sys.executable, __file__, str(panel_folder), task, "--source", str(source), "--one"],
        env=os.environ | {"PYTHONPATH": str(source / "src"), "SHELFCAST_PIPELINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured = {key: round(value, 4) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}
    row = {"code": name, "task": task, "cores": os.cpu_count()} | measured
    return row | {"measured": datetime.now(UTC).date().isoformat()}


def write(row: dict, path: Path) -> None:
    """Replace the row of the same code and task."""
    import pandas as pd

    table = pd.DataFrame([row])
    if path.exists():
        table = pd.concat([pd.read_csv(path), table])
    table = table.drop_duplicates(["code", "task"], keep="last")
    path.parent.mkdir(exist_ok=True)
    table.sort_values(["task", "code"], ascending=[False, True]).to_csv(path, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("panel", type=Path, help="folder of a panel, as notebook 1 writes it")
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}; all where none is given")
    parser.add_argument("--source", type=Path, default=ROOT, help="a checkout of the project")
    parser.add_argument("--name", default="now", help="of the code, in the results")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := sorted(set(options.tasks) - set(TASKS)):
        parser.error(f"no task {unknown[0]!r}. Choose of {', '.join(TASKS)}.")
    source, panel_folder = options.source.resolve(), options.panel.resolve()
    if options.one:
        one(options.tasks[0], source, panel_folder)
    else:
        for task in options.tasks or TASKS:
            row = measure(options.name, source, panel_folder, task)
            print(row, flush=True)
            write(row, options.results)


if __name__ == "__main__":
    main()
