"""Write rasters as cloud-optimized GeoTIFF, atomically and in bounded memory.

rasterio's COG writer holds the whole raster in memory. Here a plain tiled GeoTIFF is written row by row, then GDAL's COG
driver copies it as a stream. Equal content gives identical bytes: time, host and user are not recorded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import Resampling

from c2seg.legend import Legend
from c2seg.outputs import atomic_file
from c2seg.process import return_freed_memory
from c2seg.raster.checked import CheckedRaster, raster_faults
from c2seg.types import Grid, Window

__all__ = ["RasterTags", "assemble_cog", "write_cog", "write_map"]

_COPY_CACHE_BYTES = 96 << 20
"""Of decoded blocks while a file is put in order: they are read once."""
_BLOCK = 512
_OVERVIEWS_BESIDE: dict[str, Any] = {
    "COMPRESS_OVERVIEW": "DEFLATE", "ZLEVEL_OVERVIEW": 1, "INTERLEAVE_OVERVIEW": "BAND", "BIGTIFF_OVERVIEW": "IF_SAFER",
    "GDAL_TIFF_OVR_BLOCKSIZE": _BLOCK,
}  # fmt: skip
"""Of overviews in a file beside a VRT."""

RowReader = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class RasterTags:
    """Tags of a GeoTIFF, of the dataset and of each band. ``descriptions`` are the band names.

    Value = stored number x ``scale``, in ``unit``; both may differ by band.
    """

    dataset: Mapping[str, str] = field(default_factory=dict)
    bands: Sequence[Mapping[str, str]] = ()
    descriptions: Sequence[str] = ()
    scale: float | Sequence[float] = 1.0
    unit: str | Sequence[str] = ""

    def scales(self, count: int) -> tuple[float, ...]:
        """Return the scale of each of ``count`` bands; empty if all are 1."""
        scales = (self.scale,) * count if isinstance(self.scale, float) else tuple(self.scale)
        return scales if set(scales) != {1.0} else ()

    def units(self, count: int) -> tuple[str, ...]:
        """Return the unit of each of ``count`` bands; empty if none has one."""
        units = (self.unit,) * count if isinstance(self.unit, str) else tuple(self.unit)
        return units if any(units) else ()


def write_cog(
    path: Path,
    read_rows: RowReader,
    grid: Grid,
    *,
    count: int,
    dtype: Any,
    nodata: float | None,
    overwrite: bool,
    tags: RasterTags | None = None,
    colors: Mapping[int, tuple[int, int, int]] | None = None,
    resampling: str = "NEAREST",
) -> None:
    """Write a cloud-optimized GeoTIFF (512-pixel tiles, deflate, overviews).

    ``read_rows(first, last)`` returns [C, last-first, W] of ``dtype``. It is called from top to bottom, once per block
    row. ``colors`` adds a color table (uint8, one band). Raises OutputError if the file is not writable.
    """
    tags = tags or RasterTags()
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": count, "dtype": np.dtype(dtype).name,
        "transform": grid.transform, "crs": CRS.from_wkt(grid.crs) if grid.crs else None, "nodata": nodata,
        "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "bigtiff": "IF_SAFER",
        "interleave": "band",  # overviews of a band at a time: GDAL needs a tenth of the cache for ten bands
    }  # fmt: skip
    if count > 1:
        profile |= {"compress": "DEFLATE", "zlevel": 1}
    checked = CheckedRaster(path)
    with atomic_file(path, overwrite=overwrite) as final, raster_faults(path):
        plain = final.parent / "rows" / "plain.tif"
        plain.parent.mkdir()
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(plain, "w", **profile) as dataset:
            if colors:
                dataset.write_colormap(1, {0: (0, 0, 0, 0)} | {i: (*rgb, 255) for i, rgb in colors.items()})
            dataset.update_tags(**tags.dataset)
            for band, text in enumerate(tags.descriptions, 1):
                dataset.set_band_description(band, text)
            for band, values in enumerate(tags.bands, 1):
                dataset.update_tags(band, **values)
            if scales := tags.scales(count):
                dataset.scales = scales
            if units := tags.units(count):
                dataset.units = units
            for first in range(0, grid.height, _BLOCK):
                last = min(first + _BLOCK, grid.height)
                checked.write(dataset, read_rows(first, last), Window(first, 0, last - first, grid.width))
        return_freed_memory()  # GDAL needs blocks of other sizes than the rows that were written
        _put_in_order(plain, final, grid, resampling)
        plain.unlink()
        checked.verify(final)


def assemble_cog(path: Path, text: str, grid: Grid, sums: Mapping[Window, int], *, overwrite: bool) -> None:
    """Write a cloud-optimized GeoTIFF of the raster that the VRT ``text`` describes, without a copy of it on the way.

    Beside the file itself the disk holds its overviews, compressed, a second time. ``sums`` are checksums of windows [C, H, W]
    that the finished file is compared with. Bytes are those of ``write_cog`` of the same pixels and tags. Raises OutputError.
    """
    checked = CheckedRaster(path, sums)
    with atomic_file(path, overwrite=overwrite) as final, raster_faults(path):
        source = final.parent / "rows" / "parts.vrt"
        source.parent.mkdir()
        source.write_text(text, encoding="utf-8")
        _put_in_order(source, final, grid, "NEAREST")
        shutil.rmtree(source.parent)
        checked.verify(final)


def _put_in_order(source: Path, final: Path, grid: Grid, resampling: str) -> None:
    """Add overviews to a raster, once, and copy it as the COG driver orders it."""
    factors: list[int] = []
    while max(grid.height, grid.width) >> len(factors) > _BLOCK:
        factors.append(2 ** (len(factors) + 1))
    if factors:  # the COG driver would write them to another file first, compressed
        # GDAL's temporary files would lie in the folder in which the process happens to be
        options = {"CPL_TMPDIR": str(source.parent), **(_OVERVIEWS_BESIDE if source.suffix == ".vrt" else {})}
        with rasterio.Env(**options), rasterio.open(source, "r+") as dataset:  # the copy must not see these options
            dataset.build_overviews(factors, Resampling[resampling.lower()])
    with rasterio.Env(GDAL_CACHEMAX=_COPY_CACHE_BYTES):
        rasterio.shutil.copy(
            source, final, driver="COG", BLOCKSIZE=_BLOCK, COMPRESS="DEFLATE", LEVEL=6, NUM_THREADS="ALL_CPUS",
            BIGTIFF="IF_SAFER", OVERVIEWS="AUTO",
        )  # fmt: skip


def write_map(
    path: Path,
    read_rows: RowReader,
    grid: Grid,
    legend: Legend,
    *,
    overwrite: bool,
    tags: Mapping[str, str] | None = None,
    palette: str = "default",
) -> None:
    """Write a map of class ids (uint8, 0 = nodata) with a color table and with the class names as band tags.

    ``read_rows(first, last)`` returns uint8 [1, last-first, W].
    """
    names = {f"CLASS_{item.id}": item.name for item in legend.classes}
    write_cog(
        path, read_rows, grid, count=1, dtype=np.uint8, nodata=0, overwrite=overwrite,
        tags=RasterTags({"LEGEND": legend.name, **(tags or {})}, [names], ["land cover"]),
        colors=legend.colors(palette),
    )  # fmt: skip
