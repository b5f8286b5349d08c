"""Draw the packages of src/shelfcast and what they import: `python docs/structure.py` writes the drawing in
docs/design.md and the table in docs/packages.md.

A test compares, so that both are always those of the code.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/shelfcast"
DOCUMENTS = [ROOT / "docs/design.md", ROOT / "docs/packages.md"]


def module_imports(source: Path = SOURCE) -> dict[str, set[str]]:
    """Module -> modules of the project that it imports when it is imported, both as 'package.module'."""
    paths = {path: ".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")}
    names = {name.removesuffix(".__init__") for name in paths.values()}
    found = {}
    for path, name in paths.items():
        imported = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "shelfcast":
                base = node.module.removeprefix("shelfcast").lstrip(".")
                for alias in node.names:
                    full = f"{base}.{alias.name}".lstrip(".")
                    imported.add(full if full in names else base)
        found[name.removesuffix(".__init__")] = imported - {"", name.removesuffix(".__init__")}
    return found


def package_imports(source: Path = SOURCE) -> dict[str, set[str]]:
    """Package -> the other packages that it imports."""
    found: dict[str, set[str]] = {}
    for module, imported in module_imports(source).items():
        package = module.split(".")[0]
        others = {other.split(".")[0] for other in imported} - {package}
        found.setdefault(package, set()).update(others)
    return {package: others for package, others in found.items() if package != "__init__"}


def diagram() -> str:
    """The packages as a Mermaid flowchart; an arrow that a longer way implies is left out."""
    imports = package_imports()

    def reach(package: str, way: tuple[str, ...] = ()) -> set[str]:
        if package in way:
            raise ValueError(f"packages import each other: {' -> '.join([*way, package])}. Move what both need down.")
        return imports[package].union(*(reach(other, (*way, package)) for other in imports[package]))

    lines = ["```mermaid", "flowchart TD"]
    for package in sorted(imports):
        implied = set().union(*(reach(other) for other in imports[package]))
        if others := sorted(imports[package] - implied):
            lines.append(f"\t{package} --> {' & '.join(others)}")
    return "\n".join([*lines, "```"])


def table() -> str:
    """Lines by package, and what each module is for (the first line of its text)."""
    rows = ["| package | lines | modules |", "|---|---:|---|"]
    for folder in sorted(path.parent for path in SOURCE.glob("*/**/__init__.py")):
        modules = sorted(path for path in folder.glob("*.py") if path.read_text().strip())
        total = sum(len(path.read_text().splitlines()) for path in modules)
        parts = []
        for path in modules:
            text = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0].rstrip(".")
            parts.append(text if path.stem == "__init__" else f"`{path.stem}`: {text[:1].lower()}{text[1:]}")
        rows.append(f"| `{folder.relative_to(SOURCE).as_posix()}` | {total} | {'<br>'.join(parts)} |")
    return "\n".join(rows)


def fill(text: str) -> str:
    """The document with its blocks `<!-- structure:diagram -->` and `<!-- structure:table -->` drawn anew."""
    for name, content in (("diagram", diagram()), ("table", table())):
        block = re.compile(rf"<!-- structure:{name} -->.*?<!-- /structure -->", re.S)
        text = block.sub(lambda _: f"<!-- structure:{name} -->\n{content}\n<!-- /structure -->", text)  # noqa: B023
    return text


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(fill(path.read_text()))
