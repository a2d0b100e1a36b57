"""docs/python.md: its blocks run in order, it names every public name and every parameter, and its sentences are short."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import c2seg
from c2seg.api.cities import OpenedCity
from c2seg.api.models import Model

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
CALLED = [*(name for name in c2seg.__all__ if name[0].islower()), "CityDataset"]


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def section(title: str) -> str:
    return PAGE.read_text().split(f"# {title}\n")[1].split("\n## ")[0].split("\n### ")[0]


def test_the_blocks_run_in_order(tmp_path):
    pytest.importorskip("earthlib")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks()))
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "(13," in done.stdout
    made = {path.name for path in tmp_path.iterdir()}
    assert {"run", "berlin.tif", "scores.json", "augsburg.png", "labels.tif", "run.html", "network.onnx"} <= made


def test_every_public_name_is_on_the_page():
    text = PAGE.read_text()
    assert [name for name in c2seg.__all__ if not re.search(rf"`(c2seg\.)?{name}\b", text)] == []


@pytest.mark.parametrize("name", CALLED)
def test_every_parameter_is_in_its_section(name):
    parameters = inspect.signature(getattr(c2seg, name)).parameters
    text = section(name)
    assert [p for p in parameters if f"`{p}`" not in text and f"{p}=" not in text] == []


@pytest.mark.parametrize(
    ("title", "method"),
    [("Model.predict", Model.predict), ("Model.predict_array", Model.predict_array), ("open_city", OpenedCity.plot)],
)
def test_every_parameter_of_methods_too(title, method):
    text = section(title)
    missing = [p for p in inspect.signature(method).parameters if f"`{p}`" not in text and f"{p}=" not in text]
    assert missing == ["self"]


def test_sentences_are_short():
    prose = re.sub(r"^```.*?^```$|^\|.*?$|^#.*?$", "", PAGE.read_text(), flags=re.M | re.S)
    for sentence in re.split(r"(?<=[.:!?])\s|\n\n|^- ", prose, flags=re.M):
        assert len(sentence.split()) <= 25, sentence
