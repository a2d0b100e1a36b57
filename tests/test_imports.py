"""The package map holds: imports point from lower rows to upper rows, and the light parts stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import c2seg

ROOT = Path(c2seg.__file__).parent
# Top to bottom, as in CONTRIBUTING.md: a part may import from its own row and from rows above.
ROWS = [
    [
        "_version",
        "checksums",
        "documents",
        "errors",
        "types",
        "legend",
        "outputs",
        "parallel",
        "plugins",
        "process",
        "progress",
        "records",
    ],
    ["raster", "products"],
    ["data"],
    ["labels", "simulate"],
    ["prepare"],
    ["metrics"],
    ["recipes"],
    ["artifacts"],
    ["gis"],
    ["sampling", "forest"],
    ["models", "losses"],
    ["methods"],
    ["train"],
    ["predict"],
    ["pipeline", "fusion"],
    ["verify"],
    ["benchmark", "report", "challenge"],
    ["server"],
    ["api"],
    ["testing"],
    ["cli", "__main__"],
]
ROW = {name: row for row, names in enumerate(ROWS) for name in names}
TORCH = {"models", "losses", "methods", "train"}


def parts() -> dict[str, list[Path]]:
    found = {}
    for path in ROOT.iterdir():
        if path.suffix == ".py" and path.stem != "__init__":
            found[path.stem] = [path]
        elif path.is_dir() and (path / "__init__.py").exists():
            found[path.name] = sorted(path.rglob("*.py"))
    return found


def imported_parts(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "c2seg":
            rest = node.module.split(".")[1:]
            names |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("c2seg.")}
    return names


def test_every_part_has_a_row():
    assert set(parts()) == set(ROW)


def test_imports_point_upwards():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for part, files in parts().items()
        for path in files
        for name in imported_parts(path)
        if ROW[name] > ROW[part]
    ]
    assert not wrong


def test_contributing_lists_every_part():
    text = (ROOT.parents[1] / "CONTRIBUTING.md").read_text()
    assert [name for name in ROW if name not in {"_version", "__main__"} and f"`{name}`" not in text] == []


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.split(".")[0] for name in out.split()}


def test_the_overview_loads_nothing_heavy():
    heavy = {"torch", "matplotlib", "sklearn", "rasterio", "numpy", "pydantic"}
    assert not loaded_after("import c2seg") & heavy
    assert not loaded_after("from c2seg.cli import run; run(['--help'])") & heavy


def test_parts_without_torch_do_not_import_it():
    free = [name for name in ROW if name not in TORCH and name not in {"__main__"}]
    assert "torch" not in loaded_after(f"import {', '.join('c2seg.' + name for name in free)}")
