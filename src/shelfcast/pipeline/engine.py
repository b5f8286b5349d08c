"""The way from params.yaml into a notebook, on which every slip is an error before a cell runs.

Papermill only warns about a parameter that no notebook knows, and goes on with the defaults. Here

- `-f params.yaml:prepare` passes a section of params.yaml with its YAML types; a later section
  (`-f params.yaml:markets.soft_drinks`) overrides an earlier one;
- `--engine strict` runs a notebook only when what is passed is what its `parameters` cell declares;
- `python -m shelfcast.strict` compares params.yaml, dvc.yaml and all notebooks at once (stage `check`).
"""

import ast
import difflib
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin

import click
import yaml
from ruamel.yaml import YAML, YAMLError

PARAMS = "params.yaml"
SPACE = 2e9  # bytes; what training one variant of the default backbone writes for a while, with some to spare


class ParameterError(click.ClickException, ValueError):
    """What a person can mend: papermill's command line shows the message alone, without a traceback."""


def parsed(text: str) -> dict:
    """Read as DVC reads it (YAML 1.2: 1e-3 is a number)."""
    return YAML(typ="safe").load(text) or {}


def section(path: str) -> dict:
    """What `params.yaml:markets.soft_drinks` names."""
    try:
        part = parsed(Path(PARAMS).read_text())
    except (OSError, YAMLError) as error:
        raise ParameterError(f"{PARAMS} cannot be read: {error}") from None
    for key in filter(None, path.removeprefix(PARAMS).lstrip(":").split(".")):
        if key not in part:
            raise ParameterError(f"{path} does not exist{_nearest(key, part)}.")
        part = part[key]
        if not isinstance(part, dict):
            raise ParameterError(f"{path}: {key} is {part!r}; it must hold 'name: value' pairs.")
    return part


class Sections:
    """Papermill's reader for `-f params.yaml:<section>`."""

    @staticmethod
    def read(path: str) -> str:
        return yaml.safe_dump(section(path))


def declared(nb, notebook: str) -> dict[str, str]:
    """Name -> annotation of every line in the cell tagged `parameters`."""
    cells = [c for c in nb.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(f"{notebook}: {len(cells)} cells are tagged 'parameters'; exactly one must be.")
    lines = [x for x in ast.parse(cells[0].source).body if isinstance(x, ast.Assign | ast.AnnAssign)]
    if bare := [ast.unparse(x) for x in lines if isinstance(x, ast.Assign)]:
        raise ParameterError(f"{notebook}: '{bare[0]}' lacks its type; write 'name: type = default'.")
    return {x.target.id: ast.unparse(x.annotation) for x in lines}


def fits(value, kind) -> bool:
    """Whether a value is of a type: int, float, str, bool, list[int], dict[str, str], str | None.

    >>> fits(3, float), fits(True, int), fits([1, "a"], list[int]), fits(None, str | None)
    (True, False, False, True)
    """
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin is UnionType:
        return any(fits(value, arg) for arg in args)
    if origin in (None, NoneType) or value is None:
        return value is None and origin in (None, NoneType)
    if isinstance(value, bool) or origin is bool:
        return isinstance(value, bool) and origin is bool
    if not isinstance(value, (int, float) if origin is float else origin):
        return False
    items = zip(*value.items(), strict=True) if origin is dict else [value]
    return all(fits(x, arg) for arg, xs in zip(args, items, strict=False) for x in xs)


def _nearest(name: str, names) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; the nearest known name is {close[0]!r}" if close else ""


def faults(notebook: str, known: dict[str, str], passed: dict, origin: dict | None = None) -> Iterator[str]:
    """A sentence for each parameter that is unknown, mistyped or missing; `origin` tells where one stands."""
    origin = origin or {}
    for name, value in passed.items():
        where = f"{origin.get(name, name)} = {value!r}"
        if name not in known:
            near = _nearest(name, known.keys() - passed.keys()) or f" (it takes {', '.join(known)})"
            yield f"{where}: {notebook} has no parameter {name!r}{near}. Rename or remove it."
        elif not fits(value, eval(known[name])):  # code of a notebook that is about to be run anyway
            yield f"{where} is {type(value).__name__}: {notebook} wants {known[name]}. Mend the value."
    places = sorted({place.rpartition(".")[0] for place in origin.values() if place.startswith(PARAMS)})
    for name in known.keys() - passed.keys():
        yield f"{notebook} wants '{name}: {known[name]}'. Add it{' to ' * bool(places)}{' or '.join(places)}."


def room(path: Path) -> None:
    """Raise before long work where its output, or later the report, could not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if os.path.lexists("reports"):
            with tempfile.TemporaryFile(dir="reports"):
                pass
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise ParameterError(f"nothing was run: the output cannot be written: {error}. Make it writable.") from None
    if free < SPACE:
        raise ParameterError(
            f"nothing was run: {free / 1e9:.1f} GB are free at {path.parent}/; {SPACE / 1e9:.0f} GB are needed for "
            "checkpoints, models and DVC's cache. Free some space (`dvc gc -w` drops old results) or move the project."
        )


class StrictEngine:
    """Papermill engine `strict`: checks the parameters, runs the notebook, says which cell failed and why."""

    @staticmethod
    def nb_kernel_name(nb, name=None):
        return NBClientEngine.nb_kernel_name(nb, name)

    @staticmethod
    def nb_language(nb, language=None):
        return NBClientEngine.nb_language(nb, language)

    @staticmethod
    def execute_notebook(nb, kernel_name, input_path, output_path=None, **options):
        from papermill.execute import PapermillExecutionError, raise_for_execution_errors

        if found := list(faults(input_path, declared(nb, input_path), nb.metadata.papermill.parameters)):
            raise ParameterError("nothing was run:\n" + "\n".join(f"- {fault}" for fault in found))
        room(Path(output_path or os.devnull))
        os.environ["SHELFCAST_PIPELINE"] = "1"  # for the kernel: no progress bars in a log
        start = time.perf_counter()
        print(f"{output_path}: started {time.strftime('%H:%M')}, {len(nb.cells)} cells", flush=True)
        options |= {"input_path": input_path, "output_path": output_path, "progress_bar": False}
        options["extra_arguments"] = ["--log-level=CRITICAL"]  # the kernel's own; cells fail as loudly as ever
        nb = NBClientEngine.execute_notebook(nb, kernel_name, **options)
        try:
            raise_for_execution_errors(nb, output_path)
        except PapermillExecutionError as e:
            trace = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(e.traceback))
            begin = "\n".join(f"    {line}" for line in e.source.splitlines()[:6])
            raise click.ClickException(
                f"{trace}\n\n{input_path} failed in cell [{e.exec_count}], which begins\n{begin}\n"
                f"with {e.ename}: {e.evalue}\nThe notebook up to there is kept for reading: {output_path}"
            ) from None
        print(f"{output_path}: done in {time.perf_counter() - start:.0f} s", flush=True)
        return nb


def check() -> Iterator[str]:
    """Faults of params.yaml, dvc.yaml and the notebooks of the project in the current folder."""
    import nbformat
    from dvc.repo import Repo
    from papermill.cli import _resolve_type
    from papermill.cli import papermill as papermill_cli

    params = section(PARAMS)
    for name in [k for part in ("markets", "simulations", "variants", "ablations") for k in params.get(part, {})]:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)):
            yield f"{PARAMS}: {name!r} becomes a path; write small letters, digits and _, a letter first."
            return
    if "pretrain" in params.get("markets", {}):
        yield f"{PARAMS}: a market named 'pretrain' would lie where the base does; rename it."
        return
    with Repo(".") as repo:
        used = {n.split(".")[0]: s for s in repo.index.stages for d in s.params for n in d.params}
        stages = [s for s in repo.index.stages if (s.cmd or "").startswith("papermill ")]
    for stage in stages:
        try:
            options = papermill_cli.make_context("papermill", shlex.split(stage.cmd.split("&&")[0])[1:]).params
            notebook, passed, origin = options["notebook_path"], {}, {}
            for path in options["parameters_file"] or ():
                used[path.removeprefix(f"{PARAMS}:").split(".")[0]] = stage
                passed |= section(path)
                origin |= {name: f"{path}.{name}" for name in section(path)}
            for name, value in options["parameters"] or ():
                if name in origin:
                    yield f"{origin[name]} is set by dvc.yaml (-p {name}). Remove it."
                passed[name], origin[name] = _resolve_type(value), f"dvc.yaml, {stage.addressing}, -p {name}"
            yield from faults(notebook, declared(nbformat.read(notebook, 4), notebook), passed, origin)
        except (OSError, SyntaxError, NameError, ValueError, click.ClickException) as error:
            yield f"stage {stage.addressing}: {getattr(error, 'message', error)}"
    for name in params.keys() - used.keys():
        yield f"{PARAMS}:{name} is used by no stage{_nearest(name, used)}. Rename or remove it."


# Last, because papermill loads this module by its entry point while papermill itself is being imported.
from papermill.engines import NBClientEngine  # noqa: E402
from papermill.iorw import papermill_io  # noqa: E402
from papermill.translators import PythonTranslator  # noqa: E402

papermill_io.register(f"{PARAMS}:", Sections)
warnings.filterwarnings("ignore", message=rf"The specified file \({PARAMS}:")
# papermill cannot read `str | None` (its issue 806): it would call it unknown and leave it out of its help
PythonTranslator.PARAMETER_PATTERN = re.compile(
    PythonTranslator.PARAMETER_PATTERN.pattern.replace(r"\],\s]", r"\],|\s]")
)

if __name__ == "__main__":
    if problems := dict.fromkeys(check()):
        sys.exit("\n- ".join(["error: parameters do not agree; nothing was run", *problems]))
    done = Path(sys.argv[1])
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text("params.yaml, dvc.yaml and the notebooks agree\n")
