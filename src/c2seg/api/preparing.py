"""A city folder from satellite products."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from c2seg.api.arguments import FilePath, FilePaths, as_path, as_paths, optional_path
from c2seg.api.tables import html_table
from c2seg.prepare import Area, PrepareRecord, Request, clear_remains, plan_city, prepare_folder, standing
from c2seg.products import Kind, ProductOptions
from c2seg.progress import ShowProgress, opened_bars

__all__ = ["PreparedCity", "prepare_city"]


@dataclass(frozen=True)
class PreparedCity:
    """A prepared city: its folder and its record. ``state``: made now, standing as it was, or only planned."""

    path: Path
    record: PrepareRecord
    state: Literal["made", "up to date", "planned"]
    stored_bytes: int
    """Bytes of all pixels before compression: what the work needs on the disk for a while."""

    def __str__(self) -> str:
        record, grid = self.record, self.record.grid
        zone = f"EPSG:{grid.epsg}" if grid.epsg else "the CRS of `like`"
        lines = [
            f"{self.path} ({self.state}): {grid.height} x {grid.width} pixels of {grid.pixel_m:g} m in {zone}",
            *(
                f"  {p.modality}: {p.product} ({p.sensor} {p.level}, {len(p.bands)} bands, {p.unit})"
                for p in record.products
            ),
            *(
                f"  {file.name}: {file.valid_share:.1%} valid"
                for file in record.outputs
                if file.valid_share is not None
            ),
            *(f"  note: {note}" for note in record.notes),
        ]
        if self.state == "planned":
            lines.append(f"  needs {self.stored_bytes / 2**20:.0f} MiB on the disk while it works, the files less")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(p.modality, p.product, p.sensor, p.level, p.unit) for p in self.record.products]
        return html_table(("modality", "product", "sensor", "level", "unit"), rows, f"{self.path} ({self.state})")


def prepare_city(
    out: FilePath,
    *,
    msi: FilePaths = (),
    hsi: FilePaths = (),
    sar: FilePaths = (),
    dem: FilePath | None = None,
    osm: FilePath | None = None,
    bounds: tuple[float, float, float, float] | None = None,
    like: FilePath | None = None,
    resolution: float | None = None,
    crs: str | None = None,
    composite: Literal["median", "best"] = "median",
    align: bool = False,
    kernel: Literal["nearest", "bilinear", "cubic"] = "bilinear",
    bands: tuple[str, ...] | None = None,
    mask_clouds: bool = True,
    cloud_margin: float = 0.0,
    dem_datum: Literal["ellipsoid", "egm96", "egm2008"] | None = None,
    backscatter: Literal["gamma0", "sigma0"] = "gamma0",
    speckle: Literal["none", "lee", "median"] = "none",
    speckle_px: int = 5,
    multilook: int | None = None,
    sar_unit: Literal["dB", "power", "amplitude"] | None = None,
    dtype: Literal["auto", "float32"] = "auto",
    name: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    executor: Executor | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: ShowProgress = False,
) -> PreparedCity:
    """Make a city folder from satellite products as agencies deliver them.

    Every modality is warped once, from its native pixels, onto one grid. Reflectance is stored as int16 in steps of 1e-4
    (-32768 where invalid), backscatter as float32 dB (NaN). If the folder already holds this result, nothing is written.

    Args:
        out: The folder: ``msi.tif``, ``hsi.tif``, ``sar.tif``, ``valid.tif``, ``city.yaml``, ``prepare.json``, ``preview.png``.
        msi: Multispectral products (files or folders); several are dates or neighboring scenes.
        hsi: Hyperspectral products; the image has a whole-number multiple of the fine pixels, near its own resolution.
        sar: Radar products.
        dem: Elevation model (a raster, meters) for terrain correction and RPCs.
        osm: OpenStreetMap extract, of which ``label.tif`` is made.
        bounds: West, south, east, north in degrees; None: where all products overlap.
        like: A raster whose grid the city takes, in place of bounds and resolution.
        resolution: Pixel size in meters; None: that of the finest multispectral product.
        crs: A projected CRS; None: the UTM zone of the products, or of the area.
        composite: Several products of a modality: ``median`` of the valid ones, or the ``best``: the first valid one,
            those with the least clouds first.
        align: Undo measured shifts in the warp. One between SAR and MSI is reported, never applied.
        kernel: Interpolation where the grid is as fine as the pixels or finer; coarser grids take averages.
        bands: Names of the bands to read; None: the reader's default.
        mask_clouds: Make clouds, their shadows and cirrus invalid, as each reader documents.
        cloud_margin: Meters by which masked clouds grow.
        dem_datum: Vertical datum of the elevation model; None: as the file states.
        backscatter: Radiometric calibration of Sentinel-1.
        speckle: Speckle filter of Sentinel-1; ``speckle_px`` is its window.
        speckle_px: Pixels of the speckle filter's window along a side, odd.
        multilook: Native pixels averaged before geocoding; None: as the grid needs.
        sar_unit: What the numbers of a SAR raster are that does not state it.
        dtype: ``float32`` stores reflectance as floats.
        name: The city's name; None: that of the folder.
        workers: Processes; the bytes do not depend on it.
        cluster: A Dask cluster in their place, as in ``Model.predict``; it reads the products under the same paths.
        executor: A ``concurrent.futures.Executor`` in their place (``docs/scaling.md``); it stays open.
        dry_run: Say what would be made; nothing is written.
        overwrite: Replace files of other inputs or parameters.
        progress: False, True for bars, or a callable.

    Raises:
        InputError: Invalid arguments, an area without pixels.
        DataError: A product is unknown, damaged, incomplete or outside the area; no pixel is valid.
        OutputError: The folder holds something else.
    """
    products: dict[Kind, tuple[Path, ...]] = {"msi": _absolute(msi), "hsi": _absolute(hsi), "sar": _absolute(sar)}
    options = ProductOptions(
        kernel=kernel, bands=bands, mask_clouds=mask_clouds, cloud_margin_m=cloud_margin,
        dem=next(iter(_absolute(dem or ())), None), dem_datum=dem_datum, backscatter=backscatter,
        speckle=speckle, speckle_px=speckle_px, multilook=multilook,
        sar_unit=sar_unit,
    )  # fmt: skip
    request = Request(
        as_path(out), products, Area(optional_path(like), bounds, resolution, crs), options, composite=composite,
        storage=dtype, align=align, osm=optional_path(osm), name=name,
    )  # fmt: skip
    plan = plan_city(request)
    done = standing(plan)
    if done is not None and not dry_run:
        clear_remains(plan)
    if done is not None or dry_run:
        return PreparedCity(request.out, done or plan.record, "up to date" if done else "planned", plan.stored_bytes)
    with opened_bars(progress) as bars:
        record = prepare_folder(
            plan, workers=workers, cluster=cluster, executor=executor, overwrite=overwrite, bars=bars
        )
    return PreparedCity(request.out, record, "made", plan.stored_bytes)


def _absolute(paths: FilePaths) -> tuple[Path, ...]:
    """Return absolute paths: workers of a cluster have working folders of their own."""
    return tuple(path.absolute() for path in as_paths(paths))
