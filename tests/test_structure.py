"""The house: imports run one way, rooms stay small, and the drawing and the table in docs/ are the code's."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/shelfcast"
MODULES = sorted(SOURCE.rglob("*.py"))
NOTEBOOKS = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("studies/*/*.ipynb")])
# A package may import those of lower floors; those of one floor do not know each other.
FLOORS = [
    {"validate", "reading_options", "language", "frequency"},
    {"decision_options", "live_options", "model_options", "scale_options", "word_options"},
    {"settings"},
    {"data"},
    {"judge"},
    {"panel"},
    {"model", "market"},
    {"methods", "training"},
    {"report"},
    {"why"},  # its figures look as the report's do; the report reads its frames from files
    {"act"},
    {"live"},
    {"scale"},
    {"pipeline"},
]
MODULE_LINES, FUNCTION_LINES, PACKAGE_LINES = 300, 60, 1000
CELL_LINES, MEAN_CELL_LINES = 25, 8


def drawing():
    """docs/structure.py, which draws the packages and their imports."""
    spec = importlib.util.spec_from_file_location("structure", ROOT / "docs/structure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(path):
    return len(path.read_text().splitlines())


def test_imports_run_one_way():
    floor = {package: i for i, packages in enumerate(FLOORS) for package in packages}
    for package, imported in drawing().package_imports(SOURCE).items():
        for other in imported:
            assert floor[other] < floor[package], f"{package} imports {other}, which does not lie below it"


def test_modules_do_not_import_in_a_circle():
    imports, done = drawing().module_imports(SOURCE), set()

    def visit(module, way):
        assert module not in way, " -> ".join([*way, module])
        if module not in done:
            for other in imports.get(module, ()):
                visit(other, [*way, module])
            done.add(module)

    for module in imports:
        visit(module, [])


def test_design_shows_the_packages_as_they_are():
    structure = drawing()
    texts = [path.read_text() for path in structure.DOCUMENTS]
    assert "".join(texts).count("<!-- structure:") == 2
    for text in texts:
        assert structure.fill(text) == text, "run `python docs/structure.py`"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_a_module_is_read_in_one_sitting(path):
    assert lines(path) <= MODULE_LINES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name


def test_a_package_is_read_in_an_afternoon():
    for folder in {path.parent for path in MODULES} - {SOURCE}:
        total = sum(lines(path) for path in folder.glob("*.py"))
        assert total <= PACKAGE_LINES, f"{folder.name}: {total} lines"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_cell_holds_one_idea(path):
    cells = [cell.source.splitlines() for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    sizes = [len(cell) for cell in cells]
    assert max(sizes) <= CELL_LINES
    assert sum(sizes) / len(sizes) <= MEAN_CELL_LINES


def test_studies_answer_their_question():
    for folder in sorted(path.parent for path in ROOT.glob("studies/*/dvc.yaml")):
        assert (folder / "README.md").exists(), folder
        assert list((folder / "results").iterdir()), folder


def test_data_knows_no_torch_and_the_model_no_files():
    for package in ("data", "panel", "judge"):
        for path in (SOURCE / package).glob("*.py"):
            top = "\n".join(line for line in path.read_text().splitlines() if not line.startswith(" "))
            if path.name != "pictures.py":  # runs an image encoder
                assert not re.search(r"^(import|from) (torch|transformers)", top, re.M), path
    for path in (SOURCE / "report").glob("*.py"):
        assert "import torch" not in path.read_text(), path
