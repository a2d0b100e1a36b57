"""Runs the tutorials, each in an empty folder, and keeps them with their outputs for the site. ``make tutorials``.

    python docs/site/tutorials.py [NAME ...]

The notebooks of docs/tutorials have no outputs. Those that ran lie in build/tutorials, with their pictures, and the site shows
them. A cell that fails ends the command with its error.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "docs/tutorials"
OUT = ROOT / "build/tutorials"
LIMIT_S = 1800


def run_notebook(path: Path, out: Path) -> int:
    """Run a notebook and write it with its outputs and pictures; return the number of pictures."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    out.mkdir(parents=True, exist_ok=True)
    pictures = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                pictures += 1
                (out / f"{path.stem}-{pictures}.png").write_bytes(base64.b64decode(output["data"]["image/png"]))
    nbformat.write(notebook, out / path.name)
    return pictures


def main() -> None:
    """Run all tutorials, or those named."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # their shell commands
    paths = [path for path in sorted(SOURCES.glob("*.ipynb")) if not sys.argv[1:] or path.stem in sys.argv[1:]]
    began = time.monotonic()
    pictures = 0
    for path in paths:
        start = time.monotonic()
        pictures += run_notebook(path, OUT)
        print(f"{path.stem}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"tutorials: {len(paths)} notebooks run, {pictures} pictures, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
