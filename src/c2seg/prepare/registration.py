"""Co-registration of a product with a reference: its shift, tile by tile and as a whole.

At most 16 tiles of at most 256 x 256 pixels are read, spread evenly, on a grid as coarse as the coarser of both products. Two
optical products are compared in the bands whose wavelengths are closest, radar with optical products in gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as pairs
from typing import NamedTuple

import numpy as np
from affine import Affine

from c2seg.prepare.shifts import ImageShift, find_shift, structure
from c2seg.products import Product, ProductBand
from c2seg.progress import Progress, no_progress
from c2seg.records import Record
from c2seg.types import Grid, Window

__all__ = ["ShiftReport", "TileShift", "measure_shift"]

_TILE_PX, _TILES = 256, 4  # the side of a tile; tiles along each axis at most
_SAME_NM = 60.0  # bands that lie closer show the same ground alike
_ROLES_NM = {"blue": 490.0, "green": 560.0, "red": 665.0, "nir": 850.0}
_BEST_NM = 665.0  # among equals: contrast of fields, woods and roofs, little haze
_CONFIDENT, _CONFIDENT_RADAR = 0.4, 0.15
_DISAGREEMENT_PX = 0.2
_SPREAD_PX = 0.5


class TileShift(Record):
    """The shift in one tile. ``row`` and ``col`` are its first pixel on the fine grid.

    ``rows_px`` (down) and ``cols_px`` (right) are in pixels of the fine grid, ``east_m`` and ``north_m`` in units of its CRS.
    All four are None where nothing can be measured, which ``reason`` explains.
    """

    row: int
    col: int
    rows_px: float | None = None
    cols_px: float | None = None
    east_m: float | None = None
    north_m: float | None = None
    confidence: float = 0.0
    reason: str = ""


class ShiftReport(Record):
    """How far a product's content lies from where the reference shows it; warping it on a grid moved by that much undoes it.

    The shift is the median of the confident tiles; ``spread_px`` is their median distance from it, in pixels of the fine grid.
    A tile's ``confidence`` is the correlation of both band-passed images after the shift is undone (0..1), and 0 if the shift
    measured with the images exchanged differs by more than 0.2 pixels. A tile is confident from 0.4 on, between radar and
    optical images from 0.15 on. ``reliable``: tiles are confident, at least a third of those that were measured, and they
    agree within 0.5 pixels of the grid of measurement, whose pixels are ``ratio`` fine ones.
    """

    rows_px: float | None = None
    cols_px: float | None = None
    east_m: float | None = None
    north_m: float | None = None
    spread_px: float | None = None
    confidence: float = 0.0
    reliable: bool = False
    reason: str = ""
    """Why there is no reliable shift; empty if there is one."""
    reference_band: str = ""
    band: str = ""
    method: str = "phase correlation"
    ratio: int = 1
    confident_tiles: int = 0
    tiles: tuple[TileShift, ...] = ()


def measure_shift(reference: Product, moving: Product, grid: Grid, *, progress: Progress = no_progress) -> ShiftReport:
    """Measure how far the content of ``moving`` lies from that of ``reference`` on ``grid``, the fine grid of a city.

    Shifts of up to about 75 pixels of the grid of measurement are looked for. Without texture, common ground or enough pixels
    the report says so and has no numbers. Raises DataError for files that cannot be read, MissingExtraError without
    scikit-image.
    """
    compared = _bands_compared(reference, moving)
    ratio = _ratio(reference, moving, grid)
    coarse = Grid(
        max(1, grid.height // ratio), max(1, grid.width // ratio), grid.transform @ Affine.scale(ratio), grid.crs
    )
    windows = _tiles(coarse)
    tiles = []
    for number, window in enumerate(windows):
        shift = _tile_shift(reference, moving, compared, coarse, window)
        tiles.append(_tile_report(shift, window, ratio, grid))
        progress(number + 1, len(windows), moving.facts.product)
    facts = {
        "reference_band": reference.bands[compared.reference].name,
        "band": moving.bands[compared.moving].name,
        "method": "phase correlation of gradients" if compared.by_structure else "phase correlation",
    }
    limit = _CONFIDENT_RADAR if compared.by_structure else _CONFIDENT
    return _overall(tuple(tiles), limit, ratio, grid).model_copy(update=facts)


class _Compared(NamedTuple):
    """The bands (0-based) that are compared, and whether by their gradients."""

    reference: int
    moving: int
    by_structure: bool


def _bands_compared(reference: Product, moving: Product) -> _Compared:
    """Return the bands of both products with close wavelengths, or of one name; if none are alike, two by gradients."""
    here, there = ([_nm(band) for band in product.bands] for product in (reference, moving))
    known = [
        (abs(a - b) > _SAME_NM / 3, abs(0.5 * (a + b) - _BEST_NM), abs(a - b), i, j)
        for (i, a), (j, b) in pairs(enumerate(here), enumerate(there))
        if a is not None and b is not None and abs(a - b) <= _SAME_NM
    ]
    is_radar = [product.facts.kind == "sar" for product in (reference, moving)]
    if known and not any(is_radar):
        *_, here_index, there_index = min(known)
        return _Compared(here_index, there_index, by_structure=False)
    names = [[band.name for band in product.bands] for product in (reference, moving)]
    common = [name for name in names[0] if name and name in names[1]]
    if common and all(is_radar) == any(is_radar):
        return _Compared(names[0].index(common[0]), names[1].index(common[0]), by_structure=False)
    return _Compared(_structural(here), _structural(there), by_structure=True)


def _structural(wavelengths: Sequence[float | None]) -> int:
    distances = [abs(nm - _ROLES_NM["nir"]) if nm else np.inf for nm in wavelengths]
    return int(np.argmin(distances))


def _nm(band: ProductBand) -> float | None:
    return band.wavelength_nm or _ROLES_NM.get(band.role or "")


def _ratio(reference: Product, moving: Product, grid: Grid) -> int:
    """Return how many fine pixels make a pixel that is as large as those of the coarser product."""
    pixel = grid.pixel_side_m() or 1.0
    coarsest = max(reference.resolution_m, moving.resolution_m)
    most = max(1, min(grid.height, grid.width) // 64)  # small areas are measured on finer grids than that
    return max(1, min(round(coarsest / pixel), most))


def _tiles(grid: Grid) -> tuple[Window, ...]:
    """Return windows of one size that are spread evenly over a grid."""
    rows, cols = (_starts(length) for length in (grid.height, grid.width))
    return tuple(
        Window(row, col, min(_TILE_PX, grid.height), min(_TILE_PX, grid.width)) for row in rows for col in cols
    )


def _starts(length: int) -> list[int]:
    count = min(_TILES, max(1, length // _TILE_PX))
    last = max(0, length - _TILE_PX)
    return [round(last * (k + 0.5) / count) if count == 1 else round(last * k / (count - 1)) for k in range(count)]


def _tile_shift(
    reference: Product, moving: Product, compared: _Compared, grid: Grid, window: Window
) -> ImageShift | str:
    images = []
    for product, band in ((reference, compared.reference), (moving, compared.moving)):
        values, valid = product.warp(grid, window)
        image = values[band]
        if compared.by_structure:
            image = structure(image, valid)
        images.append((image, valid))
    (a, a_valid), (b, b_valid) = images
    return find_shift(a, b, a_valid, b_valid)


def _tile_report(shift: ImageShift | str, window: Window, ratio: int, grid: Grid) -> TileShift:
    tile = TileShift(row=window.row * ratio, col=window.col * ratio)
    if isinstance(shift, str):
        return tile.model_copy(update={"reason": shift})
    lengths = _lengths(shift.rows * ratio, shift.cols * ratio, grid)
    if shift.disagreement_px > _DISAGREEMENT_PX:
        return tile.model_copy(update={**lengths, "reason": "the images exchanged give another shift"})
    return tile.model_copy(update={**lengths, "confidence": round(min(1.0, max(0.0, shift.correlation)), 3)})


def _lengths(rows: float, cols: float, grid: Grid) -> dict[str, float]:
    """Return a shift in pixels and in units of the CRS."""
    a, b, _, d, e, _ = grid.transform[:6]
    return {
        "rows_px": round(rows, 3),
        "cols_px": round(cols, 3),
        "east_m": round(a * cols + b * rows, 3),
        "north_m": round(d * cols + e * rows, 3),
    }


def _overall(tiles: tuple[TileShift, ...], limit: float, ratio: int, grid: Grid) -> ShiftReport:
    measured = [tile for tile in tiles if tile.rows_px is not None]
    confident = [tile for tile in measured if tile.confidence >= limit]
    report = ShiftReport(tiles=tiles, ratio=ratio, confident_tiles=len(confident))
    if not measured:
        reasons = sorted({tile.reason for tile in tiles})
        return report.model_copy(update={"reason": f"not measurable: {'; '.join(reasons)}"})
    if not confident:
        best = max(tile.confidence for tile in measured)
        reason = f"not measurable: the images differ too much (confidence {best:.2f} of {limit:g} that are needed)"
        return report.model_copy(update={"confidence": best, "reason": reason})
    shifts = np.array([(tile.rows_px, tile.cols_px) for tile in confident], np.float64)
    middle = np.median(shifts, axis=0)
    spread = float(np.median(np.hypot(*(shifts - middle).T)))
    reason = ""
    if 3 * len(confident) < len(measured):
        reason = f"{len(confident)} of {len(measured)} tiles are confident"
    elif spread > _SPREAD_PX * ratio:
        reason = f"the tiles disagree by {spread:.2f} pixels"
    facts = {
        "spread_px": round(spread, 3),
        "confidence": round(float(np.median([tile.confidence for tile in confident])), 3),
        "reliable": not reason,
        "reason": reason,
    }
    return report.model_copy(update={**_lengths(float(middle[0]), float(middle[1]), grid), **facts})
