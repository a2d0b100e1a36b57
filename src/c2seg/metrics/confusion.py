"""Confusion counts: the only pass over the pixels. All scores are computed from them.

T ground truth value, P predicted value (both 0..255), K class of the legend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from c2seg.errors import DataError, InputError
from c2seg.legend import BACKGROUND, IGNORE

__all__ = ["Confusion", "block_counts", "confusion_counts", "fold_histogram", "joint_histogram"]

_CHUNK = 1 << 19  # pixels; its temporaries (3 MB) stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Confusion:
    """Pixel counts by ground truth class and predicted class.

    ``counts`` is int64 [K, K+1]. Rows are the ground truth classes in the order of ``ids``, columns the predicted classes in
    the same order. The last column counts predictions outside the classes (0, 255, unknown ids), which are errors. Counts of
    tiles, blocks or cities add: ``a + b``, ``sum(parts, Confusion.empty(ids))``. ``ids`` begins with 0 if background is a class
    (protocol ``mrsn``).
    """

    ids: tuple[int, ...]
    counts: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.ids) + 1)
        if self.counts.shape != shape or self.counts.dtype != np.int64:
            raise InputError(f"confusion counts must be int64 {shape}, found {self.counts.dtype} {self.counts.shape}")

    @classmethod
    def empty(cls, ids: tuple[int, ...]) -> Confusion:
        """Return counts of zero pixels."""
        return cls(tuple(ids), np.zeros((len(ids), len(ids) + 1), np.int64))

    @classmethod
    def from_dict(cls, content: Any) -> Confusion:
        """Read the output of ``as_dict``. Raises DataError if the content is invalid."""
        try:
            ids = tuple(int(i) for i in content["ids"])
            return cls(ids, np.array(content["counts"], np.int64).reshape(len(ids), len(ids) + 1))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not confusion counts (keys ids, counts [K][K+1]): {error!r}") from error

    def as_dict(self) -> dict[str, Any]:
        """Return ids and counts as plain lists for JSON."""
        return {"ids": list(self.ids), "counts": self.counts.tolist()}

    def __add__(self, other: Confusion) -> Confusion:
        if self.ids != other.ids:
            raise InputError(f"confusion counts over classes {self.ids} and {other.ids} cannot be added")
        return Confusion(self.ids, self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Confusion):
            return NotImplemented
        return self.ids == other.ids and bool(np.array_equal(self.counts, other.counts))

    __hash__ = None  # type: ignore[assignment]

    @property
    def pixels(self) -> int:
        """Number of labeled pixels."""
        return int(self.counts.sum())

    def without_background(self) -> Confusion:
        """Return the counts of labeled pixels: row 0 is removed, and predictions of 0 count as outside the classes."""
        if BACKGROUND not in self.ids:
            return self
        index = self.ids.index(BACKGROUND)
        counts = np.delete(self.counts, index, axis=0)
        counts[:, -1] += counts[:, index]
        return Confusion(
            self.ids[:index] + self.ids[index + 1 :], np.ascontiguousarray(np.delete(counts, index, axis=1))
        )


def confusion_counts(reference: np.ndarray, prediction: np.ndarray, ids: tuple[int, ...]) -> Confusion:
    """Count pairs of ground truth and predicted ids, both uint8 of the same shape with any number of axes.

    Ground truth 255 is ignored, and so is 0 unless ``ids`` contains it. Raises DataError if the shapes differ or
    ground truth contains another value outside ``ids``, so that no pixel is silently dropped.
    """
    return fold_histogram(joint_histogram(reference, prediction), ids)


def joint_histogram(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Count all pairs of values of two uint8 arrays of the same shape: int64 [256 T, 256 P].

    It needs a few MB of extra memory at any size. Arrays that are not contiguous are copied in slabs along the first axis.
    """
    if reference.shape != prediction.shape:
        raise DataError(
            f"the prediction has shape {prediction.shape}, the ground truth {reference.shape}; they must be equal"
        )
    for name, array in (("reference", reference), ("prediction", prediction)):
        if array.dtype != np.uint8:
            raise DataError(f"the {name} is {array.dtype}; scores need uint8 class ids")
    counts = np.zeros((256, 256), np.int64)
    for flat_reference, flat_prediction in _flat(reference, prediction):
        for start in range(0, flat_reference.size, _CHUNK):
            _count(counts, flat_reference[start : start + _CHUNK], flat_prediction[start : start + _CHUNK])
    return counts


def fold_histogram(histogram: np.ndarray, ids: tuple[int, ...]) -> Confusion:
    """Reduce counts of value pairs (``joint_histogram``) to the classes ``ids`` by the rules of ``confusion_counts``."""
    rows = list(ids)
    known = np.zeros(256, bool)
    known[[*rows, BACKGROUND, IGNORE]] = True
    unknown = np.flatnonzero(histogram.sum(1) * ~known)
    if unknown.size:
        raise DataError(
            f"the ground truth contains values {unknown[:8].tolist()} outside the legend's ids {rows} (0 and 255 are ignored); "
            "give the label mapping or the legend of the ground truth"
        )
    labeled = histogram[rows]
    counts = np.empty((len(rows), len(rows) + 1), np.int64)
    counts[:, :-1] = labeled[:, rows]
    counts[:, -1] = labeled.sum(1) - counts[:, :-1].sum(1)
    return Confusion(tuple(ids), counts)


def block_counts(reference: np.ndarray, prediction: np.ndarray, ids: tuple[int, ...], block_px: int) -> np.ndarray:
    """Count square blocks of two uint8 [H, W] separately: int64 [blocks, K, K+1], blocks in row-major order.

    Blocks at the right and lower edge may be smaller. Unlike ``confusion_counts``, it ignores ground truth outside ``ids``.
    """
    height, width = reference.shape
    classes = len(ids)
    cells = (classes + 1) ** 2
    row_start, column = np.full(256, classes * (classes + 1)), np.full(256, classes)
    row_start[list(ids)], column[list(ids)] = np.arange(classes) * (classes + 1), np.arange(classes)
    block_start = np.arange(width) // block_px * cells
    blocks = -(-width // block_px)
    step = max(1, _CHUNK // max(1, width))
    counts = np.zeros((-(-height // block_px), blocks * cells), np.int64)
    for index, top in enumerate(range(0, height, block_px)):
        for first in range(top, min(top + block_px, height), step):
            rows = slice(first, min(first + step, top + block_px))
            code = row_start[reference[rows]]
            code += column[prediction[rows]]
            code += block_start
            counts[index] += np.bincount(code.ravel(), minlength=blocks * cells)
    return np.ascontiguousarray(counts.reshape(-1, classes + 1, classes + 1)[:, :classes])


def _flat(reference: np.ndarray, prediction: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if reference.ndim < 2 or (reference.flags.c_contiguous and prediction.flags.c_contiguous):
        yield reference.reshape(-1), prediction.reshape(-1)
        return
    slab = max(1, _CHUNK * len(reference) // max(1, reference.size))
    for start in range(0, len(reference), slab):
        yield reference[start : start + slab].reshape(-1), prediction[start : start + slab].reshape(-1)


def _count(counts: np.ndarray, reference: np.ndarray, prediction: np.ndarray) -> None:
    # 255 wraps to 0: with at most 15 classes, every ground truth value now fits in four bits.
    shifted = reference + np.uint8(1)
    if shifted.size % 2 or shifted.max() > 15 or prediction.max() > 15:
        pairs = np.left_shift(reference, 8, dtype=np.uint16)
        pairs |= prediction
        counts += np.bincount(pairs, minlength=65536).reshape(256, 256)
        return
    # Four bits of ground truth and four of prediction are a byte; two neighboring pixels are a 16-bit bin: half the increments.
    shifted <<= np.uint8(4)
    shifted |= prediction
    neighbors = np.bincount(shifted.view(np.uint16), minlength=65536).reshape(256, 256)
    single = (neighbors.sum(0) + neighbors.sum(1)).reshape(16, 16)
    counts[:15, :16] += single[1:]
    counts[IGNORE, :16] += single[0]
