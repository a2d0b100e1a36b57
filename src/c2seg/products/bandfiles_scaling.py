"""Scale and offset of single-band files: what their tags and a STAC item say, and what the pixels say against it.

Sentinel-2 from baseline 04.00 on stores reflectance x 10000 + 1000. Some catalogs subtract the 1000 and still state the offset;
others do not subtract it and state nothing. The dark end of the pixels tells these apart: hardly any reflectance is
below -0.03, and a scene whose darkest pixels in every band lie above 0.08 holds the offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c2seg.products.bandfiles_names import SensorKind
from c2seg.products.bandfiles_stac import StacItem
from c2seg.products.native import GdalFile
from c2seg.raster import FileBand
from c2seg.raster.opening import read_faults

__all__ = ["BandFile", "Scaling", "dark_end", "decide"]

_MSI_SCALE, _MSI_OFFSET = 1e-4, -0.1
_OLI_SCALE, _OLI_OFFSET = 2.75e-5, -0.2
_TOO_DARK = -0.03
_OFFSET_SEEN = 0.08
"""Reflectance x 10000 + 1000 begins near 0.1, a little below where the atmosphere is overcorrected."""
_DARK_SHARE = 0.01
_SAMPLE_PX = 512
_FIRST_WITH_OFFSETS = 4.0


@dataclass(frozen=True)
class BandFile:
    """A file of one band: ``word`` is its band's word in the file name, ``stored`` what the file says of its band."""

    file: GdalFile
    word: str
    stored: FileBand
    is_integer: bool
    nodata: float | None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.path.name


@dataclass(frozen=True)
class Scaling:
    """Reflectance = number x scale + offset, by file; ``source`` tells an auditor where from; ``note`` what users must know."""

    scales: tuple[tuple[float, float], ...]
    source: str
    note: str | None = None

    @property
    def is_reflectance(self) -> bool:
        """Whether values are reflectance."""
        return self.source != "none"


def decide(files: Sequence[BandFile], sensor: SensorKind | None, item: StacItem | None) -> Scaling:
    """Return scales and offsets of the files of a product.

    The order: the files' tags, the STAC item, the agency's convention for the sensor's integers. For Sentinel-2 an offset that
    pixels contradict is not applied, and one that pixels show is; both are said.
    """
    tagged = [(file.stored.scale, file.stored.offset) for file in files]
    stated = [item.scaling(file.name) for file in files] if item else []
    if any(pair != (1.0, 0.0) for pair in tagged):
        scaling = Scaling(tuple(tagged), "tags of the files")
    elif stated and all(pair is not None for pair in stated):
        scaling = Scaling(tuple(pair for pair in stated if pair), f"STAC item {item.path.name}" if item else "")
    elif all(not file.is_integer for file in files):
        return Scaling(((1.0, 0.0),) * len(files), "floating-point reflectance")
    elif sensor == "landsat":
        return _landsat(files)
    elif sensor == "sentinel2":
        return _unstated(files, item)
    else:
        return Scaling(
            ((1.0, 0.0),) * len(files), "none", "the files state no scale: their numbers are passed on as they are"
        )
    return _checked(scaling, files, item) if sensor == "sentinel2" else scaling


def dark_end(files: Sequence[BandFile]) -> list[float | None]:
    """Return the number below which 1 % of each file's valid pixels lie, from a coarse copy; None without valid pixels."""
    ends: list[float | None] = []
    for file in files:
        with read_faults(f"cannot read {file.file}", "; download it again"), file.file.open() as dataset:
            shape = tuple(min(side, _SAMPLE_PX) for side in (dataset.height, dataset.width))
            values = dataset.read(1, out_shape=shape)
        good = values[(values != (file.nodata or 0)) & (values != 0) & (values != 65535)]
        ends.append(float(np.quantile(good, _DARK_SHARE)) if good.size else None)
    return ends


def _checked(scaling: Scaling, files: Sequence[BandFile], item: StacItem | None) -> Scaling:
    """Return the scaling without its offset if the catalog or the pixels say that numbers hold it already, or never had it."""
    if all(offset == 0 for _, offset in scaling.scales):
        return scaling
    if reason := _why_not(scaling, files, item):
        without = tuple((scale, 0.0) for scale, _ in scaling.scales)
        return Scaling(without, scaling.source, f"the offset in {scaling.source} is not applied: {reason}")
    return scaling


def _why_not(scaling: Scaling, files: Sequence[BandFile], item: StacItem | None) -> str | None:
    if item and _applied(files, item):
        return f"{item.path.name} says that numbers hold it already (boa_offset_applied)"
    if item and item.baseline is not None and item.baseline < _FIRST_WITH_OFFSETS:
        return f"{item.path.name} states baseline {item.baseline:05.2f}, and there are none before 04.00"
    values = [
        end * scale + offset
        for end, (scale, offset) in zip(dark_end(files), scaling.scales, strict=True)
        if end is not None
    ]
    if values and min(values) < _TOO_DARK:
        return f"with it, dark pixels would have reflectance {min(values):.2f}, so numbers hold it already"
    return None


def _applied(files: Sequence[BandFile], item: StacItem) -> bool | None:
    """Return what the catalog says of the offset. It speaks of its own GeoTIFFs, not of the agency's JP2 that it lists, too."""
    return False if all(file.name.lower().endswith(".jp2") for file in files) else item.offset_applied


def _unstated(files: Sequence[BandFile], item: StacItem | None) -> Scaling:
    """Return the scaling of Sentinel-2 numbers whose files state none: 1e-4, and an offset by baseline or by the pixels."""
    plain, shifted = ((_MSI_SCALE, 0.0),) * len(files), ((_MSI_SCALE, _MSI_OFFSET),) * len(files)
    if item and item.baseline is not None:
        scaling = Scaling(shifted, f"baseline {item.baseline:05.2f} in {item.path.name}")
        return (
            _checked(scaling, files, item) if item.baseline >= _FIRST_WITH_OFFSETS else Scaling(plain, scaling.source)
        )
    ends = [end * _MSI_SCALE for end in dark_end(files) if end is not None]
    way_out = "write scale and offset into the files (gdal_edit.py -scale 0.0001 -offset ...) to decide it yourself"
    if ends and min(ends) >= _OFFSET_SEEN:
        return Scaling(shifted, "pixels", f"the files state no scale and offset; the darkest band begins at {min(ends):.2f}: "
                       f"the offset of baseline 04.00 and later, -0.1, is applied; {way_out}")  # fmt: skip
    return Scaling(plain, "pixels", "the files state no scale and offset; dark pixels say that numbers are reflectance x 10000 "
                   f"without offset; {way_out}")  # fmt: skip


def _landsat(files: Sequence[BandFile]) -> Scaling:
    if all(file.word.startswith("sr_") or not file.word.startswith("b") for file in files):
        return Scaling(((_OLI_SCALE, _OLI_OFFSET),) * len(files), "Landsat Collection 2 Level 2")
    return Scaling(((1.0, 0.0),) * len(files), "none", "the files state no scale, and are not named SR_B...: their numbers are "
                   "passed on as they are; put the scene's _MTL.txt beside them")  # fmt: skip
