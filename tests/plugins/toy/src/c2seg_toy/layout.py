"""A layout: a folder with ``images.npz`` (an array [C, H, W] for each modality) and, if it is labeled, ``labels.npy``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from affine import Affine

from c2seg.data import Band, City, Label, Modality, Scene
from c2seg.errors import DataError
from c2seg.legend import c2seg13
from c2seg.raster import ArrayRaster
from c2seg.types import Grid

NAME = "arrays"
LOOKS_FOR = "a folder with images.npz"


def recognize(path: Path) -> bool:
    """Return True for a folder with images."""
    return (path / "images.npz").is_file()


def images(path: Path) -> City:
    """Open the images; labels are not looked at."""
    with np.load(path / "images.npz") as file:
        arrays = dict(file)
    modalities = {
        name: Modality(ArrayRaster(array), origin=str(path / "images.npz"), name=name, bands=(Band(),) * len(array))
        for name, array in arrays.items()
    }
    height, width = next(iter(arrays.values())).shape[1:]
    grid = Grid(height, width, Affine(10, 0, 500_000, 0, -10, 5_000_000))
    return City(path.name, c2seg13(), (Scene(path.name, grid, modalities),))


def labels(path: Path, city: City, label_map: str | None) -> tuple[Label, ...] | None:
    """Open the labels, uint8 [H, W]; None without."""
    file = path / "labels.npy"
    if not file.is_file():
        return None
    try:
        array = np.load(file)
    except ValueError as error:
        raise DataError(f"{file} holds no labels: {error}") from error
    return (Label(ArrayRaster(array[None]), origin=str(file), label_map=label_map or "challenge"),)
