"""The notebook of the kit: a forest trained on the labeled city, its maps, and an entry made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template

import yaml

from c2seg.challenge.rules import TileSet

__all__ = ["baseline_notebook"]


def baseline_notebook(sets: Mapping[str, TileSet], training: Sequence[str]) -> str:
    """Return the notebook as JSON (nbformat 4.5), for the data sets and the first of the kit's labeled cities."""
    text = resources.files("c2seg.challenge.codabench").joinpath("pages/baseline.yaml").read_text(encoding="utf-8")
    datasets = {
        name: (f"images/{name}", max(max(size) for size in tiles.sizes.values())) for name, tiles in sets.items()
    }
    words = {"source": repr(f"training/{training[0] if training else 'CITY'}"), "datasets": repr(datasets)}
    cells: list[dict[str, object]] = [
        {
            "cell_type": cell["kind"], "id": f"cell{number}", "metadata": {},
            "source": Template(cell["text"]).safe_substitute(words).splitlines(keepends=True),
        }
        | ({"outputs": [], "execution_count": None} if cell["kind"] == "code" else {})
        for number, cell in enumerate(yaml.safe_load(text))
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1) + "\n"
