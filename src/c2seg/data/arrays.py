"""Cities from arrays in memory.

Axes: C band, H row, W column on the fine grid; h, w row and column on a coarser grid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from affine import Affine

from c2seg.data.city import City, Layer, Modality, Scene
from c2seg.errors import InputError
from c2seg.legend import Legend
from c2seg.raster import ArrayRaster, GridRelation
from c2seg.types import Grid

__all__ = ["city_of_arrays"]


def city_of_arrays(arrays: Mapping[str, np.ndarray], valid: np.ndarray | None, legend: Legend) -> City:
    """Return a city of one scene from arrays [C, h, w] by modality. Only masked arrays are copied.

    The largest array defines the fine grid. Pixels of other arrays may be an integer multiple coarser. They start at the
    same upper left corner and may extend beyond the fine grid by less than one pixel. NaN and masked pixels are invalid.
    ``valid`` bool [H, W] excludes more pixels. Raises InputError, which names the invalid argument.
    """
    images = {name: _image(name, values) for name, values in arrays.items()}
    if not images:
        raise InputError("arrays is empty: give an array [band, row, column] by modality")
    height, width = max((image.shape[1:] for image in images.values()), key=lambda shape: shape[0] * shape[1])
    modalities = {
        name: Modality(ArrayRaster(values), _relation(name, values, height, width), f"arrays[{name!r}]", name)
        for name, values in images.items()
    }
    layer = None if valid is None else Layer(ArrayRaster(_mask(valid, height, width)), origin="valid")
    scene = Scene("arrays", Grid(height, width, Affine.identity()), modalities, layer)
    return City("arrays", legend, (scene,))


def _image(name: str, values: np.ndarray) -> np.ndarray:
    where = f"arrays[{name!r}]"
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float32), np.nan)
    if not isinstance(values, np.ndarray):
        raise InputError(f"{where} is a {type(values).__name__}; give a numpy array [band, row, column]")
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where} has type {values.dtype}; give integers or floating-point numbers")
    if values.ndim != 3 or 0 in values.shape:
        raise InputError(f"{where} has shape {values.shape}; give a non-empty array [band, row, column]")
    return values


def _relation(name: str, values: np.ndarray, height: int, width: int) -> GridRelation:
    """Return the relation of an array's grid to the fine grid."""
    rows, cols = values.shape[1:]
    possible = [
        ratio for ratio in range(1, max(height, width) + 1) if (-(-height // ratio), -(-width // ratio)) == (rows, cols)
    ]
    exact = [ratio for ratio in possible if (rows * ratio, cols * ratio) == (height, width)]
    ratios = exact or possible
    if len(ratios) != 1:
        why = f"the ratio is ambiguous: {ratios}" if ratios else "no integer ratio matches"
        raise InputError(
            f"arrays[{name!r}] is {rows} x {cols} pixels and the fine grid {height} x {width}: {why}; give the size of the "
            "fine grid, or of a grid whose pixels are an integer multiple, from the same upper left corner"
        )
    return GridRelation(ratios[0])


def _mask(valid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return uint8 [1, H, W]."""
    if not isinstance(valid, np.ndarray) or valid.dtype != bool:
        raise InputError(f"valid is {getattr(valid, 'dtype', type(valid).__name__)}; give a bool array [row, column]")
    if valid.shape != (height, width):
        raise InputError(f"valid has shape {valid.shape}; the arrays' fine grid is {height} x {width}")
    return valid[None].view(np.uint8)
