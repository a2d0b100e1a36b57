"""``c2seg prepare``: a city folder from satellite products."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import typer

from c2seg.cli.console import CLUSTER_HELP, JSON, OVERWRITE, QUIET, print_json, progress_bars
from c2seg.cli.options import with_options
from c2seg.errors import InputError

__all__ = ["command"]


def command(
    out: Path = typer.Argument(..., help="Folder to write: msi.tif, hsi.tif, sar.tif, valid.tif, city.yaml, ..."),
    msi: list[Path] = typer.Option([], "--msi", help="Multispectral product; repeat for further dates or scenes."),
    hsi: list[Path] = typer.Option([], "--hsi", help="Hyperspectral product; may be repeated."),
    sar: list[Path] = typer.Option([], "--sar", help="Radar product; may be repeated."),
    dem: Path | None = typer.Option(None, "--dem", help="Elevation model (meters) for terrain correction and RPCs."),
    osm: Path | None = typer.Option(None, "--osm", help="OpenStreetMap extract; label.tif is made of it."),
    bounds: str | None = typer.Option(
        None, "--bounds", help="W,S,E,N in degrees; default: where all products overlap."
    ),
    like: Path | None = typer.Option(None, "--like", help="Raster whose grid the city takes."),
    resolution: float | None = typer.Option(
        None, "--resolution", help="Pixel size in meters; default: the finest multispectral product's."
    ),
    crs: str | None = typer.Option(None, "--crs", help="Projected CRS; default: the UTM zone."),
    align: bool = typer.Option(
        False, "--align", help="Undo measured shifts in the warp; one between SAR and MSI is only reported."
    ),
    composite: str = typer.Option(
        "median", "--composite", help="Several products of a kind: median, or best (first valid, fewest clouds first)."
    ),
    bands: str | None = typer.Option(None, "--bands", help="Names of the bands to read, separated by commas."),
    kernel: str = typer.Option("bilinear", "--kernel", help="Interpolation: nearest, bilinear or cubic."),
    clouds: bool = typer.Option(True, "--mask-clouds/--keep-clouds", help="Make clouds and their shadows invalid."),
    cloud_margin: float = typer.Option(0.0, "--cloud-margin", min=0, help="Meters by which masked clouds grow."),
    dtype: str = typer.Option("auto", "--dtype", help="auto: reflectance as int16 in 1e-4; or float32."),
    backscatter: str = typer.Option("gamma0", "--backscatter", help="gamma0 or sigma0."),
    speckle: str = typer.Option("none", "--speckle", help="Speckle filter: none, lee or median."),
    speckle_px: int = typer.Option(5, "--speckle-px", min=3, help="Side of the filter's window, odd."),
    multilook: int | None = typer.Option(
        None, "--multilook", min=1, help="Native pixels averaged along a side; default: as the grid needs."
    ),
    sar_unit: str | None = typer.Option(
        None, "--sar-unit", help="dB, power or amplitude, for a raster that does not state it."
    ),
    dem_datum: str | None = typer.Option(
        None, "--dem-datum", help="Heights of --dem over the ellipsoid, egm96 or egm2008; default: as it states."
    ),
    name: str | None = typer.Option(None, "--name", help="The city's name; default: the folder's."),
    workers: int = typer.Option(1, "--workers", min=1, help="Processes; the result does not depend on it."),
    cluster: str | None = typer.Option(None, "--cluster", help=CLUSTER_HELP),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be made; write nothing."),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Make a city folder from satellite products as agencies deliver them.

    Sentinel-2, Sentinel-1, Landsat, EnMAP, PRISMA, DESIS, Gaofen, ENVI cubes and any other raster are warped once onto
    one grid. OUT/prepare.json says what was made of what. A stopped run resumes; running it again changes nothing.
    """
    from c2seg.api.preparing import prepare_city

    with progress_bars(quiet=quiet) as bars:
        city = prepare_city(
            out, msi=msi, hsi=hsi, sar=sar, dem=dem, osm=osm, bounds=None if bounds is None else _box(bounds), like=like,
            resolution=resolution, crs=crs, align=align,
            composite=cast(Literal["median", "best"], _one_of("composite", composite, ("median", "best"))),
            bands=None if bands is None else tuple(part.strip() for part in bands.split(",")),
            kernel=cast(Literal["nearest", "bilinear", "cubic"], _one_of("kernel", kernel, ("nearest", "bilinear", "cubic"))),
            mask_clouds=clouds, cloud_margin=cloud_margin,
            dtype=cast(Literal["auto", "float32"], _one_of("dtype", dtype, ("auto", "float32"))),
            backscatter=cast(Literal["gamma0", "sigma0"], _one_of("backscatter", backscatter, ("gamma0", "sigma0"))),
            speckle=cast(Literal["none", "lee", "median"], _one_of("speckle", speckle, ("none", "lee", "median"))),
            speckle_px=speckle_px, multilook=multilook,
            sar_unit=cast(Literal["dB", "power", "amplitude"] | None,
                          sar_unit and _one_of("sar-unit", sar_unit, ("dB", "power", "amplitude"))),
            dem_datum=cast(Literal["ellipsoid", "egm96", "egm2008"] | None,
                           dem_datum and _one_of("dem-datum", dem_datum, ("ellipsoid", "egm96", "egm2008"))),
            name=name, workers=workers, cluster=cluster, dry_run=dry_run, overwrite=overwrite, progress=bars,
        )  # fmt: skip
    if as_json:
        print_json(
            {"path": str(city.path), "state": city.state, "stored_bytes": city.stored_bytes} | city.record.as_json()
        )
    else:
        typer.echo(with_options(str(city)))


def _one_of(option: str, value: str, valid: tuple[str, ...]) -> str:
    if value not in valid:
        raise InputError(f"--{option} {value!r} is not one of {', '.join(valid)}")
    return value


def _box(bounds: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in bounds.split(","))
    except ValueError:
        raise InputError(f"--bounds {bounds!r} is not four numbers W,S,E,N separated by commas") from None
    return west, south, east, north
