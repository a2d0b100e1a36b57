"""The first page of the documentation in a notebook: it runs, and results show themselves as tables and pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from short_recipes import FOREST, UNET

SNIPPET = """\
import c2seg
run = c2seg.fit("forest", source="augsburg", target="berlin", out="run", preset="tiny", seed=0, overrides={forest!r})
model = c2seg.load_model("run/model.safetensors")
model.predict("berlin", "berlin.tif")
---
import rasterio
arrays = {{}}
for name in ("msi", "sar", "hsi"):
    with rasterio.open(f"berlin/{{name}}.tif") as file:
        arrays[name] = file.read()
probabilities = model.predict_array(arrays)
print(probabilities.shape, probabilities.dtype)
---
scores = c2seg.score("berlin.tif", "berlin/label.tif")
print(scores.miou, scores.iou["Forests"], scores.confusion.counts.shape)
scores
---
city = c2seg.open_city("augsburg"); city.plot()
---
run = c2seg.fit("unet", source="augsburg", target="berlin", out="unet", overrides={unet!r})
run.load().predict_array(arrays).shape
"""

# In a process of its own: a kernel's client warns of many things, and warnings are errors in tests.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(text) for text in open(sys.argv[1]).read().split("---\\n")]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[3])
"""


@pytest.mark.slow
def test_the_snippet_runs_in_a_notebook(make_city, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    for name in ("augsburg", "berlin"):
        make_city(name, seed=len(name))
    snippet, written = tmp_path / "snippet.txt", tmp_path / "notebook.ipynb"
    snippet.write_text(SNIPPET.format(forest=list(FOREST), unet=list(UNET)))
    done = subprocess.run([sys.executable, "-c", EXECUTE, snippet, tmp_path, written], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = nbformat.read(written, as_version=4).cells
    shown = [[output.get("data", {}) | {"text": output.get("text", "")} for output in cell.outputs] for cell in cells]
    assert [len(outputs) for outputs in shown] == [1, 1, 2, 1, 1]
    assert "<table>" in shown[0][0]["text/html"]
    assert shown[1][0]["text"] == "(13, 70, 91) float32\n"
    assert "Forests" in shown[2][1]["text/html"]
    assert "image/png" in shown[3][0]
    assert shown[4][0]["text/plain"] == "(13, 70, 91)"
    assert Path(tmp_path / "berlin.tif").exists()
