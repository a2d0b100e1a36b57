"""``c2seg score``: a map, or a folder of tiles, against the ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import typer

from c2seg.api.scoring import score
from c2seg.api.tables import HEADLINE, number
from c2seg.artifacts.scores import ScoreRecord
from c2seg.cli.console import JSON, OVERWRITE, QUIET, SEED, note, print_json, progress_bars
from c2seg.errors import InputError, unknown_name
from c2seg.metrics import PROTOCOLS, Comparison, GridOf, Interval

__all__ = ["command"]


def command(
    prediction: Path = typer.Argument(..., metavar="PRED", help="Map of class ids, or folder of tiles N_prediction.tif."),
    reference: Path = typer.Argument(..., metavar="REFERENCE", help="Label raster, city, vector file, or folder of tiles."),
    protocol: str = typer.Option("challenge", "--protocol", metavar="NAME", help=f"Convention: {', '.join(PROTOCOLS)}."),
    legend: Path | None = typer.Option(None, "--legend", metavar="FILE", help="Legend (YAML); default: the city's, the map's."),
    label_map: str | None = typer.Option(None, "--label-map", metavar="NAME", help="Label mapping of the reference's values."),
    label_field: str | None = typer.Option(None, "--label-field", metavar="NAME", help="Attribute of a vector file's labels."),
    on: str = typer.Option("reference", "--on", metavar="GRID", help="Grid to score on: reference or map."),
    valid: Path | None = typer.Option(None, "--valid", metavar="FILE", help="Score only where this is non-zero."),
    intervals: bool = typer.Option(False, "--intervals", help="Block-bootstrap 95 % intervals."),
    against: Path | None = typer.Option(None, "--against", metavar="PRED", help="Second map: paired comparison."),
    block_px: int = typer.Option(100, "--block-px", min=1, help="Side of the bootstrap's blocks, pixels of the ground truth."),
    replicates: int = typer.Option(1000, "--replicates", min=20, help="Replicates of the bootstrap."),
    boundary_px: int | None = typer.Option(None, "--boundary-px", min=0, max=64, help="Also boundary F1 within N pixels."),
    tile_px: int | None = typer.Option(None, "--tile-px", min=1, help="Also by tiles, as the challenge: AB 128, BW 256."),
    _by_index: bool = typer.Option(False, "--by-index", hidden=True),  # of 0.1.0; rows are matched where nothing else can be
    workers: int = typer.Option(2, "--workers", min=1, help="Threads that read and count."),
    out: Path | None = typer.Option(None, "--out", metavar="F.json", help="Write the scores as JSON, too."),
    seed: int = SEED,
    as_json: bool = JSON,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
) -> None:  # fmt: skip
    """Score a map against the ground truth: OA, Kappa, mF1, mIoU, per class.

    Reference 0 and 255 are ignored; a labeled pixel without a prediction is an error. Classes absent from the reference are
    left out of the means.
    """
    with progress_bars(quiet=quiet) as bars:
        scores = score(
            prediction,
            reference,
            protocol=protocol,
            legend=legend,
            label_map=label_map,
            label_field=label_field,
            on=_grid(on),
            valid=valid,
            intervals=intervals,
            against=against,
            block_px=block_px,
            replicates=replicates,
            boundary_px=boundary_px,
            tile_px=tile_px,
            workers=workers,
            seed=seed,
            out=out,
            overwrite=overwrite,
            progress=bars,
        )
    record = scores.record
    for text in record.notes:
        note(text, quiet=quiet)
    if as_json:
        print_json(record.as_json())
    else:
        _print(record)


def _grid(name: str) -> GridOf:
    if name not in get_args(GridOf):
        raise InputError(unknown_name("grid", name, get_args(GridOf)))
    return cast(GridOf, name)


def _print(record: ScoreRecord) -> None:
    _print_classes(record)
    typer.echo("")
    for name, title in HEADLINE.items():
        typer.echo(f"{title:<6} {_headline(record, name)}")
    typer.echo(
        f"disagreement: quantity {number(record.quantity_disagreement)}, allocation "
        f"{number(record.allocation_disagreement)}; {record.pixels:,} labeled pixels, protocol {record.protocol}"
    )
    if tiles := record.by_tiles:
        values = "  ".join(f"{title} {number(getattr(tiles, name))}" for name, title in HEADLINE.items())
        typer.echo(f"by {tiles.tiles} tiles of {tiles.tile_px} px, overlaps count in each: {values}")
    if record.boundary:
        typer.echo(f"boundary F1 within {record.boundary.tolerance_px} px: {number(record.boundary.mean_f1)}")


def _print_classes(record: ScoreRecord) -> None:
    names = {c.id: c.name for c in record.classes} | {0: "Background"}
    width = max(len(name) for name in names.values())
    typer.echo(f"{'':>3} {'class':<{width}} {'IoU':>8} {'F1':>8} {'precision':>9} {'recall':>8} {'pixels':>12}")
    columns = zip(record.ids, record.iou, record.f1, record.precision, record.recall, record.support, strict=True)
    for id_, iou, f1, precision, recall, support in columns:
        cells = f"{number(iou):>8} {number(f1):>8} {number(precision):>9} {number(recall):>8} {support:>12,}"
        typer.echo(f"{id_:>3} {names[id_]:<{width}} {cells}")


def _headline(record: ScoreRecord, name: str) -> str:
    """Write a score with its interval and its difference to another map, where there are some."""
    line = number(getattr(record, name))
    if record.intervals:
        interval: Interval = getattr(record.intervals, name)
        line += f"  95 % [{number(interval.low)}, {number(interval.high)}]"
    if record.comparison:
        compared: Comparison = getattr(record.comparison, name)
        difference = compared.difference
        line += (
            f"  minus the other map {number(difference.value, '+')} "
            f"[{number(difference.low, '+')}, {number(difference.high, '+')}], p {number(compared.p_value)}"
        )
    return line
