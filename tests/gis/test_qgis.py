"""QGIS itself opens a map, its confidence and its polygons, and shows names and colors."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from c2seg import package_map
from c2seg.legend import c2seg13
from helpers import report_make as make

SESSION = Path(make.__file__).with_name("qgis_session.py")
PYTHON = "/usr/bin/python3"
"""Debian's, which Debian's python3-qgis is for."""


def session(*arguments: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "GDAL_DATA", "PROJ_DATA"}
    }
    environment |= {"QT_QPA_PLATFORM": "offscreen", "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(
        [PYTHON, str(SESSION), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300
    )


def test_qgis_shows_names_and_colors(tmp_path, record_property):
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True).returncode:
        pytest.skip("needs QGIS: apt-get install python3-qgis")
    place = make.grid(60, 90)
    path = make.make_map(tmp_path / "maps/berlin.tif", make.labels(place), place, city="Berlin", confidence=True)
    package_map(path, tmp_path / "out", simplify=15.0)
    files = [tmp_path / "out" / name for name in ("berlin.tif", "berlin_confidence.tif", "berlin.polygons.gpkg")]
    done = session(*files, tmp_path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    legend = {str(c.id): [c.name, c.color.lower()] for c in c2seg13().classes}
    assert answer["valid"] == [True, True, True]
    assert (answer["map renderer"], answer["classes"]) == ("paletted", legend)
    assert (answer["polygons renderer"], answer["polygons"]) == ("categorizedSymbol", legend)
    assert (answer["confidence renderer"], answer["crs"]) == ("singlebandpseudocolor", "EPSG:32633")
    assert (answer["features"], answer["invalid"]) == (3, 0)
    for name in ("map", "polygons"):
        pixels = np.array(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        for column, number in ((100, 3), (300, 7), (500, 10)):  # the three stripes
            assert tuple(pixels[300, column].tolist()) == c2seg13().colors()[number], name
    record_property("QGIS layers opened", len(files))
