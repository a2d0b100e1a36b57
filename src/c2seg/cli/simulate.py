"""``c2seg simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, print_json, progress_bars
from c2seg.errors import InputError

__all__ = ["command"]


def command(
    out: Path = typer.Argument(..., metavar="OUT", help="Folder for the two cities."),
    pair: str = typer.Option("ab", "--pair", help="Sensors and sizes: ab (10 m HSI) or bw (30 m HSI)."),
    scale: float = typer.Option(0.25, "--scale", help="Sides in pixels relative to the real scenes, up to 1."),
    seed: int = SEED,
    shift: float = typer.Option(0.5, "--shift", help="Size of the difference, 0..1: all parameters at once."),
    parameter: list[str] = typer.Option(
        [],
        "--parameter",
        metavar="NAME=VALUE",
        help="One parameter, 0..1 (repeatable): season, illumination, sensor_gain, material_mix, street_pattern, "
        "class_shares, coregistration, land_cover_change, label_noise.",
    ),
    source_layout: Path = typer.Option(
        None, "--source-layout", metavar="TIF", help="Class raster (as of c2seg label) in place of an invented source."
    ),
    target_layout: Path = typer.Option(None, "--target-layout", metavar="TIF", help="The same for the target."),
    layout: str = typer.Option("folder", "--layout", help="folder, or as the releases: tiles, mat."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Make two cities with a known ground truth and a known difference, from measured spectra.

    Each city is a folder with msi.tif, hsi.tif, sar.tif, label.tif, valid.tif, reference.tif and city.yaml. The thousands
    of the seed choose one of four families of layouts and shifts. With --layout tiles or mat they are arranged as the
    releases of C2Seg: C2Seg_AB/train and C2Seg_AB/test (without labels), or NAME_multimodal.mat with labels.
    """
    from c2seg.api.simulating import simulate_pair

    with progress_bars(quiet=quiet or json) as bars:
        info = simulate_pair(
            out,
            pair=pair,
            scale=scale,
            seed=seed,
            shift=shift,
            parameters=_parameters(parameter),
            source_layout=source_layout,
            target_layout=target_layout,
            layout=layout,  # type: ignore[arg-type]  # checked there
            overwrite=overwrite,
            progress=bars,
        )
    cities: list[dict[str, Any]] = [
        {
            "role": city.role,
            "name": city.name,
            "path": str(city.path),
            "height": city.height,
            "width": city.width,
            "label_agreement": round(city.label_agreement, 4),
            "shares": {str(k): round(v, 5) for k, v in city.shares.items()},
        }
        for city in (info.source, info.target)
    ]
    if json:
        print_json({"pair": pair, "scale": scale, "seed": seed, "family": info.family, "cities": cities})
        return
    for city in cities:
        typer.echo(
            f"{city['role']}: {city['path']}  {city['height']} x {city['width']} px, label agrees with the ground truth on "
            f"{100 * city['label_agreement']:.1f} %"
        )


def _parameters(settings: list[str]) -> dict[str, float]:
    values = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise InputError(
                f"--parameter {setting!r} is not of the form NAME=VALUE with a value within 0..1"
            ) from None
        if not equals:
            raise InputError(f"--parameter {setting!r} is not of the form NAME=VALUE")
    return values
