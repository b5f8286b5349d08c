"""The papermill engine `shelfcast`: stops early, and says in a few lines which cell failed and why.

Papermill alone only warns about a parameter that a notebook does not have, and runs on with the defaults; its progress
bar fills a log; and a failing cell prints pages. Values of parameters are checked by `shelfcast.settings`.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import click

FREE_BYTES = 2e9  # what checkpoints, models and DVC's cache take for a while, with some to spare


class NothingRan(click.ClickException, ValueError):
    """What a person can mend before a notebook runs; papermill's command line shows the message alone."""


def check_parameters(notebook: str, given: dict) -> None:
    """Raise where a parameter is passed that the notebook's `parameters` cell does not declare."""
    from papermill.inspection import inspect_notebook

    declared = inspect_notebook(notebook)
    for name in sorted(set(given) - set(declared)):
        close = difflib.get_close_matches(name, declared, n=1)
        hint = f"the nearest is {close[0]!r}" if close else f"it has {', '.join(declared)}"
        raise NothingRan(f"nothing was run: {notebook} has no parameter {name!r}; {hint}. Rename or remove it.")


def check_output(path: Path) -> None:
    """Raise where the executed notebook, or later the report, could not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if os.path.lexists("reports"):
            with tempfile.TemporaryFile(dir="reports"):
                pass
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise NothingRan(f"nothing was run: the output cannot be written: {error}. Make it writable.") from None
    if free < FREE_BYTES:
        raise NothingRan(
            f"nothing was run: {free / 1e9:.1f} GB are free at {path.parent}/, {FREE_BYTES / 1e9:.0f} GB are needed. "
            "Free some space (`dvc gc -w` drops old results) or move the project."
        )


class Engine:
    """Papermill's engine protocol around its own notebook client."""

    @staticmethod
    def nb_kernel_name(nb, name=None):
        return NBClientEngine.nb_kernel_name(nb, name)

    @staticmethod
    def nb_language(nb, language=None):
        return NBClientEngine.nb_language(nb, language)

    @staticmethod
    def execute_notebook(nb, kernel_name, input_path, output_path=None, **options):
        check_parameters(input_path, nb.metadata.papermill.parameters)
        check_output(Path(output_path or os.devnull))
        os.environ["SHELFCAST_PIPELINE"] = "1"  # for the kernel: no progress bars in a log
        start = time.perf_counter()
        print(f"{output_path}: started {time.strftime('%H:%M')}", flush=True)
        options |= {"input_path": input_path, "output_path": output_path, "progress_bar": False}
        options["extra_arguments"] = ["--log-level=CRITICAL"]  # of the kernel itself; cells fail as loudly as ever
        nb = NBClientEngine.execute_notebook(nb, kernel_name, **options)
        _raise_for_failed_cell(nb, input_path, output_path)
        print(f"{output_path}: done in {time.perf_counter() - start:.0f} s", flush=True)
        return nb


def _raise_for_failed_cell(nb, input_path: str, output_path: str | None) -> None:
    from papermill.execute import PapermillExecutionError, raise_for_execution_errors

    try:
        raise_for_execution_errors(nb, output_path)
    except PapermillExecutionError as error:
        trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
        begin = "\n".join(f"    {line}" for line in error.source.splitlines()[:6])
        raise click.ClickException(
            f"{trace}\n\n{input_path} failed in cell [{error.exec_count}], which begins\n{begin}\n"
            f"with {error.ename}: {error.evalue}\nThe notebook up to there was written for reading: {output_path}"
        ) from None


# Last, because papermill loads this module by its entry point while papermill itself is being imported.
from papermill.engines import NBClientEngine  # noqa: E402
