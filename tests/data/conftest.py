"""Fixtures of the data tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from c2seg.data import LabeledCity
from helpers.toy_cities import make_city, smooth, write_raster


@pytest.fixture
def toy() -> LabeledCity:
    return make_city()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a good city folder; its caller then spoils it."""

    def make(name: str = "city", size: int = 60) -> Path:
        rng = np.random.default_rng(1)
        path = tmp_path / name
        write_raster(path / "msi.tif", smooth(rng, 4, size, size).astype(np.uint16))
        write_raster(path / "sar.tif", smooth(rng, 2, size, size).astype(np.float32))
        write_raster(path / "hsi.tif", smooth(rng, 5, size // 3, size // 3).astype(np.int16), size_m=30.0)
        label = np.kron(rng.integers(1, 4, (6, 6)), np.ones((size // 6, size // 6), int))
        write_raster(path / "label.tif", label[None].astype(np.uint8))
        return path

    return make
