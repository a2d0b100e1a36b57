"""Small cities made by code: real CRS, uneven sizes, classes that can be learnt from the bands."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings

from c2seg.recipes import load_recipe
from helpers.rasters import write_raster

settings.register_profile("c2seg", deadline=None)  # no test depends on the speed of the machine
settings.load_profile("c2seg")

MakeCity = Callable[..., Path]


def pytest_terminal_summary(terminalreporter):
    """Say how many snippets of the documents ran, and what else tests counted."""
    counts: dict[str, int] = {}
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            counts[name] = counts.get(name, 0) + value
    if counts:
        terminalreporter.write_line("documents: " + ", ".join(f"{value} {name}" for name, value in counts.items()))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("C2SEG_REAL_DATA")
    if not folder:
        pytest.skip("C2SEG_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture
def write_recipe(tmp_path):
    """Return a maker of recipes: writes keys as YAML and loads them."""

    def make(keys):
        path = tmp_path / f"{keys['name']}.yaml"
        path.write_text(yaml.safe_dump(keys, sort_keys=False))
        return load_recipe(str(path))

    return make


@pytest.fixture
def cities(make_city):
    """Return a labeled source and a target without labels."""
    return make_city("source", seed=1), make_city("target", seed=2, label=False)


@pytest.fixture
def make_city(tmp_path: Path) -> MakeCity:
    """Return a maker of city folders: blobs of classes 1, 3, 10, each with its own mean in every band."""

    def make(
        name: str = "city", *, height: int = 70, width: int = 91, seed: int = 0, label: bool = True, gain: float = 1.0,
        hsi_ratio: int = 1, modalities=("msi", "sar", "hsi"), valid: bool = False,
    ) -> Path:  # fmt: skip
        rng = np.random.default_rng(seed)
        folder = tmp_path / name
        reference = np.array([1, 3, 10], np.uint8)[_blobs(height, width, rng)]
        level = {1: -1.0, 3: 0.0, 10: 1.0}
        signal = np.vectorize(level.get)(reference).astype(np.float32)

        def noisy(bands: int, data: np.ndarray, scale: float, offset: float) -> np.ndarray:
            noise = rng.standard_normal((bands, *data.shape)).astype(np.float32)
            sign = np.where(np.arange(bands) % 2, -1, 1)[:, None, None]
            return (offset + gain * scale * (sign * data + 0.5 * noise)).astype(np.float32)

        if "msi" in modalities:
            write_raster(folder / "msi.tif", np.clip(noisy(4, signal, 300, 1500), 1, None).astype(np.uint16))
        if "sar" in modalities:
            write_raster(folder / "sar.tif", noisy(2, signal, 4, -12))
        if "hsi" in modalities:
            pad_h, pad_w = -height % hsi_ratio, -width % hsi_ratio
            coarse = np.pad(signal, ((0, pad_h), (0, pad_w)), mode="edge")[::hsi_ratio, ::hsi_ratio]
            cube = np.clip(noisy(6, coarse, 200, 2000), 1, None).astype(np.int16)
            write_raster(folder / "hsi.tif", cube, resolution=10.0 * hsi_ratio)
        if label:
            write_raster(folder / "label.tif", reference[None])
        if valid:
            usable = np.ones((1, height, width), np.uint8)
            usable[:, : height // 4, : width // 3] = 0
            write_raster(folder / "valid.tif", usable)
        return folder

    return make


def _blobs(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    points = rng.random((9, 2)) * (height, width)
    rows, cols = np.mgrid[:height, :width]
    distance = (rows[..., None] - points[:, 0]) ** 2 + (cols[..., None] - points[:, 1]) ** 2
    return distance.argmin(axis=-1) % 3
