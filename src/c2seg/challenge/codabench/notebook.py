"""The notebook of the kit: a forest trained on the labeled city, its maps, and an entry made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from c2seg.challenge.rules import TileSet

__all__ = ["baseline_notebook", "notebook_cells"]

_START = """# A baseline
A random forest, trained on a labeled city and applied to the test cities. It needs `pip install c2seg` and minutes, and no GPU.
Run the cells from the folder of the kit."""
_SETUP = """import json
import subprocess
import sys

import c2seg
import reader

SOURCE = {source!r}  # a labeled city
DATASETS = {datasets!r}  # data set: its images and the side of its tiles"""
_LOOK = """for name, (folder, _) in DATASETS.items():
    for modality, (array, _) in reader.read_images(folder).items():
        print(name, modality, array.shape, array.dtype)"""
_TRAIN = """run = c2seg.fit("forest", source=SOURCE, out="run", preset="tiny", seed=0, overwrite=True)
model = run.load()"""
_PREDICT = """for name, (folder, _) in DATASETS.items():
    model.predict(folder, f"{name}_map.tif", overwrite=True)"""
_PACK = """def command(*words):
    subprocess.run([sys.executable, "-m", "c2seg", *words], check=True)

for name, (folder, side) in DATASETS.items():
    command("submit", "pack", f"{name}_map.tif", "--out", f"{name}.zip", "--tile-px", str(side), "--overwrite")
    reader.check(name, f"{name}.zip")
command("submit", "join", "entry.zip", *(f"{name}={name}.zip" for name in DATASETS), "--overwrite")"""
_END = "Upload `entry.zip`. `reader.check` compares names and sizes with `datasets.json`; the organizers check more."


def baseline_notebook(sets: Mapping[str, TileSet], training: Sequence[str]) -> str:
    """Return the notebook as JSON (nbformat 4.5)."""
    cells: list[dict[str, object]] = [
        {"cell_type": kind, "id": f"cell{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        | ({"outputs": [], "execution_count": None} if kind == "code" else {})
        for number, (kind, text) in enumerate(notebook_cells(sets, training))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1) + "\n"


def notebook_cells(sets: Mapping[str, TileSet], training: Sequence[str]) -> list[tuple[str, str]]:
    """Return kind and text of every cell."""
    datasets = {
        name: (f"images/{name}", max(max(size) for size in tiles.sizes.values())) for name, tiles in sets.items()
    }
    source = f"training/{training[0]}" if training else "training/CITY"
    setup = _SETUP.format(source=source, datasets=datasets)
    code = [("code", text) for text in (setup, _LOOK, _TRAIN, _PREDICT, _PACK)]
    return [("markdown", _START), *code, ("markdown", _END)]
