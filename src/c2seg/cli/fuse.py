"""``c2seg fuse``."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from c2seg.cli.console import JSON, OVERWRITE, QUIET, note, print_json, progress_bars
from c2seg.errors import InputError

__all__ = ["command"]


def command(
    maps: list[Path] = typer.Argument(
        ..., help="Maps to average: probabilities of c2seg predict, or class maps (votes)."
    ),
    out: Path = typer.Option(..., "--out", help="The fused map, a GeoTIFF."),
    weights: str = typer.Option(
        None, "--weights", help="One number for each map, separated by commas (default: equal)."
    ),
    hsi: Path = typer.Option(None, "--hsi", help="Expert for arable land: a map from hyperspectral bands alone."),
    sar: Path = typer.Option(None, "--sar", help="Expert for water: a map from radar alone."),
    msi: Path = typer.Option(None, "--msi", help="Expert for streets: a map from multispectral bands alone."),
    rule: list[str] = typer.Option([], "--rule", help="CLASS=FILE, by name or id; may be repeated, in order."),
    threshold: float = typer.Option(None, "--threshold", help="Experts overrule only from this probability on."),
    soft: bool = typer.Option(False, "--soft", help="Experts do not overrule: a class's probability is averaged."),
    probabilities: Path = typer.Option(None, "--probabilities", help="Also write all class probabilities here."),
    legend: Path = typer.Option(None, "--legend", help="Legend file of the maps (default: C2Seg's 13 classes)."),
    palette: str = typer.Option("default", "--palette", help="Colors of the map: default or a named palette."),
    overwrite: bool = OVERWRITE,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Average maps, then let experts decide single classes (the challenge's second place: --hsi --sar --msi)."""
    from c2seg.api.fusing import fuse_maps

    with progress_bars(quiet=quiet or json) as bars:
        result = fuse_maps(
            maps,
            out,
            weights=_numbers(weights),
            hsi=hsi,
            sar=sar,
            msi=msi,
            rules=[_rule(text) for text in rule],
            threshold=threshold,
            soft=soft,
            probabilities=probabilities,
            legend=legend,
            palette=palette,
            overwrite=overwrite,
            progress=bars,
            command=["c2seg", *sys.argv[1:]],
        )
    if json:
        print_json(result.as_json())
        return
    for done in result.fusion.rules if result.fusion else ():
        note(
            f"{done.name} from {done.expert}: held at {done.held} pixels, changed {done.changed}",
            quiet=quiet,
        )
    note(f"{result.path}: {result.pixels} pixels, {result.nodata_pixels} nodata, {result.seconds:.1f} s", quiet=quiet)
    typer.echo(out)


def _rule(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or not name.strip() or not path.strip():
        raise InputError(f"--rule {text!r} is not of the form CLASS=FILE, such as 'Street=msi.tif' or 2=msi.tif")
    return name.strip(), Path(path.strip())


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--weights {text!r}: needs numbers separated by commas, such as 2,1,1") from None
