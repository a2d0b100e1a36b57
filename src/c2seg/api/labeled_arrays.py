"""Arrays with names for their axes (xarray's DataArray), taken and given back without importing xarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from c2seg.errors import InputError

__all__ = ["LabeledArrays"]

# They describe how the image's values are stored or what they mean, not those of the probabilities.
_OF_VALUES = ("_FillValue", "missing_value", "scale_factor", "add_offset", "units", "long_name", "standard_name")


@dataclass(frozen=True)
class LabeledArrays:
    """Plain arrays [C, H, W] by modality and valid [H, W], and the DataArray, if any, whose grid the result takes."""

    arrays: Any
    valid: Any
    like: Any = None

    @classmethod
    def of(cls, arrays: Any, valid: Any) -> LabeledArrays:
        """Take arrays of either kind. A DataArray's ``_FillValue`` becomes NaN, as its nodata value.

        Raises InputError for no mapping.
        """
        if not isinstance(arrays, Mapping):
            raise InputError(f"arrays is a {type(arrays).__name__}; give an array [band, row, column] by modality")
        labeled = [array for array in map(_in_order, arrays.values()) if array is not None]
        finest = max(labeled, key=lambda array: array.shape[-2] * array.shape[-1], default=None)
        mask = _in_order(valid)
        return cls(
            {name: _plain(values) for name, values in arrays.items()}, valid if mask is None else mask.values, finest
        )

    def labeled(self, probabilities: np.ndarray, classes: Sequence[str]) -> Any:
        """Return probabilities [K, H, W] as the images came: a DataArray with their grid if one of them was."""
        if self.like is None or self.like.shape[-2:] != probabilities.shape[-2:]:
            return probabilities
        grid = self.like.dims[-2:]
        coordinates = {name: values for name, values in self.like.coords.items() if set(values.dims) <= set(grid)}
        attributes = {name: value for name, value in self.like.attrs.items() if name not in _OF_VALUES}
        return type(self.like)(
            probabilities,
            dims=("class", *grid),
            coords={**coordinates, "class": list(classes)},
            attrs=attributes,
            name="probability",
        )


def _in_order(array: Any) -> Any:
    """Return a DataArray with ``y`` and ``x`` last, if it has these; None if it is none."""
    if not (hasattr(array, "dims") and hasattr(array, "coords") and hasattr(array, "values")):
        return None
    return array.transpose(..., "y", "x") if {"y", "x"} <= set(array.dims) else array


def _plain(values: Any) -> Any:
    array = _in_order(values)
    if array is None:
        return values
    plain, fill = array.values, array.attrs.get("_FillValue")
    if fill is None or plain.dtype.kind not in "iuf":
        return plain
    return np.where(plain == fill, np.float32(np.nan), plain.astype(np.float32))
